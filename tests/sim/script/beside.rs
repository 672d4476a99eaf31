//! What runs beside the handlers: the command that takes dead letters, and the hook.

use kclpipe::testing::outcome::Ended;

use super::{hang, span};
use crate::handlers::{Child, RECOVERY};
use crate::world::World;

/// What takes dead letters: it fails now and then.
pub(crate) fn plan_letter(world: &mut World, child: &mut Child) {
    let rng = &mut world
        .dice
        .rng("letter", &[u64::from(world.daemon.session), child.id]);
    let end = world.now + span(world, rng);
    let fails = world.now < RECOVERY && rng.chance(35);
    child.exit = Some((
        end,
        Ended::Code(if fails { rng.pick(&[1, 75, 65, 78]) } else { 0 }),
    ));
    let letter = std::mem::take(&mut child.stdin.pipe);
    child.stdin.sent = 0;
    if fails && rng.chance(30) {
        child.exit = Some((end, Ended::Code(0)));
        child.stdin.pipe = b"half".to_vec();
        child.stdin.sent = 4;
    }
    if fails && rng.chance(20) && world.life.timeout.is_some() {
        hang(child, rng.chance(50));
    }
    world.judge_letter_offered(&letter);
}

/// The user's hook: it fails at first, in some sessions.
pub(crate) fn plan_hook(world: &mut World, child: &mut Child, event: &str) {
    let rng = &mut world
        .dice
        .rng("hook", &[u64::from(world.daemon.session), child.id]);
    let end = world.now + span(world, rng);
    let fails = world.now < RECOVERY && rng.chance(35);
    child.exit = Some((end, Ended::Code(u8::from(fails))));
    if fails && rng.chance(20) && world.life.timeout.is_some() {
        hang(child, rng.chance(50));
    }
    world.judge_hook_start(event);
}
