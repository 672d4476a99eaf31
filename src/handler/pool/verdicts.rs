//! What handlers say, and what their end says of the records they had.
//!
//! What must not change, for a record would be lost or charged for another:
//!
//! - Only the records that an attempt has are judged, the oldest first; what is said of any other stops the handler.
//! - What a handler says after it is stopped is log output: its records are somebody else's by then.
//! - Records behind one that comes again are taken from the handler, or those of its key would overtake it.
//! - A handler that had read nothing of its records says nothing about them: they come back, uncharged.
//! - An end that names no record charges none, unless there was only one.
//! - Every path from a failure to the next start has a delay on it.

use std::time::{Duration, Instant};

use humantime::format_duration;

use super::attempt::{Attempt, ExitReport, Stopped};
use super::{Pool, Role, Slot};
use crate::handler::held::{Disposition, Records, Report, Why, shown};
use crate::handler::mode::lambda_reply::names;
use crate::handler::mode::{Evidence, Finding, Heard, Reason, Verdict, whole};
use crate::outcome::{Class, Ended};
use crate::process;
use crate::shard_state::LastFailure;

impl Pool<'_> {
    pub(super) fn hear(&mut self, slot: usize, line: &[u8], now: Instant) {
        let Some(attempt) = self.slots[slot]
            .attempt
            .as_mut()
            .filter(|attempt| attempt.stopped.is_none())
        else {
            return process::log_stdout(line);
        };
        attempt.printed = true;
        let heard = self.mode.hear(attempt, line, now);
        // Before the answer is taken in: then the records that it speaks of are gone from the attempt.
        let answered = answered(attempt, heard);
        if answered > 0 && self.mode.lives_on() {
            let took = now - attempt.asked;
            self.records.counters.took(took);
            attempt.asked = now;
            log_answer(&self.records, attempt, (answered, heard), took);
        }
        if answered > 0 && answered == attempt.unanswered.len() && self.has_unread_batch(slot) {
            return self.stop_for_answer(slot, UNREAD, line);
        }
        match heard {
            Heard::Noted => {}
            Heard::Log => process::log_stdout(line),
            Heard::Untokened => {
                process::log_stdout(line);
                self.advise_token(slot, line);
            }
            Heard::Done {
                records,
                checkpoint,
            } => self.answered(slot, records, checkpoint),
            Heard::Bad(class) => self.answered_badly(slot, class, now),
            Heard::Whole(class) => {
                self.answered_whole(slot, |_, attempt| whole::of_word(attempt, class), now);
            }
            Heard::Reply => {
                let verdict = |pool: &Self, attempt: &Attempt| {
                    pool.with_evidence(attempt, |evidence| whole::of_reply(attempt, evidence))
                };
                self.answered_whole(slot, verdict, now);
            }
            Heard::Halt => self.halt(slot, "the handler answered 'halt'"),
            Heard::Invalid(why) => self.stop_for_answer(slot, why, line),
        }
    }

    /// The handler broke the rules for answers.
    fn stop_for_answer(&mut self, slot: usize, why: &'static str, line: &[u8]) {
        log::error!(
            "the handler sent {why}: '{}'; stopping it",
            process::excerpt(line)
        );
        self.stop(slot, Stopped::InvalidAnswer(why));
    }

    /// Whether the handler in `slot` lives on and cannot have read all of its batch. Who reads a value rather than
    /// a line may leave the line feed after it.
    fn has_unread_batch(&self, slot: usize) -> bool {
        let lives_on = self.mode.lives_on() && self.mode.gives_batches();
        lives_on && self.children.unread(Role::Handler(slot)) > LINE_FEED
    }

    /// The handler in `slot` has answered for all the records that it has, and lives on.
    fn answered_whole(
        &mut self,
        slot: usize,
        verdict: impl FnOnce(&Self, &Attempt) -> Verdict,
        now: Instant,
    ) {
        let Some(mut attempt) = self.slots[slot].attempt.take() else {
            return;
        };
        let verdict = verdict(self, &attempt);
        if matches!(verdict.finding, Finding::Done { .. }) {
            self.advise_reply(&attempt, now);
        }
        let report = Report {
            outcome: &verdict.reason.to_string(),
            stderr: &[],
        };
        self.judge(&mut attempt, verdict.finding, report, now);
        // Also those that come again: they were spoken of.
        attempt.answered = attempt.given;
        let slot_of = &mut self.slots[slot];
        (slot_of.attempt, slot_of.deaths) = (Some(attempt), 0);
        self.finish_spent(slot);
    }

    /// The oldest records of the handler in `slot` are done.
    fn answered(&mut self, slot: usize, records: usize, checkpoint: bool) {
        let Slot {
            attempt: Some(attempt),
            deaths,
            ..
        } = &mut self.slots[slot]
        else {
            return;
        };
        self.records.answered(attempt, records, checkpoint);
        *deaths = 0;
        self.end_batch(slot);
        self.finish_spent(slot);
    }

    /// Notes that a handler that lives on has answered all of its batch, where it is given batches.
    fn end_batch(&mut self, slot: usize) {
        let lives_on = self.mode.lives_on() && self.mode.gives_batches();
        if lives_on && !self.is_at_work(slot) {
            self.records.end_run();
        }
    }

    /// Lets a handler go that has answered all that it may have. It has no record any more, so no time limit
    /// runs; but the place is needed for the next one.
    fn finish_spent(&mut self, slot: usize) {
        let Some(attempt) = &self.slots[slot].attempt else {
            return;
        };
        let spent = self.mode.is_spent(attempt) || self.drain_until.is_some();
        if spent && attempt.unanswered.is_empty() {
            let role = Role::Handler(slot);
            self.children.finish(role, self.settings.ending());
        }
    }

    /// Says once that an answer stands without its token, for the record then stays unanswered.
    fn advise_token(&mut self, slot: usize, line: &[u8]) {
        if std::mem::replace(&mut self.said_untokened, true) {
            return;
        }
        let word = process::excerpt(line);
        log::warn!(
            "{} printed '{word}', an answer without its token, so {} is still unanswered: let it echo $KCLPIPE_TOKEN {word}, or run kclpipe with --plain-answers",
            self.handler(slot),
            self.at(slot)
        );
    }

    /// Says once a minute that a reply counts as success though it was probably meant otherwise.
    fn advise_reply(&mut self, attempt: &Attempt, now: Instant) {
        if !self.reply_advice.is_due(now) {
            return;
        }
        if let Some(found) = self.mode.remark(attempt) {
            self.reply_advice.give(now);
            log::warn!(
                "the function's reply has no 'batchItemFailures' but {found}: its batch counts as done, as on Lambda; expected {{\"batchItemFailures\": [{{\"itemIdentifier\": SEQUENCE_NUMBER}}]}}, or null"
            );
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
        if let Some(run) = attempt.run {
            self.records.found(run);
        }
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
        // Those behind it are with the handler already, and it would go on to them.
        if !done.is_over() && more {
            self.rest_as(slot, done);
            self.stop(slot, Stopped::OutOfOrder);
        } else {
            self.end_batch(slot);
            self.finish_spent(slot);
        }
    }

    pub(super) fn ended(&mut self, slot: usize, mut end: ExitReport, now: Instant) {
        let Some(mut attempt) = self.slots[slot].attempt.take() else {
            return;
        };
        if attempt.stopped == Some(Stopped::Withdrawn) {
            return;
        }
        self.log_attempt(&attempt, &end, now);
        match attempt.stopped {
            // We stopped it, for another record's sake: its end says nothing of these.
            Some(Stopped::OutOfOrder) => {
                return self.records.come_back(attempt.unanswered.into_iter(), None);
            }
            Some(Stopped::TimedOut) => end.ended = Ended::TimedOut,
            Some(Stopped::InvalidAnswer(_)) => end.ended = Ended::InvalidAnswer,
            Some(Stopped::Withdrawn) | None => {}
        }
        let class = self.class(&attempt, &end);
        self.records.counters.exit(end.ended, class);
        if !class.is_good() {
            let failure = LastFailure::new(end.ended.to_string(), &end.stderr);
            self.records.counters.last_failure = Some(failure);
        }
        if !self.mode.lives_on() {
            self.records.counters.took(now - attempt.started);
        }
        // A halt counts whether a record was at hand or not; with one, that record is named.
        if class == Class::Halt && (attempt.unanswered.is_empty() || self.is_unread(&attempt, &end))
        {
            let at = attempt.unanswered.front().copied();
            return self.halt_at(at, &end.ended.to_string());
        }
        if self.is_unread(&attempt, &end) && !class.is_good() {
            return self.ended_unread(slot, attempt, &end, now);
        }
        if attempt.unanswered.is_empty() || self.is_unread(&attempt, &end) {
            self.records.come_back(attempt.unanswered.drain(..), None);
            if !self.mode.lives_on() {
                self.records.end_run();
            }
            return self.ended_idle(slot, &attempt, &end, now);
        }
        let verdict = self.verdict(&attempt, &end);
        if matches!(verdict.finding, Finding::Done { .. }) {
            self.advise_reply(&attempt, now);
        }
        let report = Report {
            outcome: &verdict.reason.to_string(),
            stderr: &end.stderr,
        };
        if let Some(next) = self.judge(&mut attempt, verdict.finding, report, now) {
            self.rest_as(slot, next);
        }
    }

    /// Whether a handler that lives on has not even begun to read the records that it has.
    fn is_unread(&self, attempt: &Attempt, end: &ExitReport) -> bool {
        self.mode.lives_on() && !attempt.unanswered.is_empty() && attempt.has_read_none(end.unread)
    }

    /// The class of a handler's end. One that should live on and has read nothing in all its life has
    /// failed, whatever its exit code says; after an answer it may end between two records.
    fn class(&self, attempt: &Attempt, end: &ExitReport) -> Class {
        let class = self.settings.on_exit.class(end.ended);
        if !self.is_unread(attempt, end) || (class.is_good() && attempt.answered > 0) {
            return class;
        }
        match class {
            Class::Broken | Class::Halt => class,
            Class::Done | Class::Checkpoint | Class::Reject | Class::Retry | Class::Fail => {
                Class::Fail
            }
        }
    }

    /// What is known of an attempt besides how it ended.
    fn with_evidence<T>(&self, attempt: &Attempt, judge: impl FnOnce(&Evidence<'_>) -> T) -> T {
        let queue = &self.records.queue;
        let is_of = |index, id: &str| names(id, &queue.header(index, &mut String::new()));
        let front = attempt.unanswered.front();
        judge(&Evidence {
            on_exit: &self.settings.on_exit,
            is_suspect: front.is_some_and(|index| self.records.is_suspect(*index)),
            find: &|id| {
                let mut unanswered = attempt.unanswered.iter();
                unanswered.position(|index| is_of(*index, id))
            },
        })
    }

    pub(super) fn verdict(&self, attempt: &Attempt, end: &ExitReport) -> Verdict {
        let judge = |evidence: &Evidence<'_>| self.mode.verdict(attempt, end, evidence);
        let verdict = self.with_evidence(attempt, judge);
        match attempt.stopped {
            Some(Stopped::InvalidAnswer(why)) => Verdict {
                reason: Reason::Invalid(why),
                ..verdict
            },
            _ => verdict,
        }
    }

    /// Does what is said of the records that an attempt has; it has none then. What becomes of the one that failed,
    /// if there is one.
    fn judge(
        &mut self,
        attempt: &mut Attempt,
        finding: Finding,
        report: Report<'_>,
        now: Instant,
    ) -> Option<Disposition> {
        let (done, checkpoint, next) = match finding {
            Finding::Done { checkpoint } => (attempt.unanswered.len(), checkpoint, None),
            Finding::Upto { records, next } => (records, false, Some(next)),
            Finding::Oldest(class) => (0, false, Some(class)),
            Finding::Unnamed(class) => return self.judge_unnamed(attempt, class, report, now),
        };
        self.records.answered(attempt, done, checkpoint);
        match (attempt.run, next) {
            (Some(run), Some(_)) => self.records.found(run),
            (None, None) | (Some(_), None) => self.records.end_run(),
            (None, Some(_)) => {}
        }
        let failed = next.and_then(|class| Some((class, attempt.answer()?)));
        let disposition =
            failed.map(|(class, index)| self.records.settle(index, class, report, now));
        self.records.come_back(attempt.unanswered.drain(..), None);
        disposition
    }

    /// The handler failed, but it is not known at which of its records.
    fn judge_unnamed(
        &mut self,
        attempt: &mut Attempt,
        class: Class,
        report: Report<'_>,
        now: Instant,
    ) -> Option<Disposition> {
        self.records.counters.fail(class);
        let keeps_whole = self.keeps_whole(attempt);
        let records: Vec<usize> = attempt.unanswered.drain(..).collect();
        let until = match class {
            Class::Retry => self.records.all_again(&records, Why::Retried, report, now),
            Class::Broken => self.records.broken(&records, report, now),
            Class::Halt => {
                self.records.halt(records[0], report);
                return None;
            }
            Class::Fail if keeps_whole => {
                let why = Why::FailedTogether;
                self.records.all_again(&records, why, report, now)
            }
            Class::Done | Class::Checkpoint | Class::Reject | Class::Fail
                if self.mode.narrows() && records.len() > 1 =>
            {
                if let Some(run) = attempt.run {
                    self.records.found(run);
                }
                self.records.narrow(&records, report, now)
            }
            Class::Done | Class::Checkpoint | Class::Reject | Class::Fail => {
                // It answers in order, so it most likely died of the oldest.
                self.records.suspect(records[0]);
                self.records
                    .all_again(&records, Why::Unanswered, report, now)
            }
        };
        Some(Disposition::RetryAt(until))
    }

    /// Whether a batch that failed is tried again as it is. Halves of an aligned one have names of their own,
    /// so what they wrote is not overwritten when the whole batch comes again; and a death, or a server that
    /// was not there, is no reason for that.
    fn keeps_whole(&self, attempt: &Attempt) -> bool {
        let is_first_failure = attempt.run.is_none();
        let has_others = attempt.unanswered.len() > 1;
        is_first_failure && has_others && self.settings.window.is_some_and(|window| window.aligned)
    }

    /// A handler that lives on has ended before it read any of its records.
    fn ended_unread(&mut self, slot: usize, attempt: Attempt, end: &ExitReport, now: Instant) {
        let class = self.class(&attempt, end);
        let records: Vec<usize> = attempt.unanswered.into();
        self.records.unread(&records, class, now);
        let delay = self.rest(slot, now);
        log::error!(
            "the handler ended with {} before it read record {}; with --per shard it must read until its input ends; restarting it in {}, without limit; this shard waits",
            end.ended,
            self.records.position(records[0]),
            shown(delay)
        );
    }

    /// A handler has ended that had no record: one that lives on, between two records or after its input
    /// ended.
    fn ended_idle(&mut self, slot: usize, attempt: &Attempt, end: &ExitReport, now: Instant) {
        let good = self.settings.on_exit.class(end.ended).is_good();
        if end.stopped && attempt.stopped.is_none() {
            log::warn!(
                "the handler (process {}) had answered every record, but was still running {} after its input ended and was stopped (--stop-timeout): {}",
                end.pid,
                format_duration(self.settings.ending().timeout),
                end.ended
            );
        } else if !good && attempt.stopped.is_none() {
            log::error!(
                "the handler ended with {}, although every record was answered",
                end.ended
            );
        }
        if self.mode.lives_on() && (!good || attempt.answered == 0) {
            self.rest(slot, now);
        }
    }

    /// No handler that lives on starts in `slot` for a while, longer each time until one answers: no path
    /// leads from a failure to an attempt without a delay. Returns the delay.
    fn rest(&mut self, slot: usize, now: Instant) -> Duration {
        let slot = &mut self.slots[slot];
        slot.deaths = slot.deaths.saturating_add(1);
        let delay = self.settings.delays.after(slot.deaths);
        (slot.ended_badly, slot.rest_until) = (true, Some(now + delay));
        delay
    }

    /// A handler that lives on failed at a record: the next starts when that is tried again, as announced,
    /// and at once if it is over.
    fn rest_as(&mut self, slot: usize, disposition: Disposition) {
        if self.mode.lives_on() {
            let slot = &mut self.slots[slot];
            (slot.deaths, slot.ended_badly) = (0, true);
            slot.rest_until = match disposition {
                Disposition::RetryAt(until) => Some(until),
                Disposition::Done
                | Disposition::Disposed
                | Disposition::AwaitsLetter
                | Disposition::Halted => None,
            };
        }
    }

    fn log_attempt(&self, attempt: &Attempt, end: &ExitReport, now: Instant) {
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
}

/// What is wrong with an answer that came too early.
const UNREAD: &str = "an answer before it had read all of its event";

const LINE_FEED: u64 = 1;

/// Of how many records, the oldest first, a line speaks.
fn answered(attempt: &Attempt, heard: Heard) -> usize {
    match heard {
        Heard::Done { records, .. } => records,
        Heard::Bad(_) => 1,
        Heard::Whole(_) | Heard::Reply => attempt.unanswered.len(),
        Heard::Log | Heard::Untokened | Heard::Noted | Heard::Halt | Heard::Invalid(_) => 0,
    }
}

/// One line for an answer, where the handler lives on.
fn log_answer(
    records: &Records,
    attempt: &Attempt,
    (count, heard): (usize, Heard),
    took: Duration,
) {
    if !log::log_enabled!(log::Level::Debug) {
        return;
    }
    let said = match heard {
        Heard::Bad(class) | Heard::Whole(class) => format!("answered '{class}'"),
        Heard::Reply => "replied".to_owned(),
        Heard::Done { .. }
        | Heard::Log
        | Heard::Untokened
        | Heard::Noted
        | Heard::Halt
        | Heard::Invalid(_) => format!("answered '{}'", Class::Done),
    };
    // An answer for several is one line, of the last record that it speaks of.
    let Some(index) = attempt.unanswered.get(count - 1) else {
        return;
    };
    let those_before = match count {
        1 => String::new(),
        _ => format!(" and the {} before it", count - 1),
    };
    log::debug!(
        "record {}{those_before}, attempt {}: {said} after {:.3} s",
        records.position(*index),
        records.attempt_number(*index),
        took.as_secs_f64()
    );
}
