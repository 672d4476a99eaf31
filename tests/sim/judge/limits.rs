//! What limits allow (operations.md, "Limits for a machine").

use crate::slots::HostSlot;
use crate::world::World;

impl World {
    /// A handler is about to start.
    pub(super) fn judge_limits(&mut self) {
        if self.now < self.judge.rate_until {
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
            self.judge.rate_until = self.now + interval * records as u32;
        }
    }

    /// Whether a handler that could start has to wait.
    pub(super) fn is_held_up(&mut self) -> bool {
        let paced = self.now < self.judge.rate_until;
        let queued = self.next_host_slot().is_some_and(|at| self.now < at);
        if paced {
            self.seen.hit("a rate waited for");
        } else if queued {
            self.seen.hit("a slot waited for");
        }
        paced || queued
    }

    /// Nobody sleeps on a slot that others could use.
    pub(super) fn is_slot_kept(&self) -> bool {
        self.host_slot == HostSlot::Kept
    }
}
