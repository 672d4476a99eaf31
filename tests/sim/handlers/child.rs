//! A process that is none: what it will do, and how it comes to its end.

use std::collections::VecDeque;
use std::time::Duration;

use kclpipe::testing::handler::{ExitReport, Role};
use kclpipe::testing::outcome::Ended;
use kclpipe::testing::process::{Feed, Spawn, Stop};

use super::Stdin;
use crate::script::{self, Word};
use crate::world::World;

/// How long a pipe that something else keeps open is read after its process has ended.
const LINGER: Duration = Duration::from_millis(100);

/// A line that a child prints.
#[derive(Clone, Debug)]
pub(crate) struct Say {
    pub(crate) at: Duration,
    pub(crate) word: Option<(Word, Option<u64>)>,
    pub(crate) tokened: bool,
    /// It is printed just after kclpipe has looked: only the next look shows it.
    pub(crate) late: bool,
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

impl Child {
    pub(super) fn new(role: Role, token: String, spawn: &Spawn<'_>, world: &mut World) -> Child {
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
    pub(super) fn next_event(&self) -> Option<Duration> {
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

    /// Takes away what it has printed by now from the first line on that this look does not show.
    pub(super) fn hold_back(&mut self, now: Duration) -> VecDeque<Say> {
        let is_late = |say: &Say| say.late && say.at <= now && self.ended.is_none();
        let shown = self.says.iter().position(is_late);
        let mut late = self.says.split_off(shown.unwrap_or(self.says.len()));
        if let Some(first) = late.front_mut() {
            first.late = false;
        }
        late
    }

    /// Whether it still runs at this time.
    fn runs_at(&self, now: Duration) -> bool {
        self.exit.is_none_or(|(exit, _)| exit > now)
    }

    /// It was to finish by itself, and has not.
    fn stop_if_late(&mut self, now: Duration) {
        let Phase::Finishing(at, stop) = self.phase else {
            return;
        };
        if now >= at && self.runs_at(now) {
            self.stopped = true;
            self.phase = Phase::Stopping(now + stop.timeout);
            if !self.ignores_term {
                self.exit = Some((now, Ended::Signal(15)));
            }
        }
    }

    /// It was to stop, and has not; whether that is so.
    fn kill_if_late(&mut self, now: Duration) -> bool {
        let is_late = matches!(self.phase, Phase::Stopping(at) if now >= at) && self.runs_at(now);
        if is_late {
            self.phase = Phase::Killed;
            self.exit = Some((now, Ended::Signal(9)));
        }
        is_late
    }

    fn end_if_due(&mut self, now: Duration) {
        if let Some((at, ended)) = self.exit.filter(|(at, _)| *at <= now) {
            self.says.retain(|say| say.at <= at);
            self.ended = Some(ended);
            self.phase = Phase::Ended(if self.lingers { at + LINGER } else { at });
        }
    }

    pub(super) fn report(&self) -> ExitReport {
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
    /// The stop signal goes to a child.
    pub(super) fn signal(&mut self, role: Role, stop: Stop) {
        let now = self.now;
        let mut rng = self.dice.rng("term", &[self.judge.started]);
        let Some(child) = self.child(role).filter(|child| !child.is_stopped()) else {
            return;
        };
        child.stopped = true;
        child.stdin.frozen = true;
        child.phase = Phase::Stopping(now + stop.timeout);
        if !child.ignores_term {
            let code = rng.chance(15).then_some(Ended::Code(0));
            let ended = code.unwrap_or(Ended::Signal(15));
            let at = now + rng.millis(0, 20);
            if child.runs_at(at) {
                child.exit = Some((at, ended));
            }
        }
        self.tell('<', || format!("stop {role:?}"));
    }

    /// Lets everything happen that is due.
    pub(super) fn advance(&mut self) {
        let mut children = std::mem::take(&mut self.children);
        for child in &mut children {
            self.advance_child(child);
        }
        self.children = children;
    }

    fn advance_child(&mut self, child: &mut Child) {
        if matches!(child.phase, Phase::Ended(_)) {
            return;
        }
        script::work(self, child);
        child.stop_if_late(self.now);
        if child.kill_if_late(self.now) {
            self.seen.hit("killed after TERM");
        }
        child.end_if_due(self.now);
    }
}
