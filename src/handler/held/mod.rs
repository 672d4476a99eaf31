//! The records of a batch on their way to being done: what becomes of each after an attempt.

mod attempts;
mod lanes;

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use humantime::format_duration;

use super::lag::Lag;
use super::pool::attempt::Attempt;
use super::{Event, First, OnFailure, Settings};
use crate::checkpoint::Stuck;
use crate::dead_letter::{Cause, DeadLetter};
use crate::outcome::Class;
use crate::record::{Batch, Position};
use crate::tally::Tally;
pub use attempts::Limits;
use attempts::{Breaker, GivenUp, Trial};
use lanes::Lanes;

/// The records of a batch, and what is known of those that were not done at once.
pub(super) struct Records {
    settings: Rc<Settings>,
    pub(super) shard_id: String,
    pub(super) batch: Batch,
    pub(super) lanes: Lanes,
    trials: HashMap<usize, Trial>,
    breaker: Breaker,
    lag: Lag,
    pub(super) events: VecDeque<Event>,
    /// So much of the run was told.
    told: usize,
    /// No attempt starts before: we were asked to stop.
    pub(super) paused_until: Option<Instant>,
    /// No other record than those that found the handler broken is tried before, unless one is done.
    broken_until: Option<Instant>,
    /// A record is done since the handler was last found broken.
    works: bool,
    /// The first record goes alone.
    first: First,
    pub(super) halted: bool,
    pub(super) tally: Tally,
    /// As of the last [`Records::look_at_clock`].
    time_of_day: SystemTime,
    /// Records that are done once their dead letters are where they are to be.
    letters: VecDeque<Letter>,
}

/// A dead letter that waits to be taken, and what led to it.
struct Letter {
    index: usize,
    reason: String,
    outcome: String,
    stderr: Vec<u8>,
}

/// What became of a record after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    /// The handler accepted it.
    Done,
    /// It will not be done: the user's policy took it.
    Disposed,
    /// It is disposed of as soon as a command has taken its dead letter.
    AwaitsCommand,
    /// It is tried again from this time on.
    RetryAt(Instant),
    /// The worker stops.
    Halted,
}

impl Disposition {
    /// Whether the record is handed over no more, so that those after it may go on.
    pub(super) fn is_over(self) -> bool {
        match self {
            Disposition::Done | Disposition::Disposed | Disposition::AwaitsCommand => true,
            Disposition::RetryAt(_) | Disposition::Halted => false,
        }
    }
}

/// What a record does that may neither be done nor passed over.
const BLOCKS: &str = "blocks its shard";

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
            trials: HashMap::new(),
            breaker: Breaker::default(),
            lag: Lag::default(),
            events: VecDeque::new(),
            told: 0,
            paused_until: None,
            broken_until: None,
            works: false,
            first: First::WithOthers,
            halted: false,
            tally: Tally::default(),
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
                "the handler cannot keep up: it is busy nearly all the time and the shard is further behind than a \
                 minute ago; {}",
                advice
            );
        }
        let keys = (0..batch.len()).map(|index| batch.record(index).partition_key);
        self.lanes = Lanes::new(keys, self.settings.jobs);
        self.batch = batch;
        self.first = first;
        self.told = 0;
    }

    /// The record that `lane` may take now.
    pub(super) fn peek(&mut self, lane: usize, now: Instant) -> Option<usize> {
        if self.broken_until.is_none_or(|until| now >= until) {
            return self.lanes.peek(lane, now);
        }
        let trials = &self.trials;
        self.lanes
            .peek_where(lane, now, |index| trials.contains_key(&index))
    }

    /// When a record may be tried that must wait now.
    pub(super) fn wake(&self) -> impl Iterator<Item = Instant> {
        let holds = [self.paused_until, self.broken_until, self.lanes.wake()];
        holds.into_iter().flatten()
    }

    /// When the oldest record that is not done arrived.
    pub(super) fn oldest(&self) -> Option<i64> {
        let index = Some(self.lanes.run()).filter(|_| !self.lanes.all_done())?;
        self.batch.record(index).approximate_arrival_timestamp
    }

    /// No record is ours any more.
    pub(super) fn withdraw(&mut self) {
        self.batch = Batch::default();
        self.lanes = Lanes::default();
        self.trials.clear();
        self.letters.clear();
        self.told = 0;
    }

    /// The how-manieth handing over of this record the next one is.
    pub(super) fn attempt_number(&self, index: usize) -> u32 {
        self.trials.get(&index).map_or(1, |trial| trial.handed + 1)
    }

    /// Whether the record is to be given alone.
    pub(super) fn goes_alone(&self, index: usize) -> bool {
        (index == 0 && self.first == First::Alone) || self.is_suspect(index)
    }

    /// Whether an attempt failed that may have been this record's fault.
    pub(super) fn is_suspect(&self, index: usize) -> bool {
        !self.trials.is_empty() && self.trials.get(&index).is_some_and(|trial| trial.alone)
    }

    /// The record is to be given alone from now on.
    pub(super) fn suspect(&mut self, index: usize) {
        self.trial(index).alone = true;
    }

    /// Does with a record what the class of its attempt asks for.
    pub(super) fn settle(
        &mut self,
        index: usize,
        class: Class,
        report: Report<'_>,
        now: Instant,
    ) -> Disposition {
        if !matches!(class, Class::Done | Class::Checkpoint) {
            self.tally.fail(class);
        }
        match class {
            Class::Done | Class::Checkpoint => {
                if class == Class::Checkpoint {
                    self.wish(index);
                }
                self.done(index);
                Disposition::Done
            }
            Class::Reject => {
                self.tally.rejected += 1;
                let trial = self.trial(index);
                trial.handed += 1;
                trial.since.get_or_insert(now);
                self.dispose(index, "is rejected", report, now)
            }
            Class::Retry | Class::Fail => self.try_again(index, class, report, now),
            Class::Broken => Disposition::RetryAt(self.broken(&[index], report, now)),
            Class::Halt => {
                self.halt(index, report, now);
                Disposition::Halted
            }
        }
    }

    /// So many of the attempt's oldest records were handled well.
    pub(super) fn answered(&mut self, attempt: &mut Attempt, records: usize, wish: bool) {
        for left in (0..records).rev() {
            let Some(index) = attempt.answer() else {
                return;
            };
            if wish && left == 0 {
                self.wish(index);
            }
            self.done(index);
        }
    }

    /// A record was handled well.
    fn done(&mut self, index: usize) {
        self.tally.done += 1;
        self.breaker.done();
        (self.works, self.broken_until) = (true, None);
        self.dispose_of(index);
    }

    /// The handler asks for a checkpoint at this record.
    fn wish(&mut self, index: usize) {
        let position = self.position(index);
        self.events.push_back(Event::Wish(position));
    }

    /// Rejects a record that cannot stand in the handler's format.
    pub(super) fn unfit(&mut self, index: usize, why: &str, now: Instant) {
        self.tally.rejected += 1;
        self.trial(index).since.get_or_insert(now);
        let outcome = format!("the payload {why}");
        self.dispose(
            index,
            "is rejected",
            Report {
                outcome: &outcome,
                stderr: &[],
            },
            now,
        );
    }

    /// Records come back that were handed over but of which nothing is known.
    pub(super) fn come_back(
        &mut self,
        indexes: impl Iterator<Item = usize>,
        until: Option<Instant>,
    ) {
        for index in indexes {
            self.trial(index).handed += 1;
            self.lanes.put_back(index, until);
        }
    }

    /// All of these are to be tried again, and none of them is charged.
    pub(super) fn all_again(
        &mut self,
        indexes: &[usize],
        reason: &str,
        report: Report<'_>,
        now: Instant,
    ) -> Instant {
        self.tally.retries += 1;
        let trial = self.trial(indexes[0]);
        trial.note(now, false);
        let failures = trial.unsuccessful;
        let delay = self.settings.delays.after(failures);
        self.come_back(indexes.iter().copied(), Some(now + delay));
        self.say_again(indexes[0], reason, report, delay);
        now + delay
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
            let reason = "found the handler broken, though others are done, which go on";
            return self.all_again(indexes, reason, report, now);
        }
        let until = self.all_again(indexes, "found the handler broken", report, now);
        self.broken_until = self.broken_until.max(Some(until));
        until
    }

    /// A handler that lives on ended before it read any of these: nothing is known of them, but the first
    /// waits for a handler that reads, and blocks all after it.
    pub(super) fn unread(&mut self, indexes: &[usize], class: Class, now: Instant) {
        self.tally.fail(class);
        if let Some(first) = indexes.first() {
            self.trial(*first).note(now, false);
        }
        self.come_back(indexes.iter().copied(), None);
    }

    /// One of these failed, but not known which: again, uncharged, in smaller runs.
    pub(super) fn narrow(&mut self, indexes: &[usize], report: Report<'_>, now: Instant) {
        let (Some(first), Some(last)) = (indexes.first(), indexes.last()) else {
            return;
        };
        self.tally.retries += 1;
        let delay = self.settings.delays.after(1);
        log::warn!(
            "a run of {} records, {} to {}: {}; it follows in halves in {}",
            indexes.len(),
            self.position(*first),
            self.position(*last),
            report.outcome,
            shown(delay)
        );
        self.trial(*first).since.get_or_insert(now);
        self.come_back(indexes.iter().copied(), Some(now + delay));
    }

    pub(super) fn halt(&mut self, index: usize, report: Report<'_>, now: Instant) {
        self.halt_because(index, &format!("asks to halt: {}", report.outcome), now);
    }

    fn halt_because(&mut self, index: usize, why: &str, now: Instant) {
        self.tell_run(now);
        let position = self.position(index);
        self.events
            .push_back(Event::Halted(format!("record {position} {why}")));
        self.halted = true;
    }

    /// Tells how far the run has come. A batch that is done is let go at once: the next one may be as large.
    pub(super) fn tell_run(&mut self, now: Instant) {
        let run = self.lanes.run();
        if run == self.told {
            return;
        }
        self.note_ages(self.told..run);
        let end = self.position(run - 1);
        self.events.push_back(Event::Done {
            end,
            records: (run - self.told) as u64,
        });
        self.told = run;
        if self.lanes.all_done() {
            self.lag.end(now);
            self.withdraw();
        }
    }

    pub(super) fn stuck(&self) -> Option<Stuck> {
        let (index, since) = self.blocking()?;
        Some(Stuck {
            since,
            next: self.position(index),
        })
    }

    /// The record that the run waits for, if its attempts do not go well, and since when.
    pub(super) fn blocking(&self) -> Option<(usize, Instant)> {
        let index = self.lanes.run();
        Some((index, self.trials.get(&index)?.since?))
    }

    pub(super) fn position(&self, index: usize) -> Position {
        self.batch.record(index).position()
    }

    fn try_again(
        &mut self,
        index: usize,
        class: Class,
        report: Report<'_>,
        now: Instant,
    ) -> Disposition {
        let age = self.age(index);
        let trial = self.trial(index);
        trial.handed += 1;
        trial.alone = true;
        trial.note(now, class == Class::Fail);
        let failures = trial.unsuccessful;
        match trial.clone().given_up(&self.settings.limits, age) {
            Some(why) => self.give_up(index, why, report, now),
            None => {
                let reason = if class == Class::Fail {
                    "failed"
                } else {
                    "is to be retried"
                };
                let delay = self.settings.delays.after(failures);
                self.wait(index, reason, report, delay, now)
            }
        }
    }

    fn give_up(
        &mut self,
        index: usize,
        why: GivenUp,
        report: Report<'_>,
        now: Instant,
    ) -> Disposition {
        if !self.breaker.allows(&self.settings.limits) {
            let delay = self.settings.delays.longest();
            let reason = "is not given up, for the handler seems broken";
            return self.wait(index, reason, report, delay, now);
        }
        let (count, reason) = match why {
            GivenUp::Attempts => (
                &mut self.tally.worn_out,
                "failed for the last time (--max-attempts)",
            ),
            GivenUp::Age => (&mut self.tally.too_old, "is too old (--max-record-age)"),
        };
        *count += 1;
        let disposition = self.dispose(index, reason, report, now);
        if disposition.is_over() && self.breaker.give_up(&self.settings.limits) {
            log::error!(
                "{} records were given up in a row with none done between: the handler is taken for broken, and no \
                 more are given up until one is done (--max-consecutive-failures)",
                self.settings.limits.max_consecutive_failures
            );
        }
        disposition
    }

    /// Does with a record that will not be done what the user's flags say.
    fn dispose(
        &mut self,
        index: usize,
        reason: &str,
        report: Report<'_>,
        now: Instant,
    ) -> Disposition {
        let blocked = match self.settings.on_failure.clone() {
            OnFailure::Skip => {
                self.tally.skipped += 1;
                self.say_disposed(index, reason, report, "it is skipped (--on-failure skip)");
                None
            }
            OnFailure::DeadLetter(_) | OnFailure::DeadLetterCommand(_) => {
                self.letters.push_back(Letter {
                    index,
                    reason: reason.to_owned(),
                    outcome: report.outcome.to_owned(),
                    stderr: report.stderr.to_vec(),
                });
                return Disposition::AwaitsCommand;
            }
            OnFailure::Halt => {
                let outcome = report.outcome;
                let why = format!("{reason}: {outcome} (--on-failure halt)");
                self.halt_because(index, &why, now);
                return Disposition::Halted;
            }
            OnFailure::Block => Some(format!("{reason} and {BLOCKS}")),
        };
        match &blocked {
            None => {
                self.dispose_of(index);
                Disposition::Disposed
            }
            Some(why) => self.wait(index, why, report, self.settings.delays.longest(), now),
        }
    }

    fn letter<T>(
        &self,
        index: usize,
        report: Report<'_>,
        send: impl FnOnce(&DeadLetter<'_>) -> T,
    ) -> T {
        let stderr = String::from_utf8_lossy(report.stderr);
        let trial = self.trials.get(&index);
        let cause = Cause {
            attempts: trial.map_or(0, |trial| trial.handed),
            failures: trial.map_or(0, |trial| trial.charged),
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

    /// The oldest letters as lines, up to so many bytes, and how many they are.
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
    pub(super) fn letter_is_out(&mut self, place: &str) {
        let Some(letter) = self.letters.pop_front() else {
            return;
        };
        let report = Report {
            outcome: &letter.outcome,
            stderr: &letter.stderr,
        };
        self.say_disposed(letter.index, &letter.reason, report, place);
        self.tally.dead_lettered += 1;
        self.dispose_of(letter.index);
    }

    /// The oldest letter was not taken; why, and when it is offered again.
    pub(super) fn letter_is_not_out(&mut self, why: &str, delay: Duration) {
        self.tally.unwritten += 1;
        if let Some(letter) = self.letters.front() {
            log::error!(
                "record {} {}: {}; {why}; it {BLOCKS}, and its letter is offered again in {}",
                self.position(letter.index),
                letter.reason,
                letter.outcome,
                shown(delay)
            );
        }
    }

    /// The record needs nothing more.
    fn dispose_of(&mut self, index: usize) {
        if !self.trials.is_empty() {
            self.trials.remove(&index);
        }
        self.lanes.done(index);
    }

    fn wait(
        &mut self,
        index: usize,
        reason: &str,
        report: Report<'_>,
        delay: Duration,
        now: Instant,
    ) -> Disposition {
        self.tally.retries += 1;
        self.say_again(index, reason, report, delay);
        self.lanes.put_back(index, Some(now + delay));
        Disposition::RetryAt(now + delay)
    }

    fn say_again(&self, index: usize, reason: &str, report: Report<'_>, delay: Duration) {
        let next = match self.attempt_number(index) {
            1 => "it is looked at again".to_owned(),
            number => format!("attempt {number} follows"),
        };
        let (position, outcome) = (self.position(index), report.outcome);
        let trial = self.trials.get(&index).cloned().unwrap_or_default();
        // A record that waits by itself is usual; one that holds up its shard for good is for somebody to see.
        let blocks = reason.ends_with(BLOCKS);
        let level = if blocks || self.settings.delays.is_longest(trial.unsuccessful) {
            log::Level::Error
        } else {
            log::Level::Warn
        };
        log::log!(
            level,
            "record {position} {reason}: {outcome}; {next} in {}{}",
            shown(delay),
            self.charged(&trial)
        );
    }

    /// The attempts that count against the record, and how many may.
    fn charged(&self, trial: &Trial) -> String {
        match (trial.charged, self.settings.limits.max_attempts) {
            (0, _) => String::new(),
            (failures, Some(limit)) => format!(" (failure {failures} of {limit})"),
            (failures, None) => format!(" (failure {failures}, without a limit)"),
        }
    }

    fn say_disposed(&self, index: usize, reason: &str, report: Report<'_>, place: &str) {
        log::warn!(
            "record {} {reason}: {}; {place}",
            self.position(index),
            report.outcome
        );
    }

    fn trial(&mut self, index: usize) -> &mut Trial {
        self.trials.entry(index).or_default()
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
        if self.tally.timed
            && let Some(age) = self.age(run.start)
        {
            let count = run.len() as u64;
            self.tally.ages.observe(age.as_secs_f64(), count);
        }
    }
}

/// A delay as a person reads it.
pub(super) fn shown(delay: Duration) -> impl Display {
    format_duration(Duration::from_millis(delay.as_millis() as u64))
}
