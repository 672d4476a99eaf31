//! The files of all kclpipes that keep metrics in one directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, OFlags, flock};

use crate::shard_state::ShardState;

/// No file of ours is larger; others may lie there.
const MOST: u64 = 64 * 1024;

/// What a gone process left is shown for so long.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a file is opened again that was replaced meanwhile.
const TRIES: u32 = 10;

/// What lies in a directory.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    /// What was read.
    pub(crate) files: Vec<StateFile>,
    /// Files with such a name in which nothing is that a kclpipe writes.
    pub(crate) unreadable: Vec<PathBuf>,
}

/// What one kclpipe wrote.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StateFile {
    /// Where.
    pub(crate) path: PathBuf,
    /// What.
    pub(crate) state: ShardState,
    /// Whether it has ended without removing its file: it was killed.
    pub(crate) is_gone: bool,
}

impl Directory {
    /// Reads all files at `now`.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn read(directory: &Path, now: SystemTime) -> Result<Directory> {
        let unreadable = || format!("cannot read the directory '{}'", directory.display());
        let mut read = Directory::default();
        for entry in fs::read_dir(directory).with_context(unreadable)? {
            let entry = entry.with_context(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !(name.starts_with("kclpipe-") && name.ends_with(".json")) {
                continue;
            }
            match StateFile::read(&entry.path()) {
                Ok(Some(file)) if file.is_gone && file.is_older_than(KEPT, now) => {}
                Ok(Some(file)) => read.files.push(file),
                Ok(None) => {}
                Err(_) => read.unreadable.push(entry.path()),
            }
        }
        read.unreadable.sort();
        Ok(read)
    }
}

impl StateFile {
    /// `None` if the file is not there any more.
    fn read(path: &Path) -> io::Result<Option<StateFile>> {
        for _ in 0..TRIES {
            let mut file = match open(path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            let is_gone = flock(&file, FlockOperation::NonBlockingLockShared).is_ok();
            // Its writer lets go of a file when it has put another one in its place.
            if is_gone && !is_at(&file, path) {
                continue;
            }
            let mut text = String::new();
            file.by_ref().take(MOST).read_to_string(&mut text)?;
            return Ok(Some(StateFile {
                path: path.to_path_buf(),
                state: serde_json::from_str(&text)?,
                is_gone,
            }));
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    fn is_older_than(&self, age: Duration, now: SystemTime) -> bool {
        let written = SystemTime::UNIX_EPOCH + Duration::from_millis(self.state.written);
        now.duration_since(written).is_ok_and(|past| past > age)
    }
}

/// Opens a regular file; a link is not followed and a pipe not waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Whether this file still has this name.
fn is_at(file: &File, path: &Path) -> bool {
    let (own, named) = (file.metadata(), path.symlink_metadata());
    let id = |of: fs::Metadata| (of.dev(), of.ino());
    own.map(id).ok() == named.map(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::standing::tests::state;

    fn put(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).expect("written");
        path
    }

    #[test]
    fn a_lock_shows_who_lives_and_what_is_foreign_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = serde_json::to_string(&state("shardId-0")).expect("plain data");
        let alive = put(folder.path(), "kclpipe-app-shardId-0-1.json", &text);
        let locked = File::open(&alive).expect("there");
        flock(&locked, FlockOperation::LockExclusive).expect("locked");
        let gone = put(folder.path(), "kclpipe-app-shardId-0-2.json", &text);
        let half = put(
            folder.path(),
            "kclpipe-app-shardId-0-3.json",
            &text[..text.len() / 2],
        );
        let huge = put(
            folder.path(),
            "kclpipe-app-shardId-0-4.json",
            &" ".repeat(1 << 20),
        );
        put(folder.path(), "notes.json", "{}");
        put(folder.path(), "kclpipe-app-shardId-0-1.prom", "x 1\n");
        let link = folder.path().join("kclpipe-app-shardId-0-5.json");
        std::os::unix::fs::symlink(&alive, &link).expect("linked");

        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(2000);
        let mut read = Directory::read(folder.path(), now).expect("readable");
        read.files.sort_by(|a, b| a.path.cmp(&b.path));
        let found: Vec<_> = read.files.iter().map(|f| (&f.path, f.is_gone)).collect();
        assert_eq!(found, [(&alive, false), (&gone, true)]);
        assert_eq!(read.unreadable, [half, huge, link]);
        let written = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        for (time, kept) in [(written + KEPT, 2), (now + KEPT, 1)] {
            let read = Directory::read(folder.path(), time).expect("readable");
            assert_eq!(read.files.len(), kept, "the gone one is kept for a day");
        }
        assert!(Directory::read(&folder.path().join("no"), now).is_err());
    }

    #[test]
    fn a_file_that_is_gone_by_now_is_none_and_one_that_was_replaced_is_another() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = put(folder.path(), "a", "old");
        let old = open(&path).expect("there");
        assert!(is_at(&old, &path));
        let new = put(folder.path(), "b", "new");
        fs::rename(&new, &path).expect("replaced");
        assert!(!is_at(&old, &path));
        assert_eq!(StateFile::read(&new).expect("no error"), None);
    }
}
