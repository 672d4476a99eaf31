//! What the daemon sends, in which order.

use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use super::super::stream::Record;
use super::{Action, Due, Ending, Luck, Phase, Shard, Step, What};
use crate::protocol::{Message, WireRecord};
use crate::replay::mark::Mark;

/// The most payload in one batch, as Kinesis limits what it gives at a time; base64 is a third longer.
const BATCH_BYTES: usize = 10 * 1024 * 1024 / 3 * 4;

impl Shard {
    pub(super) fn initialize(&mut self, steps: &mut Vec<Step>) {
        if self.play_scene(steps) {
            return;
        }
        let (sequence_number, sub_sequence_number) = self.lease.numbers();
        let message = Message::Initialize {
            shard_id: self.report.shard_id.as_str().into(),
            sequence_number: Some(sequence_number.into()),
            sub_sequence_number: Some(sub_sequence_number),
        };
        let line = json(&message);
        self.act(Action::Initialize, line, steps);
    }

    /// The action was answered: what comes next, perhaps after a pause.
    pub(super) fn go_on(&mut self, answered: Action, steps: &mut Vec<Step>) {
        self.answered = Some(answered);
        let pause = self.luck.as_mut().and_then(Luck::pause);
        match pause.filter(|_| answered.is_followed_by_work()) {
            Some(pause) => {
                self.phase = Phase::Idle(answered);
                steps.push(self.later(pause, What::NextAction));
            }
            None => self.next_action(answered, steps),
        }
    }

    pub(super) fn next_action(&mut self, answered: Action, steps: &mut Vec<Step>) {
        if self.play_scene(steps) {
            return;
        }
        match answered {
            Action::Initialize | Action::ProcessRecords if self.lease_gone => {
                self.again = true;
                self.send(Action::LeaseLost, &Message::LeaseLost, steps);
            }
            Action::Initialize | Action::ProcessRecords => self.send_work(steps),
            Action::ShutdownRequested => self.send(Action::LeaseLost, &Message::LeaseLost, steps),
            Action::LeaseLost => self.leave(steps),
            Action::ShardEnded => {
                self.again = self.lease != Mark::ShardEnd;
                self.leave(steps);
            }
        }
    }

    fn send_work(&mut self, steps: &mut Vec<Step>) {
        let place = self.place_of_strike();
        let luck = self.luck.as_mut();
        if let Some(action) = luck.and_then(|luck| luck.end_of_lease(place)) {
            self.again = true;
            steps.push(Step::Say(format!("injected: {}", action.name())));
            return self.send_lifecycle(action, steps);
        }
        // Never two in a row: the shard goes on.
        let was_empty = self.answered == Some(Action::ProcessRecords) && self.batch.is_empty();
        if self.luck.as_mut().is_some_and(Luck::is_empty_batch) && !was_empty {
            self.send_records(self.next..self.next, steps);
        } else if self.next < self.records.len() {
            self.send_records(self.next..self.batch_end(), steps);
        } else {
            self.send_ending(steps);
        }
    }

    fn send_records(&mut self, batch: Range<usize>, steps: &mut Vec<Step>) {
        let nulls = self.luck.as_mut().is_some_and(Luck::is_null);
        let message = Message::ProcessRecords {
            records: self.records[batch.clone()]
                .iter()
                .map(|record| wire_record(record, nulls))
                .collect(),
            millis_behind_latest: self
                .millis_behind_latest(&self.records[batch.clone()])
                .filter(|_| !nulls),
        };
        let line = json(&message);
        self.count_delivery(batch);
        self.act(Action::ProcessRecords, line, steps);
        if self.rules.ending == Ending::Kill && self.next > self.records.len() / 2 {
            self.again = false;
            self.cut_off(steps);
        }
    }

    fn count_delivery(&mut self, batch: Range<usize>) {
        let end = batch.end;
        self.report.delivered += batch.len();
        self.report.redelivered += self.fresh.min(end).saturating_sub(batch.start);
        self.fresh = self.fresh.max(end);
        self.next = end;
        if let Some(last) = self.records[batch.clone()].last() {
            let last = Mark::At(last.position.clone());
            self.largest = last.max(self.largest.clone());
        }
        self.batch = batch;
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
        let arrival = batch.last().map_or(self.newest, |record| record.arrival);
        Some((self.newest - arrival).max(0))
    }

    fn send_ending(&mut self, steps: &mut Vec<Step>) {
        match self.rules.ending {
            Ending::ShardEnd => self.send_lifecycle(Action::ShardEnded, steps),
            Ending::Graceful => self.send_lifecycle(Action::ShutdownRequested, steps),
            Ending::LeaseLost => self.send_lifecycle(Action::LeaseLost, steps),
            Ending::Kill => self.cut_off(steps),
        }
    }

    fn send_lifecycle(&mut self, action: Action, steps: &mut Vec<Step>) {
        let message = match action {
            Action::ShutdownRequested => Message::ShutdownRequested,
            Action::ShardEnded => {
                self.at_end = Some(std::mem::replace(&mut self.largest, Mark::ShardEnd));
                Message::ShardEnded
            }
            _ => Message::LeaseLost,
        };
        self.send(action, &message, steps);
    }

    /// The child's input ends because its work does.
    pub(super) fn leave(&mut self, steps: &mut Vec<Step>) {
        self.close(false, steps);
    }

    /// The child's input ends in the middle of its work.
    pub(super) fn cut_off(&mut self, steps: &mut Vec<Step>) {
        self.close(true, steps);
    }

    fn close(&mut self, cut: bool, steps: &mut Vec<Step>) {
        self.phase = Phase::Leaving { cut };
        self.signs += 1;
        steps.push(Step::Close);
    }

    fn send(&mut self, action: Action, message: &Message<'_>, steps: &mut Vec<Step>) {
        self.act(action, json(message), steps);
    }

    pub(super) fn act(&mut self, action: Action, line: String, steps: &mut Vec<Step>) {
        self.phase = Phase::Doing(action);
        self.excused = false;
        self.sent.actions += 1;
        self.signs += 1;
        self.messages += 1;
        steps.push(Step::Send(line));
        self.aim(steps);
    }

    pub(super) fn later(&self, wait: Duration, what: What) -> Step {
        let child = self.child;
        Step::Later(wait, Due { child, what })
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

/// A message as the daemon writes it: one line.
pub(super) fn json(message: &impl Serialize) -> String {
    let mut line = serde_json::to_string(message).expect("a message is plain data");
    line.push('\n');
    line
}
