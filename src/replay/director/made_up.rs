//! A shard that is made up: records in batches, and an ending.

use std::time::Duration;

use super::{Call, Content, Directive, Director, ShardRecords, Successor, json};
use crate::protocol::Message;
use crate::replay::action::Action;
use crate::replay::faults::{Cause, Cut, Termination, When};
use crate::replay::lease::{Lease, LeasePosition};
use crate::replay::stream::Record;

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
    /// How long nothing comes after each batch: the child gets reads that found no record meanwhile. None if
    /// this is zero.
    pub quiet: Duration,
}

/// The time between two reads that find nothing, as the daemon makes them
/// (`idleTimeBetweenReadsInMillis` of `PollingConfig`).
const READ_EVERY: Duration = Duration::from_secs(1);

impl Rules {
    /// How many reads find nothing after a batch, and the time before each.
    fn empty_reads(&self) -> (u32, Duration) {
        let reads = self.quiet.div_duration_f64(READ_EVERY).ceil() as u32;
        (reads, self.quiet.min(READ_EVERY))
    }
}

/// Records, and how they are handed over.
#[derive(Debug)]
pub(crate) struct MadeUp {
    records: ShardRecords,
    rules: Rules,
    /// How many reads are still to find nothing before there are more records.
    empty_reads: u32,
}

impl MadeUp {
    /// The records are in the order of their positions, which increase strictly.
    pub(crate) fn new(records: Vec<Record>, rules: Rules) -> MadeUp {
        MadeUp {
            records: ShardRecords::new(records),
            rules,
            empty_reads: 0,
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
            | LeasePosition::ShardEnd => self.records.covered(&lease.stored),
        }
    }

    fn work(&mut self, lease: &Lease) -> Directive {
        let (next, (reads, pause)) = (lease.assignment.next, self.rules.empty_reads());
        // Only records are followed by silence: a read that found nothing is part of it.
        if !lease.assignment.batch.is_empty() {
            self.empty_reads = reads;
        }
        if self.empty_reads > 0 {
            return Directive::Act(Call {
                pause: Some(pause),
                ..Call::read(next..next, 0)
            });
        }
        if next == self.records.len() {
            return self.end();
        }
        let batch = next..self.batch_end(next);
        let is_half = batch.end > self.records.len() / 2;
        let end = (self.rules.ending == Ending::Kill && is_half).then_some(Termination {
            cut: Cut::Eof,
            when: When::AtOnce,
            cause: Cause::Ending,
        });
        Directive::Act(Call {
            end,
            ..Call::batch(batch)
        })
    }

    /// The end of the batch that begins at this place.
    pub(crate) fn batch_end(&self, begin: usize) -> usize {
        self.records.batch_end(begin, self.rules.batch_size)
    }

    /// The shard's end, or what is to end its work.
    pub(crate) fn end(&self) -> Directive {
        let action = match self.rules.ending {
            Ending::ShardEnd => Action::ShardEnded,
            Ending::Graceful => Action::ShutdownRequested,
            Ending::LeaseLost => Action::LeaseLost,
            Ending::Kill => {
                return Directive::Close {
                    cut: true,
                    resumes: false,
                };
            }
        };
        Directive::Act(Call::bare(action))
    }

    /// What is neither records nor the shard's end.
    fn end_of_lease(&self, is_lost: bool) -> Directive {
        Directive::Act(Call {
            resumes: is_lost,
            ..Call::bare(Action::LeaseLost)
        })
    }
}

impl Director for MadeUp {
    fn first(&mut self, shard_id: &str, lease: &mut Lease) -> Directive {
        lease.assign(self.start(lease));
        self.empty_reads = 0;
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
            Action::Initialize | Action::ProcessRecords if lease.assignment.is_over() => {
                self.end_of_lease(lease.assignment.is_lost)
            }
            Action::Initialize | Action::ProcessRecords => self.work(lease),
            Action::ShutdownRequested => self.end_of_lease(false),
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

    /// A fault may come in place of an empty read, which then is still to come.
    fn delivered_read(&mut self) {
        self.empty_reads = self.empty_reads.saturating_sub(1);
    }

    fn successor(&self) -> Successor {
        Successor::Resumes
    }

    fn records(&self) -> Option<&ShardRecords> {
        Some(&self.records)
    }
}
