//! A lease: where it stands, and what was delivered under it.

use std::fmt;
use std::ops::Range;

use crate::record::Position;

/// The checkpoint of a lease, in KCL's order: `AT_TIMESTAMP` before `TRIM_HORIZON` before `LATEST` before
/// every number before `SHARD_END` (`ExtendedSequenceNumber.java`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeasePosition {
    /// Start at a time.
    AtTimestamp,
    /// Start at the oldest record.
    TrimHorizon,
    /// Start behind the newest record.
    Latest,
    /// Start behind this record.
    At(Position),
    /// Nothing is left to do.
    ShardEnd,
}

/// The positions that are no numbers.
const SENTINELS: [LeasePosition; 4] = [
    LeasePosition::AtTimestamp,
    LeasePosition::TrimHorizon,
    LeasePosition::Latest,
    LeasePosition::ShardEnd,
];

impl LeasePosition {
    /// The position that a checkpoint names; an absent place in the aggregate is 0. `None` where the daemon
    /// would call it an illegal argument.
    pub fn parse(number: &str, sub: Option<i64>) -> Option<LeasePosition> {
        let sub = u64::try_from(sub.unwrap_or(0)).ok()?;
        let mut sentinels = SENTINELS.into_iter();
        sentinels
            .find(|sentinel| sentinel.numbers().0 == number)
            .or_else(|| Position::new(number, sub).map(LeasePosition::At))
    }

    /// The two numbers that `initialize` has.
    pub fn numbers(&self) -> (&str, u64) {
        match self {
            LeasePosition::At(position) => {
                (&position.sequence_number, position.sub_sequence_number)
            }
            LeasePosition::AtTimestamp => ("AT_TIMESTAMP", 0),
            LeasePosition::TrimHorizon => ("TRIM_HORIZON", 0),
            LeasePosition::Latest => ("LATEST", 0),
            LeasePosition::ShardEnd => ("SHARD_END", 0),
        }
    }
}

impl fmt::Display for LeasePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let LeasePosition::At(position) = self {
            position.fmt(f)
        } else {
            f.pad(self.numbers().0)
        }
    }
}

/// The lease of a shard. What is stored and what was ever delivered outlives every child.
#[derive(Debug)]
pub struct Lease {
    /// The last checkpoint that was stored.
    pub stored: LeasePosition,
    /// The place of the first record that was never delivered.
    pub fresh: usize,
    /// How many records are in batches that were answered.
    pub answered: usize,
    /// What is between the lease and its present child.
    pub assignment: Assignment,
}

/// What a lease is for one child: KCL makes a checkpointer anew for each.
#[derive(Debug)]
pub struct Assignment {
    /// The largest position delivered, which is the largest that a checkpoint may name.
    pub largest: LeasePosition,
    /// The largest position delivered when the shard ended (`sequenceNumberAtShardEnd`).
    pub at_end: Option<LeasePosition>,
    /// The place of the record that was the first to be delivered.
    pub first: usize,
    /// The place of the record to be delivered next.
    pub next: usize,
    /// The records of the last batch, by their places in the shard.
    pub batch: Range<usize>,
    /// Whether the last batch had a record that was never delivered before.
    pub is_new: bool,
    /// A checkpoint was answered with `ShutdownException`.
    pub is_lost: bool,
    /// The child was asked to drain: `shutdownRequested` was sent.
    pub is_draining: bool,
}

/// What came of a checkpoint that KCL takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is stored.
    New,
    /// It names what was stored before: KCL stores nothing, and says that all is well.
    Repeated,
    /// The same, but the shard has ended and this was meant as its end.
    RepeatedAtEnd,
}

impl Lease {
    /// A lease that stands at `stored` and under which nothing was delivered yet.
    pub fn new(stored: LeasePosition) -> Lease {
        Lease {
            assignment: Assignment::new(stored.clone(), 0),
            stored,
            fresh: 0,
            answered: 0,
        }
    }

    /// The lease has a new child, whose first record is the one at place `next`.
    pub fn assign(&mut self, next: usize) {
        self.assignment = Assignment::new(self.stored.clone(), next);
    }

    /// A batch is delivered, with this position last; returns how many of its records came before.
    pub fn deliver(&mut self, batch: Range<usize>, last: Option<LeasePosition>) -> usize {
        let again = self.fresh.min(batch.end).saturating_sub(batch.start);
        let assignment = &mut self.assignment;
        // What lies between is skipped, as at the tip, and does not come again.
        if batch.start > assignment.next {
            assignment.first = batch.start;
        }
        assignment.is_new = batch.end > self.fresh;
        self.fresh = self.fresh.max(batch.end);
        assignment.next = batch.end;
        assignment.batch = batch;
        if let Some(last) = last.filter(|last| *last > assignment.largest) {
            assignment.largest = last;
        }
        again
    }

    /// The shard's end is delivered: from here on it is the largest position, and the one delivered last
    /// stands for it.
    pub fn end_shard(&mut self) {
        let largest = &mut self.assignment.largest;
        let at_end = std::mem::replace(largest, LeasePosition::ShardEnd);
        self.assignment.at_end = Some(at_end);
    }

    /// Stores a position. At the shard's end the position delivered last is stored as `SHARD_END`, unless it
    /// was stored before.
    pub fn store(&mut self, position: LeasePosition) -> Stored {
        let is_last = self.assignment.at_end.as_ref() == Some(&position);
        if position == self.stored {
            let is_end = position == LeasePosition::ShardEnd;
            return if is_last && !is_end {
                Stored::RepeatedAtEnd
            } else {
                Stored::Repeated
            };
        }
        self.stored = if is_last {
            LeasePosition::ShardEnd
        } else {
            position
        };
        Stored::New
    }
}

impl Assignment {
    fn new(stored: LeasePosition, next: usize) -> Assignment {
        Assignment {
            largest: stored,
            at_end: None,
            first: next,
            next,
            batch: next..next,
            is_new: false,
            is_lost: false,
            is_draining: false,
        }
    }

    /// Whether the child is to get no more records.
    pub fn is_over(&self) -> bool {
        self.is_lost || self.is_draining
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentinels_stand_around_the_numbers() {
        let position = |number, sub| LeasePosition::parse(number, sub).expect(number);
        let order = [
            position("AT_TIMESTAMP", None),
            position("TRIM_HORIZON", None),
            position("LATEST", None),
            position("0", None),
            position("9", Some(4)),
            position("10", None),
            position("10", Some(1)),
            position("SHARD_END", None),
        ];
        assert!(order.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for (number, sub) in [
            ("", None),
            ("x", None),
            ("-1", None),
            ("shard_end", None),
            ("1", Some(-1)),
        ] {
            assert_eq!(LeasePosition::parse(number, sub), None, "{number}");
        }
    }

    #[test]
    fn a_position_is_written_as_the_daemon_writes_it() {
        let at = LeasePosition::parse("49", Some(2)).expect("a position");
        assert_eq!((at.numbers(), at.to_string()), (("49", 2), "49.2".into()));
        let start = LeasePosition::TrimHorizon;
        assert_eq!(
            (start.numbers(), start.to_string()),
            (("TRIM_HORIZON", 0), "TRIM_HORIZON".into())
        );
    }
}
