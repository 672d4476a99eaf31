//! One child process: its pipes, and the way to its end.
//!
//! The order of an end must not change:
//!
//! 1. The end is seen without reaping: until it is reaped, nobody else can get the process number.
//! 2. What the pipes hold is read, for a short time only where something else holds them open: the last words of a
//!    handler are its answer.
//! 3. The group is killed, by its number; after reaping, that could be a stranger's.
//! 4. The leader is reaped, and then what is left of the group, as its orphans come to us.
//!
//! A child's input ends early only by its own doing: when it is stopped, what is left in the pipe stays there and the
//! pipe stays open, or a handler would take half of its records for all of them and call them done.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, ChildStderr, ChildStdout, ExitStatus, Stdio};
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid,
};

use super::lines::{Lines, Tail};
use super::phase::{Looks, Phase, Step};
use super::stdin::Stdin;
use super::{Command, Feed, Input, Spawn, Stderr, Stop, Variable, program};
use crate::due::Due;

/// How much of stderr is kept for reports.
const TAIL: usize = 4 * 1024;

/// How much is read from one pipe before the others have their turn.
const TURN: usize = 256 * 1024;

pub(super) struct Child {
    leader: process::Child,
    pub(super) group: Pid,
    pub(super) stdin: Stdin,
    stdout: Option<ChildStdout>,
    stdout_lines: Lines,
    stderr: Option<ChildStderr>,
    stderr_lines: Lines,
    tail: Tail,
    phase: Phase,
    looks: Looks,
    /// It writes into pipes of ours, so that their end announces its own.
    is_heard: bool,
    /// It was sent the stop signal.
    stopped: bool,
    /// Why it could not be sent a signal.
    refused: Option<Errno>,
}

/// A child that is gone, and what it left.
pub(super) struct Reaped {
    pub(super) status: ExitStatus,
    pub(super) unread: u64,
    pub(super) stderr: Vec<u8>,
    pub(super) stopped: bool,
}

impl Child {
    /// Starts a child with `input` on its stdin.
    pub(super) fn start(command: &Command, spawn: &Spawn<'_>, input: Input) -> io::Result<Child> {
        let mut start = prepare(command, spawn)?;
        let (end, stdin) = Stdin::new(spawn.feed, input, spawn.watch_input)?;
        // The first bytes are in the pipe by now, so a handler that reads at once never finds it empty.
        start.stdin(end);
        Child::of(start.spawn()?, stdin, spawn.line_limit)
    }

    /// Starts a child in our own group, which whoever ends ours ends with us. It has our outputs, and nothing on its
    /// stdin.
    pub(super) fn start_beside(command: &Command, environment: &[Variable]) -> io::Result<Child> {
        let (end, stdin) = Stdin::new(Feed::Whole, Input::default(), false)?;
        let mut start = program::of(command, environment);
        Child::of(start.stdin(end).spawn()?, stdin, 0)
    }

    fn of(mut leader: process::Child, stdin: Stdin, line_limit: usize) -> io::Result<Child> {
        let (stdout, stderr) = (leader.stdout.take(), leader.stderr.take());
        let pipes = [
            stdout.as_ref().map(AsFd::as_fd),
            stderr.as_ref().map(AsFd::as_fd),
        ];
        for pipe in pipes.into_iter().flatten() {
            ioctl_fionbio(pipe, true)?;
        }
        Ok(Child {
            group: Pid::from_child(&leader),
            leader,
            stdin,
            is_heard: stdout.is_some() || stderr.is_some(),
            stdout,
            stdout_lines: Lines::new(line_limit),
            stderr,
            stderr_lines: Lines::new(super::LINE),
            tail: Tail::new(TAIL),
            phase: Phase::Running,
            looks: Looks::new(Instant::now()),
            stopped: false,
            refused: None,
        })
    }

    /// What to poll, with the events that matter.
    pub(super) fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let stdin = self.stdin.waits_for_room();
        let stdout = self.stdout.as_ref().map(AsFd::as_fd);
        let stderr = self.stderr.as_ref().map(AsFd::as_fd);
        let outputs = [stdout, stderr].into_iter().flatten();
        stdin
            .map(|pipe| (pipe, PollFlags::OUT))
            .into_iter()
            .chain(outputs.map(|pipe| (pipe, PollFlags::IN)))
    }

    /// Reads what the child has written, up to a turn's worth, and hands on each complete line.
    pub(super) fn read(
        &mut self,
        chunk: &mut [u8],
        mut stdout: impl FnMut(&[u8]),
        mut stderr: impl FnMut(&[u8]),
    ) {
        let lines = &mut self.stdout_lines;
        if !read_turn(&mut self.stdout, chunk, |bytes| {
            lines.push(bytes, &mut stdout)
        }) {
            lines.finish(&mut stdout);
        }
        let (lines, tail) = (&mut self.stderr_lines, &mut self.tail);
        let more = read_turn(&mut self.stderr, chunk, |bytes| {
            tail.push(bytes);
            lines.push(bytes, &mut stderr);
        });
        if !more {
            lines.finish(&mut stderr);
        }
    }

    /// Hands on a last line without an end, where its pipe is held open by something else than the child:
    /// no more is read of it.
    pub(super) fn end_output(&mut self, stdout: impl FnMut(&[u8]), stderr: impl FnMut(&[u8])) {
        self.stdout_lines.finish(stdout);
        self.stderr_lines.finish(stderr);
    }

    /// Notices that the child has ended, without reaping it.
    pub(super) fn look(&mut self, now: Instant) {
        if self.has_ended() || self.phase == Phase::Lost {
            return;
        }
        self.looks.looked(now, self.has_fallen_silent());
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if !matches!(waitid(WaitId::Pid(self.group), options), Ok(None)) {
            self.phase = Phase::ended(now);
        }
    }

    /// Closes the input; stops the child if it has not ended in time, and kills it after as long again.
    pub(super) fn finish(&mut self, stop: Stop, now: Instant) {
        self.stdin.close();
        if self.phase == Phase::Running {
            self.phase = Phase::finishing(stop, now);
        }
    }

    /// Signals the group, and kills it if it has not ended in time. The input ends only where it is whole.
    pub(super) fn stop(&mut self, stop: Stop, now: Instant) {
        if matches!(self.phase, Phase::Running | Phase::Finishing { .. }) {
            self.signal(stop.signal);
            self.stopped = true;
            self.phase = Phase::stopping(stop, now);
            self.stdin.freeze();
        }
    }

    /// Kills the group, and waits no more if even that does not end the child.
    pub(super) fn kill(&mut self, now: Instant) {
        if !self.has_ended() && self.phase != Phase::Lost {
            self.signal(Signal::KILL);
            self.phase = Phase::killed(now);
            self.stdin.freeze();
        }
    }

    /// Does what is due by time.
    pub(super) fn advance(&mut self, now: Instant) {
        if self.next_look().is_some_and(|at| now >= at) {
            self.look(now);
        }
        match self.phase.due(now).now() {
            Some(Step::Stop(stop)) => self.stop(stop, now),
            Some(Step::Kill) => self.kill(now),
            Some(Step::GiveUp) => self.give_up(),
            // Whoever reaps asks whether the outputs are read, too.
            Some(Step::Reap) | None => {}
        }
    }

    /// When [`Child::advance`] has something to do, or the output has been waited for long enough.
    pub(super) fn wake(&self, now: Instant) -> Option<Instant> {
        let due = self.phase.due(now).wake(now);
        due.into_iter().chain(self.next_look()).min()
    }

    /// Whether the child has ended.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Whether nothing more comes of the child: it has ended and its output is read, or has been waited for
    /// long enough; or it cannot be killed.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Ended { .. } => self.is_silent() || self.phase.due(now) == Due::Now(Step::Reap),
            Phase::Lost => true,
            Phase::Running
            | Phase::Finishing { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => false,
        }
    }

    /// Kills what is left of the group, and only then reaps the leader: until then no other process can
    /// have its number.
    pub(super) fn reap(mut self) -> io::Result<Reaped> {
        self.signal(Signal::KILL);
        // A child that no signal ends would be waited for without an end.
        let status = if self.phase == Phase::Lost {
            ExitStatus::from_raw(Signal::KILL.as_raw())
        } else {
            self.leader.wait()?
        };
        Ok(Reaped {
            status,
            unread: self.stdin.unread(),
            stderr: self.tail.into_bytes(),
            stopped: self.stopped,
        })
    }

    /// Whether both outputs have ended.
    fn is_silent(&self) -> bool {
        self.stdout.is_none() && self.stderr.is_none()
    }

    /// Whether both have ended, and were heard before.
    fn has_fallen_silent(&self) -> bool {
        self.is_heard && self.is_silent()
    }

    fn next_look(&self) -> Option<Instant> {
        self.looks.next(self.phase, self.has_fallen_silent())
    }

    /// Signals the group, or the leader alone where it has no group of its own.
    fn signal(&mut self, signal: Signal) {
        let sent = kill_process_group(self.group, signal);
        let sent = sent.or_else(|_| kill_process(self.group, signal));
        self.refused = sent.err();
    }

    /// Goes on without a child that has outlived KILL.
    fn give_up(&mut self) {
        let why = match self.refused {
            Some(e) => format!("it cannot be signalled: {e}"),
            None => "the kernel keeps it alive".to_owned(),
        };
        log::error!(
            "process {} is still alive {} s after SIGKILL ({why}); kclpipe no longer waits for it, and it may still be working: check it by hand",
            self.group,
            super::phase::DYING.as_secs()
        );
        self.phase = Phase::Lost;
    }
}

/// The command as `spawn` says, but for its stdin.
fn prepare(command: &Command, spawn: &Spawn<'_>) -> io::Result<process::Command> {
    let mut start = process::Command::new(&command.program);
    start
        .args(&command.arguments)
        .process_group(0)
        .stdout(Stdio::piped());
    start.stderr(match spawn.stderr {
        Stderr::Log => Stdio::piped(),
        Stderr::Inherit => Stdio::inherit(),
        Stderr::To(fd) => fd.try_clone_to_owned()?.into(),
    });
    if let Some(directory) = &command.directory {
        start.current_dir(directory);
    }
    for name in spawn.without {
        start.env_remove(name);
    }
    for (name, value) in spawn.environment {
        start.env(name, value);
    }
    Ok(start)
}

/// Reads from `pipe` until it is empty or its turn is over; false if it has ended, and then closes it.
fn read_turn(pipe: &mut Option<impl Read>, chunk: &mut [u8], mut take: impl FnMut(&[u8])) -> bool {
    let mut turn = 0;
    while let Some(open) = pipe.as_mut().filter(|_| turn < TURN) {
        match open.read(chunk) {
            Ok(0) => *pipe = None,
            Ok(n) => {
                turn += n;
                take(&chunk[..n]);
                if n < chunk.len() {
                    break;
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
            Err(_) => *pipe = None,
        }
    }
    pipe.is_some()
}
