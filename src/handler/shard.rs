//! One handler process for as long as the lease lasts: its input stays open, and it answers every record
//! with a line, in order.

use std::time::Instant;

use super::attempt::{Attempt, Heard, Verdict};
use super::batch;
use crate::outcome::{Class, Ended, Line, OnExit, Word, is_untokened};

/// How answers stand on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answers {
    /// Without the token.
    pub(super) plain: bool,
    /// Without the number, for only one record is unanswered at a time.
    pub(super) bare: bool,
}

/// Takes a line of the handler's stdout.
pub(super) fn hear(attempt: &mut Attempt, line: &[u8], answers: Answers, now: Instant) -> Heard {
    let (word, number) = match Line::parse(line, &attempt.token, answers.plain, false) {
        Line::Other if !attempt.unanswered.is_empty() && is_untokened(line) => {
            return Heard::Untokened;
        }
        Line::Other => return Heard::Log,
        Line::Malformed => return Heard::Misled("an answer that cannot be understood"),
        Line::Answer(Word::Halt, None) => return Heard::Halt,
        Line::Answer(Word::Progress, None) => {
            attempt.is_alive(now);
            return Heard::Noted;
        }
        Line::Answer(word, number) => (word, number),
    };
    if attempt.unanswered.is_empty() {
        return Heard::Misled("an answer while it has no record");
    }
    let number = number.or(answers.bare.then_some(attempt.answered + 1));
    if (word, number) == (Word::Upto, Some(attempt.answered)) {
        return Heard::Misled("an answer for a record that it does not have");
    }
    batch::answer(attempt, word, number, now)
}

/// What the handler's death says of the records it had not answered. A death is no verdict: the oldest is
/// first given alone to a new handler, and it is `suspect` if that has happened already. A rejection of
/// the only record it had is one.
pub(super) fn verdict(attempt: &Attempt, ended: Ended, on_exit: &OnExit, suspect: bool) -> Verdict {
    let class = match on_exit.class(ended) {
        Class::Done | Class::Checkpoint => Class::Fail,
        class => class,
    };
    let rejected = class == Class::Reject && attempt.unanswered.len() == 1;
    if rejected || (suspect && attempt.given == 1) {
        Verdict::Oldest(class)
    } else {
        Verdict::Unnamed(class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK_STEP: Answers = Answers {
        plain: false,
        bare: true,
    };
    const WINDOW: Answers = Answers {
        plain: false,
        bare: false,
    };
    const PLAIN: Answers = Answers {
        plain: true,
        bare: true,
    };

    fn with(records: usize) -> Attempt {
        let now = Instant::now();
        let mut attempt = Attempt::new(now);
        for index in 0..records {
            attempt.give(index, now);
        }
        attempt
    }

    fn heard(records: usize, line: &str, answers: Answers) -> Heard {
        let mut attempt = with(records);
        let line = line.replace('@', &attempt.token);
        hear(&mut attempt, line.as_bytes(), answers, Instant::now())
    }

    #[test]
    fn every_word_answers_a_record() {
        let one = Heard::Done {
            records: 1,
            wish: false,
        };
        for (records, line, answers, expected) in [
            (1, "@ ok", LOCK_STEP, one),
            (1, "@ ok 1", LOCK_STEP, one),
            (1, "@ upto", LOCK_STEP, one),
            (
                1,
                "@ checkpoint",
                LOCK_STEP,
                Heard::Done {
                    records: 1,
                    wish: true,
                },
            ),
            (1, "@ retry", LOCK_STEP, Heard::Bad(Class::Retry)),
            (1, "@ reject", LOCK_STEP, Heard::Bad(Class::Reject)),
            (1, "@ fail 1", LOCK_STEP, Heard::Bad(Class::Fail)),
            (
                9,
                "@ upto 7",
                WINDOW,
                Heard::Done {
                    records: 7,
                    wish: false,
                },
            ),
            (
                9,
                "@ checkpoint 9",
                WINDOW,
                Heard::Done {
                    records: 9,
                    wish: true,
                },
            ),
            (1, "@ halt", LOCK_STEP, Heard::Halt),
            (1, "@ progress", LOCK_STEP, Heard::Noted),
            (1, "ok", PLAIN, one),
            (1, "ok", LOCK_STEP, Heard::Untokened),
            (3, "upto 2", WINDOW, Heard::Untokened),
            (0, "ok", LOCK_STEP, Heard::Log),
            (1, "progress", LOCK_STEP, Heard::Log),
            (1, "ok, all is well", LOCK_STEP, Heard::Log),
            (1, "all is well", PLAIN, Heard::Log),
        ] {
            assert_eq!(heard(records, line, answers), expected, "{line}");
        }
    }

    #[test]
    fn an_answer_that_cannot_be_is_noticed_at_once() {
        for (records, line, answers) in [
            (0, "@ ok", LOCK_STEP),
            (0, "@ retry", LOCK_STEP),
            (2, "@ ok", WINDOW),
            (2, "@ ok 2", WINDOW),
            (2, "@ upto 3", WINDOW),
            (2, "@ upto 0", WINDOW),
            (1, "@ fine", LOCK_STEP),
        ] {
            assert!(
                matches!(heard(records, line, answers), Heard::Misled(_)),
                "{line}"
            );
        }
    }

    #[test]
    fn a_death_is_charged_only_to_a_suspect_that_was_given_alone() {
        let table = OnExit::default();
        let code = Ended::Code;
        for (records, ended, suspect, expected) in [
            (1, code(1), false, Verdict::Unnamed(Class::Fail)),
            (1, code(0), false, Verdict::Unnamed(Class::Fail)),
            (1, code(1), true, Verdict::Oldest(Class::Fail)),
            (1, code(0), true, Verdict::Oldest(Class::Fail)),
            (1, Ended::TimedOut, true, Verdict::Oldest(Class::Fail)),
            (3, code(1), true, Verdict::Unnamed(Class::Fail)),
            (1, code(65), false, Verdict::Oldest(Class::Reject)),
            (3, code(65), false, Verdict::Unnamed(Class::Reject)),
            (3, code(75), false, Verdict::Unnamed(Class::Retry)),
            (3, code(127), false, Verdict::Unnamed(Class::Broken)),
        ] {
            assert_eq!(
                verdict(&with(records), ended, &table, suspect),
                expected,
                "{records} {ended} {suspect}"
            );
        }
    }
}
