//! What children do: well as a rule, and badly in every way that there is, a few times for each record.

mod beside;
mod events;
mod stream;
mod trouble;
mod whole;
mod words;

use std::time::Duration;

use crate::handlers::{Child, RECOVERY};
use crate::world::{Rng, World};
pub(crate) use beside::{plan_hook, plan_letter};
pub(crate) use stream::{Work, begin_stream, nudge, work};
use stream::{die, leave};
use trouble::{Bad, trouble};
pub(crate) use whole::plan_whole;
pub(crate) use words::Word;
use words::{bare, say};

/// How long a handler takes.
fn span(world: &World, rng: &mut Rng) -> Duration {
    let slow = world.life.slow && world.now < RECOVERY;
    if slow && rng.chance(30) {
        rng.millis(0, 4_000)
    } else {
        rng.millis(0, 30)
    }
}

/// It ends only if it is made to.
fn hang(child: &mut Child, ignores_term: bool) {
    child.exit = None;
    child.ignores_term = ignores_term;
}
