//! The file that `kclpipe status` reads, beside the one for Prometheus.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};

use super::Snapshot;
use super::replacement::{PART, Replacement};
use crate::clean::file_name;
use crate::shard_state::{Blocked, ShardState, Throttled};

/// The ending of the files.
const ENDING: &str = ".json";

/// A file of a process that is gone is kept for so long, for whoever asks what became of its shard.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The file of this process; it is removed with this.
#[derive(Debug)]
pub(super) struct StatusFile {
    directory: PathBuf,
    name: String,
    stream: Option<String>,
    shard_id: String,
    /// Where it is, once the shard is known.
    path: Option<PathBuf>,
    began: Instant,
    /// The file as it was written last. We have its lock.
    file: Option<File>,
    /// Records that were done when it was written, and when that was.
    before: (u64, Instant),
}

impl StatusFile {
    pub(super) fn new(
        directory: &Path,
        (name, stream): (&str, Option<&str>),
        now: Instant,
    ) -> StatusFile {
        StatusFile {
            directory: directory.to_path_buf(),
            name: name.to_owned(),
            stream: stream.map(str::to_owned),
            shard_id: String::new(),
            path: None,
            began: now,
            file: None,
            before: (0, now),
        }
    }

    /// The lease begins. What a process that is gone left of this shard is of no use now.
    pub(super) fn begin(&mut self, shard_id: &str, now: Instant) {
        shard_id.clone_into(&mut self.shard_id);
        (self.began, self.before) = (now, (0, now));
        let of_shard = format!("kclpipe-{}-{}-", file_name(&self.name), file_name(shard_id));
        self.sweep(&of_shard);
        let own = format!("{of_shard}{}{ENDING}", std::process::id());
        self.path = Some(self.directory.join(own));
    }

    /// Writes the file anew.
    ///
    /// # Errors
    /// The system refuses; an older file may still be there.
    pub(super) fn update(&mut self, snapshot: &Snapshot, now: Instant) -> io::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let state = self.state(snapshot, now);
        let text = serde_json::to_string(&state)? + "\n";
        let replacement = Replacement::new(path)?;
        // Before it has its name: whoever opens it finds it locked.
        flock(replacement.file(), FlockOperation::NonBlockingLockExclusive)?;
        self.file = Some(replacement.put(text.as_bytes())?);
        self.before = (state.records, now);
        Ok(())
    }

    fn state(&self, snapshot: &Snapshot, now: Instant) -> ShardState {
        let counters = &snapshot.counters;
        let at = |ago: Duration| millis(snapshot.time.checked_sub(ago).unwrap_or(UNIX_EPOCH));
        let (records, then) = self.before;
        let time = (now - then).as_secs_f64();
        let done = counters.passed();
        ShardState {
            name: self.name.clone(),
            stream: self.stream.clone(),
            shard_id: self.shard_id.clone(),
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            since: at(now - self.began),
            written: at(Duration::ZERO),
            millis_behind_latest: snapshot.behind.map(|behind| behind.as_millis() as u64),
            records: done,
            records_per_second: if time > 0.0 {
                (done - records) as f64 / time
            } else {
                0.0
            },
            in_flight: counters.in_flight,
            held_records: counters.held_records,
            held_bytes: counters.held_bytes,
            last_checkpoint: (snapshot.checkpoints.stored > 0)
                .then(|| at(snapshot.since_checkpoint)),
            unsaved_records: snapshot.unsaved,
            complete: snapshot.is_complete(),
            throttled: counters.throttled.map(|(limit, time)| Throttled {
                limit,
                since: at(time),
            }),
            blocked: snapshot.blocked.as_ref().map(|(record, time)| Blocked {
                sequence_number: record.sequence_number.clone(),
                sub_sequence_number: record.sub_sequence_number,
                since: at(*time),
                attempts: counters.blocking_attempts,
            }),
            last_failure: counters.last_failure.clone(),
        }
    }

    /// Removes the files of processes that are gone: those of this shard, and any that are old.
    fn sweep(&self, of_shard: &str) {
        let entries = fs::read_dir(&self.directory).into_iter().flatten();
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let name = name.strip_suffix(PART).unwrap_or(&name);
            let is_ours = name.starts_with("kclpipe-") && name.ends_with(ENDING);
            let is_of_shard = name.strip_prefix(of_shard).is_some_and(is_number);
            if is_ours && (is_of_shard || is_old(&entry)) && is_gone(&entry.path()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for StatusFile {
    /// No way out of kclpipe but a kill leaves the file behind.
    fn drop(&mut self) {
        if let Some(path) = self.path.as_ref().filter(|_| self.file.is_some()) {
            let _ = fs::remove_file(path);
        }
    }
}

fn is_number(rest: &str) -> bool {
    let number = rest.strip_suffix(ENDING).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_old(entry: &fs::DirEntry) -> bool {
    let written = entry.metadata().and_then(|metadata| metadata.modified());
    let age = written.ok().and_then(|written| written.elapsed().ok());
    age.is_some_and(|age| age > KEPT)
}

/// Whether nobody holds the lock of a file.
fn is_gone(path: &Path) -> bool {
    let is_file = path.symlink_metadata().is_ok_and(|about| about.is_file());
    let file = is_file.then(|| File::open(path).ok()).flatten();
    file.is_some_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_ok())
}

fn millis(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Position;
    use crate::reporting::tests::snapshot;
    use crate::throttle::Throttle;

    fn written(directory: &Path) -> Vec<(String, ShardState)> {
        let entries = fs::read_dir(directory).expect("a directory");
        let files = entries.map(|entry| {
            let entry = entry.expect("an entry");
            let text = fs::read_to_string(entry.path()).expect("the file");
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).expect("JSON"))
        });
        files.collect()
    }

    #[test]
    fn the_file_says_how_the_shard_stands_and_is_locked_while_its_writer_lives() {
        let folder = tempfile::tempdir().expect("a folder");
        let began = Instant::now();
        let mut file = StatusFile::new(folder.path(), ("a/b", None), began);
        file.begin("shardId-0", began);
        let mut now = snapshot();
        now.time = UNIX_EPOCH + Duration::from_secs(1000);
        now.counters.done = 50;
        now.blocked = Position::new("7", 1).map(|at| (at, Duration::from_secs(60)));
        now.counters.blocking_attempts = 4;
        now.counters.throttled = Some((Throttle::HostJobs, Duration::from_secs(7)));
        file.update(&now, began + Duration::from_secs(10))
            .expect("written");
        let all = written(folder.path());
        let [(name, state)] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!(
            *name,
            format!("kclpipe-a_b-shardId-0-{}.json", std::process::id())
        );
        assert_eq!((state.since, state.written), (990_000, 1_000_000));
        assert_eq!((state.records, state.records_per_second), (50, 5.0));
        let blocked = state.blocked.as_ref().expect("it blocks");
        assert_eq!((blocked.since, blocked.attempts), (940_000, 4));
        let throttled = state.throttled.as_ref().map(|of| (of.limit, of.since));
        assert_eq!(throttled, Some((Throttle::HostJobs, 993_000)));
        assert_eq!(state.last_checkpoint, None);
        assert!(!is_gone(&folder.path().join(name)));
        now.counters.done = 80;
        now.checkpoints.stored = 1;
        now.since_checkpoint = Duration::from_secs(3);
        file.update(&now, began + Duration::from_secs(20))
            .expect("written");
        let (_, state) = &written(folder.path())[0];
        assert_eq!((state.records, state.records_per_second), (80, 3.0));
        assert_eq!(state.last_checkpoint, Some(997_000));
        drop(file);
        assert!(written(folder.path()).is_empty());
    }

    #[test]
    fn a_rate_over_no_time_is_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = Instant::now();
        let file = StatusFile::new(folder.path(), ("a", None), now);
        assert_eq!(file.state(&snapshot(), now).records_per_second, 0.0);
    }

    #[test]
    fn what_the_dead_left_of_this_shard_is_removed_and_the_rest_is_kept_for_a_day() {
        let folder = tempfile::tempdir().expect("a folder");
        let old = SystemTime::now() - KEPT * 2;
        for (name, time) in [
            ("kclpipe-app-shardId-0-12.json", None),
            ("kclpipe-app-shardId-0-12.json.part", None),
            ("kclpipe-app-shardId-0-1-12.json", None),
            ("kclpipe-app-shardId-01-12.json", None),
            ("kclpipe-app-shardId-1-12.json", Some(old)),
            ("kclpipe-app-shardId-2-12.json", None),
            ("notes.json", Some(old)),
        ] {
            let file = File::create(folder.path().join(name)).expect("created");
            if let Some(time) = time {
                file.set_modified(time).expect("set");
            }
        }
        let locked = folder.path().join("kclpipe-app-shardId-0-13.json");
        let locked = File::create(locked).expect("created");
        flock(&locked, FlockOperation::LockExclusive).expect("locked");
        let now = Instant::now();
        StatusFile::new(folder.path(), ("app", None), now).begin("shardId-0", now);
        let entries = fs::read_dir(folder.path()).expect("a directory");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        names.sort();
        let kept = [
            "kclpipe-app-shardId-0-1-12.json",
            "kclpipe-app-shardId-0-13.json",
            "kclpipe-app-shardId-01-12.json",
            "kclpipe-app-shardId-2-12.json",
            "notes.json",
        ];
        assert_eq!(names, kept);
    }
}
