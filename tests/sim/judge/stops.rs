//! How work comes to its end: a shutdown, the shard's end, a lost lease, a signal, the daemon's death.

use std::time::Duration;

use crate::world::World;

impl World {
    pub(super) fn begin_drain(&mut self, works: bool) {
        self.give_last_chance();
        if self.judge.lease_gone {
            return;
        }
        if works {
            self.seen.hit("shutdownRequested in mid-run");
        }
        self.judge.finishing = true;
        self.judge.drain_until = Some(self.now + self.life.drain);
    }

    /// Windows wait no more; SHARD_END is stored once all is done.
    pub(super) fn begin_shard_end(&mut self) {
        self.judge.shard_over = true;
        if !self.is_everything_done() {
            self.seen.hit("records held at shardEnded");
        }
        let end = self.judge.end.map(|end| self.daemon.records[end].pos);
        if self.judge.stored < end {
            self.seen.hit("held records at a shard's end");
        }
        if self.judge.dropped {
            self.seen.hit("a shard's end after a drop");
            self.judge.ends_unread = true;
            self.judge.last_chance = true;
        }
        self.finish_shard();
    }

    /// All that is held at the shard's end is done: handlers are let go.
    pub(super) fn finish_shard(&mut self) {
        if self.judge.shard_over && !self.judge.lease_gone && self.is_everything_done() {
            self.judge.finishing = true;
            self.judge.finished_at = Some(self.now);
            self.give_last_chance();
        }
    }

    pub(super) fn give_last_chance(&mut self) {
        self.judge.round_failed = false;
        self.judge.failures = 0;
        self.judge.not_before = Duration::ZERO;
        (self.judge.owed_from, self.judge.uncounted) = (Duration::ZERO, 0);
    }

    /// Nothing of what handlers do counts any more.
    pub(super) fn withdraw(&mut self) {
        self.judge.withdrawn = true;
        self.judge.lease_gone = true;
        self.forget_held();
        (self.judge.hook_until, self.judge.hook_failures) = (Duration::ZERO, 0);
    }

    /// kclpipe sees that the daemon is gone.
    pub(crate) fn judge_end_of_input(&mut self) {
        if !self.killed && self.judge.hands.iter().any(|hand| !hand.places.is_empty()) {
            self.seen.hit("end of input in mid-run");
        }
        self.judge.input_ended = true;
    }

    pub(crate) fn judge_signal(&mut self) {
        let until = self.now + self.life.stop_timeout;
        self.judge.paused_until = until;
        self.judge.draining = until;
        self.judge.last_sign = self.now;
    }
}
