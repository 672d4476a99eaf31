//! What to do with a record after an attempt: pure, and without knowing which record it is.

use std::time::{Duration, Instant};

use super::attempts::{Attempts, Breaker, GivenUp, Limits};
use super::events::{Delay, Why};
use crate::backoff::Delays;
use crate::handler::OnFailure;
use crate::outcome::Class;

/// What became of a record after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) enum Disposition {
    /// The handler accepted it.
    Done,
    /// It will not be done: the user's policy took it.
    Disposed,
    /// It is disposed of as soon as its dead letter is where it is to be.
    AwaitsLetter,
    /// It is tried again from this time on.
    RetryAt(Instant),
    /// The worker stops.
    Halted,
}

impl Disposition {
    /// Whether the record is handed over no more, so that those after it may go on.
    pub(in crate::handler) fn is_over(self) -> bool {
        match self {
            Disposition::Done | Disposition::Disposed | Disposition::AwaitsLetter => true,
            Disposition::RetryAt(_) | Disposition::Halted => false,
        }
    }
}

/// What is to be done with a record.
#[derive(Clone, Copy, Debug)]
pub(super) enum Decision {
    /// It is done, and perhaps a checkpoint is requested there.
    Done { checkpoint: bool },
    /// It is tried again.
    Again(Why, Delay),
    /// It is given up, and skipped.
    Skip(Why),
    /// It is given up, and becomes a dead letter.
    Letter(Why),
    /// It is given up, and blocks its shard.
    Block(Why, Delay),
    /// It is given up, and the worker stops.
    GiveUpAndHalt(Why),
    /// Its handler asks to stop the worker.
    Halt,
}

/// What the user's options say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy<'a> {
    pub(super) limits: &'a Limits,
    pub(super) delays: &'a Delays,
    pub(super) on_failure: &'a OnFailure,
}

impl Policy<'_> {
    /// What an attempt of this class means for the record, given all its attempts so far, this one among them,
    /// and its age where that is known.
    pub(super) fn decide(
        &self,
        class: Class,
        attempts: &Attempts,
        age: Option<Duration>,
        breaker: &Breaker,
    ) -> Decision {
        let again = |why| Decision::Again(why, self.delay(attempts));
        match class {
            Class::Done | Class::Checkpoint => Decision::Done {
                checkpoint: class == Class::Checkpoint,
            },
            Class::Halt => Decision::Halt,
            Class::Reject => self.give_up(Why::Rejected),
            Class::Broken => again(Why::Broken),
            Class::Retry | Class::Fail => match attempts.given_up(self.limits, age) {
                // To give up record after record of a handler that fails on everything would empty the stream.
                Some(_) if !breaker.allows(self.limits) => {
                    Decision::Again(Why::Doubted, self.longest(false))
                }
                Some(GivenUp::Attempts) => self.give_up(Why::AttemptsExhausted),
                Some(GivenUp::Age) => self.give_up(Why::Expired),
                None if class == Class::Retry => again(Why::Retried),
                None => again(Why::Failed),
            },
        }
    }

    /// What becomes of a record that will not be done.
    pub(super) fn give_up(&self, why: Why) -> Decision {
        match self.on_failure {
            OnFailure::Skip => Decision::Skip(why),
            OnFailure::DeadLetter(_) | OnFailure::DeadLetterCommand(_) => Decision::Letter(why),
            OnFailure::Halt => Decision::GiveUpAndHalt(why),
            OnFailure::Block => Decision::Block(why, self.longest(true)),
        }
    }

    /// The delay after the attempts of a record that did not go well.
    pub(super) fn delay(&self, attempts: &Attempts) -> Delay {
        Delay {
            time: self.delays.after(attempts.unsuccessful),
            is_longest: self.delays.is_longest(attempts.unsuccessful),
            blocks: false,
        }
    }

    fn longest(&self, blocks: bool) -> Delay {
        Delay {
            time: self.delays.longest(),
            is_longest: true,
            blocks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_attempts: Some(2),
        max_age: Some(Duration::from_secs(60)),
        max_consecutive_failures: 1,
    };
    const DELAYS: Delays = Delays {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(4),
        jitter: false,
    };

    /// What is decided after this many attempts, the last of this class, that were charged.
    fn decided(class: Class, attempts: u32, on_failure: &OnFailure) -> String {
        decided_at(class, attempts, on_failure, None, &Breaker::default())
    }

    fn decided_at(
        class: Class,
        attempts: u32,
        on_failure: &OnFailure,
        age: Option<Duration>,
        breaker: &Breaker,
    ) -> String {
        let policy = Policy {
            limits: &LIMITS,
            delays: &DELAYS,
            on_failure,
        };
        let attempts = Attempts {
            charged: if class == Class::Fail { attempts } else { 0 },
            unsuccessful: attempts,
            ..Attempts::default()
        };
        match policy.decide(class, &attempts, age, breaker) {
            Decision::Done { checkpoint } => format!("done {checkpoint}"),
            Decision::Again(why, delay) => format!("{why}, longest {}", delay.is_longest),
            Decision::Block(why, delay) => format!("block: {why}, {}", delay.blocks),
            Decision::Skip(why) => format!("skip: {why}"),
            Decision::Letter(why) => format!("letter: {why}"),
            Decision::GiveUpAndHalt(why) => format!("halt: {why}"),
            Decision::Halt => "halt".to_owned(),
        }
    }

    #[test]
    fn the_class_of_an_attempt_decides() {
        for (class, attempts, expected) in [
            (Class::Done, 0, "done false"),
            (Class::Checkpoint, 0, "done true"),
            (Class::Halt, 1, "halt"),
            (Class::Reject, 1, "skip: was rejected"),
            (Class::Fail, 1, "failed, longest false"),
            (
                Class::Fail,
                2,
                "skip: failed for the last time (--max-attempts)",
            ),
            (Class::Retry, 99, "asked to be retried later, longest true"),
            (Class::Broken, 99, "found the handler broken, longest true"),
        ] {
            let said = decided(class, attempts, &OnFailure::Skip);
            assert_eq!(said, expected, "{class} {attempts}");
        }
    }

    #[test]
    fn what_will_not_be_done_goes_where_the_user_says() {
        for (on_failure, expected) in [
            (OnFailure::Block, "block: was rejected, true"),
            (OnFailure::Skip, "skip: was rejected"),
            (OnFailure::Halt, "halt: was rejected"),
            (OnFailure::DeadLetter("f".into()), "letter: was rejected"),
        ] {
            assert_eq!(decided(Class::Reject, 1, &on_failure), expected);
        }
    }

    #[test]
    fn an_old_record_is_given_up_only_when_it_failed_or_asked_for_later() {
        let old = Some(Duration::from_secs(61));
        let closed = Breaker::default();
        for (class, expected) in [
            (
                Class::Fail,
                "skip: failed and is too old (--max-record-age)",
            ),
            (
                Class::Retry,
                "skip: failed and is too old (--max-record-age)",
            ),
            (Class::Broken, "found the handler broken, longest false"),
            (Class::Done, "done false"),
        ] {
            let said = decided_at(class, 1, &OnFailure::Skip, old, &closed);
            assert_eq!(said, expected, "{class}");
        }
    }

    #[test]
    fn an_open_breaker_gives_nothing_up_but_what_is_rejected() {
        let mut open = Breaker::default();
        open.give_up(&LIMITS);
        let fail = decided_at(Class::Fail, 2, &OnFailure::Skip, None, &open);
        assert_eq!(
            fail,
            "failed, but kclpipe does not give up on it because the handler seems broken, longest true"
        );
        let reject = decided_at(Class::Reject, 2, &OnFailure::Skip, None, &open);
        assert_eq!(reject, "skip: was rejected");
    }
}
