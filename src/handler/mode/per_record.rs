//! One handler process per record: its input ends behind the record, and its exit code is the verdict.

use std::time::Instant;

use super::environment::{self, Environment};
use super::line::{Line, Word};
use super::{Evidence, Finding, Given, Heard, Mode, Reason, Verdict};
use crate::handler::pool::attempt::{Attempt, ExitReport};
use crate::outcome::{Class, Ended};

pub(super) struct PerRecord;

impl Mode for PerRecord {
    fn is_full(&self, attempt: &Attempt, _bytes: u64) -> bool {
        !attempt.unanswered.is_empty()
    }

    fn is_spent(&self, _attempt: &Attempt) -> bool {
        true
    }

    fn describe(&self, environment: &mut Environment, given: &Given<'_>) {
        let mut memory = String::new();
        let record = given.queue.header(given.first, &mut memory);
        let behind = given.queue.millis_behind_latest(given.first);
        environment::of_record(environment, record, behind, given.attempt);
        environment::of_id(environment, given);
    }

    fn must_read(&self) -> bool {
        false
    }

    /// Words count once the handler has ended well: the last one with the token, and `checkpoint` without it.
    fn hear(&self, attempt: &mut Attempt, line: &[u8], now: Instant) -> Heard {
        match Line::parse(line, &attempt.token, false, true) {
            Line::Other => return Heard::Log,
            Line::Answer(Word::Progress, None) => attempt.is_alive(now),
            Line::Answer(Word::Checkpoint, None) => attempt.asked_to_checkpoint = true,
            said @ (Line::Answer(..) | Line::Malformed) => attempt.said = Some(said),
        }
        Heard::Noted
    }

    /// A non-zero exit speaks for itself; with exit 0 its words count, and one that makes no sense here fails
    /// the attempt.
    fn verdict(&self, attempt: &Attempt, end: &ExitReport, evidence: &Evidence<'_>) -> Verdict {
        let class = evidence.on_exit.class(end.ended);
        let (class, reason) = match (class, attempt.said) {
            (Class::Done, Some(said)) if end.ended == Ended::Code(0) => of_word(said),
            (class, _) => (class, Reason::Exit(end.ended)),
        };
        match class {
            Class::Done | Class::Checkpoint => Finding::Done {
                checkpoint: attempt.asked_to_checkpoint || class == Class::Checkpoint,
            }
            .because(Reason::Exit(end.ended)),
            class @ (Class::Reject | Class::Retry | Class::Fail | Class::Broken | Class::Halt) => {
                Finding::Oldest(class).because(reason)
            }
        }
    }

    fn advice(&self) -> &'static str {
        "--per batch or --per shard start fewer processes, --jobs N runs several at a time"
    }
}

/// What a word says of the only record there is.
fn of_word(said: Line) -> (Class, Reason) {
    let class = match said {
        Line::Answer(Word::Ok, None) => Class::Done,
        Line::Answer(Word::Retry, None) => Class::Retry,
        Line::Answer(Word::Reject, None) => Class::Reject,
        Line::Answer(Word::Halt, None) => Class::Halt,
        Line::Answer(Word::Fail, None) => Class::Fail,
        Line::Answer(..) | Line::Malformed | Line::Other => return (Class::Fail, Reason::Nonsense),
    };
    (class, Reason::Answered(class))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::OnExit;

    const DONE: Finding = Finding::Done { checkpoint: false };
    const CHECKPOINT: Finding = Finding::Done { checkpoint: true };

    #[test]
    fn the_advice_names_the_other_ways() {
        assert!(PerRecord.advice().contains("--per batch or --per shard"));
        assert_eq!(PerRecord.remark(&Attempt::new(Instant::now())), None);
    }

    /// What these lines and this exit code lead to; `@` stands for the token.
    fn ends(lines: &[&str], code: u8) -> Finding {
        ends_by(&OnExit::default(), lines, code)
    }

    fn ends_by(on_exit: &OnExit, lines: &[&str], code: u8) -> Finding {
        let now = Instant::now();
        let mut attempt = Attempt::new(now);
        attempt.give(0, now);
        for line in lines {
            let line = line.replace('@', &attempt.token);
            PerRecord.hear(&mut attempt, line.as_bytes(), now);
        }
        let evidence = Evidence {
            on_exit,
            is_suspect: false,
            find: &|_| None,
        };
        PerRecord
            .verdict(&attempt, &ExitReport::of(Ended::Code(code)), &evidence)
            .finding
    }

    #[test]
    fn words_count_with_exit_0_and_a_non_zero_exit_speaks_for_itself() {
        for (lines, code, expected) in [
            (&[][..], 0, DONE),
            (&["@ ok"], 0, DONE),
            (&["@ retry"], 0, Finding::Oldest(Class::Retry)),
            (&["@ reject"], 0, Finding::Oldest(Class::Reject)),
            (&["@ fail"], 0, Finding::Oldest(Class::Fail)),
            (&["@ halt"], 0, Finding::Oldest(Class::Halt)),
            (&["@ reject", "@ ok"], 0, DONE),
            (&["@ ok"], 1, Finding::Oldest(Class::Fail)),
            (&["@ halt"], 75, Finding::Oldest(Class::Retry)),
            (&["reject", "halt", "ok"], 0, DONE),
        ] {
            assert_eq!(ends(lines, code), expected, "{lines:?} {code}");
        }
        let nine_is_done = OnExit(vec![(9, Class::Done)]);
        assert_eq!(ends_by(&nine_is_done, &["@ reject"], 9), DONE);
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
                Finding::Oldest(Class::Reject),
            ),
            (&["checkpoint"], 1, Finding::Oldest(Class::Fail)),
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
            assert_eq!(ends(&[line], 0), Finding::Oldest(Class::Fail), "{line}");
        }
    }

    #[test]
    fn it_has_no_reply_that_could_be_misunderstood() {
        assert_eq!(PerRecord.remark(&Attempt::new(Instant::now())), None);
    }

    #[test]
    fn progress_is_a_sign_of_life() {
        let now = Instant::now();
        let later = now + std::time::Duration::from_secs(1);
        let mut attempt = Attempt::new(now);
        assert_eq!(
            PerRecord.hear(&mut attempt, b"progress", later),
            Heard::Noted
        );
        assert_eq!(attempt.alive, later);
        assert_eq!(
            PerRecord.hear(&mut attempt, b"progress 50%", later),
            Heard::Log
        );
    }
}
