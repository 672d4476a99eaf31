//! What there is to say about a shard and its child.

use super::session::Phase;
use super::{Shard, Step};
use crate::replay::action::Action;
use crate::replay::report::ShardReport;

/// How many faults of a shard are kept.
const FAULTS: usize = 20;

impl Shard {
    /// What came out so far.
    pub fn report(&self) -> ShardReport {
        let (sequence_number, sub_sequence_number) = self.lease.stored.numbers();
        ShardReport {
            checkpointed: self.covered(),
            sequence_number: sequence_number.to_owned(),
            sub_sequence_number,
            ..self.report.clone()
        }
    }

    /// Where the conversation is.
    fn place(&self) -> String {
        let (child, message) = (self.session.number, self.session.messages);
        let batch = &self.lease.assignment.batch;
        let during = match self.session.phase.action() {
            None => String::new(),
            Some(Action::ProcessRecords) if batch.is_empty() => {
                ", an empty processRecords".to_owned()
            }
            Some(Action::ProcessRecords) => {
                let (first, last) = (batch.start + 1, batch.end);
                format!(", processRecords with records {first} to {last}")
            }
            Some(action) => format!(", {}", action.name()),
        };
        format!("message {message} with child {child}{during}")
    }

    /// The child did what is allowed, but perhaps not what it means; said once.
    pub(super) fn note(&mut self, text: &str, steps: &mut Vec<Step>) {
        if !self.report.notes.iter().any(|note| note == text) {
            self.report.notes.push(text.to_owned());
            steps.push(Step::Say(format!("{}: {text}", self.place())));
        }
    }

    /// The child did wrong, but the daemon goes on.
    pub(super) fn wrong(&mut self, text: String, steps: &mut Vec<Step>) {
        let text = format!("{}: {text}", self.place());
        steps.push(Step::Say(text.clone()));
        if self.report.faults.len() < FAULTS {
            self.report.faults.push(text);
        }
    }

    /// The child did wrong, and that was it.
    pub(super) fn fail(&mut self, text: String, steps: &mut Vec<Step>) {
        self.wrong(text, steps);
        self.session.phase = Phase::Stopping;
        steps.push(Step::Stop);
    }
}
