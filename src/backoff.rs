//! When to try again.
//!
//! One rule owns every retry and every respawn: no path leads from a failure to an attempt without a
//! [`Delays`] in between.

use std::time::Duration;

use crate::random;

/// Delays that grow by doubling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delays {
    /// The delay after the first failure.
    pub first: Duration,
    /// The longest delay.
    pub longest: Duration,
    /// Each delay is shortened by a random part of up to one half, so that many shards that failed together
    /// do not come back together. Off only where every run must be the same.
    pub jitter: bool,
}

impl Delays {
    /// How long to wait after this many failures in a row, from 1.
    pub fn after(&self, failures: u32) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1 << (failures.max(1) - 1).min(30));
        self.shorten(doubled.min(self.longest.max(self.first)))
    }

    /// Whether the delays grow no more after this many failures in a row.
    pub fn is_longest(&self, failures: u32) -> bool {
        let doubled = self
            .first
            .saturating_mul(1 << (failures.max(1) - 1).min(30));
        doubled >= self.longest
    }

    /// The delay for a record that is out of attempts but may not be skipped.
    pub fn longest(&self) -> Duration {
        self.shorten(self.longest.max(self.first))
    }

    fn shorten(&self, delay: Duration) -> Duration {
        if self.jitter { jitter(delay) } else { delay }
    }
}

/// A duration between half of `delay` and `delay`.
fn jitter(delay: Duration) -> Duration {
    let random = random::number() >> 32;
    delay / 2 + (delay / 2).mul_f64(random as f64 / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_never_vanish() {
        let delays = Delays {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(10),
            jitter: true,
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
            jitter: true,
        };
        assert!(delays.after(1) >= Duration::from_secs(4));
    }

    #[test]
    fn without_jitter_a_delay_is_the_same_each_time() {
        let delays = Delays {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(10),
            jitter: false,
        };
        let seconds = [1, 2, 3, 4, 5].map(|failures| delays.after(failures).as_secs());
        assert_eq!(seconds, [1, 2, 4, 8, 10]);
        let longest = [1, 2, 3, 4, 5].map(|failures| delays.is_longest(failures));
        assert_eq!(longest, [false, false, false, false, true]);
        assert_eq!(delays.longest(), Duration::from_secs(10));
    }
}
