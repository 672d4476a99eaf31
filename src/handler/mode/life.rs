//! A handler that lives as long as the lease: when it is replaced, and what its death says of what it had.

use super::{Evidence, Finding, Reason, Verdict};
use crate::handler::pool::attempt::{Attempt, ExitReport};
use crate::outcome::Class;
use crate::process::Feed;

/// What modes have in common whose handlers live on.
pub(super) struct Life {
    /// Answers stand without the token.
    pub(super) plain: bool,
    /// This many records for one process; `None` for no limit.
    pub(super) max_records: Option<u64>,
    /// There is only one handler at a time.
    pub(super) alone: bool,
}

impl Life {
    pub(super) fn is_spent(&self, attempt: &Attempt) -> bool {
        self.max_records.is_some_and(|max| attempt.given >= max)
    }

    pub(super) fn feed(&self) -> Feed {
        Feed::Stream {
            // Not large for many at a time: the system's memory for pipes is bounded.
            large: self.alone,
            torn: false,
        }
    }

    /// A death is no verdict: the oldest record is first given alone to a new handler, and it is a suspect if
    /// that has happened already. A rejection of the only record it had is one.
    pub(super) fn death(attempt: &Attempt, end: &ExitReport, evidence: &Evidence<'_>) -> Verdict {
        let class = match evidence.on_exit.class(end.ended) {
            Class::Done | Class::Checkpoint => Class::Fail,
            class @ (Class::Reject | Class::Retry | Class::Fail | Class::Broken | Class::Halt) => {
                class
            }
        };
        let rejected = class == Class::Reject && attempt.unanswered.len() == 1;
        let finding = if rejected || (evidence.is_suspect && attempt.given == 1) {
            Finding::Oldest(class)
        } else {
            Finding::Unnamed(class)
        };
        finding.because(Reason::Exit(end.ended))
    }
}
