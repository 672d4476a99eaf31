//! One life: sessions of kclpipe, one after the other, until the shard's end is stored.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use kclpipe::testing::bridge::Bridge;
use kclpipe::testing::checkpoint::Checkpoints;
use kclpipe::testing::clock::Clock;
use kclpipe::testing::exit;
use kclpipe::testing::handler::{Handlers, Pool};
use kclpipe::testing::protocol::Wire;

use crate::coverage::Coverage;
use crate::daemon::{Pipes, Stored};
use crate::draw::Draw;
use crate::handlers::{LIFETIME, SimChildren};
use crate::judge::Counted;
use crate::world::{Shared, World};

/// A life that has not come to its end by then never will.
const SESSIONS: u32 = 400;

/// How a life went.
pub(crate) struct Outcome {
    pub(crate) broken: Option<String>,
    pub(crate) seen: Coverage,
    pub(crate) transcript: Vec<String>,
}

/// Runs the lives of these seeds; which states they reached.
///
/// # Errors
/// The first that breaks a rule, in its shortest form.
pub(crate) fn run(seeds: Range<u64>) -> Result<Coverage, String> {
    let mut seen = Coverage::default();
    for seed in seeds {
        let outcome = live(&Draw::new(seed), false);
        seen.add(&outcome.seen);
        if let Some(broken) = outcome.broken {
            let (draw, outcome) = shrink(Draw::new(seed));
            let shrunk = outcome.broken.unwrap_or_default();
            let transcript = outcome.transcript.join("\n");
            return Err(format!(
                "{transcript}\n{draw:?}\nseed {seed}: {broken}\nshrunk: {shrunk}\n"
            ));
        }
    }
    Ok(seen)
}

/// Runs a life to its end, or to the first rule that is broken.
pub(crate) fn live(draw: &Draw, told: bool) -> Outcome {
    let shared = Shared::new(World::new(draw.clone(), told));
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| sessions(&shared, draw))) {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        shared.with(|world| {
            world.killed = false;
            world.breaks(format!("a panic: {}", text.unwrap_or_default()));
        });
    }
    match shared.into_world() {
        Some(mut world) => Outcome {
            broken: world.broken.take(),
            seen: world.seen.clone(),
            transcript: world.transcript(),
        },
        None => Outcome {
            broken: Some("a part of the world was left behind".to_owned()),
            seen: Coverage::default(),
            transcript: Vec::new(),
        },
    }
}

/// A life that broke a rule, made as small as it can be while it still breaks one.
pub(crate) fn shrink(mut draw: Draw) -> (Draw, Outcome) {
    'smaller: loop {
        for simpler in draw.simpler() {
            if live(&simpler, false).broken.is_some() {
                draw = simpler;
                continue 'smaller;
            }
        }
        let outcome = live(&draw, true);
        return (draw, outcome);
    }
}

fn sessions(shared: &Shared, draw: &Draw) {
    loop {
        let over = shared.with(|world| {
            let endless = world.daemon.session >= SESSIONS || world.now > LIFETIME;
            if endless {
                world.killed = false;
                world.breaks("a life without an end");
            }
            world.broken.is_some() || world.daemon.stored == Stored::ShardEnd
        });
        if over {
            return;
        }
        session(shared, draw);
    }
}

fn session(shared: &Shared, draw: &Draw) {
    shared.with(World::begin_session);
    let (mut input, mut output) = (Pipes(shared.clone()), Pipes(shared.clone()));
    let mut children = SimChildren(shared.clone());
    let mut pool = Pool::new(draw.settings(), &mut children, shared);
    let checkpoints = Checkpoints::new(draw.strategy, draw.delays, draw.keepalive, shared.now());
    let wire = Wire::new(&mut input, &mut output);
    let storing = draw.stop_timeout;
    let exit = Bridge::new(wire, &mut pool, checkpoints, shared, storing)
        .drained_for(draw.drain)
        .run();
    let counters = pool.counters();
    let counted = Counted {
        done: counters.done,
        skipped: counters.skipped,
        letters: counters.dead_lettered,
        filtered: counters.filtered,
    };
    shared.with(|world| {
        if !world.killed {
            world.judge_exit(exit, counted);
        }
        world.now += Duration::from_millis(500);
    });
}

impl World {
    fn judge_exit(&mut self, exit: anyhow::Result<exit::Bridge>, counted: Counted) {
        self.tell('<', || format!("exit: {exit:?}"));
        if !self.children.is_empty() {
            self.breaks("kclpipe is gone, and a child of it still runs");
        }
        let judge = &self.judge;
        let over = judge.input_ended || judge.lease_gone || self.daemon.stored == Stored::ShardEnd;
        let right = match &exit {
            Ok(exit::Bridge::Halted) => judge.halted || judge.ends_unread,
            Ok(exit::Bridge::Done) => over,
            Ok(exit::Bridge::Protocol) => judge.shard_end_refused,
            _ => false,
        };
        if !right {
            self.breaks(format!("kclpipe ends with {exit:?}"));
        }
        if counted != self.judge.counted {
            self.breaks(format!(
                "kclpipe counts {counted:?} where {:?} is right",
                self.judge.counted
            ));
        }
    }
}
