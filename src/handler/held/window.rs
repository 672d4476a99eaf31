//! When a handler is started with what waits for it, where records are collected first: pure, with all it
//! has to know as arguments.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::size::Size;
use crate::due::Due;
use crate::trigger::Trigger;

/// How long after the end of an aligned window its records may still be on their way to the shard's tip.
const LATE: Duration = Duration::from_secs(10);

/// How long an aligned window waits for the daemon, if that sends no reads at all.
const SILENT: Duration = Duration::from_secs(60);

/// Records are collected before a handler is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// For so long, from the first on.
    pub length: Duration,
    /// Batches end where the arrival time crosses a multiple of the length.
    pub aligned: bool,
}

/// The most that one handler may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) struct Most {
    /// Records.
    pub(in crate::handler) records: u64,
    /// Bytes of payload.
    pub(in crate::handler) payload: u64,
    /// Bytes of the daemon's lines.
    pub(in crate::handler) line: u64,
}

impl Most {
    /// No limit.
    pub(in crate::handler) const ALL: Most = Most {
        records: u64::MAX,
        payload: u64::MAX,
        line: u64::MAX,
    };
}

/// What waits for a handler.
#[derive(Clone, Copy, Debug)]
pub(in crate::handler) struct Waiting {
    /// All of it.
    pub(in crate::handler) size: Size,
    /// When the oldest record was taken in.
    pub(in crate::handler) taken_in: Instant,
    /// When the oldest record arrived in the stream, in milliseconds since the epoch.
    pub(in crate::handler) arrived: Option<i64>,
    /// A record waits behind the end of the aligned window of the oldest one.
    pub(in crate::handler) crossed: bool,
}

/// What the daemon's reads have shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::handler) struct Reads {
    /// When the last one came.
    pub(in crate::handler) last: Instant,
    /// The time of day at which one showed that there is nothing more in the shard, if the last one did.
    pub(in crate::handler) caught_up: Option<SystemTime>,
}

impl Window {
    /// Whether a handler starts with what waits, or when.
    pub(in crate::handler) fn due(
        &self,
        waiting: &Waiting,
        most: &Most,
        reads: &Reads,
        (now, time_of_day): (Instant, SystemTime),
    ) -> Due<Trigger> {
        let Size {
            records,
            payload,
            line,
        } = waiting.size;
        if waiting.crossed {
            Due::Now(Trigger::Aligned)
        } else if records >= most.records {
            Due::Now(Trigger::Size)
        } else if payload >= most.payload || line >= most.line {
            Due::Now(Trigger::Bytes)
        } else if let (true, Some(end)) = (self.aligned, self.end(waiting.arrived)) {
            Window::clock_due(end, reads, (now, time_of_day))
        } else {
            self.over(waiting, reads, (now, time_of_day))
        }
    }

    /// A window that is not aligned, or whose records have no arrival time.
    fn over(
        &self,
        waiting: &Waiting,
        reads: &Reads,
        (now, time_of_day): (Instant, SystemTime),
    ) -> Due<Trigger> {
        let over = Due::from(Some(waiting.taken_in + self.length), now, Trigger::Window);
        // What has waited for longer in the stream already waits until nothing more is there: else a lease
        // that moves often would begin every window anew.
        let arrived = waiting
            .arrived
            .and_then(time)
            .filter(|_| reads.caught_up.is_some());
        let in_stream = arrived.map(|arrived| instant(arrived + self.length, now, time_of_day));
        over.or(Due::from(in_stream, now, Trigger::Window))
    }

    /// An aligned window whose end no record has shown: the clock ends it, but not before everything that
    /// was in the stream by then must have come.
    fn clock_due(
        end: SystemTime,
        reads: &Reads,
        (now, time_of_day): (Instant, SystemTime),
    ) -> Due<Trigger> {
        if reads.caught_up.is_some_and(|at| at >= end + LATE) {
            return Due::Now(Trigger::Clock);
        }
        let silent = instant(end, now, time_of_day).max(reads.last) + SILENT;
        Due::from(Some(silent), now, Trigger::Clock)
    }

    /// Whether a record belongs to a later aligned window than the first of its batch. A record without an
    /// arrival time, or from before, stays: order comes first.
    pub(in crate::handler) fn is_crossed(&self, first: Option<i64>, arrived: Option<i64>) -> bool {
        let crossed = |(first, arrived)| self.number(arrived) > self.number(first);
        self.aligned && first.zip(arrived).is_some_and(crossed)
    }

    /// When the aligned window of a record ends that arrived then.
    fn end(&self, arrived: Option<i64>) -> Option<SystemTime> {
        let end = (self.number(arrived?) + 1) * self.length.as_millis() as i128;
        time(i64::try_from(end).ok()?)
    }

    /// The number of the aligned window of a record that arrived then.
    fn number(&self, arrived: i64) -> i128 {
        i128::from(arrived).div_euclid(self.length.as_millis().max(1) as i128)
    }
}

/// Milliseconds since the epoch as a time of day.
fn time(millis: i64) -> Option<SystemTime> {
    Some(UNIX_EPOCH + Duration::from_millis(u64::try_from(millis).ok()?))
}

/// A time of day as an instant; one that is too long ago to be told is now.
fn instant(at: SystemTime, now: Instant, time_of_day: SystemTime) -> Instant {
    match at.duration_since(time_of_day) {
        Ok(until) => now + until,
        Err(since) => now.checked_sub(since.duration()).unwrap_or(now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const MOST: Most = Most {
        records: 100,
        payload: 1000,
        line: 5000,
    };

    /// What is due with `records` of ten bytes, the first taken in and arrived this many seconds ago, at
    /// 00:10:30.
    fn due(
        aligned: bool,
        records: u64,
        taken_in: u64,
        arrived: u64,
        reads: impl Fn(Instant, SystemTime) -> Reads,
    ) -> Due<Trigger> {
        let now = Instant::now() + MINUTE * 100;
        let time_of_day = UNIX_EPOCH + MINUTE * 10 + MINUTE / 2;
        let since = time_of_day - Duration::from_secs(arrived);
        let since = since
            .duration_since(UNIX_EPOCH)
            .expect("after it")
            .as_millis();
        let waiting = Waiting {
            size: Size {
                records,
                payload: records * 10,
                line: records * 40,
            },
            taken_in: now - Duration::from_secs(taken_in),
            arrived: Some(since as i64),
            crossed: false,
        };
        let window = Window {
            length: MINUTE,
            aligned,
        };
        let due = window.due(
            &waiting,
            &MOST,
            &reads(now, time_of_day),
            (now, time_of_day),
        );
        match due {
            Due::At(at) => Due::At(Instant::now() + MINUTE * 1000 + (at - now)),
            due @ (Due::Now(_) | Due::Never) => due,
        }
    }

    /// The seconds until something is due.
    fn seconds(due: Due<Trigger>) -> String {
        match due {
            Due::Now(trigger) => format!("{trigger:?}"),
            Due::At(at) => (at - Instant::now() - MINUTE * 1000)
                .as_secs_f64()
                .round()
                .to_string(),
            Due::Never => "never".to_owned(),
        }
    }

    fn behind(now: Instant, _: SystemTime) -> Reads {
        Reads {
            last: now,
            caught_up: None,
        }
    }

    fn caught_up(now: Instant, time_of_day: SystemTime) -> Reads {
        Reads {
            last: now,
            caught_up: Some(time_of_day),
        }
    }

    #[test]
    fn a_window_is_over_when_it_is_full_or_as_long_after_its_first_record() {
        assert_eq!(seconds(due(false, 100, 0, 0, behind)), "Size");
        assert_eq!(seconds(due(false, 99, 0, 0, behind)), "60");
        assert_eq!(seconds(due(false, 99, 59, 59, behind)), "1");
        assert_eq!(seconds(due(false, 99, 60, 60, behind)), "Window");
    }

    #[test]
    fn a_window_is_full_by_payload_or_by_lines() {
        let now = Instant::now();
        let full = |payload, line| {
            let waiting = Waiting {
                size: Size {
                    records: 1,
                    payload,
                    line,
                },
                taken_in: now,
                arrived: None,
                crossed: false,
            };
            let window = Window {
                length: MINUTE,
                aligned: false,
            };
            let reads = behind(now, UNIX_EPOCH);
            let due = window.due(&waiting, &MOST, &reads, (now, UNIX_EPOCH));
            due == Due::Now(Trigger::Bytes)
        };
        assert!(full(1000, 0) && full(0, 5000) && !full(999, 4999));
    }

    #[test]
    fn what_waited_in_the_stream_waits_until_the_shard_is_caught_up() {
        assert_eq!(seconds(due(false, 1, 1, 300, behind)), "59");
        assert_eq!(seconds(due(false, 1, 1, 300, caught_up)), "Window");
        assert_eq!(seconds(due(false, 1, 1, 40, caught_up)), "20");
    }

    #[test]
    fn an_aligned_window_ends_by_arrival_and_by_the_clock_only_when_all_must_have_come() {
        // Its window ended at 00:10:00, half a minute ago.
        assert_eq!(seconds(due(true, 1, 59, 59, caught_up)), "Clock");
        // Its window ends at 00:11:00; what is read now says nothing of what comes until then.
        assert_eq!(seconds(due(true, 1, 5, 5, caught_up)), "90");
        // It is over, but what arrived just before that may be late.
        let soon = |now: Instant, time_of_day: SystemTime| Reads {
            last: now,
            caught_up: Some(time_of_day - Duration::from_secs(25)),
        };
        assert_eq!(seconds(due(true, 1, 59, 59, soon)), "60");
        // It is over, but there are reads, and none says that nothing more is there.
        assert_eq!(seconds(due(true, 1, 59, 59, behind)), "60");
        let silent = |now: Instant, _| Reads {
            last: now - MINUTE * 2,
            caught_up: None,
        };
        assert_eq!(seconds(due(true, 1, 59, 59, silent)), "30", "of its end");
        assert_eq!(seconds(due(true, 1, 119, 119, silent)), "Clock");
    }

    #[test]
    fn a_window_is_that_of_the_first_record() {
        let window = Window {
            length: MINUTE,
            aligned: true,
        };
        let crossed = |first, arrived| window.is_crossed(first, arrived);
        assert!(crossed(Some(59_999), Some(60_000)));
        assert!(!crossed(Some(60_000), Some(119_999)));
        assert!(!crossed(Some(60_000), Some(59_000)), "order comes first");
        assert!(!crossed(Some(60_000), None) && !crossed(None, Some(60_000)));
    }
}
