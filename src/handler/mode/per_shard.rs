//! One handler process for as long as the lease lasts: its input stays open, and it answers every record
//! with a line, in order.

use std::time::Instant;

use super::answer;
use super::environment::{self, Environment};
use super::life::Life;
use super::line::{Line, Word, is_untokened};
use super::{Evidence, Given, Heard, Mode, Verdict};
use crate::handler::pool::attempt::{Attempt, ExitReport};
use crate::process::Feed;

pub(super) struct PerShard {
    /// This many records may be unanswered.
    pub(super) inflight: usize,
    /// How long a process lives.
    pub(super) life: Life,
}

impl Mode for PerShard {
    fn lives_on(&self) -> bool {
        true
    }

    fn gives_batches(&self) -> bool {
        false
    }

    fn is_full(&self, attempt: &Attempt, _bytes: u64) -> bool {
        attempt.unanswered.len() >= self.inflight || self.is_spent(attempt)
    }

    fn is_spent(&self, attempt: &Attempt) -> bool {
        self.life.is_spent(attempt)
    }

    fn describe(&self, environment: &mut Environment, given: &Given<'_>) {
        environment::of_lane(environment, given.slot);
        environment::of_inflight(environment, self.inflight);
    }

    fn feed(&self) -> Feed {
        self.life.feed()
    }

    fn hear(&self, attempt: &mut Attempt, line: &[u8], now: Instant) -> Heard {
        let (word, number) = match Line::parse(line, &attempt.token, self.life.plain, false) {
            Line::Other if !attempt.unanswered.is_empty() && is_untokened(line) => {
                return Heard::Untokened;
            }
            Line::Other => return Heard::Log,
            Line::Malformed => return Heard::Invalid(answer::MALFORMED),
            Line::Answer(Word::Halt, None) => return Heard::Halt,
            Line::Answer(Word::Progress, None) => {
                attempt.is_alive(now);
                return Heard::Noted;
            }
            Line::Answer(word, number) => (word, number),
        };
        if attempt.unanswered.is_empty() {
            return Heard::Invalid("an answer while it has no record");
        }
        // With one record at a time it is clear of which an answer speaks.
        let number = number.or((self.inflight == 1).then_some(attempt.answered + 1));
        if (word, number) == (Word::Upto, Some(attempt.answered)) {
            return Heard::Invalid(answer::FOREIGN);
        }
        answer::take(attempt, word, number, now)
    }

    fn verdict(&self, attempt: &Attempt, end: &ExitReport, evidence: &Evidence<'_>) -> Verdict {
        Life::death(attempt, end, evidence)
    }

    fn advice(&self) -> &'static str {
        if self.inflight == 1 {
            "--inflight N does not wait for each answer, --jobs N runs several at a time"
        } else {
            "--jobs N runs several at a time"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Finding, Life};
    use super::*;
    use crate::outcome::{Class, Ended, OnExit};

    const LOCK_STEP: PerShard = with_answers(1, false);
    const WINDOW: PerShard = with_answers(9, false);
    const PLAIN: PerShard = with_answers(1, true);

    const fn with_answers(inflight: usize, plain: bool) -> PerShard {
        PerShard {
            inflight,
            life: Life {
                plain,
                max_records: None,
                alone: true,
            },
        }
    }

    fn with(records: usize) -> Attempt {
        let now = Instant::now();
        let mut attempt = Attempt::new(now);
        for index in 0..records {
            attempt.give(index, now);
        }
        attempt
    }

    fn heard(records: usize, line: &str, mode: PerShard) -> Heard {
        let mut attempt = with(records);
        let line = line.replace('@', &attempt.token);
        mode.hear(&mut attempt, line.as_bytes(), Instant::now())
    }

    #[test]
    fn the_advice_is_what_is_not_done_yet() {
        assert!(LOCK_STEP.advice().contains("--inflight N"));
        assert!(!WINDOW.advice().contains("--inflight"));
        assert!(WINDOW.advice().contains("--jobs N"));
    }

    #[test]
    fn every_word_answers_a_record() {
        let one = Heard::Done {
            records: 1,
            checkpoint: false,
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
                    checkpoint: true,
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
                    checkpoint: false,
                },
            ),
            (
                9,
                "@ checkpoint 9",
                WINDOW,
                Heard::Done {
                    records: 9,
                    checkpoint: true,
                },
            ),
            (1, "@ halt", LOCK_STEP, Heard::Halt),
            (1, "@ progress", LOCK_STEP, Heard::Noted),
            (1, "ok", PLAIN, one),
            (1, "ok", LOCK_STEP, Heard::Untokened),
            (3, "upto 2", WINDOW, Heard::Untokened),
            (0, "ok", LOCK_STEP, Heard::Log),
            (1, "progress", LOCK_STEP, Heard::Log),
            (1, "ok, reports success", LOCK_STEP, Heard::Log),
            (1, "reports success", PLAIN, Heard::Log),
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
                matches!(heard(records, line, answers), Heard::Invalid(_)),
                "{line}"
            );
        }
    }

    #[test]
    fn a_death_is_charged_only_to_a_suspect_that_was_given_alone() {
        let table = OnExit::default();
        let code = Ended::Code;
        for (records, ended, suspect, expected) in [
            (1, code(1), false, Finding::Unnamed(Class::Fail)),
            (1, code(0), false, Finding::Unnamed(Class::Fail)),
            (1, code(1), true, Finding::Oldest(Class::Fail)),
            (1, code(0), true, Finding::Oldest(Class::Fail)),
            (1, Ended::TimedOut, true, Finding::Oldest(Class::Fail)),
            (3, code(1), true, Finding::Unnamed(Class::Fail)),
            (1, code(65), false, Finding::Oldest(Class::Reject)),
            (3, code(65), false, Finding::Unnamed(Class::Reject)),
            (3, code(75), false, Finding::Unnamed(Class::Retry)),
            (3, code(127), false, Finding::Unnamed(Class::Broken)),
        ] {
            let evidence = Evidence {
                on_exit: &table,
                is_suspect: suspect,
                find: &|_| None,
            };
            let end = ExitReport::of(ended);
            assert_eq!(
                WINDOW.verdict(&with(records), &end, &evidence).finding,
                expected,
                "{records} {ended} {suspect}"
            );
        }
    }
}
