//! A shard whose records arrive while it is read.
//!
//! The daemon reads ahead of its child, as KCL's prefetching does: what a read found is decided when it is
//! made, and it may wait behind others until the child has answered. So an empty read, or one that says that
//! nothing is behind it, may be older than the child's last answer. When it reads is up to the caller, who
//! has the clock.

use std::collections::VecDeque;
use std::ops::Range;

use super::{Call, Directive, Director, MadeUp, Rules, ShardRecords, Successor};
use crate::replay::action::Action;
use crate::replay::lease::{Lease, LeasePosition};
use crate::replay::stream::Record;

/// How many reads wait for the child at most: three in KCL's queue, and one that waits to get in
/// (`PrefetchRecordsPublisher.java`).
const QUEUED: usize = 4;

/// Records that arrive, and the reads that found them.
#[derive(Debug)]
pub(crate) struct Live {
    made_up: MadeUp,
    /// Whether the child gets reads that found nothing (`callProcessRecordsEvenForEmptyRecordList`).
    empty_reads: bool,
    queue: VecDeque<Read>,
    /// Where the next read begins; `None` at the tip that the next read finds.
    from: Option<usize>,
}

/// What a read found.
#[derive(Clone, Debug)]
struct Read {
    records: Range<usize>,
    millis_behind_latest: i64,
}

impl Live {
    /// The records are in the order of their positions, and each can be read from its arrival on, or from that
    /// of an earlier record if that is later.
    pub(crate) fn new(records: Vec<Record>, rules: Rules, empty_reads: bool) -> Live {
        Live {
            made_up: MadeUp::new(records, rules),
            empty_reads,
            queue: VecDeque::new(),
            from: Some(0),
        }
    }

    /// Whether every record was found by a read.
    fn is_read_to_its_end(&self) -> bool {
        self.from == self.made_up.records().map(ShardRecords::len)
    }

    /// The read that is made at `now`, if it finds something or the child is to get it nevertheless.
    fn found(&mut self, now: i64) -> Option<Read> {
        let records = self.made_up.records()?;
        let tip = records.arrived(now);
        let begin = *self.from.get_or_insert(tip);
        let end = if begin < tip {
            self.made_up.batch_end(begin).min(tip)
        } else {
            begin
        };
        self.from = Some(end);
        let left = records.arrival(end);
        let read = Read {
            records: begin..end,
            millis_behind_latest: left.map_or(0, |arrival| (now - arrival).max(0)),
        };
        (begin < end || self.empty_reads).then_some(read)
    }
}

impl Director for Live {
    fn first(&mut self, shard_id: &str, lease: &mut Lease) -> Directive {
        let first = self.made_up.first(shard_id, lease);
        let is_at_tip = lease.stored == LeasePosition::Latest;
        self.from = (!is_at_tip).then_some(lease.assignment.next);
        self.queue.clear();
        first
    }

    fn next(&mut self, answered: Action, lease: &Lease) -> Directive {
        if lease.assignment.is_over() || !answered.is_followed_by_work() {
            return self.made_up.next(answered, lease);
        }
        match self.queue.front() {
            Some(read) => {
                let records = read.records.clone();
                Directive::Act(Call::read(records, read.millis_behind_latest))
            }
            None if self.is_read_to_its_end() => self.made_up.end(),
            None => Directive::Wait,
        }
    }

    /// A fault may come in place of a read, which then waits on.
    fn delivered_read(&mut self) {
        self.queue.pop_front();
    }

    fn successor(&self) -> Successor {
        self.made_up.successor()
    }

    fn records(&self) -> Option<&ShardRecords> {
        self.made_up.records()
    }

    fn read(&mut self, now: i64) {
        if self.queue.len() < QUEUED && !self.is_read_to_its_end() {
            let read = self.found(now);
            self.queue.extend(read);
        }
    }
}
