//! One handler process per batch: its input ends behind the last record, its lines may tell how far it
//! came, and its exit code speaks of the first record that is not done.

use std::time::Instant;

use super::answer;
use super::batches::Batches;
use super::environment::{self, Environment};
use super::lambda_reply;
use super::line::{Line, Word};
use super::whole::{self, failed};
use super::{Evidence, Finding, Given, Heard, Mode, Reason, Verdict};
use crate::handler::held::Most;
use crate::handler::pool::attempt::{Attempt, ExitReport};
use crate::outcome::{Class, Ended};
use crate::process;

pub(super) struct PerBatch {
    /// How much one batch may have.
    pub(super) batches: Batches,
    /// The last line of stdout is a reply to the whole batch, as Lambda's.
    pub(super) replies: bool,
}

impl Mode for PerBatch {
    fn is_full(&self, attempt: &Attempt, bytes: u64) -> bool {
        self.batches.is_full(attempt, bytes)
    }

    fn most(&self) -> Most {
        self.batches.most()
    }

    fn is_spent(&self, _attempt: &Attempt) -> bool {
        true
    }

    fn describe(&self, environment: &mut Environment, given: &Given<'_>) {
        let behind = given.queue.millis_behind_latest(given.last);
        environment::of_batch(environment, given, behind);
        environment::of_id(environment, given);
    }

    fn line_limit(&self) -> usize {
        if self.replies {
            lambda_reply::LONGEST
        } else {
            process::LINE
        }
    }

    /// An answer names its record; a bare `checkpoint` counts if the whole run ends done.
    fn hear(&self, attempt: &mut Attempt, line: &[u8], now: Instant) -> Heard {
        match Line::parse(line, &attempt.token, false, true) {
            Line::Other if self.replies && !line.trim_ascii().is_empty() => {
                // Whatever came before the last such line was no reply.
                let earlier = std::mem::replace(&mut attempt.reply, line.to_vec());
                if !earlier.is_empty() {
                    process::log_stdout(&earlier);
                }
            }
            Line::Other => return Heard::Log,
            Line::Malformed => return Heard::Invalid(answer::MALFORMED),
            Line::Answer(Word::Progress, None) => attempt.is_alive(now),
            Line::Answer(Word::Checkpoint, None) => attempt.asked_to_checkpoint = true,
            Line::Answer(Word::Halt, None) => return Heard::Halt,
            Line::Answer(word, number) => return answer::take(attempt, word, number, now),
        }
        Heard::Noted
    }

    fn verdict(&self, attempt: &Attempt, end: &ExitReport, evidence: &Evidence<'_>) -> Verdict {
        let class = evidence.on_exit.class(end.ended);
        if !class.is_good() {
            let named = names(attempt, end.ended);
            return failed(attempt, class, named).because(Reason::Exit(end.ended));
        }
        // It cannot have handled what it has not read, whatever it says.
        if end.unread > 0 {
            let reason = Reason::Unread(end.ended, end.unread);
            return failed(attempt, Class::Fail, false).because(reason);
        }
        let has_replied = !attempt.reply.is_empty();
        let failure = has_replied.then(|| whole::failure(attempt, evidence));
        failure.flatten().unwrap_or_else(|| {
            let checkpoint = attempt.asked_to_checkpoint || class == Class::Checkpoint;
            Finding::Done { checkpoint }.because(Reason::Exit(end.ended))
        })
    }

    fn narrows(&self) -> bool {
        true
    }

    fn remark(&self, attempt: &Attempt) -> Option<String> {
        lambda_reply::misunderstood(&attempt.reply)
    }

    fn advice(&self) -> &'static str {
        "--jobs N runs several at a time"
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
    use crate::outcome::OnExit;

    const BATCH: PerBatch = PerBatch {
        batches: Batches {
            size: None,
            bytes: None,
            line: u64::MAX,
        },
        replies: false,
    };

    #[test]
    fn without_a_reply_there_is_nothing_to_remark_on() {
        assert_eq!(BATCH.remark(&Attempt::new(Instant::now())), None);
        assert!(BATCH.advice().contains("--jobs N"));
    }

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
            let said = BATCH.hear(&mut attempt, line.as_bytes(), now);
            if let Heard::Done { records, .. } = said {
                for _ in 0..records {
                    attempt.answer();
                }
            }
            heard.push(said);
        }
        (attempt, heard)
    }

    fn ends(records: usize, lines: &[&str], ended: Ended, unread: u64) -> Finding {
        let end = ExitReport {
            unread,
            ..ExitReport::of(ended)
        };
        let evidence = Evidence {
            on_exit: &OnExit::default(),
            is_suspect: false,
            find: &|_| None,
        };
        BATCH
            .verdict(&run(records, lines).0, &end, &evidence)
            .finding
    }

    #[test]
    fn answers_name_their_record() {
        for (line, expected) in [
            (
                "@ ok 1",
                Heard::Done {
                    records: 1,
                    checkpoint: false,
                },
            ),
            (
                "@ upto 3",
                Heard::Done {
                    records: 3,
                    checkpoint: false,
                },
            ),
            (
                "@ checkpoint 2",
                Heard::Done {
                    records: 2,
                    checkpoint: true,
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
                Heard::Invalid("an answer without the record's number"),
            ),
            (
                "@ ok 2",
                Heard::Invalid("an answer that skips an older record"),
            ),
            (
                "@ reject 2",
                Heard::Invalid("an answer that skips an older record"),
            ),
            (
                "@ upto 4",
                Heard::Invalid("an answer for a record that it does not have"),
            ),
            (
                "@ ok 0",
                Heard::Invalid("an answer for a record that it does not have"),
            ),
            (
                "@ okay 1",
                Heard::Invalid("an answer that cannot be understood"),
            ),
            (
                "@ progress 1",
                Heard::Invalid("an answer with an impossible record number"),
            ),
        ] {
            assert_eq!(run(3, &[line]).1, [expected], "{line}");
        }
        let twice = run(3, &["@ ok 1", "@ ok 1"]).1[1];
        assert_eq!(
            twice,
            Heard::Invalid("an answer for a record that it does not have")
        );
    }

    #[test]
    fn the_exit_speaks_of_the_first_record_not_done_if_answers_tell_which_that_is() {
        let code = Ended::Code;
        for (lines, ended, unread, expected) in [
            (&[][..], code(0), 0, Finding::Done { checkpoint: false }),
            (
                &["@ upto 2"],
                code(0),
                0,
                Finding::Done { checkpoint: false },
            ),
            (
                &["checkpoint"],
                code(0),
                0,
                Finding::Done { checkpoint: true },
            ),
            (&["@ upto 2"], code(65), 0, Finding::Oldest(Class::Reject)),
            (&["@ upto 0"], code(1), 0, Finding::Oldest(Class::Fail)),
            (&[], code(65), 0, Finding::Unnamed(Class::Reject)),
            (&[], code(75), 0, Finding::Unnamed(Class::Retry)),
            (&[], code(0), 1, Finding::Unnamed(Class::Fail)),
            (
                &["@ upto 2"],
                Ended::TimedOut,
                0,
                Finding::Unnamed(Class::Fail),
            ),
            (
                &["@ upto 2"],
                Ended::Signal(9),
                0,
                Finding::Unnamed(Class::Fail),
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
            Finding::Oldest(Class::Fail)
        );
        assert_eq!(
            ends(1, &[], Ended::TimedOut, 0),
            Finding::Oldest(Class::Fail)
        );
    }
}
