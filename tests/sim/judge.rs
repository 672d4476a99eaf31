//! What must hold, judged from what the world itself sent and saw: kclpipe is never asked.
//!
//! The first half keeps book of what kclpipe can know: which records were given to whom, what became of them,
//! when each may be tried again. It is written from the documents, not from the source.

use std::time::Duration;

use kclpipe::testing::handler::{ExitReport, Per, Role};
use kclpipe::testing::outcome::Ended;

use crate::daemon::Pos;
use crate::draw::{CHECKPOINT, HALT, Initial, Policy};
use crate::handlers::{Child, Frame, Say};
use crate::script::Word;
use crate::world::{World, stamp};

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

/// One record of the batch under way.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) rec: usize,
    pub(crate) done: bool,
    /// Its letter waits, with these numbers of attempts and failures.
    pub(crate) letter: Option<(u32, u32)>,
    pub(crate) handed: u32,
    charged: u32,
    unsuccessful: u32,
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
    fed: u64,
    alive: Duration,
    said: Option<Word>,
    nonsense: bool,
    asked: bool,
    must_stop: Option<Why>,
    stopped: Option<Why>,
}

/// What kclpipe's own counters must say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) done: u64,
    pub(crate) skipped: u64,
    pub(crate) letters: u64,
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
    pub(crate) batch: Vec<Place>,
    pub(crate) hands: Vec<Hand>,
    rests: Vec<Rest>,
    breaker: u32,
    works: bool,
    broken_until: Duration,
    paused_until: Duration,
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
    wishes: Vec<usize>,
    wished: Option<usize>,
    failures: u32,
    not_before: Duration,
    in_round: bool,
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
        let at_latest = self.daemon.stored == crate::daemon::Stored::Sentinel(Initial::Latest);
        let stored = match self.daemon.stored {
            crate::daemon::Stored::At(pos) => Some(pos),
            _ => None,
        };
        self.children.clear();
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
    pub(crate) fn judge_action(&mut self, name: &'static str, batch: Vec<usize>) {
        self.tell('>', || format!("{name} {batch:?}"));
        self.judge.last_sign = self.now;
        self.daemon.heard_at = self.now;
        let ends = self.daemon.shard_ended;
        match name {
            "initialize" => {}
            "processRecords" => self.begin_batch(batch),
            "shutdownRequested" => {
                self.judge.finishing = true;
                self.give_last_chance();
            }
            "leaseLost" | "shutdown" if !ends => self.withdraw(),
            _ if self.judge.halted => self.give_last_chance(),
            _ => {
                self.judge.finishing = true;
                self.give_last_chance();
                let unstored =
                    self.judge.stored < self.judge.end.map(|end| self.daemon.records[end].pos);
                if unstored {
                    self.seen.hit("held records at a shard's end");
                }
            }
        }
        if self.judge.halted {
            self.seen.hit("halt with no action open");
            self.judge.last_chance = true;
        }
    }

    fn begin_batch(&mut self, batch: Vec<usize>) {
        if self.judge.lease_gone || self.judge.halted {
            return;
        }
        let place = |rec: &usize| Place {
            rec: *rec,
            done: false,
            letter: None,
            handed: 0,
            charged: 0,
            unsuccessful: 0,
            alone: false,
            first: false,
            retry_at: Duration::ZERO,
            out: None,
        };
        self.judge.batch = batch.iter().map(place).collect();
        if self.judge.is_unprotected()
            && let Some(first) = self.judge.batch.first_mut()
        {
            first.first = true;
            self.seen.hit("LATEST: the first record alone");
        }
        self.reject_unfit();
    }

    /// A line feed within a payload cannot stand in `lines`: such a record is rejected when its turn comes.
    fn reject_unfit(&mut self) {
        if self.life.format == kclpipe::testing::format::Format::Lines
            && self
                .judge
                .batch
                .iter()
                .any(|place| self.is_unfit(place.rec))
        {
            self.seen.hit("payload that does not fit the format");
        }
    }

    pub(crate) fn is_unfit(&self, rec: usize) -> bool {
        let payload = &self.daemon.records[rec].payload;
        self.life.format == kclpipe::testing::format::Format::Lines && payload.contains('\n')
    }

    fn give_last_chance(&mut self) {
        self.judge.round_failed = false;
        self.judge.failures = 0;
        self.judge.not_before = Duration::ZERO;
    }

    /// Nothing of what handlers do counts any more.
    fn withdraw(&mut self) {
        self.judge.withdrawn = true;
        self.judge.lease_gone = true;
        self.judge.batch.clear();
        (self.judge.hook_until, self.judge.hook_failures) = (Duration::ZERO, 0);
    }

    pub(crate) fn judge_signal(&mut self) {
        let until = self.now + self.life.stop_timeout;
        self.judge.paused_until = until;
        self.judge.draining = until;
        self.judge.last_sign = self.now;
    }

    /// A handler is about to start with these records.
    pub(crate) fn judge_start(
        &mut self,
        child: &Child,
        frames: &[Frame],
        attempt: Option<u32>,
        bytes: usize,
    ) {
        self.judge.last_sign = self.now;
        let Role::Handler(slot) = child.role else {
            return;
        };
        if frames.is_empty() {
            return self.breaks("a handler starts without a record");
        }
        if self.now < self.judge.rests[slot].until {
            self.breaks("a handler starts before its delay is over");
        }
        self.judge.hands.push(Hand {
            id: child.id,
            role: child.role,
            places: Vec::new(),
            given: 0,
            answered: 0,
            fed: 0,
            alive: self.now,
            said: None,
            nonsense: false,
            asked: false,
            must_stop: None,
            stopped: None,
        });
        self.judge_feed(child.role, frames, bytes);
        let first = self
            .judge
            .hands
            .last()
            .and_then(|hand| hand.places.first().copied());
        let handed = first.map(|place| self.judge.batch[place].handed + 1);
        if attempt.is_some() && attempt != handed {
            self.breaks(format!(
                "KCLPIPE_ATTEMPT is {attempt:?} where {handed:?} is right"
            ));
        }
        if let Per::Batch {
            bytes: Some(most), ..
        } = self.life.per
        {
            let payload: usize = frames
                .iter()
                .map(|frame| self.daemon.records[frame.rec].payload.len())
                .sum();
            if frames.len() > 1 && payload as u64 > most + 2 * frames.len() as u64 {
                self.breaks(format!("{payload} bytes in one batch, of {most}"));
            }
        }
        self.note_borders(frames);
    }

    fn note_borders(&mut self, frames: &[Frame]) {
        let records = &self.daemon.records;
        let Some(last) = frames.last().map(|frame| frame.rec) else {
            return;
        };
        let cut = records
            .get(last + 1)
            .is_some_and(|next| next.pos.0 == records[last].pos.0);
        if cut && matches!(self.life.per, Per::Batch { .. }) {
            self.seen.hit("aggregate cut by a border");
        }
    }

    /// A handler is given records.
    pub(crate) fn judge_feed(&mut self, role: Role, frames: &[Frame], bytes: usize) {
        let now = self.now;
        self.judge.last_sign = now;
        if let Some(hand) = self.hand(role) {
            if hand.places.is_empty() {
                (hand.fed, hand.alive) = (0, now);
            }
            hand.fed += bytes as u64;
        }
        if frames.iter().map(|frame| frame.bytes).sum::<u64>() != bytes as u64
            && self.life.format != kclpipe::testing::format::Format::Raw
        {
            self.breaks("bytes on a handler's stdin that are no record");
        }
        for frame in frames {
            self.judge_given(role, frame);
        }
    }

    fn judge_given(&mut self, role: Role, frame: &Frame) {
        let Some(place) = self
            .judge
            .batch
            .iter()
            .position(|place| place.rec == frame.rec)
        else {
            return self.breaks(format!(
                "record {} is handed over, which is not under way",
                frame.rec
            ));
        };
        if let Some(why) = self.forbids(role, place) {
            self.breaks(format!("record {} is handed over {why}", frame.rec));
        }
        let handed = self.judge.batch[place].handed;
        if frame.attempt.is_some_and(|attempt| attempt != handed + 1) {
            self.breaks(format!(
                "record {} has attempt {:?}, after {handed}",
                frame.rec, frame.attempt
            ));
        }
        let inflight = self.life.inflight();
        let Some(hand) = self.hand(role) else { return };
        hand.places.push(place);
        hand.given += 1;
        let (id, given, has) = (hand.id, hand.given, hand.places.len());
        if has > inflight {
            self.breaks(format!("{has} records in one handler, of {inflight}"));
        }
        if frame.n.is_some_and(|n| n != given) {
            self.breaks(format!(
                "record {} has n {:?}, not {given}",
                frame.rec, frame.n
            ));
        }
        if let Per::Shard {
            max_records: Some(most),
            ..
        } = self.life.per
            && given > most
        {
            self.breaks(format!("{given} records for one handler, of {most}"));
        }
        if self.judge.batch[place].alone && self.judge.batch[place].handed > 0 {
            self.seen.hit("suspect given alone");
        }
        self.judge.batch[place].out = Some(id);
    }

    /// Why a record may not be handed over to this handler now.
    fn forbids(&mut self, role: Role, place: usize) -> Option<&'static str> {
        let now = self.now;
        let hand = self.hand(role)?;
        let (id, others, ended) = (
            hand.id,
            hand.places.clone(),
            hand.stopped.is_some() || hand.must_stop.is_some(),
        );
        let judge = &self.judge;
        let this = &judge.batch[place];
        let key = |place: &Place| {
            if self.life.jobs == 1 {
                0
            } else {
                self.daemon.records[place.rec].key
            }
        };
        let before = judge.batch[..place]
            .iter()
            .filter(|before| key(before) == key(this));
        let stuck = match self.life.policy {
            Policy::File => judge.batch.iter().any(|place| place.letter.is_some()),
            Policy::Command => judge.letter_fails,
            _ => false,
        };
        let out_of_order = before.clone().any(|before| {
            !before.done
                && before.letter.is_none()
                && before.out != Some(id)
                && !self.is_unfit(before.rec)
        });
        [
            (this.done, "though it is done"),
            (this.letter.is_some(), "though its letter waits"),
            (this.out.is_some(), "though another handler has it"),
            (now < this.retry_at, "before its delay is over"),
            (out_of_order, "before an older one of its key"),
            (
                judge.finishing || judge.halted || judge.withdrawn,
                "though the work has ended",
            ),
            (now < judge.paused_until, "though kclpipe was asked to stop"),
            (stuck, "though a letter cannot be got rid of"),
            (
                now < judge.broken_until && this.handed == 0,
                "though the handler was found broken",
            ),
            (
                this.goes_alone() && !others.is_empty(),
                "with others, though it goes alone",
            ),
            (
                others.iter().any(|other| judge.batch[*other].goes_alone()),
                "beside one that goes alone",
            ),
            (ended, "to a handler that is being stopped"),
        ]
        .into_iter()
        .find(|(forbidden, _)| *forbidden)
        .map(|(_, why)| why)
    }

    pub(crate) fn judge_not_started(&mut self, role: Role) {
        match role {
            Role::Handler(_) => {
                let Some(hand) = self.take_hand(role) else {
                    return;
                };
                self.broken(&hand.places);
            }
            Role::DeadLetter => self.letter_command_failed(),
            Role::Hook => self.hook_failed(),
        }
    }

    fn take_hand(&mut self, role: Role) -> Option<Hand> {
        let place = self.judge.hands.iter().position(|hand| hand.role == role)?;
        Some(self.judge.hands.remove(place))
    }

    // What becomes of records.

    fn done(&mut self, place: usize) {
        self.judge.counted.done += 1;
        self.judge.breaker = 0;
        self.judge.works = true;
        self.judge.broken_until = Duration::ZERO;
        self.over(place);
    }

    /// The record needs nothing more.
    fn over(&mut self, place: usize) {
        let this = &mut self.judge.batch[place];
        (this.done, this.letter, this.out) = (true, None, None);
        let rec = this.rec;
        self.judge.known[rec] = true;
        self.move_on();
    }

    /// How far the batch has come.
    fn move_on(&mut self) {
        let judge = &mut self.judge;
        let through = judge.batch.iter().take_while(|place| place.done).count();
        let end = through.checked_sub(1).map(|last| judge.batch[last].rec);
        judge.end = judge.end.max(end);
        let reached = judge
            .wishes
            .iter()
            .copied()
            .filter(|wish| Some(*wish) <= judge.end)
            .max();
        judge.wishes.retain(|wish| Some(*wish) > judge.end);
        judge.wished = judge.wished.max(reached);
    }

    fn wish(&mut self, place: usize) {
        let rec = self.judge.batch[place].rec;
        self.judge.wishes.push(rec);
        if Some(rec) > self.judge.end.map(|end| end + 1) && rec > self.daemon.start {
            self.seen.hit("request beyond what is done");
        }
        self.move_on();
    }

    fn come_back(&mut self, places: &[usize], until: Option<Duration>) {
        for place in places {
            let this = &mut self.judge.batch[*place];
            this.handed += 1;
            this.out = None;
            this.retry_at = this.retry_at.max(until.unwrap_or_default());
        }
    }

    fn all_again(&mut self, places: &[usize]) -> Duration {
        let Some(first) = places.first() else {
            return self.now;
        };
        self.judge.batch[*first].unsuccessful += 1;
        let until = self.now + self.delay(self.judge.batch[*first].unsuccessful);
        self.come_back(places, Some(until));
        until
    }

    fn broken(&mut self, places: &[usize]) -> Duration {
        self.seen.hit("broken handler");
        let works = std::mem::take(&mut self.judge.works);
        let until = self.all_again(places);
        if !works {
            self.judge.broken_until = self.judge.broken_until.max(until);
        }
        until
    }

    fn halt(&mut self) {
        if self
            .daemon
            .action
            .as_ref()
            .is_some_and(|action| action.read)
        {
            self.seen.hit("halt in an action");
        }
        self.judge.halted = true;
        self.judge.last_chance = true;
        self.give_last_chance();
    }

    /// Does with a record what the class of a verdict about it asks for; when it is tried again, if it is.
    fn settle(&mut self, place: usize, class: Class) -> Option<Duration> {
        self.judge.batch[place].out = None;
        match class {
            Class::Done | Class::Checkpoint => {
                self.done(place);
                None
            }
            Class::Reject => {
                self.judge.batch[place].handed += 1;
                self.dispose(place)
            }
            Class::Retry | Class::Fail => self.try_again(place, class == Class::Fail),
            Class::Broken => Some(self.broken(&[place])),
            Class::Halt => {
                self.halt();
                None
            }
        }
    }

    fn try_again(&mut self, place: usize, charged: bool) -> Option<Duration> {
        let this = &mut self.judge.batch[place];
        this.handed += 1;
        this.alone = true;
        this.unsuccessful += 1;
        this.charged += u32::from(charged);
        let unsuccessful = this.unsuccessful;
        let worn_out = self
            .life
            .max_attempts
            .is_some_and(|most| this.charged >= most);
        let stamped = self.daemon.records[this.rec].stamp;
        let age = stamped.map_or(0, |stamped| stamp(self.now) - stamped);
        let too_old = self
            .life
            .max_age
            .is_some_and(|most| age > most.as_millis() as i64);
        if too_old && !worn_out {
            self.seen.hit("too old");
        }
        if worn_out || too_old {
            return self.give_up(place);
        }
        let until = self.now + self.delay(unsuccessful);
        self.judge.batch[place].retry_at = until;
        Some(until)
    }

    fn give_up(&mut self, place: usize) -> Option<Duration> {
        if self.life.breaker > 0 && self.judge.breaker >= self.life.breaker {
            self.seen.hit("breaker open");
            return Some(self.blocked(place));
        }
        let until = self.dispose(place);
        if until.is_none() && !self.judge.halted {
            self.judge.breaker += 1;
        }
        until
    }

    fn blocked(&mut self, place: usize) -> Duration {
        let until = self.now + self.life.delays.longest;
        self.judge.batch[place].retry_at = until;
        until
    }

    fn dispose(&mut self, place: usize) -> Option<Duration> {
        match self.life.policy {
            Policy::Block => return Some(self.blocked(place)),
            Policy::Skip => {
                self.seen.hit("skipped");
                self.judge.counted.skipped += 1;
                self.over(place);
            }
            Policy::Halt => self.halt(),
            Policy::File | Policy::Command => {
                let this = &mut self.judge.batch[place];
                this.letter = Some((this.handed, this.charged));
            }
        }
        None
    }

    // What handlers say.

    /// kclpipe has read a line of a child's.
    pub(crate) fn judge_line(&mut self, role: Role, say: &Say) {
        self.judge.last_sign = self.now;
        let Some((word, n)) = say.word.filter(|_| matches!(role, Role::Handler(_))) else {
            return;
        };
        let Some(hand) = self.hand(role) else { return };
        if hand.stopped.is_some() || hand.must_stop.is_some() {
            return;
        }
        match self.life.per {
            Per::Record => self.hear_record(role, word, n, say.tokened),
            Per::Batch { .. } => self.hear_batch(role, word, n, say.tokened),
            Per::Shard { plain, .. } => self.hear_shard(role, word, n, say.tokened || plain),
        }
    }

    fn hear_record(&mut self, role: Role, word: Word, n: Option<u64>, tokened: bool) {
        let now = self.now;
        let Some(hand) = self.hand(role) else { return };
        match (word, n) {
            (Word::Progress, None) => hand.alive = now,
            (Word::Checkpoint, None) => hand.asked = true,
            _ if !tokened => {}
            (word, n) => {
                hand.said = Some(word);
                hand.nonsense = n.is_some() || matches!(word, Word::Upto | Word::Nonsense);
            }
        }
    }

    fn hear_batch(&mut self, role: Role, word: Word, n: Option<u64>, tokened: bool) {
        let now = self.now;
        let Some(hand) = self.hand(role) else { return };
        match (word, n) {
            (Word::Progress, None) => hand.alive = now,
            (Word::Checkpoint, None) => hand.asked = true,
            _ if !tokened => {}
            (Word::Halt, None) => self.halt(),
            (word, Some(n)) => self.take_answer(role, word, n),
            _ => self.invalid(role),
        }
    }

    fn hear_shard(&mut self, role: Role, word: Word, n: Option<u64>, counts: bool) {
        if !counts {
            return;
        }
        let (now, inflight) = (self.now, self.life.inflight());
        let Some(hand) = self.hand(role) else { return };
        let next = hand.answered + 1;
        match (word, n.or((inflight == 1).then_some(next))) {
            (Word::Nonsense, _) => self.invalid(role),
            (Word::Progress, _) => hand.alive = now,
            (Word::Halt, _) => self.halt(),
            _ if hand.places.is_empty() => self.invalid(role),
            (Word::Upto, Some(n)) if n == next - 1 => self.invalid(role),
            (word, Some(n)) => self.take_answer(role, word, n),
            (_, None) => self.invalid(role),
        }
    }

    fn invalid(&mut self, role: Role) {
        self.seen.hit("invalid answer");
        if let Some(hand) = self.hand(role) {
            hand.must_stop = Some(Why::Invalid);
        }
    }

    /// An answer about record `n`.
    fn take_answer(&mut self, role: Role, word: Word, n: u64) {
        let now = self.now;
        let Some(hand) = self.hand(role) else { return };
        if word == Word::Nonsense {
            return self.invalid(role);
        }
        let (answered, open) = (hand.answered, hand.places.len() as u64);
        if word == Word::Upto && n == answered {
            hand.said = Some(word);
            return;
        }
        if n <= answered || n > answered + open {
            return self.invalid(role);
        }
        (hand.alive, hand.said) = (now, Some(word));
        let records = (n - answered) as usize;
        match word {
            Word::Upto | Word::Checkpoint => self.answered(role, records, word == Word::Checkpoint),
            _ if records > 1 => self.invalid(role),
            Word::Ok => self.answered(role, 1, false),
            Word::Retry => self.answered_badly(role, Class::Retry),
            Word::Reject => self.answered_badly(role, Class::Reject),
            Word::Fail => self.answered_badly(role, Class::Fail),
            Word::Progress | Word::Halt | Word::Nonsense => self.invalid(role),
        }
    }

    fn answered(&mut self, role: Role, records: usize, wish: bool) {
        let Some(hand) = self.hand(role) else { return };
        let places: Vec<usize> = hand.places.drain(..records).collect();
        hand.answered += records as u64;
        self.unrest(role);
        for (index, place) in places.iter().enumerate() {
            if wish && index + 1 == records {
                self.wish(*place);
            }
            self.done(*place);
        }
    }

    fn answered_badly(&mut self, role: Role, class: Class) {
        let Some(hand) = self.hand(role) else { return };
        let place = hand.places.remove(0);
        hand.answered += 1;
        let more = !hand.places.is_empty();
        let until = self.settle(place, class);
        let again = until.is_some() || self.judge.halted;
        if again && more {
            self.rest_as(role, until);
            if let Some(hand) = self.hand(role) {
                hand.must_stop = Some(Why::OutOfOrder);
            }
        }
    }

    // How handlers end.

    /// kclpipe stops a child; whether it has a reason to.
    pub(crate) fn judge_stop(&mut self, role: Role) {
        self.judge.last_sign = self.now;
        if !matches!(role, Role::Handler(_)) {
            // What it does after that does not matter, unless it has used up its time.
            self.judge.letter_withdrawn |= role == Role::DeadLetter && self.judge.halted;
            return;
        }
        let over = self.judge.withdrawn
            || self.judge.halted
            || self.daemon.is_gone(self.now)
            || self.judge.lease_gone;
        let (now, limit) = (self.now, self.life.timeout);
        let ended = self.child(role).is_some_and(|child| child.ended.is_some());
        let Some(hand) = self.hand(role) else { return };
        let timed_out =
            limit.is_some_and(|limit| now >= hand.alive + limit && !hand.places.is_empty());
        let why = match hand.must_stop {
            Some(why) => why,
            None if over => Why::Withdrawn,
            None if timed_out => Why::TimeLimit,
            None => return self.breaks(format!("{role:?} is stopped without a reason")),
        };
        // A withdrawal is the last word.
        hand.stopped = Some(if over { Why::Withdrawn } else { why });
        if why == Why::TimeLimit && !ended {
            self.seen.hit("time limit");
        }
    }

    /// kclpipe has learnt of the end of a child.
    pub(crate) fn judge_end(&mut self, child: &Child, report: &ExitReport) {
        self.judge.last_sign = self.now;
        match child.role {
            Role::Handler(_) => self.judge_handler_end(child.role, report),
            Role::DeadLetter => self.judge_letter_end(child, report),
            Role::Hook => self.judge_hook_end(child, report),
        }
    }

    fn judge_handler_end(&mut self, role: Role, report: &ExitReport) {
        let Some(hand) = self.take_hand(role) else {
            return;
        };
        let ended = match hand.stopped.or(hand.must_stop) {
            Some(Why::Withdrawn) => return,
            Some(Why::OutOfOrder) => return self.come_back(&hand.places, None),
            Some(Why::TimeLimit) => Ended::TimedOut,
            Some(Why::Invalid) => Ended::InvalidAnswer,
            None => report.ended,
        };
        if self.judge.withdrawn {
            return;
        }
        match self.life.per {
            Per::Record => self.record_ended(&hand, ended),
            Per::Batch { .. } => self.batch_ended(role, &hand, ended, report.unread),
            Per::Shard { .. } => self.stream_ended(role, hand, ended, report.unread),
        }
    }

    fn record_ended(&mut self, hand: &Hand, ended: Ended) {
        let class = match (Class::of(ended), hand.said) {
            (Class::Done, Some(_)) if hand.nonsense => Class::Fail,
            (Class::Done, Some(Word::Retry)) => Class::Retry,
            (Class::Done, Some(Word::Reject)) => Class::Reject,
            (Class::Done, Some(Word::Fail)) => Class::Fail,
            (Class::Done, Some(Word::Halt)) => Class::Halt,
            (class, _) => class,
        };
        let Some(place) = hand.places.first() else {
            return;
        };
        if class.is_good() && (hand.asked || class == Class::Checkpoint) {
            self.wish(*place);
        }
        self.settle(*place, class);
    }

    fn batch_ended(&mut self, role: Role, hand: &Hand, ended: Ended, unread: u64) {
        let class = Class::of(ended);
        let Some(last) = hand.places.last() else {
            if class == Class::Halt {
                self.halt();
            }
            return;
        };
        if class.is_good() && unread == 0 {
            if hand.asked || class == Class::Checkpoint {
                self.wish(*last);
            }
            return hand.places.iter().for_each(|place| self.done(*place));
        }
        if class.is_good() {
            self.seen.hit("input unread");
        }
        let named = matches!(ended, Ended::Code(_)) && hand.said.is_some() && !class.is_good();
        let class = if class.is_good() { Class::Fail } else { class };
        if named || hand.given == 1 {
            self.settle(hand.places[0], class);
            return self.come_back(&hand.places[1..], None);
        }
        self.unnamed(role, &hand.places, class);
    }

    /// The handler failed, and it is not known at which record.
    fn unnamed(&mut self, role: Role, places: &[usize], class: Class) {
        let until = match class {
            Class::Retry => self.all_again(places),
            Class::Broken => self.broken(places),
            Class::Halt => return self.halt(),
            _ if !self.life.lives_on() && places.len() > 1 => {
                self.seen.hit("narrowing");
                let until = self.now + self.delay(1);
                return self.come_back(places, Some(until));
            }
            _ => {
                self.judge.batch[places[0]].alone = true;
                self.all_again(places)
            }
        };
        self.rest_as(role, Some(until));
    }

    fn stream_ended(&mut self, role: Role, hand: Hand, ended: Ended, unread: u64) {
        let class = Class::of(ended);
        let is_unread = !hand.places.is_empty() && hand.fed > 0 && unread >= hand.fed;
        let idle = hand.places.is_empty();
        if class == Class::Halt && (idle || is_unread) {
            return self.halt();
        }
        if is_unread && !(class.is_good() && hand.answered > 0) {
            self.seen.hit("idle death");
            self.judge.batch[hand.places[0]].unsuccessful += 1;
            self.come_back(&hand.places, None);
            return self.rest(role);
        }
        if idle || is_unread {
            self.come_back(&hand.places, None);
            if !class.is_good() || hand.answered == 0 {
                self.seen.hit("idle death");
                self.rest(role);
            }
            return;
        }
        let class = if class.is_good() { Class::Fail } else { class };
        let suspect = self.judge.batch[hand.places[0]].alone && hand.given == 1;
        if suspect || (class == Class::Reject && hand.places.len() == 1) {
            let until = self.settle(hand.places[0], class);
            self.rest_as(role, until);
            return self.come_back(&hand.places[1..], None);
        }
        self.unnamed(role, &hand.places, class);
    }

    /// A handler that lives on died for nothing: the next one waits, longer each time.
    fn rest(&mut self, role: Role) {
        if let Role::Handler(slot) = role {
            self.judge.rests[slot].deaths += 1;
            self.judge.rests[slot].until = self.now + self.delay(self.judge.rests[slot].deaths);
        }
    }

    fn rest_as(&mut self, role: Role, until: Option<Duration>) {
        if let Role::Handler(slot) = role
            && self.life.lives_on()
        {
            self.judge.rests[slot] = Rest {
                deaths: 0,
                until: until.unwrap_or_default(),
            };
        }
    }

    fn unrest(&mut self, role: Role) {
        if let Role::Handler(slot) = role {
            self.judge.rests[slot].deaths = 0;
        }
    }
}

impl Place {
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

#[path = "judge_rules.rs"]
mod rules;
