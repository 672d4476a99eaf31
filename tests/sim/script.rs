//! What handlers do: well as a rule, and badly in every way that there is, a few times for each record.

use std::collections::VecDeque;
use std::time::Duration;

use kclpipe::testing::format::Format;
use kclpipe::testing::handler::Per;
use kclpipe::testing::outcome::Ended;

use crate::draw::{CHECKPOINT, HALT};
use crate::handlers::{Child, Frame, RECOVERY, Say, frames};
use crate::world::{Dice, Rng, World};

/// The words of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Ok,
    Upto,
    Checkpoint,
    Retry,
    Reject,
    Fail,
    Progress,
    Halt,
    Nonsense,
}

impl Word {
    fn text(self) -> &'static str {
        match self {
            Word::Ok => "ok",
            Word::Upto => "upto",
            Word::Checkpoint => "checkpoint",
            Word::Retry => "retry",
            Word::Reject => "reject",
            Word::Fail => "fail",
            Word::Progress => "progress",
            Word::Halt => "halt",
            Word::Nonsense => "okay",
        }
    }
}

/// How a handler has trouble with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bad {
    End(Ended),
    Word(Word),
    Hangs { ignores_term: bool },
    Invalid,
    Unread,
}

/// What a handler that lives on is about.
#[derive(Debug, Default)]
pub(crate) struct Work {
    /// It has read this, and not looked at it.
    mine: Vec<u8>,
    todo: VecDeque<Frame>,
    /// So many records are handled and not answered.
    group: u64,
    /// The number of the last record that it looked at.
    n: u64,
    /// Whether the last one that it looked at was the last before an answer.
    pub(crate) last: Option<bool>,
    read_at: Option<Duration>,
    work_at: Option<Duration>,
    hangs: bool,
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

/// The trouble that a handler has with this record now, if any.
fn trouble(world: &World, rec: usize) -> Option<Bad> {
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

/// How long a handler takes.
fn span(world: &World, rng: &mut Rng) -> Duration {
    let slow = world.life.slow && world.now < RECOVERY;
    if slow && rng.chance(30) {
        rng.millis(0, 4_000)
    } else {
        rng.millis(0, 30)
    }
}

fn say(at: Duration, word: Word, n: Option<u64>) -> Say {
    let text = match n {
        Some(n) => format!("{} {n}", word.text()),
        None => word.text().to_owned(),
    };
    Say {
        at,
        word: Some((word, n)),
        tokened: true,
        text,
    }
}

/// A handler of one record or of a batch: all that it does is known when it starts.
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
    child.exit = Some((end, Ended::Code(0)));
    child.stdin.pipe.clear();
    child.stdin.sent = 0;
    if rng.chance(10) {
        child.says.push_back(say(world.now, Word::Progress, None));
    }
    match (world.life.per, bad, culprit) {
        (Per::Record, Some(bad), _) => fail_record(child, bad, end, rng),
        (Per::Record, None, _) => succeed_with_record(child, end, rng),
        (_, Some(bad), Some(place)) => fail_batch(child, bad, place as u64, frames, end, rng),
        _ => succeed_with_batch(child, frames.len() as u64, end, rng),
    }
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

fn bare(say: Say) -> Say {
    Say {
        tokened: false,
        ..say
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

fn hang(child: &mut Child, ignores_term: bool) {
    child.exit = None;
    child.ignores_term = ignores_term;
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
            child.stdin.pipe = vec![b'x'; rest as usize];
            child.stdin.sent = rest as usize;
        }
        Bad::Hangs { ignores_term } => hang(child, ignores_term),
    }
}

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
    child.work.mine = std::mem::take(&mut child.stdin.pipe);
    child.stdin.sent = 0;
    let letter = child.work.mine.clone();
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
        read(&world.life.format, child, now);
    }
    if child.work.work_at.take_if(|at| *at <= now).is_some()
        && let Some(frame) = child.work.todo.pop_front()
    {
        handle(world, child, frame);
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
    let plain = matches!(world.life.per, Per::Shard { plain: true, .. });
    child.work.leaves = (plain && rng.chance(50)).then_some(0);
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

fn die(child: &mut Child, now: Duration, ended: Ended) {
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
    let odd = world.now < RECOVERY && world.life.trouble > 0;
    if odd && rng.chance(3) {
        child.work.hangs = true;
        let at = now + rng.millis(0, 900);
        return child.says.push_back(say(at, Word::Halt, None));
    }
    if odd && rng.chance(10) {
        child.work.hangs = true;
        child.exit = Some((
            now + rng.up_to(&[30, 900]),
            Ended::Code(rng.pick(&[0, 1, 75, 78, HALT, HALT])),
        ));
    }
}
