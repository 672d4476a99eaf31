//! What the daemon sends, in which order.

use serde::Serialize;

use super::super::stream::Record;
use super::{Action, Ending, Phase, Shard, Step};
use crate::protocol::{Message, WireRecord};
use crate::replay::mark::Mark;

/// The most payload in one batch, as Kinesis limits what it gives at a time; base64 is a third longer.
const BATCH_BYTES: usize = 10 * 1024 * 1024 / 3 * 4;

impl Shard {
    pub(super) fn initialize(&mut self) -> Step {
        let (sequence_number, sub_sequence_number) = self.lease.numbers();
        let message = Message::Initialize {
            shard_id: self.report.shard_id.as_str().into(),
            sequence_number: Some(sequence_number.into()),
            sub_sequence_number: Some(sub_sequence_number),
        };
        let line = json(&message);
        self.act(Action::Initialize, line)
    }

    /// The action was answered: what comes next.
    pub(super) fn go_on(&mut self, answered: Action, steps: &mut Vec<Step>) {
        self.answered = Some(answered);
        match answered {
            Action::Initialize | Action::ProcessRecords if self.next < self.records.len() => {
                self.send_batch(steps);
            }
            Action::Initialize | Action::ProcessRecords => self.send_ending(steps),
            Action::ShutdownRequested => {
                steps.push(self.send(Action::LeaseLost, &Message::LeaseLost))
            }
            Action::LeaseLost | Action::ShardEnded => self.leave(steps),
        }
    }

    fn send_batch(&mut self, steps: &mut Vec<Step>) {
        let batch = &self.records[self.next..self.batch_end()];
        let message = Message::ProcessRecords {
            records: batch.iter().map(wire_record).collect(),
            millis_behind_latest: self.millis_behind_latest(batch),
        };
        let line = json(&message);
        self.count_delivery();
        steps.push(self.act(Action::ProcessRecords, line));
        if self.rules.ending == Ending::Kill && self.next > self.records.len() / 2 {
            self.leave(steps);
        }
    }

    fn count_delivery(&mut self) {
        let end = self.batch_end();
        self.report.delivered += end - self.next;
        self.report.redelivered += self.fresh.min(end).saturating_sub(self.next);
        self.fresh = self.fresh.max(end);
        self.next = end;
        let last = Mark::At(self.records[end - 1].position.clone());
        self.largest = last.max(self.largest.clone());
    }

    fn batch_end(&self) -> usize {
        let mut bytes = 0;
        let rest = self.records[self.next..].iter().take(self.rules.batch_size);
        let fitting = rest.take_while(|record| {
            bytes += record.data.len();
            bytes <= BATCH_BYTES
        });
        self.next + fitting.count().max(1)
    }

    /// The time between the batch's last record and the shard's newest.
    fn millis_behind_latest(&self, batch: &[Record]) -> Option<i64> {
        Some((self.newest - batch.last()?.arrival).max(0))
    }

    fn send_ending(&mut self, steps: &mut Vec<Step>) {
        let (action, message) = match self.rules.ending {
            Ending::ShardEnd => (Action::ShardEnded, Message::ShardEnded),
            Ending::Graceful => (Action::ShutdownRequested, Message::ShutdownRequested),
            Ending::LeaseLost => (Action::LeaseLost, Message::LeaseLost),
            Ending::Kill => return self.leave(steps),
        };
        if action == Action::ShardEnded {
            self.at_end = Some(std::mem::replace(&mut self.largest, Mark::ShardEnd));
        }
        steps.push(self.send(action, &message));
    }

    fn leave(&mut self, steps: &mut Vec<Step>) {
        self.phase = Phase::Leaving;
        self.signs += 1;
        steps.push(Step::Close);
    }

    fn send(&mut self, action: Action, message: &Message<'_>) -> Step {
        self.act(action, json(message))
    }

    fn act(&mut self, action: Action, line: String) -> Step {
        self.phase = Phase::Doing(action);
        self.actions += 1;
        self.signs += 1;
        Step::Send(line)
    }
}

fn wire_record(record: &Record) -> WireRecord<'_> {
    WireRecord {
        data: Some(record.data.as_str().into()),
        partition_key: record.partition_key.as_str().into(),
        sequence_number: record.position.sequence_number.as_str().into(),
        approximate_arrival_timestamp: Some(record.arrival),
        sub_sequence_number: Some(record.position.sub_sequence_number),
    }
}

/// A message as the daemon writes it: one line.
pub(super) fn json(message: &impl Serialize) -> String {
    let mut line = serde_json::to_string(message).expect("a message is plain data");
    line.push('\n');
    line
}
