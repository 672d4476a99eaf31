//! Which states lives have reached.

use std::collections::BTreeMap;

/// The states that at least one life in a hundred must reach; what is counted besides is for the curious.
pub(crate) const NAMED: &[&str] = &[
    "SIGKILL",
    "end of input between actions",
    "end of input in an action",
    "lease lost in mid-run",
    "lease lost without a word",
    "orderly shutdown",
    "shutdown of 1.x",
    "LATEST restart",
    "LATEST: the first record alone",
    "halt in an action",
    "halt with no action open",
    "letters waiting",
    "letter file locked",
    "letter file fails",
    "letter command fails",
    "skipped",
    "breaker open",
    "too old",
    "the machine slept",
    "broken handler",
    "cannot be started",
    "narrowing",
    "suspect given alone",
    "time limit",
    "killed after TERM",
    "invalid answer",
    "input unread",
    "idle death",
    "lease probe",
    "keep-alive",
    "keep-alive before the first checkpoint",
    "checkpoint refused",
    "checkpoint tried again",
    "checkpoint round failed",
    "SHARD_END refused",
    "SHARD_END tried again",
    "hook fails",
    "held records at a shard's end",
    "checkpoint withheld at a shard's end",
    "aggregate cut by a border",
    "older positions again",
    "stale empty read",
    "signal",
    "request beyond what is done",
    "restart from a checkpoint within an aggregate",
    "pipe is full",
    "command missing at first",
    "payload that does not fit the format",
    "a filtered record",
    "a read of which nothing passes",
    "LATEST: the first record is filtered",
    "held records over a border",
    "a run under way while no action is open",
    "leaseLost in mid-run",
    "shutdownRequested in mid-run",
    "end of input in mid-run",
    "handlers stopped at a drain's end",
    "records held at shardEnded",
    "a drop",
    "a shard's end after a drop",
    "a checkpoint due with no action open",
    "a window closed by size",
    "a window closed by bytes",
    "a window closed by age",
    "a window closed by age in the stream",
    "a window closed by the next one",
    "a window closed by the clock",
    "a window closed for room",
    "a window closed by the shard's end",
    "an aligned batch as it was",
    "the same batch in another life",
    "an event that failed without a name",
    "a reply that lists a record",
    "a reply to a batch that lists a record",
    "an answer to an event that was not read",
    "a second answer to an event",
    "the disk is full",
    "a rate waited for",
    "a slot waited for",
    "a slot left to others",
];

/// How many lives reached each state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    /// The state is reached.
    pub(crate) fn hit(&mut self, state: &'static str) {
        self.0.insert(state, 1);
    }

    /// Adds what another life has reached.
    pub(crate) fn add(&mut self, other: &Coverage) {
        for (state, lives) in &other.0 {
            *self.0.entry(state).or_default() += lives;
        }
    }

    /// In how many lives it was.
    pub(crate) fn of(&self, state: &str) -> u64 {
        self.0.get(state).copied().unwrap_or_default()
    }
}
