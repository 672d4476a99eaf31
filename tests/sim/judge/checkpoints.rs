//! What is said to the daemon: statuses and checkpoints.

use kclpipe::testing::handler::Role;

use super::Ack;
use crate::daemon::{Pos, Stored};
use crate::world::World;

impl World {
    /// Every record that the daemon sent or may still send in this session is done.
    pub(super) fn is_all_done(&self) -> bool {
        let start = self.daemon.start;
        self.judge.known[start..].iter().all(|known| *known)
            && self.judge.hands.iter().all(|hand| hand.places.is_empty())
    }

    pub(crate) fn judge_status(&mut self, name: &str) {
        self.judge.last_sign = self.now;
        self.judge.answered = self.now;
        self.judge.perhaps_in_round = false;
        if self.judge.halted || self.judge.ends_unread {
            return self.breaks(format!("'{name}' is answered after a halt"));
        }
        let busy = self
            .children
            .iter()
            .any(|child| matches!(child.role, Role::Handler(_)));
        match name {
            "initialize" if self.life.hook && !self.judge.hook_begun => {
                self.breaks("the lease begins before its hook has succeeded");
            }
            "initialize" => self.judge.last = self.now,
            "processRecords" => self.judge_answer(),
            _ if busy => self.breaks(format!("'{name}' is answered while a handler runs")),
            "shutdownRequested" => self.judge_shutdown(),
            "shardEnded" | "shutdown" if self.is_end_missing() => {
                self.breaks("the shard's end is answered before it is stored");
            }
            _ => {}
        }
    }

    /// There is room for more, and what is due is stored or has failed.
    fn judge_answer(&mut self) {
        self.note_report();
        if !self.room().0 && !self.judge.dropped {
            self.breaks("processRecords is answered while too much is held");
        }
        if self.is_checkpoint_due() {
            self.breaks("processRecords is answered, and a checkpoint is due");
        }
        if self.is_everything_done() {
            self.forget_held();
        }
        if self.judge.hands.iter().any(|hand| !hand.places.is_empty()) {
            self.seen.hit("a run under way while no action is open");
        }
    }

    fn is_end_missing(&self) -> bool {
        let lost = self.judge.lease_gone || !self.daemon.shard_ended;
        self.daemon.stored != Stored::ShardEnd && !lost
    }

    fn judge_shutdown(&mut self) {
        let judge = &self.judge;
        let excused = judge.lease_gone || judge.round_failed || self.life.strategy.manual;
        if !excused && self.unsaved_end().is_some() {
            self.breaks("an orderly shutdown is answered before all that is done is stored");
        }
        self.drop_held();
        (self.judge.finishing, self.judge.drain_until) = (false, None);
    }

    /// Records done since the last checkpoint.
    pub(super) fn unsaved(&self) -> u64 {
        let stored = self
            .judge
            .stored
            .map_or(0, |stored| self.daemon.through(stored));
        let end = self.judge.end.map_or(0, |end| end + 1);
        end.saturating_sub(stored.max(self.daemon.start)) as u64
    }

    /// The end of what is done, if a checkpoint there would advance and the daemon would take it for what it is.
    pub(super) fn unsaved_end(&self) -> Option<Pos> {
        let end = self.daemon.records[self.judge.end?].pos;
        let ends = self.is_withheld();
        (Some(end) > self.judge.stored && Some(end) != self.judge.refused && !ends).then_some(end)
    }

    pub(crate) fn judge_checkpoint(&mut self, asked: Option<Pos>, ends: bool) {
        self.judge.last_sign = self.now;
        self.note_report();
        if self.judge.lease_gone {
            return self.breaks("a checkpoint after the lease was lost");
        }
        if ends && !self.is_all_done() {
            return self.breaks("SHARD_END over records that are not done");
        }
        if ends && self.life.hook && !self.judge.hook_done {
            return self.breaks("SHARD_END before the hook has succeeded");
        }
        // What is asked for from then on is answered after kclpipe has seen that end, too.
        self.judge.asked_at_end = self.judge.finished_at.is_some();
        if let Some(asked) = asked {
            self.judge_position(asked);
        } else if self.judge.halted {
            self.breaks("SHARD_END after a halt");
        }
        let is_repeat = asked.is_some() && asked == self.judge.stored;
        if self.now < self.judge.not_before && !is_repeat {
            self.breaks("a checkpoint is tried again before its delay is over");
        }
    }

    /// Whether the daemon has heard nothing for so long that what it knows may be said again.
    pub(crate) fn may_repeat(&self) -> bool {
        let keepalive = self.life.keepalive;
        keepalive.is_some_and(|every| self.now >= self.daemon.heard_at + every)
    }

    fn judge_position(&mut self, asked: Pos) {
        let (start, through) = (self.daemon.start, self.daemon.through(asked));
        let passed = (start..through).find(|rec| !self.judge.known[*rec]);
        if let Some(rec) = passed {
            return self.breaks(format!(
                "the checkpoint {asked:?} passes record {rec}, which is not done"
            ));
        }
        let delivered = self
            .daemon
            .delivered
            .map(|index| self.daemon.records[index].pos);
        let is_repeat = Some(asked) == self.judge.stored;
        if Some(asked) == self.judge.refused {
            return self.breaks("a checkpoint that was refused is asked for again");
        }
        if Some(asked) < self.judge.stored || (Some(asked) > delivered && !is_repeat) {
            return self.breaks(format!(
                "the daemon refuses {asked:?}: it is not between what is stored and what was sent"
            ));
        }
        if is_repeat && !self.may_repeat() {
            return self.breaks("a checkpoint that does not advance");
        }
        if self
            .judge
            .borders
            .iter()
            .any(|batch| batch.contains(&through.wrapping_sub(1)))
            && !is_repeat
        {
            return self.breaks(format!(
                "the checkpoint {asked:?} is within an aligned batch"
            ));
        }
        if self.is_probe(asked) && !is_repeat {
            self.seen.hit("lease probe");
        }
        let stored = self
            .judge
            .stored
            .map_or(start, |stored| self.daemon.through(stored));
        let requested = self
            .judge
            .requested
            .map_or(stored, |requested| requested + 1);
        if self.life.strategy.manual && through > requested.max(stored) {
            self.breaks("a checkpoint that nobody asked for");
        }
    }

    /// Whether no record is at this position: it shows only whose the lease is.
    pub(super) fn is_probe(&self, asked: Pos) -> bool {
        let through = self.daemon.through(asked);
        through == 0 || self.daemon.records[through - 1].pos != asked
    }

    /// kclpipe has read the answer to a checkpoint.
    pub(crate) fn judge_ack(&mut self, ack: Ack) {
        self.judge.last_sign = self.now;
        self.tell('>', || format!("checkpoint: {:?}", ack.error));
        let is_repeat = ack.asked.is_some() && ack.asked == self.judge.stored;
        match ack.error {
            None if is_repeat => {}
            None => {
                self.judge.stored = ack.asked.or(self.judge.stored);
                self.judge.last = self.now;
                self.end_round();
            }
            Some("ShutdownException") => {
                let works = self.judge.hands.iter().any(|hand| !hand.places.is_empty());
                if works {
                    self.seen.hit("lease lost in mid-run");
                }
                self.withdraw();
            }
            Some(
                "ThrottlingException" | "KinesisClientLibDependencyException" | "RuntimeException",
            ) => {
                if !is_repeat {
                    self.round_goes_on(ack.asked.is_none());
                    self.end_probe(ack.asked);
                }
            }
            Some(_) if ack.asked.is_none() => {
                self.seen.hit("SHARD_END refused");
                self.judge.shard_end_refused = true;
            }
            Some(_) => {
                self.seen.hit("checkpoint refused");
                self.judge.refused = ack.asked;
                self.end_round();
            }
        }
    }
}
