//! A recording as what the daemon has to do again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::value::RawValue;

use crate::capture::{Batch, Line};
use crate::protocol::{Message, Text};
use crate::replay::action::Action;
use crate::replay::lease::LeasePosition;
use crate::replay::report::count;

/// What the daemon said to one child.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// The shard it was about.
    pub shard_id: String,
    /// The actions, `initialize` first.
    pub actions: VecDeque<RecordedAction>,
}

/// One action and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedAction {
    /// Which action.
    pub action: Action,
    /// The daemon's line.
    pub line: String,
    /// How many records are in it.
    pub records: usize,
    /// Where the lease stood, for `initialize`; the last record, for a batch.
    pub position: Option<LeasePosition>,
    /// The errors of the checkpoints that the child asked for meanwhile; `None` where one was stored.
    pub answers: VecDeque<Option<String>>,
    /// The input ended so long after the action, which was not answered.
    pub cut: Option<Duration>,
    /// When it was sent.
    ms: u64,
    answered: bool,
}

/// Reads a recording; also what there is to say about it.
///
/// A line may be cut off where a child or its disk came to an end: as the last one, or before the next
/// child's first. What is whole before it is played.
///
/// # Errors
/// A line is not a line of a capture; which one.
pub(crate) fn read(bytes: &[u8]) -> Result<(Vec<Conversation>, Vec<String>)> {
    let mut reading = Reading::default();
    let lines = bytes.split(|b| *b == b'\n').enumerate();
    for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        reading
            .take(at + 1, line)
            .with_context(|| format!("line {}", at + 1))?;
    }
    reading.remarks.extend(reading.torn.map(cut_off));
    reading
        .remarks
        .extend(reading.orphans.map(|(first, lines)| {
            let lines = count(lines, "line");
            format!(
                "skipped {lines} from line {first} on: the beginning of the conversation is missing"
            )
        }));
    Ok((reading.all, reading.remarks))
}

fn cut_off(line: usize) -> String {
    format!("line {line} was cut off: playing what is complete before it")
}

#[derive(Default)]
struct Reading {
    all: Vec<Conversation>,
    /// The conversation that each child is in.
    of: BTreeMap<u32, usize>,
    torn: Option<usize>,
    /// Lines of conversations whose beginning is missing: the first, and how many.
    orphans: Option<(usize, usize)>,
    remarks: Vec<String>,
}

impl Reading {
    fn take(&mut self, at: usize, bytes: &[u8]) -> Result<()> {
        let line: Option<Line<'_>> = serde_json::from_slice(bytes).ok();
        let begins = line.as_ref().is_some_and(|line| line.since.is_some());
        if let Some(torn) = self.torn.take() {
            if !begins {
                bail!("line {torn} is not a line of a capture, and more follows it");
            }
            self.remarks.push(cut_off(torn));
        }
        let Some(line) = line else {
            self.torn = Some(at);
            return Ok(());
        };
        if begins {
            self.of.insert(line.pid, self.all.len());
            self.all.push(Conversation::default());
        }
        let Some(conversation) = self.of.get(&line.pid).and_then(|at| self.all.get_mut(*at)) else {
            self.orphans.get_or_insert((at, 0)).1 += 1;
            return Ok(());
        };
        conversation.take(&line)
    }
}

impl Conversation {
    fn take(&mut self, line: &Line<'_>) -> Result<()> {
        if let Some(said) = line.daemon {
            return self.heard(said, line.ms);
        }
        let Some(action) = self.actions.back_mut() else {
            return Ok(());
        };
        if line.end && !action.answered {
            action.cut = Some(Duration::from_millis(line.ms.saturating_sub(action.ms)));
        }
        let is_status = |said: &RawValue| said.get().contains("\"status\"");
        action.answered |= line.child.is_some_and(is_status);
        Ok(())
    }

    fn heard(&mut self, said: &RawValue, ms: u64) -> Result<()> {
        let batch: Option<Batch<'_>> = serde_json::from_str(said.get()).ok();
        let text = match batch {
            Some(batch) => with_data(batch),
            None => said.get().to_owned(),
        };
        let message = Message::parse(&text)?;
        if let Message::Initialize { shard_id, .. } = &message {
            self.shard_id = shard_id.to_string();
        }
        if let Message::Checkpoint { error, .. } = message {
            let action = self.actions.back_mut();
            let action = action.context("a checkpoint is answered before any action")?;
            action
                .answers
                .push_back(error.map(|error| error.to_string()));
            return Ok(());
        }
        let (action, records, position) = what_it_is(&message)?;
        self.actions.push_back(RecordedAction {
            action,
            line: text,
            records,
            position,
            answers: VecDeque::new(),
            cut: None,
            ms,
            answered: false,
        });
        Ok(())
    }
}

/// Which action a message is, how many records it has, and the position in it.
fn what_it_is(message: &Message<'_>) -> Result<(Action, usize, Option<LeasePosition>)> {
    Ok(match message {
        Message::Initialize {
            sequence_number,
            sub_sequence_number,
            ..
        } => {
            let position = position_of(sequence_number.as_ref(), *sub_sequence_number);
            (Action::Initialize, 0, position)
        }
        Message::ProcessRecords { records, .. } => {
            let last = records.last();
            let position = last.and_then(|last| {
                position_of(Some(&last.sequence_number), last.sub_sequence_number)
            });
            (Action::ProcessRecords, records.len(), position)
        }
        Message::ShutdownRequested => (Action::ShutdownRequested, 0, None),
        Message::ShardEnded => (Action::ShardEnded, 0, None),
        Message::LeaseLost => (Action::LeaseLost, 0, None),
        Message::Shutdown { .. } => {
            bail!("it comes from the daemon of KCL 1.x or 2.0.x, which replay cannot play")
        }
        Message::Checkpoint { .. } => bail!("the answer to a checkpoint is not an action"),
    })
}

/// The batch as the daemon would write it.
fn with_data(batch: Batch<'_>) -> String {
    let records = batch.records.into_iter();
    let message = Message::ProcessRecords {
        records: records.map(|record| record.with_some_data()).collect(),
        millis_behind_latest: batch.millis_behind_latest,
    };
    serde_json::to_string(&message).expect("a message is plain data")
}

fn position_of(number: Option<&Text<'_>>, sub: Option<u64>) -> Option<LeasePosition> {
    LeasePosition::parse(number?, sub.and_then(|sub| i64::try_from(sub).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = r#"{"pid":7,"ms":0,"since":"2026-01-01T00:00:00Z","daemon":{"action":"initialize","shardId":"s-1","sequenceNumber":"4","subSequenceNumber":2}}"#;
    const BATCH: &str = r#"{"pid":7,"ms":10,"daemon":{"action":"processRecords","records":[{"dataBytes":3,"action":"record","data":null,"partitionKey":"key-1","sequenceNumber":"5","approximateArrivalTimestamp":9,"subSequenceNumber":1}],"millisBehindLatest":3}}"#;
    const STATUS: &str =
        r#"{"pid":7,"ms":5,"child":{"action":"status","responseFor":"initialize"}}"#;
    const ACK: &str = r#"{"pid":7,"ms":20,"daemon":{"action":"checkpoint","sequenceNumber":"5","subSequenceNumber":1,"error":"ThrottlingException"}}"#;
    const END: &str = r#"{"pid":7,"ms":50,"end":true}"#;

    fn conversations(lines: &[&str]) -> (Vec<Conversation>, Vec<String>) {
        read(lines.join("\n").as_bytes()).expect("a recording")
    }

    #[test]
    fn actions_have_their_answers_and_an_end() {
        let (all, remarks) = conversations(&[BEGIN, STATUS, BATCH, ACK, END]);
        assert!(remarks.is_empty(), "{remarks:?}");
        let [conversation] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!(
            (conversation.shard_id.as_str(), conversation.actions.len()),
            ("s-1", 2)
        );
        let start = &conversation.actions[0];
        assert_eq!(start.position, LeasePosition::parse("4", Some(2)));
        let batch = &conversation.actions[1];
        assert_eq!(
            (batch.records, &batch.position),
            (1, &LeasePosition::parse("5", Some(1)))
        );
        assert_eq!(batch.answers, [Some("ThrottlingException".to_owned())]);
        assert_eq!(batch.cut, Some(Duration::from_millis(40)));
        assert!(
            batch.line.contains(r#""data":"eHh4""#),
            "three made-up bytes: {}",
            batch.line
        );
        assert!(!batch.line.contains("dataBytes"));
    }

    #[test]
    fn a_line_that_is_cut_off_ends_a_conversation() {
        let torn = &BATCH[..60];
        let (all, remarks) = conversations(&[BEGIN, STATUS, torn]);
        assert_eq!((all.len(), all[0].actions.len()), (1, 1));
        assert!(remarks[0].contains("line 3 was cut off"), "{remarks:?}");
        let (all, remarks) = conversations(&[BEGIN, torn, BEGIN, BATCH]);
        assert_eq!((all.len(), all[1].actions.len()), (2, 2));
        assert!(remarks[0].contains("line 2 was cut off"), "{remarks:?}");
        let error = read([BEGIN, torn, BATCH].join("\n").as_bytes()).expect_err("a hole");
        assert!(
            format!("{error:#}").contains("line 2 is not a line of a capture"),
            "{error:#}"
        );
    }

    #[test]
    fn a_conversation_without_its_beginning_is_passed_over() {
        let (all, remarks) = conversations(&[BATCH, STATUS, BEGIN]);
        assert_eq!((all.len(), remarks.len()), (1, 1));
        assert!(
            remarks[0].contains("skipped 2 lines from line 1 on"),
            "{remarks:?}"
        );
    }
}
