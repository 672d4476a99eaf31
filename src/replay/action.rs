//! What the daemon asks of its child.

/// The work that a child was given and has to answer with a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are named as the daemon's messages")]
pub enum Action {
    Initialize,
    ProcessRecords,
    ShutdownRequested,
    LeaseLost,
    ShardEnded,
}

impl Action {
    /// As the daemon's message says it.
    pub fn name(self) -> &'static str {
        match self {
            Action::Initialize => "initialize",
            Action::ProcessRecords => "processRecords",
            Action::ShutdownRequested => "shutdownRequested",
            Action::LeaseLost => "leaseLost",
            Action::ShardEnded => "shardEnded",
        }
    }

    /// Whether records or the shard's end may come next, so that the daemon may be idle before.
    pub fn is_followed_by_work(self) -> bool {
        matches!(self, Action::Initialize | Action::ProcessRecords)
    }

    /// Whether the daemon has a checkpointer while this is outstanding.
    pub fn takes_checkpoints(self) -> bool {
        !matches!(self, Action::Initialize | Action::LeaseLost)
    }
}
