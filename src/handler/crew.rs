//! The crew: the handler processes of a shard, and what becomes of each record.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use humantime::format_duration;

use super::attempt::{Attempt, End, Heard, Limit, Stopped, Verdict};
use super::{Event, Finish, Handlers, OnFailure, Settings, environment, record};
use crate::checkpoint::Stuck;
use crate::dead_letter::{self, Cause, DeadLetter};
use crate::format::{Envelope, Framed, Framer};
use crate::lanes::Lanes;
use crate::outcome::{Class, Ended};
use crate::process::{self, Happening, Processes, Spawn, Stderr};
use crate::record::Batch;
use crate::retry::{Breaker, GivenUp, Trial};

/// The handlers of one shard.
pub struct Crew<'fd> {
    settings: Settings,
    processes: Processes<'fd>,
    framer: Framer,
    shard_id: String,
    without: Vec<OsString>,
    batch: Batch,
    lanes: Lanes,
    /// The attempt in each slot, if one is there.
    slots: Vec<Option<Attempt>>,
    /// Records that were not done at the first attempt.
    trials: HashMap<usize, Trial>,
    breaker: Breaker,
    events: VecDeque<Event>,
    /// So much of the run was told.
    told: usize,
    /// No attempt starts before: the handler is broken, or we were asked to stop.
    hold_until: Option<Instant>,
    finishing: bool,
}

impl<'fd> Crew<'fd> {
    /// A crew without a shard, which waits for the daemon's input and signals with `processes`.
    pub fn new(settings: Settings, processes: Processes<'fd>) -> Crew<'fd> {
        Crew {
            framer: Framer::new(settings.format),
            slots: (0..settings.jobs).map(|_| None).collect(),
            settings,
            processes,
            shard_id: String::new(),
            without: environment::ours(),
            batch: Batch::default(),
            lanes: Lanes::default(),
            trials: HashMap::new(),
            breaker: Breaker::default(),
            events: VecDeque::new(),
            told: 0,
            hold_until: None,
            finishing: false,
        }
    }

    /// Starts whatever may start now.
    fn start_attempts(&mut self, now: Instant) -> Result<()> {
        if self.finishing || self.hold_until.is_some_and(|until| now < until) {
            return Ok(());
        }
        for slot in 0..self.slots.len() {
            while self.slots[slot].is_none() && !self.finishing {
                let Some(index) = self.lanes.peek(slot, now) else {
                    break;
                };
                self.lanes.take(slot, index);
                self.start(slot, index, now)?;
            }
        }
        Ok(())
    }

    /// Starts a handler for the record at `index`, unless the record cannot stand in the format.
    fn start(&mut self, slot: usize, index: usize, now: Instant) -> Result<()> {
        let mut attempt = Attempt::new(now);
        let mut input = Vec::new();
        if let Framed::Unfit(why) = self.frame(index, &mut input)? {
            self.reject(index, &format!("the payload holds {why}"), &[], now);
            return Ok(());
        }
        let mut environment =
            environment::of_handler(&self.shard_id, &attempt.token, &self.settings.on_exit);
        let record = self.batch.record(index);
        let number = self.attempt_number(index);
        environment::of_record(
            &mut environment,
            &record,
            self.batch.millis_behind_latest,
            number,
        );
        let spawn = Spawn {
            environment: &environment,
            without: &self.without,
            watch_input: false,
            line_limit: process::LINE,
            stderr: Stderr::Log,
        };
        if let Err(e) = self.processes.start(slot, &self.settings.command, &spawn) {
            let outcome = format!(
                "'{}' cannot be started: {e}",
                self.settings.command.program.display()
            );
            self.settle(index, Class::Broken, &outcome, &[], now);
            return Ok(());
        }
        attempt.unanswered.push_back(index);
        self.slots[slot] = Some(attempt);
        self.processes
            .feed(slot, |outbox| std::mem::swap(outbox, &mut input));
        self.processes.close_input(slot);
        Ok(())
    }

    fn frame(&mut self, index: usize, input: &mut Vec<u8>) -> Result<Framed> {
        let envelope = Envelope {
            n: 1,
            shard_id: &self.shard_id,
            attempt: self.attempt_number(index),
            last: true,
        };
        self.framer
            .frame(&self.batch.record(index), &envelope, input)
    }

    fn attempt_number(&self, index: usize) -> u32 {
        self.trials.get(&index).map_or(1, |trial| trial.handed + 1)
    }

    fn take_in(&mut self, happening: Happening, now: Instant) {
        match happening {
            Happening::Input => self.events.push_back(Event::Input),
            Happening::Signal(signal) => {
                self.hold_until = Some(now + self.settings.stop.timeout);
                self.events.push_back(Event::Signal(signal));
            }
            Happening::Line { slot, line } => self.hear(slot, &line, now),
            Happening::Ended {
                slot,
                status,
                stderr,
                ..
            } => {
                self.ended(
                    slot,
                    End {
                        ended: status.into(),
                        stderr,
                    },
                    now,
                );
            }
        }
    }

    fn hear(&mut self, slot: usize, line: &[u8], now: Instant) {
        let Some(attempt) = &mut self.slots[slot] else {
            return;
        };
        match record::hear(attempt, line, now) {
            Heard::Noted => {}
            Heard::Log => process::log_stdout(line),
        }
    }

    fn ended(&mut self, slot: usize, mut end: End, now: Instant) {
        let Some(attempt) = self.slots[slot].take() else {
            return;
        };
        match attempt.stopped {
            Some(Stopped::Withdrawn) => return,
            Some(Stopped::TimedOut) => end.ended = Ended::TimedOut,
            None => {}
        }
        let Some(index) = attempt.unanswered.front().copied() else {
            return;
        };
        let Verdict::Oldest(class) = record::verdict(&attempt, end.ended, &self.settings.on_exit);
        let position = self.batch.record(index).position();
        let number = self.attempt_number(index);
        let seconds = (now - attempt.started).as_secs_f64();
        log::debug!(
            "record {position}, attempt {number}: {} after {seconds:.3} s, {class}",
            end.ended
        );
        self.settle(index, class, &end.ended.to_string(), &end.stderr, now);
    }

    /// Does with a record what its class asks for.
    fn settle(&mut self, index: usize, class: Class, outcome: &str, stderr: &[u8], now: Instant) {
        match class {
            Class::Done | Class::Checkpoint => {
                self.breaker.done();
                if class == Class::Checkpoint {
                    self.events
                        .push_back(Event::Wish(self.batch.record(index).position()));
                }
                self.done(index);
            }
            Class::Reject => {
                self.trial(index).handed += 1;
                self.reject(index, outcome, stderr, now);
            }
            Class::Retry | Class::Fail => self.try_again(index, class, outcome, stderr, now),
            Class::Broken => {
                let failures = self.note(index, false, now);
                let delay = self.settings.delays.after(failures);
                self.hold_until = Some(now + delay);
                self.put_back(index, outcome, "the handler is broken", delay, now);
            }
            Class::Halt => self.halt(index, outcome),
        }
    }

    fn try_again(
        &mut self,
        index: usize,
        class: Class,
        outcome: &str,
        stderr: &[u8],
        now: Instant,
    ) {
        let failures = self.note(index, class == Class::Fail, now);
        let age = self.age(index);
        match self
            .trial(index)
            .clone()
            .given_up(&self.settings.limits, age)
        {
            Some(why) => self.give_up(index, why, outcome, stderr, now),
            None => {
                let delay = self.settings.delays.after(failures);
                self.put_back(
                    index,
                    outcome,
                    if class == Class::Fail {
                        "failed"
                    } else {
                        "is to be retried"
                    },
                    delay,
                    now,
                );
            }
        }
    }

    fn give_up(&mut self, index: usize, why: GivenUp, outcome: &str, stderr: &[u8], now: Instant) {
        if !self.breaker.allows(&self.settings.limits) {
            let delay = self.settings.delays.longest();
            return self.put_back(
                index,
                outcome,
                "is not given up, for the handler seems broken",
                delay,
                now,
            );
        }
        let reason = match why {
            GivenUp::Attempts => "failed for the last time (--max-attempts)",
            GivenUp::Age => "is too old (--max-record-age)",
        };
        if self.dispose(index, reason, outcome, stderr, now)
            && self.breaker.give_up(&self.settings.limits)
        {
            log::error!(
                "{} records were given up in a row with none done between: the handler is taken for broken, and no \
                 more are given up until one is done (--max-consecutive-failures)",
                self.settings.limits.max_consecutive_failures
            );
        }
    }

    fn reject(&mut self, index: usize, outcome: &str, stderr: &[u8], now: Instant) {
        self.trial(index).since.get_or_insert(now);
        self.dispose(index, "is rejected", outcome, stderr, now);
    }

    /// Does with a record that will not be done what the user's flags say; whether it counts as done.
    fn dispose(
        &mut self,
        index: usize,
        reason: &str,
        outcome: &str,
        stderr: &[u8],
        now: Instant,
    ) -> bool {
        let position = self.batch.record(index).position();
        let blocked = match self.settings.on_failure.clone() {
            OnFailure::Skip => {
                log::warn!(
                    "record {position} {reason}: {outcome}; it is skipped (--on-failure skip)"
                );
                None
            }
            OnFailure::DeadLetter(file) => match self.write_letter(index, &file, outcome, stderr) {
                Ok(file) => {
                    log::warn!(
                        "record {position} {reason}: {outcome}; it is in '{}'",
                        file.display()
                    );
                    None
                }
                Err(e) => Some(format!("{reason}, but {e:#}")),
            },
            OnFailure::Halt => {
                self.halt(index, outcome);
                return false;
            }
            OnFailure::Block => Some(format!("{reason} and blocks its shard")),
        };
        match blocked {
            None => self.done(index),
            Some(ref why) => {
                self.put_back(index, outcome, why, self.settings.delays.longest(), now)
            }
        }
        blocked.is_none()
    }

    fn write_letter(
        &mut self,
        index: usize,
        file: &std::path::Path,
        outcome: &str,
        stderr: &[u8],
    ) -> Result<PathBuf> {
        let file = file
            .to_str()
            .context("the dead-letter file's name is not UTF-8")?;
        let file = PathBuf::from(file.replace("{shard}", &self.shard_id));
        let stderr = String::from_utf8_lossy(stderr);
        let cause = Cause {
            attempts: self.trial(index).handed,
            outcome,
            stderr: &stderr,
        };
        let record = self.batch.record(index);
        let letter = DeadLetter::new(
            &self.shard_id,
            &record,
            self.batch.millis_behind_latest,
            cause,
        );
        dead_letter::append(&file, &letter)?;
        Ok(file)
    }

    fn done(&mut self, index: usize) {
        self.trials.remove(&index);
        self.lanes.done(index);
    }

    fn put_back(
        &mut self,
        index: usize,
        outcome: &str,
        reason: &str,
        delay: Duration,
        now: Instant,
    ) {
        let position = self.batch.record(index).position();
        let number = self.attempt_number(index);
        let pause = format_duration(Duration::from_millis(delay.as_millis() as u64));
        log::warn!("record {position}: {reason}: {outcome}; attempt {number} follows in {pause}");
        self.lanes.put_back(index, Some(now + delay));
    }

    fn halt(&mut self, index: usize, outcome: &str) {
        let position = self.batch.record(index).position();
        self.tell_run();
        self.events
            .push_back(Event::Halted(format!("record {position}: {outcome}")));
        self.finish(Finish::Stop);
    }

    fn trial(&mut self, index: usize) -> &mut Trial {
        self.trials.entry(index).or_default()
    }

    /// Notes an attempt without success; how many there were in a row.
    fn note(&mut self, index: usize, charged: bool, now: Instant) -> u32 {
        let trial = self.trial(index);
        trial.handed += 1;
        trial.note(now, charged);
        trial.unsuccessful
    }

    fn age(&self, index: usize) -> Option<Duration> {
        let arrived =
            u64::try_from(self.batch.record(index).approximate_arrival_timestamp?).ok()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
        now.checked_sub(Duration::from_millis(arrived))
    }

    /// Judges the time limits; everything readable has been read before.
    fn judge_limits(&mut self, now: Instant) {
        let Some(limit) = self.settings.timeout else {
            return;
        };
        for (slot, attempt) in self.slots.iter_mut().enumerate() {
            let Some(attempt) = attempt else { continue };
            match attempt.check_limit(limit, now) {
                Limit::Nothing => {}
                Limit::Half => log::warn!(
                    "the handler has been silent for {}, half of its time limit (--timeout)",
                    format_duration(Duration::from_secs((limit / 2).as_secs()))
                ),
                Limit::Over => {
                    log::error!(
                        "the handler reached its time limit of {} and is stopped",
                        format_duration(limit)
                    );
                    attempt.stopped = Some(Stopped::TimedOut);
                    self.processes.stop(slot, self.settings.stop);
                }
            }
        }
    }

    /// Tells how far the run has come.
    fn tell_run(&mut self) {
        let run = self.lanes.run();
        if run > self.told {
            let end = self.batch.record(run - 1).position();
            self.events.push_back(Event::Done {
                end,
                records: (run - self.told) as u64,
            });
            self.told = run;
        }
    }

    fn wake(&self, now: Instant, until: Option<Instant>) -> Option<Instant> {
        let limits = self.slots.iter().flatten();
        let limits = self.settings.timeout.into_iter().flat_map(|limit| {
            limits
                .clone()
                .filter_map(move |attempt| attempt.limit_at(limit))
        });
        let start = self
            .lanes
            .wake()
            .map(|at| at.max(self.hold_until.unwrap_or(at)));
        let held = self.hold_until.filter(|hold| *hold > now);
        limits.chain(start).chain(held).chain(until).min()
    }
}

impl Handlers for Crew<'_> {
    fn begin(&mut self, shard_id: &str) -> Result<()> {
        shard_id.clone_into(&mut self.shard_id);
        self.settings.command.find().map(|_| ())
    }

    fn offer(&mut self, batch: Batch) {
        debug_assert!(self.lanes.all_done());
        self.lanes = Lanes::new(
            (0..batch.len()).map(|index| batch.record(index).partition_key),
            self.slots.len(),
        );
        self.batch = batch;
        self.told = 0;
    }

    fn wait(&mut self, watch_input: bool, until: Option<Instant>) -> Result<Event> {
        loop {
            self.start_attempts(Instant::now())?;
            self.tell_run();
            if self.finishing && !self.processes.any_running() {
                self.finishing = false;
                self.events.push_back(Event::Finished);
            }
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            let now = Instant::now();
            if until.is_some_and(|until| now >= until) {
                return Ok(Event::Deadline);
            }
            for happening in self.processes.wait(watch_input, self.wake(now, until))? {
                self.take_in(happening, Instant::now());
            }
            self.judge_limits(Instant::now());
        }
    }

    fn finish(&mut self, how: Finish) {
        self.finishing = true;
        for (slot, attempt) in self.slots.iter_mut().enumerate() {
            let Some(attempt) = attempt else { continue };
            match how {
                Finish::Orderly => self.processes.finish(slot, self.settings.stop),
                Finish::Stop => {
                    attempt.stopped = Some(Stopped::Withdrawn);
                    self.processes.stop(slot, self.settings.stop);
                }
            }
        }
        if how == Finish::Stop {
            self.batch = Batch::default();
            self.lanes = Lanes::default();
            self.trials.clear();
        }
    }

    fn stuck(&self) -> Option<Stuck> {
        let index = self.lanes.run();
        let since = self.trials.get(&index)?.since?;
        Some(Stuck {
            since,
            next: self.batch.record(index).position(),
        })
    }
}
