//! The slots of a machine on which others run handlers, too.

use std::time::Duration;

use crate::handlers::RECOVERY;
use crate::world::World;

/// What kclpipe has of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HostSlot {
    #[default]
    None,
    /// It has one from then on.
    AskedFor(Duration),
    /// It has one, and no handler has it.
    Kept,
}

impl World {
    /// Whether kclpipe has a slot; if not, it has asked for one.
    pub(crate) fn has_host_slot(&mut self) -> bool {
        if self.host_slot == HostSlot::None {
            self.host_slot = HostSlot::AskedFor(self.now + self.others());
        }
        self.take_host_slot();
        self.host_slot == HostSlot::Kept
    }

    /// For how long others have all slots.
    fn others(&self) -> Duration {
        let numbers = [u64::from(self.daemon.session), self.judge.started];
        let mut rng = self.dice.rng("slot", &numbers);
        match self.life.others {
            Some(most) if self.now < RECOVERY && rng.chance(60) => rng.up_to(&[0, 50, most]),
            _ => Duration::ZERO,
        }
    }

    /// The slot that kclpipe asked for is its own if it is time; whether that is news.
    pub(crate) fn take_host_slot(&mut self) -> bool {
        let is_free = matches!(self.host_slot, HostSlot::AskedFor(at) if at <= self.now);
        if is_free {
            self.tell('*', || "a slot is free".to_owned());
            self.host_slot = HostSlot::Kept;
        }
        is_free
    }

    /// kclpipe needs no slot.
    pub(crate) fn leave_host_slot(&mut self) {
        if self.host_slot == HostSlot::Kept {
            self.tell('<', || "leave the slot".to_owned());
            self.seen.hit("a slot left to others");
            self.host_slot = HostSlot::None;
        }
    }

    /// When kclpipe has the slot that it asked for.
    pub(crate) fn next_host_slot(&self) -> Option<Duration> {
        match self.host_slot {
            HostSlot::AskedFor(at) => Some(at),
            HostSlot::None | HostSlot::Kept => None,
        }
    }
}
