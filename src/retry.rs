//! When to try again, and when to give up.
//!
//! One rule owns every retry and every respawn: no path leads from a failure to an attempt without a
//! [`Delays`] in between.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// Delays that grow by doubling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// The delay after the first failure.
    pub first: Duration,
    /// The longest delay.
    pub longest: Duration,
}

impl Delays {
    /// How long to wait after so many failures in a row, from 1: between half and the whole of the
    /// doubled delay, so that many shards that failed together do not come back together.
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << (failures.max(1) - 1).min(30));
        jitter(doubled.min(self.longest.max(self.first)))
    }

    /// Whether the delays grow no more after so many failures in a row.
    pub fn is_longest(&self, failures: u32) -> bool {
        let doubled = self
            .first
            .saturating_mul(1 << (failures.max(1) - 1).min(30));
        doubled >= self.longest
    }

    /// The delay for a record that was given up but may not be passed over.
    pub fn longest(&self) -> Duration {
        jitter(self.longest.max(self.first))
    }
}

/// A duration between half of `delay` and `delay`. The standard library's hasher keys are the one
/// source of randomness that needs no crate.
fn jitter(delay: Duration) -> Duration {
    let random = RandomState::new().hash_one(0u8) >> 32;
    delay / 2 + (delay / 2).mul_f64(random as f64 / f64::from(u32::MAX))
}

/// When a record is given up, and when records are given up no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Charged attempts after which a record is given up; `None` for no limit.
    pub max_attempts: Option<u32>,
    /// Age after which a record that failed or was retried is given up; `None` for no limit.
    pub max_age: Option<Duration>,
    /// The breaker: so many records given up in a row mean that the handler is broken; 0 for never.
    pub max_consecutive_failures: u32,
}

/// What is known of a record whose attempts have not gone well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trial {
    /// How often the record was handed over.
    pub handed: u32,
    /// Attempts that count against `--max-attempts`.
    pub charged: u32,
    /// Attempts that did not end with the record done, of any kind; the delays grow with it.
    pub unsuccessful: u32,
    /// When the first of those ended.
    pub since: Option<Instant>,
    /// The record goes alone to a handler, so that what happens is evidence about it.
    pub alone: bool,
}

/// Why a record is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenUp {
    /// As many charged attempts as `--max-attempts`.
    Attempts,
    /// Older than `--max-record-age`.
    Age,
}

impl Trial {
    /// Notes an attempt that did not succeed; `charged` if it counts against the record.
    pub fn note(&mut self, now: Instant, charged: bool) {
        self.unsuccessful += 1;
        self.charged += u32::from(charged);
        self.since.get_or_insert(now);
    }

    /// Whether the record has used up its attempts or is too old; `age` is `None` where it is not known.
    pub fn given_up(&self, limits: &Limits, age: Option<Duration>) -> Option<GivenUp> {
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
pub struct Breaker {
    given_up: u32,
}

impl Breaker {
    /// Whether one more record may be given up.
    pub fn allows(&self, limits: &Limits) -> bool {
        limits.max_consecutive_failures == 0 || self.given_up < limits.max_consecutive_failures
    }

    /// A record was given up; returns whether that was the last one allowed.
    pub fn give_up(&mut self, limits: &Limits) -> bool {
        self.given_up = self.given_up.saturating_add(1);
        !self.allows(limits)
    }

    /// A record was done: the handler works.
    pub fn done(&mut self) {
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
    fn delays_double_up_to_the_longest_and_never_vanish() {
        let delays = Delays {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(10),
        };
        for (failures, whole) in [
            (0, 1),
            (1, 1),
            (2, 2),
            (3, 4),
            (4, 8),
            (5, 10),
            (99, 10),
            (u32::MAX, 10),
        ] {
            let (delay, whole) = (delays.after(failures), Duration::from_secs(whole));
            assert!(
                delay >= whole / 2 && delay <= whole,
                "{failures}: {delay:?}"
            );
        }
        assert!(delays.longest() >= Duration::from_secs(5));
    }

    #[test]
    fn a_longest_delay_below_the_first_does_not_shorten_it() {
        let delays = Delays {
            first: Duration::from_secs(8),
            longest: Duration::from_secs(1),
        };
        assert!(delays.after(1) >= Duration::from_secs(4));
    }

    #[test]
    fn only_charged_attempts_count_against_a_record() {
        let (mut trial, now) = (Trial::default(), Instant::now());
        trial.note(now, false);
        trial.note(now, true);
        assert_eq!(trial.given_up(&LIMITS, None), None);
        trial.note(now, true);
        assert_eq!(trial.given_up(&LIMITS, None), Some(GivenUp::Attempts));
        assert_eq!(
            (trial.charged, trial.unsuccessful, trial.since),
            (2, 3, Some(now))
        );
    }

    #[test]
    fn a_record_of_unknown_age_is_never_too_old() {
        let trial = Trial::default();
        assert_eq!(
            trial.given_up(&LIMITS, Some(Duration::from_secs(61))),
            Some(GivenUp::Age)
        );
        assert_eq!(trial.given_up(&LIMITS, Some(Duration::from_secs(60))), None);
        assert_eq!(trial.given_up(&LIMITS, None), None);
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
