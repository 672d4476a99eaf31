//! How handlers have trouble with records.

use kclpipe::testing::outcome::Ended;

use super::Word;
use crate::draw::HALT;
use crate::handlers::RECOVERY;
use crate::world::{Rng, World};

/// How a handler has trouble with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    End(Ended),
    Word(Word),
    Hangs { ignores_term: bool },
    Invalid,
    Unread,
}

impl World {
    /// Whether anything goes wrong now.
    pub(super) fn has_trouble(&self) -> bool {
        self.now < RECOVERY && self.life.trouble > 0
    }
}

/// The trouble that a handler has with this record now, if any.
pub(super) fn trouble(world: &World, rec: usize) -> Option<Bad> {
    if world.now >= RECOVERY {
        return None;
    }
    if let Some((_, code)) = world.life.outage.filter(|(until, _)| world.now < *until) {
        return Some(Bad::End(Ended::Code(code)));
    }
    let mut fate = world.dice.rng("fate", &[rec as u64]);
    let times = if fate.chance(world.life.trouble) {
        fate.pick(&[1, 1, 2, 4, 9])
    } else {
        0
    };
    let tries = world.tries[rec];
    (tries < times).then(|| {
        bad(
            &mut world.dice.rng("bad", &[rec as u64, tries]),
            world.life.timeout.is_some(),
        )
    })
}

fn bad(rng: &mut Rng, limited: bool) -> Bad {
    let code = |rng: &mut Rng, codes: &[u8]| Bad::End(Ended::Code(rng.pick(codes)));
    match rng.below(24) {
        0..=4 => code(rng, &[1, 2, 70, 255]),
        5 | 6 => code(rng, &[75, 69, 71, 74, 111]),
        7 | 8 => code(rng, &[65]),
        9 | 10 => code(rng, &[78, 64, 77, 126, 127]),
        11 | 12 => Bad::End(Ended::Signal(rng.pick(&[9, 11, 15, 1]))),
        13..=16 => Bad::Word(rng.pick(&[Word::Retry, Word::Reject, Word::Fail])),
        17 | 18 => Bad::Invalid,
        19 | 20 => Bad::Unread,
        21 | 22 if limited => Bad::Hangs {
            ignores_term: rng.chance(40),
        },
        21 | 22 => code(rng, &[1]),
        _ if rng.chance(50) => Bad::Word(Word::Halt),
        _ => code(rng, &[HALT]),
    }
}
