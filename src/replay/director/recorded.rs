//! A shard that is played from a recording.

use std::collections::VecDeque;

use super::{Call, Content, Directive, Director, ShardRecords, Successor};
use crate::replay::action::Action;
use crate::replay::faults::{Cause, Cut, Termination, When};
use crate::replay::input::recording::{Conversation, RecordedAction};
use crate::replay::lease::{Lease, LeasePosition};

/// What is left to be played of a recording: conversations one after the other, each with a child of its own.
#[derive(Debug)]
pub(crate) struct Recorded {
    size: usize,
    /// Those of the next children.
    conversations: VecDeque<Conversation>,
    /// What comes next in this child's.
    actions: VecDeque<RecordedAction>,
    /// How its next checkpoints are answered.
    answers: VecDeque<Option<String>>,
}

impl Recorded {
    /// All of a shard's conversations.
    pub(crate) fn new(conversations: Vec<Conversation>) -> Recorded {
        let actions = conversations.iter().flat_map(|all| &all.actions);
        Recorded {
            size: actions.map(|action| action.records).sum(),
            conversations: conversations.into(),
            actions: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// The next action, if there is one.
    fn action(&mut self) -> Option<Directive> {
        let recorded = self.actions.pop_front()?;
        self.answers = recorded.answers;
        let line = recorded.line + "\n";
        let content = match recorded.action {
            Action::ProcessRecords => Content::Recorded {
                line,
                records: recorded.records,
                last: recorded.position,
            },
            Action::Initialize
            | Action::ShutdownRequested
            | Action::LeaseLost
            | Action::ShardEnded => Content::Line(line),
        };
        Some(Directive::Act(Call {
            end: recorded.cut.map(|after| Termination {
                cut: Cut::Eof,
                when: When::After(after),
                cause: Cause::Recorded,
            }),
            ..Call::new(recorded.action, content)
        }))
    }
}

impl Recorded {
    /// How many records there are in all.
    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

impl Director for Recorded {
    fn first(&mut self, _shard_id: &str, lease: &mut Lease) -> Directive {
        let next = self.conversations.pop_front();
        self.actions = next.map(|next| next.actions).unwrap_or_default();
        let first = self.actions.front();
        let stored = first.and_then(|action| action.position.clone());
        lease.stored = stored.unwrap_or(LeasePosition::TrimHorizon);
        lease.assign(0);
        self.action().unwrap_or(Directive::Close {
            cut: true,
            resumes: false,
        })
    }

    fn next(&mut self, answered: Action, _lease: &Lease) -> Directive {
        let is_over = matches!(answered, Action::LeaseLost | Action::ShardEnded);
        self.action().unwrap_or(Directive::Close {
            cut: !is_over,
            resumes: false,
        })
    }

    fn successor(&self) -> Successor {
        if self.conversations.is_empty() {
            Successor::Nobody
        } else {
            Successor::OfAnotherConversation
        }
    }

    fn records(&self) -> Option<&ShardRecords> {
        None
    }

    /// An error that says that the child was wrong is left to our own judgement of this child.
    fn error(&mut self) -> Option<String> {
        let error = self.answers.pop_front()?;
        error.filter(|error| error != "IllegalArgumentException")
    }
}
