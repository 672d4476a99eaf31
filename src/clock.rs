//! What time it is: an argument of everything that decides something, so that a whole life can be run in no time.

use std::time::{Instant, SystemTime};

/// A monotonic clock for delays and limits, and the time of day for the age of records.
pub trait Clock {
    /// Never goes back; setting the machine's time does not change it.
    fn now(&self) -> Instant;

    /// The time of day.
    fn time_of_day(&self) -> SystemTime;
}

/// The machine's own clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn time_of_day(&self) -> SystemTime {
        SystemTime::now()
    }
}
