//! The action that the daemon awaits an answer to, and what has to be over before it gets one.

use std::time::{Duration, Instant};

use crate::checkpoint::{Phase, Start};
use crate::handler::HookEvent;

/// How long a command that cannot be run is looked for again: a deployment may be under way.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// An action without its answer. Its kind goes through the stages in their order, and may skip some.
#[derive(Debug)]
pub(super) struct PendingAction {
    /// What the daemon calls it.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) stage: Stage,
    /// When the daemon sent it.
    pub(super) opened: Instant,
}

/// What is to be reached.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// The handler is found, and the lease begins.
    Initialize(Search),
    /// There is room for more records.
    Records,
    /// What handlers have is done, and stored.
    Shutdown,
    /// All is done, and `SHARD_END` is stored.
    ShardEnd,
    /// The shard has ended, and all is done that was wanted of it: it is left as it is.
    Complete,
    /// Nothing is ours any more.
    LeaseLost,
    /// The lease is gone, which the answer to a checkpoint has shown: handlers have ended.
    Stopped,
    /// What is done is stored, and the worker is to stop.
    Halt(Answer),
}

/// Whether an action may be answered where the worker is asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It may.
    Possible,
    /// An answer would say that the lease begins, or that the shard is done with.
    Wrong,
}

/// The search for the handler's command at the lease's begin.
#[derive(Clone, Debug)]
pub(super) struct Search {
    pub(super) shard_id: String,
    pub(super) start: Start,
    /// The next look.
    pub(super) look_at: Instant,
    pub(super) give_up_at: Instant,
    /// It was said that it is not there.
    pub(super) said: bool,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Records are worked on, or the handler is looked for.
    Work,
    /// Handlers are on their way to their end.
    Finishing,
    /// The user's hook runs.
    Hooking,
    /// Only checkpoints are awaited.
    Last,
}

impl PendingAction {
    /// A new one.
    pub(super) fn new(name: &'static str, kind: Kind, stage: Stage, opened: Instant) -> Self {
        PendingAction {
            name,
            kind,
            stage,
            opened,
        }
    }

    /// What the user's hook is run for, once handlers have ended.
    pub(super) fn hook(&self) -> Option<HookEvent> {
        match &self.kind {
            Kind::Initialize(search) => Some(HookEvent::Initialize(search.start.stored().cloned())),
            Kind::Shutdown => Some(HookEvent::Shutdown),
            Kind::ShardEnd => Some(HookEvent::ShardEnd),
            Kind::LeaseLost => Some(HookEvent::LeaseLost),
            Kind::Records | Kind::Complete | Kind::Stopped | Kind::Halt(_) => None,
        }
    }

    /// When the handler is looked for, if it is not found yet.
    pub(super) fn look_at(&self) -> Option<Instant> {
        match &self.kind {
            Kind::Initialize(search) if self.stage == Stage::Work => Some(search.look_at),
            Kind::Initialize(_)
            | Kind::Records
            | Kind::Shutdown
            | Kind::ShardEnd
            | Kind::Complete
            | Kind::LeaseLost
            | Kind::Stopped
            | Kind::Halt(_) => None,
        }
    }

    /// What the work is about, as far as checkpoints care. The end of a shard is stored when its handlers
    /// have ended, and its hook has succeeded.
    pub(super) fn phase(&self) -> Phase {
        match self.kind {
            Kind::Initialize(_) | Kind::Records | Kind::Complete => Phase::Working,
            Kind::ShardEnd if self.stage != Stage::Last => Phase::Working,
            Kind::ShardEnd => Phase::ShardEnd,
            Kind::Shutdown | Kind::LeaseLost | Kind::Stopped | Kind::Halt(_) => Phase::Shutdown,
        }
    }

    /// No more records; what is done is stored, and then we leave, or the worker is asked to stop.
    pub(super) fn halt(&mut self) {
        let answer = match self.kind {
            Kind::Initialize(_) | Kind::ShardEnd | Kind::Complete | Kind::Halt(Answer::Wrong) => {
                Answer::Wrong
            }
            Kind::Records
            | Kind::Shutdown
            | Kind::LeaseLost
            | Kind::Stopped
            | Kind::Halt(Answer::Possible) => Answer::Possible,
        };
        (self.kind, self.stage) = (Kind::Halt(answer), Stage::Finishing);
    }

    /// The lease is gone and handlers are being stopped. An end of the shard that is not ours is a lost lease.
    pub(super) fn lease_gone(&mut self) {
        self.kind = match &self.kind {
            Kind::ShardEnd | Kind::Complete | Kind::LeaseLost => Kind::LeaseLost,
            Kind::Halt(answer) => Kind::Halt(*answer),
            Kind::Initialize(_) | Kind::Records | Kind::Shutdown | Kind::Stopped => Kind::Stopped,
        };
        self.stage = Stage::Finishing;
    }
}

impl Search {
    /// A search that begins now.
    pub(super) fn new(shard_id: String, start: Start, now: Instant) -> Search {
        Search {
            shard_id,
            start,
            look_at: now,
            give_up_at: now + LOOK_AGAIN,
            said: false,
        }
    }
}
