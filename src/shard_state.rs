//! How a shard stands: what each kclpipe writes beside its metrics, and `kclpipe status` reads.
//!
//! The file is `kclpipe-NAME-SHARD-PID.json`. Its writer holds a lock (`flock`) on it for as long as it lives, so
//! that a lock that can be taken shows that it is gone: the number of a process may be another's by then, and
//! means nothing in another container.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::throttle::Throttle;

/// What one kclpipe says of its shard. Times are milliseconds since the epoch, by the clock of its machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShardState {
    /// What tells applications on one machine apart: `--name`.
    pub(crate) name: String,
    /// The stream, where `kclpipe launch` has said it.
    pub(crate) stream: Option<String>,
    /// The shard.
    pub(crate) shard_id: String,
    /// The process.
    pub(crate) pid: u32,
    /// Its version.
    pub(crate) version: String,
    /// When the lease came.
    pub(crate) since: u64,
    /// When this was written.
    pub(crate) written: u64,
    /// How far what is done is after the shard's tip, in milliseconds; `None` while that is not known.
    pub(crate) millis_behind_latest: Option<u64>,
    /// Records that are done or disposed of since then.
    pub(crate) records: u64,
    /// How many of them a second, since the last writing.
    pub(crate) records_per_second: f64,
    /// Records that a handler has and has not answered.
    pub(crate) in_flight: u64,
    /// Records that were taken in, from the first that is not done on.
    pub(crate) held_records: u64,
    /// The length of the daemon's lines of these, in bytes.
    pub(crate) held_bytes: u64,
    /// When the last checkpoint was stored; `None` before the first.
    pub(crate) last_checkpoint: Option<u64>,
    /// Records done since then.
    pub(crate) unsaved_records: u64,
    /// With `--until`: whether all before that time is done; `None` without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) complete: Option<bool>,
    /// The limit that holds up a handler, if one does and we know it; files of older versions do not say.
    #[serde(default, deserialize_with = "known")]
    pub(crate) throttled: Option<Throttled>,
    /// The record that everything waits for, if its attempts fail.
    pub(crate) blocked: Option<Blocked>,
    /// How the last handler ended that did not end well.
    pub(crate) last_failure: Option<LastFailure>,
}

/// A handler that could start, and waits for what a limit allows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Throttled {
    /// Which.
    pub(crate) limit: Throttle,
    /// When that began.
    pub(crate) since: u64,
}

/// A record that everything after it waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Blocked {
    /// Its sequence number.
    pub(crate) sequence_number: String,
    /// Its place in an aggregate.
    pub(crate) sub_sequence_number: u64,
    /// When its first attempt failed.
    pub(crate) since: u64,
    /// How many attempts there were, also those that were not charged.
    pub(crate) attempts: u32,
}

/// What a newer version says that we have no word for is left out: the rest of its file still counts.
fn known<'de, D: Deserializer<'de>, T: DeserializeOwned>(value: D) -> Result<Option<T>, D::Error> {
    let value = Option::<Value>::deserialize(value)?;
    Ok(value.and_then(|value| serde_json::from_value(value).ok()))
}

/// How a handler ended that did not end well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastFailure {
    /// How, for example `exit code 1`.
    pub ended: String,
    /// The last line that it wrote on stderr, cut off at 200 characters; empty if there was none.
    pub stderr: String,
}

impl LastFailure {
    /// From the end of what a handler wrote on stderr.
    pub fn new(ended: String, stderr: &[u8]) -> LastFailure {
        const MOST: usize = 200;
        let text = String::from_utf8_lossy(stderr);
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        LastFailure {
            ended,
            stderr: last.unwrap_or_default().chars().take(MOST).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_file_counts_with_what_is_known_of_it() {
        let text = |limit: &str| {
            format!(
                r#"{{"name":"n","shardId":"s","pid":1,"version":"9","since":1,"written":2,"records":3,"recordsPerSecond":4.0,"inFlight":5,"heldRecords":6,"heldBytes":7,"unsavedRecords":8,"news":[1],"throttled":{{"limit":"{limit}","since":9}}}}"#
            )
        };
        let read = |limit| serde_json::from_str::<ShardState>(&text(limit)).expect("read");
        assert_eq!(read("rate").throttled.map(|of| of.since), Some(9));
        assert_eq!(read("moon").throttled, None);
        assert_eq!(read("moon").held_bytes, 7);
    }

    #[test]
    fn the_last_line_that_says_something_is_kept() {
        let of = |stderr: &[u8]| LastFailure::new("exit code 1".to_owned(), stderr).stderr;
        assert_eq!(of(b"first\nlast\n\n  \n"), "last");
        assert_eq!(of(b""), "");
        assert_eq!(of("\u{e9}".repeat(300).as_bytes()).chars().count(), 200);
        assert_eq!(of(b"\xff!"), "\u{fffd}!");
    }
}
