//! A function that stays warm: it reads one event after the other, and answers each as a whole or by numbers.

use std::time::Duration;

use kclpipe::testing::outcome::Ended;

use super::words::reply;
use super::{Bad, Word, bare, die, leave, say, trouble};
use crate::handlers::{Child, Frame, Say, frames};
use crate::world::{Rng, World};

/// It reads what is there, and plans when it is through with it.
pub(super) fn read(world: &mut World, child: &mut Child) {
    let now = world.now;
    if child.work.mine.is_empty()
        && let Some(rec) = answered_unread(world, child)
    {
        // Else the same would happen again and again, until all handlers recover.
        world.tries[rec] += 1;
        child.work.hangs = true;
        let rng = &mut dice(world, child, "early");
        return child.says.push_back(reply(now, Word::Done, rng));
    }
    let read = child.stdin.read();
    child.work.mine.extend(read);
    let event = frames(&world.life.format, &mut child.work.mine);
    child.work.todo.extend(event);
    if !child.stdin.pipe.is_empty() {
        child.work.read_at = Some(now + Duration::from_millis(1));
    }
}

/// The record for whose trouble it answers the event that it could read now without having read it, if it does.
fn answered_unread(world: &World, child: &Child) -> Option<usize> {
    let event = frames(&world.life.format, &mut child.stdin.pipe.clone());
    let bad = |frame: &Frame| Some((frame.rec, trouble(world, frame.rec)?));
    let (rec, first) = event.iter().find_map(bad)?;
    (first == Bad::Unread).then_some(rec)
}

fn dice(world: &World, child: &Child, about: &'static str) -> Rng {
    let numbers = [u64::from(world.daemon.session), child.id, child.work.n];
    world.dice.rng(about, &numbers)
}

/// It handles an event.
pub(super) fn handle(world: &mut World, child: &mut Child) {
    let event: Vec<Frame> = child.work.todo.drain(..).collect();
    child.work.n += 1;
    let rng = &mut dice(world, child, "event");
    let first = child.says.len();
    let culprit = event
        .iter()
        .position(|frame| trouble(world, frame.rec).is_some());
    let bad = culprit.and_then(|place| Some((place, trouble(world, event[place].rec)?)));
    match bad {
        None => succeed(world, child, event.len() as u64, rng),
        Some((place, bad)) => {
            world.tries[event[place].rec] += 1;
            fail(world, child, (place, &event), bad, rng);
        }
    }
    if world.life.plain() && rng.chance(50) {
        // Without the token nonsense is log output, and the event would wait for its answer.
        let said = child.says.iter_mut().skip(first);
        let said = said.filter(|said| !matches!(said.word, Some((Word::Nonsense, _))));
        said.for_each(|said| *said = bare(said.clone()));
    }
}

fn succeed(world: &World, child: &mut Child, count: u64, rng: &mut Rng) {
    let now = world.now;
    let mut says = |said: Say| child.says.push_back(said);
    let part = rng.within(0, count - 1);
    match rng.below(10) {
        0 => says(say(now, Word::Ok, None)),
        1 => says(say(now, Word::Checkpoint, None)),
        2 => (1..=count).for_each(|n| says(say(now, Word::Ok, Some(n)))),
        3 => says(say(now, Word::Upto, Some(count))),
        4 | 5 => {
            let word = rng.pick(&[Word::Upto, Word::Upto, Word::Checkpoint]);
            says(say(
                now,
                word,
                Some(part.max(u64::from(word != Word::Upto))),
            ));
            if count > 1 || word == Word::Upto {
                says(reply(now + rng.millis(0, 20), Word::Done, rng));
            }
        }
        _ => says(reply(now, Word::Done, rng)),
    }
    if world.has_trouble() && rng.chance(4) {
        // As two handlers of one input would.
        let again = reply(now + rng.millis(0, 50), Word::Done, rng);
        return child.says.push_back(again);
    }
    leave(world, child, rng);
}

fn fail(
    world: &World,
    child: &mut Child,
    (place, event): (usize, &[Frame]),
    bad: Bad,
    rng: &mut Rng,
) {
    let now = world.now;
    let before = place as u64;
    match bad {
        Bad::Word(Word::Halt) => child.says.push_back(say(now, Word::Halt, None)),
        Bad::Word(word) => match rng.below(4) {
            0 => child.says.push_back(say(now, word, None)),
            1 => fail_by_number(child, now, word, (before, event.len() as u64), rng),
            2 => child.says.push_back(say(now, Word::Nonsense, None)),
            _ => {
                let lowest = named(world, event[place].rec, rng);
                child.says.push_back(reply(now, lowest, rng));
            }
        },
        Bad::End(ended) => {
            if rng.chance(30) {
                child.says.push_back(say(now, Word::Upto, Some(before)));
            }
            die(child, now, ended);
        }
        Bad::Unread => die(child, now, Ended::Code(0)),
        Bad::Hangs { ignores_term } => {
            child.work.hangs = true;
            child.ignores_term = ignores_term;
        }
        Bad::Invalid => {
            let (word, n) = rng.pick(&[(Word::Ok, Some(before + 50)), (Word::Upto, None)]);
            child.work.hangs = true;
            child.says.push_back(say(now, word, n));
        }
    }
}

/// What a reply calls a record.
pub(super) fn named(world: &World, rec: usize, rng: &mut Rng) -> Word {
    let (sequence_number, place) = world.daemon.records[rec].pos;
    Word::Lowest(sequence_number, rng.chance(60).then_some(place))
}

/// It says how far it came, what is the matter with the next one, and goes on where there are others.
fn fail_by_number(
    child: &mut Child,
    now: Duration,
    word: Word,
    (before, count): (u64, u64),
    rng: &mut Rng,
) {
    child.says.push_back(say(now, Word::Upto, Some(before)));
    child.says.push_back(say(now, word, Some(before + 1)));
    if before + 1 < count {
        let rest = reply(now + rng.millis(1, 20), Word::Done, rng);
        child.says.push_back(rest);
    }
}
