//! For how long a limit of the user's has held up handlers that could have started.

use std::time::{Duration, Instant};

use crate::due::Due;
use crate::throttle::{THROTTLES, Throttle};

/// A slot of the machine that does not come for this long is worth a line in the log.
const LONG: Duration = Duration::from_secs(60);

/// What holds handlers up, and what has.
#[derive(Debug, Default)]
pub(super) struct Throttling {
    since: Option<(Throttle, Instant)>,
    before: [Duration; THROTTLES.len()],
    warned: bool,
}

impl Throttling {
    /// From now on this limit holds a handler up, or none does.
    pub(super) fn note(&mut self, throttle: Option<Throttle>, now: Instant) {
        if self.since.map(|(throttle, _)| throttle) != throttle {
            self.before = self.times(now);
            self.since = throttle.map(|throttle| (throttle, now));
        }
    }

    /// The limit that holds a handler up now, and for how long it has.
    pub(super) fn current(&self, now: Instant) -> Option<(Throttle, Duration)> {
        self.since
            .map(|(throttle, since)| (throttle, now.saturating_duration_since(since)))
    }

    /// The time that each limit has taken in all.
    pub(super) fn times(&self, now: Instant) -> [Duration; THROTTLES.len()] {
        let mut times = self.before;
        if let Some((throttle, time)) = self.current(now) {
            times[throttle as usize] += time;
        }
        times
    }

    /// The time that all of them have taken.
    pub(super) fn total(&self, now: Instant) -> Duration {
        self.times(now).iter().sum()
    }

    /// When to say, once, that no slot of the machine comes.
    pub(super) fn warning(&self, now: Instant) -> Due<()> {
        let since = self.since.filter(|(throttle, _)| match throttle {
            Throttle::HostJobs => !self.warned,
            Throttle::Rate => false,
        });
        Due::from(since.map(|(_, since)| since + LONG), now, ())
    }

    /// It was said.
    pub(super) fn warned(&mut self) {
        self.warned = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_own_time_and_only_a_long_wait_for_a_slot_is_said() {
        let (mut throttling, start) = (Throttling::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let seconds = Duration::from_secs;
        throttling.note(Some(Throttle::Rate), start);
        assert_eq!(throttling.warning(at(100)), Due::Never);
        throttling.note(Some(Throttle::HostJobs), at(10));
        throttling.note(Some(Throttle::HostJobs), at(20));
        assert_eq!(
            throttling.current(at(30)),
            Some((Throttle::HostJobs, seconds(20)))
        );
        assert_eq!(throttling.times(at(30)), [seconds(10), seconds(20)]);
        assert_eq!(throttling.warning(at(30)), Due::At(at(70)));
        assert_eq!(throttling.warning(at(70)), Due::Now(()));
        throttling.warned();
        assert_eq!(throttling.warning(at(70)), Due::Never);
        throttling.note(None, at(80));
        assert_eq!(throttling.current(at(90)), None);
        assert_eq!(throttling.total(at(90)), seconds(80));
    }
}
