//! What limits allow (operations.md, "Limits for a machine").

use crate::slots::HostSlot;
use crate::world::World;

impl World {
    /// A handler is about to start.
    pub(super) fn judge_limits(&mut self) {
        if self.is_paced() {
            self.breaks("a handler starts before the rate allows it");
        }
        if self.life.others.is_some() && self.host_slot != HostSlot::Kept {
            self.breaks("a handler starts without a slot of the machine");
        }
    }

    /// A handler has started with this many records.
    pub(crate) fn use_limits(&mut self, records: usize) {
        self.host_slot = HostSlot::None;
        if let Some(interval) = self.life.rate {
            // What is late by less than an interval is made up for.
            let due = self.judge.rate_until;
            let due = due.filter(|due| self.now < *due + interval);
            self.judge.rate_until = Some(due.unwrap_or(self.now) + interval * records as u32);
        }
    }

    /// Whether a handler that could start has to wait.
    pub(super) fn is_held_up(&mut self) -> bool {
        let paced = self.is_paced();
        let queued = self.next_host_slot().is_some_and(|at| self.now < at);
        if paced {
            self.seen.hit("a rate waited for");
        } else if queued {
            self.seen.hit("a slot waited for");
        }
        paced || queued
    }

    fn is_paced(&self) -> bool {
        self.judge.rate_until.is_some_and(|until| self.now < until)
    }

    /// Nobody sleeps on a slot that others could use.
    pub(super) fn is_slot_kept(&self) -> bool {
        self.host_slot == HostSlot::Kept
    }
}
