//! The crew: the handler processes of a shard, what they are given, and what they say.

use std::ffi::OsString;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use humantime::format_duration;

use super::attempt::{Attempt, End, Heard, Limit, Stopped, Verdict};
use super::records::{Records, Report};
use super::shard::Answers;
use super::{Event, Finish, Handlers, Per, Settings, batch, environment, record, shard};
use crate::checkpoint::Stuck;
use crate::format::{Envelope, Format, Framed, Framer};
use crate::outcome::{Class, Ended};
use crate::process::{self, Happening, Processes, Spawn, Stderr};
use crate::record::Batch;

/// The longest reply of a Lambda handler that is read.
const REPLY: usize = 16 * 1024 * 1024;

/// A buffer that grew beyond this for large records is not kept.
const KEEP: usize = 1024 * 1024;

/// How long a handler may have printed nothing before its output is taken to be buffered.
const HINT_AFTER: Duration = Duration::from_secs(10);

/// The handlers of one shard.
pub struct Crew<'fd> {
    settings: Rc<Settings>,
    processes: Processes<'fd>,
    framer: Framer,
    without: Vec<OsString>,
    records: Records,
    slots: Vec<Slot>,
    /// Framed records on their way to a handler; kept to be used again.
    input: Vec<u8>,
    finishing: bool,
}

/// A place for one handler process.
#[derive(Debug, Default)]
struct Slot {
    attempt: Option<Attempt>,
    /// A run of so many records failed without naming one, and is being narrowed down.
    suspects: usize,
    /// Handlers that died in a row without an answer.
    deaths: u32,
    /// No handler starts here before.
    rest_until: Option<Instant>,
}

impl<'fd> Crew<'fd> {
    /// A crew without a shard, which waits for the daemon's input and signals with `processes`.
    pub fn new(settings: Settings, processes: Processes<'fd>) -> Crew<'fd> {
        let settings = Rc::new(settings);
        Crew {
            framer: Framer::new(settings.format.clone()),
            slots: (0..settings.jobs).map(|_| Slot::default()).collect(),
            records: Records::new(Rc::clone(&settings)),
            settings,
            processes,
            without: environment::ours(),
            input: Vec::new(),
            finishing: false,
        }
    }

    /// Gives every handler what it may have now.
    fn hand_over(&mut self, now: Instant) -> Result<()> {
        if self.records.lanes.all_done() {
            return Ok(());
        }
        for slot in 0..self.slots.len() {
            let held = self.records.hold_until.is_some_and(|until| now < until);
            if self.finishing || self.records.halted || held {
                return Ok(());
            }
            match &self.slots[slot].attempt {
                None if self.slots[slot].rest_until.is_none_or(|until| now >= until) => {
                    self.start(slot, now)?
                }
                Some(attempt) if self.takes_more(attempt) => self.give_more(slot, now)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a running handler may be given records.
    fn takes_more(&self, attempt: &Attempt) -> bool {
        matches!(self.settings.per, Per::Shard { .. })
            && attempt.stopped.is_none()
            && !attempt.sealed
            && !self.is_full(attempt, 0)
            && !self.is_spent(attempt)
    }

    /// Whether the handler may not have one more record, of so many bytes, before it answers or ends.
    fn is_full(&self, attempt: &Attempt, bytes: u64) -> bool {
        let has = attempt.unanswered.len();
        match self.settings.per {
            Per::Record => has >= 1,
            Per::Batch { size, bytes: limit } => {
                size.is_some_and(|size| has >= size)
                    || limit.is_some_and(|limit| has > 0 && bytes > limit)
            }
            Per::Shard { inflight, .. } => has >= inflight || self.is_spent(attempt),
        }
    }

    /// Whether the handler has had all the records that one process may have.
    fn is_spent(&self, attempt: &Attempt) -> bool {
        matches!(self.settings.per, Per::Shard { max_records: Some(max), .. } if attempt.given >= max)
    }

    /// Starts a handler for whatever may start in `slot`.
    fn start(&mut self, slot: usize, now: Instant) -> Result<()> {
        let mut attempt = Attempt::new(now);
        self.framer.begin(&mut self.input);
        self.fill(slot, &mut attempt, now)?;
        let Some(first) = attempt.unanswered.front().copied() else {
            self.input.clear();
            return Ok(());
        };
        self.framer.end(&mut self.input);
        if let Err(e) = self.spawn(slot, &attempt, first) {
            self.input.clear();
            let outcome = format!(
                "'{}' cannot be started: {e}",
                self.settings.command.program.display()
            );
            let given: Vec<usize> = attempt.unanswered.into();
            self.records.broken(
                &given,
                Report {
                    outcome: &outcome,
                    stderr: &[],
                },
                now,
            );
            return Ok(());
        }
        self.feed(slot);
        if !matches!(self.settings.per, Per::Shard { .. }) || self.is_spent(&attempt) {
            self.processes.close_input(slot);
        }
        self.slots[slot].attempt = Some(attempt);
        Ok(())
    }

    fn spawn(&mut self, slot: usize, attempt: &Attempt, first: usize) -> std::io::Result<()> {
        let settings = &self.settings;
        let mut environment =
            environment::of_handler(&self.records.shard_id, &attempt.token, &settings.on_exit);
        let (batch, number) = (&self.records.batch, self.records.attempt_number(first));
        let behind = batch.millis_behind_latest;
        match settings.per {
            Per::Record => {
                environment::of_record(&mut environment, &batch.record(first), behind, number)
            }
            Per::Batch { .. } => {
                environment::of_batch(&mut environment, attempt.unanswered.len(), behind, number);
            }
            Per::Shard { inflight, .. } => environment::of_shard(&mut environment, slot, inflight),
        }
        let spawn = Spawn {
            environment: &environment,
            without: &self.without,
            watch_input: !matches!(settings.per, Per::Record),
            line_limit: if self.replies() { REPLY } else { process::LINE },
            stderr: Stderr::Log,
        };
        self.processes.start(slot, &settings.command, &spawn)
    }

    /// Gives a running handler more records. What it has printed is read first: an answer now would be to
    /// a record that it does not have.
    fn give_more(&mut self, slot: usize, now: Instant) -> Result<()> {
        let idle = self.slots[slot]
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.unanswered.is_empty());
        if idle {
            for line in self.processes.printed(slot) {
                self.hear(slot, &line, now);
            }
        }
        let Some(mut attempt) = self.slots[slot].attempt.take() else {
            return Ok(());
        };
        if attempt.stopped.is_none() {
            self.fill(slot, &mut attempt, now)?;
            self.feed(slot);
            if self.is_spent(&attempt) {
                self.processes.close_input(slot);
            }
        }
        self.slots[slot].attempt = Some(attempt);
        Ok(())
    }

    fn feed(&mut self, slot: usize) {
        self.processes.feed(slot, &mut self.input);
        if self.input.capacity() > KEEP {
            self.input = Vec::new();
        }
    }

    /// Appends to the input what the attempt may have now.
    fn fill(&mut self, slot: usize, attempt: &mut Attempt, now: Instant) -> Result<()> {
        let narrow = self.slots[slot].suspects.div_ceil(2);
        let mut bytes = 0;
        let framed = self.input.len();
        if attempt.unanswered.is_empty() {
            attempt.fed = 0;
        }
        let mut next = self.records.lanes.peek(slot, now);
        while let Some(index) = next {
            let alone = self.records.goes_alone(index);
            if (alone && !attempt.unanswered.is_empty())
                || self.is_full(attempt, bytes + self.payload(index))
            {
                break;
            }
            self.records.lanes.take(slot, index);
            let n = attempt.give(index, now);
            bytes += self.payload(index);
            next = self.records.lanes.peek(slot, now).filter(|next| {
                !alone
                    && !self.records.goes_alone(*next)
                    && (narrow == 0 || attempt.unanswered.len() < narrow)
                    && !self.is_full(attempt, bytes + self.payload(*next))
            });
            if let Framed::Unfit(why) = self.frame(index, n, next.is_none())? {
                attempt.unanswered.pop_back();
                attempt.given -= 1;
                if !attempt.unanswered.is_empty() {
                    // What is before it is handled first; then it comes up again.
                    self.records.lanes.put_back(index, None);
                    break;
                }
                self.records.unfit(index, why, now);
                let halted = self.records.halted;
                next = self.records.lanes.peek(slot, now).filter(|_| !halted);
            } else {
                attempt.sealed = next.is_none();
            }
        }
        attempt.fed += (self.input.len() - framed) as u64;
        Ok(())
    }

    fn frame(&mut self, index: usize, n: u64, last: bool) -> Result<Framed> {
        let attempt = self.records.attempt_number(index);
        let envelope = Envelope {
            n,
            shard_id: &self.records.shard_id,
            attempt,
            last,
        };
        self.framer.frame(
            &self.records.batch.record(index),
            &envelope,
            &mut self.input,
        )
    }

    /// About how many bytes the record's payload has: three for four of base64.
    fn payload(&self, index: usize) -> u64 {
        self.records.batch.record(index).data_base64.len() as u64 / 4 * 3
    }

    /// Whether the last line of stdout is a reply to the whole batch.
    fn replies(&self) -> bool {
        matches!(self.settings.format, Format::Lambda { .. })
    }

    fn take_in(&mut self, happening: Happening, now: Instant) {
        match happening {
            Happening::Input => self.records.events.push_back(Event::Input),
            Happening::Signal(signal) => {
                self.records.hold_until = Some(now + self.settings.stop.timeout);
                self.records.events.push_back(Event::Signal(signal));
            }
            Happening::Line { slot, line } => self.hear(slot, &line, now),
            Happening::Ended {
                slot,
                status,
                stderr,
                unread,
            } => {
                self.ended(
                    slot,
                    End {
                        ended: status.into(),
                        unread,
                        stderr,
                    },
                    now,
                );
            }
        }
    }

    fn hear(&mut self, slot: usize, line: &[u8], now: Instant) {
        let replies = self.replies();
        let Some(attempt) = self.slots[slot]
            .attempt
            .as_mut()
            .filter(|attempt| attempt.stopped.is_none())
        else {
            return process::log_stdout(line);
        };
        attempt.printed = true;
        let heard = match self.settings.per {
            Per::Record => record::hear(attempt, line, now),
            Per::Batch { .. } => batch::hear(attempt, line, replies, now),
            Per::Shard {
                inflight, plain, ..
            } => shard::hear(
                attempt,
                line,
                Answers {
                    plain,
                    bare: inflight == 1,
                },
                now,
            ),
        };
        match heard {
            Heard::Noted => {}
            Heard::Log => process::log_stdout(line),
            Heard::Done { records, wish } => self.answered(slot, records, wish),
            Heard::Bad(class) => self.answered_badly(slot, class, now),
            Heard::Halt => self.halt(slot, "the handler answered 'halt'"),
            Heard::Misled(why) => {
                log::error!(
                    "the handler sent {why}: '{}'; it is stopped",
                    process::excerpt(line)
                );
                self.stop(slot, Stopped::Misled(why));
            }
        }
    }

    /// The oldest records of the handler in `slot` are done.
    fn answered(&mut self, slot: usize, records: usize, wish: bool) {
        let Slot {
            attempt: Some(attempt),
            suspects,
            deaths,
            ..
        } = &mut self.slots[slot]
        else {
            return;
        };
        self.records.answered(attempt, records, wish);
        *suspects = suspects.saturating_sub(records);
        *deaths = 0;
        self.finish_spent(slot);
    }

    /// Lets a handler go that has answered all that one process may have.
    fn finish_spent(&mut self, slot: usize) {
        let attempt = self.slots[slot].attempt.as_ref();
        if attempt.is_some_and(|attempt| self.is_spent(attempt) && attempt.unanswered.is_empty()) {
            self.processes.finish(slot, self.settings.stop);
        }
    }

    /// The oldest record of the handler in `slot` is not done. If it has to be given again, those behind
    /// it must not be handled before it.
    fn answered_badly(&mut self, slot: usize, class: Class, now: Instant) {
        let Some(attempt) = &mut self.slots[slot].attempt else {
            return;
        };
        let Some(index) = attempt.answer() else {
            return;
        };
        let more = !attempt.unanswered.is_empty();
        let outcome = format!("the handler answered '{class}'");
        let done = self.records.settle(
            index,
            class,
            Report {
                outcome: &outcome,
                stderr: &[],
            },
            now,
        );
        if !done && more {
            self.stop(slot, Stopped::OutOfOrder);
        } else {
            self.finish_spent(slot);
        }
    }

    fn ended(&mut self, slot: usize, mut end: End, now: Instant) {
        let Some(mut attempt) = self.slots[slot].attempt.take() else {
            return;
        };
        if attempt.stopped == Some(Stopped::Withdrawn) {
            return;
        }
        self.log_attempt(&attempt, &end, now);
        match attempt.stopped {
            Some(Stopped::OutOfOrder) => {
                self.records.come_back(attempt.unanswered.into_iter(), None);
                return self.rest(slot, now);
            }
            Some(Stopped::TimedOut) => end.ended = Ended::TimedOut,
            Some(Stopped::Misled(_)) => end.ended = Ended::Misled,
            Some(Stopped::Withdrawn) | None => {}
        }
        let is_shard = matches!(self.settings.per, Per::Shard { .. });
        if attempt.unanswered.is_empty() || (is_shard && attempt.has_read_none(end.unread)) {
            self.records.come_back(attempt.unanswered.drain(..), None);
            return self.ended_idle(slot, &attempt, &end, now);
        }
        let outcome = match attempt.stopped {
            Some(Stopped::Misled(why)) => format!("the handler sent {why}"),
            _ if end.unread > 0 && end.ended == Ended::Code(0) => format!(
                "{}, with {} bytes of its input left unread",
                end.ended, end.unread
            ),
            _ => end.ended.to_string(),
        };
        let verdict = self.verdict(&attempt, &end);
        self.judge(
            slot,
            attempt,
            verdict,
            Report {
                outcome: &outcome,
                stderr: &end.stderr,
            },
            now,
        );
    }

    fn verdict(&self, attempt: &Attempt, end: &End) -> Verdict {
        let on_exit = &self.settings.on_exit;
        match self.settings.per {
            Per::Record => record::verdict(attempt, end.ended, on_exit),
            Per::Batch { .. } => {
                let number = |index: &usize| self.records.batch.record(*index).sequence_number;
                let find = |id: &str| {
                    attempt
                        .unanswered
                        .iter()
                        .position(|index| number(index) == id)
                };
                batch::verdict(attempt, end, on_exit, self.replies().then_some(&find))
            }
            Per::Shard { .. } => {
                let suspect = attempt
                    .unanswered
                    .front()
                    .is_some_and(|index| self.records.goes_alone(*index));
                shard::verdict(attempt, end.ended, on_exit, suspect)
            }
        }
    }

    /// Does what the end of a handler says of the records that it had.
    fn judge(
        &mut self,
        slot: usize,
        mut attempt: Attempt,
        verdict: Verdict,
        report: Report<'_>,
        now: Instant,
    ) {
        let (done, wish, next) = match verdict {
            Verdict::Done { wish } => (attempt.unanswered.len(), wish, None),
            Verdict::Upto { records, next } => (records, false, Some(next)),
            Verdict::Oldest(class) => (0, false, Some(class)),
            Verdict::Unnamed(class) => {
                return self.judge_unnamed(slot, attempt, class, report, now);
            }
        };
        self.records.answered(&mut attempt, done, wish);
        let suspects = &mut self.slots[slot].suspects;
        *suspects = if next.is_some() {
            0
        } else {
            suspects.saturating_sub(done)
        };
        if let Some((class, index)) = next.zip(attempt.answer()) {
            self.records.settle(index, class, report, now);
            self.rest(slot, now);
        }
        self.records.come_back(attempt.unanswered.into_iter(), None);
    }

    /// The handler failed, but it is not known at which of its records.
    fn judge_unnamed(
        &mut self,
        slot: usize,
        attempt: Attempt,
        class: Class,
        report: Report<'_>,
        now: Instant,
    ) {
        let records: Vec<usize> = attempt.unanswered.into();
        match class {
            Class::Retry => {
                self.records
                    .all_again(&records, "is to be retried", report, now);
            }
            Class::Broken => self.records.broken(&records, report, now),
            Class::Halt => self.records.halt(records[0], report),
            _ if matches!(self.settings.per, Per::Batch { .. }) && records.len() > 1 => {
                self.slots[slot].suspects = records.len();
                self.records.narrow(&records, report, now);
            }
            _ => {
                self.records.suspect(records[0]);
                self.records
                    .all_again(&records, "was not answered", report, now);
            }
        }
        self.rest(slot, now);
    }

    /// A handler has ended that had no record: one that lives on, between two records or after its input
    /// ended.
    fn ended_idle(&mut self, slot: usize, attempt: &Attempt, end: &End, now: Instant) {
        let good = matches!(
            self.settings.on_exit.class(end.ended),
            Class::Done | Class::Checkpoint
        );
        if !good && attempt.stopped.is_none() {
            log::error!(
                "the handler ended with {} though every record was answered",
                end.ended
            );
        }
        if !good || attempt.answered == 0 {
            self.rest(slot, now);
        }
    }

    /// No handler that lives on starts in `slot` for a while: no path leads from a failure to an attempt
    /// without a delay. For the others, it is their records that wait.
    fn rest(&mut self, slot: usize, now: Instant) {
        if matches!(self.settings.per, Per::Shard { .. }) {
            let slot = &mut self.slots[slot];
            slot.deaths = slot.deaths.saturating_add(1);
            slot.rest_until = Some(now + self.settings.delays.after(slot.deaths));
        }
    }

    fn log_attempt(&self, attempt: &Attempt, end: &End, now: Instant) {
        if !log::log_enabled!(log::Level::Debug) {
            return;
        }
        let seconds = (now - attempt.started).as_secs_f64();
        match attempt.unanswered.front() {
            Some(index) => log::debug!(
                "record {}, attempt {}: {} after {seconds:.3} s",
                self.records.position(*index),
                self.records.attempt_number(*index),
                end.ended
            ),
            None => log::debug!(
                "the handler of {} records: {} after {seconds:.3} s",
                attempt.given,
                end.ended
            ),
        }
    }

    fn halt(&mut self, slot: usize, outcome: &str) {
        if let Some(index) = self.slots[slot]
            .attempt
            .as_ref()
            .and_then(|attempt| attempt.unanswered.front())
        {
            self.records.halt(
                *index,
                Report {
                    outcome,
                    stderr: &[],
                },
            );
        } else {
            self.records
                .events
                .push_back(Event::Halted(outcome.to_owned()));
            self.records.halted = true;
        }
    }

    fn stop(&mut self, slot: usize, why: Stopped) {
        if let Some(attempt) = &mut self.slots[slot].attempt {
            attempt.stopped = Some(why);
        }
        self.processes.stop(slot, self.settings.stop);
    }

    /// Judges what is due by time; everything readable has been read before.
    fn judge_time(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            if self.processes.has_ended(slot) {
                continue;
            }
            self.hint_at_buffering(slot, now);
            let Some((limit, attempt)) =
                self.settings.timeout.zip(self.slots[slot].attempt.as_mut())
            else {
                continue;
            };
            match attempt.check_limit(limit, now) {
                Limit::Nothing => {}
                Limit::Half => log::warn!(
                    "the handler has been silent for {}, half of its time limit (--timeout)",
                    format_duration(limit / 2)
                ),
                Limit::Over => {
                    log::error!(
                        "the handler reached its time limit of {} and is stopped",
                        format_duration(limit)
                    );
                    self.stop(slot, Stopped::TimedOut);
                }
            }
        }
    }

    /// Says once what usually is the matter with a handler that never answers.
    fn hint_at_buffering(&mut self, slot: usize, now: Instant) {
        let Some(attempt) = &mut self.slots[slot].attempt else {
            return;
        };
        if hint_at(&self.settings, attempt).is_some_and(|at| now >= at) {
            attempt.hinted = true;
            log::warn!(
                "the handler has had a record for {} s and has printed nothing: its output is probably buffered; the \
                 cures are stdbuf -oL COMMAND, python3 -u, jq --unbuffered, fflush() in awk (and mawk -W interactive, \
                 for its input), grep --line-buffered",
                HINT_AFTER.as_secs()
            );
        }
    }

    fn wake(&self, now: Instant, until: Option<Instant>) -> Option<Instant> {
        let attempts = self.slots.iter().enumerate();
        let attempts = attempts
            .filter(|(slot, _)| !self.processes.has_ended(*slot))
            .filter_map(|(_, slot)| slot.attempt.as_ref());
        let limits = attempts
            .clone()
            .filter_map(|attempt| attempt.limit_at(self.settings.timeout?));
        let hints = attempts.filter_map(|attempt| hint_at(&self.settings, attempt));
        let rests = self
            .slots
            .iter()
            .filter(|slot| slot.attempt.is_none())
            .filter_map(|slot| slot.rest_until);
        let starts = rests
            .chain(self.records.hold_until)
            .chain(self.records.lanes.wake());
        let starts = starts.filter(|at| *at > now && !self.records.lanes.all_done());
        limits.chain(hints).chain(starts).chain(until).min()
    }
}

fn hint_at(settings: &Settings, attempt: &Attempt) -> Option<Instant> {
    let silent = !attempt.hinted && !attempt.printed && !attempt.unanswered.is_empty();
    (silent && matches!(settings.per, Per::Shard { .. })).then_some(attempt.started + HINT_AFTER)
}

impl Handlers for Crew<'_> {
    fn begin(&mut self, shard_id: &str) -> Result<()> {
        shard_id.clone_into(&mut self.records.shard_id);
        self.settings.command.find().map(|_| ())
    }

    fn offer(&mut self, batch: Batch) {
        self.records.offer(batch, Instant::now());
    }

    fn wait(&mut self, watch_input: bool, until: Option<Instant>) -> Result<Event> {
        loop {
            // One reading of the clock for what may start and for how long to sleep: with two, what falls
            // due between them would be slept through.
            let now = Instant::now();
            self.hand_over(now)?;
            self.records.tell_run();
            if std::mem::take(&mut self.records.halted) {
                self.finish(Finish::Stop);
            }
            if self.finishing && !self.processes.any_running() {
                self.finishing = false;
                self.records.events.push_back(Event::Finished);
            }
            if let Some(event) = self.records.events.pop_front() {
                return Ok(event);
            }
            if until.is_some_and(|until| now >= until) {
                return Ok(Event::Deadline);
            }
            for happening in self.processes.wait(watch_input, self.wake(now, until))? {
                self.take_in(happening, Instant::now());
            }
            self.judge_time(Instant::now());
        }
    }

    fn finish(&mut self, how: Finish) {
        self.finishing = true;
        for slot in 0..self.slots.len() {
            match how {
                Finish::Orderly => self.processes.finish(slot, self.settings.stop),
                Finish::Stop if self.slots[slot].attempt.is_some() => {
                    self.stop(slot, Stopped::Withdrawn)
                }
                Finish::Stop => {}
            }
        }
        if how == Finish::Stop {
            self.records.withdraw();
        }
    }

    fn stuck(&self) -> Option<Stuck> {
        self.records.stuck()
    }
}
