//! The handler pool: the processes that handle a shard's records, and what runs beside them.
//!
//! [`dispatch`] is which of them are given records and when, [`compose`] what they are given, [`verdicts`] what their
//! lines and their ends lead to, [`sidecars`] what runs beside them; here is the loop that waits for them, and what is
//! due by time. In one turn of the loop, in this order, which must not change:
//!
//! 1. letters are kept, for the records behind them may be done then;
//! 2. what the daemon read goes on being judged by the filter, and is taken in once all of it is;
//! 3. records are handed over, and the commands beside the handlers started;
//! 4. what is done is reported, so that no checkpoint waits for a sleep;
//! 5. a halt stops everything, after what was done by then was reported, and before the daemon's input is;
//! 6. an event is returned, or the loop sleeps until the next thing that is due;
//! 7. everything that can be read is read before time limits are judged.

mod advice;
pub(super) mod attempt;
mod children;
mod compose;
mod dispatch;
mod filtering;
mod letter_box;
mod processes;
mod rate;
mod sidecar;
mod sidecars;
mod spool;
mod throttling;
mod verdicts;

use std::ffi::OsString;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use humantime::format_duration;

use super::held::{Records, Report};
use super::mode::{self, Mode, environment};
use super::{Event, Finish, Handlers, HookEvent, Read, Settings};
use crate::checkpoint::BlockedRecord;
use crate::clock::Clock;
use crate::counters::Counters;
use crate::due::Due;
use crate::format::Framer;
use crate::process::{self, Input};
use crate::record::Batch;
use advice::Advice;
pub use attempt::ExitReport;
use attempt::{Attempt, Limit, Stopped};
pub use children::{Children, Happening, Role};
use dispatch::Turn;
use filtering::{Filtering, Judged};
pub use processes::HandlerProcesses;
use rate::Pace;
pub use rate::Rate;
use sidecars::Sidecars;
use throttling::Throttling;

/// How long a handler may have printed nothing, at most, before its output is taken to be buffered.
const HINT_AFTER: Duration = Duration::from_secs(10);

/// The handlers of one shard.
pub struct Pool<'a> {
    settings: Rc<Settings>,
    mode: Box<dyn Mode>,
    children: &'a mut dyn Children,
    clock: &'a dyn Clock,
    framer: Framer,
    filtering: Filtering,
    without: Vec<OsString>,
    records: Records,
    slots: Vec<Slot>,
    /// Framed records on their way to a handler; kept to be used again.
    input: Input,
    /// Where a payload is read that is not in memory.
    memory: String,
    turn: Turn,
    pace: Pace,
    throttling: Throttling,
    finishing: bool,
    /// Handlers that have records may go on until then, and no other starts.
    drain_until: Option<Instant>,
    sidecars: Sidecars,
    /// What the hook is run for.
    hook_event: Option<HookEvent>,
    /// It was said that an answer stands without its token.
    said_untokened: bool,
    /// That a reply has none of the keys of a reply.
    reply_advice: Advice,
    /// That batches cannot be moved to the disk.
    spool_advice: Advice,
}

/// A place for one handler process.
#[derive(Debug, Default)]
struct Slot {
    attempt: Option<Attempt>,
    /// Handlers that died in a row without an answer, and not at a record.
    deaths: u32,
    /// The last handler here ended badly, or had to be stopped.
    ended_badly: bool,
    /// No handler starts here before.
    rest_until: Option<Instant>,
}

impl<'a> Pool<'a> {
    /// A pool without a shard, which waits for the daemon's input and signals with `children`.
    pub fn new(
        settings: Settings,
        children: &'a mut dyn Children,
        clock: &'a dyn Clock,
    ) -> Pool<'a> {
        let settings = Rc::new(settings);
        Pool {
            mode: mode::of(&settings),
            framer: Framer::new(settings.format.clone(), settings.decompress),
            filtering: Filtering::new(&settings),
            slots: (0..settings.jobs).map(|_| Slot::default()).collect(),
            records: Records::new(Rc::clone(&settings), clock.now()),
            sidecars: Sidecars::new(&settings),
            hook_event: None,
            said_untokened: false,
            reply_advice: Advice::default(),
            spool_advice: Advice::default(),
            children,
            clock,
            without: environment::ours(),
            input: Input::in_directory(settings.spool_dir.clone()),
            memory: String::new(),
            turn: Turn::default(),
            pace: Pace::new(settings.rate),
            throttling: Throttling::default(),
            finishing: false,
            drain_until: None,
            settings,
        }
    }

    /// Notes from now on how long handlers take and how old records are when they are done.
    pub fn take_times(&mut self) {
        self.records.counters.timed = true;
    }

    fn take_in(&mut self, happening: Happening, now: Instant) {
        match happening {
            Happening::Input => self.records.events.push_back(Event::Input),
            Happening::Signal(signal) => {
                self.records.paused_until = Some(now + self.settings.stop.timeout);
                self.records.events.push_back(Event::Signal(signal));
            }
            Happening::Line { role, line } => match role {
                Role::Handler(slot) => self.hear(slot, &line, now),
                Role::DeadLetter | Role::Hook => process::log_stdout(&line),
            },
            // It is asked for again where a handler starts.
            Happening::Fed | Happening::HostSlot => {}
            Happening::Ended { role, report } => match role {
                Role::Handler(slot) => self.ended(slot, report, now),
                Role::DeadLetter => self.letter_command_ended(&report, now),
                Role::Hook => self.hook_ended(&report, now),
            },
        }
    }

    /// Waits for the processes and the daemon's input, and takes in what happened.
    fn sleep(&mut self, watch_input: bool, until: Option<Instant>) -> Result<()> {
        let happened = self.children.wait(watch_input, until)?;
        // An attempt may have taken long: how old its record is now counts.
        self.look_at_clocks();
        for happening in happened {
            self.take_in(happening, self.clock.now());
        }
        self.judge_time(self.clock.now());
        Ok(())
    }

    /// Notes the time of day, and the time that nobody is charged for.
    fn look_at_clocks(&mut self) {
        self.records.look_at_clock(self.clock.time_of_day());
        let held_up = self.throttling.total(self.clock.now());
        self.records.note_held_up(held_up);
    }

    fn halt(&mut self, slot: usize, outcome: &str) {
        let attempt = self.slots[slot].attempt.as_ref();
        let at = attempt.and_then(|attempt| attempt.unanswered.front().copied());
        self.halt_at(at, outcome);
    }

    /// A handler asks to halt, at this record if it has one.
    fn halt_at(&mut self, at: Option<usize>, outcome: &str) {
        if let Some(index) = at {
            let report = Report {
                outcome,
                stderr: &[],
            };
            self.records.halt(index, report);
        } else {
            self.records.halted.get_or_insert(outcome.to_owned());
        }
    }

    /// Stops everything. What the daemon has sent by now is read after that: records taken in before it would
    /// follow some that are dropped.
    fn carry_out_halt(&mut self, why: String) {
        self.finish(Finish::Stop);
        let events = &mut self.records.events;
        let told = events.contains(&Event::Input);
        events.retain(|event| *event != Event::Input);
        events.push_back(Event::Halted(why));
        events.extend(told.then_some(Event::Input));
    }

    fn stop(&mut self, slot: usize, why: Stopped) {
        if let Some(attempt) = &mut self.slots[slot].attempt {
            attempt.stopped = Some(why);
        }
        self.children.stop(Role::Handler(slot), self.settings.stop);
    }

    /// No record is ours any more.
    fn withdraw(&mut self) {
        self.filtering.withdraw();
        self.records.withdraw();
    }

    /// Goes on judging what the daemon read, and takes it in once all of it is judged.
    fn take_in_read(&mut self, now: Instant) {
        let Some(judged) = self.filtering.judge(&mut self.turn) else {
            return;
        };
        let Judged { mut read, filtered } = judged;
        if filtered.is_empty() || filtered.contains(&false) {
            self.spool(&mut read.batch, now);
        }
        self.look_at_clocks();
        self.records.offer(read, &filtered, self.mode.advice(), now);
    }

    /// Moves a batch to the disk where batches wait there. What the disk does not take stays in memory, and
    /// then no more is read ahead.
    fn spool(&mut self, batch: &mut Batch, now: Instant) {
        let Some(directory) = &self.settings.spool_dir else {
            return;
        };
        if batch.is_empty() {
            return;
        }
        if let Err(e) = self.children.spool(directory, batch) {
            self.records.spool_failed = true;
            if self.spool_advice.is_due(now) {
                self.spool_advice.give(now);
                log::error!(
                    "cannot write to '{}' (--spool-dir): {e}; what was read waits in memory, and the daemon waits until it is done",
                    directory.display()
                );
            }
        }
    }

    /// Whether the handler in `slot` has a record.
    fn is_at_work(&self, slot: usize) -> bool {
        let attempt = self.slots[slot].attempt.as_ref();
        attempt.is_some_and(|attempt| !attempt.unanswered.is_empty())
    }

    /// Whether any handler has a record.
    fn is_busy(&self) -> bool {
        (0..self.slots.len()).any(|slot| self.is_at_work(slot))
    }

    /// Stops the handlers that are at work still, if their time is over.
    fn end_drain(&mut self, now: Instant) {
        if self.drain_until.take_if(|until| now >= *until).is_none() {
            return;
        }
        for slot in (0..self.slots.len())
            .filter(|slot| self.is_at_work(*slot))
            .collect::<Vec<_>>()
        {
            log::warn!(
                "{} is still at work on {} after --drain-timeout; stopping it: its records come again",
                self.handler(slot),
                self.at(slot)
            );
            self.stop(slot, Stopped::Withdrawn);
        }
        // What was done in time is done, however late we look.
        self.records.report_done();
        self.let_go();
    }

    /// No record is ours any more, nor is what was to be done with them.
    fn let_go(&mut self) {
        self.withdraw();
        for sidecar in self.sidecars.all_mut() {
            sidecar.withdraw(self.children);
        }
    }

    /// Judges what is due by time; everything readable has been read before.
    fn judge_time(&mut self, now: Instant) {
        self.end_drain(now);
        self.warn_of_long_wait(now);
        for sidecar in self.sidecars.all_mut() {
            sidecar.judge_time(self.children, now);
        }
        for slot in 0..self.slots.len() {
            if !self.children.has_ended(Role::Handler(slot)) {
                self.hint_at_buffering(slot, now);
                self.judge_limit(slot, now);
            }
        }
    }

    /// Judges the time limit of the handler in `slot`.
    fn judge_limit(&mut self, slot: usize, now: Instant) {
        let attempt = self.slots[slot].attempt.as_mut();
        let Some((limit, attempt)) = self.settings.timeout.zip(attempt) else {
            return;
        };
        match attempt.limit(limit, now).now() {
            None => {}
            Some(Limit::Half) => {
                attempt.said_half();
                log::warn!(
                    "{} has been silent about {} for {}, half of its time limit; after {} kclpipe stops it and the attempt fails (--timeout)",
                    self.handler(slot),
                    self.at(slot),
                    format_duration(limit / 2),
                    format_duration(limit)
                );
            }
            // Its end is awaited as any other; what it says until then counts for nothing.
            Some(Limit::Over) => {
                log::error!(
                    "{} reached its time limit of {} at {}; stopping it (--timeout)",
                    self.handler(slot),
                    format_duration(limit),
                    self.at(slot)
                );
                self.stop(slot, Stopped::TimedOut);
            }
        }
    }

    /// Says once that no slot of the machine comes.
    fn warn_of_long_wait(&mut self, now: Instant) {
        let due = self.throttling.warning(now).now();
        if let Some(host) = self.settings.host_jobs.as_ref().filter(|_| due.is_some()) {
            self.throttling.warned();
            log::warn!(
                "no slot of this machine has been free for a minute: as many handlers of this application run as --host-jobs {} allows; their locks are in '{}', and each is free when its handler has ended",
                host.slots,
                host.directory.display()
            );
        }
    }

    /// The handler in `slot`, for a log line.
    fn handler(&self, slot: usize) -> String {
        match self.children.pid(Role::Handler(slot)) {
            Some(pid) => format!("the handler (process {pid})"),
            None => "the handler".to_owned(),
        }
    }

    /// The record that the handler in `slot` is at, for a log line.
    fn at(&self, slot: usize) -> String {
        let attempt = self.slots[slot].attempt.as_ref();
        match attempt.and_then(|attempt| attempt.unanswered.front()) {
            Some(index) => format!("record {}", self.records.position(*index)),
            None => "no record".to_owned(),
        }
    }

    /// Says once what usually is the matter with a handler that never answers.
    fn hint_at_buffering(&mut self, slot: usize, now: Instant) {
        let Some(attempt) = &mut self.slots[slot].attempt else {
            return;
        };
        let hint = hint(&self.settings, self.mode.as_ref(), attempt, now);
        if hint.now().is_some() {
            attempt.hinted = true;
            log::warn!(
                "the handler has had a record for {} and has printed nothing: its output is probably buffered; try stdbuf -oL COMMAND, python3 -u, jq --unbuffered, fflush() in awk (and mawk -W interactive, for its input), or grep --line-buffered",
                format_duration(hint_after(&self.settings))
            );
        }
    }

    fn wake(&self, now: Instant, until: Option<Instant>) -> Option<Instant> {
        let attempts = self.slots.iter().enumerate();
        let attempts = attempts
            .filter(|(slot, _)| !self.children.has_ended(Role::Handler(*slot)))
            .filter_map(|(_, slot)| slot.attempt.as_ref());
        let limits = attempts
            .clone()
            .filter_map(|attempt| attempt.limit(self.settings.timeout?, now).wake(now));
        let mode = self.mode.as_ref();
        let hints =
            attempts.filter_map(|attempt| hint(&self.settings, mode, attempt, now).wake(now));
        let rests = self
            .slots
            .iter()
            .filter(|slot| slot.attempt.is_none())
            .filter_map(|slot| slot.rest_until);
        let starts = rests
            .chain(self.records.wake(now))
            .chain(self.turn.start_at());
        // What was due by now has been tried in this turn, and something else holds it up: an event.
        let starts = starts.filter(|at| *at > now && !self.records.lanes.all_done());
        let sidecars = self.sidecars.all();
        let sidecars = sidecars.filter_map(|sidecar| sidecar.due(self.children, now).wake(now));
        limits
            .chain(hints)
            .chain(starts)
            .chain(sidecars)
            .chain(self.letters_due(now))
            .chain(self.throttling.warning(now).wake(now))
            .chain((self.turn.is_over() || self.filtering.is_judging()).then_some(now))
            .chain(self.drain_until)
            .chain(until)
            .min()
    }
}

/// Whether to say what probably is the matter with a handler that has printed nothing.
fn hint(settings: &Settings, mode: &dyn Mode, attempt: &Attempt, now: Instant) -> Due<()> {
    let silent = !attempt.hinted && !attempt.printed && !attempt.unanswered.is_empty();
    let at = (silent && mode.lives_on()).then(|| attempt.started + hint_after(settings));
    Due::from(at, now, ())
}

/// Before the time limit, or the hint would come too late to be of use.
fn hint_after(settings: &Settings) -> Duration {
    let limit = settings.timeout;
    limit.map_or(HINT_AFTER, |limit| HINT_AFTER.min(limit / 2))
}

impl Handlers for Pool<'_> {
    fn begin(&mut self, shard_id: &str) -> Result<()> {
        shard_id.clone_into(&mut self.records.shard_id);
        self.name_letter_file();
        self.settings
            .commands()
            .try_for_each(|(what, command)| self.children.find(what, command))
    }

    fn offer(&mut self, read: Read) {
        self.filtering.begin(read);
        self.take_in_read(self.clock.now());
    }

    fn shard_ended(&mut self) {
        self.records.end_windows();
    }

    fn has_room(&self) -> bool {
        !self.filtering.is_judging() && self.records.has_room()
    }

    fn holds_any(&self) -> bool {
        self.filtering.is_judging() || self.records.holds_any()
    }

    fn reads_ahead(&self) -> bool {
        self.settings.read_ahead > 0
    }

    fn wait(&mut self, watch_input: bool, until: Option<Instant>) -> Result<Event> {
        let (blocking, room) = (self.records.blocking(), self.has_room());
        loop {
            // One reading of the clock for what may start and for how long to sleep: with two, what falls
            // due between them would be slept through.
            let now = self.clock.now();
            self.turn = Turn::default();
            self.write_letters(now)?;
            self.take_in_read(now);
            self.hand_over(now)?;
            self.start_sidecars(now)?;
            self.records.note_busy(self.is_busy(), now);
            self.records.report_done();
            if let Some(why) = self.records.halted.take() {
                self.carry_out_halt(why);
            }
            if self.finishing && !self.children.any_running() {
                self.finishing = false;
                if self.drain_until.take().is_some() {
                    // What no handler got comes again elsewhere.
                    self.withdraw();
                }
                self.records.events.push_back(Event::Finished);
            }
            if self.turn.found_unfit() {
                // They may follow each other for long, each with an event, and nobody sleeps meanwhile. Input
                // that was told of is still there, and must be told of once: reading it twice would wait.
                let told = self.records.events.contains(&Event::Input);
                self.sleep(watch_input && !told, Some(now))?;
                if self.records.events.is_empty() {
                    // What was seen may have made room, or done a record.
                    continue;
                }
            }
            if let Some(event) = self.records.events.pop_front() {
                return Ok(event);
            }
            if self.records.blocking() != blocking {
                // Whoever waits has an `until` that does not know of it yet.
                return Ok(Event::Blocked);
            }
            if !room && self.reads_ahead() && self.has_room() {
                return Ok(Event::Room);
            }
            if until.is_some_and(|until| now >= until) {
                return Ok(Event::Deadline);
            }
            self.sleep(watch_input, self.wake(now, until))?;
        }
    }

    fn finish(&mut self, how: Finish) {
        self.finishing = true;
        self.drain_until = match how {
            Finish::Drain(until) => Some(until),
            Finish::Orderly | Finish::Stop => None,
        };
        for slot in 0..self.slots.len() {
            let role = Role::Handler(slot);
            match how {
                Finish::Orderly => self.children.finish(role, self.settings.stop),
                // It sees the end of its input, and has until then for what it has.
                Finish::Drain(_) if self.is_at_work(slot) => self.children.close_input(role),
                Finish::Drain(_) => self.children.finish(role, self.settings.stop),
                Finish::Stop => self.stop(slot, Stopped::Withdrawn),
            }
        }
        if how == Finish::Stop {
            self.hook_event = None;
            self.let_go();
        }
    }

    fn hook(&mut self, hook_event: HookEvent) -> bool {
        let runs = self.settings.hook.is_some();
        self.hook_event = Some(hook_event).filter(|_| runs);
        runs
    }

    fn blocked(&self) -> Option<BlockedRecord> {
        self.records.blocked()
    }

    fn oldest(&self) -> Option<i64> {
        self.records.oldest()
    }

    fn counters(&self) -> Counters {
        let attempts = self.slots.iter().filter_map(|slot| slot.attempt.as_ref());
        let mut counters = self.records.counters.clone();
        counters.in_flight = attempts
            .map(|attempt| attempt.unanswered.len() as u64)
            .sum();
        (counters.held_records, counters.held_bytes) = self.records.held();
        counters.blocking_attempts = self.records.blocking_attempts();
        let now = self.clock.now();
        counters.throttled = self.throttling.current(now);
        counters.throttled_times = self.throttling.times(now);
        counters
    }
}

#[cfg(test)]
pub(super) mod tests;
#[cfg(test)]
mod turns;
