//! What an answer about a record leads to, where answers have numbers.

use std::time::Instant;

use super::Heard;
use super::line::{Line, Word};
use crate::handler::pool::attempt::Attempt;
use crate::outcome::Class;

/// What is wrong with a line that has the token and is no answer.
pub(super) const MALFORMED: &str = "an answer that cannot be understood";

/// What is wrong with an answer that does not say of which record it is.
pub(super) const UNNUMBERED: &str = "an answer without the record's number";

/// What is wrong with an answer about another record.
pub(super) const FOREIGN: &str = "an answer for a record that it does not have";

/// What an answer about a record, by its number, leads to.
pub(super) fn take(attempt: &mut Attempt, word: Word, number: Option<u64>, now: Instant) -> Heard {
    let Some(number) = number else {
        return Heard::Invalid(UNNUMBERED);
    };
    if (word, number) == (Word::Upto, attempt.answered) {
        // Nothing more is done, but the handler says so: its exit then speaks of the next record.
        attempt.said = Some(Line::Answer(word, Some(number)));
        return Heard::Noted;
    }
    let Some(records) = attempt.through(number) else {
        return Heard::Invalid(FOREIGN);
    };
    attempt.is_alive(now);
    attempt.said = Some(Line::Answer(word, Some(number)));
    match (word, records) {
        (Word::Upto, _) => Heard::Done {
            records,
            checkpoint: false,
        },
        (Word::Checkpoint, _) => Heard::Done {
            records,
            checkpoint: true,
        },
        (_, 2..) => Heard::Invalid("an answer that skips an older record"),
        (Word::Ok, _) => Heard::Done {
            records,
            checkpoint: false,
        },
        (Word::Retry, _) => Heard::Bad(Class::Retry),
        (Word::Reject, _) => Heard::Bad(Class::Reject),
        (Word::Fail, _) => Heard::Bad(Class::Fail),
        (Word::Progress | Word::Halt, _) => {
            Heard::Invalid("an answer with an impossible record number")
        }
    }
}
