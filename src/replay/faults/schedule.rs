//! When which fault comes: all of it drawn from the seed.
//!
//! Faults are put into what the daemon is about to do, in one place: [`Schedule::apply`] is given each
//! [`Directive`] before it is carried out.

use std::ops::Range;
use std::time::Duration;

use super::{Cause, Cut, Fault, Faults, Rng, Termination, When};
use crate::replay::action::Action;
use crate::replay::director::{Answer, Call, Content, Directive, Outcome};
use crate::replay::lease::Lease;

/// The longest time between an action and the end of its child, where that comes after a while.
const SOON: Duration = Duration::from_millis(50);

/// How many records come again at most when a subscription begins anew.
const REDELIVERED: usize = 10;

/// Where in its stream a shard was when a child was terminated: records delivered so far, and whether it had
/// ended.
type Place = (usize, bool);

/// What the daemon is about to do something in.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The action that the child has answered; `None` before its first one, and for a checkpoint.
    pub answered: Option<Action>,
    /// The lease.
    pub lease: &'a Lease,
    /// How many of the shard's records the stored checkpoint covers.
    pub covered: usize,
    /// How many records the shard has.
    pub records: usize,
}

impl Situation<'_> {
    fn place(&self) -> Place {
        (self.lease.fresh, self.lease.assignment.at_end.is_some())
    }

    /// Whether the daemon would go on with records or with the shard's end.
    fn is_work(&self) -> bool {
        let is_over = self.lease.assignment.is_over();
        !is_over && self.answered.is_some_and(Action::is_followed_by_work)
    }

    /// Whether the last batch had records; an empty one is not followed by another, so the shard goes on.
    fn may_be_empty(&self) -> bool {
        let was_batch = self.answered == Some(Action::ProcessRecords);
        !(was_batch && self.lease.assignment.batch.is_empty())
    }

    /// The records that KCL may deliver again: those of this child that are after the checkpoint. Only after
    /// a batch with records that are new, so the shard goes on.
    fn may_come_again(&self) -> Range<usize> {
        let assignment = &self.lease.assignment;
        if assignment.is_new {
            self.covered.max(assignment.first)..assignment.next
        } else {
            assignment.next..assignment.next
        }
    }
}

/// What goes wrong with one shard.
///
/// A child is terminated only where the shard has come further than when one was before, so that every shard
/// reaches its end, however seldom its children checkpoint.
#[derive(Clone, Debug)]
pub struct Schedule {
    faults: Faults,
    /// What befalls actions, checkpoints and reads is drawn apart: how many checkpoints a child asks for does
    /// not change when it is killed.
    actions: Rng,
    checkpoints: Rng,
    reads: Rng,
    terminated: Option<Place>,
}

impl Schedule {
    /// The schedule of the shard with this number.
    pub fn new(faults: Faults, seed: u64, shard: usize) -> Schedule {
        let shard = shard as u64;
        Schedule {
            faults,
            actions: Rng::new(seed, 3 * shard),
            checkpoints: Rng::new(seed, 3 * shard + 1),
            reads: Rng::new(seed, u64::MAX - 2 * shard - 1),
            terminated: None,
        }
    }

    /// What the daemon does in place of `directive`.
    pub fn apply(&mut self, directive: Directive, at: &Situation<'_>) -> Directive {
        let pause = at.answered.and_then(|_| self.pause());
        let directive = if at.is_work() {
            self.in_place_of_work(directive, at)
        } else {
            directive
        };
        match directive {
            Directive::Act(call) => {
                let mut call = self.late_batch(call, at);
                let may_be_idle = at.answered.is_some_and(Action::is_followed_by_work);
                call.pause = pause.filter(|_| may_be_idle).max(call.pause);
                Directive::Act(self.with_nulls_and_end(call, at))
            }
            Directive::Answer(answer) => Directive::Answer(self.on_answer(answer, at)),
            Directive::Wait | Directive::Close { .. } => directive,
        }
    }

    fn pause(&mut self) -> Option<Duration> {
        let longest = self.faults.longest(Fault::Idle)?;
        Some(self.actions.up_to(longest))
    }

    /// The end of the lease, an empty batch, or older records.
    fn in_place_of_work(&mut self, directive: Directive, at: &Situation<'_>) -> Directive {
        let ends = [
            (Fault::LeaseLoss, Action::LeaseLost),
            (Fault::Shutdown, Action::ShutdownRequested),
        ];
        let end = self.faults.one_of(&ends, &mut self.actions);
        if let Some(action) = end.filter(|_| self.may_terminate(at.place())) {
            return Directive::Act(Call::injected(action));
        }
        let is_empty = self.actions.hits(self.faults.rate(Fault::Empty));
        if is_empty && at.may_be_empty() {
            let next = at.lease.assignment.next;
            return Directive::Act(Call::batch(next..next));
        }
        match self.older_records(at) {
            Some(batch) => Directive::Act(Call::batch(batch)),
            None => directive,
        }
    }

    /// A subscription that begins anew may begin before what it had delivered.
    fn older_records(&mut self, at: &Situation<'_>) -> Option<Range<usize>> {
        let hits = self.reads.hits(self.faults.rate(Fault::Redeliver));
        let all = at.may_come_again();
        if !hits || all.is_empty() {
            return None;
        }
        let number = self.reads.from_one_to(all.len().min(REDELIVERED));
        Some(all.end - number..all.end)
    }

    /// Other daemons still have a read in hand when they have asked a child to drain.
    fn late_batch(&mut self, call: Call, at: &Situation<'_>) -> Call {
        let is_due = call.action == Action::LeaseLost
            && at.answered == Some(Action::ShutdownRequested)
            && self.reads.hits(self.faults.rate(Fault::LateBatch));
        if !is_due {
            return call;
        }
        let next = at.lease.assignment.next;
        Call::batch(next..at.records.min(next + 1))
    }

    fn with_nulls_and_end(&mut self, mut call: Call, at: &Situation<'_>) -> Call {
        if let Content::Batch { nulls, .. } = &mut call.content {
            *nulls = self.actions.hits(self.faults.rate(Fault::Nulls));
        }
        let end = self.end(at.place());
        call.end = call.end.or(end);
        call
    }

    /// Perhaps a child does not live to answer what it is given.
    fn end(&mut self, place: Place) -> Option<Termination> {
        let cuts = [(Fault::Kill, Cut::Kill), (Fault::Eof, Cut::Eof)];
        let cut = self.faults.one_of(&cuts, &mut self.actions)?;
        if !self.may_terminate(place) {
            return None;
        }
        let when = match self.actions.from_one_to(5) {
            1 => When::AtOnce,
            2 | 3 => When::After(self.actions.up_to(SOON)),
            which => When::AtCheckpoint { stored: which == 4 },
        };
        Some(Termination {
            cut,
            when,
            cause: Cause::Injected,
        })
    }

    /// The answer to a checkpoint: perhaps an error, perhaps late. Whose child ends hears neither.
    fn on_answer(&mut self, mut answer: Answer, at: &Situation<'_>) -> Answer {
        if matches!(answer.outcome, Outcome::Store(_))
            && let Some(error) = self.error(at.place())
        {
            answer.outcome = Outcome::Fail {
                error: error.into(),
                cause: Cause::Injected,
            };
        }
        let longest = self.faults.longest(Fault::SlowAck);
        answer.delay = longest.map(|longest| self.checkpoints.up_to(longest));
        answer
    }

    fn error(&mut self, place: Place) -> Option<&'static str> {
        let kind = self.faults.refusal(&mut self.checkpoints)?;
        let ends = kind.fault == Fault::LeaseStolen;
        kind.error.filter(|_| !ends || self.may_terminate(place))
    }

    fn may_terminate(&mut self, place: Place) -> bool {
        let further = self.terminated.is_none_or(|before| place > before);
        if further {
            self.terminated = Some(place);
        }
        further
    }
}
