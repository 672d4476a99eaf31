//! What must hold, judged from what the world itself sent and saw: kclpipe is never asked.
//!
//! It keeps book of what kclpipe can know: which records were given to whom, what became of them, when each may be
//! tried again. It is written from the documents, not from the source.

mod batches;
mod beside;
mod checkpoints;
mod due;
mod ends;
mod given;
mod held;
mod limits;
mod owed;
mod records;
mod rounds;
mod runs;
mod stops;
mod windows;
mod words;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use kclpipe::testing::format::Format;
use kclpipe::testing::handler::Role;
use kclpipe::testing::outcome::Ended;

use crate::daemon::{Pos, Read, Stored};
use crate::draw::{CHECKPOINT, HALT, Initial};
use crate::script::Word;
use crate::slots::HostSlot;
use crate::world::World;

/// What the daemon answered to a checkpoint.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ack {
    pub(crate) asked: Option<Pos>,
    pub(crate) error: Option<&'static str>,
}

/// What an exit code or a word means (handlers.md, "Exit codes").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Done,
    Checkpoint,
    Reject,
    Retry,
    Fail,
    Broken,
    Halt,
}

impl Class {
    fn of(ended: Ended) -> Class {
        match ended {
            Ended::Code(0) => Class::Done,
            Ended::Code(CHECKPOINT) => Class::Checkpoint,
            Ended::Code(HALT) => Class::Halt,
            Ended::Code(65) => Class::Reject,
            Ended::Code(69 | 71 | 74 | 75 | 111) | Ended::Signal(1 | 2 | 15) => Class::Retry,
            Ended::Code(64 | 77 | 78 | 126 | 127) => Class::Broken,
            _ => Class::Fail,
        }
    }

    fn is_good(self) -> bool {
        matches!(self, Class::Done | Class::Checkpoint)
    }
}

/// Why kclpipe has to stop a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    TimeLimit,
    Invalid,
    OutOfOrder,
    Withdrawn,
}

/// One record of those that were taken in.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) rec: usize,
    /// Where it begins in all lines that were taken in, and when that was.
    at: u64,
    taken_in: Duration,
    /// The run that it came back from.
    run: Option<u64>,
    pub(crate) done: bool,
    /// Its letter waits, with these numbers of attempts and failures.
    pub(crate) letter: Option<(u32, u32)>,
    pub(crate) handed: u32,
    charged: u32,
    unsuccessful: u32,
    /// When its first attempt went wrong.
    since: Option<Duration>,
    /// It is suspected, and must stand alone.
    alone: bool,
    /// It is the first of a lease at LATEST.
    first: bool,
    retry_at: Duration,
    /// The child that has it.
    out: Option<u64>,
}

/// What a handler has.
#[derive(Clone, Debug)]
pub(crate) struct Hand {
    pub(crate) id: u64,
    pub(crate) role: Role,
    pub(crate) places: Vec<usize>,
    given: u64,
    answered: u64,
    /// How many it was given, and had answered, when it got the batch that it has.
    began: (u64, u64),
    fed: u64,
    alive: Duration,
    said: Option<Word>,
    nonsense: bool,
    asked: bool,
    /// What it replied last to its batch, as Lambda functions do.
    reply: Option<Word>,
    must_stop: Option<Why>,
    stopped: Option<Why>,
    /// The run that its records came back from.
    run: Option<u64>,
}

/// What kclpipe's own counters must say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) done: u64,
    pub(crate) skipped: u64,
    pub(crate) letters: u64,
    pub(crate) filtered: u64,
}

/// When a slot may have a new handler.
#[derive(Clone, Copy, Debug, Default)]
struct Rest {
    deaths: u32,
    until: Duration,
}

/// What is known of one kclpipe.
#[derive(Default)]
pub(crate) struct Judge {
    pub(crate) begun_at: Duration,
    /// Children of all sessions.
    pub(crate) started: u64,
    pub(crate) turns: u32,
    pub(crate) input_ended: bool,
    pub(crate) last_sign: Duration,
    /// Records that are done or disposed of, of the whole stream.
    pub(crate) known: Vec<bool>,
    /// Every record that was taken in since nothing was held last, in order.
    pub(crate) batch: Vec<Place>,
    /// The last place of each read.
    read_ends: Vec<usize>,
    /// So many bytes of lines were taken in.
    taken_in: u64,
    /// When something was answered last.
    answered: Duration,
    last_read: Duration,
    /// Nothing more was there at this time.
    caught_up: Option<Duration>,
    /// The disk has not taken a read that is held.
    pub(crate) spool_failed: bool,
    last_run: u64,
    /// Of how many records of a run one failed.
    suspects: BTreeMap<u64, usize>,
    /// The aligned batches that began, by their places.
    aligned: Vec<Range<usize>>,
    /// Records of aligned batches that are not the last of theirs.
    borders: Vec<Range<usize>>,
    /// A handler's batch is done, which has not moved the end yet.
    batch_done: bool,
    /// So many places are done and may be reported, and are reported.
    through: usize,
    reported: usize,
    /// When the end of a handler's batch was reported last.
    reported_at: Option<Duration>,
    /// A checkpoint is due through here, for a batch is done.
    batch_end: Option<usize>,
    /// The daemon said that the shard has ended.
    shard_over: bool,
    /// Records were dropped at a request to shut down.
    dropped: bool,
    /// The shard ended after that.
    pub(crate) ends_unread: bool,
    /// Handlers are stopped then.
    drain_until: Option<Duration>,
    /// It leaves as soon as what is done is stored.
    leaves: bool,
    /// Without an action kclpipe leaves then.
    leaves_at: Option<Duration>,
    /// All was done then that was held at the shard's end.
    finished_at: Option<Duration>,
    /// When the open action came.
    opened: Duration,
    pub(crate) hands: Vec<Hand>,
    rests: Vec<Rest>,
    breaker: u32,
    works: bool,
    broken_until: Duration,
    paused_until: Duration,
    /// The rate allows no handler before.
    rate_until: Option<Duration>,
    pub(crate) halted: bool,
    pub(crate) withdrawn: bool,
    finishing: bool,
    letters_until: Duration,
    letter_fails: bool,
    offered: Option<usize>,
    letter_withdrawn: bool,
    letter_failures: u32,
    hook_until: Duration,
    hook_failures: u32,
    pub(crate) hook_running: Option<String>,
    pub(crate) hook_done: bool,
    // Checkpoints.
    stored: Option<Pos>,
    last: Duration,
    end: Option<usize>,
    /// When that end moved last.
    moved_at: Option<Duration>,
    requests: Vec<usize>,
    requested: Option<usize>,
    failures: u32,
    not_before: Duration,
    owed_from: Duration,
    /// The checkpoint under way was asked for when all that was held at the shard's end was done.
    asked_at_end: bool,
    /// A failure that may count or not.
    uncounted: u32,
    in_round: bool,
    /// A round that goes on or not, nobody knows: nothing is due for it, and it may be waited for.
    perhaps_in_round: bool,
    refused: Option<Pos>,
    draining: Duration,
    unprotected: bool,
    pub(crate) lease_gone: bool,
    last_chance: bool,
    round_failed: bool,
    hook_begun: bool,
    pub(crate) counted: Counted,
    pub(crate) shard_end_refused: bool,
}

impl World {
    pub(crate) fn begin_judging(&mut self) {
        let started = self.judge.started;
        let at_latest = self.daemon.stored == Stored::Sentinel(Initial::Latest);
        let stored = match self.daemon.stored {
            Stored::At(pos) => Some(pos),
            _ => None,
        };
        self.children.clear();
        self.host_slot = HostSlot::None;
        self.judge = Judge {
            started,
            begun_at: self.now,
            last_sign: self.now,
            known: vec![false; self.daemon.records.len()],
            rests: vec![Rest::default(); self.life.jobs],
            last: self.now,
            stored,
            unprotected: at_latest && !self.life.strategy.manual,
            ..Judge::default()
        };
    }

    /// The delay after so many failures (handlers.md, "What becomes of a record").
    fn delay(&self, failures: u32) -> Duration {
        let delays = self.life.delays;
        let doubled = delays.first * 2u32.pow(failures.clamp(1, 20) - 1);
        doubled.min(delays.longest)
    }

    fn hand(&mut self, role: Role) -> Option<&mut Hand> {
        self.judge.hands.iter_mut().find(|hand| hand.role == role)
    }

    /// kclpipe has read an action.
    pub(crate) fn judge_action(&mut self, name: &'static str, read: Read) {
        self.tell('>', || {
            format!("{name} {:?}, {} ms behind", read.records, read.behind)
        });
        self.judge.last_sign = self.now;
        self.daemon.heard_at = self.now;
        self.judge.opened = self.now;
        self.judge.leaves_at = None;
        let works = self.judge.hands.iter().any(|hand| !hand.places.is_empty());
        match name {
            "initialize" => {}
            "processRecords" => self.begin_read(read),
            "shutdownRequested" => self.begin_drain(works),
            "leaseLost" | "shutdown" if !self.daemon.shard_ended => {
                if works {
                    self.seen.hit("leaseLost in mid-run");
                }
                self.withdraw();
            }
            _ if self.judge.halted => self.give_last_chance(),
            _ => self.begin_shard_end(),
        }
        if self.judge.halted {
            self.seen.hit("halt with no action open");
            self.judge.last_chance = true;
            self.judge.leaves = true;
        }
    }

    pub(crate) fn is_unfit(&self, rec: usize) -> bool {
        let payload = &self.daemon.records[rec].payload;
        self.life.format == Format::Lines && payload.contains('\n')
    }
}

impl Place {
    fn of(rec: usize) -> Place {
        Place {
            rec,
            at: 0,
            taken_in: Duration::ZERO,
            run: None,
            done: false,
            letter: None,
            handed: 0,
            charged: 0,
            unsuccessful: 0,
            since: None,
            alone: false,
            first: false,
            retry_at: Duration::ZERO,
            out: None,
        }
    }

    fn goes_alone(&self) -> bool {
        self.alone || self.first
    }
}

impl Judge {
    /// A restart would skip what was delivered.
    pub(crate) fn is_unprotected(&self) -> bool {
        self.unprotected && self.stored.is_none()
    }
}
