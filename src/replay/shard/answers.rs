//! What the daemon makes of what a child writes.

use std::borrow::Cow;

use super::luck::Armed;
use super::script::json;
use super::{Action, FAULTS, Phase, Shard, Step, TOLD, What};
use crate::protocol::{Message, Text};
use crate::record::Position;
use crate::replay::mark::Mark;
use crate::replay::reply::{self, Misread, Said};

/// A checkpoint that is not stored.
struct Refusal {
    /// The name of the exception.
    error: Cow<'static, str>,
    why: Why,
}

/// Why a checkpoint is not stored.
enum Why {
    /// The fault was injected, or recorded.
    Injected,
    /// The child did this wrong.
    Wrong(String),
    /// The child did what is in vain, but allowed.
    Vain(&'static str),
}

impl Refusal {
    fn earned(error: &'static str, why: String) -> Refusal {
        Refusal {
            error: error.into(),
            why: Why::Wrong(why),
        }
    }
}

impl Shard {
    pub(super) fn answer(&mut self, action: Action, line: &[u8], steps: &mut Vec<Step>) {
        match reply::read(line) {
            Ok(said) => {
                self.signs += 1;
                self.lost_answer = false;
                self.hear(action, said, steps);
            }
            Err(Misread::Null) => self.fail(
                "wrote a bare `null`; the daemon crashes on it and takes the whole worker down"
                    .to_owned(),
                steps,
            ),
            Err(Misread::Skipped { why, is_answer }) => {
                self.skip(line.len(), &why, is_answer, steps)
            }
        }
    }

    fn hear(&mut self, action: Action, said: Said, steps: &mut Vec<Step>) {
        match said {
            Said::Status { response_for } => self.status(action, response_for.as_deref(), steps),
            Said::Checkpoint {
                sequence_number,
                sub_sequence_number,
            } => self.checkpoint(
                action,
                sequence_number.as_deref(),
                sub_sequence_number,
                steps,
            ),
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
        if self.is_before_action() {
            let text = format!(
                "sent a second status for {0}: the daemon takes it as the answer to the next {0}, whose records then count as done before anything handled them",
                action.name()
            );
            return self.fail(text, steps);
        }
        if self.is_before_ack() {
            let text = "sent a status before it had the answer to its checkpoint, so it cannot know whether that was stored";
            self.wrong(text.to_owned(), steps);
        }
        if action == Action::ShardEnded && self.lease != Mark::ShardEnd && !self.lease_gone {
            let text = "answered shardEnded before it stored SHARD_END (a checkpoint without sequenceNumber): the shard would never finish, and its successors would never start";
            return self.fail(text.to_owned(), steps);
        }
        self.done = self.done.max(self.next);
        self.go_on(action, steps);
    }

    fn wrong_status(&self, action: Action, response_for: Option<&str>) -> String {
        let Some(response_for) = response_for else {
            let text = "sent a status without 'responseFor', which must be '{}': the daemon's whole worker stops";
            return text.replace("{}", action.name());
        };
        let is_second = self
            .answered
            .is_some_and(|answered| answered.name() == response_for);
        let hint = match response_for {
            "checkpoint" => " (the answer to a checkpoint is not an action and gets no status)",
            _ if is_second => " (did it answer that action twice?)",
            _ => "",
        };
        let shown: String = response_for
            .chars()
            .filter(|c| !c.is_control())
            .take(40)
            .collect();
        format!(
            "sent a status for '{shown}' when '{}' awaited its answer{hint}: the daemon's whole worker stops",
            action.name()
        )
    }

    /// Whether what is read now was written before the outstanding action was sent.
    fn is_before_action(&self) -> bool {
        self.sent.actions > self.seen.actions
    }

    /// Whether what is read now was written before the answer to the last checkpoint was sent.
    fn is_before_ack(&self) -> bool {
        self.sent.acks > self.seen.acks
    }

    fn checkpoint(
        &mut self,
        action: Action,
        number: Option<&str>,
        sub: Option<i64>,
        steps: &mut Vec<Step>,
    ) {
        if self.is_before_action() {
            let text = "sent a checkpoint when no action was open: the daemon reads it only after the next action, and answers it after that";
            self.wrong(text.to_owned(), steps);
        } else if self.is_before_ack() {
            let text = "sent a second checkpoint before it had the answer to the first";
            self.wrong(text.to_owned(), steps);
        }
        let armed = self.armed.take();
        let stored = match armed {
            Some(Armed { stored: false, .. }) => Ok(()),
            _ => self.store(action, number, sub, steps),
        };
        let error = stored.as_ref().err().map(|refusal| refusal.error.clone());
        if let Err(refusal) = stored {
            self.tell_refusal(refusal, steps);
        }
        match armed {
            Some(armed) => self.strike(armed.cut, steps),
            None => self.answer_checkpoint(number, sub, error, steps),
        }
    }

    fn tell_refusal(&mut self, refusal: Refusal, steps: &mut Vec<Step>) {
        match refusal.why {
            Why::Injected => self.report.injected_errors += 1,
            Why::Wrong(why) => {
                self.report.refused_checkpoints += 1;
                self.wrong(format!("{why}: {}", refusal.error), steps);
            }
            Why::Vain(why) => {
                self.report.refused_checkpoints += 1;
                self.note(why, steps);
            }
        }
    }

    fn answer_checkpoint(
        &mut self,
        number: Option<&str>,
        sub: Option<i64>,
        error: Option<Cow<'static, str>>,
        steps: &mut Vec<Step>,
    ) {
        self.ack = Some(json(&Message::Checkpoint {
            sequence_number: number.map(Into::into),
            sub_sequence_number: sub.and_then(|sub| u64::try_from(sub).ok()),
            error: error.map(Text),
        }));
        match (self.luck.as_mut().and_then(|luck| luck.delay()), self.phase) {
            (Some(delay), Phase::Doing(action)) => {
                self.phase = Phase::Acking(action);
                steps.push(self.later(delay, What::Ack));
            }
            _ => self.send_ack(steps),
        }
    }

    pub(super) fn send_ack(&mut self, steps: &mut Vec<Step>) {
        self.sent.acks += 1;
        self.signs += 1;
        self.messages += 1;
        steps.extend(self.ack.take().map(Step::Send));
    }

    fn store(
        &mut self,
        action: Action,
        number: Option<&str>,
        sub: Option<i64>,
        steps: &mut Vec<Step>,
    ) -> Result<(), Refusal> {
        if !action.takes_checkpoints() {
            let why = format!("asked for a checkpoint while answering {}", action.name());
            return Err(Refusal::earned("InvalidStateException", why));
        }
        if self.lease_gone {
            return Err(Refusal {
                error: "ShutdownException".into(),
                why: Why::Vain(
                    "a checkpoint after ShutdownException fails in the same way: the lease is gone, so the child may stop working",
                ),
            });
        }
        let mark = match number {
            None => self.largest.clone(),
            Some(number) => self.in_range(number, sub)?,
        };
        self.injected(steps)?;
        if matches!(number, Some("LATEST" | "AT_TIMESTAMP")) {
            self.wrong(
                "stored a sentinel instead of a position: a restart would skip records".to_owned(),
                steps,
            );
        }
        if action == Action::ProcessRecords {
            self.note_what_is_not_named(number, sub, steps);
        }
        self.advance(mark, steps);
        Ok(())
    }

    /// An error that the child is not to blame for.
    fn injected(&mut self, steps: &mut Vec<Step>) -> Result<(), Refusal> {
        let place = self.place_of_strike();
        let drawn = self.luck.as_mut().and_then(|luck| luck.refusal(place));
        let recorded = self.recorded_error().map(Cow::from);
        let Some(error) = drawn.map(Cow::from).or(recorded) else {
            return Ok(());
        };
        self.lease_gone = error == "ShutdownException";
        if self.lease_gone {
            let cause = self.cause();
            let text = format!("{cause}: ShutdownException, the lease is gone");
            steps.push(Step::Say(text));
        }
        self.excused = error == "InvalidStateException";
        Err(Refusal {
            error,
            why: Why::Injected,
        })
    }

    /// Checkpoints that the daemon takes, though they may not say what the child means.
    fn note_what_is_not_named(
        &mut self,
        number: Option<&str>,
        sub: Option<i64>,
        steps: &mut Vec<Step>,
    ) {
        let Some(number) = number else {
            return self.note(
                "a checkpoint without sequenceNumber stores the whole batch as done: right only if it is",
                steps,
            );
        };
        let first = Position::new(number, 1).filter(|_| sub.is_none());
        let is_aggregate = first.is_some_and(|first| {
            let at = self
                .records
                .partition_point(|record| record.position < first);
            let record = self.records.get(at);
            record.is_some_and(|record| record.position.sequence_number == number)
        });
        if is_aggregate {
            self.note(
                "a checkpoint without subSequenceNumber means the first record of its aggregate: after a restart the others are redelivered",
                steps,
            );
        }
    }

    fn in_range(&self, number: &str, sub: Option<i64>) -> Result<Mark, Refusal> {
        let refuse = |why| Refusal::earned("IllegalArgumentException", why);
        let mark = Mark::parse(number, sub).ok_or_else(|| {
            refuse("asked for a checkpoint at something that is not a position".to_owned())
        })?;
        if mark < self.lease {
            return Err(refuse(format!(
                "asked for a checkpoint at {mark}, before the last one at {}",
                self.lease
            )));
        }
        if mark > self.largest {
            return Err(refuse(format!(
                "asked for a checkpoint at {mark}, after the last delivered record {}",
                self.largest
            )));
        }
        Ok(mark)
    }

    /// Stores `mark`. At the shard's end the last position delivered stands for `SHARD_END`, unless it was
    /// stored before: then KCL stores nothing, and says that all is well.
    fn advance(&mut self, mark: Mark, steps: &mut Vec<Step>) {
        let is_last = self.at_end.as_ref() == Some(&mark);
        if mark == self.lease {
            if is_last && self.lease != Mark::ShardEnd {
                let text = "the checkpoint at shardEnded repeats the last one: the daemon reports success and stores nothing; omit sequenceNumber there";
                self.wrong(text.to_owned(), steps);
            }
            self.report.repeated_checkpoints += 1;
            return;
        }
        self.lease = if is_last { Mark::ShardEnd } else { mark };
        self.report.checkpoints += 1;
    }

    fn skip(&mut self, length: usize, why: &str, is_answer: bool, steps: &mut Vec<Step>) {
        self.report.skipped_lines += 1;
        if is_answer {
            self.lost_answer = true;
            return self.wrong(
                format!("the daemon skips an answer and keeps waiting, perhaps forever: {why}"),
                steps,
            );
        }
        self.told += 1;
        let more = if self.told == TOLD {
            " (further ones are not reported)"
        } else {
            ""
        };
        if self.told <= TOLD {
            steps.push(Step::Say(format!(
                "a line of {length} bytes on its stdout is not a message: {why}; the daemon logs it and keeps waiting{more}"
            )));
        }
    }

    /// The child has written something behind its last answer.
    pub(super) fn too_late(&mut self, line: &[u8], steps: &mut Vec<Step>) {
        let what = match reply::read(line) {
            Ok(Said::Status { .. }) => "a status",
            Ok(Said::Checkpoint { .. }) => "a checkpoint",
            _ => return,
        };
        let text = format!("sent {what} after its last answer: nothing reads it any more");
        self.wrong(text, steps);
    }

    /// The child has ended with `action` unanswered, or while it had nothing to do.
    pub(super) fn died(&mut self, action: Option<Action>, how: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        let text = match action {
            Some(action) => format!(
                "the child ended with {how} and {} unanswered",
                action.name()
            ),
            None => format!("the child ended with {how} before its input did"),
        };
        let again = format!(
            "{text}: the daemon's whole worker stops; restarting from {}",
            self.lease
        );
        self.no_child |= self.child == 1 && action == Some(Action::Initialize);
        if self.staged.is_some() {
            self.died_on_stage(text, &mut steps);
        } else if self.excused {
            self.report.interruptions += 1;
            steps.extend([Step::Say(again), Step::Start]);
        } else if action == Some(Action::Initialize) {
            self.wrong(
                format!("{text}: the daemon stops its whole worker"),
                &mut steps,
            );
        } else if self.lease == Mark::ShardEnd {
            self.report.reached_end = true;
            steps.push(Step::Say(format!(
                "{text}; the shard is finished all the same"
            )));
        } else if self.report.restarts == self.rules.restarts {
            self.wrong(
                format!(
                    "{text}, with no restarts left (--restarts {})",
                    self.rules.restarts
                ),
                &mut steps,
            );
        } else {
            self.report.restarts += 1;
            steps.extend([Step::Say(again), Step::Start]);
        }
        steps
    }

    /// The child did what is allowed, but perhaps not what it means; said once.
    fn note(&mut self, text: &str, steps: &mut Vec<Step>) {
        if !self.report.notes.iter().any(|note| note == text) {
            self.report.notes.push(text.to_owned());
            steps.push(Step::Say(format!("{}: {text}", self.place())));
        }
    }

    /// Where the conversation is.
    fn place(&self) -> String {
        let (child, message) = (self.child, self.messages);
        let during = match self.phase {
            Phase::Doing(Action::ProcessRecords) | Phase::Acking(Action::ProcessRecords) => {
                match self.batch.len() {
                    0 => ", an empty processRecords".to_owned(),
                    _ => format!(
                        ", processRecords with records {} to {}",
                        self.batch.start + 1,
                        self.batch.end
                    ),
                }
            }
            Phase::Doing(action) | Phase::Acking(action) => format!(", {}", action.name()),
            _ => String::new(),
        };
        format!("message {message} with child {child}{during}")
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
        self.phase = Phase::Stopping;
        steps.push(Step::Stop);
    }
}
