//! How much a handler may have at a time that is given batches.

use crate::handler::held::Most;
use crate::handler::pool::attempt::Attempt;

/// The most that one batch may have.
pub(super) struct Batches {
    /// Records; `None` for no limit.
    pub(super) size: Option<usize>,
    /// Bytes of payload; `None` for no limit.
    pub(super) bytes: Option<u64>,
    /// Bytes of the daemon's lines.
    pub(super) line: u64,
}

impl Batches {
    /// Whether a batch may not have one more record, with which it would have this many bytes.
    pub(super) fn is_full(&self, attempt: &Attempt, bytes: u64) -> bool {
        let has = attempt.unanswered.len();
        self.size.is_some_and(|size| has >= size) || (has > 0 && bytes > self.most().payload)
    }

    /// The same as one value.
    pub(super) fn most(&self) -> Most {
        Most {
            records: self.size.map_or(u64::MAX, |size| size as u64),
            payload: self.bytes.unwrap_or(u64::MAX),
            line: self.line,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Whether a batch of so many records is full for one with which it would have so many bytes.
    fn is_full(size: Option<usize>, limit: Option<u64>, has: usize, bytes: u64) -> bool {
        let now = Instant::now();
        let mut attempt = Attempt::new(now);
        (0..has).for_each(|index| _ = attempt.give(index, now));
        let batches = Batches {
            size,
            bytes: limit,
            line: u64::MAX,
        };
        batches.is_full(&attempt, bytes)
    }

    #[test]
    fn a_batch_has_as_much_as_it_may_and_a_record_that_is_too_large_alone() {
        for (size, limit, has, bytes, expected) in [
            (None, None, 1000, u64::MAX, false),
            (Some(2), None, 1, 10, false),
            (Some(2), None, 2, 10, true),
            (None, Some(10), 1, 10, false),
            (None, Some(10), 1, 11, true),
            (None, Some(10), 0, 11, false),
            (Some(1), Some(10), 0, 11, false),
        ] {
            let found = is_full(size, limit, has, bytes);
            assert_eq!(found, expected, "{size:?} {limit:?} {has} {bytes}");
        }
    }
}
