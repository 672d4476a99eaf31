//! The line in the log that sums up an interval.

use std::fmt::Write;
use std::time::{Duration, Instant};

use humantime::format_duration;

use super::Snapshot;
use crate::checkpoint::Results;
use crate::counters::Counters;
use crate::plural::plural;
use crate::throttle::THROTTLES;

/// What was told last, and when the next line is due.
#[derive(Debug)]
pub(super) struct Stats {
    every: Duration,
    began: Option<Instant>,
    due: Option<Instant>,
    counters: Counters,
    checkpoints: Results,
}

impl Stats {
    pub(super) fn new(every: Duration) -> Stats {
        Stats {
            every,
            began: None,
            due: None,
            counters: Counters::default(),
            checkpoints: Results::default(),
        }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
        self.due = Some(now + self.every);
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Sums up the interval that ends now, and begins the next one.
    pub(super) fn line(&mut self, snapshot: &Snapshot, now: Instant) -> String {
        let took = now - self.began.replace(now).unwrap_or(now);
        // A step from the last one that was due, so that the lines do not drift; a longer one after a pause.
        let next = self.due.map(|due| due + self.every);
        self.due = next.filter(|due| *due > now).or(Some(now + self.every));
        let line = sum_up(took, &self.counters, self.checkpoints, snapshot);
        self.counters = snapshot.counters.clone();
        self.checkpoints = snapshot.checkpoints;
        line
    }
}

/// What is always there comes first, what somebody should look at last; what did not happen is left out.
fn sum_up(took: Duration, then: &Counters, stored_then: Results, snapshot: &Snapshot) -> String {
    let now = &snapshot.counters;
    let done = now.done - then.done;
    let mut line = format!(
        "in {}: {} done ({:.1}/s)",
        shown(took),
        plural(done, "record"),
        done as f64 / took.as_secs_f64().max(f64::MIN_POSITIVE)
    );
    let attempts = now.failed().zip(then.failed());
    let attempts = attempts.map(|((class, now), (_, then))| (class.to_string(), now - then));
    let counts = [
        ("skipped", now.skipped - then.skipped),
        ("dead-lettered", now.dead_lettered - then.dead_lettered),
        ("dead letters not written", now.unwritten - then.unwritten),
        ("rejected", now.rejected - then.rejected),
        (
            "expired or out of attempts",
            now.attempts_exhausted + now.expired - then.attempts_exhausted - then.expired,
        ),
    ];
    add(&mut line, "", counts.map(|(what, n)| (what.to_owned(), n)));
    add(&mut line, "failed attempts: ", attempts);
    // What a handler's own failures cost comes after what became of records.
    let restarts = [
        ("retried", now.retries - then.retries),
        ("respawned", now.respawns - then.respawns),
    ];
    add(
        &mut line,
        "",
        restarts.map(|(what, n)| (what.to_owned(), n)),
    );
    add_waits(&mut line, then, now);
    add_checkpoints(&mut line, stored_then, snapshot);
    let behind = snapshot.behind.map_or("unknown".to_owned(), shown);
    let _ = write!(
        line,
        "; {behind} behind latest, {} in flight",
        now.in_flight
    );
    if now.held_records > now.in_flight {
        let _ = write!(line, ", {} held", now.held_records);
    }
    if let Some((record, time)) = &snapshot.blocked {
        let _ = write!(line, "; BLOCKED for {} by record {record}", shown(*time));
    }
    line
}

/// For how long limits have held up handlers.
fn add_waits(line: &mut String, then: &Counters, now: &Counters) {
    let before = then.throttled_times;
    for (throttle, _) in THROTTLES {
        let at = throttle as usize;
        let time = now.throttled_times[at].saturating_sub(before[at]);
        if !time.is_zero() {
            let _ = write!(line, "; {} waiting for {}", shown(time), throttle.awaited());
        }
    }
}

fn add_checkpoints(line: &mut String, then: Results, snapshot: &Snapshot) {
    let now = snapshot.checkpoints;
    let _ = write!(line, "; checkpoints: {} stored", now.stored - then.stored);
    let bad = [
        (now.failed - then.failed, "failed"),
        (now.refused - then.refused, "refused"),
    ];
    for (count, what) in bad.iter().filter(|(count, _)| *count > 0) {
        let _ = write!(line, ", {count} {what}");
    }
    let since = shown(snapshot.since_checkpoint);
    let _ = match now.stored {
        0 => write!(line, ", none in {since}"),
        _ => write!(line, ", the last {since} ago"),
    };
    if snapshot.unsaved > 0 {
        let _ = write!(line, ", {} since", plural(snapshot.unsaved, "record"));
    }
}

/// The counts that are not zero, behind a word on what they are.
fn add(line: &mut String, what: &str, counts: impl IntoIterator<Item = (String, u64)>) {
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    let counts: Vec<String> = counts
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    if !counts.is_empty() {
        let _ = write!(line, "; {what}{}", counts.join(", "));
    }
}

/// A time as a person reads it.
fn shown(time: Duration) -> String {
    match time.as_secs() {
        0..60 => format!("{:.1}s", time.as_secs_f64()),
        seconds => format_duration(Duration::from_secs(seconds)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Class;
    use crate::record::Position;
    use crate::reporting::tests::snapshot;

    const MINUTE: Duration = Duration::from_secs(60);

    fn idle() -> Snapshot {
        Snapshot {
            since_checkpoint: MINUTE,
            ..snapshot()
        }
    }

    #[test]
    fn an_idle_shard_has_a_short_line() {
        let (mut stats, now) = (Stats::new(MINUTE), Instant::now());
        assert_eq!(stats.due(), None);
        stats.begin(now);
        assert_eq!(stats.due(), Some(now + MINUTE));
        assert_eq!(
            stats.line(&idle(), now + MINUTE),
            "in 1m: 0 records done (0.0/s); checkpoints: 0 stored, none in 1m; unknown behind latest, 0 in flight"
        );
        assert_eq!(stats.due(), Some(now + MINUTE * 2));
    }

    #[test]
    fn a_line_is_about_its_interval_and_names_what_went_wrong() {
        let (mut stats, now) = (Stats::new(MINUTE), Instant::now());
        stats.begin(now);
        let mut so_far = idle();
        so_far.counters.done = 1000;
        so_far.counters.rejected = 5;
        so_far.checkpoints.stored = 7;
        stats.line(&so_far, now + MINUTE);
        so_far.counters.done = 1090;
        so_far.counters.dead_lettered = 2;
        so_far.counters.fail(Class::Fail);
        so_far.counters.fail(Class::Retry);
        so_far.counters.fail(Class::Fail);
        so_far.counters.retries = 3;
        so_far.counters.throttled_times = [Duration::ZERO, Duration::from_millis(12_300)];
        so_far.counters.in_flight = 1;
        so_far.counters.held_records = 40;
        so_far.checkpoints.failed = 1;
        so_far.unsaved = 90;
        so_far.behind = Some(Duration::from_millis(1500));
        so_far.blocked =
            Position::new("4959", 0).map(|record| (record, Duration::from_millis(301_200)));
        assert_eq!(
            stats.line(&so_far, now + MINUTE * 2),
            "in 1m: 90 records done (1.5/s); 2 dead-lettered; failed attempts: 1 retry, 2 fail; 3 retried; 12.3s waiting for a slot; checkpoints: 0 stored, 1 failed, the last 1m ago, 90 records since; 1.5s behind latest, 1 in flight, 40 held; BLOCKED for 5m 1s by record 4959.0"
        );
    }
}
