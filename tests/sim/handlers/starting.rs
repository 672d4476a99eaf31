//! How a child starts, and gets more to read.

use kclpipe::testing::handler::Role;

use super::{Child, Frame, RECOVERY, frames};
use crate::script;
use crate::world::World;

impl World {
    pub(super) fn start(
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
        let numbers = [u64::from(self.daemon.session), child.id];
        let mut rng = self.dice.rng("start", &numbers);
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
        child.stdin.write(bytes);
        self.begin(child, &frames, event);
        Ok(())
    }

    /// What it will do is planned, and it runs.
    fn begin(&mut self, mut child: Child, frames: &[Frame], event: &str) {
        match child.role {
            Role::Handler(_) => self.begin_handler(&mut child, frames),
            Role::DeadLetter => script::plan_letter(self, &mut child),
            Role::Hook => script::plan_hook(self, &mut child, event),
        }
        self.children.push(child);
        self.children.sort_by_key(|child| child.role);
    }

    fn begin_handler(&mut self, child: &mut Child, frames: &[Frame]) {
        self.use_limits(frames.len());
        if self.life.lives_on() {
            script::begin_stream(self, child);
        } else {
            script::plan_whole(self, child, frames);
        }
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

    pub(super) fn feed(&mut self, role: Role, bytes: Vec<u8>) {
        let frames = frames(&self.life.format, &mut bytes.clone());
        let label = self.label(&frames);
        self.tell('<', || format!("feed {role:?} {label}"));
        self.judge_feed(role, &frames, bytes.len());
        if self.life.gives_events() {
            self.use_limits(frames.len());
        }
        if let Some(child) = self.child(role) {
            child.stdin.write(bytes);
            if child.stdin.owes {
                self.seen.hit("pipe is full");
            }
        }
        self.nudge(role);
    }

    /// A handler that lives on may have something to read.
    pub(super) fn nudge(&mut self, role: Role) {
        let (now, dice) = (self.now, self.dice);
        if self.life.lives_on()
            && matches!(role, Role::Handler(_))
            && let Some(child) = self.child(role)
        {
            script::nudge(child, now, dice);
        }
    }
}
