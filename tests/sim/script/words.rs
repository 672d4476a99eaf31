//! What children print.

use std::time::Duration;

use crate::handlers::Say;

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
        }
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
