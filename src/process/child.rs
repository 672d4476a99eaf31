//! One child process: its pipes, and the way to its end.

use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{self, ChildStderr, ChildStdout, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::{ioctl_fionbio, ioctl_fionread};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::lines::{Lines, Tail};
use super::{Command, Spawn, Stderr};

/// How long the output pipes are read after the process has ended, if something keeps them open.
const DRAIN: Duration = Duration::from_millis(100);

/// How much of stderr is kept for reports.
const TAIL: usize = 4 * 1024;

/// How much is read from one pipe before the others have their turn.
const TURN: usize = 256 * 1024;

pub(super) struct Child {
    leader: process::Child,
    pub(super) group: Pid,
    stdin: Option<PipeWriter>,
    /// Our own copy of the handler's end, to ask afterwards what was left in the pipe.
    stdin_reader: Option<PipeReader>,
    pub(super) outbox: Vec<u8>,
    sent: usize,
    close_when_sent: bool,
    stdout: Option<ChildStdout>,
    stdout_lines: Lines,
    stderr: Option<ChildStderr>,
    stderr_lines: Lines,
    tail: Tail,
    phase: Phase,
    /// It was sent the stop signal.
    stopped: bool,
}

/// Where a child is on the way to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    /// Its input is closed; at this time it is stopped.
    Finishing {
        stop_at: Instant,
        signal: Signal,
        grace: Duration,
    },
    /// It was sent the stop signal; at this time it is killed.
    Stopping {
        kill_at: Instant,
    },
    Killed,
    /// It has ended but is not reaped, so its group's number still is its own.
    Ended {
        read_until: Instant,
    },
}

/// A child that is gone, and what it left.
pub(super) struct Remains {
    pub(super) status: ExitStatus,
    pub(super) unread: u64,
    pub(super) stderr: Vec<u8>,
    pub(super) stopped: bool,
}

impl Child {
    /// Starts a child that finds `input` in its pipe, as much of it as the pipe holds: were it written
    /// afterwards and we were killed in between, the child would take a part for the whole.
    pub(super) fn start(command: &Command, spawn: &Spawn<'_>, input: Vec<u8>) -> io::Result<Child> {
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
        let (reader, mut writer) = io::pipe()?;
        if spawn.large_input {
            super::enlarge(&writer);
        }
        ioctl_fionbio(&writer, true)?;
        let sent = writer.write(&input).unwrap_or(0);
        let stdin_reader = spawn.watch_input.then(|| reader.try_clone()).transpose()?;
        start.stdin(reader);
        let mut leader = start.spawn()?;
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
            stdin: Some(writer),
            stdin_reader,
            outbox: input,
            sent,
            close_when_sent: false,
            stdout,
            stdout_lines: Lines::new(spawn.line_limit),
            stderr,
            stderr_lines: Lines::new(super::LINE),
            tail: Tail::new(TAIL),
            phase: Phase::Running,
            stopped: false,
        })
    }

    /// What to poll, with the events that matter.
    pub(super) fn interests(&self) -> impl Iterator<Item = (BorrowedFd<'_>, PollFlags)> {
        let stdin = self
            .stdin
            .as_ref()
            .filter(|_| !self.is_fed())
            .map(|pipe| (pipe.as_fd(), PollFlags::OUT));
        let stdout = self
            .stdout
            .as_ref()
            .map(|pipe| (pipe.as_fd(), PollFlags::IN));
        let stderr = self
            .stderr
            .as_ref()
            .map(|pipe| (pipe.as_fd(), PollFlags::IN));
        [stdin, stdout, stderr].into_iter().flatten()
    }

    /// Bytes given to the child that are not in its pipe yet.
    pub(super) fn pending(&self) -> usize {
        self.outbox.len() - self.sent
    }

    /// Whether nothing waits for room in the child's pipe.
    pub(super) fn is_fed(&self) -> bool {
        self.stdin.is_none() || self.pending() == 0
    }

    /// Writes as much of the outbox as the pipe takes. A child that has closed its input gets no more; it
    /// is for its end to tell what that means.
    pub(super) fn write(&mut self) {
        while let Some(stdin) = self
            .stdin
            .as_mut()
            .filter(|_| self.sent < self.outbox.len())
        {
            match stdin.write(&self.outbox[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.stdin = None,
            }
        }
        if self.stdin.is_some() && self.pending() == 0 {
            self.outbox.clear();
            super::give_back(&mut self.outbox);
            self.sent = 0;
            if self.close_when_sent {
                self.stdin = None;
            }
        }
    }

    /// Closes the child's input once everything is written.
    pub(super) fn close_input(&mut self) {
        self.close_when_sent = true;
        self.write();
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
        if self.has_ended() {
            return;
        }
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if !matches!(waitid(WaitId::Pid(self.group), options), Ok(None)) {
            self.phase = Phase::Ended {
                read_until: now + DRAIN,
            };
        }
    }

    /// Closes the input; stops the child if it has not ended after `grace`, and kills it after as long
    /// again.
    pub(super) fn finish(&mut self, signal: Signal, grace: Duration, now: Instant) {
        self.close_input();
        if self.phase == Phase::Running {
            self.phase = Phase::Finishing {
                stop_at: now + grace,
                signal,
                grace,
            };
        }
    }

    /// Closes the input and signals the group; kills it if it has not ended after `grace`.
    pub(super) fn stop(&mut self, signal: Signal, grace: Duration, now: Instant) {
        self.stdin = None;
        if matches!(self.phase, Phase::Running | Phase::Finishing { .. }) {
            let _ = kill_process_group(self.group, signal);
            self.stopped = true;
            self.phase = Phase::Stopping {
                kill_at: now + grace,
            };
        }
    }

    /// Does what is due by time.
    pub(super) fn advance(&mut self, now: Instant) {
        match self.phase {
            Phase::Finishing {
                stop_at,
                signal,
                grace,
            } if now >= stop_at => self.stop(signal, grace, now),
            Phase::Stopping { kill_at } if now >= kill_at => {
                let _ = kill_process_group(self.group, Signal::KILL);
                self.phase = Phase::Killed;
            }
            _ => {}
        }
    }

    /// When [`Child::advance`] has something to do, or the output has been waited for long enough.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Running | Phase::Killed => None,
            Phase::Finishing { stop_at, .. } => Some(stop_at),
            Phase::Stopping { kill_at } => Some(kill_at),
            Phase::Ended { read_until } => Some(read_until),
        }
    }

    /// Whether the child has ended.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Ended { .. })
    }

    /// Whether the child has ended and its output is read, or has been waited for long enough.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        match self.phase {
            Phase::Ended { read_until } => {
                (self.stdout.is_none() && self.stderr.is_none()) || now >= read_until
            }
            _ => false,
        }
    }

    /// Kills what is left of the group, and only then reaps the leader: until then no other process can
    /// have its number.
    pub(super) fn bury(mut self) -> io::Result<Remains> {
        let _ = kill_process_group(self.group, Signal::KILL);
        let in_pipe = self
            .stdin_reader
            .as_ref()
            .map_or(Ok(0), ioctl_fionread)
            .unwrap_or(0);
        let unread = in_pipe + self.pending() as u64;
        let status = self.leader.wait()?;
        Ok(Remains {
            status,
            unread,
            stderr: self.tail.into_bytes(),
            stopped: self.stopped,
        })
    }
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
