//! What is held: the records that were taken in over several reads, how much that is, and when the daemon is to
//! be answered.

use std::time::Duration;

use super::Place;
use crate::daemon::Read;
use crate::world::World;

/// What stands in a line of the daemon's before its first record, and after its last.
const BEFORE: usize = r#"{"action":"processRecords","records":["#.len();
const AFTER: usize = r#"],"millisBehindLatest":1000}"#.len();

/// A record's texts begin this many bytes after the brace before them, at most. Where exactly it begins is not
/// said anywhere.
const BEGINS: u64 = 100;

/// What comes sooner than this after an answer may have been read long before.
const FRESH: Duration = Duration::from_millis(100);

impl World {
    pub(super) fn begin_read(&mut self, read: Read) {
        if self.judge.lease_gone || self.judge.halted || self.judge.dropped {
            return;
        }
        self.note_tip(&read);
        if read.records.is_empty() {
            return;
        }
        if self.judge.batch.iter().any(|place| !place.done) {
            self.seen.hit("held records over a border");
        }
        let first = self.judge.batch.len();
        self.take_in(&read.records);
        self.judge.read_ends.push(self.judge.batch.len() - 1);
        if self.judge.is_unprotected() {
            self.begin_at_latest(first);
        }
        if self.judge.batch[first..]
            .iter()
            .any(|place| self.is_unfit(place.rec))
        {
            self.seen.hit("payload that does not fit the format");
        }
        self.filter(first);
    }

    /// The first record of a lease goes alone, if a handler gets it at all.
    fn begin_at_latest(&mut self, first: usize) {
        if self.is_filtered(first) {
            return self.seen.hit("LATEST: the first record is filtered");
        }
        self.judge.batch[first].first = true;
        self.seen.hit("LATEST: the first record alone");
    }

    pub(super) fn is_filtered(&self, place: usize) -> bool {
        self.daemon.records[self.judge.batch[place].rec].filtered
    }

    /// What is filtered is done at once. A read of which nothing passes is a batch, if nothing waits for another.
    fn filter(&mut self, first: usize) {
        let places = first..self.judge.batch.len();
        let filtered: Vec<usize> = places.filter(|place| self.is_filtered(*place)).collect();
        for place in &filtered {
            self.seen.hit("a filtered record");
            self.judge.counted.filtered += 1;
            self.over(*place);
        }
        if !filtered.is_empty() && self.is_everything_done() {
            self.seen.hit("a read of which nothing passes");
            self.note_batch_done();
        }
    }

    /// An empty read shows that nothing more is there, until the next record comes.
    fn note_tip(&mut self, read: &Read) {
        let fresh = self.now >= self.judge.answered + FRESH;
        self.judge.last_read = self.now;
        match (read.records.is_empty(), read.behind) {
            (false, _) => self.judge.caught_up = None,
            (true, 0) if fresh => self.judge.caught_up = Some(self.now),
            (true, _) => {}
        }
    }

    fn take_in(&mut self, records: &[usize]) {
        let mut at = self.judge.taken_in + BEFORE as u64;
        for rec in records {
            self.judge.batch.push(Place {
                at,
                taken_in: self.now,
                ..Place::of(*rec)
            });
            at += self.daemon.records[*rec].json.len() as u64 + 1;
        }
        self.judge.taken_in = at - 1 + AFTER as u64;
    }

    /// Whether everything that was taken in is done.
    pub(super) fn is_everything_done(&self) -> bool {
        self.judge.batch.iter().all(|place| place.done)
    }

    /// Whether more may be held than is read ahead, and whether it is: at the very limit nobody knows.
    pub(super) fn is_full(&self) -> (bool, bool) {
        let first = self.judge.batch.iter().find(|place| !place.done);
        let held = first.map_or(0, |first| self.judge.taken_in - first.at);
        let (ahead, failed) = (self.life.read_ahead, self.judge.spool_failed);
        (
            failed || held > ahead,
            failed || held.saturating_sub(BEGINS) > ahead,
        )
    }

    /// Whether the daemon may be answered, and whether it must.
    pub(super) fn room(&self) -> (bool, bool) {
        if self.is_everything_done() {
            return (true, true);
        }
        let alone = self
            .judge
            .batch
            .iter()
            .any(|place| place.first && !place.done);
        let waits = self.life.read_ahead == 0 || alone || self.judge.is_unprotected();
        let (may_be_full, is_full) = self.is_full();
        (!waits && !is_full, !waits && !may_be_full)
    }

    /// The records that are held are somebody else's from now on.
    pub(super) fn drop_held(&mut self) {
        let delivered = self.daemon.delivered;
        self.judge.dropped = delivered.is_some() && delivered > self.judge.end;
        if self.judge.dropped {
            self.seen.hit("a drop");
        }
        // What was done is stored with the shutdown: a batch that ended before makes nothing due after it.
        self.judge.batch_done = false;
        self.forget_held();
    }

    pub(super) fn forget_held(&mut self) {
        self.judge.batch.clear();
        self.judge.read_ends.clear();
        self.judge.aligned.clear();
        (self.judge.through, self.judge.reported) = (0, 0);
        self.judge.spool_failed = false;
    }
}
