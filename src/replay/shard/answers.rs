//! What the daemon makes of a line that a child writes.

use super::session::Phase;
use super::{REPORTED, Shard, Step};
use crate::replay::action::Action;
use crate::replay::lease::LeasePosition;
use crate::replay::reply::{self, Misread, Said};
use crate::replay::request::Request;

impl Shard {
    /// The child has written a line.
    pub(super) fn take_line(&mut self, line: &[u8], steps: &mut Vec<Step>) {
        self.session.messages += 1;
        match self.session.phase {
            Phase::Doing(action) => self.answer(action, line, steps),
            Phase::Acking(_) | Phase::Idle => self.session.held.push_back(line.to_vec()),
            Phase::Leaving { cut: false } => self.too_late(line, steps),
            Phase::New
            | Phase::Leaving { cut: true }
            | Phase::Killed
            | Phase::Stopping
            | Phase::Over => {}
        }
    }

    /// Reads what the child wrote while nobody read it.
    pub(super) fn read_held(&mut self, steps: &mut Vec<Step>) {
        while let Phase::Doing(action) = self.session.phase
            && let Some(line) = self.session.held.pop_front()
        {
            self.answer(action, &line, steps);
        }
    }

    fn answer(&mut self, action: Action, line: &[u8], steps: &mut Vec<Step>) {
        match reply::read(line) {
            Ok(said) => {
                self.session.signs += 1;
                self.session.lost_answer = false;
                self.hear(action, said, steps);
            }
            Err(Misread::Null) => {
                let text =
                    "wrote a bare `null`; the daemon crashes on it and takes the whole worker down";
                self.fail(text.to_owned(), steps);
            }
            Err(Misread::Skipped { why, is_answer }) => {
                self.skip(line.len(), &why, is_answer, steps);
            }
        }
    }

    fn hear(&mut self, action: Action, said: Said, steps: &mut Vec<Step>) {
        match said {
            Said::Status { response_for } => self.status(action, response_for.as_deref(), steps),
            Said::Checkpoint {
                sequence_number: number,
                sub_sequence_number: sub,
            } => self.checkpoint(action, Request { number, sub }, steps),
            Said::Initialize => {
                self.no_child = true;
                let text = "sent initialize, which only the daemon sends: it echoes its input and never answers";
                self.fail(text.to_owned(), steps);
            }
            Said::Ignored => {}
        }
    }

    fn status(&mut self, action: Action, response_for: Option<&str>, steps: &mut Vec<Step>) {
        if response_for != Some(action.name()) {
            return self.fail(self.wrong_status(action, response_for), steps);
        }
        if self.session.is_before_action() {
            let text = format!(
                "sent a second status for {0}: the daemon takes it as the answer to the next {0}, whose records then count as done before anything handled them",
                action.name()
            );
            return self.fail(text, steps);
        }
        if self.session.is_before_ack() {
            let text = "sent a status before it had the answer to its checkpoint, so it cannot know whether that was stored";
            self.wrong(text.to_owned(), steps);
        }
        let is_stored = self.lease.stored == LeasePosition::ShardEnd;
        if action == Action::ShardEnded && !is_stored && !self.lease.assignment.is_lost {
            let text = "answered shardEnded before it stored SHARD_END (a checkpoint without sequenceNumber): the shard would never finish, and its successors would never start";
            return self.fail(text.to_owned(), steps);
        }
        self.go_on(action, steps);
    }

    fn wrong_status(&self, action: Action, response_for: Option<&str>) -> String {
        let Some(response_for) = response_for else {
            let text = "sent a status without 'responseFor', which must be '{}': the daemon's whole worker stops";
            return text.replace("{}", action.name());
        };
        let answered = self.session.answered;
        let is_second = answered.is_some_and(|answered| answered.name() == response_for);
        let hint = match response_for {
            "checkpoint" => " (the answer to a checkpoint is not an action and gets no status)",
            _ if is_second => " (did it answer that action twice?)",
            _ => "",
        };
        let printable = response_for.chars().filter(|c| !c.is_control());
        let shown: String = printable.take(40).collect();
        format!(
            "sent a status for '{shown}' when '{}' awaited its answer{hint}: the daemon's whole worker stops",
            action.name()
        )
    }

    fn skip(&mut self, length: usize, why: &str, is_answer: bool, steps: &mut Vec<Step>) {
        self.report.skipped_lines += 1;
        if is_answer {
            self.session.lost_answer = true;
            return self.wrong(
                format!("the daemon skips an answer and keeps waiting, perhaps forever: {why}"),
                steps,
            );
        }
        self.session.reported += 1;
        let reported = self.session.reported;
        let more = if reported == REPORTED {
            " (further ones are not reported)"
        } else {
            ""
        };
        if reported <= REPORTED {
            steps.push(Step::Say(format!(
                "a line of {length} bytes on its stdout is not a message: {why}; the daemon logs it and keeps waiting{more}"
            )));
        }
    }

    /// The child has written something after its last answer.
    fn too_late(&mut self, line: &[u8], steps: &mut Vec<Step>) {
        let what = match reply::read(line) {
            Ok(Said::Status { .. }) => "a status",
            Ok(Said::Checkpoint { .. }) => "a checkpoint",
            Ok(Said::Initialize | Said::Ignored) => return,
            Err(Misread::Null | Misread::Skipped { .. }) => return,
        };
        let text = format!("sent {what} after its last answer: nothing reads it any more");
        self.wrong(text, steps);
    }
}
