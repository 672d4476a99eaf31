//! A shard that is made up: records in batches, and an ending.

use std::ops::Range;

use super::{Call, Content, Directive, Director, Successor, json};
use crate::protocol::{Message, WireRecord};
use crate::record::Position;
use crate::replay::action::Action;
use crate::replay::faults::{Cause, Cut, Termination, When};
use crate::replay::shard::{Lease, LeasePosition};
use crate::replay::stream::Record;

/// The most payload in one batch, as Kinesis limits what it gives at a time; base64 is a third longer.
const BATCH_BYTES: usize = 10 * 1024 * 1024 / 3 * 4;

/// How the daemon ends a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The shard has ended: the child stores `SHARD_END`.
    ShardEnd,
    /// The worker stops in an orderly way.
    Graceful,
    /// Another worker has the lease.
    LeaseLost,
    /// The daemon dies half-way: the child's input ends with a batch unanswered.
    Kill,
}

/// What a shard is played by.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// The most records in one batch.
    pub batch_size: usize,
    /// How it ends.
    pub ending: Ending,
    /// How often a child that died is started again.
    pub restarts: u32,
}

/// Records, and how they are handed over.
#[derive(Debug)]
pub struct MadeUp {
    records: Vec<Record>,
    /// When the newest record came into the stream.
    newest: i64,
    batch_size: usize,
    ending: Ending,
}

impl MadeUp {
    /// The records are in the order of their positions, which increase strictly.
    pub fn new(records: Vec<Record>, rules: Rules) -> MadeUp {
        let arrivals = records.iter().map(|record| record.arrival);
        MadeUp {
            newest: arrivals.max().unwrap_or(0),
            records,
            batch_size: rules.batch_size,
            ending: rules.ending,
        }
    }

    /// Where a lease begins. At `LATEST` that is the tip: what was delivered and not checkpointed does not
    /// come again (`IteratorBuilder.java`).
    fn start(&self, lease: &Lease) -> usize {
        match lease.stored {
            LeasePosition::Latest => lease.fresh,
            LeasePosition::AtTimestamp
            | LeasePosition::TrimHorizon
            | LeasePosition::At(_)
            | LeasePosition::ShardEnd => self.place_after(&lease.stored),
        }
    }

    fn place_after(&self, position: &LeasePosition) -> usize {
        let is_covered = |record: &Record| LeasePosition::At(record.position.clone()) <= *position;
        self.records.partition_point(is_covered)
    }

    fn work(&self, lease: &Lease) -> Directive {
        let next = lease.assignment.next;
        if next == self.records.len() {
            return self.end();
        }
        let batch = next..self.batch_end(next);
        let is_half = batch.end > self.records.len() / 2;
        let end = (self.ending == Ending::Kill && is_half).then_some(Termination {
            cut: Cut::Eof,
            when: When::AtOnce,
            cause: Cause::Ending,
        });
        Directive::Act(Call {
            end,
            ..Call::batch(batch)
        })
    }

    fn batch_end(&self, next: usize) -> usize {
        let mut bytes = 0;
        let rest = self.records[next..].iter().take(self.batch_size);
        let fitting = rest.take_while(|record| {
            bytes += record.data.len();
            bytes <= BATCH_BYTES
        });
        next + fitting.count().max(1)
    }

    fn end(&self) -> Directive {
        Directive::Act(Call::bare(match self.ending {
            Ending::ShardEnd => Action::ShardEnded,
            Ending::Graceful => Action::ShutdownRequested,
            Ending::LeaseLost => Action::LeaseLost,
            Ending::Kill => {
                return Directive::Close {
                    cut: true,
                    resumes: false,
                };
            }
        }))
    }

    /// The time between the batch's last record and the shard's newest.
    fn millis_behind_latest(&self, batch: &[Record]) -> i64 {
        let arrival = batch.last().map_or(self.newest, |record| record.arrival);
        (self.newest - arrival).max(0)
    }
}

impl Director for MadeUp {
    fn first(&mut self, shard_id: &str, lease: &mut Lease) -> Directive {
        lease.assign(self.start(lease));
        let (sequence_number, sub_sequence_number) = lease.stored.numbers();
        let line = json(&Message::Initialize {
            shard_id: shard_id.into(),
            sequence_number: Some(sequence_number.into()),
            sub_sequence_number: Some(sub_sequence_number),
        });
        Directive::Act(Call::new(Action::Initialize, Content::Line(line)))
    }

    fn next(&mut self, answered: Action, lease: &Lease) -> Directive {
        match answered {
            Action::Initialize | Action::ProcessRecords if lease.assignment.is_lost => {
                Directive::Act(Call {
                    resumes: true,
                    ..Call::bare(Action::LeaseLost)
                })
            }
            Action::Initialize | Action::ProcessRecords if !lease.assignment.is_draining => {
                self.work(lease)
            }
            Action::Initialize | Action::ProcessRecords | Action::ShutdownRequested => {
                Directive::Act(Call::bare(Action::LeaseLost))
            }
            Action::LeaseLost => Directive::Close {
                cut: false,
                resumes: false,
            },
            Action::ShardEnded => Directive::Close {
                cut: false,
                resumes: lease.stored != LeasePosition::ShardEnd,
            },
        }
    }

    fn died(&self) -> Successor {
        Successor::Resumes
    }

    fn batch(&self, records: Range<usize>, nulls: bool) -> (String, Option<LeasePosition>) {
        let records = &self.records[records];
        let line = json(&Message::ProcessRecords {
            records: records
                .iter()
                .map(|record| wire_record(record, nulls))
                .collect(),
            millis_behind_latest: Some(self.millis_behind_latest(records)).filter(|_| !nulls),
        });
        let last = records.last().map(|last| last.position.clone());
        (line, last.map(LeasePosition::At))
    }

    fn error(&mut self) -> Option<String> {
        None
    }

    fn size(&self) -> usize {
        self.records.len()
    }

    fn covered(&self, position: &LeasePosition) -> Option<usize> {
        Some(self.place_after(position))
    }

    fn is_aggregate(&self, sequence_number: &str) -> bool {
        let Some(second) = Position::new(sequence_number, 1) else {
            return false;
        };
        let at = self
            .records
            .partition_point(|record| record.position < second);
        let record = self.records.get(at);
        record.is_some_and(|record| record.position.sequence_number == sequence_number)
    }
}

fn wire_record(record: &Record, nulls: bool) -> WireRecord<'_> {
    WireRecord {
        data: Some(record.data.as_str().into()),
        partition_key: record.partition_key.as_str().into(),
        sequence_number: record.position.sequence_number.as_str().into(),
        approximate_arrival_timestamp: Some(record.arrival).filter(|_| !nulls),
        sub_sequence_number: Some(record.position.sub_sequence_number),
    }
}
