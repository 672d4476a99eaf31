//! What children print.

use std::time::Duration;

use crate::daemon::digits;
use crate::handlers::Say;
use crate::world::Rng;

/// The words of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Ok,
    Upto,
    Checkpoint,
    Retry,
    Reject,
    Fail,
    Progress,
    Halt,
    Nonsense,
    /// A reply that lists nothing.
    Done,
    /// A reply that lists this record, by its sequence number and perhaps its place, and others.
    Lowest(u64, Option<u64>),
}

impl Word {
    fn text(self) -> &'static str {
        match self {
            Word::Ok => "ok",
            Word::Upto => "upto",
            Word::Checkpoint => "checkpoint",
            Word::Retry => "retry",
            Word::Reject => "reject",
            Word::Fail => "fail",
            Word::Progress => "progress",
            Word::Halt => "halt",
            Word::Nonsense => "okay",
            Word::Done | Word::Lowest(..) => "",
        }
    }
}

/// The lowest record that a reply lists.
fn lowest(sequence_number: u64, place: Option<u64>) -> String {
    let sequence_number = digits(sequence_number);
    let place = place.map_or_else(String::new, |place| format!(":{place}"));
    format!("{{\"batchItemFailures\":[{{\"itemIdentifier\":\"{sequence_number}{place}\"}}]}}")
}

/// A reply to an event.
pub(super) fn reply(at: Duration, word: Word, rng: &mut Rng) -> Say {
    let text = match word {
        Word::Lowest(sequence_number, place) => lowest(sequence_number, place),
        _ => rng
            .pick(&["null", "{}", "{\"batchItemFailures\":[]}"])
            .to_owned(),
    };
    Say {
        text,
        ..say(at, word, None)
    }
}

/// An answer, with the token.
pub(super) fn say(at: Duration, word: Word, n: Option<u64>) -> Say {
    let text = match n {
        Some(n) => format!("{} {n}", word.text()),
        None => word.text().to_owned(),
    };
    Say {
        at,
        word: Some((word, n)),
        tokened: true,
        late: false,
        text,
    }
}

/// The same without the token.
pub(super) fn bare(say: Say) -> Say {
    Say {
        tokened: false,
        ..say
    }
}
