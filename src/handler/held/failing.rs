//! What becomes of records whose attempt did not go well.

use std::time::Instant;

use super::disposition::{Decision, Disposition, Policy};
use super::events::{Delay, RecordEvent, Why};
use super::{Letter, Records, Report};
use crate::outcome::Class;

impl Records {
    /// Does with a record what the class of its attempt asks for.
    pub(in crate::handler) fn settle(
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
        // A limit that the user set is no fault of the record's.
        let age = self.age(index);
        let age = age.map(|age| age.saturating_sub(self.queue.held_up(index)));
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
                attempts.alone = true;
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
            // Also a record that blocks: each time counts, whatever becomes of it.
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
                self.halt_because(index, &why);
                Disposition::Halted
            }
            Decision::Halt => {
                self.halt(index, report);
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
        self.put_back(index, Some(until));
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

    /// Rejects a record that cannot stand in the handler's format.
    pub(in crate::handler) fn unfit(&mut self, index: usize, why: &str, now: Instant) {
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
    pub(in crate::handler) fn come_back(
        &mut self,
        indexes: impl Iterator<Item = usize>,
        until: Option<Instant>,
    ) {
        let run = self.runs.came_back();
        for index in indexes {
            let attempts = self.attempts(index);
            attempts.handed += 1;
            attempts.run = Some(run);
            self.put_back(index, until);
        }
    }

    /// All of these are to be tried again, and none of them is charged.
    pub(in crate::handler) fn all_again(
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
    pub(in crate::handler) fn broken(
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
    pub(in crate::handler) fn unread(&mut self, indexes: &[usize], class: Class, now: Instant) {
        self.counters.fail(class);
        if let Some(first) = indexes.first() {
            self.attempts(*first).note(now, false);
        }
        self.come_back(indexes.iter().copied(), None);
    }

    /// One of these failed, but not known which: again, uncharged, in smaller runs. When that begins.
    pub(in crate::handler) fn narrow(
        &mut self,
        indexes: &[usize],
        report: Report<'_>,
        now: Instant,
    ) -> Instant {
        let delay = self.settings.delays.after(1);
        let until = now + delay;
        let (Some(first), Some(last)) = (indexes.first(), indexes.last()) else {
            return until;
        };
        let event = RecordEvent::Narrowed {
            count: indexes.len(),
            ends: [*first, *last].map(|index| self.position(index)),
            outcome: report.outcome,
            delay,
        };
        event.tell(&mut self.counters);
        self.attempts(*first).since.get_or_insert(now);
        self.come_back(indexes.iter().copied(), Some(until));
        self.runs.suspect_last(indexes.len());
        until
    }

    pub(in crate::handler) fn halt(&mut self, index: usize, report: Report<'_>) {
        self.halt_because(index, &format!("asks to halt: {}", report.outcome));
    }

    fn halt_because(&mut self, index: usize, why: &str) {
        let why = format!("record {} {why}", self.position(index));
        self.halted.get_or_insert(why);
    }
}
