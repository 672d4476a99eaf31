//! The letters that are still to be handed over: a file that was moved aside, and beside it how far it is done.
//!
//! The lock of the file is held from before it is moved until it is removed, so no writer is within a letter when its
//! name is taken away: whoever gets the lock later finds another file under the name, and writes there. How far it is
//! done is never ahead of what is done, so a death at any moment makes letters come again, and loses none.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::letters::Part;
use crate::replay::lease::LeasePosition;
use crate::replay::shard::Shard;

/// How often the lock of the file is tried, and the pause between: a writer has it for as long as a letter takes.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// As many links as the system follows.
const LINKS: u32 = 40;

/// Where the work is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Progress {
    /// Where the part begins that is being handed over; all before it is done.
    begin: u64,
    /// The length of that part, once it is known.
    length: Option<u64>,
    /// In the part: up to where each shard is done, as number and place in an aggregate.
    done: BTreeMap<String, (String, u64)>,
}

/// A file that was moved aside.
#[derive(Debug)]
pub(crate) struct Rest {
    path: PathBuf,
    /// With the lock.
    file: File,
    progress: Progress,
}

/// Why there is nothing to hand over.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The file is not there, is none, or cannot be opened.
    Unreadable(anyhow::Error),
    /// Another redrive, or a writer that does not let go, has it.
    Busy(anyhow::Error),
}

/// A file that is there to be handed over.
#[derive(Debug)]
pub(crate) struct Taken {
    /// What is to be handed over.
    pub(crate) rest: Rest,
    /// It is what an earlier redrive left; the file itself is as it was.
    pub(crate) is_older: bool,
}

impl Rest {
    /// Goes on with what an earlier redrive of `file` left, or moves it aside.
    ///
    /// # Errors
    /// There is nothing to be had.
    pub(crate) fn take(file: &Path) -> Result<Taken, Fault> {
        Rest::take_trying(file, TRIES)
    }

    /// The same, where a lock is tried this often.
    fn take_trying(file: &Path, tries: u32) -> Result<Taken, Fault> {
        let file = &followed(file);
        let aside = beside(file, ".redrive");
        // What an earlier redrive did not finish comes first: moved over it, these letters would take its place.
        if let Some(older) = locked(&aside, tries)? {
            let progress = read_progress(&aside);
            return Ok(Taken {
                rest: Rest {
                    path: aside,
                    file: older,
                    progress,
                },
                is_older: true,
            });
        }
        let Some(taken) = locked(file, tries)? else {
            return Err(absent(file, &aside));
        };
        move_aside(file, &aside)
            .with_context(|| format!("cannot move '{}' to '{}'", file.display(), aside.display()))
            .map_err(Fault::Unreadable)?;
        Ok(Taken {
            rest: Rest {
                path: aside,
                file: taken,
                progress: Progress::default(),
            },
            is_older: false,
        })
    }

    /// The name of the file that was moved aside.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The next part, without what is done of it; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read, or how far it is done cannot be written.
    pub(super) fn part(&mut self) -> Result<Option<Part>> {
        let read = || format!("cannot read '{}'", self.path.display());
        let mut file = BufReader::new(&self.file);
        file.seek(SeekFrom::Start(self.progress.begin))
            .with_context(read)?;
        let mut part = Part::read(&mut file, self.progress.length, now()).with_context(read)?;
        if part.length == 0 {
            return Ok(None);
        }
        // From now on the part is this one, whatever is appended to the file.
        self.progress.length = Some(part.length);
        self.save()?;
        for (shard, (number, sub)) in &self.progress.done {
            let done = LeasePosition::parse(number, i64::try_from(*sub).ok());
            if let (Some(records), Some(done)) = (part.shards.get_mut(shard), done) {
                records.retain(|position, _| LeasePosition::At(position.clone()) > done);
            }
        }
        part.shards.retain(|_, records| !records.is_empty());
        Ok(Some(part))
    }

    /// Keeps what the shards of the part have stored, if that has changed.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn note(&mut self, shards: &[Shard]) -> Result<()> {
        let mut has_changed = false;
        for shard in shards
            .iter()
            .filter(|shard| *shard.lease() > LeasePosition::Latest)
        {
            let (number, sub) = shard.lease().numbers();
            let is_new = self
                .progress
                .done
                .get(shard.id())
                .is_none_or(|(old, place)| (old.as_str(), *place) != (number, sub));
            if is_new {
                self.progress
                    .done
                    .insert(shard.id().to_owned(), (number.to_owned(), sub));
            }
            has_changed |= is_new;
        }
        if has_changed { self.save() } else { Ok(()) }
    }

    /// All of the part is done.
    ///
    /// # Errors
    /// That cannot be written.
    pub(super) fn finish(&mut self, part: &Part) -> Result<()> {
        self.progress = Progress {
            begin: self.progress.begin + part.length,
            ..Progress::default()
        };
        self.save()
    }

    /// Removes the file, of which all is done.
    ///
    /// # Errors
    /// It cannot be removed, or somebody has appended to it who knows nothing of locks.
    pub(super) fn remove(self) -> Result<()> {
        let length = self.file.metadata()?.len();
        if length > self.progress.begin {
            bail!(
                "somebody has appended to '{}': run it again",
                self.path.display()
            );
        }
        // First of all, for it must not be taken for what belongs to the next file of this name.
        let removed = remove(&beside(&self.path, ".offset")).and_then(|()| remove(&self.path));
        removed.with_context(|| format!("cannot remove '{}'", self.path.display()))
    }

    /// Has it on the disk, whole, in the place of the one before.
    fn save(&self) -> Result<()> {
        let path = beside(&self.path, ".offset");
        let write = || format!("cannot write '{}'", path.display());
        let new = beside(&path, ".new");
        let text = serde_json::to_vec(&self.progress)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = options.open(&new).with_context(write)?;
        file.write_all(&text).with_context(write)?;
        file.sync_data().with_context(write)?;
        fs::rename(&new, &path).with_context(write)?;
        sync_directory(&path).with_context(write)
    }
}

/// The file of this name with its lock, if it is there.
fn locked(path: &Path, tries: u32) -> Result<Option<File>, Fault> {
    for _ in 0..tries {
        let file = match open(path) {
            Ok(None) => return Ok(None),
            Ok(Some(file)) => file,
            Err(e) => {
                let e = e.context(format!("cannot open '{}'", path.display()));
                return Err(Fault::Unreadable(e));
            }
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            // Moved away while we opened it, it is not the file of this name.
            Ok(()) if is_at(&file, path) => return Ok(Some(file)),
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            Err(e) => {
                let e = anyhow::Error::new(e).context(format!("cannot lock '{}'", path.display()));
                return Err(Fault::Unreadable(e));
            }
        }
    }
    Err(busy(path))
}

fn busy(path: &Path) -> Fault {
    Fault::Busy(anyhow::anyhow!(
        "somebody keeps the lock of '{}': another redrive is at work, or a writer hangs",
        path.display()
    ))
}

/// Why there is no file: nobody has made it, or another redrive has moved it aside since we looked.
fn absent(file: &Path, aside: &Path) -> Fault {
    if aside.exists() {
        return busy(aside);
    }
    Fault::Unreadable(anyhow::anyhow!("there is no file '{}'", file.display()))
}

fn open(path: &Path) -> Result<Option<File>> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(path);
    match opened {
        Ok(file) if file.metadata()?.is_file() => Ok(Some(file)),
        Ok(_) => bail!("it is not a regular file"),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    let id = |of: fs::Metadata| (of.dev(), of.ino());
    file.metadata().map(id).ok() == path.metadata().map(id).ok()
}

/// Moves the file, whose lock we have, and never over another.
fn move_aside(file: &Path, aside: &Path) -> io::Result<()> {
    // What an earlier redrive did is of another file.
    remove(&beside(aside, ".offset"))?;
    match renameat_with(CWD, file, CWD, aside, RenameFlags::NOREPLACE) {
        // NFS, for one, cannot.
        Err(Errno::INVAL | Errno::NOSYS) => move_if_free(file, aside)?,
        moved => moved?,
    }
    sync_directory(aside)
}

/// The same in two steps: another redrive would need the lock that we have, so none comes between.
fn move_if_free(file: &Path, aside: &Path) -> io::Result<()> {
    match aside.symlink_metadata() {
        Ok(_) => Err(ErrorKind::AlreadyExists.into()),
        Err(e) if e.kind() == ErrorKind::NotFound => fs::rename(file, aside),
        Err(e) => Err(e),
    }
}

/// The file that links lead to, whether it is there or not. Were a link moved aside, writers would make another file
/// in its place, where nobody expects letters, and the letters that are done would stay.
fn followed(file: &Path) -> PathBuf {
    let mut file = file.to_path_buf();
    for _ in 0..LINKS {
        let Ok(target) = fs::read_link(&file) else {
            break;
        };
        file = file.parent().unwrap_or(Path::new("")).join(target);
    }
    file
}

/// Removes a file for good, if it is there.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => sync_directory(path),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// What is not there or cannot be understood says that nothing is done.
fn read_progress(aside: &Path) -> Progress {
    let text = fs::read(beside(aside, ".offset")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// The path with more at its end.
fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    name.into()
}

/// In milliseconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use rustix::fs::{FileType, Mode, mknodat};

    use super::super::RULES;
    use super::*;
    use crate::record::Position;
    use crate::replay::stream::Record;

    const LETTERS: &str = concat!(
        r#"{"shardId":"a","sequenceNumber":"1","partitionKey":"k","dataBase64":""}"#,
        "\n",
        r#"{"shardId":"a","sequenceNumber":"2","partitionKey":"k","dataBase64":""}"#,
        "\n",
    );

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("dead");
        fs::write(&file, LETTERS).expect("written");
        (folder, file)
    }

    fn taken(file: &Path) -> Taken {
        Rest::take(file).expect("there")
    }

    /// The positions of the letters in a part.
    fn left(part: &Part) -> Vec<String> {
        let records = part.shards.values().flat_map(|records| records.keys());
        records.map(Position::to_string).collect()
    }

    #[test]
    fn what_shards_have_stored_is_not_handed_over_again() {
        let (_folder, file) = folder();
        let shard = |id: &str, at: LeasePosition| Shard::new(id.into(), Vec::new(), RULES).at(at);
        let at = |number| LeasePosition::parse(number, None).expect("a position");
        for (stored, expected) in [
            (LeasePosition::TrimHorizon, &["1.0", "2.0"][..]),
            (at("1"), &["2.0"]),
            (at("1"), &["2.0"]),
            (at("2"), &[]),
            (LeasePosition::ShardEnd, &[]),
        ] {
            let mut rest = taken(&file).rest;
            rest.part().expect("readable").expect("letters");
            let shards = [
                shard("a", stored.clone()),
                shard("b", LeasePosition::TrimHorizon),
            ];
            rest.note(&shards).expect("saved");
            drop(rest);
            let part = taken(&file).rest.part().expect("readable");
            assert_eq!(left(&part.expect("letters")), expected, "{stored}");
        }
        let done = taken(&file).rest.progress.done;
        assert!(done.keys().eq(["a"]), "nothing of the other is done");
    }

    #[test]
    fn a_file_is_moved_aside_once_and_gone_when_it_is_done() {
        let (_folder, file) = folder();
        let mut rest = taken(&file).rest;
        assert!(!file.exists());
        assert!(
            matches!(Rest::take_trying(&file, 1), Err(Fault::Busy(_))),
            "we have it"
        );
        let part = rest.part().expect("readable").expect("letters");
        assert_eq!(part.letters(), 2);
        rest.finish(&part).expect("saved");
        assert!(rest.part().expect("readable").is_none());
        rest.remove().expect("removed");
        assert_eq!(
            fs::read_dir(file.parent().expect("a folder"))
                .expect("it")
                .count(),
            0
        );
        assert!(matches!(Rest::take(&file), Err(Fault::Unreadable(_))));
    }

    #[test]
    fn a_letter_without_a_time_of_arrival_has_just_arrived() {
        let before = SystemTime::now().duration_since(UNIX_EPOCH);
        let before = before.expect("after 1970").as_millis();
        let (_folder, file) = folder();
        let part = taken(&file).rest.part().expect("readable");
        let records = &part.expect("letters").shards["a"];
        let has_arrived =
            |record: &Record| u128::try_from(record.arrival).is_ok_and(|at| at >= before);
        assert!(records.values().all(has_arrived));
    }

    #[test]
    fn a_file_that_another_has_just_moved_aside_is_busy() {
        let (_folder, file) = folder();
        let aside = beside(&file, ".redrive");
        assert!(matches!(absent(&file, &aside), Fault::Unreadable(_)));
        fs::rename(&file, &aside).expect("moved");
        assert!(matches!(absent(&file, &aside), Fault::Busy(_)));
    }

    #[test]
    fn the_next_one_goes_on_where_this_one_died() {
        let (_folder, file) = folder();
        let mut rest = taken(&file).rest;
        rest.part().expect("readable").expect("letters");
        rest.progress
            .done
            .insert("a".to_owned(), ("1".to_owned(), 0));
        rest.save().expect("saved");
        drop(rest);
        fs::write(&file, "new letters").expect("written");
        let mut next = taken(&file);
        assert!(next.is_older);
        let part = next.rest.part().expect("readable").expect("letters");
        assert_eq!(left(&part), ["2.0"]);
        next.rest.finish(&part).expect("saved");
        next.rest.remove().expect("removed");
        assert_eq!(fs::read(&file).expect("left alone"), b"new letters");
    }

    #[test]
    fn an_offset_of_another_file_counts_for_nothing() {
        let (_folder, file) = folder();
        fs::write(
            beside(&file, ".redrive.offset"),
            r#"{"begin":999,"length":null,"done":{}}"#,
        )
        .expect("written");
        let part = taken(&file).rest.part().expect("readable");
        assert_eq!(part.expect("letters").letters(), 2);
    }

    #[test]
    fn a_link_stays_and_its_file_is_moved_aside() {
        let (folder, file) = folder();
        let name = |name| folder.path().join(name);
        std::os::unix::fs::symlink("dead", name("link")).expect("linked");
        std::os::unix::fs::symlink(name("link"), name("other")).expect("linked");
        let rest = taken(&name("other")).rest;
        assert_eq!(rest.path(), name("dead.redrive"));
        assert!(!file.exists());
        assert_eq!(
            fs::read_link(name("link")).expect("it stays"),
            Path::new("dead")
        );
        assert!(matches!(
            Rest::take_trying(&name("other"), 1),
            Err(Fault::Busy(_))
        ));
    }

    #[test]
    fn where_the_system_cannot_refuse_to_replace_a_file_we_do() {
        let (folder, file) = folder();
        let aside = folder.path().join("aside");
        fs::write(&aside, "older").expect("written");
        assert!(move_if_free(&file, &aside).is_err());
        assert_eq!(fs::read(&aside).expect("it stays"), b"older");
        fs::remove_file(&aside).expect("removed");
        move_if_free(&file, &aside).expect("moved");
        assert!(aside.exists() && !file.exists());
    }

    #[test]
    fn only_a_regular_file_is_taken() {
        let (folder, file) = folder();
        let pipe = folder.path().join("pipe");
        let mode = Mode::RUSR | Mode::WUSR;
        mknodat(CWD, &pipe, FileType::Fifo, mode, 0).expect("made");
        for (path, said) in [
            (&*pipe, "it is not a regular file"),
            (folder.path(), "Is a directory"),
            (&*file.join("none"), "Not a directory"),
            (&*folder.path().join("none"), "there is no file"),
        ] {
            let Err(Fault::Unreadable(e)) = Rest::take(path) else {
                panic!("{} is taken", path.display());
            };
            assert!(format!("{e:#}").contains(said), "{e:#}");
        }
        assert!(pipe.exists() && file.exists());
    }

    #[test]
    fn a_file_that_was_moved_away_is_not_the_file_of_its_name() {
        let (folder, file) = folder();
        let opened = open(&file).expect("opened").expect("there");
        assert!(is_at(&opened, &file));
        fs::rename(&file, folder.path().join("other")).expect("moved");
        assert!(!is_at(&opened, &file), "there is none");
        fs::write(&file, LETTERS).expect("written");
        assert!(!is_at(&opened, &file), "there is another");
    }

    #[test]
    fn what_cannot_be_removed_is_an_error() {
        let (folder, file) = folder();
        assert!(remove(folder.path()).is_err());
        remove(&file).expect("removed");
        remove(&file).expect("it is gone already");
    }

    #[test]
    fn what_somebody_appends_without_a_lock_is_not_removed() {
        let (_folder, file) = folder();
        let mut rest = taken(&file).rest;
        let part = rest.part().expect("readable").expect("letters");
        let mut writer = OpenOptions::new()
            .append(true)
            .open(rest.path())
            .expect("there");
        writer.write_all(LETTERS.as_bytes()).expect("written");
        assert_eq!(part.letters(), 2);
        rest.finish(&part).expect("saved");
        let more = rest.part().expect("readable").expect("letters");
        rest.finish(&more).expect("saved");
        writer.write_all(b"x").expect("written");
        assert!(rest.remove().is_err());
    }
}
