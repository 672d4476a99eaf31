//! Child processes: the only place that starts or stops anything, and the only place that sleeps.
//!
//! One poll serves every pipe of every child together with the daemon's input, the signals and the time
//! limits, so that nothing can starve and no two pipes can wait for each other.

mod child;
mod command;
mod input;
mod lines;
mod log;
mod phase;
mod program;
mod signals;
mod stdin;

use std::ffi::OsString;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getppid, kill_process, test_kill_process,
    test_kill_process_group, waitid,
};

use child::Child;
pub use command::Command;
pub(crate) use command::find;
pub use input::Input;
pub(crate) use input::nameless_in;
use log::log_stderr;
pub(crate) use log::{excerpt, log_stdout};
use phase::DYING;
pub(crate) use program::{Variable, replace, run};
use signals::Signals;
pub(crate) use signals::outlive_file_limits;

/// The longest line that is logged or understood; the rest of it is dropped.
pub(crate) const LINE: usize = 64 * 1024;

/// A buffer of input that grew beyond this is not kept.
const KEEP: usize = 1024 * 1024;

/// How much one read of a pipe asks for.
const CHUNK: usize = 16 * 1024;

/// What a pipe for many records is to hold: four times the usual. The system lends an ordinary user 64 MiB
/// for all pipes; if that is used up the pipe stays as it is.
const LARGE_PIPE: usize = 256 * 1024;

/// The time between two looks at children that were killed at the end.
const LAST_LOOKS: Duration = Duration::from_millis(50);

/// Asks our parent to stop, if that is its number; whether it was asked. Nothing else is ever signalled so.
pub(crate) fn ask_parent_to_stop(number: u32) -> bool {
    let parent =
        getppid().filter(|parent| u32::try_from(parent.as_raw_nonzero().get()) == Ok(number));
    parent.is_some_and(|parent| kill_process(parent, Signal::TERM).is_ok())
}

/// Makes the pipe `end` belongs to larger, if the system lets us.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
pub(crate) fn enlarge(end: impl AsFd) {
    #[cfg(target_os = "linux")]
    let _ = rustix::pipe::fcntl_setpipe_size(end, LARGE_PIPE);
}

/// Whether there is a process with this number, whoever's it is.
pub(crate) fn is_alive(number: u32) -> bool {
    let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(Errno::SRCH))
}

/// Gives the memory of an empty buffer back if it is large. Given back, not shrunk: the allocator would put
/// the next large one where it cannot grow in its place, and the peak would be a quarter higher.
pub(crate) fn give_back(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEEP {
        *buffer = Vec::new();
    }
}

/// How to start a child.
#[derive(Debug)]
pub struct Spawn<'a> {
    /// Variables to set, over our own environment.
    pub environment: &'a [(&'static str, OsString)],
    /// Variables of our own environment to leave out.
    pub without: &'a [OsString],
    /// Whether to tell afterwards how much of the input was left unread.
    pub watch_input: bool,
    /// How it is given its input.
    pub feed: Feed,
    /// Where a line of its stdout is cut.
    pub line_limit: usize,
    /// What becomes of its stderr.
    pub stderr: Stderr<'a>,
}

/// How a child is given its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// All of it before it starts: no death of anybody can make it look at a part.
    Whole,
    /// Bit by bit, through a pipe.
    Stream {
        /// Whether it is given so much at a time that a larger pipe saves waking it and us.
        large: bool,
        /// Whether its input may end anywhere when it is stopped; else it stays open until the child has ended.
        torn: bool,
    },
}

/// What becomes of a child's stderr.
#[derive(Clone, Copy, Debug)]
pub enum Stderr<'a> {
    /// Each line is logged, and the last ones are kept.
    Log,
    /// It goes where our own goes.
    Inherit,
    /// It goes there.
    To(BorrowedFd<'a>),
}

/// How a child is told to stop, and how long it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The signal to its group.
    pub signal: Signal,
    /// The time until its group is killed.
    pub timeout: Duration,
}

/// Something that happened while we slept.
#[derive(Debug)]
pub enum Happening {
    /// The daemon's input can be read, or has ended.
    Input,
    /// We were asked to stop, by the signal of this number.
    Signal(i32),
    /// The pipe of [`Processes::rung_by`] could be read.
    Rung,
    /// A child printed a line on its stdout.
    Line {
        /// Which child.
        slot: usize,
        /// The line without its line feed, cut at [`Spawn::line_limit`].
        line: Vec<u8>,
    },
    /// The rest of the input that a child's pipe did not take at once is in the pipe now, or will never be.
    Fed {
        /// Which child.
        slot: usize,
    },
    /// A child has ended and is reaped, and so is its group.
    Ended {
        /// Which child.
        slot: usize,
        /// Its process number.
        pid: i32,
        /// How.
        status: ExitStatus,
        /// Bytes of its input that it did not read, where [`Spawn::watch_input`] asked for that, and
        /// those that never went into its pipe.
        unread: u64,
        /// The last bytes of its stderr.
        stderr: Vec<u8>,
        /// Whether we had sent it the stop signal.
        stopped: bool,
    },
}

/// The children, each in a slot of the caller's choice.
pub struct Processes<'fd> {
    children: Vec<Option<Child>>,
    input: Option<BorrowedFd<'fd>>,
    signals: Signals,
    bell: Option<PipeReader>,
    /// Groups of children that are gone whose other members may still have to be reaped.
    orphans: Vec<Pid>,
    /// Where a pipe is read into, for all of them: clearing one anew for every read would cost more than
    /// the read.
    chunk: Box<[u8]>,
}

/// What ended a sleep.
struct Woken {
    /// The daemon's input can be read, or has ended.
    input: bool,
    /// A signal came.
    signalled: bool,
    /// The bell rang.
    rung: bool,
    /// The children with a pipe to be served.
    ready: Vec<usize>,
}

impl<'fd> Processes<'fd> {
    /// No children yet. `input` is what [`Happening::Input`] speaks of; `catch_stops` turns the signals
    /// TERM, INT and HUP into [`Happening::Signal`].
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn new(input: Option<BorrowedFd<'fd>>, catch_stops: bool) -> io::Result<Processes<'fd>> {
        // What a dead handler leaves behind becomes our child, so that no zombie stays.
        #[cfg(target_os = "linux")]
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let signals = Signals::new(catch_stops)?;
        Ok(Processes {
            children: Vec::new(),
            input,
            signals,
            bell: None,
            orphans: Vec::new(),
            chunk: vec![0; CHUNK].into_boxed_slice(),
        })
    }

    /// From now on [`Happening::Rung`] says that this pipe could be read, and what is in it is dropped.
    ///
    /// # Errors
    /// It cannot be read without waiting.
    pub fn rung_by(&mut self, bell: PipeReader) -> io::Result<()> {
        ioctl_fionbio(&bell, true)?;
        self.bell = Some(bell);
        Ok(())
    }

    /// Starts `command` in `slot`, which must be free, with `input` as its input or the first of it.
    ///
    /// # Errors
    /// It cannot be started: missing, not executable, or no resources.
    pub fn start(
        &mut self,
        slot: usize,
        command: &Command,
        spawn: &Spawn<'_>,
        input: Input,
    ) -> io::Result<()> {
        self.place(slot, Child::start(command, spawn, input)?);
        Ok(())
    }

    /// Starts `command` in `slot`, which must be free: in our own group, with our outputs, with these variables and
    /// without an input.
    ///
    /// # Errors
    /// It cannot be started: missing, not executable, or no resources.
    pub(crate) fn start_beside(
        &mut self,
        slot: usize,
        command: &Command,
        environment: &[Variable],
    ) -> io::Result<()> {
        self.place(slot, Child::start_beside(command, environment)?);
        Ok(())
    }

    fn place(&mut self, slot: usize, child: Child) {
        if self.children.len() <= slot {
            self.children.resize_with(slot + 1, || None);
        }
        self.children[slot] = Some(child);
    }

    /// The process number of the child in `slot`.
    pub fn pid(&self, slot: usize) -> Option<i32> {
        let child = self.children.get(slot).and_then(Option::as_ref)?;
        Some(child.group.as_raw_nonzero().get())
    }

    /// Whether the child in `slot` has ended, and only its output is still read.
    pub fn has_ended(&self, slot: usize) -> bool {
        let child = self.children.get(slot).and_then(Option::as_ref);
        child.is_some_and(Child::has_ended)
    }

    /// Whether nothing waits for room in the pipe of the child in `slot`; if it does, [`Happening::Fed`]
    /// follows.
    pub fn is_fed(&self, slot: usize) -> bool {
        let child = self.children.get(slot).and_then(Option::as_ref);
        child.is_none_or(|child| child.stdin.is_fed())
    }

    /// How many bytes of its input the child in `slot` has not read yet, as far as that is watched.
    pub fn unread(&self, slot: usize) -> u64 {
        let child = self.children.get(slot).and_then(Option::as_ref);
        child.map_or(0, |child| child.stdin.unread())
    }

    /// Whether any child is there.
    pub fn any_running(&self) -> bool {
        self.children.iter().any(Option::is_some)
    }

    /// Appends `bytes` to the input of the child in `slot`, and writes what its pipe takes. `bytes` is
    /// empty then, and keeps memory to be filled again.
    pub fn feed(&mut self, slot: usize, bytes: &mut Vec<u8>) {
        if let Some(child) = self.child(slot) {
            child.stdin.append(bytes);
        }
    }

    /// The lines that the child in `slot` has printed by now, without sleeping.
    pub fn printed(&mut self, slot: usize) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        if let Some(child) = self.children.get_mut(slot).and_then(Option::as_mut) {
            child.read(
                &mut self.chunk,
                |line| lines.push(line.to_vec()),
                log_stderr,
            );
        }
        lines
    }

    /// Ends the input of the child in `slot`, once it is all written.
    pub fn close_input(&mut self, slot: usize) {
        if let Some(child) = self.child(slot) {
            child.stdin.close();
        }
    }

    /// Ends the input of the child in `slot`; it is stopped if it does not end in time.
    pub fn finish(&mut self, slot: usize, stop: Stop) {
        if let Some(child) = self.child(slot) {
            child.finish(stop, Instant::now());
        }
    }

    /// Stops the child in `slot`: [`Happening::Ended`] follows.
    pub fn stop(&mut self, slot: usize, stop: Stop) {
        if let Some(child) = self.child(slot) {
            child.stop(stop, Instant::now());
        }
    }

    /// Sleeps until something happens, or `until`. The daemon's input is looked at only if `watch_input`.
    ///
    /// # Errors
    /// The system refuses to poll or to wait for a child: nothing can go on then.
    pub fn wait(
        &mut self,
        watch_input: bool,
        until: Option<Instant>,
    ) -> io::Result<Vec<Happening>> {
        loop {
            let woken = self.sleep(watch_input, until)?;
            let mut happened = Vec::new();
            if woken.signalled {
                happened.extend(self.signals.take().into_iter().map(Happening::Signal));
                self.children
                    .iter_mut()
                    .flatten()
                    .for_each(|child| child.look(Instant::now()));
                self.reap_the_adopted();
            }
            if woken.rung {
                self.silence_bell();
                happened.push(Happening::Rung);
            }
            self.serve(&woken.ready, &mut happened);
            self.reap_the_dead(&mut happened)?;
            happened.extend(woken.input.then_some(Happening::Input));
            if !happened.is_empty() || until.is_some_and(|until| Instant::now() >= until) {
                return Ok(happened);
            }
        }
    }

    fn silence_bell(&mut self) {
        if let Some(bell) = &mut self.bell {
            let _ = bell.read(&mut [0; 64]);
        }
    }

    /// Polls once.
    fn sleep(&self, watch_input: bool, until: Option<Instant>) -> io::Result<Woken> {
        let mut polled = vec![PollFd::new(&self.signals, PollFlags::IN)];
        let input = self.input.as_ref().filter(|_| watch_input);
        polled.extend(input.map(|input| PollFd::new(input, PollFlags::IN)));
        polled.extend(
            self.bell
                .iter()
                .map(|bell| PollFd::new(bell, PollFlags::IN)),
        );
        let (others, mut slots) = (polled.len(), Vec::new());
        for (slot, child) in self.children.iter().enumerate() {
            for (pipe, events) in child.iter().flat_map(Child::interests) {
                polled.push(PollFd::from_borrowed_fd(pipe, events));
                slots.push(slot);
            }
        }
        let (children, now) = (self.children.iter().flatten(), Instant::now());
        let wakes = children.filter_map(|child| child.wake(now));
        let until = wakes.chain(until).min();
        // Interrupted, it has not looked at the pipes, and time limits are judged next.
        while let Err(e) = poll(&mut polled, timeout(until).as_ref()) {
            if e != Errno::INTR {
                return Err(e.into());
            }
        }
        let is_ready = |polled: &PollFd<'_>| !polled.revents().is_empty();
        let pipes = slots.into_iter().zip(&polled[others..]);
        let mut ready: Vec<usize> = pipes
            .filter(|(_, pipe)| is_ready(pipe))
            .map(|(slot, _)| slot)
            .collect();
        ready.dedup();
        Ok(Woken {
            input: input.is_some() && is_ready(&polled[1]),
            signalled: is_ready(&polled[0]),
            rung: self.bell.is_some() && is_ready(&polled[others - 1]),
            ready,
        })
    }

    /// Moves bytes in the pipes of the children that are ready, and does what is due by time in all.
    fn serve(&mut self, ready: &[usize], happened: &mut Vec<Happening>) {
        for &slot in ready {
            let Some(child) = &mut self.children[slot] else {
                continue;
            };
            if !child.stdin.is_fed() {
                child.stdin.write();
                happened.extend(child.stdin.is_fed().then_some(Happening::Fed { slot }));
            }
            child.read(
                &mut self.chunk,
                |line| happened.push(printed(slot, line)),
                log_stderr,
            );
        }
        let now = Instant::now();
        let children = self.children.iter_mut().flatten();
        children.for_each(|child| child.advance(now));
    }

    fn reap_the_dead(&mut self, happened: &mut Vec<Happening>) -> io::Result<()> {
        let now = Instant::now();
        for (slot, place) in self.children.iter_mut().enumerate() {
            if let Some(mut child) = place.take_if(|child| child.is_over(now)) {
                child.end_output(|line| happened.push(printed(slot, line)), log_stderr);
                self.orphans.push(child.group);
                let pid = child.group.as_raw_nonzero().get();
                let reaped = child.reap()?;
                happened.push(Happening::Ended {
                    slot,
                    pid,
                    status: reaped.status,
                    unread: reaped.unread,
                    stderr: reaped.stderr,
                    stopped: reaped.stopped,
                });
            }
        }
        self.orphans.retain(|group| !reap_group(*group));
        Ok(())
    }

    /// Reaps those of our children that we did not start.
    fn reap_the_adopted(&self) {
        for pid in self.adopted() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let _ = waitid(WaitId::Pid(pid), options);
        }
    }

    /// Ends what children that are gone have left, and what that has started, in turn.
    pub(crate) fn end_orphans(&mut self) {
        let since = Instant::now();
        let mut orphans = self.adopted();
        while !orphans.is_empty() && since.elapsed() < DYING {
            for pid in orphans {
                let _ = kill_process(pid, Signal::KILL);
            }
            self.doze();
            self.reap_the_adopted();
            orphans = self.adopted();
        }
    }

    /// Those of our children that we did not start: what left its handler's group has become ours with its parent's
    /// end. Where the system has no such file nobody is found: they stay zombies until we end.
    fn adopted(&self) -> Vec<Pid> {
        let ours = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
        let ours = ours
            .split_whitespace()
            .filter_map(|pid| Pid::from_raw(pid.parse().ok()?));
        ours.filter(|pid| !self.children.iter().flatten().any(|c| c.group == *pid))
            .collect()
    }

    /// Sleeps until a child ends, but not for long: the signal may be lost.
    fn doze(&mut self) {
        let mut signals = [PollFd::new(&self.signals, PollFlags::IN)];
        let until = Instant::now() + LAST_LOOKS;
        let _ = poll(&mut signals, timeout(Some(until)).as_ref());
        self.signals.take();
    }

    /// Looks at the children once more; whether none of them runs.
    fn have_all_ended(&mut self) -> bool {
        let mut children = self.children.iter_mut().flatten();
        children.all(|child| {
            child.look(Instant::now());
            child.has_ended()
        })
    }

    fn child(&mut self, slot: usize) -> Option<&mut Child> {
        self.children.get_mut(slot).and_then(Option::as_mut)
    }
}

impl Drop for Processes<'_> {
    /// Whatever still runs is killed: no way out of kclpipe leaves a handler behind, but one that cannot be
    /// killed.
    fn drop(&mut self) {
        let now = Instant::now();
        let children = self.children.iter_mut().flatten();
        children.for_each(|child| child.kill(now));
        while Instant::now() < now + DYING && !self.have_all_ended() {
            self.doze();
        }
        for mut child in self.children.iter_mut().filter_map(Option::take) {
            child.advance(now + DYING);
            let _ = child.reap();
        }
        log::report_suppressed();
    }
}

fn printed(slot: usize, line: &[u8]) -> Happening {
    Happening::Line {
        slot,
        line: line.to_vec(),
    }
}

/// Reaps what died in a group whose leader is gone; whether nothing of it is left.
fn reap_group(group: Pid) -> bool {
    if test_kill_process_group(group) == Err(Errno::SRCH) {
        return true;
    }
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    while matches!(waitid(WaitId::Pgid(Some(group)), options), Ok(Some(_))) {}
    test_kill_process_group(group).is_err()
}

fn timeout(until: Option<Instant>) -> Option<Timespec> {
    let left = until?.saturating_duration_since(Instant::now());
    Some(Timespec {
        tv_sec: left.as_secs() as i64,
        tv_nsec: i64::from(left.subsec_nanos()),
    })
}
