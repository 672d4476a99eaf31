//! What the daemon makes of what a child writes.

use super::script::json;
use super::{Action, FAULTS, Phase, Shard, Step, TOLD};
use crate::protocol::Message;
use crate::replay::mark::Mark;
use crate::replay::reply::{self, Misread, Said};

/// A checkpoint that is not stored.
struct Refusal {
    /// The name of the exception.
    error: &'static str,
    why: String,
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
                "wrote a line that is just 'null': the daemon falls over it, and its whole worker stops"
                    .to_owned(),
                steps,
            ),
            Err(Misread::Skipped { why, is_answer }) => self.skip(line.len(), &why, is_answer, steps),
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
            Said::Ignored => {}
        }
    }

    fn status(&mut self, action: Action, response_for: Option<&str>, steps: &mut Vec<Step>) {
        if response_for != Some(action.name()) {
            return self.fail(self.wrong_status(action, response_for), steps);
        }
        if self.is_early() {
            let text = format!(
                "sent a second status for {0}: the daemon takes it for the answer to the next {0}, whose \
                 records then count as done before they were handled",
                action.name()
            );
            return self.fail(text, steps);
        }
        if action == Action::ShardEnded && self.lease != Mark::ShardEnd {
            let text = "answered shardEnded before SHARD_END was stored (a checkpoint without sequenceNumber): \
                        the shard would never finish, and those that follow it would never start";
            return self.fail(text.to_owned(), steps);
        }
        self.done = self.done.max(self.next);
        self.go_on(action, steps);
    }

    fn wrong_status(&self, action: Action, response_for: Option<&str>) -> String {
        let Some(response_for) = response_for else {
            let text = "sent a status without 'responseFor'; it must be '{}': the daemon's whole worker stops";
            return text.replace("{}", action.name());
        };
        let is_second = self
            .answered
            .is_some_and(|answered| answered.name() == response_for);
        let hint = match response_for {
            "checkpoint" => " (the answer to a checkpoint is no action and gets no status)",
            _ if is_second => " (was that action answered twice?)",
            _ => "",
        };
        let shown: String = response_for
            .chars()
            .filter(|c| !c.is_control())
            .take(40)
            .collect();
        format!(
            "sent a status for '{shown}' while '{}' was to be answered{hint}: the daemon's whole worker stops",
            action.name()
        )
    }

    /// Whether what is read now was written before the outstanding action was sent.
    fn is_early(&self) -> bool {
        self.actions > self.seen
    }

    fn checkpoint(
        &mut self,
        action: Action,
        number: Option<&str>,
        sub: Option<i64>,
        steps: &mut Vec<Step>,
    ) {
        let stored = self.store(action, number, sub, steps);
        let error = stored.as_ref().err().map(|refusal| refusal.error);
        steps.push(Step::Send(json(&Message::Checkpoint {
            sequence_number: number.map(Into::into),
            sub_sequence_number: sub.and_then(|sub| u64::try_from(sub).ok()),
            error: error.map(Into::into),
        })));
        if let Err(Refusal { error, why }) = stored {
            self.report.refused_checkpoints += 1;
            self.wrong(format!("{why}: {error}"), steps);
        }
    }

    fn store(
        &mut self,
        action: Action,
        number: Option<&str>,
        sub: Option<i64>,
        steps: &mut Vec<Step>,
    ) -> Result<(), Refusal> {
        if !action.takes_checkpoints() {
            return Err(Refusal {
                error: "InvalidStateException",
                why: format!("asked for a checkpoint while answering {}", action.name()),
            });
        }
        let mark = match number {
            None => self.largest.clone(),
            Some(number) => self.in_range(number, sub)?,
        };
        if matches!(number, Some("LATEST" | "AT_TIMESTAMP")) {
            self.wrong(
                "stored a sentinel instead of a position: a restart would pass over records"
                    .to_owned(),
                steps,
            );
        }
        self.advance(mark, steps);
        Ok(())
    }

    fn in_range(&self, number: &str, sub: Option<i64>) -> Result<Mark, Refusal> {
        let refuse = |why: String| Refusal {
            error: "IllegalArgumentException",
            why,
        };
        let mark = Mark::parse(number, sub)
            .ok_or_else(|| refuse("asked for a checkpoint at what is no position".to_owned()))?;
        if mark < self.lease {
            return Err(refuse(format!(
                "asked for a checkpoint at {mark}, behind the last one at {}",
                self.lease
            )));
        }
        if mark > self.largest {
            return Err(refuse(format!(
                "asked for a checkpoint at {mark}, beyond what was delivered, {}",
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
                let text = "the checkpoint at shardEnded repeats the last one: the daemon says that all is well \
                            and stores nothing; leave sequenceNumber out there";
                self.wrong(text.to_owned(), steps);
            }
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
                format!("the daemon passes over an answer and waits on, perhaps for ever: {why}"),
                steps,
            );
        }
        self.told += 1;
        let more = if self.told == TOLD {
            " (no more of these are told)"
        } else {
            ""
        };
        if self.told <= TOLD {
            steps.push(Step::Say(format!(
                "a line of {length} bytes on its stdout is no message: {why}; the daemon logs it and waits on{more}"
            )));
        }
    }

    /// The child has ended with `action` unanswered.
    pub(super) fn died(&mut self, action: Action, how: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        let text = format!(
            "the child ended with {how} and {} unanswered",
            action.name()
        );
        if action == Action::Initialize {
            self.wrong(
                format!("{text}: the daemon stops its whole worker"),
                &mut steps,
            );
        } else if self.lease == Mark::ShardEnd {
            self.report.reached_end = true;
            steps.push(Step::Say(format!(
                "{text}; the shard is finished nevertheless"
            )));
        } else if self.report.restarts == self.rules.restarts {
            self.wrong(
                format!(
                    "{text}, and no restart is left (--restarts {})",
                    self.rules.restarts
                ),
                &mut steps,
            );
        } else {
            self.report.restarts += 1;
            let again = format!(
                "{text}: the daemon's whole worker stops; started again from {}",
                self.lease
            );
            steps.extend([Step::Say(again), Step::Start]);
        }
        steps
    }

    /// The child did wrong, but the daemon goes on.
    pub(super) fn wrong(&mut self, text: String, steps: &mut Vec<Step>) {
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
