//! One handler process per batch: its input ends behind the last record, its lines may tell how far it
//! came, and its exit code speaks of the first record that is not done.

use std::time::Instant;

use super::attempt::{Attempt, End, Heard, Verdict};
use super::lambda;
use crate::outcome::{Class, Ended, Line, OnExit, Word};

/// Takes a line of the handler's stdout. An answer names its record; a bare `checkpoint` counts if the
/// whole run ends done.
pub(super) fn hear(attempt: &mut Attempt, line: &[u8], replies: bool, now: Instant) -> Heard {
    match Line::parse(line, &attempt.token, false, true) {
        Line::Other if replies && !line.trim_ascii().is_empty() => {
            let earlier = std::mem::replace(&mut attempt.reply, line.to_vec());
            if !earlier.is_empty() {
                crate::process::log_stdout(&earlier);
            }
        }
        Line::Other => return Heard::Log,
        Line::Malformed => return Heard::Misled("an answer that cannot be understood"),
        Line::Answer(Word::Progress, None) => attempt.is_alive(now),
        Line::Answer(Word::Checkpoint, None) => attempt.wished = true,
        Line::Answer(Word::Halt, None) => return Heard::Halt,
        Line::Answer(word, number) => return answer(attempt, word, number, now),
    }
    Heard::Noted
}

/// What an answer about a record, by its number, leads to; also for handlers that live on.
pub(super) fn answer(
    attempt: &mut Attempt,
    word: Word,
    number: Option<u64>,
    now: Instant,
) -> Heard {
    let Some(number) = number else {
        return Heard::Misled("an answer without the record's number");
    };
    if (word, number) == (Word::Upto, attempt.answered) {
        // Nothing more is done, but the handler says so: its exit then speaks of the next record.
        attempt.said = Some(Line::Answer(word, Some(number)));
        return Heard::Noted;
    }
    let Some(records) = attempt.through(number) else {
        return Heard::Misled("an answer for a record that it does not have");
    };
    attempt.is_alive(now);
    attempt.said = Some(Line::Answer(word, Some(number)));
    match (word, records) {
        (Word::Upto, _) => Heard::Done {
            records,
            wish: false,
        },
        (Word::Checkpoint, _) => Heard::Done {
            records,
            wish: true,
        },
        (_, 2..) => Heard::Misled("an answer that passes over an older record"),
        (Word::Ok, _) => Heard::Done {
            records,
            wish: false,
        },
        (Word::Retry, _) => Heard::Bad(Class::Retry),
        (Word::Reject, _) => Heard::Bad(Class::Reject),
        (Word::Fail, _) => Heard::Bad(Class::Fail),
        (Word::Progress | Word::Halt, _) => {
            Heard::Misled("an answer with a number that it cannot have")
        }
    }
}

/// What the handler's end says of the records that it has not answered. With `find`, the last line it
/// printed is a reply as Lambda's.
pub(super) fn verdict(
    attempt: &Attempt,
    end: &End,
    on_exit: &OnExit,
    find: Option<&lambda::Find<'_>>,
) -> Verdict {
    let class = on_exit.class(end.ended);
    if !matches!(class, Class::Done | Class::Checkpoint) {
        return failed(attempt, class, names(attempt, end.ended));
    }
    if end.unread > 0 {
        return failed(attempt, Class::Fail, false);
    }
    let wish = attempt.wished || class == Class::Checkpoint;
    match find.map_or(lambda::Reply::Success, |find| {
        lambda::reply(&attempt.reply, find)
    }) {
        lambda::Reply::Success => Verdict::Done { wish },
        lambda::Reply::FailedFrom(records) => Verdict::Upto {
            records,
            next: Class::Fail,
        },
        lambda::Reply::Failure => failed(attempt, Class::Fail, false),
    }
}

/// A failure is about a record if it names it, or if the handler was given no other.
fn failed(attempt: &Attempt, class: Class, named: bool) -> Verdict {
    if named || attempt.given == 1 {
        Verdict::Oldest(class)
    } else {
        Verdict::Unnamed(class)
    }
}

/// Whether an exit speaks of the first record that is not done: it is a code, and the handler has told
/// by its answers which record that is.
fn names(attempt: &Attempt, ended: Ended) -> bool {
    matches!(ended, Ended::Code(_)) && attempt.said.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of `records` records that printed these lines (`@` stands for the token); what each line led
    /// to is applied.
    fn run(records: usize, lines: &[&str]) -> (Attempt, Vec<Heard>) {
        let now = Instant::now();
        let mut attempt = Attempt::new(now);
        for index in 0..records {
            attempt.give(index, now);
        }
        let mut heard = Vec::new();
        for line in lines {
            let line = line.replace('@', &attempt.token);
            let said = hear(&mut attempt, line.as_bytes(), false, now);
            if let Heard::Done { records, .. } = said {
                for _ in 0..records {
                    attempt.answer();
                }
            }
            heard.push(said);
        }
        (attempt, heard)
    }

    fn ends(records: usize, lines: &[&str], ended: Ended, unread: u64) -> Verdict {
        let end = End {
            pid: 1,
            stopped: false,
            ended,
            unread,
            stderr: Vec::new(),
        };
        verdict(&run(records, lines).0, &end, &OnExit::default(), None)
    }

    #[test]
    fn answers_name_their_record() {
        for (line, expected) in [
            (
                "@ ok 1",
                Heard::Done {
                    records: 1,
                    wish: false,
                },
            ),
            (
                "@ upto 3",
                Heard::Done {
                    records: 3,
                    wish: false,
                },
            ),
            (
                "@ checkpoint 2",
                Heard::Done {
                    records: 2,
                    wish: true,
                },
            ),
            ("@ reject 1", Heard::Bad(Class::Reject)),
            ("@ retry 1", Heard::Bad(Class::Retry)),
            ("@ fail 1", Heard::Bad(Class::Fail)),
            ("@ halt", Heard::Halt),
            ("@ upto 0", Heard::Noted),
            ("progress", Heard::Noted),
            ("checkpoint", Heard::Noted),
            ("ok 1", Heard::Log),
            (
                "@ ok",
                Heard::Misled("an answer without the record's number"),
            ),
            (
                "@ ok 2",
                Heard::Misled("an answer that passes over an older record"),
            ),
            (
                "@ reject 2",
                Heard::Misled("an answer that passes over an older record"),
            ),
            (
                "@ upto 4",
                Heard::Misled("an answer for a record that it does not have"),
            ),
            (
                "@ ok 0",
                Heard::Misled("an answer for a record that it does not have"),
            ),
            (
                "@ okay 1",
                Heard::Misled("an answer that cannot be understood"),
            ),
            (
                "@ progress 1",
                Heard::Misled("an answer with a number that it cannot have"),
            ),
        ] {
            assert_eq!(run(3, &[line]).1, [expected], "{line}");
        }
        let twice = run(3, &["@ ok 1", "@ ok 1"]).1[1];
        assert_eq!(
            twice,
            Heard::Misled("an answer for a record that it does not have")
        );
    }

    #[test]
    fn the_exit_speaks_of_the_first_record_not_done_if_answers_tell_which_that_is() {
        let code = Ended::Code;
        for (lines, ended, unread, expected) in [
            (&[][..], code(0), 0, Verdict::Done { wish: false }),
            (&["@ upto 2"], code(0), 0, Verdict::Done { wish: false }),
            (&["checkpoint"], code(0), 0, Verdict::Done { wish: true }),
            (&["@ upto 2"], code(65), 0, Verdict::Oldest(Class::Reject)),
            (&["@ upto 0"], code(1), 0, Verdict::Oldest(Class::Fail)),
            (&[], code(65), 0, Verdict::Unnamed(Class::Reject)),
            (&[], code(75), 0, Verdict::Unnamed(Class::Retry)),
            (&[], code(0), 1, Verdict::Unnamed(Class::Fail)),
            (
                &["@ upto 2"],
                Ended::TimedOut,
                0,
                Verdict::Unnamed(Class::Fail),
            ),
            (
                &["@ upto 2"],
                Ended::Signal(9),
                0,
                Verdict::Unnamed(Class::Fail),
            ),
        ] {
            assert_eq!(
                ends(3, lines, ended, unread),
                expected,
                "{lines:?} {ended} {unread}"
            );
        }
    }

    #[test]
    fn a_run_of_one_record_is_about_that_record() {
        assert_eq!(
            ends(1, &[], Ended::Code(1), 0),
            Verdict::Oldest(Class::Fail)
        );
        assert_eq!(
            ends(1, &[], Ended::TimedOut, 0),
            Verdict::Oldest(Class::Fail)
        );
    }
}
