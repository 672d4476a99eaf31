//! What KCL makes of a checkpoint: whether it takes it, what it stores, and what it answers.
//!
//! The rules are those of `ShardRecordProcessorCheckpointer.java`: a position lies between the last one that
//! was stored and the largest that was delivered, and none at all stands for the latter.

use std::borrow::Cow;

use super::session::Phase;
use super::{Shard, Step, What};
use crate::replay::action::Action;
use crate::replay::director::{Answer, Directive, Outcome, acknowledgement};
use crate::replay::faults::{Cause, When};
use crate::replay::lease::{Lease, LeasePosition, Stored};
use crate::replay::request::{Refusal, Request, Why};

/// The position that a request stands for, or why KCL refuses it.
fn judge(request: &Request, action: Action, lease: &Lease) -> Result<LeasePosition, Refusal> {
    if !action.takes_checkpoints() {
        let why = format!("asked for a checkpoint while answering {}", action.name());
        return Err(Refusal::wrong("InvalidStateException", why));
    }
    if lease.assignment.is_lost {
        let why = "a checkpoint after ShutdownException fails in the same way: the lease is gone, so the child may stop working";
        return Err(Refusal {
            error: "ShutdownException",
            why: Why::Vain(why),
        });
    }
    match &request.number {
        None => Ok(lease.assignment.largest.clone()),
        Some(number) => in_range(number, request.sub, lease),
    }
}

fn in_range(number: &str, sub: Option<i64>, lease: &Lease) -> Result<LeasePosition, Refusal> {
    let refuse = |why| Refusal::wrong("IllegalArgumentException", why);
    let position = LeasePosition::parse(number, sub).ok_or_else(|| {
        refuse("asked for a checkpoint at something that is not a position".to_owned())
    })?;
    if position < lease.stored {
        return Err(refuse(format!(
            "asked for a checkpoint at {position}, before the last one at {}",
            lease.stored
        )));
    }
    let largest = &lease.assignment.largest;
    if position > *largest {
        return Err(refuse(format!(
            "asked for a checkpoint at {position}, after the last delivered record {largest}"
        )));
    }
    Ok(position)
}

impl Shard {
    /// The child asks for a checkpoint.
    pub(super) fn checkpoint(&mut self, action: Action, request: Request, steps: &mut Vec<Step>) {
        if self.session.is_before_action() {
            let text = "sent a checkpoint when no action was open: the daemon reads it only after the next action, and answers it after that";
            self.wrong(text.to_owned(), steps);
        } else if self.session.is_before_ack() {
            let text = "sent a second checkpoint before it had the answer to the first";
            self.wrong(text.to_owned(), steps);
        }
        let end = self.session.pending.take();
        let is_lost = end.is_some_and(|end| end.when == When::AtCheckpoint { stored: false });
        let outcome = if is_lost {
            Outcome::Lose
        } else {
            self.outcome(action, &request)
        };
        let answer = Answer {
            request,
            outcome,
            delay: None,
            end,
        };
        self.carry_out(Directive::Answer(answer), None, steps);
    }

    fn outcome(&mut self, action: Action, request: &Request) -> Outcome {
        match judge(request, action, &self.lease) {
            Err(refusal) => Outcome::Refuse(refusal),
            Ok(position) => match self.director.error() {
                None => Outcome::Store(position),
                Some(error) => Outcome::Fail {
                    error: error.into(),
                    cause: Cause::Recorded,
                },
            },
        }
    }

    /// The checkpoint is stored or not, and the child is answered or ended.
    pub(super) fn answer_checkpoint(&mut self, answer: Answer, steps: &mut Vec<Step>) {
        let Answer {
            request,
            outcome,
            delay,
            end,
        } = answer;
        let error = self.settle(&request, outcome, steps);
        if let Some(end) = end {
            return self.terminate(end, steps);
        }
        self.session.ack = Some(acknowledgement(&request, error.as_deref()));
        match (delay, self.session.phase.action()) {
            (Some(delay), Some(action)) => {
                self.session.phase = Phase::Acking(action);
                steps.push(self.later(delay, What::Ack));
            }
            (None, _) | (_, None) => self.send_ack(steps),
        }
    }

    pub(super) fn send_ack(&mut self, steps: &mut Vec<Step>) {
        let ack = self.session.take_ack();
        steps.extend(ack.map(Step::Send));
    }

    /// What comes of a checkpoint; returns the error in its answer.
    fn settle(
        &mut self,
        request: &Request,
        outcome: Outcome,
        steps: &mut Vec<Step>,
    ) -> Option<Cow<'static, str>> {
        match outcome {
            Outcome::Lose => None,
            Outcome::Store(position) => {
                self.store(request, position, steps);
                None
            }
            Outcome::Refuse(Refusal { error, why }) => {
                self.report.refused_checkpoints += 1;
                match why {
                    Why::Wrong(why) => self.wrong(format!("{why}: {error}"), steps),
                    Why::Vain(why) => self.note(why, steps),
                }
                Some(error.into())
            }
            Outcome::Fail { error, cause } => {
                self.fail_checkpoint(&error, cause, steps);
                Some(error)
            }
        }
    }

    /// The child is not to blame.
    fn fail_checkpoint(&mut self, error: &str, cause: Cause, steps: &mut Vec<Step>) {
        self.report.injected_errors += 1;
        self.session.excused = error == "InvalidStateException";
        let is_lost = error == "ShutdownException";
        self.lease.assignment.is_lost = is_lost;
        if is_lost {
            let cause = cause.name();
            steps.push(Step::Say(format!(
                "{cause}: ShutdownException, the lease is gone"
            )));
        }
    }

    fn store(&mut self, request: &Request, position: LeasePosition, steps: &mut Vec<Step>) {
        if matches!(request.number.as_deref(), Some("LATEST" | "AT_TIMESTAMP")) {
            let text = "stored a sentinel instead of a position: a restart would skip records";
            self.wrong(text.to_owned(), steps);
        }
        if self.session.phase.action() == Some(Action::ProcessRecords) {
            self.note_what_is_not_named(request, steps);
        }
        match self.lease.store(position) {
            Stored::New => self.report.checkpoints += 1,
            Stored::Repeated => self.report.repeated_checkpoints += 1,
            Stored::RepeatedAtEnd => {
                self.report.repeated_checkpoints += 1;
                let text = "the checkpoint at shardEnded repeats the last one: the daemon reports success and stores nothing; omit sequenceNumber there";
                self.wrong(text.to_owned(), steps);
            }
        }
    }

    /// Checkpoints that the daemon takes, though they may not say what the child means.
    fn note_what_is_not_named(&mut self, request: &Request, steps: &mut Vec<Step>) {
        let Some(number) = &request.number else {
            let text = "a checkpoint without sequenceNumber stores the whole batch as done: right only if it is";
            return self.note(text, steps);
        };
        let records = self.director.records();
        let is_aggregate = records.is_some_and(|records| records.is_aggregate(number));
        if request.sub.is_none() && is_aggregate {
            let text = "a checkpoint without subSequenceNumber means the first record of its aggregate: after a restart the others are redelivered";
            self.note(text, steps);
        }
    }
}
