//! One child of a shard, from its start to its end.

use std::collections::VecDeque;

use crate::replay::action::Action;
use crate::replay::director::Call;
use crate::replay::faults::Termination;

/// Where the conversation with a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No child has been started.
    New,
    /// The child has this to answer.
    Doing(Action),
    /// The same, and the answer to a checkpoint is held back.
    Acking(Action),
    /// The child has answered, and the next action is not sent yet.
    Idle,
    /// The child's input is closed and all was well so far.
    Leaving {
        /// The child may not have known that it was the end.
        cut: bool,
    },
    /// The child was killed on purpose.
    Killed,
    /// The child's input is closed because something was wrong, or the user wants no more.
    Stopping,
    /// There is no child any more.
    Over,
}

impl Phase {
    /// The action that the child has to answer.
    pub(super) fn action(self) -> Option<Action> {
        match self {
            Phase::Doing(action) | Phase::Acking(action) => Some(action),
            Phase::New
            | Phase::Idle
            | Phase::Leaving { .. }
            | Phase::Killed
            | Phase::Stopping
            | Phase::Over => None,
        }
    }
}

/// How much was sent to a child.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sent {
    pub(super) actions: u64,
    pub(super) acks: u64,
}

/// All that is known of one child: a new child has a new session, so nothing of the one before can stay.
#[derive(Debug)]
pub(super) struct Session {
    /// Children are counted from 1.
    pub(super) number: u32,
    pub(super) phase: Phase,
    /// Messages in both directions.
    pub(super) messages: usize,
    /// A number that changes with every message in either direction.
    pub(super) signs: u64,
    /// What was sent, and how much of it the child can have read before it wrote what we read now.
    pub(super) sent: Sent,
    pub(super) seen: Sent,
    /// The action before the one that is outstanding.
    pub(super) answered: Option<Action>,
    /// What the child wrote while it was not read.
    pub(super) held: VecDeque<Vec<u8>>,
    /// The action that comes when the daemon is idle no more.
    pub(super) next: Option<Call>,
    /// The answer to a checkpoint that is held back.
    pub(super) ack: Option<String>,
    /// How the child ends at its next checkpoint.
    pub(super) pending: Option<Termination>,
    /// The child has a good reason to end without an answer.
    pub(super) excused: bool,
    /// The end of this child is not the shard's.
    pub(super) resumes: bool,
    /// The child has written an answer that the daemon skipped.
    pub(super) lost_answer: bool,
    /// How many lines that are no messages were reported.
    pub(super) reported: usize,
}

impl Session {
    /// Before the first child.
    pub(super) fn none() -> Session {
        Session {
            number: 0,
            phase: Phase::New,
            messages: 0,
            signs: 0,
            sent: Sent::default(),
            seen: Sent::default(),
            answered: None,
            held: VecDeque::new(),
            next: None,
            ack: None,
            pending: None,
            excused: false,
            resumes: false,
            lost_answer: false,
            reported: 0,
        }
    }

    /// The session of the child after this one's.
    pub(super) fn following(&self) -> Session {
        Session {
            number: self.number + 1,
            ..Session::none()
        }
    }

    /// The child is given an action.
    pub(super) fn begin(&mut self, action: Action) {
        self.phase = Phase::Doing(action);
        self.excused = false;
        self.sent.actions += 1;
        self.signs += 1;
        self.messages += 1;
    }

    /// The answer to the child's checkpoint, which is sent now.
    pub(super) fn take_ack(&mut self) -> Option<String> {
        self.sent.acks += 1;
        self.signs += 1;
        self.messages += 1;
        self.ack.take()
    }

    /// Whether what is read now was written before the outstanding action was sent.
    pub(super) fn is_before_action(&self) -> bool {
        self.sent.actions > self.seen.actions
    }

    /// Whether what is read now was written before the answer to the last checkpoint was sent.
    pub(super) fn is_before_ack(&self) -> bool {
        self.sent.acks > self.seen.acks
    }

    /// The action that the child has answered, if what comes next has to be read first.
    pub(super) fn awaits_read(&self) -> Option<Action> {
        let waits = self.phase == Phase::Idle && self.next.is_none();
        self.answered.filter(|_| waits)
    }

    /// Whether the child is there and all is well with it.
    pub(super) fn is_under_way(&self) -> bool {
        self.phase.action().is_some() || self.phase == Phase::Idle
    }
}
