//! What the daemon does next, once an action is answered.

use std::time::Duration;

use super::Ending;
use crate::world::{Rng, World};

impl World {
    /// What the daemon does when an action was answered.
    pub(super) fn go_on(&mut self) {
        self.daemon.step += 1;
        let daemon = &self.daemon;
        let due = daemon.step >= daemon.ending_step;
        match daemon.ending {
            _ if daemon.lost || daemon.shutdown_requested => self.lose_lease(),
            Ending::LeaseLost if due => self.lose_lease(),
            Ending::Shutdown if due => {
                self.daemon.shutdown_requested = true;
                self.seen.hit("orderly shutdown");
                self.send(
                    "shutdownRequested",
                    r#"{"action":"shutdownRequested"}"#.to_owned(),
                    Duration::ZERO,
                    Vec::new(),
                );
            }
            Ending::EndOfInput if due => {
                self.seen.hit("end of input between actions");
                self.end_input(Duration::from_millis(10));
            }
            Ending::SilentLoss if due => {
                self.daemon.lost = true;
                self.seen.hit("lease lost without a word");
                self.read_stream();
            }
            _ => self.read_stream(),
        }
    }

    fn end_input(&mut self, delay: Duration) {
        self.daemon.eof_at = Some(self.now + delay);
        self.daemon.action = None;
    }

    fn lose_lease(&mut self) {
        let mut rng = self.daemon.rng(self.dice, "lost");
        if self.daemon.shutdown_requested && rng.chance(20) {
            return self.end_input(rng.millis(0, 500));
        }
        self.daemon.lost = true;
        let delay = rng.millis(0, 3_000);
        if self.life.old {
            self.seen.hit("shutdown of 1.x");
            let reason = rng.pick(&["ZOMBIE", "LEASE_LOST", "REQUESTED"]);
            let line = format!(r#"{{"action":"shutdown","reason":"{reason}"}}"#);
            return self.send("shutdown", line, delay, Vec::new());
        }
        self.send(
            "leaseLost",
            r#"{"action":"leaseLost"}"#.to_owned(),
            delay,
            Vec::new(),
        );
    }

    /// The next read of the stream goes to kclpipe.
    fn read_stream(&mut self) {
        let mut rng = self.daemon.rng(self.dice, "read");
        let daemon = &self.daemon;
        let arrived = daemon
            .records
            .partition_point(|rec| rec.arrives <= self.now);
        let stale = daemon.next < arrived && self.life.empty_reads && rng.chance(6);
        if stale {
            self.seen.hit("stale empty read");
        }
        if daemon.next < arrived && !stale {
            return self.send_records(&mut rng);
        }
        let at_end = daemon.next == daemon.records.len();
        let wait_for_more = at_end && daemon.empties < 3 && rng.chance(40);
        if at_end && !(wait_for_more && self.life.empty_reads) {
            return self.end_shard(&mut rng);
        }
        if self.life.empty_reads {
            self.daemon.empties += 1;
            let delay = if stale {
                rng.millis(0, 20)
            } else {
                Duration::from_secs(1)
            };
            return self.send_batch(Vec::new(), delay);
        }
        let wait = self.daemon.records[self.daemon.next].arrives - self.now;
        self.send_batch(vec![self.daemon.next], wait + Duration::from_millis(200));
    }

    fn send_records(&mut self, rng: &mut Rng) {
        let daemon = &self.daemon;
        let (records, mut from) = (&daemon.records, daemon.next);
        if rng.chance(8) && from > daemon.start {
            from = from
                .saturating_sub(rng.within(1, 4) as usize)
                .max(daemon.start);
            self.seen.hit("older positions again");
        }
        let count = rng.pick(&[1, 2, 5, 12, 40]);
        let mut to = (daemon.next + count).min(records.len());
        to = to.min(records.partition_point(|rec| rec.arrives <= self.now));
        // One record of Kinesis is never read in two pieces.
        while to < records.len() && records[to].pos.0 == records[to - 1].pos.0 {
            to += 1;
        }
        let delay = rng.up_to(&[0, 30, 1_000]);
        self.send_batch((from..to).collect(), delay);
    }

    fn send_batch(&mut self, batch: Vec<usize>, delay: Duration) {
        if let Some(last) = batch.last() {
            self.daemon.next = self.daemon.next.max(last + 1);
            self.daemon.delivered = self.daemon.delivered.max(Some(*last));
        }
        let arrived = self
            .daemon
            .records
            .partition_point(|rec| rec.arrives <= self.now);
        let behind = if arrived > self.daemon.next { 1_000 } else { 0 };
        let records: Vec<&str> = batch
            .iter()
            .map(|index| self.daemon.records[*index].json.as_str())
            .collect();
        let line = format!(
            r#"{{"action":"processRecords","records":[{}],"millisBehindLatest":{behind}}}"#,
            records.join(",")
        );
        self.send("processRecords", line, delay, batch);
    }

    fn end_shard(&mut self, rng: &mut Rng) {
        self.daemon.shard_ended = true;
        let delay = rng.millis(0, 1_000);
        if self.life.old {
            self.seen.hit("shutdown of 1.x");
            let reason = rng.pick(&["TERMINATE", "SHARD_END"]);
            let line = format!(r#"{{"action":"shutdown","reason":"{reason}"}}"#);
            return self.send("shutdown", line, delay, Vec::new());
        }
        self.send(
            "shardEnded",
            r#"{"action":"shardEnded"}"#.to_owned(),
            delay,
            Vec::new(),
        );
    }
}
