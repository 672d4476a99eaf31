//! What the daemon reads from the stream, and when kclpipe gets it.

use std::time::Duration;

use super::Read;
use crate::world::{Rng, World};

/// How often an empty read may come before the shard's end.
const EMPTIES: u32 = 3;

/// The same where nothing comes for long: longer than any window, and what has to be waited for after it.
const QUIET: u32 = 90;

impl World {
    /// The next read of the stream goes to kclpipe.
    pub(super) fn read_stream(&mut self) {
        let mut rng = self.daemon.rng(self.dice, "read");
        let new = self.daemon.next < self.arrived();
        let stale = new && self.life.empty_reads && rng.chance(6);
        if stale {
            self.seen.hit("stale empty read");
            return self.send_stale(&mut rng);
        }
        if new {
            return self.send_records(&mut rng);
        }
        let at_end = self.daemon.next == self.daemon.records.len();
        if at_end && !(self.life.empty_reads && self.waits_for_more(&mut rng)) {
            return self.end_shard(&mut rng);
        }
        if self.life.empty_reads {
            return self.send_empty(&mut rng);
        }
        let wait = self.daemon.records[self.daemon.next].arrives - self.now;
        let delay = wait + Duration::from_millis(200);
        self.send_read(vec![self.daemon.next], 0, delay);
    }

    /// How many records the stream has.
    fn arrived(&self) -> usize {
        let records = &self.daemon.records;
        records.partition_point(|rec| rec.arrives <= self.now)
    }

    fn waits_for_more(&self, rng: &mut Rng) -> bool {
        match self.life.quiet {
            true => self.daemon.empties < QUIET && rng.chance(99),
            false => self.daemon.empties < EMPTIES && rng.chance(40),
        }
    }

    /// A read that KCL made while its child was at work: it says nothing of what has come since.
    fn send_stale(&mut self, rng: &mut Rng) {
        self.daemon.empties += 1;
        let behind = rng.pick(&[0, 0, 1_000]);
        let delay = rng.millis(0, 20);
        self.send_read(Vec::new(), behind, delay);
    }

    /// Nothing new is there. KCL asks once a second, and sometimes it is held up for long.
    fn send_empty(&mut self, rng: &mut Rng) {
        self.daemon.empties += 1;
        let calm = self.daemon.session > self.life.sessions;
        let held_up = !calm && rng.chance(2);
        let delay = if held_up { 90_000 } else { 1_000 };
        self.send_read(Vec::new(), 0, Duration::from_millis(delay));
    }

    fn send_records(&mut self, rng: &mut Rng) {
        let (daemon, arrived) = (&self.daemon, self.arrived());
        let (records, mut from) = (&daemon.records, daemon.next);
        if rng.chance(8) && from > daemon.start {
            from = from
                .saturating_sub(rng.within(1, 4) as usize)
                .max(daemon.start);
            self.seen.hit("older positions again");
        }
        let count = rng.pick(&[1, 2, 5, 12, 40]);
        let mut to = (daemon.next + count).min(records.len()).min(arrived);
        // One record of Kinesis is never read in two pieces.
        while to < records.len() && records[to].pos.0 == records[to - 1].pos.0 {
            to += 1;
        }
        let behind = if arrived > to { 1_000 } else { 0 };
        let delay = rng.up_to(&[0, 30, 1_000]);
        self.send_read((from..to).collect(), behind, delay);
    }

    fn send_read(&mut self, records: Vec<usize>, behind: u64, delay: Duration) {
        if let Some(last) = records.last() {
            self.daemon.next = self.daemon.next.max(last + 1);
            self.daemon.delivered = self.daemon.delivered.max(Some(*last));
        }
        let json = |index: &usize| self.daemon.records[*index].json.as_str();
        let line = format!(
            r#"{{"action":"processRecords","records":[{}],"millisBehindLatest":{behind}}}"#,
            records.iter().map(json).collect::<Vec<_>>().join(",")
        );
        self.send("processRecords", line, delay, Read { records, behind });
    }
}
