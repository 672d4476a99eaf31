//! How fast records are handed over at most.

use std::time::{Duration, Instant};

use crate::due::Due;

/// The limit of a shard: a record each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The time that a record takes of it.
    pub interval: Duration,
}

/// Keeps to a rate. What was not used is not saved up, for a service would get all of it at once; only what comes
/// late by less than an interval is made up for, or a busy machine would be slower than the rate.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Option<Rate>,
    next: Option<Instant>,
}

impl Pace {
    /// Without a rate everything is due at any time.
    pub(super) fn new(rate: Option<Rate>) -> Pace {
        Pace { rate, next: None }
    }

    /// When records may be handed over.
    pub(super) fn due(&self, now: Instant) -> Due<()> {
        Due::Now(()).not_before(self.next, now)
    }

    /// This many records are handed over now, for the first time or again.
    pub(super) fn handed_over(&mut self, records: usize, now: Instant) {
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        self.next = self.rate.map(|rate| {
            let due = self.next.filter(|due| now < *due + rate.interval);
            due.unwrap_or(now) + rate.interval.saturating_mul(records)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_record_takes_its_time_and_none_is_saved_up() {
        let now = Instant::now();
        let mut pace = Pace::new(Some(Rate { interval: SECOND }));
        assert_eq!(pace.due(now), Due::Now(()));
        pace.handed_over(1, now);
        assert_eq!(pace.due(now), Due::At(now + SECOND));
        let late = now + SECOND * 2;
        assert_eq!(pace.due(late), Due::Now(()));
        pace.handed_over(3, late);
        assert_eq!(pace.due(late), Due::At(late + SECOND * 3));
    }

    #[test]
    fn what_is_a_little_late_is_made_up_for() {
        let (now, half) = (Instant::now(), SECOND / 2);
        let mut pace = Pace::new(Some(Rate { interval: SECOND }));
        pace.handed_over(1, now);
        pace.handed_over(1, now + SECOND + half);
        assert_eq!(pace.due(now), Due::At(now + SECOND * 2));
    }

    #[test]
    fn without_a_rate_nothing_waits() {
        let now = Instant::now();
        let mut pace = Pace::new(None);
        pace.handed_over(1000, now);
        assert_eq!(pace.due(now), Due::Now(()));
    }
}
