//! Which handlers are given records, and when; [`super::compose`] is what they are given then.
//!
//! What must not change:
//!
//! - What a handler has printed is read before it is given a record with nothing in hand: an answer that is in the
//!   pipe already was made without having seen it, and may not count for it.
//! - Nothing starts while the pool is finishing, halted or paused, nor in a slot that has to rest.
//! - A slot of the machine is asked for only when all else allows a start, and is kept for no longer: others wait.

use std::time::Instant;

use anyhow::Result;

use super::attempt::Attempt;
use super::{Pool, Role};
use crate::due::Due;
use crate::handler::held::Report;
use crate::handler::mode::{Given, Reason, environment, placeholders};
use crate::outcome::{Class, Ended};
use crate::process::{self, Input, Spawn, Stderr};
use crate::shard_state::LastFailure;
use crate::throttle::Throttle;
use crate::trigger::Trigger;

/// What one turn has come across. Records that are not handed over, for they are filtered or cannot be, are no reason
/// to keep the daemon, its clock and all handlers waiting: after this many of them it is the others' turn.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// When a handler starts with what waits for it, if nothing else happens.
    start_at: Option<Instant>,
    /// The limit that holds up a handler that could start.
    throttle: Option<Throttle>,
    /// Records that cannot stand in the format.
    pub(super) unfit: usize,
    /// Bytes that were decompressed for a handler, or that a pattern was held against.
    pub(super) bytes: u64,
}

impl Turn {
    const UNFIT: usize = 128;
    const BYTES: u64 = 16 * 1024 * 1024;

    /// Whether there was any such record.
    pub(super) fn found_unfit(&self) -> bool {
        self.unfit > 0
    }

    /// When a handler starts with what waits for it, if nothing else happens.
    pub(super) fn start_at(&self) -> Option<Instant> {
        self.start_at
    }

    /// Something starts at this time, if nothing else happens.
    fn starts_at(&mut self, at: Option<Instant>) {
        self.start_at = self.start_at.into_iter().chain(at).min();
    }

    /// Whether what no handler gets waits for the next turn.
    pub(super) fn has_enough(&self) -> bool {
        self.bytes >= Turn::BYTES
    }

    /// Whether there is more to look at, but not now.
    pub(super) fn is_over(&self) -> bool {
        self.unfit >= Turn::UNFIT || (self.unfit > 0 && self.has_enough())
    }
}

/// What came of looking for something to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Started {
    /// A handler runs.
    Handler,
    /// Nothing may start now.
    Nothing,
    /// A handler could not be started, and its records wait.
    Not,
}

impl Pool<'_> {
    /// Gives every handler what it may have now.
    pub(super) fn hand_over(&mut self, now: Instant) -> Result<()> {
        self.serve_slots(now)?;
        if !self.turn.is_over() {
            self.settle_limits(now);
        }
        Ok(())
    }

    /// Notes what holds handlers up. Without one that waits for it, a slot of the machine is for others.
    fn settle_limits(&mut self, now: Instant) {
        self.throttling.note(self.turn.throttle, now);
        if self.settings.host_jobs.is_some() && self.turn.throttle != Some(Throttle::HostJobs) {
            self.children.leave_host_slot();
        }
    }

    fn serve_slots(&mut self, now: Instant) -> Result<()> {
        if self.records.lanes.all_done() {
            return Ok(());
        }
        for slot in 0..self.slots.len() {
            let paused = self.records.paused_until.is_some_and(|until| now < until);
            if self.finishing || self.records.halted.is_some() || paused || self.turn.is_over() {
                return Ok(());
            }
            match &self.slots[slot].attempt {
                // While a letter cannot be got rid of, more records done behind it would only come twice.
                _ if self.are_letters_stuck() => {}
                None if self.slots[slot].rest_until.is_none_or(|until| now >= until) => {
                    // Where one cannot be started, the place is free for what need not wait for it.
                    while self.start(slot, now)? == Started::Not {}
                }
                Some(attempt) if self.takes_more(slot, attempt) => self.give(slot, now)?,
                _ => {}
            }
            while self.is_owed_more(slot) {
                self.give_more(slot, now)?;
            }
        }
        Ok(())
    }

    /// Whether a running handler may be given records.
    fn takes_more(&self, slot: usize, attempt: &Attempt) -> bool {
        self.mode.lives_on()
            && self.records.halted.is_none()
            && self.children.is_fed(Role::Handler(slot))
            && attempt.stopped.is_none()
            && if self.mode.gives_batches() {
                attempt.unanswered.is_empty() && !self.mode.is_spent(attempt)
            } else {
                !attempt.sealed && !self.mode.is_full(attempt, 0)
            }
    }

    /// Whether the handler was told that more comes, and its pipe has taken all before that.
    fn is_owed_more(&self, slot: usize) -> bool {
        let attempt = self.slots[slot].attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.owed && self.takes_more(slot, attempt))
    }

    /// Starts a handler for whatever may start in `slot`.
    fn start(&mut self, slot: usize, now: Instant) -> Result<Started> {
        let Some(why) = self.start_due(slot, now) else {
            return Ok(Started::Nothing);
        };
        if self.is_throttled(now) {
            return Ok(Started::Nothing);
        }
        let mut attempt = Attempt::new(now);
        let Some(bytes) = self.compose(slot, &mut attempt, now)? else {
            return Ok(Started::Nothing);
        };
        if let Err(why) = self.spawn(slot, &attempt, bytes) {
            self.not_started(attempt, &why, now);
            return Ok(Started::Not);
        }
        if std::mem::take(&mut self.slots[slot].ended_badly) {
            self.records.counters.respawns += 1;
        }
        self.handed_over(slot, &attempt, (why, bytes), now);
        self.slots[slot].attempt = Some(attempt);
        Ok(Started::Handler)
    }

    /// Notes that the attempt has this many bytes of payload now, and why.
    fn handed_over(
        &mut self,
        slot: usize,
        attempt: &Attempt,
        (why, bytes): (Trigger, u64),
        now: Instant,
    ) {
        let records = attempt.unanswered.len();
        self.pace.handed_over(records, now);
        self.records.counters.started(why);
        if self.mode.gives_batches() {
            self.records.counters.batch(records as u64, bytes);
        }
        if self.mode.is_spent(attempt) {
            self.children.close_input(Role::Handler(slot));
        }
    }

    /// Why a handler starts now with what waits, if it does; else it is noted when it does.
    fn start_due(&mut self, slot: usize, now: Instant) -> Option<Trigger> {
        let needs_room = self.records.is_full() && !self.is_busy();
        let most = self.mode.most();
        let due = self.records.start_due(slot, &most, needs_room, now);
        match due {
            Due::Now(why) => Some(why),
            Due::At(_) | Due::Never => {
                self.turn.starts_at(due.wake(now));
                None
            }
        }
    }

    /// Whether a limit holds up a handler that could start. The rate comes first: no slot of the machine is kept
    /// until it allows one more.
    fn is_throttled(&mut self, now: Instant) -> bool {
        let (pace, limited) = (self.pace.due(now), self.settings.host_jobs.is_some());
        if self.turn.throttle.is_some() {
            // Whoever was held up in this turn goes first in the next.
            return true;
        }
        if pace.now().is_none() {
            self.turn.throttle = Some(Throttle::Rate);
            self.turn.starts_at(pace.wake(now));
        } else if limited && !self.children.has_host_slot() {
            self.turn.throttle = Some(Throttle::HostJobs);
        }
        self.turn.throttle.is_some()
    }

    /// The handler cannot be started: the records that it was to have wait.
    fn not_started(&mut self, attempt: Attempt, why: &str, now: Instant) {
        let program = self.settings.command.program.display();
        let reason = Reason::NotStarted(format!("'{program}' cannot be started: {why}"));
        self.records.counters.fail(Class::Broken);
        self.records.counters.exit(Ended::NotStarted, Class::Broken);
        let given: Vec<usize> = attempt.unanswered.into();
        let outcome = reason.to_string();
        self.records.counters.last_failure = Some(LastFailure::new(outcome.clone(), &[]));
        let report = Report {
            outcome: &outcome,
            stderr: &[],
        };
        self.records.broken(&given, report, now);
    }

    fn spawn(&mut self, slot: usize, attempt: &Attempt, bytes: u64) -> Result<(), String> {
        let settings = &self.settings;
        let first = attempt.unanswered.front().copied().unwrap_or_default();
        let last = attempt.unanswered.back().copied().unwrap_or(first);
        let mut environment =
            environment::of_handler(&self.records.shard_id, &attempt.token, settings);
        let given = Given {
            queue: &self.records.queue,
            first,
            last,
            bytes,
            shard_id: &self.records.shard_id,
            count: attempt.unanswered.len(),
            attempt: self.records.attempt_number(first),
            slot,
        };
        self.mode.describe(&mut environment, &given);
        let spawn = Spawn {
            environment: &environment,
            without: &self.without,
            watch_input: self.mode.must_read(),
            feed: self.mode.feed(),
            line_limit: self.mode.line_limit(),
            stderr: Stderr::Log,
        };
        // By default braces are left alone: they belong to jq and awk.
        let filled = settings.placeholders.as_ref().map(|name| {
            let values = placeholders::values(&given, name, self.mode.lives_on());
            placeholders::fill(&settings.command, &values)
        });
        let command = filled.as_ref().unwrap_or(&settings.command);
        let next = Input::in_directory(settings.spool_dir.clone());
        let input = std::mem::replace(&mut self.input, next);
        self.children
            .start(Role::Handler(slot), command, &spawn, input)
    }

    /// Gives a running handler what it may have now.
    fn give(&mut self, slot: usize, now: Instant) -> Result<()> {
        if self.mode.gives_batches() {
            self.give_batch(slot, now)
        } else {
            self.give_more(slot, now)
        }
    }

    /// Gives a running handler that has nothing the next batch, when one may start.
    fn give_batch(&mut self, slot: usize, now: Instant) -> Result<()> {
        let Some(why) = self.start_due(slot, now) else {
            return Ok(());
        };
        if self.is_throttled(now) {
            return Ok(());
        }
        self.hear_printed(slot, now);
        let Some(mut attempt) = self.slots[slot].attempt.take() else {
            return Ok(());
        };
        if self.takes_more(slot, &attempt)
            && let Some(bytes) = self.compose(slot, &mut attempt, now)?
        {
            self.feed(slot);
            self.handed_over(slot, &attempt, (why, bytes), now);
        }
        self.slots[slot].attempt = Some(attempt);
        Ok(())
    }

    /// Reads what a handler with nothing in hand has printed, before it is given a record: an answer now would be
    /// to one that it does not have.
    fn hear_printed(&mut self, slot: usize, now: Instant) {
        for line in self.children.printed(Role::Handler(slot)) {
            self.hear(slot, &line, now);
        }
    }

    /// Gives a running handler more records.
    fn give_more(&mut self, slot: usize, now: Instant) -> Result<()> {
        let attempt = self.slots[slot].attempt.as_ref();
        if attempt.is_some_and(|attempt| attempt.unanswered.is_empty()) {
            self.hear_printed(slot, now);
        }
        let Some(mut attempt) = self.slots[slot].attempt.take() else {
            return Ok(());
        };
        if self.takes_more(slot, &attempt) {
            self.fill(slot, &mut attempt, now)?;
            self.feed(slot);
            if self.mode.is_spent(&attempt) {
                self.children.close_input(Role::Handler(slot));
            }
        }
        self.slots[slot].attempt = Some(attempt);
        Ok(())
    }

    fn feed(&mut self, slot: usize) {
        self.children.feed(Role::Handler(slot), self.input.buffer());
        process::give_back(self.input.buffer());
    }
}
