//! The records of a batch on their way to being done: what becomes of each after an attempt.

mod attempts;
mod collecting;
mod disposition;
mod events;
mod lanes;
mod queue;
pub(in crate::handler) mod runs;
mod window;

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use humantime::format_duration;

use super::lag::Lag;
use super::pool::attempt::Attempt;
use super::{Event, First, Read, Settings};
use crate::checkpoint::BlockedRecord;
use crate::counters::Counters;
use crate::dead_letter::{Cause, DeadLetter};
use crate::outcome::Class;
use crate::record::Position;
pub use attempts::Limits;
use attempts::{Attempts, Breaker};
use collecting::Collecting;
pub(super) use disposition::Disposition;
use disposition::{Decision, Policy};
pub(super) use events::Why;
use events::{Delay, RecordEvent};
use lanes::{Lanes, Size};
pub(super) use queue::Queue;
pub(super) use runs::RunId;
use runs::Runs;
pub(super) use window::Most;
pub use window::Window;

/// The records of a batch, and what is known of those that were not done at once.
pub(super) struct Records {
    settings: Rc<Settings>,
    pub(super) shard_id: String,
    pub(super) queue: Queue,
    pub(super) lanes: Lanes,
    attempts: HashMap<usize, Attempts>,
    breaker: Breaker,
    lag: Lag,
    pub(super) events: VecDeque<Event>,
    /// Every record before this one was reported as done.
    reported: usize,
    /// The furthest end that was reported.
    furthest: Option<Position>,
    /// No attempt starts before: we were asked to stop.
    pub(super) paused_until: Option<Instant>,
    /// No other record than those that found the handler broken is tried before, unless one is done.
    broken_until: Option<Instant>,
    /// A record is done since the handler was last found broken.
    works: bool,
    /// This record goes alone, for nothing is stored yet.
    alone: Option<usize>,
    collecting: Collecting,
    runs: Runs,
    /// The disk does not take what waits: nothing more is read ahead before all is done.
    pub(super) spool_failed: bool,
    /// That a read is more than what may be read ahead was said.
    said_small: bool,
    /// Where a payload is read that is not in memory.
    memory: String,
    pub(super) halted: bool,
    pub(super) counters: Counters,
    /// As of the last [`Records::look_at_clock`].
    time_of_day: SystemTime,
    /// Records that are done once their dead letters are where they are to be.
    letters: VecDeque<Letter>,
}

/// A dead letter that waits to be taken, and what led to it.
struct Letter {
    index: usize,
    why: Why,
    outcome: String,
    stderr: Vec<u8>,
}

/// How an attempt at a record ended, for reports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report<'a> {
    /// In words.
    pub(super) outcome: &'a str,
    /// The last that the handler wrote on stderr.
    pub(super) stderr: &'a [u8],
}

impl Records {
    pub(super) fn new(settings: Rc<Settings>, now: Instant) -> Records {
        Records {
            shard_id: String::new(),
            queue: Queue::default(),
            lanes: Lanes::new(settings.jobs),
            attempts: HashMap::new(),
            breaker: Breaker::default(),
            lag: Lag::default(),
            events: VecDeque::new(),
            reported: 0,
            furthest: None,
            paused_until: None,
            broken_until: None,
            works: false,
            alone: None,
            collecting: Collecting::new(now),
            runs: Runs::default(),
            spool_failed: false,
            said_small: false,
            memory: String::new(),
            halted: false,
            counters: Counters::default(),
            time_of_day: UNIX_EPOCH,
            letters: VecDeque::new(),
            settings,
        }
    }

    /// The time of day, for the age of records.
    pub(super) fn look_at_clock(&mut self, time_of_day: SystemTime) {
        self.time_of_day = time_of_day;
    }

    /// Takes in what the daemon read; `advice` is for a handler that cannot keep up.
    pub(super) fn offer(&mut self, read: Read, advice: &str, now: Instant) {
        let Read {
            batch,
            first,
            fresh,
        } = read;
        if self.lag.judge(now, batch.millis_behind_latest) {
            log::warn!(
                "the handler cannot keep up: it is busy nearly all the time and the shard is further behind than a minute ago; {}",
                advice
            );
        }
        self.collecting.read(&batch, fresh, now, self.time_of_day);
        if batch.is_empty() {
            return;
        }
        self.remark_small_read_ahead(batch.line_len());
        for place in 0..batch.len() {
            let size = Size {
                records: 1,
                payload: batch.payload(place),
                line: batch.length(place),
            };
            self.lanes.push(batch.header(place).partition_key, size);
        }
        let index = self.queue.push(batch, now);
        if first == First::Alone {
            self.alone = Some(index);
        }
    }

    /// What is read ahead is less than this read: it is no mistake, but handlers work on one read at a time.
    fn remark_small_read_ahead(&mut self, read: u64) {
        let limit = self.settings.read_ahead;
        if limit > 0 && read > limit && !self.said_small {
            self.said_small = true;
            log::warn!(
                "a read has {read} bytes, more than --read-ahead {limit}: the daemon is answered when most of it is done; raise --read-ahead if handlers are to work over several reads"
            );
        }
    }

    /// The record that `lane` may take now.
    pub(super) fn peek(&mut self, lane: usize, now: Instant) -> Option<usize> {
        if self.broken_until.is_none_or(|until| now >= until) {
            return self.lanes.peek(lane, now);
        }
        let attempts = &self.attempts;
        self.lanes
            .peek_where(lane, now, |index| attempts.contains_key(&index))
    }

    /// The record that `lane` may take now after `first` in the same run. A run that came back has the same
    /// records again, or some of them, and never another.
    pub(super) fn peek_after(&mut self, first: usize, lane: usize, now: Instant) -> Option<usize> {
        if self.attempts.is_empty() {
            return self.lanes.peek(lane, now);
        }
        let (attempts, alone) = (&self.attempts, self.alone);
        // One that was never given is of no run.
        let run = |index: usize| attempts.get(&index).map(|attempts| attempts.run);
        let is_suspect = |index: usize| attempts.get(&index).is_some_and(|attempts| attempts.alone);
        let of_first = run(first);
        let blocked = self.broken_until.is_some_and(|until| now < until) && of_first.is_none();
        self.lanes.peek_where(lane, now, |index| {
            let goes_alone = alone == Some(index) || is_suspect(index);
            run(index) == of_first && !goes_alone && !blocked
        })
    }

    /// Whether the daemon may be answered. Nothing is read ahead of a record that goes alone, for as long as
    /// nothing is stored; and what is done and not reported may make a checkpoint due, which goes before the
    /// answer.
    pub(super) fn has_room(&self) -> bool {
        let waits = self.alone.is_some() || self.has_news();
        !self.holds_any() || !(waits || self.is_full())
    }

    /// Whether more is held than may be read ahead.
    pub(super) fn is_full(&self) -> bool {
        let (_, held) = self.held();
        held > self.settings.read_ahead || self.spool_failed
    }

    /// How many records are held from the first that is not done on, and the bytes of the daemon's lines from
    /// there on.
    pub(super) fn held(&self) -> (u64, u64) {
        let first = self.lanes.done_through();
        let records = (self.queue.end() - first) as u64;
        (records, self.queue.bytes_from(first))
    }

    /// Whether there are records that are not done, or not known to be done.
    pub(super) fn holds_any(&self) -> bool {
        !self.lanes.all_done() || self.has_news()
    }

    /// Whether the bridge does not know yet how far everything is done.
    fn has_news(&self) -> bool {
        let is_news = |event: &Event| matches!(event, Event::Done { .. } | Event::Halted(_));
        self.collecting.storable(self.lanes.done_through()) > self.reported
            || self.events.iter().any(is_news)
    }

    /// When a record may be tried that must wait now.
    pub(super) fn wake(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let lanes = self.lanes.due(now).wake(now);
        [self.paused_until, self.broken_until, lanes]
            .into_iter()
            .flatten()
    }

    /// When the oldest record that is not done arrived.
    pub(super) fn oldest(&self) -> Option<i64> {
        let index = Some(self.lanes.done_through()).filter(|_| !self.lanes.all_done())?;
        self.queue.header(index).approximate_arrival_timestamp
    }

    /// No record is ours any more.
    pub(super) fn withdraw(&mut self) {
        self.queue.clear();
        self.reported = self.queue.end();
        self.lanes.clear(self.reported);
        self.attempts.clear();
        self.letters.clear();
        (self.alone, self.spool_failed) = (None, false);
        self.collecting.withdraw();
        self.runs = Runs::default();
    }

    /// The number of this record's next attempt, from 1.
    pub(super) fn attempt_number(&self, index: usize) -> u32 {
        self.attempts
            .get(&index)
            .map_or(1, |attempts| attempts.handed + 1)
    }

    /// The run that this record came back from.
    pub(super) fn run_of(&self, index: usize) -> Option<RunId> {
        self.attempts.get(&index)?.run
    }

    /// How many records of a run may be given together; `None` for all.
    pub(super) fn most_of(&self, run: RunId) -> Option<usize> {
        self.runs.most(run)
    }

    /// What failed in a run was found.
    pub(super) fn found(&mut self, run: RunId) {
        self.runs.found(run);
    }

    /// Whether handlers have records now.
    pub(super) fn note_busy(&mut self, busy: bool, now: Instant) {
        self.lag.note(busy, now);
    }

    /// Whether the record is to be given alone.
    pub(super) fn goes_alone(&self, index: usize) -> bool {
        self.alone == Some(index) || self.is_suspect(index)
    }

    /// Whether an attempt failed that may have been this record's fault.
    pub(super) fn is_suspect(&self, index: usize) -> bool {
        !self.attempts.is_empty()
            && self
                .attempts
                .get(&index)
                .is_some_and(|attempts| attempts.alone)
    }

    /// The record is to be given alone from now on.
    pub(super) fn suspect(&mut self, index: usize) {
        self.attempts(index).alone = true;
    }

    /// Does with a record what the class of its attempt asks for.
    pub(super) fn settle(
        &mut self,
        index: usize,
        class: Class,
        report: Report<'_>,
        now: Instant,
    ) -> Disposition {
        if !class.is_good() {
            self.counters.fail(class);
            self.note(index, class, now);
        }
        let attempts = self.attempts.get(&index).cloned().unwrap_or_default();
        let age = self.age(index);
        let decision = self.policy().decide(class, &attempts, age, &self.breaker);
        if let Decision::Again(Why::Broken, _) = decision {
            return Disposition::RetryAt(self.broken(&[index], report, now));
        }
        self.carry_out(index, decision, report, now)
    }

    /// Notes an attempt at this record alone that did not go well.
    fn note(&mut self, index: usize, class: Class, now: Instant) {
        let attempts = self.attempts(index);
        match class {
            Class::Retry | Class::Fail => {
                attempts.handed += 1;
                attempts.alone = true;
                attempts.note(now, class == Class::Fail);
            }
            Class::Reject => {
                attempts.handed += 1;
                attempts.alone = true;
                attempts.since.get_or_insert(now);
            }
            // Who finds the handler broken is noted with all that it was given.
            Class::Done | Class::Checkpoint | Class::Broken | Class::Halt => {}
        }
    }

    fn policy(&self) -> Policy<'_> {
        Policy {
            limits: &self.settings.limits,
            delays: &self.settings.delays,
            on_failure: &self.settings.on_failure,
        }
    }

    fn carry_out(
        &mut self,
        index: usize,
        decision: Decision,
        report: Report<'_>,
        now: Instant,
    ) -> Disposition {
        if let Decision::Skip(why)
        | Decision::Letter(why)
        | Decision::Block(why, _)
        | Decision::GiveUpAndHalt(why) = decision
        {
            // Also a record that blocks: each time counts, whatever becomes of it.
            RecordEvent::GivenUp(why).tell(&mut self.counters);
        }
        match decision {
            Decision::Done { checkpoint } => {
                if checkpoint {
                    self.checkpoint_request(index);
                }
                self.done(index);
                Disposition::Done
            }
            Decision::Again(why, delay) | Decision::Block(why, delay) => {
                self.try_again(index, why, delay, report, now)
            }
            Decision::Skip(why) => {
                let at = self.position(index);
                let outcome = report.outcome;
                RecordEvent::Skipped { at, why, outcome }.tell(&mut self.counters);
                self.dispose_of(index);
                self.count_given_up(why);
                Disposition::Disposed
            }
            Decision::Letter(why) => {
                self.letters.push_back(Letter {
                    index,
                    why,
                    outcome: report.outcome.to_owned(),
                    stderr: report.stderr.to_vec(),
                });
                self.count_given_up(why);
                Disposition::AwaitsLetter
            }
            Decision::GiveUpAndHalt(why) => {
                let why = format!("{why}: {} (--on-failure halt)", report.outcome);
                self.halt_because(index, &why);
                Disposition::Halted
            }
            Decision::Halt => {
                self.halt(index, report);
                Disposition::Halted
            }
        }
    }

    /// A record was given up: the breaker counts those that failed, for a rejection is the handler's own word.
    fn count_given_up(&mut self, why: Why) {
        let limits = &self.settings.limits;
        if why != Why::Rejected && self.breaker.give_up(limits) {
            let count = limits.max_consecutive_failures;
            RecordEvent::BreakerOpened(count).tell(&mut self.counters);
        }
    }

    fn try_again(
        &mut self,
        index: usize,
        why: Why,
        delay: Delay,
        report: Report<'_>,
        now: Instant,
    ) -> Disposition {
        self.tell_again(index, why, delay, report);
        let until = now + delay.time;
        self.lanes.put_back(index, Some(until));
        Disposition::RetryAt(until)
    }

    fn tell_again(&mut self, index: usize, why: Why, delay: Delay, report: Report<'_>) {
        let attempts = self.attempts.get(&index).cloned().unwrap_or_default();
        let event = RecordEvent::Again {
            at: self.position(index),
            why,
            outcome: report.outcome,
            attempts: &attempts,
            limits: &self.settings.limits,
            delay,
        };
        event.tell(&mut self.counters);
    }

    /// This many of the attempt's oldest records were handled well.
    pub(super) fn answered(
        &mut self,
        attempt: &mut Attempt,
        records: usize,
        checkpoint_request: bool,
    ) {
        for left in (0..records).rev() {
            let Some(index) = attempt.answer() else {
                return;
            };
            if checkpoint_request && left == 0 {
                self.checkpoint_request(index);
            }
            self.done(index);
        }
        if let Some(run) = attempt.run {
            self.runs.cleared(run, records);
        }
    }

    /// A record was handled well.
    fn done(&mut self, index: usize) {
        RecordEvent::Accepted.tell(&mut self.counters);
        self.breaker.done();
        (self.works, self.broken_until) = (true, None);
        self.dispose_of(index);
    }

    /// The handler asks for a checkpoint at this record.
    fn checkpoint_request(&mut self, index: usize) {
        let position = self.position(index);
        // A record that came again lies within a batch that is done.
        let is_within_earlier = self.is_aligned() && Some(&position) < self.furthest.as_ref();
        if !self.collecting.is_within_batch(index) && !is_within_earlier {
            self.events.push_back(Event::CheckpointRequested(position));
        }
    }

    fn is_aligned(&self) -> bool {
        self.settings.window.is_some_and(|window| window.aligned)
    }

    /// Rejects a record that cannot stand in the handler's format.
    pub(super) fn unfit(&mut self, index: usize, why: &str, now: Instant) {
        self.attempts(index).since.get_or_insert(now);
        let outcome = format!("the payload {why}");
        let report = Report {
            outcome: &outcome,
            stderr: &[],
        };
        let decision = self.policy().give_up(Why::Rejected);
        self.carry_out(index, decision, report, now);
    }

    /// Records come back that were handed over but of which nothing is known.
    pub(super) fn come_back(
        &mut self,
        indexes: impl Iterator<Item = usize>,
        until: Option<Instant>,
    ) {
        let run = self.runs.came_back();
        for index in indexes {
            let attempts = self.attempts(index);
            attempts.handed += 1;
            attempts.run = Some(run);
            self.lanes.put_back(index, until);
        }
    }

    /// All of these are to be tried again, and none of them is charged.
    pub(super) fn all_again(
        &mut self,
        indexes: &[usize],
        why: Why,
        report: Report<'_>,
        now: Instant,
    ) -> Instant {
        self.attempts(indexes[0]).note(now, false);
        let attempts = self.attempts(indexes[0]).clone();
        let delay = self.policy().delay(&attempts);
        let until = now + delay.time;
        self.come_back(indexes.iter().copied(), Some(until));
        self.tell_again(indexes[0], why, delay, report);
        until
    }

    /// The handler is at fault: all of these again, and nothing else starts in between. But if a record was
    /// done since the last such end, the handler works, and the fault is with these.
    pub(super) fn broken(
        &mut self,
        indexes: &[usize],
        report: Report<'_>,
        now: Instant,
    ) -> Instant {
        if std::mem::take(&mut self.works) {
            return self.all_again(indexes, Why::BrokenAlone, report, now);
        }
        let until = self.all_again(indexes, Why::Broken, report, now);
        self.broken_until = self.broken_until.max(Some(until));
        until
    }

    /// A handler that lives on ended before it read any of these: nothing is known of them, but the first
    /// waits for a handler that reads, and blocks all after it.
    pub(super) fn unread(&mut self, indexes: &[usize], class: Class, now: Instant) {
        self.counters.fail(class);
        if let Some(first) = indexes.first() {
            self.attempts(*first).note(now, false);
        }
        self.come_back(indexes.iter().copied(), None);
    }

    /// One of these failed, but not known which: again, uncharged, in smaller runs.
    pub(super) fn narrow(&mut self, indexes: &[usize], report: Report<'_>, now: Instant) {
        let (Some(first), Some(last)) = (indexes.first(), indexes.last()) else {
            return;
        };
        let delay = self.settings.delays.after(1);
        let event = RecordEvent::Narrowed {
            count: indexes.len(),
            ends: [*first, *last].map(|index| self.position(index)),
            outcome: report.outcome,
            delay,
        };
        event.tell(&mut self.counters);
        self.attempts(*first).since.get_or_insert(now);
        self.come_back(indexes.iter().copied(), Some(now + delay));
        self.runs.suspect_last(indexes.len());
    }

    pub(super) fn halt(&mut self, index: usize, report: Report<'_>) {
        self.halt_because(index, &format!("asks to halt: {}", report.outcome));
    }

    fn halt_because(&mut self, index: usize, why: &str) {
        self.report_done();
        let position = self.position(index);
        self.events
            .push_back(Event::Halted(format!("record {position} {why}")));
        self.halted = true;
    }

    /// Reports what is done. Batches that are done are let go at once: the next ones may be as large.
    pub(super) fn report_done(&mut self) {
        let through = self.collecting.storable(self.lanes.done_through());
        let Some(end) = self.queue.furthest(self.reported..through) else {
            return;
        };
        self.note_ages(self.reported..through);
        self.furthest = self.furthest.take().max(Some(end.clone()));
        let windowed = self.settings.window.is_some();
        let batch_done = std::mem::take(&mut self.collecting.batch_done);
        self.events.push_back(Event::Done {
            end,
            records: (through - self.reported) as u64,
            batch_ended: if windowed {
                batch_done
            } else {
                self.queue.ends_by(through)
            },
        });
        self.reported = through;
        self.collecting.reported(through);
        self.queue.free(through);
        if self.lanes.all_done() {
            self.withdraw();
        }
    }

    pub(super) fn blocked(&self) -> Option<BlockedRecord> {
        let (index, since) = self.blocking()?;
        Some(BlockedRecord {
            since,
            next: self.position(index),
            after: self.position(self.collecting.storable(index)),
        })
    }

    /// The record that the run waits for, if its attempts do not go well, and since when.
    pub(super) fn blocking(&self) -> Option<(usize, Instant)> {
        let index = self.lanes.done_through();
        Some((index, self.attempts.get(&index)?.since?))
    }

    /// How often that record was handed over; 0 if there is none.
    pub(super) fn blocking_attempts(&self) -> u32 {
        let attempts = self
            .blocking()
            .and_then(|(index, _)| self.attempts.get(&index));
        attempts.map_or(0, |attempts| attempts.handed)
    }

    pub(super) fn position(&self, index: usize) -> Position {
        self.queue.position(index)
    }

    /// A letter as a line.
    fn letter(&mut self, letter: &Letter) -> Result<Vec<u8>> {
        let stderr = String::from_utf8_lossy(&letter.stderr);
        let attempts = self.attempts.get(&letter.index);
        let cause = Cause {
            attempts: attempts.map_or(0, |attempts| attempts.handed),
            failures: attempts.map_or(0, |attempts| attempts.charged),
            outcome: &letter.outcome,
            stderr: &stderr,
        };
        let (batch, place) = self.queue.batch(letter.index);
        let record = batch.record(place, &mut self.memory)?;
        let behind = batch.millis_behind_latest;
        Ok(DeadLetter::new(&self.shard_id, &record, behind, cause).to_line())
    }

    /// The oldest letter that waits.
    ///
    /// # Errors
    /// Its record cannot be read from the file where it waits.
    pub(super) fn next_letter(&mut self) -> Result<Option<(Position, Vec<u8>)>> {
        let Some(letter) = self.letters.pop_front() else {
            return Ok(None);
        };
        let line = self.letter(&letter);
        let position = self.position(letter.index);
        self.letters.push_front(letter);
        Ok(Some((position, line?)))
    }

    /// The oldest letters as lines, up to this many bytes, and how many they are.
    ///
    /// # Errors
    /// A record cannot be read from the file where it waits.
    pub(super) fn next_letters(&mut self, most: usize) -> Result<(usize, Vec<u8>)> {
        let letters = std::mem::take(&mut self.letters);
        let (mut count, mut lines) = (0, Ok(Vec::new()));
        for letter in &letters {
            let (Ok(all), line) = (&mut lines, self.letter(letter)) else {
                break;
            };
            if all.len() >= most {
                break;
            }
            match line {
                Ok(line) => all.extend(line),
                Err(e) => lines = Err(e),
            }
            count += 1;
        }
        self.letters = letters;
        Ok((count, lines?))
    }

    /// Whether a letter waits.
    pub(super) fn has_letters(&self) -> bool {
        !self.letters.is_empty()
    }

    /// The oldest letter is in `place`: its record needs nothing more.
    pub(super) fn letter_is_kept(&mut self, place: &str) {
        let Some(letter) = self.letters.pop_front() else {
            return;
        };
        let event = RecordEvent::DeadLettered {
            at: self.position(letter.index),
            why: letter.why,
            outcome: &letter.outcome,
            place,
        };
        event.tell(&mut self.counters);
        self.dispose_of(letter.index);
    }

    /// The oldest letter was not taken; why, and when it is offered again.
    pub(super) fn letter_is_refused(&mut self, refusal: &str, delay: Duration) {
        if let Some(letter) = self.letters.front() {
            let event = RecordEvent::LetterRefused {
                at: self.position(letter.index),
                why: letter.why,
                outcome: &letter.outcome,
                refusal,
                delay,
            };
            event.tell(&mut self.counters);
        }
    }

    /// The record needs nothing more.
    fn dispose_of(&mut self, index: usize) {
        if !self.attempts.is_empty() {
            self.attempts.remove(&index);
        }
        if self.alone == Some(index) {
            self.alone = None;
        }
        self.lanes.done(index);
    }

    fn attempts(&mut self, index: usize) -> &mut Attempts {
        self.attempts.entry(index).or_default()
    }

    fn age(&self, index: usize) -> Option<Duration> {
        let arrived =
            u64::try_from(self.queue.header(index).approximate_arrival_timestamp?).ok()?;
        let now = self.time_of_day.duration_since(UNIX_EPOCH).ok()?;
        now.checked_sub(Duration::from_millis(arrived))
    }

    /// Notes how old these records are, which became part of the run together. The first stands for all:
    /// to look at each would be felt where thousands pass at once.
    fn note_ages(&mut self, run: Range<usize>) {
        if self.counters.timed
            && let Some(age) = self.age(run.start)
        {
            let count = run.len() as u64;
            self.counters.ages.observe(age.as_secs_f64(), count);
        }
    }
}

/// A delay as a person reads it.
pub(super) fn shown(delay: Duration) -> impl Display {
    format_duration(Duration::from_millis(delay.as_millis() as u64))
}
