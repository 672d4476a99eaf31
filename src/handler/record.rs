//! One handler process per record: its input ends behind the record, and its exit code is the verdict.

use super::attempt::{Attempt, Heard, Verdict};
use crate::outcome::{Class, Ended, Line, OnExit, Word};

/// Takes a line of the handler's stdout. Words count once the handler has ended well: the last one with
/// the token, and `checkpoint` without it.
pub(super) fn hear(attempt: &mut Attempt, line: &[u8], now: std::time::Instant) -> Heard {
    match Line::parse(line, &attempt.token, false, true) {
        Line::Other => return Heard::Log,
        Line::Answer(Word::Progress, None) => attempt.is_alive(now),
        Line::Answer(Word::Checkpoint, None) => attempt.wished = true,
        said => attempt.said = Some(said),
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
    Verdict::Oldest(match class {
        Class::Done if attempt.wished => Class::Checkpoint,
        class => class,
    })
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// The class that these lines and this end lead to; `@` stands for the token.
    fn class(lines: &[&str], ended: Ended) -> Class {
        let now = Instant::now();
        let mut attempt = Attempt::new(now);
        for line in lines {
            let line = line.replace('@', &attempt.token);
            hear(&mut attempt, line.as_bytes(), now);
        }
        let Verdict::Oldest(class) = verdict(&attempt, ended, &OnExit::default());
        class
    }

    #[test]
    fn words_count_with_exit_0_and_a_non_zero_exit_speaks_for_itself() {
        for (lines, code, expected) in [
            (&[][..], 0, Class::Done),
            (&["@ ok"], 0, Class::Done),
            (&["@ retry"], 0, Class::Retry),
            (&["@ reject"], 0, Class::Reject),
            (&["@ fail"], 0, Class::Fail),
            (&["@ halt"], 0, Class::Halt),
            (&["@ reject", "@ ok"], 0, Class::Done),
            (&["@ ok"], 1, Class::Fail),
            (&["@ halt"], 75, Class::Retry),
            (&["reject", "halt", "ok"], 0, Class::Done),
        ] {
            assert_eq!(
                class(lines, Ended::Code(code)),
                expected,
                "{lines:?} {code}"
            );
        }
    }

    #[test]
    fn a_checkpoint_counts_if_the_record_ends_done() {
        for (lines, code, expected) in [
            (&["checkpoint"][..], 0, Class::Checkpoint),
            (&["@ checkpoint"], 0, Class::Checkpoint),
            (&["@ checkpoint", "@ ok"], 0, Class::Checkpoint),
            (&["checkpoint", "@ reject"], 0, Class::Reject),
            (&["checkpoint"], 1, Class::Fail),
        ] {
            assert_eq!(
                class(lines, Ended::Code(code)),
                expected,
                "{lines:?} {code}"
            );
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
            assert_eq!(class(&[line], Ended::Code(0)), Class::Fail, "{line}");
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
