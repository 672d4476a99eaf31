//! How a shard stands at a moment: gone, blocked, stale, well or complete, and for how long.

use std::cmp::Reverse;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::directory::StateFile;
use crate::shard_state::ShardState;

/// A file is written each five seconds; one that is older than this is stale.
const STALE: Duration = Duration::from_secs(30);

/// How a shard stands, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Standing {
    /// Its kclpipe was killed; nobody here works on it.
    Gone,
    /// Everything waits for one record.
    Blocked,
    /// Its kclpipe lives, and has not written its file for a while.
    Stale,
    /// Nothing of these.
    Well,
    /// All that a backfill wanted of it is done.
    Complete,
}

impl Standing {
    /// In a word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Standing::Gone => "gone",
            Standing::Blocked => "blocked",
            Standing::Stale => "stale",
            Standing::Well => "well",
            Standing::Complete => "complete",
        }
    }
}

/// A shard at a moment. Ages are of that moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Shard {
    /// How it stands.
    pub(crate) standing: Standing,
    /// How long ago its file was written.
    #[serde(rename = "secondsSinceWritten", serialize_with = "seconds")]
    pub(crate) age: Duration,
    /// How far it is after its tip, if that is known.
    #[serde(rename = "secondsBehindLatest", serialize_with = "maybe_seconds")]
    pub(crate) behind: Option<Duration>,
    /// How long a record has blocked it.
    #[serde(rename = "secondsBlocked", serialize_with = "maybe_seconds")]
    pub(crate) blocked: Option<Duration>,
    /// How long a limit has held up a handler.
    #[serde(rename = "secondsThrottled", serialize_with = "maybe_seconds")]
    pub(crate) throttled: Option<Duration>,
    /// How long ago its last checkpoint was stored.
    #[serde(rename = "secondsSinceCheckpoint", serialize_with = "maybe_seconds")]
    pub(crate) checkpoint: Option<Duration>,
    /// What its kclpipe wrote.
    #[serde(flatten)]
    pub(crate) state: ShardState,
}

impl Shard {
    /// How the shard of this file stands at `now`.
    pub(crate) fn new(file: StateFile, now: SystemTime) -> Shard {
        let StateFile { state, is_gone, .. } = file;
        let age = since(state.written, now);
        let behind = state.millis_behind_latest.map(Duration::from_millis);
        let standing = if is_gone {
            Standing::Gone
        } else if state.blocked.is_some() {
            Standing::Blocked
        } else if age > STALE {
            Standing::Stale
        } else if state.complete == Some(true) {
            Standing::Complete
        } else {
            Standing::Well
        };
        Shard {
            standing,
            age,
            // Nobody works on it, so it has fallen back by this time.
            behind: behind.map(|behind| if is_gone { behind + age } else { behind }),
            blocked: state.blocked.as_ref().map(|of| since(of.since, now)),
            throttled: state.throttled.as_ref().map(|of| since(of.since, now)),
            checkpoint: state.last_checkpoint.map(|at| since(at, now)),
            state,
        }
    }

    /// All of these, worst first: gone, longest blocked, farthest behind.
    pub(crate) fn sorted(files: Vec<StateFile>, now: SystemTime) -> Vec<Shard> {
        let all = files.into_iter().map(|file| Shard::new(file, now));
        let mut all: Vec<Shard> = all.collect();
        all.sort_by(|a, b| a.rank().cmp(&b.rank()));
        all
    }

    /// What it is sorted by.
    fn rank(&self) -> impl Ord + '_ {
        (
            self.standing,
            Reverse(self.blocked),
            Reverse(self.behind),
            &self.state.name,
            &self.state.shard_id,
        )
    }
}

fn since(millis: u64, now: SystemTime) -> Duration {
    let then = UNIX_EPOCH + Duration::from_millis(millis);
    now.duration_since(then).unwrap_or_default()
}

fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let millis = time.as_millis() as f64;
    serializer.serialize_f64(millis / 1000.0)
}

fn maybe_seconds<S: serde::Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => seconds(time, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::shard_state::Blocked;

    /// A shard that is well, at 1,000 seconds.
    pub(in crate::status) fn state(shard_id: &str) -> ShardState {
        ShardState {
            name: "app".to_owned(),
            stream: None,
            shard_id: shard_id.to_owned(),
            pid: 4711,
            version: "0.1.0".to_owned(),
            since: 0,
            written: 1_000_000,
            millis_behind_latest: Some(500),
            records: 100,
            records_per_second: 12.0,
            in_flight: 1,
            held_records: 3,
            held_bytes: 600,
            last_checkpoint: Some(960_000),
            unsaved_records: 7,
            complete: None,
            throttled: None,
            blocked: None,
            last_failure: None,
        }
    }

    /// The same at `now`, in seconds.
    pub(in crate::status) fn shard(state: ShardState, is_gone: bool, now: u64) -> Shard {
        let path = "f".into();
        let file = StateFile {
            path,
            state,
            is_gone,
        };
        Shard::new(file, UNIX_EPOCH + Duration::from_secs(now))
    }

    /// A record that has blocked since `since`, in seconds.
    pub(in crate::status) fn blocked(shard_id: &str, since: u64) -> ShardState {
        ShardState {
            blocked: Some(Blocked {
                sequence_number: "77".to_owned(),
                sub_sequence_number: 1,
                since: since * 1000,
                attempts: 9,
            }),
            ..state(shard_id)
        }
    }

    #[test]
    fn ages_count_at_the_moment_of_reading() {
        let well = shard(state("s"), false, 1010);
        assert_eq!(well.standing, Standing::Well);
        assert_eq!(well.age, Duration::from_secs(10));
        assert_eq!(well.checkpoint, Some(Duration::from_secs(50)));
        assert_eq!(well.behind, Some(Duration::from_millis(500)));
        assert_eq!(shard(state("s"), false, 1031).standing, Standing::Stale);
        let blocked = shard(blocked("s", 400), false, 1000);
        assert_eq!(blocked.standing, Standing::Blocked);
        assert_eq!(blocked.blocked, Some(Duration::from_secs(600)));
        let gone = shard(state("s"), true, 1100);
        assert_eq!(gone.standing, Standing::Gone);
        assert_eq!(gone.behind, Some(Duration::from_millis(100_500)));
        // A clock that was set back makes nothing older.
        assert_eq!(shard(state("s"), false, 1).age, Duration::ZERO);
    }

    #[test]
    fn the_worst_comes_first() {
        let file = |state, is_gone| StateFile {
            path: "f".into(),
            state,
            is_gone,
        };
        let far = ShardState {
            millis_behind_latest: Some(9000),
            ..state("far")
        };
        let files = vec![
            file(state("b"), false),
            file(state("a"), false),
            file(far, false),
            file(blocked("short", 900), false),
            file(blocked("long", 100), false),
            file(state("gone"), true),
        ];
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let sorted = Shard::sorted(files, now);
        let names: Vec<_> = sorted.iter().map(|s| s.state.shard_id.as_str()).collect();
        assert_eq!(names, ["gone", "long", "short", "far", "a", "b"]);
    }

    #[test]
    fn json_has_the_ages_beside_what_was_written() {
        let json = serde_json::to_value(shard(blocked("s", 400), false, 1000)).expect("plain");
        assert_eq!(json["standing"], "blocked");
        assert_eq!(json["secondsBlocked"], 600.0);
        assert_eq!(json["blocked"]["sequenceNumber"], "77");
        assert_eq!(json["shardId"], "s");
    }
}
