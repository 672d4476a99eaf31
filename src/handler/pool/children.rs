//! The seam under the pool: what it asks of the world, and what it hears of it.
//!
//! [`HandlerProcesses`](super::HandlerProcesses) is the real world; a scripted one plays a transcript, and a
//! simulated one a whole life.

use std::io;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::attempt::ExitReport;
use crate::dead_letter::Appended;
use crate::process::{Command, Input, Spawn, Stop};
use crate::record::Batch;

/// What a child is for. One child of each role runs at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It handles records, in this slot of the pool.
    Handler(usize),
    /// It takes dead letters.
    DeadLetter,
    /// It is the user's hook.
    Hook,
}

/// Something that happened while the pool slept.
#[derive(Debug)]
pub enum Happening {
    /// The daemon's input can be read, or has ended.
    Input,
    /// We were asked to stop, by the signal of this number.
    Signal(i32),
    /// The slot of the machine that was asked for may be there.
    HostSlot,
    /// A child printed a line on its stdout.
    Line {
        /// Which child.
        role: Role,
        /// The line without its line feed.
        line: Vec<u8>,
    },
    /// What a child's pipe did not take at once is in the pipe now, or will never be.
    Fed,
    /// A child has ended, and everything it started.
    Ended {
        /// Which child.
        role: Role,
        /// How, and what it left.
        report: ExitReport,
    },
}

/// The children of the pool, the file beside them, and the only sleep.
pub trait Children {
    /// Finds a command; `what` is what an error calls it.
    ///
    /// # Errors
    /// It is not there, or cannot be run.
    fn find(&self, what: &str, command: &Command) -> Result<()>;

    /// Whether a handler may start as far as the machine's limit goes: a slot of it is kept for the next one. If
    /// there is none it is asked for, and [`Happening::HostSlot`] follows.
    fn has_host_slot(&mut self) -> bool;

    /// No handler starts now: a slot that is kept for it is free for others.
    fn leave_host_slot(&mut self);

    /// Starts a child, with `input` as its input or the first of it. A handler has the slot that is kept, if there
    /// is one, until it has ended.
    ///
    /// # Errors
    /// It cannot be started; why, in words. The slot is still kept.
    fn start(
        &mut self,
        role: Role,
        command: &Command,
        spawn: &Spawn<'_>,
        input: Input,
    ) -> Result<(), String>;

    /// The process number of a child that is there.
    fn pid(&self, role: Role) -> Option<i32>;

    /// Whether a child has ended, and only its output is still read.
    fn has_ended(&self, role: Role) -> bool;

    /// Whether nothing waits for room in the child's pipe; if it does, [`Happening::Fed`] follows.
    fn is_fed(&self, role: Role) -> bool;

    /// How many bytes of its input a child has not read yet, as far as that is watched.
    fn unread(&self, role: Role) -> u64;

    /// Whether any child is there.
    fn any_running(&self) -> bool;

    /// Appends `bytes` to a child's input. `bytes` is empty then, and keeps memory to be filled again.
    fn feed(&mut self, role: Role, bytes: &mut Vec<u8>);

    /// The lines that a child has printed by now, without sleeping.
    fn printed(&mut self, role: Role) -> Vec<Vec<u8>>;

    /// Ends a child's input once it is all written.
    fn close_input(&mut self, role: Role);

    /// Ends a child's input; it is stopped if it does not end in time.
    fn finish(&mut self, role: Role, stop: Stop);

    /// Stops a child: [`Happening::Ended`] follows.
    fn stop(&mut self, role: Role, stop: Stop);

    /// Appends dead letters, whole lines, to `file`. Never waits for others.
    ///
    /// # Errors
    /// They cannot be kept there.
    fn keep_letters(&mut self, file: &Path, letters: &[u8]) -> Result<Appended>;

    /// Moves the payloads of a batch from memory to a file in this directory.
    ///
    /// # Errors
    /// It cannot be written; the payloads are still in memory.
    fn spool(&mut self, directory: &Path, batch: &mut Batch) -> io::Result<()>;

    /// Sleeps until something happens, or `until`. The daemon's input is looked at only if `watch_input`.
    ///
    /// # Errors
    /// The system fails us: nothing can go on then.
    fn wait(&mut self, watch_input: bool, until: Option<Instant>) -> Result<Vec<Happening>>;
}
