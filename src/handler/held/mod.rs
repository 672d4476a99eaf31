//! The records of a batch on their way to being done: what becomes of each after an attempt.

mod attempts;
mod disposition;
mod events;
mod lanes;

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use humantime::format_duration;

use super::lag::Lag;
use super::pool::attempt::Attempt;
use super::{Event, First, Settings};
use crate::checkpoint::BlockedRecord;
use crate::counters::Counters;
use crate::dead_letter::{Cause, DeadLetter};
use crate::outcome::Class;
use crate::record::{Batch, Position};
pub use attempts::Limits;
use attempts::{Attempts, Breaker};
pub(super) use disposition::Disposition;
use disposition::{Decision, Policy};
pub(super) use events::Why;
use events::{Delay, RecordEvent};
use lanes::Lanes;

/// The records of a batch, and what is known of those that were not done at once.
pub(super) struct Records {
    settings: Rc<Settings>,
    pub(super) shard_id: String,
    pub(super) batch: Batch,
    pub(super) lanes: Lanes,
    attempts: HashMap<usize, Attempts>,
    breaker: Breaker,
    lag: Lag,
    pub(super) events: VecDeque<Event>,
    /// Records of the run reported as done.
    reported: usize,
    /// No attempt starts before: we were asked to stop.
    pub(super) paused_until: Option<Instant>,
    /// No other record than those that found the handler broken is tried before, unless one is done.
    broken_until: Option<Instant>,
    /// A record is done since the handler was last found broken.
    works: bool,
    /// The first record goes alone.
    first: First,
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
    pub(super) fn new(settings: Rc<Settings>) -> Records {
        Records {
            settings,
            shard_id: String::new(),
            batch: Batch::default(),
            lanes: Lanes::default(),
            attempts: HashMap::new(),
            breaker: Breaker::default(),
            lag: Lag::default(),
            events: VecDeque::new(),
            reported: 0,
            paused_until: None,
            broken_until: None,
            works: false,
            first: First::WithOthers,
            halted: false,
            counters: Counters::default(),
            time_of_day: UNIX_EPOCH,
            letters: VecDeque::new(),
        }
    }

    /// The time of day, for the age of records.
    pub(super) fn look_at_clock(&mut self, time_of_day: SystemTime) {
        self.time_of_day = time_of_day;
    }

    /// Takes in the records of a batch; `advice` is for a handler that cannot keep up.
    pub(super) fn offer(&mut self, batch: Batch, first: First, advice: &str, now: Instant) {
        debug_assert!(self.lanes.all_done());
        if self.lag.begin(now, batch.millis_behind_latest) {
            log::warn!(
                "the handler cannot keep up: it is busy nearly all the time and the shard is further behind than a minute ago; {}",
                advice
            );
        }
        let keys = (0..batch.len()).map(|index| batch.record(index).partition_key);
        self.lanes = Lanes::new(keys, self.settings.jobs);
        self.batch = batch;
        self.first = first;
        self.reported = 0;
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

    /// When a record may be tried that must wait now.
    pub(super) fn wake(&self) -> impl Iterator<Item = Instant> {
        let holds = [self.paused_until, self.broken_until, self.lanes.wake()];
        holds.into_iter().flatten()
    }

    /// When the oldest record that is not done arrived.
    pub(super) fn oldest(&self) -> Option<i64> {
        let index = Some(self.lanes.done_through()).filter(|_| !self.lanes.all_done())?;
        self.batch.record(index).approximate_arrival_timestamp
    }

    /// No record is ours any more.
    pub(super) fn withdraw(&mut self) {
        self.batch = Batch::default();
        self.lanes = Lanes::default();
        self.attempts.clear();
        self.letters.clear();
        self.reported = 0;
    }

    /// The number of this record's next attempt, from 1.
    pub(super) fn attempt_number(&self, index: usize) -> u32 {
        self.attempts
            .get(&index)
            .map_or(1, |attempts| attempts.handed + 1)
    }

    /// Whether the record is to be given alone.
    pub(super) fn goes_alone(&self, index: usize) -> bool {
        (index == 0 && self.first == First::Alone) || self.is_suspect(index)
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
                self.halt_because(index, &why, now);
                Disposition::Halted
            }
            Decision::Halt => {
                self.halt(index, report, now);
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
        self.events.push_back(Event::CheckpointRequested(position));
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
        for index in indexes {
            self.attempts(index).handed += 1;
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
    }

    pub(super) fn halt(&mut self, index: usize, report: Report<'_>, now: Instant) {
        self.halt_because(index, &format!("asks to halt: {}", report.outcome), now);
    }

    fn halt_because(&mut self, index: usize, why: &str, now: Instant) {
        self.report_done(now);
        let position = self.position(index);
        self.events
            .push_back(Event::Halted(format!("record {position} {why}")));
        self.halted = true;
    }

    /// Tells how far the run has come. A batch that is done is let go at once: the next one may be as large.
    pub(super) fn report_done(&mut self, now: Instant) {
        let run = self.lanes.done_through();
        if run == self.reported {
            return;
        }
        self.note_ages(self.reported..run);
        let end = self.position(run - 1);
        self.events.push_back(Event::Done {
            end,
            records: (run - self.reported) as u64,
        });
        self.reported = run;
        if self.lanes.all_done() {
            self.lag.end(now);
            self.withdraw();
        }
    }

    pub(super) fn blocked(&self) -> Option<BlockedRecord> {
        let (index, since) = self.blocking()?;
        Some(BlockedRecord {
            since,
            next: self.position(index),
        })
    }

    /// The record that the run waits for, if its attempts do not go well, and since when.
    pub(super) fn blocking(&self) -> Option<(usize, Instant)> {
        let index = self.lanes.done_through();
        Some((index, self.attempts.get(&index)?.since?))
    }

    pub(super) fn position(&self, index: usize) -> Position {
        self.batch.record(index).position()
    }

    fn letter<T>(
        &self,
        index: usize,
        report: Report<'_>,
        send: impl FnOnce(&DeadLetter<'_>) -> T,
    ) -> T {
        let stderr = String::from_utf8_lossy(report.stderr);
        let attempts = self.attempts.get(&index);
        let cause = Cause {
            attempts: attempts.map_or(0, |attempts| attempts.handed),
            failures: attempts.map_or(0, |attempts| attempts.charged),
            outcome: report.outcome,
            stderr: &stderr,
        };
        let record = self.batch.record(index);
        let behind = self.batch.millis_behind_latest;
        send(&DeadLetter::new(&self.shard_id, &record, behind, cause))
    }

    /// The oldest letter that waits.
    pub(super) fn next_letter(&self) -> Option<(Position, Vec<u8>)> {
        let Letter {
            index,
            outcome,
            stderr,
            ..
        } = self.letters.front()?;
        let report = Report { outcome, stderr };
        let line = self.letter(*index, report, |letter| letter.to_line());
        Some((self.position(*index), line))
    }

    /// The oldest letters as lines, up to this many bytes, and how many they are.
    pub(super) fn next_letters(&self, most: usize) -> (usize, Vec<u8>) {
        let (mut count, mut lines) = (0, Vec::new());
        for Letter {
            index,
            outcome,
            stderr,
            ..
        } in &self.letters
        {
            let report = Report { outcome, stderr };
            lines.extend(self.letter(*index, report, |letter| letter.to_line()));
            count += 1;
            if lines.len() >= most {
                break;
            }
        }
        (count, lines)
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
        self.lanes.done(index);
    }

    fn attempts(&mut self, index: usize) -> &mut Attempts {
        self.attempts.entry(index).or_default()
    }

    fn age(&self, index: usize) -> Option<Duration> {
        let arrived =
            u64::try_from(self.batch.record(index).approximate_arrival_timestamp?).ok()?;
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
