//! Advice about a mistake that is made again and again, which the log repeats only after a while.

use std::time::{Duration, Instant};

/// The time between two pieces of the same advice.
const EVERY: Duration = Duration::from_secs(60);

/// When a piece of advice was last given.
#[derive(Debug, Default)]
pub(super) struct Advice {
    given: Option<Instant>,
}

impl Advice {
    /// Whether it may be given now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.given.is_none_or(|given| now >= given + EVERY)
    }

    /// It is given now.
    pub(super) fn give(&mut self, now: Instant) {
        self.given = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_given_once_a_minute() {
        let (mut advice, now) = (Advice::default(), Instant::now());
        assert!(advice.is_due(now));
        advice.give(now);
        assert!(!advice.is_due(now + EVERY - Duration::from_secs(1)));
        assert!(advice.is_due(now + EVERY));
    }
}
