//! Dead letters: records that were given up, one JSON line each, kept before a checkpoint passes them.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use serde::Serialize;

use crate::append_line::before_line;
use crate::record::Record;
use crate::record_json::Identity;

/// How often a letter is written anew because its file was moved away meanwhile. A rotation does that once.
const MOVES: usize = 8;

/// One dead letter; the names are those of the `jsonl` format.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetter<'a> {
    #[serde(flatten)]
    identity: Identity<'a>,
    millis_behind_latest: Option<i64>,
    attempts: u32,
    failures: u32,
    outcome: &'a str,
    stderr: &'a str,
    data_base64: &'a str,
}

/// What led to a dead letter.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cause<'a> {
    /// How often the record was handed over.
    pub attempts: u32,
    /// How many of those count against `--max-attempts`.
    pub failures: u32,
    /// How the last attempt ended, in words.
    pub outcome: &'a str,
    /// The last that the handler wrote on stderr.
    pub stderr: &'a str,
}

impl<'a> DeadLetter<'a> {
    /// The letter for `record`.
    pub(crate) fn new(
        shard_id: &'a str,
        record: &Record<'a>,
        millis_behind_latest: Option<i64>,
        cause: Cause<'a>,
    ) -> DeadLetter<'a> {
        DeadLetter {
            identity: Identity::new(shard_id, record.header),
            millis_behind_latest,
            attempts: cause.attempts,
            failures: cause.failures,
            outcome: cause.outcome,
            stderr: cause.stderr,
            data_base64: record.data_base64,
        }
    }

    /// The letter as a line, with its line feed.
    pub(crate) fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("a letter is plain data");
        line.push(b'\n');
        line
    }
}

/// The file that dead letters are appended to.
///
/// Many kclpipes may share it: the lock keeps letters whole, and what cannot be written whole, as on a full
/// disk, is cut off again. It may be moved away at any time: who has looked at it after that has the letters
/// that were in it, and no other counts as kept.
#[derive(Debug)]
pub(crate) struct LetterFile {
    path: PathBuf,
    /// The file whose name is known to outlive a crash.
    lasting: Option<Place>,
}

/// What brings a file's bytes to the disk.
type Sync<'a> = &'a dyn Fn(&File) -> io::Result<()>;

/// What became of letters that were to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// They are in the file, and on the disk.
    Kept,
    /// Somebody else has the file's lock; the number of the process, if the system tells.
    Locked(Option<u32>),
}

/// Which file it is, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    fn of(metadata: &Metadata) -> Place {
        Place {
            device: metadata.dev(),
            inode: metadata.ino(),
        }
    }
}

impl LetterFile {
    /// The file of this name, which is made when the first letter comes.
    pub(crate) fn new(path: PathBuf) -> LetterFile {
        LetterFile {
            path,
            lasting: None,
        }
    }

    /// Appends `letters`, whole lines, and has them on disk when they are [`Appended::Kept`]. Never waits for
    /// others.
    ///
    /// # Errors
    /// The file cannot be opened, locked, written or synced. Nothing of the letters counts then, and they may
    /// be in it all the same.
    pub(crate) fn append(&mut self, letters: &[u8]) -> Result<Appended> {
        self.write(letters, &File::sync_data).with_context(|| {
            format!(
                "cannot write the dead-letter file '{}'",
                self.path.display()
            )
        })
    }

    fn write(&mut self, letters: &[u8], sync: Sync<'_>) -> Result<Appended> {
        for _ in 0..MOVES {
            let file = open(&self.path)?;
            if let Some(appended) = self.offer(&file, letters, sync)? {
                return Ok(appended);
            }
        }
        bail!("it keeps being moved away")
    }

    /// Appends letters to a file that had the name when it was opened; `None` if it was moved away meanwhile.
    fn offer(&mut self, file: &File, letters: &[u8], sync: Sync<'_>) -> Result<Option<Appended>> {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(Some(Appended::Locked(holder(file)))),
            locked => locked?,
        }
        if !self.is_in_place(file)? {
            return Ok(None);
        }
        self.make_lasting(file)?;
        append_whole(file, letters, sync)?;
        // Moved away before we wrote, its new owner may have read it to its end by now.
        Ok(self.is_in_place(file)?.then_some(Appended::Kept))
    }

    /// Whether `file` still has the name.
    fn is_in_place(&self, file: &File) -> io::Result<bool> {
        match fs::metadata(&self.path) {
            Ok(named) => Ok(Place::of(&named) == Place::of(&file.metadata()?)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Makes the name of a file last that we have not seen before: without this a crash may lose the file
    /// with all its letters. Whoever made it may not have come to that yet.
    fn make_lasting(&mut self, file: &File) -> io::Result<()> {
        let place = Place::of(&file.metadata()?);
        if self.lasting != Some(place) {
            sync_name(&self.path, file)?;
            self.lasting = Some(place);
        }
        Ok(())
    }
}

/// Whether letters can be kept in a file of this name: nothing is there, or it is a regular file.
pub(crate) fn can_be(path: &Path) -> bool {
    path.metadata().is_ok_and(|there| there.is_file()) || !path.exists()
}

/// Opens the file, to be read by nobody else if it is made now. Never waits, as for the other end of a pipe.
fn open(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)?;
    if !file.metadata()?.is_file() {
        bail!("it is not a regular file");
    }
    Ok(file)
}

/// Appends all of the letters, or nothing. The file is locked: nobody else has written behind us.
fn append_whole(mut file: &File, letters: &[u8], sync: Sync<'_>) -> Result<()> {
    let length = file.metadata()?.len();
    let before = before_line(file)?;
    let written = file
        .write_all(&[before, letters].concat())
        .and_then(|()| sync(file));
    if let Err(e) = written {
        let cut = file.set_len(length).err();
        let cut = cut.map(|e| format!("; the incomplete letter in it cannot be removed: {e}"));
        return Err(e).context(format!(
            "the letter could not be written to it{}",
            cut.unwrap_or_default()
        ));
    }
    Ok(())
}

/// Makes the name of `file` last. Its directory need not be readable for us; then all of the disk is synced.
fn sync_name(path: &Path, file: &File) -> io::Result<()> {
    // The name is that of the file, not of a link to it.
    let path = fs::canonicalize(path)?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    match File::open(directory) {
        Ok(directory) => directory.sync_all(),
        Err(_) => sync_disk(file),
    }
}

#[cfg(target_os = "linux")]
fn sync_disk(file: &File) -> io::Result<()> {
    Ok(rustix::fs::syncfs(file)?)
}

#[cfg(not(target_os = "linux"))]
fn sync_disk(_file: &File) -> io::Result<()> {
    rustix::fs::sync();
    Ok(())
}

/// The process that has the lock of `file`, as far as the system tells.
fn holder(file: &File) -> Option<u32> {
    let place = Place::of(&file.metadata().ok()?);
    holder_in(&fs::read_to_string("/proc/locks").ok()?, place)
}

/// `1: FLOCK  ADVISORY  WRITE 4711 fd:00:12345 0 EOF`, where the file is two hexadecimal numbers and a decimal
/// one.
fn holder_in(locks: &str, place: Place) -> Option<u32> {
    let (major, minor) = (
        rustix::fs::major(place.device),
        rustix::fs::minor(place.device),
    );
    let file = format!("{major:02x}:{minor:02x}:{}", place.inode);
    locks.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [_, "FLOCK", _, _, process, of, ..] if of == file => process.parse().ok(),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::record::Header;

    const RECORD: Record<'_> = Record {
        header: Header {
            partition_key: "k",
            sequence_number: "4959",
            sub_sequence_number: 1,
            approximate_arrival_timestamp: Some(5),
        },
        data_base64: "aGk=",
    };

    fn letter(stderr: &str) -> DeadLetter<'_> {
        DeadLetter::new(
            "shardId-0",
            &RECORD,
            Some(7),
            Cause {
                attempts: 3,
                failures: 2,
                outcome: "exit code 1",
                stderr,
            },
        )
    }

    /// Appends a letter to the file of this name.
    fn append(path: &Path, letter: &DeadLetter<'_>) -> Result<Appended> {
        LetterFile::new(path.to_path_buf()).append(&letter.to_line())
    }

    #[test]
    fn replay_knows_each_key_of_a_letter() {
        let record = Record {
            header: Header {
                sequence_number: "1",
                sub_sequence_number: 0,
                partition_key: "key",
                approximate_arrival_timestamp: None,
            },
            data_base64: "",
        };
        let cause = Cause {
            attempts: 1,
            failures: 1,
            outcome: "",
            stderr: "",
        };
        let line = DeadLetter::new("shard", &record, Some(1), cause).to_line();
        assert!(crate::record_json::has_known_keys_only(&line));
    }

    #[test]
    fn a_letter_is_one_line_with_the_names_of_jsonl() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("letters");
        append(&file, &letter("one\ntwo")).expect("written");
        append(&file, &letter("")).expect("written");
        let text = fs::read_to_string(&file).expect("the file");
        let first = r#"{"shardId":"shardId-0","sequenceNumber":"4959","subSequenceNumber":1,"partitionKey":"k","approximateArrivalTimestamp":5,"millisBehindLatest":7,"attempts":3,"failures":2,"outcome":"exit code 1","stderr":"one\ntwo","dataBase64":"aGk="}"#;
        assert_eq!(text.lines().next(), Some(first));
        assert_eq!(text.lines().count(), 2);
        let mode = file.metadata().expect("the file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "payloads are for the owner alone");
    }

    #[test]
    fn a_letter_does_not_stick_to_one_that_was_torn_by_a_crash() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("letters");
        fs::write(&file, "{\"torn\":").expect("written");
        append(&file, &letter("")).expect("written");
        let text = fs::read_to_string(&file).expect("the file");
        assert!(text.starts_with("{\"torn\":\n{\"shardId\""), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = format!(
            "{:#}",
            append(Path::new("/no/such/folder/letters"), &letter("")).expect_err("no folder")
        );
        assert!(error.contains("'/no/such/folder/letters'"), "{error}");
    }

    #[test]
    fn a_lock_is_not_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("letters");
        let other = File::create(&path).expect("made");
        flock(&other, FlockOperation::LockExclusive).expect("locked");
        let Ok(Appended::Locked(holder)) = append(&path, &letter("")) else {
            panic!("it is locked");
        };
        assert!(holder.is_none_or(|holder| holder == std::process::id()));
        // Closing it is not enough: a process that another test is starting has a copy of it for a moment.
        flock(&other, FlockOperation::Unlock).expect("unlocked");
        assert_eq!(append(&path, &letter("")).expect("written"), Appended::Kept);
    }

    #[test]
    fn who_has_a_lock_is_told_by_the_system() {
        let locks = "1: POSIX  ADVISORY  WRITE 1 fe:01:77 0 EOF\n2: FLOCK  ADVISORY  WRITE 4711 fe:01:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 4712 fe:01:77 0 EOF\n3: FLOCK ADVISORY WRITE 5 fe:01:78 0 EOF\n";
        let place = |inode| Place {
            device: rustix::fs::makedev(0xfe, 1),
            inode,
        };
        assert_eq!(holder_in(locks, place(77)), Some(4711));
        assert_eq!(holder_in(locks, place(79)), None);
    }

    /// Root can read it all the same, and sees nothing of the difference.
    #[test]
    fn a_letter_is_written_once_into_a_directory_that_cannot_be_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |mode| fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode));
        let file = folder.path().join("letters");
        mode(0o300).expect("set");
        let appended = append(&file, &letter(""));
        mode(0o700).expect("set");
        assert_eq!(appended.expect("written"), Appended::Kept);
        assert_eq!(fs::read_to_string(&file).expect("it").lines().count(), 1);
    }

    /// What a rotation does: the file is moved away, read to its end, and removed.
    fn rotate(path: &Path) -> String {
        let moved = path.with_extension("1");
        fs::rename(path, &moved).expect("moved");
        let text = fs::read_to_string(&moved).expect("it was moved");
        fs::remove_file(&moved).expect("it was moved");
        text
    }

    #[test]
    fn a_file_that_was_moved_away_before_the_lock_takes_no_letter() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("letters");
        let mut letters = LetterFile::new(path.clone());
        let mut offer = |file: &File| letters.offer(file, b"one\n", &File::sync_data);
        let file = open(&path).expect("made");
        rotate(&path);
        assert_eq!(
            offer(&file).expect("it is there"),
            None,
            "nothing has the name"
        );
        let other = open(&path).expect("made");
        assert_eq!(
            offer(&file).expect("it is there"),
            None,
            "another has the name"
        );
        assert_eq!(offer(&other).expect("it is there"), Some(Appended::Kept));
        assert_eq!(file.metadata().expect("it is open").len(), 0);
    }

    #[test]
    fn a_letter_is_written_again_if_its_file_is_moved_away_before_it_is_on_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("letters");
        let syncs = std::cell::Cell::new(0);
        let sync = |file: &File| {
            syncs.set(syncs.get() + 1);
            if syncs.get() == 1 {
                rotate(&path);
            }
            file.sync_data()
        };
        let appended = LetterFile::new(path.clone()).write(b"one\n", &sync);
        assert_eq!(appended.expect("written"), Appended::Kept);
        assert_eq!(
            (syncs.get(), fs::read_to_string(&path).expect("it")),
            (2, "one\n".into())
        );
    }

    #[test]
    fn a_file_that_is_always_moved_away_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("letters");
        let sync = |file: &File| {
            rotate(&path);
            file.sync_data()
        };
        let error = LetterFile::new(path.clone()).write(b"one\n", &sync);
        assert!(
            error
                .expect_err("never kept")
                .to_string()
                .contains("keeps being moved away")
        );
    }

    #[test]
    fn a_letter_that_does_not_get_to_the_disk_is_cut_off_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("letters");
        fs::write(&path, "one\n").expect("written");
        let full = |_: &File| Err(io::Error::other("no room"));
        let error = LetterFile::new(path.clone()).write(b"two\n", &full);
        assert!(format!("{:#}", error.expect_err("no room")).ends_with("no room"));
        assert_eq!(fs::read_to_string(&path).expect("it"), "one\n");
    }

    #[test]
    fn what_is_no_regular_file_takes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .expect("made");
        for path in [&pipe, Path::new("/dev/null")] {
            assert!(!can_be(path));
            let error = format!("{:#}", append(path, &letter("")).expect_err("no file"));
            assert!(error.contains("not a regular file"), "{error}");
        }
        assert!(can_be(&folder.path().join("new")));
    }
}
