//! The interval as CloudWatch's embedded metric format: one JSON object in the log, from which CloudWatch Logs takes the
//! metrics by itself. <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::time::UNIX_EPOCH;

use serde_json::{Map, Value, json};

use super::interval::Interval;
use crate::counters::Counters;
use crate::throttle::THROTTLES;

/// Under which CloudWatch shows them.
const NAMESPACE: &str = "kclpipe";

/// The longest value of a dimension, in characters.
const MOST: usize = 1024;

/// Whose metrics they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Source {
    /// What tells applications apart: `--name`.
    pub(super) name: String,
    /// The stream, where it is known.
    pub(super) stream: Option<String>,
    /// The shard.
    pub(super) shard: String,
}

/// The object, on one line. A count that is 0 is there, too: an alarm cannot tell a silence from what is well.
pub(super) fn object(of: &Interval, source: &Source) -> String {
    let values = values(of);
    let described: Vec<Value> = values
        .iter()
        .map(|(name, unit, _)| json!({"Name": name, "Unit": unit}))
        .collect();
    let time = of.snapshot.time.duration_since(UNIX_EPOCH);
    let metrics = json!({
        "Namespace": NAMESPACE,
        "Dimensions": [["Name"], ["Name", "Shard"]],
        "Metrics": described,
    });
    let mut object = Map::new();
    let timestamp = time.unwrap_or_default().as_millis() as u64;
    let about = json!({"Timestamp": timestamp, "CloudWatchMetrics": [metrics]});
    object.insert("_aws".to_owned(), about);
    object.insert("Name".to_owned(), dimension(&source.name));
    object.insert("Shard".to_owned(), dimension(&source.shard));
    if let Some(stream) = &source.stream {
        object.insert("Stream".to_owned(), json!(stream));
    }
    if let Some((record, _)) = &of.snapshot.blocked {
        object.insert("BlockedRecord".to_owned(), json!(record.to_string()));
    }
    for (name, _, value) in values {
        object.insert(name.to_owned(), value);
    }
    Value::Object(object).to_string()
}

/// Name, unit and value of each metric.
fn values(of: &Interval) -> Vec<(&'static str, &'static str, Value)> {
    let (now, stored) = (&of.snapshot.counters, of.checkpoints());
    let grown = |count: fn(&Counters) -> u64| json!(of.grown(count));
    let seconds = |time: std::time::Duration| json!(time.as_secs_f64());
    let blocked = of.snapshot.blocked.as_ref().map(|(_, time)| *time);
    let mut values = vec![
        ("RecordsDone", "Count", grown(|of| of.done)),
        ("RecordsFiltered", "Count", grown(|of| of.filtered)),
        ("RecordsSkipped", "Count", grown(|of| of.skipped)),
        ("RecordsRejected", "Count", grown(|of| of.rejected)),
        ("RecordsExpired", "Count", grown(|of| of.expired)),
        (
            "RecordsOutOfAttempts",
            "Count",
            grown(|of| of.attempts_exhausted),
        ),
        ("DeadLetters", "Count", grown(|of| of.dead_lettered)),
        ("DeadLettersNotWritten", "Count", grown(|of| of.unwritten)),
        ("FailedAttempts", "Count", json!(of.failed_attempts())),
        ("Retries", "Count", grown(|of| of.retries)),
        ("Respawns", "Count", grown(|of| of.respawns)),
        ("CheckpointsStored", "Count", json!(stored.stored)),
        (
            "CheckpointsFailed",
            "Count",
            json!(stored.failed + stored.refused),
        ),
        (
            "SecondsSinceCheckpoint",
            "Seconds",
            seconds(of.snapshot.since_checkpoint),
        ),
        ("RecordsInFlight", "Count", json!(now.in_flight)),
        ("RecordsHeld", "Count", json!(now.held_records)),
        ("BytesHeld", "Bytes", json!(now.held_bytes)),
        (
            "BlockedSeconds",
            "Seconds",
            seconds(blocked.unwrap_or_default()),
        ),
    ];
    let waited = THROTTLES
        .iter()
        .map(|(throttle, _)| of.waited(*throttle))
        .sum();
    values.push(("ThrottledSeconds", "Seconds", seconds(waited)));
    if let Some(behind) = of.snapshot.behind {
        values.push(("SecondsBehindLatest", "Seconds", seconds(behind)));
    }
    values
}

/// A value that CloudWatch takes for a dimension: ASCII, and something of it visible.
fn dimension(text: &str) -> Value {
    let shown = |char: char| if char.is_ascii() { char } else { '?' };
    let text: String = text.chars().take(MOST).map(shown).collect();
    json!(if text.trim().is_empty() { "-" } else { &text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dimension_is_what_cloudwatch_takes() {
        assert_eq!(dimension("orders"), "orders");
        assert_eq!(dimension(" \n"), "-");
        assert_eq!(dimension("b\u{fc}ro"), "b?ro");
        assert_eq!(
            dimension(&"x".repeat(2000)).as_str().map(str::len),
            Some(MOST)
        );
    }
}
