//! A handler that lives on: it reads when it gets to it, and answers record by record or in groups.

use std::collections::VecDeque;
use std::time::Duration;

use kclpipe::testing::format::Format;
use kclpipe::testing::outcome::Ended;

use super::{Bad, Word, bare, events, say, span, trouble};
use crate::draw::HALT;
use crate::handlers::{Child, Frame, RECOVERY, Say, frames};
use crate::world::{Dice, Rng, World};

/// What a handler that lives on is about.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// It has read this, and not looked at it.
    pub(super) mine: Vec<u8>,
    pub(super) todo: VecDeque<Frame>,
    /// So many records are handled and not answered.
    group: u64,
    /// The number of the last record that it looked at.
    pub(super) n: u64,
    /// Whether the last one that it looked at was the last before an answer.
    pub(crate) last: Option<bool>,
    pub(super) read_at: Option<Duration>,
    work_at: Option<Duration>,
    pub(super) hangs: bool,
    /// It ends by itself once it has answered.
    leaves: Option<u8>,
}

impl Work {
    pub(crate) fn next_event(&self) -> Option<Duration> {
        let times = self.read_at.into_iter().chain(self.work_at);
        times.filter(|_| !self.hangs).min()
    }

    /// Whether it has handled all that it has read, and keeps an answer back for what was promised.
    pub(crate) fn waits_for_more(&self) -> bool {
        !self.hangs && self.mine.is_empty() && self.todo.is_empty() && self.group > 0
    }
}

/// A handler that lives on begins.
pub(crate) fn begin_stream(world: &mut World, child: &mut Child) {
    let rng = &mut world
        .dice
        .rng("stream", &[u64::from(world.daemon.session), child.id]);
    if world.life.trouble > 0 && world.now < RECOVERY && rng.chance(4) {
        let code = rng.pick(&[0, 1, 78, 65, 75]);
        child.exit = Some((world.now + rng.millis(0, 50), Ended::Code(code)));
        child.work.hangs = true;
        return;
    }
    child.work.read_at = Some(world.now + rng.millis(0, 40));
}

/// Its input has changed.
pub(crate) fn nudge(child: &mut Child, now: Duration, dice: Dice) {
    if child.work.read_at.is_none() && !child.work.hangs {
        let pause = dice
            .rng("nudge", &[child.id, child.work.n])
            .pick(&[0, 0, 0, 3, 40]);
        child.work.read_at = Some(now + Duration::from_millis(pause));
    }
}

/// A handler that lives on does what is due.
pub(crate) fn work(world: &mut World, child: &mut Child) {
    if !world.life.lives_on() || child.work.hangs || child.ended.is_some() {
        return;
    }
    let now = world.now;
    if child.work.read_at.take_if(|at| *at <= now).is_some() {
        if world.life.gives_events() {
            events::read(world, child);
        } else {
            read(&world.life.format, child, now);
        }
    }
    if child.work.work_at.take_if(|at| *at <= now).is_some() {
        if world.life.gives_events() {
            events::handle(world, child);
        } else if let Some(frame) = child.work.todo.pop_front() {
            handle(world, child, frame);
        }
    }
    plan_next(world, child);
}

fn read(format: &Format, child: &mut Child, now: Duration) {
    let read = child.stdin.read();
    child.work.mine.extend(read);
    let frames = frames(format, &mut child.work.mine);
    child.work.todo.extend(frames);
    if !child.stdin.pipe.is_empty() {
        child.work.read_at = Some(now + Duration::from_millis(1));
    }
}

fn plan_next(world: &World, child: &mut Child) {
    let work = &mut child.work;
    if work.hangs || child.exit.is_some() {
        return;
    }
    let rng = &mut world
        .dice
        .rng("pace", &[u64::from(world.daemon.session), child.id, work.n]);
    if work.work_at.is_none() && !work.todo.is_empty() {
        work.work_at = Some(world.now + span(world, rng));
    }
    if work.todo.is_empty() && child.stdin.pipe.is_empty() && child.stdin.ends() {
        if work.group > 0 {
            let (n, inflight) = (work.n, world.life.inflight());
            work.group = 0;
            answer(child, world.now, Word::Upto, n, inflight, rng);
        }
        let odd = world.now < RECOVERY && world.life.trouble > 0 && rng.chance(5);
        child.ignores_term = odd && rng.chance(30);
        let at = if child.ignores_term {
            Duration::from_secs(3_000)
        } else {
            rng.millis(0, 40)
        };
        child.exit = Some((world.now + at, Ended::Code(u8::from(odd))));
    }
}

fn answer(child: &mut Child, at: Duration, word: Word, n: u64, inflight: usize, rng: &mut Rng) {
    let n = Some(n).filter(|_| inflight > 1 || rng.chance(50));
    let said = say(at, word, n);
    child.says.push_back(if child.work.leaves == Some(0) {
        bare(said)
    } else {
        said
    });
}

/// It looks at one record.
fn handle(world: &mut World, child: &mut Child, frame: Frame) {
    let (now, inflight) = (world.now, world.life.inflight());
    child.work.n += 1;
    let n = child.work.n;
    let rng = &mut world
        .dice
        .rng("handle", &[u64::from(world.daemon.session), child.id, n]);
    child.work.last = frame.last;
    child.work.leaves = (world.life.plain() && rng.chance(50)).then_some(0);
    let Some(bad) = trouble(world, frame.rec) else {
        return handle_well(world, child, frame, rng);
    };
    world.tries[frame.rec] += 1;
    match bad {
        Bad::Word(Word::Halt) => child.says.push_back(say(now, Word::Halt, None)),
        Bad::Word(word) => {
            if std::mem::take(&mut child.work.group) > 0 {
                answer(child, now, Word::Upto, n - 1, inflight, rng);
            }
            answer(child, now, word, n, inflight, rng);
        }
        Bad::End(ended) => die(child, now, ended),
        Bad::Unread => die(child, now, Ended::Code(0)),
        Bad::Hangs { ignores_term } => {
            child.work.hangs = true;
            child.ignores_term = ignores_term;
        }
        Bad::Invalid => {
            child.work.hangs = true;
            child.says.push_back(say(
                now,
                rng.pick(&[Word::Nonsense, Word::Ok]),
                Some(n + 50),
            ));
        }
    }
}

/// It ends, with an answer that it owes or without.
pub(super) fn die(child: &mut Child, now: Duration, ended: Ended) {
    child.work.hangs = true;
    child.exit = Some((now, ended));
}

fn handle_well(world: &World, child: &mut Child, frame: Frame, rng: &mut Rng) {
    let (now, inflight) = (world.now, world.life.inflight());
    child.work.group += 1;
    let n = child.work.n;
    let owes = frame.last != Some(false) || inflight == 1;
    if !owes && rng.chance(50) {
        return;
    }
    if rng.chance(5) {
        child.says.push_back(say(now, Word::Progress, None));
    }
    let group = std::mem::take(&mut child.work.group);
    let single = if group == 1 { Word::Ok } else { Word::Upto };
    let word = if rng.chance(8) {
        Word::Checkpoint
    } else {
        single
    };
    answer(child, now, word, n, inflight, rng);
    leave(world, child, rng);
}

/// Now and then it ends after an answer, or halts.
pub(super) fn leave(world: &World, child: &mut Child, rng: &mut Rng) {
    let (now, odd) = (world.now, world.has_trouble());
    if odd && rng.chance(3) {
        child.work.hangs = true;
        let late = rng.chance(30);
        let at = now + rng.millis(0, if late { 0 } else { 900 });
        let halt = say(at, Word::Halt, None);
        return child.says.push_back(Say { late, ..halt });
    }
    if odd && rng.chance(10) {
        child.work.hangs = true;
        child.exit = Some((
            now + rng.up_to(&[30, 900]),
            Ended::Code(rng.pick(&[0, 1, 75, 78, HALT, HALT])),
        ));
    }
}
