//! The ways of handing records over: what one handler process is given, what its lines mean, and what its
//! end says of the records that it had. Everything else is the same for all of them, in [`super::pool`].

mod answer;
mod batches;
pub(super) mod environment;
pub(super) mod lambda_reply;
mod life;
pub(super) mod line;
mod per_batch;
mod per_event;
mod per_record;
mod per_shard;
pub(super) mod placeholders;
pub(super) mod whole;

use std::fmt;
use std::time::Instant;

use super::held::{Most, Queue};
use super::pool::attempt::{Attempt, ExitReport};
use super::{Per, Settings};
use crate::format::Format;
use crate::outcome::{Class, Ended, OnExit};
use crate::plural::plural;
use crate::process::{self, Feed};
use batches::Batches;
use environment::Environment;
use life::Life;
use per_batch::PerBatch;
use per_event::PerEvent;
use per_record::PerRecord;
use per_shard::PerShard;

/// One way of handing records over.
pub(super) trait Mode {
    /// Whether a process goes on when its records are answered, and is given more.
    fn lives_on(&self) -> bool {
        false
    }

    /// Whether what a process is given is a batch: handed over at once, with nothing added to it before all of
    /// it is answered.
    fn gives_batches(&self) -> bool {
        true
    }

    /// Whether an attempt that has records may not have one more, with which it would have been given this many
    /// bytes, before it answers or ends.
    fn is_full(&self, attempt: &Attempt, bytes: u64) -> bool;

    /// The most that one input may have.
    fn most(&self) -> Most {
        Most::ALL
    }

    /// Whether the process gets no more records in all its life.
    fn is_spent(&self, attempt: &Attempt) -> bool;

    /// Adds what the handler finds in its environment besides what all find.
    fn describe(&self, environment: &mut Environment, given: &Given<'_>);

    /// How the process is given its input.
    fn feed(&self) -> Feed {
        Feed::Whole
    }

    /// Whether it matters how much of its input a process left unread.
    fn must_read(&self) -> bool {
        true
    }

    /// Where a line of stdout is cut.
    fn line_limit(&self) -> usize {
        process::LINE
    }

    /// Takes a line of a handler's stdout.
    fn hear(&self, attempt: &mut Attempt, line: &[u8], now: Instant) -> Heard;

    /// What the end of a process says of the records that it had not answered, of which there are some.
    fn verdict(&self, attempt: &Attempt, end: &ExitReport, evidence: &Evidence<'_>) -> Verdict;

    /// Whether several records that failed together are tried again in smaller runs.
    fn narrows(&self) -> bool {
        false
    }

    /// What is strange about the way in which an attempt succeeded, in words.
    fn remark(&self, _attempt: &Attempt) -> Option<String> {
        None
    }

    /// What would help a handler that cannot keep up.
    fn advice(&self) -> &'static str;
}

/// The way that the settings ask for.
pub(super) fn of(settings: &Settings) -> Box<dyn Mode> {
    match settings.per {
        Per::Record => Box::new(PerRecord),
        Per::Batch { size, bytes } => Box::new(PerBatch {
            batches: batches(size, bytes, settings),
            replies: matches!(settings.format, Format::Lambda { .. }),
        }),
        Per::Event {
            size,
            bytes,
            plain,
            max_records,
        } => Box::new(PerEvent {
            batches: batches(size, bytes, settings),
            life: life(plain, max_records, settings),
        }),
        Per::Shard {
            inflight,
            plain,
            max_records,
        } => Box::new(PerShard {
            inflight,
            life: life(plain, max_records, settings),
        }),
    }
}

fn batches(size: Option<usize>, bytes: Option<u64>, settings: &Settings) -> Batches {
    let line = match settings.read_ahead {
        0 => u64::MAX,
        // A batch that runs and one that waits then always have room.
        read_ahead => read_ahead / 2,
    };
    Batches { size, bytes, line }
}

fn life(plain: bool, max_records: Option<u64>, settings: &Settings) -> Life {
    Life {
        plain,
        max_records,
        alone: settings.jobs == 1,
    }
}

/// What an attempt begins with.
pub(super) struct Given<'a> {
    /// The records that are held.
    pub(super) queue: &'a Queue,
    /// The first one that is given.
    pub(super) first: usize,
    /// The last one.
    pub(super) last: usize,
    /// How many are given.
    pub(super) count: usize,
    /// Bytes of their payloads, as the handler finds them.
    pub(super) bytes: u64,
    /// The shard.
    pub(super) shard_id: &'a str,
    /// The number of the first one's attempt.
    pub(super) attempt: u32,
    /// The place of the handler in the pool.
    pub(super) slot: usize,
}

/// What is known besides how a process ended.
pub(super) struct Evidence<'a> {
    /// What exit codes mean.
    pub(super) on_exit: &'a OnExit,
    /// The oldest record was suspected already, and given alone.
    pub(super) is_suspect: bool,
    /// Tells a record's place among those without an answer by what a reply calls it.
    pub(super) find: &'a dyn Fn(&str) -> Option<usize>,
}

/// What a line on a handler's stdout leads to, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is log output.
    Log,
    /// It would be an answer, had it the token.
    Untokened,
    /// It was noted.
    Noted,
    /// This many of the oldest records are done, and perhaps a checkpoint is requested there.
    Done { records: usize, checkpoint: bool },
    /// The oldest record is not done.
    Bad(Class),
    /// This, of all the records without an answer.
    Whole(Class),
    /// The attempt's reply is about all the records without an answer.
    Reply,
    /// The worker is to stop.
    Halt,
    /// It breaks the rules; in words.
    Invalid(&'static str),
}

/// What a handler's end says of the records it had not answered, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What.
    pub(super) finding: Finding,
    /// Why.
    pub(super) reason: Reason,
}

/// What a handler's end says of the records it had not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// They are done.
    Done { checkpoint: bool },
    /// This, of the oldest of them; nothing of the others.
    Oldest(Class),
    /// This, of one of them, but not of which.
    Unnamed(Class),
    /// This many are done, and this is the next one's.
    Upto { records: usize, next: Class },
}

impl Finding {
    fn because(self, reason: Reason) -> Verdict {
        Verdict {
            finding: self,
            reason,
        }
    }
}

/// Why an attempt ended as it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// Its process ended so.
    Exit(Ended),
    /// It answered so.
    Answered(Class),
    /// Its answer makes no sense about the record it had.
    Nonsense,
    /// It ended well, but left this many bytes of its input unread.
    Unread(Ended, u64),
    /// Its reply names the record as failed.
    Named,
    /// Its reply cannot be understood; its beginning.
    BadReply(String),
    /// It broke the rules for answers.
    Invalid(&'static str),
    /// It cannot be started; in words.
    NotStarted(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Exit(ended) => ended.fmt(f),
            Reason::Answered(class) => write!(f, "the handler answered '{class}'"),
            Reason::Nonsense => f.write_str("an answer that makes no sense here"),
            Reason::Unread(ended, bytes) => {
                write!(
                    f,
                    "{ended}, with {} of its input unread",
                    plural(*bytes, "byte")
                )
            }
            Reason::Named => f.write_str("the reply lists it as failed"),
            Reason::BadReply(reply) => write!(
                f,
                "a reply that is not JSON or names a record that it did not get: '{reply}'"
            ),
            Reason::Invalid(why) => write!(f, "the handler sent {why}"),
            Reason::NotStarted(why) => f.write_str(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handler::pool::tests::settings;

    #[test]
    fn a_pipe_is_large_only_where_one_handler_is_given_all() {
        let per = Per::Shard {
            inflight: 1,
            plain: false,
            max_records: None,
        };
        for (jobs, expected) in [(1, true), (2, false)] {
            let mode = of(&Settings {
                jobs,
                ..settings(per)
            });
            assert!(matches!(mode.feed(), Feed::Stream { large, .. } if large == expected));
        }
    }
}
