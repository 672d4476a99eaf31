//! When a checkpoint is due (checkpoints.md).

use std::time::Duration;

use crate::world::World;

/// The time between two lease probes.
const PROBE: Duration = Duration::from_secs(30);

impl World {
    /// A handler's batch is done: where records are collected, a checkpoint is due with the next step.
    pub(super) fn note_batch_done(&mut self) {
        // What happens at one time is reported together.
        let reported = self.judge.reported_at == Some(self.now);
        self.judge.batch_done = self.life.window.is_some() && !reported;
        self.note_report();
    }

    /// What is done is reported before every sleep: a batch that is done falls due with it.
    pub(crate) fn note_report(&mut self) {
        if self.judge.through > self.judge.reported {
            self.judge.reported = self.judge.through;
            if std::mem::take(&mut self.judge.batch_done) {
                self.judge.reported_at = Some(self.now);
                self.judge.batch_end = self.judge.end;
            }
        }
    }

    pub(super) fn is_checkpoint_due(&mut self) -> bool {
        let judge = &self.judge;
        let may = !self.daemon.awaiting && !judge.lease_gone && self.now >= judge.owed_from;
        may && self.action() != "initialize" && (self.is_due() || self.is_probe_due())
    }

    pub(super) fn is_due(&mut self) -> bool {
        let (judge, strategy) = (&self.judge, self.life.strategy);
        let requested = judge
            .requested
            .map(|requested| self.daemon.records[requested].pos);
        let ends = self.daemon.shard_ended && judge.requested == self.daemon.delivered;
        let checkpoint_request = requested > judge.stored && requested != judge.refused && !ends;
        if strategy.manual {
            return checkpoint_request;
        }
        let withheld = self.is_withheld();
        if self.unsaved_end().is_none() && !withheld {
            return false;
        }
        let batch_end = judge.batch_end.map(|end| self.daemon.records[end].pos);
        let batch_over = batch_end > judge.stored;
        let leaving = judge.last_chance || (judge.finishing && !self.daemon.shard_ended);
        let due = checkpoint_request
            || judge.in_round
            || leaving
            || judge.is_unprotected()
            || self.now < judge.draining
            || (strategy.batch && batch_over)
            || strategy
                .records
                .is_some_and(|records| self.unsaved() >= records)
            || strategy
                .every
                .is_some_and(|every| self.now >= judge.last + every);
        if due && withheld {
            self.seen.hit("checkpoint withheld at a shard's end");
        }
        due && !withheld
    }

    /// A record has blocked its shard for half a minute, and there is a position between it and what is done
    /// (checkpoints.md, "The lease probe").
    fn is_probe_due(&self) -> bool {
        let (judge, records) = (&self.judge, &self.daemon.records);
        let front = judge.batch.iter().find(|place| !place.done);
        // Within an aligned batch that is the batch's first record.
        let next = judge.batch.get(judge.through);
        let since = front.and_then(|front| front.since);
        let Some(((since, next), end)) = since.zip(next).zip(judge.end) else {
            return false;
        };
        let next = next.rec;
        let clear = next > end && records[next].pos.0 != records[end].pos.0;
        let plain = !self.life.strategy.manual && judge.refused.is_none();
        let works = self.action() == "processRecords" && !judge.halted;
        let since = since.max(judge.opened);
        works && clear && plain && self.now >= since.max(judge.last) + PROBE
    }

    /// The end of what is done is the last position that was delivered: the daemon would take it for more.
    pub(super) fn is_withheld(&self) -> bool {
        let end = self.judge.end.map(|end| self.daemon.records[end].pos);
        self.daemon.shard_ended
            && end > self.judge.stored
            && self.judge.end == self.daemon.delivered
    }
}
