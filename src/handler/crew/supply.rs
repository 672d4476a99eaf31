//! What handlers are given, and when.

use std::time::Instant;

use anyhow::Result;

use super::Crew;
use crate::format::{Envelope, Framed};
use crate::handler::attempt::Attempt;
use crate::handler::records::Report;
use crate::handler::{Per, environment};
use crate::outcome::{Class, Ended};
use crate::process::{self, Spawn, Stderr};

/// The longest reply of a Lambda handler that is read.
const REPLY: usize = 16 * 1024 * 1024;

/// About so much is made ready for a handler that lives on before its pipe has taken it: enough for the
/// handler to be busy while the next is made, little enough to stay in the processor's cache.
const AHEAD: usize = 256 * 1024;

impl Crew<'_> {
    /// Gives every handler what it may have now.
    pub(super) fn hand_over(&mut self, now: Instant) -> Result<()> {
        if self.records.lanes.all_done() {
            return Ok(());
        }
        for slot in 0..self.slots.len() {
            let paused = self.records.paused_until.is_some_and(|until| now < until);
            if self.finishing || self.records.halted || paused {
                return Ok(());
            }
            match &self.slots[slot].attempt {
                // While a letter cannot be got rid of, more records done behind it would only come twice.
                None if self.helpers.are_letters_stuck() => {}
                None if self.slots[slot].rest_until.is_none_or(|until| now >= until) => {
                    self.start(slot, now)?
                }
                Some(attempt) if self.takes_more(slot, attempt) => self.give_more(slot, now)?,
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
        matches!(self.settings.per, Per::Shard { .. })
            && self.processes.is_fed(slot)
            && attempt.stopped.is_none()
            && !attempt.sealed
            && !self.is_full(attempt, 0)
            && !self.is_spent(attempt)
    }

    /// Whether the handler was told that more comes, and its pipe has taken all before that.
    fn is_owed_more(&self, slot: usize) -> bool {
        let attempt = self.slots[slot].attempt.as_ref();
        attempt.is_some_and(|attempt| attempt.owed && self.takes_more(slot, attempt))
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
    pub(super) fn is_spent(&self, attempt: &Attempt) -> bool {
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
            let outcome = format!(
                "'{}' cannot be started: {}",
                self.settings.command.program.display(),
                self.settings.command.explain(&e)
            );
            self.records.tally.fail(Class::Broken);
            self.records.tally.exit(Ended::NotStarted, Class::Broken);
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
        if std::mem::take(&mut self.slots[slot].ended_badly) {
            self.records.tally.respawns += 1;
        }
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
            // Not for many at a time: the system's memory for pipes is bounded.
            large_input: !matches!(settings.per, Per::Record) && settings.jobs == 1,
            line_limit: if self.replies() { REPLY } else { process::LINE },
            stderr: Stderr::Log,
        };
        let input = std::mem::take(&mut self.input);
        self.processes.start(slot, &settings.command, &spawn, input)
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
        process::give_back(&mut self.input);
    }

    /// Appends to the input what the attempt may have now.
    fn fill(&mut self, slot: usize, attempt: &mut Attempt, now: Instant) -> Result<()> {
        let narrow = self.slots[slot].suspects.div_ceil(2);
        let mut bytes = 0;
        let framed = self.input.len();
        if attempt.unanswered.is_empty() {
            attempt.fed = 0;
        }
        attempt.owed = false;
        let mut next = self.records.peek(slot, now);
        while let Some(index) = next {
            let alone = self.records.goes_alone(index);
            if (alone && !attempt.unanswered.is_empty())
                || self.is_full(attempt, bytes + self.records.batch.payload(index))
            {
                break;
            }
            self.records.lanes.take(slot, index);
            let n = attempt.give(index, now);
            bytes += self.records.batch.payload(index);
            next = self.records.peek(slot, now).filter(|next| {
                !alone
                    && !self.records.goes_alone(*next)
                    && (narrow == 0 || attempt.unanswered.len() < narrow)
                    && !self.is_full(attempt, bytes + self.records.batch.payload(*next))
            });
            if let Some(behind) = next
                && self
                    .framer
                    .is_end_before(&self.records.batch.record(behind))?
            {
                next = None;
            }
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
                next = self.records.peek(slot, now).filter(|_| !halted);
            } else {
                attempt.sealed = next.is_none();
            }
            if self.is_ahead() {
                attempt.owed = !attempt.sealed;
                break;
            }
        }
        attempt.fed += (self.input.len() - framed) as u64;
        Ok(())
    }

    /// Whether enough is made ready. Not with several lanes: the handler was told that more comes, but
    /// another one may take it first.
    fn is_ahead(&self) -> bool {
        let lives_on = matches!(self.settings.per, Per::Shard { .. });
        lives_on && self.settings.jobs == 1 && self.input.len() >= AHEAD
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
}
