//! When which fault comes: all that is left to chance, drawn from the seed.

use std::time::Duration;

use super::{Action, Phase, Shard, Step, What};
use crate::replay::chance::Chance;
use crate::replay::faults::{Fault, Faults};

/// The longest time between an action and the end of its child, where that comes after a while.
const SOON: Duration = Duration::from_millis(50);

/// How a child's end comes upon it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// SIGKILL.
    Kill,
    /// Its input ends, as when the daemon is killed.
    Eof,
}

/// The end of a child at its next checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Armed {
    pub(super) cut: Cut,
    /// The checkpoint is stored, though its answer does not come.
    pub(super) stored: bool,
}

/// Where in its stream a shard was struck: records delivered so far, and whether it had ended.
pub(super) type Place = (usize, bool);

/// What goes wrong with one shard.
///
/// A child is ended only where the shard has come further than when one was ended before, so that every
/// shard reaches its end, however seldom its children checkpoint.
#[derive(Clone, Debug)]
pub struct Luck {
    faults: Faults,
    /// What befalls actions and what befalls checkpoints are drawn apart: how many checkpoints a child asks
    /// for does not change when it is killed.
    actions: Chance,
    acks: Chance,
    struck: Option<Place>,
}

impl Luck {
    /// The luck of the shard with this number.
    pub fn new(faults: Faults, seed: u64, shard: usize) -> Luck {
        let shard = shard as u64;
        Luck {
            faults,
            actions: Chance::new(seed, 3 * shard),
            acks: Chance::new(seed, 3 * shard + 1),
            struck: None,
        }
    }

    /// How long the daemon waits before its next action.
    pub(super) fn pause(&mut self) -> Option<Duration> {
        let longest = self.faults.longest(Fault::Idle)?;
        Some(self.actions.up_to(longest))
    }

    /// Whether a batch without records comes first.
    pub(super) fn is_empty_batch(&mut self) -> bool {
        self.actions.hits(self.faults.rate(Fault::Empty))
    }

    /// Whether what may be null in a batch is null.
    pub(super) fn is_null(&mut self) -> bool {
        self.actions.hits(self.faults.rate(Fault::Nulls))
    }

    /// The message that ends the lease in place of the next batch.
    pub(super) fn end_of_lease(&mut self, place: Place) -> Option<Action> {
        let faults = [Fault::LeaseLoss, Fault::Shutdown];
        let fault = self.faults.one_of(&faults, &mut self.actions)?;
        self.may_strike(place).then_some(match fault {
            Fault::Shutdown => Action::ShutdownRequested,
            _ => Action::LeaseLost,
        })
    }

    /// How long the answer to a checkpoint takes.
    pub(super) fn delay(&mut self) -> Option<Duration> {
        let longest = self.faults.longest(Fault::SlowAck)?;
        Some(self.acks.up_to(longest))
    }

    /// The error that the next checkpoint is answered with.
    pub(super) fn refusal(&mut self, place: Place) -> Option<&'static str> {
        let kind = self.faults.refusal(&mut self.acks)?;
        let ends = kind.fault == Fault::LeaseStolen;
        kind.error.filter(|_| !ends || self.may_strike(place))
    }

    fn cut(&mut self, place: Place) -> Option<Cut> {
        let faults = [Fault::Kill, Fault::Eof];
        let fault = self.faults.one_of(&faults, &mut self.actions)?;
        self.may_strike(place).then_some(match fault {
            Fault::Kill => Cut::Kill,
            _ => Cut::Eof,
        })
    }

    fn may_strike(&mut self, place: Place) -> bool {
        let further = self.struck.is_none_or(|struck| place > struck);
        if further {
            self.struck = Some(place);
        }
        further
    }
}

impl Shard {
    pub(super) fn place_of_strike(&self) -> Place {
        (self.fresh, self.at_end.is_some())
    }

    /// An action was sent: perhaps the child does not live to answer it.
    pub(super) fn aim(&mut self, steps: &mut Vec<Step>) {
        let place = self.place_of_strike();
        let Some(luck) = self.luck.as_mut() else {
            return;
        };
        let Some(cut) = luck.cut(place) else {
            return;
        };
        match luck.actions.one_of(&[0, 1, 1, 2, 3]) {
            0 => self.strike(cut, steps),
            1 => {
                let wait = luck.actions.up_to(SOON);
                steps.push(self.later(wait, What::Strike(cut)));
            }
            when => {
                let stored = when == 2;
                self.armed = Some(Armed { cut, stored });
            }
        }
    }

    /// Why something goes wrong.
    pub(super) fn cause(&self) -> &'static str {
        match self.staged {
            Some(_) => "recorded",
            None => "injected",
        }
    }

    /// The child's end comes.
    pub(super) fn strike(&mut self, cut: Cut, steps: &mut Vec<Step>) {
        self.again = true;
        let (child, messages) = (self.child, self.messages);
        let how = match cut {
            Cut::Kill => "SIGKILL",
            Cut::Eof => "end of input",
        };
        steps.push(Step::Say(format!(
            "{}: {how} after message {messages} with child {child}",
            self.cause()
        )));
        match cut {
            Cut::Kill => {
                self.phase = Phase::Killed;
                steps.push(Step::Kill);
            }
            Cut::Eof => self.cut_off(steps),
        }
    }
}
