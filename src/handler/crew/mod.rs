//! The crew: the handler processes of a shard.
//!
//! [`supply`] is what they are given, [`answers`] what they say and how they end, [`helpers`] what runs
//! beside them; here is the loop that waits for them, and what is due by time.

mod answers;
mod helpers;
mod supply;

use std::ffi::OsString;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;
use humantime::format_duration;

use super::attempt::{Attempt, End, Limit, Stopped};
use super::letter_file::LetterBox;
use super::records::{Records, Report};
use super::{Event, Finish, First, Handlers, Occasion, Per, Settings, environment};
use crate::checkpoint::Stuck;
use crate::format::{Format, Framer};
use crate::process::{self, Happening, Input, Processes};
use crate::record::Batch;
use crate::tally::Tally;
use helpers::Helpers;
use supply::Turn;

/// How long a handler may have printed nothing, at most, before its output is taken to be buffered.
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
    input: Input,
    turn: Turn,
    finishing: bool,
    helpers: Helpers,
    /// What the hook is run for.
    occasion: Option<Occasion>,
    advice: Advice,
}

/// What was said to the user of a mistake that handlers make again and again.
#[derive(Debug, Default)]
struct Advice {
    /// An answer stood without its token.
    token: bool,
    /// When a reply was last said to have none of the keys of a reply.
    reply: Option<Instant>,
}

/// A place for one handler process.
#[derive(Debug, Default)]
struct Slot {
    attempt: Option<Attempt>,
    /// A run of so many records failed without naming one, and is being narrowed down.
    suspects: usize,
    /// Handlers that died in a row without an answer, and not at a record.
    deaths: u32,
    /// The last handler here ended badly, or had to be stopped.
    ended_badly: bool,
    /// No handler starts here before.
    rest_until: Option<Instant>,
}

impl<'fd> Crew<'fd> {
    /// A crew without a shard, which waits for the daemon's input and signals with `processes`.
    pub fn new(settings: Settings, processes: Processes<'fd>) -> Crew<'fd> {
        let settings = Rc::new(settings);
        Crew {
            framer: Framer::new(settings.format.clone(), settings.decompress),
            slots: (0..settings.jobs).map(|_| Slot::default()).collect(),
            records: Records::new(Rc::clone(&settings)),
            helpers: Helpers::new(&settings),
            occasion: None,
            advice: Advice::default(),
            settings,
            processes,
            without: environment::ours(),
            input: Input::default(),
            turn: Turn::default(),
            finishing: false,
        }
    }

    /// Notes from now on how long handlers take and how old records are when they are done.
    pub fn take_times(&mut self) {
        self.records.tally.timed = true;
    }

    /// Whether the last line of stdout is a reply to the whole batch.
    fn replies(&self) -> bool {
        matches!(self.settings.format, Format::Lambda { .. })
    }

    fn take_in(&mut self, happening: Happening, now: Instant) {
        match happening {
            Happening::Input => self.records.events.push_back(Event::Input),
            Happening::Signal(signal) => {
                self.records.paused_until = Some(now + self.settings.stop.timeout);
                self.records.events.push_back(Event::Signal(signal));
            }
            Happening::Line { slot, line } if slot < self.slots.len() => {
                self.hear(slot, &line, now);
            }
            Happening::Line { line, .. } => process::log_stdout(&line),
            Happening::Fed { .. } => {}
            Happening::Ended {
                slot,
                pid,
                status,
                stderr,
                unread,
                stopped,
            } => {
                let end = End {
                    pid,
                    ended: status.into(),
                    unread,
                    stderr,
                    stopped,
                };
                if slot < self.slots.len() {
                    self.ended(slot, end, now);
                } else {
                    self.helper_ended(slot, &end, now);
                }
            }
        }
    }

    /// Waits for the processes and the daemon's input, and takes in what happened.
    fn sleep(&mut self, watch_input: bool, until: Option<Instant>) -> Result<()> {
        for happening in self.processes.wait(watch_input, until)? {
            self.take_in(happening, Instant::now());
        }
        self.judge_time(Instant::now());
        Ok(())
    }

    fn halt(&mut self, slot: usize, outcome: &str) {
        let attempt = self.slots[slot].attempt.as_ref();
        let at = attempt.and_then(|attempt| attempt.unanswered.front().copied());
        self.halt_at(at, outcome);
    }

    /// A handler asks to halt, at this record if it has one.
    fn halt_at(&mut self, at: Option<usize>, outcome: &str) {
        if let Some(index) = at {
            self.records.halt(
                index,
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
        for helper in self.helpers.all_mut() {
            helper.judge_time(&mut self.processes, now);
        }
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
                    "{} has been silent about {} for {}, half of its time limit (--timeout); at {} it is stopped, \
                     and the attempt has failed",
                    self.handler(slot),
                    self.at(slot),
                    format_duration(limit / 2),
                    format_duration(limit)
                ),
                Limit::Over => {
                    log::error!(
                        "{} reached its time limit of {} (--timeout) at {} and is stopped",
                        self.handler(slot),
                        format_duration(limit),
                        self.at(slot)
                    );
                    self.stop(slot, Stopped::TimedOut);
                }
            }
        }
    }

    /// The handler in `slot`, for a log line.
    fn handler(&self, slot: usize) -> String {
        match self.processes.pid(slot) {
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
        if hint_at(&self.settings, attempt).is_some_and(|at| now >= at) {
            attempt.hinted = true;
            log::warn!(
                "the handler has had a record for {} and has printed nothing: its output is probably buffered; the \
                 cures are stdbuf -oL COMMAND, python3 -u, jq --unbuffered, fflush() in awk (and mawk -W interactive, \
                 for its input), grep --line-buffered",
                format_duration(hint_after(&self.settings))
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
        let starts = rests.chain(self.records.wake());
        let starts = starts.filter(|at| *at > now && !self.records.lanes.all_done());
        let helpers = self.helpers.all();
        let helpers = helpers.filter_map(|helper| helper.wake(&self.processes, now));
        limits
            .chain(hints)
            .chain(starts)
            .chain(helpers)
            .chain(self.letters_due(now))
            .chain(self.turn.is_over().then_some(now))
            .chain(until)
            .min()
    }
}

fn hint_at(settings: &Settings, attempt: &Attempt) -> Option<Instant> {
    let silent = !attempt.hinted && !attempt.printed && !attempt.unanswered.is_empty();
    (silent && matches!(settings.per, Per::Shard { .. }))
        .then(|| attempt.started + hint_after(settings))
}

/// Before the time limit, or the hint would come too late to be of use.
fn hint_after(settings: &Settings) -> Duration {
    let limit = settings.timeout;
    limit.map_or(HINT_AFTER, |limit| HINT_AFTER.min(limit / 2))
}

impl Handlers for Crew<'_> {
    fn begin(&mut self, shard_id: &str) -> Result<()> {
        shard_id.clone_into(&mut self.records.shard_id);
        self.name_letter_file();
        self.settings
            .commands()
            .try_for_each(|(what, command)| command.find(what).map(|_| ()))
    }

    fn offer(&mut self, batch: Batch, first: First) {
        self.records.offer(batch, first, Instant::now());
    }

    fn wait(&mut self, watch_input: bool, until: Option<Instant>) -> Result<Event> {
        loop {
            // One reading of the clock for what may start and for how long to sleep: with two, what falls
            // due between them would be slept through.
            let now = Instant::now();
            self.write_letters(now);
            self.hand_over(now)?;
            self.start_helpers(now);
            self.records.tell_run();
            if std::mem::take(&mut self.records.halted) {
                self.finish(Finish::Stop);
            }
            if self.finishing && !self.processes.any_running() {
                self.finishing = false;
                self.records.events.push_back(Event::Finished);
            }
            if self.turn.found_unfit() {
                // They may follow each other for long, each with an event, and nobody sleeps meanwhile. Input
                // that was told of is still there, and must be told of once: reading it twice would wait.
                let told = self.records.events.contains(&Event::Input);
                self.sleep(watch_input && !told, Some(now))?;
            }
            if let Some(event) = self.records.events.pop_front() {
                return Ok(event);
            }
            if until.is_some_and(|until| now >= until) {
                return Ok(Event::Deadline);
            }
            self.sleep(watch_input, self.wake(now, until))?;
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
            self.occasion = None;
            for helper in self.helpers.all_mut() {
                helper.withdraw(&mut self.processes);
            }
            self.helpers.file.iter_mut().for_each(LetterBox::withdraw);
        }
    }

    fn hook(&mut self, occasion: Occasion) -> bool {
        let runs = self.settings.hook.is_some();
        self.occasion = Some(occasion).filter(|_| runs);
        runs
    }

    fn stuck(&self) -> Option<Stuck> {
        self.records.stuck()
    }

    fn oldest(&self) -> Option<i64> {
        self.records.oldest()
    }

    fn tally(&self) -> Tally {
        let attempts = self.slots.iter().filter_map(|slot| slot.attempt.as_ref());
        let mut tally = self.records.tally.clone();
        tally.in_flight = attempts
            .map(|attempt| attempt.unanswered.len() as u64)
            .sum();
        tally
    }
}
