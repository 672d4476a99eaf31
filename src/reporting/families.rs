//! The metrics: what each is called, what it says, and how they look to Prometheus.
//!
//! Names and units as <https://prometheus.io/docs/practices/naming/>, text as
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>, version 0.0.4.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

use super::Snapshot;
use crate::counters;
use crate::outcome::Class;

/// A metric.
#[derive(Debug)]
pub struct Family {
    /// What it is called.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Labels that it has besides `name` and `shard`.
    pub labels: &'static [&'static str],
    samples: fn(&Snapshot) -> Vec<Sample>,
}

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It grows, from 0 at the lease's start.
    Counter,
    /// It goes up and down.
    Gauge,
    /// It counts values by size, in `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// The values of a family's own labels, and a number with them.
struct Sample {
    labels: Vec<String>,
    metric: Metric,
}

/// All metrics.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "kclpipe_build_info",
        help: "Always 1; the version of kclpipe is in the label.",
        kind: Kind::Gauge,
        labels: &["version"],
        samples: |_| vec![gauge(&[env!("CARGO_PKG_VERSION")], 1.0)],
    },
    Family {
        name: "kclpipe_records_total",
        help: "Records that are done or disposed of, by outcome: done, filtered (a filter keeps them back), dead_lettered, skipped.",
        kind: Kind::Counter,
        labels: &["outcome"],
        samples: |of| {
            let counters = &of.counters;
            vec![
                counter(&["done"], counters.done),
                counter(&["filtered"], counters.filtered),
                counter(&["dead_lettered"], counters.dead_lettered),
                counter(&["skipped"], counters.skipped),
            ]
        },
    },
    Family {
        name: "kclpipe_record_failures_total",
        help: "How many times a record was rejected, ran out of attempts, or failed and was too old. A record that blocks counts each time.",
        kind: Kind::Counter,
        labels: &["reason"],
        samples: |of| {
            let counters = &of.counters;
            vec![
                counter(&["rejected"], counters.rejected),
                counter(&["attempts_exhausted"], counters.attempts_exhausted),
                counter(&["expired"], counters.expired),
            ]
        },
    },
    Family {
        name: "kclpipe_record_age_seconds",
        help: "Time from a record's arrival in the stream until it and everything before it was done. Records that were done together count with the age of the first.",
        kind: Kind::Histogram,
        labels: &[],
        samples: |of| vec![histogram(&of.counters.ages)],
    },
    Family {
        name: "kclpipe_dead_letter_errors_total",
        help: "Dead letters that could not be written; their records wait and block their shard.",
        kind: Kind::Counter,
        labels: &[],
        samples: |of| vec![counter(&[], of.counters.unwritten)],
    },
    Family {
        name: "kclpipe_failed_attempts_total",
        help: "Failed attempts, by the class of the handler's answer or exit.",
        kind: Kind::Counter,
        labels: &["class"],
        samples: |of| {
            let by_class = |(class, count): (Class, u64)| counter(&[&class.to_string()], count);
            of.counters.failed().map(by_class).collect()
        },
    },
    Family {
        name: "kclpipe_retries_total",
        help: "How many times a record, or a batch of them, was scheduled for a retry after a delay.",
        kind: Kind::Counter,
        labels: &[],
        samples: |of| vec![counter(&[], of.counters.retries)],
    },
    Family {
        name: "kclpipe_handler_exits_total",
        help: "Handler processes that ended, by exit code, signal or other cause, and by class.",
        kind: Kind::Counter,
        labels: &["class", "exit"],
        samples: |of| {
            let exits = of.counters.exits().iter();
            exits
                .map(|(ended, class, count)| counter(&[&class.to_string(), &ended.label()], *count))
                .collect()
        },
    },
    Family {
        name: "kclpipe_handler_duration_seconds",
        help: "How long a handler took: a process from start to end; with --per shard, from the record, the event or the previous answer to the answer.",
        kind: Kind::Histogram,
        labels: &[],
        samples: |of| vec![histogram(&of.counters.times)],
    },
    Family {
        name: "kclpipe_handler_respawns_total",
        help: "With --per shard: handlers that were restarted after a bad end or a bad answer.",
        kind: Kind::Counter,
        labels: &[],
        samples: |of| vec![counter(&[], of.counters.respawns)],
    },
    Family {
        name: "kclpipe_handler_starts_total",
        help: "Handlers that were started, and with --per shard --format lambda events that one was given, by what started them: see the reasons below.",
        kind: Kind::Counter,
        labels: &["reason"],
        samples: |of| {
            let starts = of.counters.starts();
            starts
                .map(|(reason, count)| counter(&[reason], count))
                .collect()
        },
    },
    Family {
        name: "kclpipe_batch_records",
        help: "How many records a handler got at its start; with --per shard only in events, with --format lambda.",
        kind: Kind::Histogram,
        labels: &[],
        samples: |of| vec![histogram(&of.counters.batch_records)],
    },
    Family {
        name: "kclpipe_batch_bytes",
        help: "Bytes of payload that a handler got at its start; with --per shard only in events, with --format lambda.",
        kind: Kind::Histogram,
        labels: &[],
        samples: |of| vec![histogram(&of.counters.batch_bytes)],
    },
    Family {
        name: "kclpipe_held_records",
        help: "Records that were taken in, from the first that is not done on.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |of| vec![gauge(&[], of.counters.held_records as f64)],
    },
    Family {
        name: "kclpipe_held_bytes",
        help: "The length of the daemon's lines of these records: what --read-ahead limits.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |of| vec![gauge(&[], of.counters.held_bytes as f64)],
    },
    Family {
        name: "kclpipe_oldest_held_seconds",
        help: "How long ago the oldest record that is not done arrived in the stream; missing if there is none.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |of| {
            let oldest = of.oldest.map(|oldest| gauge(&[], oldest.as_secs_f64()));
            oldest.into_iter().collect()
        },
    },
    Family {
        name: "kclpipe_records_in_flight",
        help: "Records that a handler has not answered yet.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |of| vec![gauge(&[], of.counters.in_flight as f64)],
    },
    Family {
        name: "kclpipe_throttled_seconds_total",
        help: "For how long a handler could have started if a limit had allowed it, by the limit: --rate or --host-jobs.",
        kind: Kind::Counter,
        labels: &["limit"],
        samples: |of| {
            let times = of.counters.throttled_times();
            times
                .map(|(limit, time)| counter_of(&[limit], time.as_secs_f64()))
                .collect()
        },
    },
    Family {
        name: "kclpipe_blocked",
        help: "1 while a record that has failed holds up everything after it, otherwise 0.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |of| vec![gauge(&[], f64::from(u8::from(of.blocked.is_some())))],
    },
    Family {
        name: "kclpipe_blocked_seconds",
        help: "How long that record has been failing, otherwise 0.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |of| {
            let time = of
                .blocked
                .as_ref()
                .map_or(0.0, |(_, time)| time.as_secs_f64());
            vec![gauge(&[], time)]
        },
    },
    Family {
        name: "kclpipe_blocking_record_attempts",
        help: "Attempts of the record that has been failing for ten seconds or longer, and how the last handler that failed ended; missing if there is none.",
        kind: Kind::Gauge,
        labels: &["record", "ended"],
        samples: |of| blocking_record(of).into_iter().collect(),
    },
    Family {
        name: "kclpipe_behind_latest_seconds",
        help: "How far the shard is behind its tip: as of the last batch read, and at least the age of the oldest record that is not done; missing until either is known.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |of| {
            let behind = of.behind.map(|behind| gauge(&[], behind.as_secs_f64()));
            behind.into_iter().collect()
        },
    },
    Family {
        name: "kclpipe_complete",
        help: "With --until: 1 once all records that arrived before that time are done, otherwise 0; missing without.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |of| {
            let done = of
                .is_complete()
                .map(|done| gauge(&[], f64::from(u8::from(done))));
            done.into_iter().collect()
        },
    },
    Family {
        name: "kclpipe_checkpoints_total",
        help: "Checkpoints, by the daemon's answer: stored, failed and retried, refused for good, or lease lost.",
        kind: Kind::Counter,
        labels: &["result"],
        samples: |of| {
            let results = of.checkpoints;
            vec![
                counter(&["stored"], results.stored),
                counter(&["failed"], results.failed),
                counter(&["refused"], results.refused),
                counter(&["lease_lost"], results.lease_lost),
            ]
        },
    },
    Family {
        name: "kclpipe_last_checkpoint_timestamp_seconds",
        help: "When the last checkpoint was stored, or the lease was acquired, in seconds since the epoch.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |of| {
            let time = of.time.duration_since(UNIX_EPOCH).unwrap_or_default();
            let then = time.saturating_sub(of.since_checkpoint);
            vec![gauge(&[], to_millis(then).as_secs_f64())]
        },
    },
    Family {
        name: "kclpipe_unsaved_records",
        help: "Records done since the last checkpoint: they would be redelivered after a crash now.",
        kind: Kind::Gauge,
        labels: &[],
        samples: |of| vec![gauge(&[], of.unsaved as f64)],
    },
];

/// How long a record fails before it is named: each name is a series for Prometheus to keep, and a record that is
/// done at its second attempt is not worth one.
const NAMED_AFTER: Duration = Duration::from_secs(10);

fn blocking_record(of: &Snapshot) -> Option<Sample> {
    let (record, _) = of
        .blocked
        .as_ref()
        .filter(|(_, time)| *time >= NAMED_AFTER)?;
    let last = of.counters.last_failure.as_ref();
    let ended = last.map_or("", |last| last.ended.as_str());
    let attempts = f64::from(of.counters.blocking_attempts);
    Some(gauge(&[&record.to_string(), ended], attempts))
}

/// The text of all metrics of an application's shard.
///
/// # Errors
/// The library refuses what it is given; it has no reason to.
pub(super) fn render(
    snapshot: &Snapshot,
    name: &str,
    shard_id: &str,
    stream: Option<&str>,
) -> Result<String> {
    let families = FAMILIES.iter().map(|family| {
        let samples = (family.samples)(snapshot).into_iter();
        let metrics = samples.map(|sample| {
            let own = family.labels.iter().copied().zip(sample.labels);
            let common = [("name", name.to_owned()), ("shard", shard_id.to_owned())];
            let stream = stream.map(|stream| ("stream", stream.to_owned()));
            let mut metric = sample.metric;
            metric.set_label(
                common
                    .into_iter()
                    .chain(stream)
                    .chain(own)
                    .map(label)
                    .collect(),
            );
            metric
        });
        let mut shown = MetricFamily::default();
        shown.set_name(family.name.to_owned());
        shown.set_help(family.help.to_owned());
        shown.set_field_type(match family.kind {
            Kind::Counter => MetricType::COUNTER,
            Kind::Gauge => MetricType::GAUGE,
            Kind::Histogram => MetricType::HISTOGRAM,
        });
        shown.set_metric(metrics.collect());
        shown
    });
    // A family without a value is an error to the encoder.
    let families: Vec<MetricFamily> = families
        .filter(|family| !family.get_metric().is_empty())
        .collect();
    Ok(TextEncoder::new().encode_to_string(&families)?)
}

fn label((name, value): (&str, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value);
    pair
}

fn sample(labels: &[&str], set: impl FnOnce(&mut Metric)) -> Sample {
    let mut metric = Metric::default();
    set(&mut metric);
    Sample {
        labels: labels.iter().map(|&value| value.to_owned()).collect(),
        metric,
    }
}

fn counter(labels: &[&str], count: u64) -> Sample {
    counter_of(labels, count as f64)
}

fn counter_of(labels: &[&str], amount: f64) -> Sample {
    let mut value = Counter::default();
    value.set_value(amount);
    sample(labels, |metric| metric.set_counter(value))
}

fn gauge(labels: &[&str], number: f64) -> Sample {
    let mut value = Gauge::default();
    value.set_value(number);
    sample(labels, |metric| metric.set_gauge(value))
}

fn histogram(of: &counters::Histogram) -> Sample {
    let buckets = of.cumulative().map(|(bound, count)| {
        let mut bucket = Bucket::default();
        bucket.set_upper_bound(bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut value = Histogram::default();
    value.set_bucket(buckets.collect());
    value.set_sample_sum(of.sum());
    value.set_sample_count(of.count());
    sample(&[], |metric| metric.set_histogram(value))
}

fn to_millis(time: Duration) -> Duration {
    Duration::from_millis(time.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Position;
    use crate::reporting::tests::snapshot;
    use crate::shard_state::LastFailure;

    #[test]
    fn a_record_is_named_once_it_has_blocked_for_a_while() {
        let mut of = snapshot();
        of.counters.blocking_attempts = 7;
        of.counters.last_failure = Some(LastFailure::new("exit code 1".to_owned(), b""));
        let named_after = |of: &mut Snapshot, seconds| {
            let blocked = Position::new("4959", 0).map(|at| (at, Duration::from_secs(seconds)));
            of.blocked = blocked;
            let text = render(of, "app", "s", None).expect("rendered");
            let sample = text
                .lines()
                .find(|line| line.starts_with("kclpipe_blocking_record_attempts{"));
            sample.map(str::to_owned)
        };
        assert_eq!(named_after(&mut of, 9), None);
        let named = named_after(&mut of, 10).expect("named");
        assert!(named.contains(r#"record="4959.0""#), "{named}");
        assert!(named.contains(r#"ended="exit code 1""#), "{named}");
        assert!(named.ends_with("} 7"), "{named}");
    }
}
