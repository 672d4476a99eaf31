//! The daemon's side of one shard, as a value without I/O and without a clock: the child's lines go in, and
//! what the daemon does comes out.
//!
//! The rules are those of KCL 3.5.1: `MultiLangProtocol.java` for the order of messages, and
//! `ShardRecordProcessorCheckpointer.java` for what a checkpoint may name.
//!
//! Its parts differ in how long they live: the [`Lease`] outlives every child, the session is one child's and is
//! replaced whole. What the daemon does next is a [`Directive`] of the [`Director`]'s, which the [`Schedule`] of
//! faults may change, in one place: before it is carried out.
//!
//! A caller does each [`Step`] in order: for [`Step::Start`] it starts a child and calls [`Shard::start`],
//! what the child writes goes to [`Shard::take`] after [`Shard::begin_reading`], a [`Step::Later`] comes
//! back by [`Shard::due`], and the child's end is [`Shard::ended`]. Processes and real time are one such caller
//! (the simulator); one thread and virtual time are as good.

mod answers;
mod checkpoint;
mod endings;
mod reporting;
mod session;
#[cfg(test)]
#[allow(
    clippy::wildcard_enum_match_arm,
    reason = "a transcript shows what it is about"
)]
mod tests;
mod waiting;

use std::ops::Range;
use std::time::Duration;

use super::action::Action;
use super::director::{Call, Content, Directive, Director, Live, MadeUp, Recorded, ShardRecords};
use super::faults::schedule::{Schedule, Situation};
use super::faults::{Cause, Termination};
use super::input::recording::Conversation;
use super::lease::{Lease, LeasePosition};
use super::report::ShardReport;
use super::stream::Record;
use session::{Phase, Session};

pub use super::director::{Ending, Rules};

/// How many of one child's lines that are no messages are reported.
const REPORTED: usize = 5;

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
    /// Call [`Shard::due`] after this long.
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
    Terminate(Termination),
}

/// One shard: its lease, the child that it has, who decides what comes next, and what goes wrong.
#[derive(Debug)]
pub struct Shard {
    lease: Lease,
    session: Session,
    director: Box<dyn Director>,
    faults: Option<Schedule>,
    /// How often a child that died is started again.
    restarts: u32,
    /// What was started does not speak the daemon's language at all.
    no_child: bool,
    report: ShardReport,
}

impl Shard {
    /// A shard of these records, in the order of their positions, with a fresh lease at `TRIM_HORIZON`.
    pub fn new(shard_id: String, records: Vec<Record>, rules: Rules) -> Shard {
        let size = records.len();
        let director = MadeUp::new(records, rules);
        Shard::directed(shard_id, Box::new(director), size).with_restarts(rules.restarts)
    }

    /// The same, but its records arrive while it is read, by [`Shard::fetch`]. With `empty_reads`, the child
    /// gets also what found no record.
    pub fn live(shard_id: String, records: Vec<Record>, rules: Rules, empty_reads: bool) -> Shard {
        let size = records.len();
        let director = Live::new(records, rules, empty_reads);
        Shard::directed(shard_id, Box::new(director), size).with_restarts(rules.restarts)
    }

    /// The shard of these conversations, which are played one after the other, each with a child of its
    /// own, from where its lease stood.
    pub fn recorded(shard_id: String, conversations: Vec<Conversation>) -> Shard {
        let director = Recorded::new(conversations);
        let size = director.size();
        Shard::directed(shard_id, Box::new(director), size)
    }

    fn directed(shard_id: String, director: Box<dyn Director>, records: usize) -> Shard {
        Shard {
            lease: Lease::new(LeasePosition::TrimHorizon),
            session: Session::none(),
            director,
            faults: None,
            restarts: 0,
            no_child: false,
            report: ShardReport {
                shard_id,
                records,
                ..ShardReport::default()
            },
        }
    }

    fn with_restarts(self, restarts: u32) -> Shard {
        Shard { restarts, ..self }
    }

    /// The same shard, and this goes wrong with it. A recording is played as it was.
    pub fn with(self, faults: Schedule) -> Shard {
        let is_recorded = self.director.records().is_none();
        Shard {
            faults: Some(faults).filter(|_| !is_recorded),
            ..self
        }
    }

    /// The same shard with its lease at this position.
    pub fn at(self, position: LeasePosition) -> Shard {
        Shard {
            lease: Lease::new(position),
            ..self
        }
    }

    /// The shard's name.
    pub fn id(&self) -> &str {
        &self.report.shard_id
    }

    /// Where the lease stands.
    pub fn lease(&self) -> &LeasePosition {
        &self.lease.stored
    }

    /// A child was started: its first message says where the lease stands.
    pub fn start(&mut self) -> Vec<Step> {
        self.session = self.session.following();
        let first = self.director.first(&self.report.shard_id, &mut self.lease);
        let mut steps = Vec::new();
        self.carry_out(first, None, &mut steps);
        steps
    }

    /// Everything that was sent so far can be known to whatever is read from the child after this.
    pub fn begin_reading(&mut self) {
        self.session.seen = self.session.sent;
    }

    /// The child has written a line. A lone carriage return ends one, too.
    pub fn take(&mut self, line: &[u8]) -> Vec<Step> {
        let mut steps = Vec::new();
        let lines = line.split(|b| *b == b'\r');
        for line in lines.filter(|line| !line.trim_ascii().is_empty()) {
            self.take_line(line, &mut steps);
        }
        steps
    }

    /// The time has come for what a [`Step::Later`] spoke of.
    pub fn due(&mut self, due: Due) -> Vec<Step> {
        let mut steps = Vec::new();
        if due.child != self.session.number {
            return steps;
        }
        match due.what {
            What::Terminate(end) => {
                if self.session.is_under_way() {
                    self.terminate(end, &mut steps);
                }
            }
            What::Ack => {
                if let Phase::Acking(action) = self.session.phase {
                    self.session.phase = Phase::Doing(action);
                    self.send_ack(&mut steps);
                }
            }
            What::NextAction => {
                if let Some(call) = self
                    .session
                    .next
                    .take_if(|_| self.session.phase == Phase::Idle)
                {
                    self.send(call, &mut steps);
                }
            }
        }
        self.read_held(&mut steps);
        steps
    }

    /// The daemon reads the stream, in [`Shard::live`]; `now` is in milliseconds since the epoch. What it finds
    /// waits for the child if the child is busy.
    pub fn fetch(&mut self, now: i64) -> Vec<Step> {
        let mut steps = Vec::new();
        self.director.read(now);
        if let Some(answered) = self.session.awaits_read() {
            let directive = self.director.next(answered, &self.lease);
            if directive != Directive::Wait {
                self.carry_out(directive, Some(answered), &mut steps);
            }
        }
        steps
    }

    /// The child has ended, in the way that `how` says.
    pub fn ended(&mut self, how: &str, well: bool) -> Vec<Step> {
        let phase = std::mem::replace(&mut self.session.phase, Phase::Over);
        match phase {
            Phase::Doing(action) | Phase::Acking(action) => self.died(Some(action), how),
            Phase::Idle => self.died(None, how),
            Phase::Leaving { .. } => self.left(how, well),
            Phase::Killed => self.left(how, true),
            Phase::New | Phase::Stopping | Phase::Over => Vec::new(),
        }
    }

    /// The action was answered: what comes next, perhaps after a pause.
    fn go_on(&mut self, answered: Action, steps: &mut Vec<Step>) {
        let lease = &mut self.lease;
        lease.answered = lease.answered.max(lease.assignment.next);
        self.session.answered = Some(answered);
        let directive = self.director.next(answered, &self.lease);
        self.carry_out(directive, Some(answered), steps);
    }

    /// The daemon does what was decided, or what goes wrong in its place.
    fn carry_out(&mut self, decided: Directive, answered: Option<Action>, steps: &mut Vec<Step>) {
        match self.with_faults(decided, answered) {
            Directive::Answer(answer) => self.answer_checkpoint(answer, steps),
            Directive::Wait => self.session.phase = Phase::Idle,
            Directive::Close { cut, resumes } => {
                self.session.resumes |= resumes;
                self.close(cut, steps);
            }
            Directive::Act(call) => match call.pause {
                Some(pause) => {
                    self.session.phase = Phase::Idle;
                    self.session.next = Some(call);
                    steps.push(self.later(pause, What::NextAction));
                }
                None => self.send(call, steps),
            },
        }
    }

    fn with_faults(&mut self, decided: Directive, answered: Option<Action>) -> Directive {
        let Some(faults) = self.faults.as_mut() else {
            return decided;
        };
        let records = self.director.records();
        let covered = records.map_or(0, |records| records.covered(&self.lease.stored));
        let situation = Situation {
            answered,
            lease: &self.lease,
            covered,
            records: self.report.records,
        };
        faults.apply(decided, &situation)
    }

    fn send(&mut self, call: Call, steps: &mut Vec<Step>) {
        if call.injected {
            let cause = Cause::Injected.name();
            steps.push(Step::Say(format!("{cause}: {}", call.action.name())));
        }
        self.session.resumes |= call.resumes;
        let line = self.deliver(call.content);
        self.lease.assignment.is_draining |= call.action == Action::ShutdownRequested;
        if call.action == Action::ShardEnded {
            self.lease.end_shard();
        }
        self.session.begin(call.action);
        steps.push(Step::Send(line));
        if let Some(end) = call.end {
            self.schedule_termination(end, steps);
        }
    }

    /// The line, whose records are delivered.
    fn deliver(&mut self, content: Content) -> String {
        match content {
            Content::Line(line) => line,
            Content::Batch {
                records: places,
                behind,
                nulls,
            } => {
                self.note_held(&places);
                let none = ShardRecords::default();
                let records = self.director.records().unwrap_or(&none);
                let (line, last) = records.batch(places.clone(), behind, nulls);
                if behind.is_some() {
                    self.director.delivered_read();
                }
                self.report.delivered += places.len();
                self.report.redelivered += self.lease.deliver(places, last);
                line
            }
            Content::Recorded {
                line,
                records,
                last,
            } => {
                let next = self.lease.assignment.next;
                self.report.delivered += records;
                self.lease.deliver(next..next + records, last);
                line
            }
        }
    }

    /// Notes how much the child has answered that would come again if it died now.
    fn note_held(&mut self, batch: &Range<usize>) {
        if let Some(covered) = self.covered().filter(|_| !batch.is_empty()) {
            let held = batch.start.saturating_sub(covered);
            self.report.held_at_most = self.report.held_at_most.max(Some(held));
        }
    }

    fn later(&self, wait: Duration, what: What) -> Step {
        let child = self.session.number;
        Step::Later(wait, Due { child, what })
    }

    /// What changes with every message in either direction, and with every child.
    pub fn signs_of_life(&self) -> (u32, u64) {
        (self.session.number, self.session.signs)
    }

    /// How many records are in batches that were answered, or before the checkpoint.
    pub fn progress(&self) -> usize {
        self.lease.answered.max(self.covered().unwrap_or(0))
    }

    /// How many records the shard has.
    pub fn size(&self) -> usize {
        self.report.records
    }

    /// Whether a child has shown that it is none: it gave no first answer, or echoed its input.
    pub fn is_no_child(&self) -> bool {
        self.no_child
    }

    /// How many records the lease's checkpoint covers. A recording does not say.
    fn covered(&self) -> Option<usize> {
        let records = self.director.records()?;
        Some(records.covered(&self.lease.stored))
    }
}
