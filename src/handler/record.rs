//! One handler process per record: its input ends behind the record, and its exit code is the verdict.

use std::time::Instant;

use super::attempt::{Attempt, Heard, Verdict};
use crate::outcome::{Class, Ended, Line, OnExit, Word};

/// Takes a line of the handler's stdout. Words count once the handler has ended well: the last one with
/// the token, and `checkpoint` without it.
pub(super) fn hear(attempt: &mut Attempt, line: &[u8], now: Instant) -> Heard {
    match Line::parse(line, &attempt.token, false, true) {
        Line::Other => return Heard::Log,
        Line::Answer(Word::Progress, None) => attempt.is_alive(now),
        Line::Answer(Word::Checkpoint, None) => attempt.wished = true,
        said @ (Line::Answer(..) | Line::Malformed) => attempt.said = Some(said),
    }
    Heard::Noted
}

/// What the handler's end says of its record. A non-zero exit speaks for itself; with exit 0 its words
/// count, and one that makes no sense here fails the attempt.
pub(super) fn verdict(attempt: &Attempt, ended: Ended, on_exit: &OnExit) -> Verdict {
    let class = match (on_exit.class(ended), attempt.said) {
        (Class::Done, Some(said)) if ended == Ended::Code(0) => class_of(said),
        (class, _) => class,
    };
    match class {
        Class::Done => Verdict::Done {
            wish: attempt.wished,
        },
        Class::Checkpoint => Verdict::Done { wish: true },
        class => Verdict::Oldest(class),
    }
}

fn class_of(said: Line) -> Class {
    match said {
        Line::Answer(Word::Ok, None) => Class::Done,
        Line::Answer(Word::Retry, None) => Class::Retry,
        Line::Answer(Word::Reject, None) => Class::Reject,
        Line::Answer(Word::Halt, None) => Class::Halt,
        Line::Answer(..) | Line::Malformed | Line::Other => Class::Fail,
    }
}

/// Whether a line is an answer that makes sense about the only record there is.
pub(super) fn is_fit(said: Line) -> bool {
    said == Line::Answer(Word::Fail, None) || class_of(said) != Class::Fail
}

#[cfg(test)]
mod tests {
    use super::*;

    const DONE: Verdict = Verdict::Done { wish: false };
    const CHECKPOINT: Verdict = Verdict::Done { wish: true };

    /// What these lines and this exit code lead to; `@` stands for the token.
    fn ends(lines: &[&str], code: u8) -> Verdict {
        let now = Instant::now();
        let mut attempt = Attempt::new(now);
        attempt.give(0, now);
        for line in lines {
            let line = line.replace('@', &attempt.token);
            hear(&mut attempt, line.as_bytes(), now);
        }
        verdict(&attempt, Ended::Code(code), &OnExit::default())
    }

    #[test]
    fn words_count_with_exit_0_and_a_non_zero_exit_speaks_for_itself() {
        for (lines, code, expected) in [
            (&[][..], 0, DONE),
            (&["@ ok"], 0, DONE),
            (&["@ retry"], 0, Verdict::Oldest(Class::Retry)),
            (&["@ reject"], 0, Verdict::Oldest(Class::Reject)),
            (&["@ fail"], 0, Verdict::Oldest(Class::Fail)),
            (&["@ halt"], 0, Verdict::Oldest(Class::Halt)),
            (&["@ reject", "@ ok"], 0, DONE),
            (&["@ ok"], 1, Verdict::Oldest(Class::Fail)),
            (&["@ halt"], 75, Verdict::Oldest(Class::Retry)),
            (&["reject", "halt", "ok"], 0, DONE),
        ] {
            assert_eq!(ends(lines, code), expected, "{lines:?} {code}");
        }
    }

    #[test]
    fn a_checkpoint_counts_if_the_record_ends_done() {
        for (lines, code, expected) in [
            (&["checkpoint"][..], 0, CHECKPOINT),
            (&["@ checkpoint"], 0, CHECKPOINT),
            (&["@ checkpoint", "@ ok"], 0, CHECKPOINT),
            (
                &["checkpoint", "@ reject"],
                0,
                Verdict::Oldest(Class::Reject),
            ),
            (&["checkpoint"], 1, Verdict::Oldest(Class::Fail)),
        ] {
            assert_eq!(ends(lines, code), expected, "{lines:?} {code}");
        }
    }

    #[test]
    fn a_word_that_makes_no_sense_fails_the_attempt() {
        for line in [
            "@ upto 3",
            "@ ok 1",
            "@ checkpoint 1",
            "@ okay",
            "@",
            "@ upto",
        ] {
            assert_eq!(ends(&[line], 0), Verdict::Oldest(Class::Fail), "{line}");
        }
    }

    #[test]
    fn progress_is_a_sign_of_life() {
        let now = Instant::now();
        let later = now + std::time::Duration::from_secs(1);
        let mut attempt = Attempt::new(now);
        assert_eq!(hear(&mut attempt, b"progress", later), Heard::Noted);
        assert_eq!(attempt.alive, later);
        assert_eq!(hear(&mut attempt, b"progress 50%", later), Heard::Log);
    }
}
