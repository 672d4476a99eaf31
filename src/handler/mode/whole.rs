//! What is said of a whole batch: a word without a number, or a reply as Lambda's.

use super::lambda_reply::{self, Reply};
use super::{Evidence, Finding, Reason, Verdict};
use crate::handler::pool::attempt::Attempt;
use crate::outcome::Class;
use crate::process;

/// A failure is about a record if it names it, or if the handler was given no other.
pub(super) fn failed(attempt: &Attempt, class: Class, named: bool) -> Finding {
    if named || attempt.batch == 1 {
        Finding::Oldest(class)
    } else {
        Finding::Unnamed(class)
    }
}

/// What a word says of all the records without an answer.
pub(in crate::handler) fn of_word(attempt: &Attempt, class: Class) -> Verdict {
    let finding = if class.is_good() {
        Finding::Done {
            checkpoint: class == Class::Checkpoint,
        }
    } else {
        failed(attempt, class, false)
    };
    finding.because(Reason::Answered(class))
}

/// What the reply says of all the records without an answer.
pub(in crate::handler) fn of_reply(attempt: &Attempt, evidence: &Evidence<'_>) -> Verdict {
    failure(attempt, evidence).unwrap_or_else(|| of_word(attempt, Class::Done))
}

/// What the reply says, unless it is that all records are done.
pub(super) fn failure(attempt: &Attempt, evidence: &Evidence<'_>) -> Option<Verdict> {
    match lambda_reply::reply(&attempt.reply, evidence.find) {
        Reply::Success => None,
        Reply::FailedFrom(records) => {
            let next = Class::Fail;
            Some(Finding::Upto { records, next }.because(Reason::Named))
        }
        Reply::Failure => {
            let reason = Reason::BadReply(process::excerpt(&attempt.reply));
            Some(failed(attempt, Class::Fail, false).because(reason))
        }
    }
}
