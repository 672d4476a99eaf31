//! A handler of one record or of a batch: all that it does is known when it starts.

use std::time::Duration;

use kclpipe::testing::handler::Per;
use kclpipe::testing::outcome::Ended;

use super::events::named;
use super::words::reply;
use super::{Bad, Word, bare, hang, say, span, trouble};
use crate::draw::CHECKPOINT;
use crate::handlers::{Child, Frame};
use crate::world::{Rng, World};

/// Plans all that a handler does with these records.
pub(crate) fn plan_whole(world: &mut World, child: &mut Child, frames: &[Frame]) {
    let mut rng = world
        .dice
        .rng("act", &[u64::from(world.daemon.session), child.id]);
    let rng = &mut rng;
    let end = world.now + span(world, rng);
    let culprit = frames
        .iter()
        .position(|frame| trouble(world, frame.rec).is_some());
    let bad = culprit.and_then(|place| trouble(world, frames[place].rec));
    if let Some(place) = culprit {
        world.tries[frames[place].rec] += 1;
    }
    let end = match world.life.timeout.filter(|_| rng.chance(6)) {
        Some(limit) => work_long(child, world.now, limit),
        None => end,
    };
    child.exit = Some((end, Ended::Code(0)));
    child.stdin.pipe.clear();
    child.stdin.sent = 0;
    if rng.chance(10) {
        child.says.push_back(say(world.now, Word::Progress, None));
    }
    match (world.life.per, bad, culprit) {
        (Per::Record, Some(bad), _) => fail_record(child, bad, end, rng),
        (Per::Record, None, _) => succeed_with_record(child, end, rng),
        (_, Some(bad), Some(place)) if world.life.takes_replies() && rng.chance(50) => {
            let lowest = named(world, frames[place].rec, rng);
            fail_with_reply(child, bad, lowest, end, rng);
        }
        (_, Some(bad), Some(place)) => fail_batch(child, bad, place as u64, frames, end, rng),
        _ => succeed_with_batch(child, frames.len() as u64, end, rng),
    }
    if world.life.takes_replies() && bad.is_none() && rng.chance(50) {
        child.says.push_back(bare(reply(end, Word::Done, rng)));
    }
}

/// It replies to its batch, where it does not die or hang.
fn fail_with_reply(child: &mut Child, bad: Bad, lowest: Word, end: Duration, rng: &mut Rng) {
    match bad {
        Bad::Hangs { ignores_term } => hang(child, ignores_term),
        Bad::End(ended) => child.exit = Some((end, ended)),
        Bad::Word(_) | Bad::Invalid | Bad::Unread => {
            child.says.push_back(bare(reply(end, lowest, rng)));
        }
    }
}

/// It needs more time than the limit, and says in time that it is at work.
fn work_long(child: &mut Child, now: Duration, limit: Duration) -> Duration {
    child
        .says
        .push_back(say(now + limit * 3 / 4, Word::Progress, None));
    now + limit * 3 / 2
}

fn succeed_with_record(child: &mut Child, end: Duration, rng: &mut Rng) {
    match rng.below(12) {
        0 => child.says.push_back(say(end, Word::Ok, None)),
        1 => child.says.push_back(say(end, Word::Checkpoint, None)),
        2 => child.says.push_back(bare(say(end, Word::Checkpoint, None))),
        // Without the token these are text.
        3 => child.says.push_back(bare(say(
            end,
            rng.pick(&[Word::Reject, Word::Halt, Word::Fail]),
            None,
        ))),
        4 => child.exit = Some((end, Ended::Code(CHECKPOINT))),
        _ => {}
    }
}

fn fail_record(child: &mut Child, bad: Bad, end: Duration, rng: &mut Rng) {
    match bad {
        Bad::End(ended) => child.exit = Some((end, ended)),
        Bad::Word(word) => child.says.push_back(say(end, word, None)),
        Bad::Invalid => {
            child
                .says
                .push_back(say(end, rng.pick(&[Word::Upto, Word::Nonsense]), Some(3)))
        }
        Bad::Unread => child.exit = Some((end, Ended::Code(1))),
        Bad::Hangs { ignores_term } => hang(child, ignores_term),
    }
}

fn succeed_with_batch(child: &mut Child, count: u64, end: Duration, rng: &mut Rng) {
    match rng.below(10) {
        0 => child.says.push_back(bare(say(end, Word::Checkpoint, None))),
        1 => child
            .says
            .push_back(say(end, Word::Checkpoint, Some(rng.within(1, count)))),
        2 | 3 => {
            child
                .says
                .push_back(say(end, Word::Upto, Some(rng.within(0, count))));
        }
        4 => child.exit = Some((end, Ended::Code(CHECKPOINT))),
        5 => (1..=count).for_each(|n| child.says.push_back(say(end, Word::Ok, Some(n)))),
        _ => {}
    }
}

fn fail_batch(
    child: &mut Child,
    bad: Bad,
    before: u64,
    frames: &[Frame],
    end: Duration,
    rng: &mut Rng,
) {
    let named = rng.chance(50);
    if named || matches!(bad, Bad::Word(_)) {
        child.says.push_back(say(end, Word::Upto, Some(before)));
    }
    match bad {
        Bad::End(ended) => child.exit = Some((end, ended)),
        Bad::Word(Word::Halt) => child.says.push_back(say(end, Word::Halt, None)),
        Bad::Word(word) => {
            child.says.push_back(say(end, word, Some(before + 1)));
            child.exit = Some((end + rng.millis(0, 20), Ended::Code(0)));
        }
        Bad::Invalid => {
            let (word, n) = rng.pick(&[
                (Word::Ok, before + 9),
                (Word::Nonsense, 1),
                (Word::Upto, 99),
            ]);
            child.says.push_back(say(end, word, Some(n)));
            child.exit = Some((end + rng.millis(0, 200), Ended::Code(0)));
        }
        Bad::Unread => {
            let rest: u64 = frames[before as usize..]
                .iter()
                .map(|frame| frame.bytes)
                .sum();
            // A Lambda event is one line, of which some is left.
            let rest = rest.max(1) as usize;
            child.stdin.pipe = vec![b'x'; rest];
            child.stdin.sent = rest;
        }
        Bad::Hangs { ignores_term } => hang(child, ignores_term),
    }
}
