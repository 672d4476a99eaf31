//! The records of a batch on their way to being done: what becomes of each after an attempt.

mod attempts;
mod collecting;
mod disposition;
mod events;
mod failing;
mod lanes;
mod letters;
mod lists;
mod queue;
pub(in crate::handler) mod runs;
mod size;
mod window;

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use humantime::format_duration;

use super::lag::Lag;
use super::pool::attempt::Attempt;
use super::{Event, First, Read, Settings};
use crate::checkpoint::BlockedRecord;
use crate::counters::Counters;
use crate::record::{Batch, Position};
pub use attempts::Limits;
use attempts::{Attempts, Breaker};
use collecting::Collecting;
pub(super) use disposition::Disposition;
use events::RecordEvent;
pub(super) use events::Why;
use lanes::Lanes;
pub(super) use queue::Queue;
pub(super) use runs::RunId;
use runs::Runs;
use size::Size;
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
    /// Why the worker is to stop, once what was done is reported.
    pub(super) halted: Option<String>,
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
            halted: None,
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

    /// For how long limits have held up handlers by now.
    pub(super) fn note_held_up(&mut self, time: Duration) {
        self.queue.held_up = time;
    }

    /// Takes in what the daemon read, of which `filtered` says which records are for no handler; `advice` is for
    /// a handler that cannot keep up.
    pub(super) fn offer(&mut self, read: Read, filtered: &[bool], advice: &str, now: Instant) {
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
        let filtered = |place| filtered.get(place) == Some(&true);
        for place in 0..batch.len() {
            if filtered(place) {
                RecordEvent::Filtered.tell(&mut self.counters);
                self.lanes.push_done();
                continue;
            }
            let size = size_of(&batch, place, &self.settings);
            self.lanes.push(batch.partition_key(place), size);
        }
        let index = self.queue.push(batch, now);
        // A first record that is filtered is done, and so it can be stored at once.
        if first == First::Alone && !filtered(0) {
            self.alone = Some(index);
        }
        // Nothing waits for a batch that would make what was filtered storable.
        self.collecting.batch_done |= self.lanes.all_done();
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
        let run = |index: usize| attempts.get(&index).and_then(|attempts| attempts.run);
        let is_suspect = |index: usize| attempts.get(&index).is_some_and(|attempts| attempts.alone);
        let of_first = run(first);
        let blocked = self.broken_until.is_some_and(|until| now < until) && of_first.is_none();
        self.lanes.peek_where(lane, now, |index| {
            let goes_alone = alone == Some(index) || is_suspect(index);
            run(index) == of_first && !goes_alone && !blocked
        })
    }

    /// `lane` takes this record, which may be taken now.
    pub(super) fn take(&mut self, lane: usize, index: usize) {
        let (batch, place) = self.queue.batch(index);
        let size = size_of(batch, place, &self.settings);
        self.lanes.take(lane, index, size);
    }

    /// A record that was taken goes back to its place, and waits until `until` if that is given.
    pub(super) fn put_back(&mut self, index: usize, until: Option<Instant>) {
        let (queue, settings) = (&self.queue, &self.settings);
        let size = |index| {
            let (batch, place) = queue.batch(index);
            size_of(batch, place, settings)
        };
        self.lanes.put_back(index, until, size);
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
        self.halted.is_some()
            || self.collecting.storable(self.lanes.done_through()) > self.reported
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
        self.queue.arrived(index)
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
        let arrived = u64::try_from(self.queue.arrived(index)?).ok()?;
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

/// How much a record is, where a window asks how much waits: to look would be felt at each record.
fn size_of(batch: &Batch, place: usize, settings: &Settings) -> Size {
    match settings.window {
        Some(_) => Size {
            records: 1,
            payload: batch.payload(place),
            line: batch.length(place),
        },
        None => Size::default(),
    }
}

/// A delay as a person reads it.
pub(super) fn shown(delay: Duration) -> impl Display {
    format_duration(Duration::from_millis(delay.as_millis() as u64))
}

#[cfg(test)]
mod tests;
