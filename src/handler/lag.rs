//! Whether the handler keeps up with its shard.

use std::time::{Duration, Instant};

/// The time over which a judgement is made.
const WINDOW: Duration = Duration::from_secs(60);

/// The time between two warnings.
const QUIET: Duration = Duration::from_secs(10 * 60);

/// Busy for this part of the time, a handler has no time left to catch up.
const NEARLY_ALL: f64 = 0.9;

/// How busy the handlers were, and how far behind the shard's tip its reads were, since some time ago.
#[derive(Debug, Default)]
pub(super) struct Lag {
    /// When the window began, and how far behind the tip, in milliseconds.
    began: Option<(Instant, i64)>,
    busy: Duration,
    /// A handler has had a record since.
    busy_since: Option<Instant>,
    said: Option<Instant>,
}

impl Lag {
    /// Whether handlers have records now.
    pub(super) fn note(&mut self, busy: bool, now: Instant) {
        match (busy, self.busy_since) {
            (true, None) => self.busy_since = Some(now),
            (false, Some(since)) => {
                self.busy += now - since;
                self.busy_since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// The daemon read something this many milliseconds behind the tip; whether to warn.
    pub(super) fn judge(&mut self, now: Instant, behind: Option<i64>) -> bool {
        let behind = behind.unwrap_or(0);
        let Some((start, before)) = self.began else {
            self.began = Some((now, behind));
            return false;
        };
        let time = now - start;
        if time < WINDOW {
            return false;
        }
        if let Some(since) = &mut self.busy_since {
            self.busy += now - *since;
            *since = now;
        }
        let slow = self.busy.as_secs_f64() > NEARLY_ALL * time.as_secs_f64() && behind > before;
        self.began = Some((now, behind));
        self.busy = Duration::ZERO;
        let warn = slow && self.said.is_none_or(|said| now >= said + QUIET);
        if warn {
            self.said = Some(now);
        }
        warn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Batches a minute apart that keep the handler busy for this many seconds each, each read so far behind;
    /// which of them warn.
    fn warnings(busy: u64, behind: &[i64]) -> Vec<bool> {
        let (mut lag, start) = (Lag::default(), Instant::now());
        let batch = |(minute, behind): (u32, &i64)| {
            let now = start + WINDOW * minute;
            let warned = lag.judge(now, Some(*behind));
            lag.note(true, now);
            lag.note(false, now + Duration::from_secs(busy));
            warned
        };
        (0..).zip(behind).map(batch).collect()
    }

    #[test]
    fn busy_all_the_time_and_further_behind_is_worth_a_warning() {
        assert_eq!(warnings(59, &[0, 1000, 900]), [false, true, false]);
        assert_eq!(
            warnings(59, &[1000, 1000, 1000]),
            [false, false, false],
            "not further behind"
        );
        assert_eq!(
            warnings(30, &[0, 1000, 2000]),
            [false, false, false],
            "it has time left"
        );
        assert_eq!(warnings(54, &[0, 1000]), [false, false], "just enough");
    }

    #[test]
    fn a_handler_that_is_at_work_still_has_been_busy_until_now() {
        let (mut lag, start) = (Lag::default(), Instant::now());
        lag.judge(start, Some(0));
        lag.note(true, start);
        assert!(!lag.judge(start + WINDOW / 2, Some(1000)), "too early");
        assert!(lag.judge(start + WINDOW, Some(1000)));
    }

    #[test]
    fn the_warning_comes_once_in_ten_minutes() {
        let behind: Vec<i64> = (0..13).collect();
        let said: Vec<usize> = (0..13)
            .filter(|minute| warnings(59, &behind)[*minute])
            .collect();
        assert_eq!(said, [1, 11]);
    }
}
