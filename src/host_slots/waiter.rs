//! Waits for a slot while its owner does other things.

use std::io::{self, PipeReader, PipeWriter, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use super::{HostSlots, Slot};

/// The pause after a slot could not be waited for: the disk is full, or no descriptor is left.
const PAUSE: Duration = Duration::from_secs(10);

/// Asks for slots, one at a time, and hears of each by a pipe.
#[derive(Debug)]
pub(crate) struct Waiter {
    slots: Arc<HostSlots>,
    requests: Sender<()>,
    granted: Receiver<Slot>,
    /// The thread has been asked, and has not answered yet.
    asked: bool,
    /// A slot that is ours and not in use.
    free: Option<Slot>,
}

impl Waiter {
    /// A waiter, and the pipe that can be read when it has a slot.
    ///
    /// # Errors
    /// There can be no pipe or no thread.
    pub(crate) fn start(slots: HostSlots) -> io::Result<(Waiter, PipeReader)> {
        let slots = Arc::new(slots);
        let (requests, asked) = channel();
        let (grant, granted) = channel();
        let (bell, ringer) = io::pipe()?;
        let of_thread = Arc::clone(&slots);
        thread::Builder::new()
            .name("host slots".to_owned())
            .spawn(move || serve(&of_thread, &asked, &grant, ringer))?;
        let waiter = Waiter {
            slots,
            requests,
            granted,
            asked: false,
            free: None,
        };
        Ok((waiter, bell))
    }

    /// Whether a slot is there; if not, it is asked for, and the pipe can be read once it is.
    pub(crate) fn has_slot(&mut self) -> bool {
        self.hear();
        if self.free.is_none() && !self.asked {
            // What fails here fails in the thread, too, which says so and tries again.
            self.free = self.slots.try_take().unwrap_or_default();
            self.asked = self.free.is_none() && self.requests.send(()).is_ok();
        }
        self.free.is_some()
    }

    /// The slot that [`Waiter::has_slot`] spoke of.
    pub(crate) fn take(&mut self) -> Option<Slot> {
        self.free.take()
    }

    /// No slot is needed now. A place in the queue is kept: whoever asks again soon asked before.
    pub(crate) fn leave(&mut self) {
        self.hear();
        self.free = None;
    }

    fn hear(&mut self) {
        if let Ok(slot) = self.granted.try_recv() {
            (self.free, self.asked) = (Some(slot), false);
        }
    }
}

/// Takes a slot for each request.
fn serve(slots: &HostSlots, requests: &Receiver<()>, grant: &Sender<Slot>, mut ringer: PipeWriter) {
    for () in requests {
        let slot = take(slots);
        if grant.send(slot).is_err() || ringer.write_all(&[0]).is_err() {
            return;
        }
    }
}

/// Takes a slot, whatever happens: to go on without would break a promise, and to end would lose the lease.
fn take(slots: &HostSlots) -> Slot {
    loop {
        match slots.take() {
            Ok(slot) => return slot,
            Err(e) => log::error!(
                "cannot wait for a slot in '{}' (--host-jobs): {e:#}; no handler starts before this works again",
                slots.settings.directory.display()
            ),
        }
        thread::sleep(PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;

    use super::*;
    use crate::host_slots::Settings;

    /// Waits for a slot that is free: a process that another test is starting has a copy of each lock for a moment.
    fn wait_for_slot(waiter: &mut Waiter, bell: &mut PipeReader) {
        if !waiter.has_slot() {
            bell.read_exact(&mut [0]).expect("rung");
            assert!(waiter.has_slot());
        }
    }

    #[test]
    fn the_pipe_says_when_a_slot_is_there_and_one_that_is_left_is_free() {
        let folder = tempfile::tempdir().expect("a folder");
        let slots = || {
            HostSlots::open(Settings {
                slots: 1,
                directory: folder.path().join("app"),
            })
            .expect("slots")
        };
        let (mut first, mut firsts) = Waiter::start(slots()).expect("started");
        let (mut second, mut bell) = Waiter::start(slots()).expect("started");
        wait_for_slot(&mut first, &mut firsts);
        let slot = first.take();
        assert!(!second.has_slot() && !second.has_slot(), "it is in use");
        drop(slot);
        bell.read_exact(&mut [0]).expect("rung");
        assert!(second.has_slot());
        second.leave();
        wait_for_slot(&mut first, &mut firsts);
    }

    #[test]
    fn a_directory_that_was_removed_is_made_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().join("app");
        let settings = Settings {
            slots: 1,
            directory: directory.clone(),
        };
        let slots = HostSlots::open(settings).expect("slots");
        let (mut waiter, mut bell) = Waiter::start(slots).expect("started");
        fs::remove_dir_all(&directory).expect("removed");
        assert!(!waiter.has_slot());
        bell.read_exact(&mut [0]).expect("rung");
        assert!(waiter.has_slot() && directory.is_dir());
    }
}
