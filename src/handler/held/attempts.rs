//! What is known of a record whose attempts have not gone well, and when to give up.

use std::time::{Duration, Instant};

use super::runs::RunId;

/// When a record is given up, and when records are given up no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Charged attempts after which a record is given up; `None` for no limit.
    pub max_attempts: Option<u32>,
    /// Age after which a record that failed or was retried is given up; `None` for no limit.
    pub max_age: Option<Duration>,
    /// The breaker: this many records given up in a row mean that the handler is broken; 0 for never.
    pub max_consecutive_failures: u32,
}

/// What is known of a record whose attempts have not gone well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::handler) struct Attempts {
    /// How often the record was handed over.
    pub(in crate::handler) handed: u32,
    /// Attempts that count against `--max-attempts`.
    pub(in crate::handler) charged: u32,
    /// Attempts that did not end with the record done, of any kind; the delays grow with it.
    pub(in crate::handler) unsuccessful: u32,
    /// When the first of those ended.
    pub(in crate::handler) since: Option<Instant>,
    /// The record goes alone to a handler, so that what happens is evidence about it.
    pub(in crate::handler) alone: bool,
    /// The run in which it was given last, if it came back from it.
    pub(in crate::handler) run: Option<RunId>,
}

/// Why a record is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) enum GivenUp {
    /// As many charged attempts as `--max-attempts`.
    Attempts,
    /// Older than `--max-record-age`.
    Age,
}

impl Attempts {
    /// Notes an attempt that did not succeed; `charged` if it counts against the record.
    pub(in crate::handler) fn note(&mut self, now: Instant, charged: bool) {
        self.unsuccessful += 1;
        self.charged += u32::from(charged);
        self.since.get_or_insert(now);
    }

    /// Whether the record has used up its attempts or is too old; `age` is `None` where it is not known.
    pub(in crate::handler) fn given_up(
        &self,
        limits: &Limits,
        age: Option<Duration>,
    ) -> Option<GivenUp> {
        let over =
            |limit: Option<Duration>| limit.is_some_and(|limit| age.is_some_and(|age| age > limit));
        match limits.max_attempts {
            Some(max) if self.charged >= max => Some(GivenUp::Attempts),
            _ if over(limits.max_age) => Some(GivenUp::Age),
            _ => None,
        }
    }
}

/// Counts the records given up in a row. A handler that fails on everything is broken, and to give up
/// record after record would empty the stream into the dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::handler) struct Breaker {
    given_up: u32,
}

impl Breaker {
    /// Whether one more record may be given up.
    pub(in crate::handler) fn allows(&self, limits: &Limits) -> bool {
        limits.max_consecutive_failures == 0 || self.given_up < limits.max_consecutive_failures
    }

    /// A record was given up; returns whether that was the last one allowed.
    pub(in crate::handler) fn give_up(&mut self, limits: &Limits) -> bool {
        self.given_up = self.given_up.saturating_add(1);
        !self.allows(limits)
    }

    /// A record was done: the handler works.
    pub(in crate::handler) fn done(&mut self) {
        self.given_up = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        max_attempts: Some(2),
        max_age: Some(Duration::from_secs(60)),
        max_consecutive_failures: 2,
    };

    #[test]
    fn only_charged_attempts_count_against_a_record() {
        let (mut attempts, now) = (Attempts::default(), Instant::now());
        attempts.note(now, false);
        attempts.note(now, true);
        assert_eq!(attempts.given_up(&LIMITS, None), None);
        attempts.note(now, true);
        assert_eq!(attempts.given_up(&LIMITS, None), Some(GivenUp::Attempts));
        assert_eq!(
            (attempts.charged, attempts.unsuccessful, attempts.since),
            (2, 3, Some(now))
        );
    }

    #[test]
    fn a_record_of_unknown_age_is_never_too_old() {
        let attempts = Attempts::default();
        assert_eq!(
            attempts.given_up(&LIMITS, Some(Duration::from_secs(61))),
            Some(GivenUp::Age)
        );
        assert_eq!(
            attempts.given_up(&LIMITS, Some(Duration::from_secs(60))),
            None
        );
        assert_eq!(attempts.given_up(&LIMITS, None), None);
    }

    #[test]
    fn the_breaker_opens_after_records_given_up_in_a_row_and_a_done_one_closes_it() {
        let mut breaker = Breaker::default();
        assert!(!breaker.give_up(&LIMITS) && breaker.allows(&LIMITS));
        assert!(breaker.give_up(&LIMITS) && !breaker.allows(&LIMITS));
        breaker.done();
        assert!(breaker.allows(&LIMITS));
        let never = Limits {
            max_consecutive_failures: 0,
            ..LIMITS
        };
        assert!((0..100).all(|_| !breaker.give_up(&never)));
    }
}
