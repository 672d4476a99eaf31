//! The children of the pool as real processes.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use super::attempt::ExitReport;
use super::children::{Children, Happening, Role};
use super::spool::Spool;
use crate::dead_letter::{Appended, LetterFile};
use crate::host_slots::{HostSlots, Slot, Waiter};
use crate::process::{self, Command, Input, Processes, Spawn, Stop};
use crate::record::Batch;

/// Processes by their roles, and the files for dead letters.
pub struct HandlerProcesses<'fd> {
    processes: Processes<'fd>,
    files: HashMap<PathBuf, LetterFile>,
    spool: Spool,
    /// Gets slots of the machine, where it limits how many handlers run.
    waiter: Option<Waiter>,
    /// The slots of the handlers that run.
    host_slots: BTreeMap<Role, Slot>,
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

    fn is_handler(self) -> bool {
        matches!(self, Role::Handler(_))
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
            waiter: None,
            host_slots: BTreeMap::new(),
        }
    }

    /// Starts a handler only with one of these slots.
    ///
    /// # Errors
    /// The system has no more descriptors or threads.
    pub fn limited_by(mut self, slots: HostSlots) -> io::Result<HandlerProcesses<'fd>> {
        let (waiter, bell) = Waiter::start(slots)?;
        self.processes.rung_by(bell)?;
        self.waiter = Some(waiter);
        Ok(self)
    }

    /// A handler has started.
    fn occupy_host_slot(&mut self, role: Role) {
        let waiter = self.waiter.as_mut().filter(|_| role.is_handler());
        if let Some(slot) = waiter.and_then(Waiter::take) {
            self.host_slots.insert(role, slot);
        }
    }
}

impl Children for HandlerProcesses<'_> {
    fn find(&self, what: &str, command: &Command) -> Result<()> {
        command.find(what).map(|_| ())
    }

    fn has_host_slot(&mut self) -> bool {
        self.waiter.as_mut().is_none_or(Waiter::has_slot)
    }

    fn leave_host_slot(&mut self) {
        if let Some(waiter) = &mut self.waiter {
            waiter.leave();
        }
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
            .map_err(|e| command.explain(&e))?;
        self.occupy_host_slot(role);
        Ok(())
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

    fn unread(&self, role: Role) -> u64 {
        self.processes.unread(role.slot())
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
        let happened: Vec<Happening> = happened.into_iter().map(Happening::from).collect();
        for happening in &happened {
            if let Happening::Ended { role, .. } = happening {
                self.host_slots.remove(role);
            }
        }
        Ok(happened)
    }
}

impl From<process::Happening> for Happening {
    fn from(happening: process::Happening) -> Happening {
        match happening {
            process::Happening::Input => Happening::Input,
            process::Happening::Signal(signal) => Happening::Signal(signal),
            process::Happening::Rung => Happening::HostSlot,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::host_slots;
    use crate::process::{Feed, Stderr};

    const ROLE: Role = Role::Handler(1);

    fn processes() -> HandlerProcesses<'static> {
        HandlerProcesses::new(Processes::new(None, false).expect("a poll loop"))
    }

    /// Starts a shell in [`ROLE`], with an input that stays open.
    fn run(children: &mut HandlerProcesses<'_>, script: &str) {
        let command = Command {
            program: "sh".into(),
            arguments: ["-c", script].map(Into::into).into(),
            ..Command::default()
        };
        let spawn = Spawn {
            environment: &[],
            without: &[],
            watch_input: true,
            feed: Feed::Stream {
                large: false,
                torn: false,
            },
            line_limit: 100,
            stderr: Stderr::Log,
        };
        let started = children.start(ROLE, &command, &spawn, Input::default());
        assert_eq!(started, Ok(()));
    }

    fn kill(children: &mut HandlerProcesses<'_>) {
        let stop = Stop {
            signal: rustix::process::Signal::KILL,
            timeout: Duration::from_secs(30),
        };
        children.stop(ROLE, stop);
        while children.any_running() {
            children.wait(false, None).expect("it can wait");
        }
    }

    #[test]
    fn a_child_is_known_by_its_role_and_what_it_printed_is_read_without_a_sleep() {
        let mut children = processes();
        run(&mut children, "echo begun; cat");
        assert!(children.any_running());
        assert!(children.pid(ROLE).is_some_and(|pid| pid > 1));
        assert_eq!(children.pid(Role::Handler(0)), None);
        let late = Instant::now() + Duration::from_secs(30);
        let mut printed = Vec::new();
        while printed.is_empty() && Instant::now() < late {
            printed = children.printed(ROLE);
        }
        assert_eq!(printed, [b"begun"]);
        children.close_input(ROLE);
        while children.any_running() && Instant::now() < late {
            children.wait(false, Some(late)).expect("it can wait");
        }
        assert!(!children.any_running(), "it has seen the end of its input");
    }

    #[test]
    fn a_child_has_ended_before_the_pipes_that_something_else_holds_open() {
        let mut children = processes();
        run(&mut children, "sleep 1000 & exit 0");
        while !children.has_ended(ROLE) {
            let happened = children.wait(false, Some(Instant::now()));
            let ended = |h: &Happening| matches!(h, Happening::Ended { .. });
            assert!(!happened.expect("it can wait").iter().any(ended));
        }
        kill(&mut children);
    }

    #[test]
    fn a_child_is_not_fed_while_its_pipe_is_full() {
        let mut children = processes();
        run(&mut children, "sleep 1000");
        assert!(children.is_fed(ROLE));
        children.feed(ROLE, &mut vec![b'x'; 1024 * 1024]);
        assert!(!children.is_fed(ROLE));
        kill(&mut children);
    }

    #[test]
    fn a_handler_has_its_slot_until_it_has_ended_and_who_waits_hears_of_that() {
        let folder = tempfile::tempdir().expect("a folder");
        let limited = || {
            let slots = HostSlots::open(host_slots::Settings {
                slots: 1,
                directory: folder.path().join("app"),
            });
            let limited = processes().limited_by(slots.expect("slots"));
            limited.expect("a thread")
        };
        let (mut first, mut second) = (limited(), limited());
        // A process that another test is starting has a copy of each lock for a moment.
        while !first.has_host_slot() {
            first.wait(false, None).expect("it can wait");
        }
        run(&mut first, "exec sleep 1000");
        first.leave_host_slot();
        assert!(!second.has_host_slot(), "the first handler runs");
        kill(&mut first);
        let happened = second.wait(false, None).expect("it can wait");
        assert!(matches!(happened[..], [Happening::HostSlot]));
        assert!(second.has_host_slot());
        assert!(!first.has_host_slot(), "it is kept for the second");
        second.leave_host_slot();
        first.wait(false, None).expect("it can wait");
        assert!(first.has_host_slot());
    }

    #[test]
    fn a_spooled_batch_is_not_in_memory() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut children = processes();
        let data = "QUFB".repeat(1000);
        let mut batch = Batch::of(&format!(
            r#"{{"action":"processRecords","records":[{{"data":"{data}","partitionKey":"k","sequenceNumber":"12"}}]}}"#
        ));
        children
            .spool(directory.path(), &mut batch)
            .expect("it is written");
        assert!(batch.in_memory() < 100, "{} bytes", batch.in_memory());
    }
}
