//! The slots of a machine: at most N handlers of an application run at a time, whichever kclpipe started them.
//!
//! A slot is a file, and whoever has its lock (`flock`) has the slot: the kernel takes it back when its holder ends,
//! however that dies. One more file is the queue: whoever has its lock is first, and takes the slot that is free
//! next; the kernel wakes those who wait for a lock in the order in which they came.
//!
//! The first must hear when any slot becomes free, and a lock can be awaited only alone. So a slot's file is a named
//! pipe, which its holder has open for writing: to who reads it, the end of the holder is the end of the pipe.

mod directory;
mod waiter;

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FileType, FlockOperation, Mode, OFlags, flock, mknodat};
use rustix::io::{Errno, retry_on_intr};

pub(crate) use directory::directory;
pub(crate) use waiter::Waiter;

/// The longest sleep before the first in the queue looks again by itself: a file may have been removed.
const LOOK: Duration = Duration::from_secs(1);

/// How many handlers of the application may run at a time, and where that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How many.
    pub slots: usize,
    /// The directory of the files, one for each name of an application.
    pub directory: PathBuf,
}

/// The slots of one application.
#[derive(Debug)]
pub struct HostSlots {
    settings: Settings,
    /// Locked for as long as we live: systemd-tmpfiles leaves the files of a locked directory alone.
    _directory: File,
}

/// A slot that is ours until this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _locked: File,
}

impl HostSlots {
    /// The slots in their directory, which is made if it is not there.
    ///
    /// # Errors
    /// It cannot be made, or others than the user could write to it.
    pub fn open(settings: Settings) -> Result<HostSlots> {
        let path = settings.directory.clone();
        let directory = directory::make(&path).context("there is no place for --host-jobs")?;
        // Whoever else has it has it as we do.
        let _ = flock(&directory, FlockOperation::NonBlockingLockShared);
        let slots = HostSlots {
            settings,
            _directory: directory,
        };
        // What cannot be made is better known now than with the first record.
        slots
            .try_take()
            .with_context(|| format!("cannot use '{}' (--host-jobs)", path.display()))?;
        Ok(slots)
    }

    /// Takes a slot as soon as one is free, after those who wait already. Sleeps until then.
    fn take(&self) -> Result<Slot> {
        // Somebody may have removed it.
        directory::make(&self.settings.directory)?;
        let queue = self.queue()?;
        retry_on_intr(|| flock(&queue, FlockOperation::LockExclusive))?;
        // Opened before the slots are looked at: what ends in between is seen.
        let watched = self.watch()?;
        loop {
            match self.first_free()? {
                Some(slot) => return Ok(slot),
                None => wait_for_an_end(&watched)?,
            }
        }
    }

    /// Takes a slot if one is free and nobody waits.
    fn try_take(&self) -> io::Result<Option<Slot>> {
        let queue = self.queue()?;
        if lock(&queue)? {
            self.first_free()
        } else {
            Ok(None)
        }
    }

    fn first_free(&self) -> io::Result<Option<Slot>> {
        for path in self.paths() {
            let file = open_pipe(&path, OpenOptions::new().read(true).write(true))?;
            if lock(&file)? {
                return Ok(Some(Slot { _locked: file }));
            }
        }
        Ok(None)
    }

    /// The pipes of all slots, to be read.
    fn watch(&self) -> io::Result<Vec<File>> {
        self.paths()
            .map(|path| open_pipe(&path, OpenOptions::new().read(true)))
            .collect()
    }

    fn paths(&self) -> impl Iterator<Item = PathBuf> {
        (0..self.settings.slots).map(|slot| self.settings.directory.join(format!("slot-{slot}")))
    }

    fn queue(&self) -> io::Result<File> {
        let path = self.settings.directory.join("queue");
        let mut options = OpenOptions::new();
        options.write(true).create(true).mode(0o600).open(path)
    }
}

/// Opens a named pipe, which is made if it is not there. Never waits for its other end.
fn open_pipe(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let options = options.custom_flags(OFlags::NONBLOCK.bits() as i32);
    match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            make_pipe(path)?;
            options.open(path)
        }
        opened => opened,
    }
}

/// Makes a named pipe. Somebody else may have made it meanwhile.
fn make_pipe(path: &Path) -> io::Result<()> {
    match mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Whether the lock of a file is ours now.
fn lock(file: &File) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Sleeps until one of these pipes has no writer any more.
fn wait_for_an_end(pipes: &[File]) -> io::Result<()> {
    // A hang-up is reported whatever is asked for.
    let polled = pipes
        .iter()
        .map(|pipe| PollFd::new(pipe, PollFlags::empty()));
    let mut polled: Vec<PollFd<'_>> = polled.collect();
    let timeout = Timespec {
        tv_sec: LOOK.as_secs() as i64,
        tv_nsec: 0,
    };
    match poll(&mut polled, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    use super::*;

    fn slots(directory: &Path, slots: usize) -> HostSlots {
        HostSlots::open(Settings {
            slots,
            directory: directory.join("app"),
        })
        .expect("slots")
    }

    /// A slot that is free: a process that another test is starting has a copy of each lock for a moment.
    fn free(slots: &HostSlots) -> Slot {
        let late = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(slot) = slots.try_take().expect("it can be looked at") {
                return slot;
            }
            assert!(Instant::now() < late, "none is free");
            thread::yield_now();
        }
    }

    #[test]
    fn as_many_slots_are_taken_as_there_are_and_each_again_when_it_is_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let (ours, others) = (slots(folder.path(), 2), slots(folder.path(), 2));
        let first = free(&ours);
        let _second = free(&others);
        assert!(ours.try_take().expect("it can be looked at").is_none());
        drop(first);
        free(&others);
    }

    #[test]
    fn whoever_sees_fewer_slots_takes_none_of_the_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let (few, many) = (slots(folder.path(), 1), slots(folder.path(), 2));
        let first = free(&many);
        assert!(few.try_take().expect("it can be looked at").is_none());
        free(&many);
        drop(first);
        free(&few);
    }

    #[test]
    fn all_slots_are_watched_and_only_their_owner_may() {
        let folder = tempfile::tempdir().expect("a folder");
        let slots = slots(folder.path(), 3);
        let watched = slots.watch().expect("they can be read");
        assert_eq!(watched.len(), 3);
        for pipe in watched {
            let mode = pipe.metadata().expect("it is there").mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn who_waits_gets_whichever_slot_is_free_next() {
        let folder = tempfile::tempdir().expect("a folder");
        let (ours, others) = (slots(folder.path(), 2), slots(folder.path(), 2));
        let _kept = free(&ours);
        let taken = free(&ours);
        let (sender, receiver) = mpsc::channel();
        let waiter = thread::spawn(move || sender.send(others.take().expect("a slot")));
        let queue = ours.queue().expect("the queue");
        while lock(&queue).expect("a lock") {
            flock(&queue, FlockOperation::Unlock).expect("unlocked");
            thread::yield_now();
        }
        drop(queue);
        assert!(ours.try_take().expect("it can be looked at").is_none());
        drop(taken);
        let slot = receiver.recv().expect("it gets the second one");
        waiter.join().expect("it ends").expect("sent");
        assert!(ours.try_take().expect("it can be looked at").is_none());
        drop(slot);
        free(&ours);
    }
}
