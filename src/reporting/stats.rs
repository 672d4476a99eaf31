//! The line in the log that sums up an interval.

use std::fmt::Write;
use std::time::{Duration, Instant};

use humantime::format_duration;

use super::Snapshot;
use super::emf::{self, Source};
use super::interval::Interval;
use crate::checkpoint::Results;
use crate::counters::Counters;
use crate::logging;
use crate::plural::plural;
use crate::throttle::THROTTLES;

/// How an interval is summed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A line that a person reads.
    Text,
    /// A line that CloudWatch Logs reads.
    Emf(Source),
}

/// What was reported last, and when the next line is due.
#[derive(Debug)]
pub(super) struct Stats {
    every: Duration,
    form: Form,
    began: Option<Instant>,
    due: Option<Instant>,
    counters: Counters,
    checkpoints: Results,
}

impl Stats {
    pub(super) fn new(every: Duration, form: Form) -> Stats {
        Stats {
            every,
            form,
            began: None,
            due: None,
            counters: Counters::default(),
            checkpoints: Results::default(),
        }
    }

    pub(super) fn begin(&mut self, shard_id: &str, now: Instant) {
        if let Form::Emf(source) = &mut self.form {
            shard_id.clone_into(&mut source.shard);
        }
        self.began = Some(now);
        self.due = Some(now + self.every);
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Logs the interval that ends now, and begins the next one.
    pub(super) fn log(&mut self, snapshot: &Snapshot, now: Instant) {
        // Not within a macro: where its level is not logged, the next line would stay due for ever.
        let line = self.line(snapshot, now);
        match self.form {
            Form::Text => log::info!("{line}"),
            // Metrics are wanted, however few log lines are.
            Form::Emf(_) => log::error!(target: logging::BARE, "{line}"),
        }
    }

    fn line(&mut self, snapshot: &Snapshot, now: Instant) -> String {
        let took = now - self.began.replace(now).unwrap_or(now);
        // A step from the last one that was due, so that the lines do not drift; a longer one after a pause.
        let next = self.due.map(|due| due + self.every);
        self.due = next.filter(|due| *due > now).or(Some(now + self.every));
        let interval = Interval {
            took,
            then: &self.counters,
            stored_then: self.checkpoints,
            snapshot,
        };
        let line = match &self.form {
            Form::Text => sum_up(&interval),
            Form::Emf(source) => emf::object(&interval, source),
        };
        self.counters = snapshot.counters.clone();
        self.checkpoints = snapshot.checkpoints;
        line
    }
}

/// What is always there comes first, what somebody should look at last; what did not happen is left out.
fn sum_up(of: &Interval) -> String {
    let (now, snapshot) = (&of.snapshot.counters, of.snapshot);
    let done = of.grown(|counters| counters.done);
    let mut line = format!(
        "in {}: {} done ({:.1}/s)",
        shown(of.took),
        plural(done, "record"),
        done as f64 / of.took.as_secs_f64().max(f64::MIN_POSITIVE)
    );
    let counts = [
        ("filtered", of.grown(|counters| counters.filtered)),
        ("skipped", of.grown(|counters| counters.skipped)),
        ("dead-lettered", of.grown(|counters| counters.dead_lettered)),
        (
            "dead letters not written",
            of.grown(|counters| counters.unwritten),
        ),
        ("rejected", of.grown(|counters| counters.rejected)),
        (
            "expired or out of attempts",
            of.grown(|counters| counters.attempts_exhausted + counters.expired),
        ),
    ];
    add(&mut line, "", counts.map(|(what, n)| (what.to_owned(), n)));
    let attempts = of.failed().map(|(class, n)| (class.to_string(), n));
    add(&mut line, "failed attempts: ", attempts);
    // What a handler's own failures cost comes after what became of records.
    let restarts = [
        ("retried", of.grown(|counters| counters.retries)),
        ("respawned", of.grown(|counters| counters.respawns)),
    ];
    add(
        &mut line,
        "",
        restarts.map(|(what, n)| (what.to_owned(), n)),
    );
    add_waits(&mut line, of);
    add_checkpoints(&mut line, of);
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
fn add_waits(line: &mut String, of: &Interval) {
    for (throttle, _) in THROTTLES {
        let time = of.waited(throttle);
        if !time.is_zero() {
            let _ = write!(line, "; {} waiting for {}", shown(time), throttle.awaited());
        }
    }
}

fn add_checkpoints(line: &mut String, of: &Interval) {
    let (came, snapshot) = (of.checkpoints(), of.snapshot);
    let _ = write!(line, "; checkpoints: {} stored", came.stored);
    let bad = [(came.failed, "failed"), (came.refused, "refused")];
    for (count, what) in bad.iter().filter(|(count, _)| *count > 0) {
        let _ = write!(line, ", {count} {what}");
    }
    let since = shown(snapshot.since_checkpoint);
    let _ = match snapshot.checkpoints.stored {
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
        let (mut stats, now) = (Stats::new(MINUTE, Form::Text), Instant::now());
        assert_eq!(stats.due(), None);
        stats.begin("s", now);
        assert_eq!(stats.due(), Some(now + MINUTE));
        assert_eq!(
            stats.line(&idle(), now + MINUTE),
            "in 1m: 0 records done (0.0/s); checkpoints: 0 stored, none in 1m; unknown behind latest, 0 in flight"
        );
        assert_eq!(stats.due(), Some(now + MINUTE * 2));
    }

    #[test]
    fn a_line_is_about_its_interval_and_names_what_went_wrong() {
        let (mut stats, now) = (Stats::new(MINUTE, Form::Text), Instant::now());
        stats.begin("s", now);
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
