//! An interval: what came between two counts, for whoever sums it up.

use std::time::Duration;

use super::Snapshot;
use crate::checkpoint::Results;
use crate::counters::Counters;
use crate::outcome::Class;
use crate::throttle::Throttle;

/// What happened between two moments.
#[derive(Debug)]
pub(super) struct Interval<'a> {
    /// How long it took.
    pub(super) took: Duration,
    /// What was counted at its begin.
    pub(super) then: &'a Counters,
    /// What had come of checkpoints by then.
    pub(super) stored_then: Results,
    /// How things stand at its end.
    pub(super) snapshot: &'a Snapshot,
}

impl Interval<'_> {
    /// How much a count grew in it.
    pub(super) fn grown(&self, count: impl Fn(&Counters) -> u64) -> u64 {
        count(&self.snapshot.counters) - count(self.then)
    }

    /// The attempts that failed in it, by their class.
    pub(super) fn failed(&self) -> impl Iterator<Item = (Class, u64)> {
        let both = self.snapshot.counters.failed().zip(self.then.failed());
        both.map(|((class, now), (_, then))| (class, now - then))
    }

    /// The same, of all classes.
    pub(super) fn failed_attempts(&self) -> u64 {
        self.failed().map(|(_, count)| count).sum()
    }

    /// For how long this limit held up a handler in it.
    pub(super) fn waited(&self, throttle: Throttle) -> Duration {
        let of = |counters: &Counters| counters.throttled_times[throttle as usize];
        of(&self.snapshot.counters).saturating_sub(of(self.then))
    }

    /// What came of checkpoints in it.
    pub(super) fn checkpoints(&self) -> Results {
        let (now, then) = (self.snapshot.checkpoints, self.stored_then);
        Results {
            stored: now.stored - then.stored,
            failed: now.failed - then.failed,
            refused: now.refused - then.refused,
            lease_lost: now.lease_lost - then.lease_lost,
        }
    }
}
