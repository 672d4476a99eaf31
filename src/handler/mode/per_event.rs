//! One handler process for as long as the lease lasts, which is given Lambda events: each is one line of its
//! input and has a batch of records, and is answered with one line before the next is given.

use std::time::Instant;

use super::answer;
use super::batches::Batches;
use super::environment::{self, Environment};
use super::lambda_reply;
use super::life::Life;
use super::line::{Line, Word, after_token, is_untokened};
use super::{Evidence, Given, Heard, Mode, Verdict};
use crate::handler::held::Most;
use crate::handler::pool::attempt::{Attempt, ExitReport};
use crate::outcome::Class;
use crate::process::Feed;

pub(super) struct PerEvent {
    /// How much one event may have.
    pub(super) batches: Batches,
    /// How long a process lives.
    pub(super) life: Life,
}

/// What a line of stdout is.
enum Said<'a> {
    /// A word.
    Word(Word, Option<u64>),
    /// What stands where a reply should.
    Reply(&'a [u8]),
    /// Log output.
    Nothing,
}

impl Mode for PerEvent {
    fn lives_on(&self) -> bool {
        true
    }

    fn is_full(&self, attempt: &Attempt, bytes: u64) -> bool {
        self.batches.is_full(attempt, bytes)
    }

    fn most(&self) -> Most {
        self.batches.most()
    }

    fn is_spent(&self, attempt: &Attempt) -> bool {
        self.life.is_spent(attempt)
    }

    fn describe(&self, environment: &mut Environment, given: &Given<'_>) {
        environment::of_lane(environment, given.slot);
    }

    fn feed(&self) -> Feed {
        self.life.feed()
    }

    fn line_limit(&self) -> usize {
        lambda_reply::LONGEST
    }

    /// Words with a number and replies name a record; what names none is about all that the event has left.
    fn hear(&self, attempt: &mut Attempt, line: &[u8], now: Instant) -> Heard {
        let has_none = attempt.unanswered.is_empty();
        match self.read(line, &attempt.token) {
            Said::Nothing if !has_none && is_without_token(line) => Heard::Untokened,
            Said::Nothing => Heard::Log,
            Said::Word(Word::Halt, None) => Heard::Halt,
            Said::Word(Word::Progress, None) => {
                attempt.is_alive(now);
                Heard::Noted
            }
            _ if has_none => Heard::Invalid("an answer while it has no event"),
            Said::Word(word, Some(number)) => {
                let number = number.saturating_add(attempt.before);
                answer::take(attempt, word, Some(number), now)
            }
            Said::Word(word, None) => of_word(word),
            Said::Reply(reply) => {
                attempt.reply = reply.to_vec();
                Heard::Reply
            }
        }
    }

    fn verdict(&self, attempt: &Attempt, end: &ExitReport, evidence: &Evidence<'_>) -> Verdict {
        Life::death(attempt, end, evidence)
    }

    fn narrows(&self) -> bool {
        true
    }

    fn remark(&self, attempt: &Attempt) -> Option<String> {
        lambda_reply::misunderstood(&attempt.reply)
    }

    fn advice(&self) -> &'static str {
        "larger events (--batch-size, --batch-window) cost less each, --jobs N runs several at a time"
    }
}

impl PerEvent {
    /// Behind the token everything is an answer; without it only where the user vouches for all lines.
    fn read<'a>(&self, line: &'a [u8], token: &str) -> Said<'a> {
        match Line::parse(line, token, self.life.plain, false) {
            Line::Answer(word, number) => Said::Word(word, number),
            Line::Malformed => Said::Reply(after_token(line, token).unwrap_or_default()),
            Line::Other if self.life.plain && lambda_reply::is_bare(line) => Said::Reply(line),
            Line::Other => Said::Nothing,
        }
    }
}

/// What a word without a number says of the event.
fn of_word(word: Word) -> Heard {
    match word {
        Word::Ok => Heard::Whole(Class::Done),
        Word::Checkpoint => Heard::Whole(Class::Checkpoint),
        Word::Retry => Heard::Whole(Class::Retry),
        Word::Reject => Heard::Whole(Class::Reject),
        Word::Fail => Heard::Whole(Class::Fail),
        Word::Upto => Heard::Invalid(answer::UNNUMBERED),
        // They are no answers, and are looked at before.
        Word::Progress => Heard::Noted,
        Word::Halt => Heard::Halt,
    }
}

/// Whether a line would be an answer, had it the token.
fn is_without_token(line: &[u8]) -> bool {
    is_untokened(line) || lambda_reply::has_key(line)
}

#[cfg(test)]
mod tests {
    use super::super::{Finding, whole};
    use super::*;
    use crate::outcome::OnExit;

    fn mode(plain: bool) -> PerEvent {
        PerEvent {
            batches: Batches {
                size: None,
                bytes: None,
                line: u64::MAX,
            },
            life: Life {
                plain,
                max_records: None,
                alone: true,
            },
        }
    }

    /// The second event of a handler, of this many records.
    fn second(records: usize) -> Attempt {
        let now = Instant::now();
        let mut attempt = Attempt::new(now);
        attempt.give(0, now);
        attempt.answer();
        for index in 0..records {
            attempt.give(index, now);
        }
        attempt
    }

    fn heard(records: usize, line: &str, plain: bool) -> Heard {
        let mut attempt = second(records);
        let line = line.replace('@', &attempt.token);
        mode(plain).hear(&mut attempt, line.as_bytes(), Instant::now())
    }

    #[test]
    fn a_line_with_the_token_is_a_word_or_a_reply() {
        let done = |records, checkpoint| Heard::Done {
            records,
            checkpoint,
        };
        for (line, expected) in [
            ("@ null", Heard::Reply),
            ("@ {}", Heard::Reply),
            ("@ \"done\"", Heard::Reply),
            ("@ Traceback", Heard::Reply),
            ("@ ok 1 2", Heard::Reply),
            ("@ ", Heard::Reply),
            ("@", Heard::Reply),
            ("@ ok", Heard::Whole(Class::Done)),
            ("@ checkpoint", Heard::Whole(Class::Checkpoint)),
            ("@ retry", Heard::Whole(Class::Retry)),
            ("@ reject", Heard::Whole(Class::Reject)),
            ("@ fail", Heard::Whole(Class::Fail)),
            ("@ halt", Heard::Halt),
            ("@ progress", Heard::Noted),
            ("@ upto", Heard::Invalid(answer::UNNUMBERED)),
            ("@ ok 1", done(1, false)),
            ("@ upto 3", done(3, false)),
            ("@ checkpoint 2", done(2, true)),
            ("@ reject 1", Heard::Bad(Class::Reject)),
            ("@ upto 0", Heard::Noted),
            ("@ ok 0", Heard::Invalid(answer::FOREIGN)),
            ("@ upto 4", Heard::Invalid(answer::FOREIGN)),
            ("null", Heard::Log),
            ("{\"level\":\"info\"}", Heard::Log),
            ("{\"batchItemFailures\":[]}", Heard::Untokened),
            ("ok", Heard::Untokened),
        ] {
            assert_eq!(heard(3, line, false), expected, "{line}");
        }
    }

    #[test]
    fn plain_answers_are_words_objects_and_null() {
        for (line, expected) in [
            ("null", Heard::Reply),
            (" {\"level\":\"info\"}\r", Heard::Reply),
            ("fail", Heard::Whole(Class::Fail)),
            ("{no", Heard::Log),
            ("[1]", Heard::Log),
            ("3", Heard::Log),
        ] {
            assert_eq!(heard(3, line, true), expected, "{line}");
        }
    }

    #[test]
    fn without_an_event_only_a_sign_of_life_and_a_halt_make_sense() {
        for line in ["@ null", "@ ok", "@ ok 1", "@ upto 0", "@ what"] {
            assert!(matches!(heard(0, line, false), Heard::Invalid(_)), "{line}");
        }
        assert_eq!(heard(0, "@ progress", false), Heard::Noted);
        assert_eq!(heard(0, "@ halt", false), Heard::Halt);
        assert_eq!(heard(0, "{\"batchItemFailures\":[]}", false), Heard::Log);
    }

    /// What a word, or a reply, says of an event.
    fn said(records: usize, reply: &str) -> Finding {
        let mut attempt = second(records);
        attempt.reply = reply.as_bytes().to_vec();
        let evidence = Evidence {
            on_exit: &OnExit::default(),
            is_suspect: false,
            find: &|id| (id == "12:1").then_some(1),
        };
        whole::of_reply(&attempt, &evidence).finding
    }

    #[test]
    fn a_failure_without_a_name_is_about_the_record_only_where_the_event_had_no_other() {
        let named = r#"{"batchItemFailures":[{"itemIdentifier":"12:1"}]}"#;
        let upto = Finding::Upto {
            records: 1,
            next: Class::Fail,
        };
        for (records, reply, expected) in [
            (2, "null", Finding::Done { checkpoint: false }),
            (2, named, upto),
            (2, "Traceback", Finding::Unnamed(Class::Fail)),
            (2, "", Finding::Unnamed(Class::Fail)),
            (1, "", Finding::Oldest(Class::Fail)),
        ] {
            assert_eq!(said(records, reply), expected, "{records} {reply}");
        }
        let word = |records| whole::of_word(&second(records), Class::Retry).finding;
        assert_eq!(word(2), Finding::Unnamed(Class::Retry));
        assert_eq!(word(1), Finding::Oldest(Class::Retry));
    }

    #[test]
    fn the_advice_is_larger_events() {
        assert!(mode(false).advice().contains("--batch-size"));
    }
}
