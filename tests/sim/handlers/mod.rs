//! Scripted children in virtual time: what kclpipe has in place of processes.

mod child;
mod frames;
mod sleeping;
mod starting;
mod stdin;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};

use kclpipe::testing::dead_letter::Appended;
use kclpipe::testing::handler::{Children, Happening, Role};
use kclpipe::testing::process::{Command, Input, Spawn, Stop};
use kclpipe::testing::record::Batch;

use crate::world::{Shared, World};
use child::Phase;
pub(crate) use child::{Child, Say};
pub(crate) use frames::{Frame, frames};
use stdin::Stdin;

/// From then on handlers, hooks and files do as they should.
pub(crate) const RECOVERY: Duration = Duration::from_secs(20 * 60);

/// A life that has not come to its end by then never will.
pub(crate) const LIFETIME: Duration = Duration::from_secs(12 * 3600);

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
        self.0.with(World::has_host_slot)
    }

    fn leave_host_slot(&mut self) {
        self.0.with(World::leave_host_slot);
    }

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

    fn unread(&self, role: Role) -> u64 {
        self.0.with(|world| {
            let child = world.child(role);
            child.map_or(0, |child| child.stdin.unread())
        })
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

impl World {
    pub(crate) fn child(&mut self, role: Role) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.role == role)
    }
}
