//! The only sleep: what happens in it, and when kclpipe wakes.

use std::time::Duration;

use kclpipe::testing::handler::{Happening, Role};

use super::child::Phase;
use super::{Child, LIFETIME, Say};
use crate::world::World;

/// So often may kclpipe turn round without anything to do and without any time going by.
const TURNS: u32 = 200;

/// So many things may happen to children in one sleep that kclpipe does not hear of.
const SPINS: u32 = 100_000;

impl World {
    /// Sleeps until something happens, or `until`.
    pub(super) fn sleep(&mut self, watch_input: bool, until: Option<Duration>) -> Vec<Happening> {
        self.note_report();
        for _ in 0..SPINS {
            let happened = self.happened(watch_input);
            if !happened.is_empty() || self.killed {
                self.judge.turns = 0;
                return happened;
            }
            if until.is_some_and(|until| until <= self.now) {
                self.turn_round();
                return happened;
            }
            self.pass_time(watch_input, until);
        }
        panic!("something is due, and does not happen: {:?}", self.children);
    }

    /// kclpipe did not sleep, and nothing happened.
    fn turn_round(&mut self) {
        self.judge.turns += 1;
        if self.judge.turns > TURNS {
            self.breaks("a hot loop: kclpipe turns round, and nobody sleeps");
        }
    }

    /// Time goes on until the next thing that happens, if that is not now.
    fn pass_time(&mut self, watch_input: bool, until: Option<Duration>) {
        let next = self.next_event(watch_input, until);
        if next.is_some_and(|next| next <= self.now) {
            return;
        }
        self.judge_sleep(next);
        let Some(next) = next else {
            return self.breaks("kclpipe sleeps, and nothing can wake it");
        };
        self.judge.turns = 0;
        self.now = next;
        self.oversleep();
        if self.now > LIFETIME {
            self.breaks("a life without an end");
        }
    }

    fn next_event(&self, watch_input: bool, until: Option<Duration>) -> Option<Duration> {
        let events = self.children.iter().filter_map(Child::next_event);
        let input = self.daemon.next_input().filter(|_| watch_input);
        events
            .chain(input)
            .chain(self.daemon.signal_at)
            .chain(self.next_host_slot())
            .chain(until)
            .min()
    }

    /// Everything that has happened, in the order in which it is told.
    fn happened(&mut self, watch_input: bool) -> Vec<Happening> {
        let mut happened = Vec::new();
        happened.extend(self.take_signal());
        happened.extend(self.take_host_slot().then_some(Happening::HostSlot));
        self.advance();
        let roles: Vec<Role> = self.children.iter().map(|child| child.role).collect();
        for role in &roles {
            let lines = self.see_lines(*role).into_iter();
            happened.extend(lines.map(|line| Happening::Line { role: *role, line }));
            happened.extend(self.take_fed(*role));
        }
        happened.extend(roles.into_iter().filter_map(|role| self.take_end(role)));
        let input = self.daemon.next_input().filter(|_| watch_input);
        let input = input.is_some_and(|at| at <= self.now);
        happened.extend(input.then_some(Happening::Input));
        happened
    }

    fn take_signal(&mut self) -> Option<Happening> {
        let now = self.now;
        self.daemon.signal_at.take_if(|at| *at <= now)?;
        self.tell('*', || "SIGTERM to kclpipe".to_owned());
        self.seen.hit("signal");
        self.judge_signal();
        Some(Happening::Signal(15))
    }

    /// The lines that a child has printed by now, but for one that comes just after this look.
    fn see_lines(&mut self, role: Role) -> Vec<Vec<u8>> {
        let now = self.now;
        let late = self.child(role).map(|child| child.hold_back(now));
        let lines = self.take_lines(role);
        if let Some((child, late)) = self.child(role).zip(late) {
            child.says.extend(late);
        }
        lines
    }

    /// The lines that a child has printed by now.
    pub(super) fn take_lines(&mut self, role: Role) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        while let Some((token, say)) = self.take_line(role) {
            let shown = if say.tokened { "@ " } else { "" };
            self.tell('*', || format!("{role:?} prints {shown}{}", say.text));
            self.judge_line(role, &say);
            lines.push(format!("{token}{}", say.text).into_bytes());
        }
        lines
    }

    /// The next line, and the token that it begins with.
    fn take_line(&mut self, role: Role) -> Option<(String, Say)> {
        let now = self.now;
        let child = self.child(role)?;
        child.says.front().filter(|say| say.at <= now)?;
        let say = child.says.pop_front()?;
        let token = if say.tokened {
            format!("{} ", child.token)
        } else {
            String::new()
        };
        Some((token, say))
    }

    /// What waited for room in a child's pipe is in it.
    fn take_fed(&mut self, role: Role) -> Option<Happening> {
        let stdin = &mut self.child(role)?.stdin;
        let fed = stdin.owes && stdin.is_fed();
        stdin.owes &= !fed;
        fed.then_some(Happening::Fed)
    }

    /// The end of a child whose output has been read.
    fn take_end(&mut self, role: Role) -> Option<Happening> {
        let now = self.now;
        let is_over = |child: &Child| matches!(child.phase, Phase::Ended(until) if until <= now);
        let mut children = self.children.iter();
        let place = children.position(|child| child.role == role && is_over(child))?;
        let child = self.children.remove(place);
        let report = child.report();
        self.tell('*', || {
            format!("{role:?} ends: {}, {} unread", report.ended, report.unread)
        });
        self.judge_end(&child, &report);
        Some(Happening::Ended { role, report })
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
}
