//! The children of the pool as real processes.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use super::attempt::ExitReport;
use super::children::{Children, Happening, Role};
use super::spool::Spool;
use crate::dead_letter::{Appended, LetterFile};
use crate::process::{self, Command, Input, Processes, Spawn, Stop};
use crate::record::Batch;

/// Processes by their roles, and the files for dead letters.
pub struct HandlerProcesses<'fd> {
    processes: Processes<'fd>,
    files: HashMap<PathBuf, LetterFile>,
    spool: Spool,
}

/// The slots of the commands that run beside the handlers; those of handlers come after them.
const DEAD_LETTER: usize = 0;
const HOOK: usize = 1;
const HANDLERS: usize = 2;

impl Role {
    fn slot(self) -> usize {
        match self {
            Role::DeadLetter => DEAD_LETTER,
            Role::Hook => HOOK,
            Role::Handler(place) => HANDLERS + place,
        }
    }

    fn of(slot: usize) -> Role {
        match slot {
            DEAD_LETTER => Role::DeadLetter,
            HOOK => Role::Hook,
            handler => Role::Handler(handler - HANDLERS),
        }
    }
}

impl<'fd> HandlerProcesses<'fd> {
    /// No children yet.
    pub fn new(processes: Processes<'fd>) -> HandlerProcesses<'fd> {
        HandlerProcesses {
            processes,
            files: HashMap::new(),
            spool: Spool::default(),
        }
    }
}

impl Children for HandlerProcesses<'_> {
    fn find(&self, what: &str, command: &Command) -> Result<()> {
        command.find(what).map(|_| ())
    }

    fn start(
        &mut self,
        role: Role,
        command: &Command,
        spawn: &Spawn<'_>,
        input: Input,
    ) -> Result<(), String> {
        self.processes
            .start(role.slot(), command, spawn, input)
            .map_err(|e| command.explain(&e))
    }

    fn pid(&self, role: Role) -> Option<i32> {
        self.processes.pid(role.slot())
    }

    fn has_ended(&self, role: Role) -> bool {
        self.processes.has_ended(role.slot())
    }

    fn is_fed(&self, role: Role) -> bool {
        self.processes.is_fed(role.slot())
    }

    fn any_running(&self) -> bool {
        self.processes.any_running()
    }

    fn feed(&mut self, role: Role, bytes: &mut Vec<u8>) {
        self.processes.feed(role.slot(), bytes);
    }

    fn printed(&mut self, role: Role) -> Vec<Vec<u8>> {
        self.processes.printed(role.slot())
    }

    fn close_input(&mut self, role: Role) {
        self.processes.close_input(role.slot());
    }

    fn finish(&mut self, role: Role, stop: Stop) {
        self.processes.finish(role.slot(), stop);
    }

    fn stop(&mut self, role: Role, stop: Stop) {
        self.processes.stop(role.slot(), stop);
    }

    fn keep_letters(&mut self, file: &Path, letters: &[u8]) -> Result<Appended> {
        let opened = self.files.entry(file.to_owned());
        opened
            .or_insert_with_key(|path| LetterFile::new(path.clone()))
            .append(letters)
    }

    fn spool(&mut self, directory: &Path, batch: &mut Batch) -> io::Result<()> {
        self.spool.keep(directory, batch)
    }

    fn wait(&mut self, watch_input: bool, until: Option<Instant>) -> Result<Vec<Happening>> {
        let happened = self.processes.wait(watch_input, until)?;
        Ok(happened.into_iter().map(Happening::from).collect())
    }
}

impl From<process::Happening> for Happening {
    fn from(happening: process::Happening) -> Happening {
        match happening {
            process::Happening::Input => Happening::Input,
            process::Happening::Signal(signal) => Happening::Signal(signal),
            process::Happening::Line { slot, line } => Happening::Line {
                role: Role::of(slot),
                line,
            },
            process::Happening::Fed { .. } => Happening::Fed,
            process::Happening::Ended {
                slot,
                pid,
                status,
                unread,
                stderr,
                stopped,
            } => Happening::Ended {
                role: Role::of(slot),
                report: ExitReport {
                    pid,
                    ended: status.into(),
                    unread,
                    stderr,
                    stopped,
                },
            },
        }
    }
}
