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
