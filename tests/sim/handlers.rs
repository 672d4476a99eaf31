//! Scripted children in virtual time, and the only sleep.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use serde_json::Value;

use kclpipe::testing::dead_letter::Appended;
use kclpipe::testing::format::Format;
use kclpipe::testing::handler::{Children, ExitReport, Happening, Role};
use kclpipe::testing::outcome::Ended;
use kclpipe::testing::process::{Command, Feed, Input, Spawn, Stop};
use kclpipe::testing::record::Batch;

use crate::script::{self, Word};
use crate::world::{Shared, World};

/// From then on handlers, hooks and files do as they should.
pub(crate) const RECOVERY: Duration = Duration::from_secs(20 * 60);

/// A life that has not come to its end by then never will.
pub(crate) const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// So often may kclpipe turn round without anything to do and without any time going by.
const TURNS: u32 = 200;

/// So many things may happen to children in one sleep that kclpipe does not hear of.
const SPINS: u32 = 100_000;

/// How long a pipe that something else keeps open is read after its process has ended.
const LINGER: Duration = Duration::from_millis(100);

/// A record as it stands on a handler's stdin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) rec: usize,
    pub(crate) n: Option<u64>,
    pub(crate) attempt: Option<u32>,
    pub(crate) last: Option<bool>,
    pub(crate) bytes: u64,
}

/// A line that a child prints.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    pub(crate) at: Duration,
    pub(crate) word: Option<(Word, Option<u64>)>,
    pub(crate) tokened: bool,
    pub(crate) text: String,
}

/// What kclpipe did to end a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Running,
    Finishing(Duration, Stop),
    Stopping(Duration),
    Killed,
    /// It has ended, and its output is read until then.
    Ended(Duration),
}

/// A process that is none.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) id: u64,
    pub(crate) role: Role,
    pub(crate) token: String,
    pub(crate) phase: Phase,
    pub(crate) says: VecDeque<Say>,
    pub(crate) exit: Option<(Duration, Ended)>,
    /// How it ended, once it has.
    pub(crate) ended: Option<Ended>,
    pub(crate) ignores_term: bool,
    pub(crate) lingers: bool,
    /// We were sent the stop signal.
    pub(crate) stopped: bool,
    pub(crate) watched: bool,
    pub(crate) stdin: Stdin,
    /// What the script of a handler that lives on has in mind.
    pub(crate) work: script::Work,
}

/// A child's input.
#[derive(Debug, Default)]
pub(crate) struct Stdin {
    /// Bytes that the child has not read: those in the pipe, and behind them those that wait for room.
    pub(crate) pipe: Vec<u8>,
    /// A pipe holds so much.
    pub(crate) room: usize,
    /// So many bytes of it are in the pipe.
    pub(crate) sent: usize,
    /// The end of the input is written, or follows what waits.
    pub(crate) closed: bool,
    pub(crate) frozen: bool,
    /// kclpipe awaits that everything is in the pipe.
    pub(crate) owes: bool,
}

impl Stdin {
    /// Moves into the pipe what there is room for.
    pub(crate) fn fill(&mut self) {
        if !self.frozen {
            self.sent = self.pipe.len().min(self.room.max(self.sent));
        }
    }

    pub(crate) fn is_fed(&self) -> bool {
        self.frozen || self.sent == self.pipe.len()
    }

    /// The child reads all that is in the pipe.
    pub(crate) fn read(&mut self) -> Vec<u8> {
        let read = self.pipe.drain(..self.sent).collect();
        self.sent = 0;
        self.fill();
        read
    }

    /// Whether the child sees the end once it has read what is there.
    pub(crate) fn ends(&self) -> bool {
        self.closed && self.sent == self.pipe.len()
    }
}

/// The children of one kclpipe.
pub(crate) struct SimChildren(pub Shared);

impl Children for SimChildren {
    fn find(&self, what: &str, _command: &Command) -> Result<()> {
        self.0.with(|world| {
            let mut rng = world.dice.rng("find", &[u64::from(world.daemon.session)]);
            let missing = rng.chance(6) && world.now < RECOVERY;
            let until = world.judge.begun_at + rng.millis(100, 4_000);
            if missing && world.now < until {
                world.seen.hit("command missing at first");
                bail!("{what} is not there yet");
            }
            Ok(())
        })
    }

    fn has_host_slot(&mut self) -> bool {
        true
    }

    fn leave_host_slot(&mut self) {}

    fn start(
        &mut self,
        role: Role,
        _command: &Command,
        spawn: &Spawn<'_>,
        input: Input,
    ) -> Result<(), String> {
        let bytes = input.into_bytes().map_err(|e| e.to_string())?;
        let variable = |name: &str| {
            let found = spawn.environment.iter().find(|(of, _)| *of == name);
            found.map(|(_, value)| value.to_string_lossy().into_owned())
        };
        let token = variable("KCLPIPE_TOKEN").unwrap_or_default();
        let attempt = variable("KCLPIPE_ATTEMPT").and_then(|text| text.parse().ok());
        let event = variable("KCLPIPE_EVENT").unwrap_or_default();
        self.0.with(|world| {
            if !world.effect() {
                return Ok(());
            }
            let child = Child::new(role, token, spawn, world);
            world.start(child, bytes, attempt, &event)
        })
    }

    fn pid(&self, role: Role) -> Option<i32> {
        self.0.with(|world| Some(world.child(role)?.id as i32))
    }

    fn has_ended(&self, role: Role) -> bool {
        self.0
            .with(|world| world.child(role).is_some_and(|child| child.ended.is_some()))
    }

    fn is_fed(&self, role: Role) -> bool {
        self.0
            .with(|world| world.child(role).is_none_or(|child| child.stdin.is_fed()))
    }

    fn any_running(&self) -> bool {
        self.0.with(|world| !world.children.is_empty())
    }

    fn feed(&mut self, role: Role, bytes: &mut Vec<u8>) {
        let bytes = std::mem::take(bytes);
        self.0.with(|world| {
            if !bytes.is_empty() && world.effect() {
                world.feed(role, bytes);
            }
        });
    }

    fn printed(&mut self, role: Role) -> Vec<Vec<u8>> {
        self.0.with(|world| {
            world.advance();
            world.take_lines(role)
        })
    }

    fn close_input(&mut self, role: Role) {
        self.0.with(|world| {
            if let Some(child) = world.child(role) {
                child.stdin.closed = true;
            }
            world.nudge(role);
        });
    }

    fn finish(&mut self, role: Role, stop: Stop) {
        self.close_input(role);
        self.0.with(|world| {
            let until = world.now + stop.timeout;
            if let Some(child) = world.child(role)
                && child.phase == Phase::Running
            {
                child.phase = Phase::Finishing(until, stop);
            }
        });
    }

    fn stop(&mut self, role: Role, stop: Stop) {
        self.0.with(|world| {
            world.judge_stop(role);
            world.signal(role, stop);
        });
    }

    fn keep_letters(&mut self, _file: &Path, letters: &[u8]) -> Result<Appended> {
        self.0.with(|world| {
            if world.killed {
                return Err(anyhow!("kclpipe is dead"));
            }
            let appended = world.keep_letters(letters);
            world.effect();
            appended
        })
    }

    fn spool(&mut self, _directory: &Path, _batch: &mut Batch) -> io::Result<()> {
        self.0.with(|world| {
            let numbers = [u64::from(world.daemon.session), world.effects];
            let fails = world.now < RECOVERY && world.dice.rng("spool", &numbers).chance(15);
            if fails {
                world.tell('*', || "the disk is full".to_owned());
                world.seen.hit("the disk is full");
                world.judge.spool_failed = true;
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        })
    }

    fn wait(&mut self, watch_input: bool, until: Option<Instant>) -> Result<Vec<Happening>> {
        let until = until.map(|until| self.0.time(until));
        self.0.with(|world| {
            if !world.effect() {
                bail!("kclpipe is dead");
            }
            let happened = world.sleep(watch_input, until);
            if world.killed {
                bail!("kclpipe is dead");
            }
            Ok(happened)
        })
    }
}

impl Child {
    fn new(role: Role, token: String, spawn: &Spawn<'_>, world: &mut World) -> Child {
        world.judge.started += 1;
        let streams = matches!(spawn.feed, Feed::Stream { .. });
        Child {
            id: world.judge.started,
            role,
            token,
            phase: Phase::Running,
            says: VecDeque::new(),
            exit: None,
            ended: None,
            ignores_term: false,
            lingers: false,
            stopped: false,
            watched: spawn.watch_input,
            stdin: Stdin {
                room: if streams { world.life.pipe } else { usize::MAX },
                closed: !streams,
                ..Stdin::default()
            },
            work: script::Work::default(),
        }
    }

    fn is_stopped(&self) -> bool {
        matches!(
            self.phase,
            Phase::Stopping(_) | Phase::Killed | Phase::Ended(_)
        )
    }

    /// When something happens to it, or because of it, by time alone.
    fn next_event(&self) -> Option<Duration> {
        if let Phase::Ended(until) = self.phase {
            return Some(until);
        }
        let due = match self.phase {
            Phase::Finishing(at, _) | Phase::Stopping(at) => Some(at),
            _ => None,
        };
        let says = self.says.front().map(|say| say.at);
        let exit = self.exit.map(|(at, _)| at);
        due.into_iter()
            .chain(says)
            .chain(exit)
            .chain(self.work.next_event())
            .min()
    }

    fn report(&self) -> ExitReport {
        ExitReport {
            pid: self.id as i32,
            ended: self.ended.unwrap_or(Ended::Signal(9)),
            unread: self.unread(),
            stderr: Vec::new(),
            stopped: self.stopped,
        }
    }

    fn unread(&self) -> u64 {
        let waiting = self.stdin.pipe.len() - self.stdin.sent;
        let unread = if self.watched {
            self.stdin.pipe.len()
        } else {
            waiting
        };
        unread as u64
    }
}

impl World {
    pub(crate) fn child(&mut self, role: Role) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.role == role)
    }

    fn start(
        &mut self,
        mut child: Child,
        bytes: Vec<u8>,
        attempt: Option<u32>,
        event: &str,
    ) -> Result<(), String> {
        let role = child.role;
        if self.children.iter().any(|child| child.role == role) {
            self.breaks(format!("a second child for {role:?}"));
        }
        let frames = match role {
            Role::Handler(_) => frames(&self.life.format, &mut bytes.clone()),
            Role::DeadLetter | Role::Hook => Vec::new(),
        };
        let label = self.label(&frames);
        let mut rng = self
            .dice
            .rng("start", &[u64::from(self.daemon.session), child.id]);
        if self.life.trouble > 0 && rng.chance(2) && self.now < RECOVERY {
            self.tell('<', || format!("start {role:?} {label}: cannot be started"));
            self.seen.hit("cannot be started");
            self.judge_start(&child, &frames, attempt, bytes.len());
            self.judge.hook_running = Some(event.to_owned());
            self.judge_not_started(role);
            return Err("text file busy".to_owned());
        }
        self.tell('<', || format!("start {role:?} {label} {event}"));
        self.judge_start(&child, &frames, attempt, bytes.len());
        child.lingers = rng.chance(4);
        child.stdin.pipe = bytes;
        child.stdin.fill();
        child.stdin.owes = !child.stdin.is_fed();
        match role {
            Role::Handler(_) if self.life.lives_on() => script::begin_stream(self, &mut child),
            Role::Handler(_) => script::plan_whole(self, &mut child, &frames),
            Role::DeadLetter => script::plan_letter(self, &mut child),
            Role::Hook => script::plan_hook(self, &mut child, event),
        }
        self.children.push(child);
        self.children.sort_by_key(|child| child.role);
        Ok(())
    }

    fn label(&self, frames: &[Frame]) -> String {
        let shown = |frame: &Frame| {
            format!(
                "{}{}",
                frame.rec,
                if frame.last == Some(false) { "+" } else { "" }
            )
        };
        frames.iter().map(shown).collect::<Vec<_>>().join(" ")
    }

    fn feed(&mut self, role: Role, bytes: Vec<u8>) {
        let frames = frames(&self.life.format, &mut bytes.clone());
        let label = self.label(&frames);
        self.tell('<', || format!("feed {role:?} {label}"));
        self.judge_feed(role, &frames, bytes.len());
        if let Some(child) = self.child(role) {
            child.stdin.pipe.extend(bytes);
            child.stdin.fill();
            child.stdin.owes = !child.stdin.is_fed();
            if child.stdin.owes {
                self.seen.hit("pipe is full");
            }
        }
        self.nudge(role);
    }

    /// A handler that lives on may have something to read.
    fn nudge(&mut self, role: Role) {
        let (now, dice) = (self.now, self.dice);
        if self.life.lives_on()
            && matches!(role, Role::Handler(_))
            && let Some(child) = self.child(role)
        {
            script::nudge(child, now, dice);
        }
    }

    /// The stop signal goes to a child.
    fn signal(&mut self, role: Role, stop: Stop) {
        let now = self.now;
        let mut rng = self.dice.rng("term", &[self.judge.started]);
        let Some(child) = self.child(role).filter(|child| !child.is_stopped()) else {
            return;
        };
        child.stopped = true;
        child.stdin.frozen = true;
        child.phase = Phase::Stopping(now + stop.timeout);
        if !child.ignores_term {
            let ended = if rng.chance(15) {
                Ended::Code(0)
            } else {
                Ended::Signal(15)
            };
            let at = now + rng.millis(0, 20);
            let sooner = child.exit.is_none_or(|(exit, _)| exit > at);
            child.exit = if sooner {
                Some((at, ended))
            } else {
                child.exit
            };
        }
        self.tell('<', || format!("stop {role:?}"));
    }

    /// Lets everything happen that is due.
    fn advance(&mut self) {
        for place in 0..self.children.len() {
            let mut child = self.children.swap_remove(place);
            self.advance_child(&mut child);
            self.children.push(child);
            let last = self.children.len() - 1;
            self.children.swap(place, last);
        }
    }

    fn advance_child(&mut self, child: &mut Child) {
        let now = self.now;
        if matches!(child.phase, Phase::Ended(_)) {
            return;
        }
        script::work(self, child);
        match child.phase {
            Phase::Finishing(at, stop)
                if now >= at && child.exit.is_none_or(|(exit, _)| exit > now) =>
            {
                child.stopped = true;
                child.phase = Phase::Stopping(now + stop.timeout);
                if !child.ignores_term {
                    child.exit = Some((now, Ended::Signal(15)));
                }
            }
            _ => {}
        }
        if let Phase::Stopping(at) = child.phase
            && now >= at
            && child.exit.is_none_or(|(exit, _)| exit > now)
        {
            self.seen.hit("killed after TERM");
            child.phase = Phase::Killed;
            child.exit = Some((now, Ended::Signal(9)));
        }
        if let Some((at, ended)) = child.exit.filter(|(at, _)| *at <= now) {
            child.says.retain(|say| say.at <= at);
            child.ended = Some(ended);
            child.phase = Phase::Ended(if child.lingers { at + LINGER } else { at });
        }
    }

    /// The lines that a child has printed by now.
    fn take_lines(&mut self, role: Role) -> Vec<Vec<u8>> {
        let now = self.now;
        let mut lines = Vec::new();
        while let Some(child) = self.child(role)
            && child.says.front().is_some_and(|say| say.at <= now)
            && let Some(say) = child.says.pop_front()
        {
            let token = if say.tokened {
                format!("{} ", child.token)
            } else {
                String::new()
            };
            lines.push(format!("{token}{}", say.text).into_bytes());
            self.tell('*', || {
                format!(
                    "{role:?} prints {}{}",
                    if say.tokened { "@ " } else { "" },
                    say.text
                )
            });
            self.judge_line(role, &say);
        }
        lines
    }

    /// Everything that has happened, in the order in which it is told.
    fn happened(&mut self, watch_input: bool) -> Vec<Happening> {
        let mut happened = Vec::new();
        let now = self.now;
        if self.daemon.signal_at.take_if(|at| *at <= now).is_some() {
            self.tell('*', || "SIGTERM to kclpipe".to_owned());
            self.seen.hit("signal");
            self.judge_signal();
            happened.push(Happening::Signal(15));
        }
        self.advance();
        let roles: Vec<Role> = self.children.iter().map(|child| child.role).collect();
        for role in &roles {
            let lines = self.take_lines(*role);
            happened.extend(
                lines
                    .into_iter()
                    .map(|line| Happening::Line { role: *role, line }),
            );
            if let Some(child) = self.child(*role)
                && child.stdin.owes
                && child.stdin.is_fed()
            {
                child.stdin.owes = false;
                happened.push(Happening::Fed);
            }
        }
        for role in roles {
            let over = |child: &Child| {
                child.role == role && matches!(child.phase, Phase::Ended(until) if until <= now)
            };
            if let Some(place) = self.children.iter().position(over) {
                let child = self.children.remove(place);
                let report = child.report();
                self.tell('*', || {
                    format!("{role:?} ends: {}, {} unread", report.ended, report.unread)
                });
                self.judge_end(&child, &report);
                happened.push(Happening::Ended { role, report });
            }
        }
        let input = watch_input && self.daemon.next_input().is_some_and(|at| at <= now);
        happened.extend(input.then_some(Happening::Input));
        happened
    }

    /// A machine may be suspended at any time, and nobody notices.
    fn oversleep(&mut self) {
        let mut rng = self
            .dice
            .rng("oversleep", &[self.effects, self.now.as_millis() as u64]);
        if self.life.sleepy && rng.chance(2) {
            self.seen.hit("the machine slept");
            self.now += rng.up_to(&[5, 2_000, 40_000]);
        }
    }

    fn sleep(&mut self, watch_input: bool, until: Option<Duration>) -> Vec<Happening> {
        self.note_report();
        for _ in 0..SPINS {
            let happened = self.happened(watch_input);
            if !happened.is_empty() || self.killed {
                self.judge.turns = 0;
                return happened;
            }
            if until.is_some_and(|until| until <= self.now) {
                self.judge.turns += 1;
                if self.judge.turns > TURNS {
                    self.breaks("a hot loop: kclpipe turns round, and nobody sleeps");
                }
                return happened;
            }
            let events = self.children.iter().filter_map(Child::next_event);
            let input = self.daemon.next_input().filter(|_| watch_input);
            let next = events
                .chain(input)
                .chain(self.daemon.signal_at)
                .chain(until)
                .min();
            if next.is_some_and(|next| next <= self.now) {
                continue;
            }
            self.judge_sleep(next);
            let Some(next) = next else {
                self.breaks("kclpipe sleeps, and nothing can wake it");
                return Vec::new();
            };
            self.judge.turns = 0;
            self.now = next;
            self.oversleep();
            if self.now > LIFETIME {
                self.breaks("a life without an end");
            }
        }
        panic!("something is due, and does not happen: {:?}", self.children);
    }
}

/// Takes the whole records off the front of what a handler has read.
pub(crate) fn frames(format: &Format, bytes: &mut Vec<u8>) -> Vec<Frame> {
    let mut frames = Vec::new();
    if *format == Format::Raw {
        let text = String::from_utf8_lossy(bytes).into_owned();
        frames.extend(plain(&text));
        return frames;
    }
    while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = bytes.drain(..=end).collect();
        let text = String::from_utf8_lossy(&line);
        frames.extend(match format {
            Format::Jsonl(_) => object(&text),
            _ => plain(&text),
        });
    }
    frames
}

fn plain(text: &str) -> Option<Frame> {
    let (number, _) = text.strip_prefix('r')?.split_once('.')?;
    Some(Frame {
        rec: number.parse().ok()?,
        n: None,
        attempt: None,
        last: None,
        bytes: text.len() as u64,
    })
}

fn object(text: &str) -> Option<Frame> {
    let object: Value = serde_json::from_str(text).ok()?;
    let frame = plain(object["data"].as_str()?)?;
    Some(Frame {
        n: object["n"].as_u64(),
        attempt: object["attempt"].as_u64().map(|attempt| attempt as u32),
        last: object["last"].as_bool(),
        bytes: text.len() as u64,
        ..frame
    })
}
