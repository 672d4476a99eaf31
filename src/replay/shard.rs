//! The daemon's side of one shard, as a value without I/O: the child's lines go in, and what the daemon
//! does comes out.
//!
//! The rules are those of KCL 3.5.1: `MultiLangProtocol.java` for the order of messages, and
//! `ShardRecordProcessorCheckpointer.java` for what a checkpoint may name.

mod answers;
mod luck;
mod script;
mod staged;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use luck::Armed;
pub use luck::{Cut, Luck};
use staged::Staged;

use super::action::Action;
use super::mark::Mark;
use super::report::ShardReport;
use super::stream::Record;

/// How many of one child's lines are told of that are no messages.
const TOLD: usize = 5;

/// How many faults of a shard are kept.
const FAULTS: usize = 20;

/// How long a child is waited for that believes to have answered: longer makes nothing better.
const AFTER_LOST_ANSWER: Duration = Duration::from_secs(10);

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

/// What the daemon does next; to be done in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Start a child.
    Start,
    /// Write this line to the child.
    Send(String),
    /// Close the child's input: it has to exit now.
    Close,
    /// Close the child's input, and stop it if it does not exit soon.
    Stop,
    /// Stop the child: its input is closed already, and it was waited for.
    StopNow,
    /// Kill the child at once.
    Kill,
    /// Call [`Shard::due`] after so long.
    Later(Duration, Due),
    /// Tell the user.
    Say(String),
}

/// What the daemon does after a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The child it is meant for.
    child: u32,
    what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Answer the checkpoint.
    Ack,
    /// Send the next action.
    NextAction,
    /// End the child in this way.
    Strike(Cut),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No child has been started.
    New,
    /// The child has this to answer.
    Doing(Action),
    /// The same, and the answer to a checkpoint is held back.
    Acking(Action),
    /// The child has answered this, and the next action is not sent yet.
    Idle(Action),
    /// The child's input is closed and all was well so far.
    Leaving {
        /// The child may not have known that it was the end.
        cut: bool,
    },
    /// The child was killed on purpose.
    Killed,
    /// The child's input is closed because something was wrong, or the user wants no more.
    Stopping,
    /// There is no child any more.
    Over,
}

/// One shard, its lease, and where the conversation with its child is.
#[derive(Debug)]
pub struct Shard {
    records: Vec<Record>,
    /// When the newest record came into the stream.
    newest: i64,
    rules: Rules,
    /// What goes wrong on purpose.
    luck: Option<Luck>,
    /// A recording that is played instead of records.
    staged: Option<Staged>,
    phase: Phase,
    /// Children started, and messages to and from the last of them.
    child: u32,
    messages: usize,
    /// The last checkpoint that was stored.
    lease: Mark,
    /// The largest position delivered to this child.
    largest: Mark,
    /// The largest position delivered when the shard ended.
    at_end: Option<Mark>,
    /// The record to be delivered next.
    next: usize,
    /// The first record that was never delivered.
    fresh: usize,
    /// How many records are in batches that were answered.
    done: usize,
    /// The action before the one that is outstanding.
    answered: Option<Action>,
    /// The records of the last batch, by their places in the shard.
    batch: std::ops::Range<usize>,
    /// What was sent, and how much of it the child can have read before it wrote what we read now.
    sent: Sent,
    seen: Sent,
    signs: u64,
    /// What the child wrote while it was not read, and the answer to its checkpoint that is held back.
    held: VecDeque<Vec<u8>>,
    ack: Option<String>,
    /// How the child ends at its next checkpoint.
    armed: Option<Armed>,
    /// A checkpoint was answered with `ShutdownException`.
    lease_gone: bool,
    /// The child has a good reason to end without an answer.
    excused: bool,
    /// The end of this child is not the shard's.
    again: bool,
    /// The child has written an answer that the daemon passed over.
    lost_answer: bool,
    told: usize,
    /// What was started does not speak the daemon's language at all.
    no_child: bool,
    report: ShardReport,
}

/// How much was sent to all children of a shard.
#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    actions: u64,
    acks: u64,
}

impl Shard {
    /// A shard with a fresh lease.
    pub fn new(shard_id: String, records: Vec<Record>, rules: Rules) -> Shard {
        let report = ShardReport {
            shard_id,
            records: records.len(),
            ..ShardReport::default()
        };
        Shard {
            newest: records
                .iter()
                .map(|record| record.arrival)
                .max()
                .unwrap_or(0),
            records,
            rules,
            luck: None,
            staged: None,
            phase: Phase::New,
            child: 0,
            messages: 0,
            lease: Mark::TrimHorizon,
            largest: Mark::TrimHorizon,
            at_end: None,
            next: 0,
            fresh: 0,
            done: 0,
            answered: None,
            batch: 0..0,
            sent: Sent::default(),
            seen: Sent::default(),
            signs: 0,
            held: VecDeque::new(),
            ack: None,
            armed: None,
            lease_gone: false,
            excused: false,
            again: false,
            lost_answer: false,
            told: 0,
            no_child: false,
            report,
        }
    }

    /// The same shard, and what goes wrong with it is up to `luck`.
    pub fn with(self, luck: Luck) -> Shard {
        Shard {
            luck: Some(luck),
            ..self
        }
    }

    /// The shard's name.
    pub fn id(&self) -> &str {
        &self.report.shard_id
    }

    /// A child was started: it is told where the lease stands.
    pub fn start(&mut self) -> Vec<Step> {
        self.raise_curtain();
        let lease = &self.lease;
        self.next = match lease {
            Mark::Latest => self.records.len(),
            lease => self
                .records
                .partition_point(|record| Mark::At(record.position.clone()) <= *lease),
        };
        (self.largest, self.at_end, self.answered) = (lease.clone(), None, None);
        (self.lost_answer, self.told, self.batch) = (false, 0, 0..0);
        (self.ack, self.armed) = (None, None);
        (self.lease_gone, self.excused, self.again) = (false, false, false);
        self.held.clear();
        (self.child, self.messages) = (self.child + 1, 0);
        let mut steps = Vec::new();
        self.initialize(&mut steps);
        steps
    }

    /// Everything that was sent so far can be known to whatever is read from the child after this.
    pub fn begin_reading(&mut self) {
        self.seen = self.sent;
    }

    /// The child has written a line. A lone carriage return ends one, too.
    pub fn take(&mut self, line: &[u8]) -> Vec<Step> {
        let mut steps = Vec::new();
        let lines = line.split(|b| *b == b'\r');
        for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
            self.messages += 1;
            match self.phase {
                Phase::Doing(action) => self.answer(action, line, &mut steps),
                Phase::Acking(_) | Phase::Idle(_) => self.held.push_back(line.to_vec()),
                Phase::Leaving { cut: false } => self.too_late(line, &mut steps),
                _ => {}
            }
        }
        steps
    }

    /// The time has come for what a [`Step::Later`] spoke of.
    pub fn due(&mut self, due: Due) -> Vec<Step> {
        let mut steps = Vec::new();
        match (due.what, self.phase) {
            _ if due.child != self.child => {}
            (What::Strike(cut), Phase::Doing(_) | Phase::Acking(_) | Phase::Idle(_)) => {
                self.strike(cut, &mut steps);
            }
            (What::Ack, Phase::Acking(action)) => {
                self.phase = Phase::Doing(action);
                self.send_ack(&mut steps);
            }
            (What::NextAction, Phase::Idle(answered)) => self.next_action(answered, &mut steps),
            _ => {}
        }
        while let (Phase::Doing(action), Some(line)) = (self.phase, self.held.pop_front()) {
            self.answer(action, &line, &mut steps);
        }
        steps
    }

    /// The child has ended, in the way that `how` says.
    pub fn ended(&mut self, how: &str, well: bool) -> Vec<Step> {
        let phase = std::mem::replace(&mut self.phase, Phase::Over);
        match phase {
            Phase::Doing(action) | Phase::Acking(action) => self.died(Some(action), how),
            Phase::Idle(_) => self.died(None, how),
            Phase::Leaving { .. } | Phase::Killed => self.left(how, well || phase == Phase::Killed),
            Phase::New | Phase::Stopping | Phase::Over => Vec::new(),
        }
    }

    /// The child has ended when it should.
    fn left(&mut self, how: &str, well: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        if !well {
            let note = format!("the child ended with {how}; the daemon only logs that here");
            steps.push(Step::Say(note));
        }
        if self.has_more_on_stage() {
            steps.push(Step::Start);
        } else if self.again && self.lease != Mark::ShardEnd && self.staged.is_none() {
            self.report.interruptions += 1;
            steps.push(Step::Start);
        } else {
            self.report.reached_end = true;
        }
        steps
    }

    /// How long to wait for the child from its last sign of life on, where `limit` is what the user says.
    /// `None` where there is no limit, or nothing to wait for.
    pub fn patience(&self, limit: Option<Duration>) -> Option<Duration> {
        match self.phase {
            Phase::Doing(_) if self.lost_answer => limit.map(|limit| limit.min(AFTER_LOST_ANSWER)),
            Phase::Doing(_) | Phase::Leaving { .. } => limit,
            _ => None,
        }
    }

    /// The child was waited for that long in vain.
    pub fn silent(&mut self, waited: Duration) -> Vec<Step> {
        let waited = humantime::format_duration(waited);
        let mut steps = Vec::new();
        self.no_child |= self.awaits_first_word();
        match self.phase {
            Phase::Doing(action) => {
                let lost = match self.lost_answer {
                    true => ", because the daemon skipped its answer",
                    false => "",
                };
                self.fail(
                    format!(
                        "no answer to {} for {waited}{lost}: the daemon would wait forever",
                        action.name()
                    ),
                    &mut steps,
                );
            }
            Phase::Leaving { .. } => {
                let text = format!(
                    "its input ended {waited} ago and it still runs: the daemon would wait forever"
                );
                self.wrong(text, &mut steps);
                self.phase = Phase::Stopping;
                steps.push(Step::StopNow);
            }
            _ => {}
        }
        steps
    }

    /// The user wants no more.
    pub fn interrupt(&mut self) -> Vec<Step> {
        match self.phase {
            Phase::New | Phase::Stopping | Phase::Over => Vec::new(),
            _ => {
                self.phase = Phase::Stopping;
                vec![Step::Stop]
            }
        }
    }

    /// A number that changes with every message in either direction.
    pub fn signs_of_life(&self) -> u64 {
        self.signs
    }

    /// How many records are in batches that were answered.
    pub fn progress(&self) -> usize {
        self.done
    }

    /// How many records the shard has.
    pub fn size(&self) -> usize {
        self.report.records
    }

    /// Whether a child has shown that it is none: it gave no first answer, or echoed its input.
    pub fn is_no_child(&self) -> bool {
        self.no_child
    }

    /// Whether the first child has not answered its first action yet.
    pub fn awaits_first_word(&self) -> bool {
        self.child == 1 && self.phase == Phase::Doing(Action::Initialize)
    }

    /// How many records the lease's checkpoint covers. A recording does not say.
    fn checkpointed(&self) -> Option<usize> {
        let is_stored = |record: &Record| Mark::At(record.position.clone()) <= self.lease;
        self.staged
            .is_none()
            .then(|| self.records.partition_point(is_stored))
    }

    /// What came out so far.
    pub fn report(&self) -> ShardReport {
        let (sequence_number, sub_sequence_number) = self.lease.numbers();
        ShardReport {
            checkpointed: self.checkpointed(),
            sequence_number: sequence_number.to_owned(),
            sub_sequence_number,
            ..self.report.clone()
        }
    }
}
