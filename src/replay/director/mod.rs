//! What the daemon does next, apart from how it is said, what the child makes of it, and what goes wrong.
//!
//! [`made_up`] has [`records`] and an ending, [`live`] the same with records that arrive meanwhile, and
//! [`recorded`] has what a daemon did before.

pub(crate) mod live;
pub(crate) mod made_up;
pub(crate) mod recorded;
pub(crate) mod records;

use std::borrow::Cow;
use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use serde::Serialize;

use super::action::Action;
use super::faults::{Cause, Termination};
use super::lease::{Lease, LeasePosition};
use super::request::{Refusal, Request};
use crate::protocol::Message;

pub(crate) use live::Live;
pub(crate) use made_up::MadeUp;
pub use made_up::{Ending, Rules};
pub(crate) use recorded::Recorded;
pub(crate) use records::ShardRecords;

/// Decides what the daemon does.
pub(crate) trait Director: Debug {
    /// A child was started: assigns the lease to it, and says what it is given first.
    fn first(&mut self, shard_id: &str, lease: &mut Lease) -> Directive;

    /// What follows the answer to an action.
    fn next(&mut self, answered: Action, lease: &Lease) -> Directive;

    /// What follows the end of a child, if its shard is not at its end.
    fn successor(&self) -> Successor;

    /// The shard's records; `None` where they are not known apart from the lines that they came in.
    fn records(&self) -> Option<&ShardRecords>;

    /// The daemon reads the stream. `now` is in milliseconds since the epoch, as arrivals are.
    fn read(&mut self, _now: i64) {}

    /// The read that came last from [`Director::next`] was delivered.
    fn delivered_read(&mut self) {}

    /// The error that the next checkpoint is answered with, if that is decided already.
    fn error(&mut self) -> Option<String> {
        None
    }
}

/// What the daemon does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Directive {
    /// It gives the child an action.
    Act(Call),
    /// It answers a checkpoint.
    Answer(Answer),
    /// It has nothing to do until it has read something.
    Wait,
    /// It closes the child's input.
    Close {
        /// In the middle of its work.
        cut: bool,
        /// Another child is to come.
        resumes: bool,
    },
}

/// An action that a child is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Which.
    pub action: Action,
    /// What the daemon's line has.
    pub content: Content,
    /// How long the daemon waits before it.
    pub pause: Option<Duration>,
    /// The child's end that follows.
    pub end: Option<Termination>,
    /// Another child is to come when this one has ended.
    pub resumes: bool,
    /// It is a fault, which is reported to the user.
    pub injected: bool,
}

/// What is in the daemon's line.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// This line.
    Line(String),
    /// Records of the shard.
    Batch {
        /// By their places.
        records: Range<usize>,
        /// How far the read was behind the tip when it was made, in milliseconds; `None` if it is made now.
        behind: Option<i64>,
        /// What may be null is.
        nulls: bool,
    },
    /// Records as they were recorded.
    Recorded {
        /// The line.
        line: String,
        /// How many records are in it.
        records: usize,
        /// The last of them.
        last: Option<LeasePosition>,
    },
}

/// The answer to a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// What was asked for.
    pub request: Request,
    /// What comes of it.
    pub outcome: Outcome,
    /// How long the answer takes.
    pub delay: Option<Duration>,
    /// The child's end that comes in its place.
    pub end: Option<Termination>,
}

/// What comes of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The position is stored.
    Store(LeasePosition),
    /// KCL refuses it.
    Refuse(Refusal),
    /// It fails, and the child is not to blame.
    Fail {
        /// The name of the exception.
        error: Cow<'static, str>,
        /// Why.
        cause: Cause,
    },
    /// Nobody is left to store it.
    Lose,
}

/// Who follows a child that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Successor {
    /// Another child, which goes on from the stored checkpoint.
    Resumes,
    /// The child of another recorded conversation.
    OfAnotherConversation,
    /// None: every conversation was played.
    Nobody,
}

impl Call {
    fn new(action: Action, content: Content) -> Call {
        Call {
            action,
            content,
            pause: None,
            end: None,
            resumes: false,
            injected: false,
        }
    }

    /// A batch of these records.
    pub fn batch(records: Range<usize>) -> Call {
        let content = Content::Batch {
            records,
            behind: None,
            nulls: false,
        };
        Call::new(Action::ProcessRecords, content)
    }

    /// Records that a read has found, and how far behind the tip it was.
    pub fn read(records: Range<usize>, millis_behind_latest: i64) -> Call {
        let content = Content::Batch {
            records,
            behind: Some(millis_behind_latest),
            nulls: false,
        };
        Call::new(Action::ProcessRecords, content)
    }

    /// An action that is nothing but its name.
    pub fn bare(action: Action) -> Call {
        let line = json(&Bare {
            action: action.name(),
        });
        Call::new(action, Content::Line(line))
    }

    /// The end of the lease, as a fault.
    pub fn injected(action: Action) -> Call {
        Call {
            resumes: true,
            injected: true,
            ..Call::bare(action)
        }
    }
}

#[derive(Serialize)]
struct Bare {
    action: &'static str,
}

/// The answer to a checkpoint as the daemon writes it: an echo, and the error.
pub(crate) fn acknowledgement(request: &Request, error: Option<&str>) -> String {
    json(&Message::Checkpoint {
        sequence_number: request.number.as_deref().map(Into::into),
        sub_sequence_number: request.sub.and_then(|sub| u64::try_from(sub).ok()),
        error: error.map(Into::into),
    })
}

/// A message as the daemon writes it: one line.
fn json(message: &impl Serialize) -> String {
    let mut line = serde_json::to_string(message).expect("a message is plain data");
    line.push('\n');
    line
}
