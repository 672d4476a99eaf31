//! What becomes of records: each event is counted in one place, and said in one place.

use std::fmt;
use std::time::Duration;

use super::attempts::{Attempts, Limits};
use super::shown;
use crate::counters::Counters;
use crate::record::Position;

/// Why a record is not done after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) enum Why {
    /// Its handler, or its format, takes it never.
    Rejected,
    /// It has used up its attempts.
    AttemptsExhausted,
    /// It failed, and is too old.
    Expired,
    /// It failed.
    Failed,
    /// Its handler asked to try it later.
    Retried,
    /// It found the handler broken.
    Broken,
    /// It found the handler broken, and others since the last time have not.
    BrokenAlone,
    /// Its handler ended without an answer.
    Unanswered,
    /// Its whole batch failed, which is aligned.
    FailedTogether,
    /// It would be given up, but so many were that the handler must be at fault.
    Doubted,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Rejected => "was rejected",
            Why::AttemptsExhausted => "failed for the last time (--max-attempts)",
            Why::Expired => "failed and is too old (--max-record-age)",
            Why::Failed => "failed",
            Why::Retried => "asked to be retried later",
            Why::Broken => "found the handler broken",
            Why::BrokenAlone => "found the handler broken, while other records succeed and go on",
            Why::Unanswered => "was not answered",
            Why::FailedTogether => {
                "failed with its aligned batch, which is tried once more as it is"
            }
            Why::Doubted => {
                "failed, but kclpipe does not give up on it because the handler seems broken"
            }
        })
    }
}

/// Something that became of a record, or of several.
#[derive(Debug)]
pub(super) enum RecordEvent<'a> {
    /// The handler accepted it.
    Accepted,
    /// The user's filter keeps it from every handler.
    Filtered,
    /// It is rejected, or given up; what comes of that is another event.
    GivenUp(Why),
    /// It is tried again after a delay.
    Again {
        at: Position,
        why: Why,
        outcome: &'a str,
        attempts: &'a Attempts,
        limits: &'a Limits,
        delay: Delay,
    },
    /// This many records failed together, and are tried again in smaller runs.
    Narrowed {
        count: usize,
        ends: [Position; 2],
        outcome: &'a str,
        delay: Duration,
    },
    /// It is skipped.
    Skipped {
        at: Position,
        why: Why,
        outcome: &'a str,
    },
    /// Its dead letter is where it is to be.
    DeadLettered {
        at: Position,
        why: Why,
        outcome: &'a str,
        place: &'a str,
    },
    /// Its dead letter was not taken, and is offered again after a delay.
    LetterRefused {
        at: Position,
        why: Why,
        outcome: &'a str,
        refusal: &'a str,
        delay: Duration,
    },
    /// This many were given up in a row that no more are.
    BreakerOpened(u32),
}

/// The time until a record is tried again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delay {
    pub(super) time: Duration,
    /// It grows no more: somebody should look.
    pub(super) is_longest: bool,
    /// Nothing but an attempt that goes well will end the wait: the record holds up its shard.
    pub(super) blocks: bool,
}

impl RecordEvent<'_> {
    /// Counts it and says it.
    pub(super) fn tell(&self, counters: &mut Counters) {
        self.count(counters);
        self.say();
    }

    fn count(&self, counters: &mut Counters) {
        let counter = match self {
            RecordEvent::Accepted => &mut counters.done,
            RecordEvent::Filtered => &mut counters.filtered,
            RecordEvent::GivenUp(Why::AttemptsExhausted) => &mut counters.attempts_exhausted,
            RecordEvent::GivenUp(Why::Expired) => &mut counters.expired,
            RecordEvent::GivenUp(_) => &mut counters.rejected,
            RecordEvent::Again { .. } | RecordEvent::Narrowed { .. } => &mut counters.retries,
            RecordEvent::Skipped { .. } => &mut counters.skipped,
            RecordEvent::DeadLettered { .. } => &mut counters.dead_lettered,
            RecordEvent::LetterRefused { .. } => &mut counters.unwritten,
            RecordEvent::BreakerOpened(_) => return,
        };
        *counter += 1;
    }

    fn say(&self) {
        match self {
            RecordEvent::Accepted | RecordEvent::Filtered | RecordEvent::GivenUp(_) => {}
            RecordEvent::Again {
                at,
                why,
                outcome,
                attempts,
                limits,
                delay,
            } => {
                // A record that waits by itself is usual; one that holds up its shard for good is for somebody to see.
                let level = if delay.blocks || delay.is_longest {
                    log::Level::Error
                } else {
                    log::Level::Warn
                };
                let blocks = if delay.blocks { BLOCKS } else { "" };
                let time = shown(delay.time);
                if attempts.handed == 0 {
                    log::log!(
                        level,
                        "record {at} {why}{blocks}: {outcome}; retrying does not help: set --dead-letter or --on-failure skip (looking again in {time})"
                    );
                    return;
                }
                let (next, charged) = (attempts.handed + 1, charged(attempts, limits));
                log::log!(
                    level,
                    "record {at} {why}{blocks}: {outcome}; retrying in {time} (attempt {next}{charged})"
                );
            }
            RecordEvent::Narrowed {
                count,
                ends: [first, last],
                outcome,
                delay,
            } => log::warn!(
                "batch of {count} records ({first} to {last}) failed: {outcome}; retrying in two halves in {}",
                shown(*delay)
            ),
            RecordEvent::Skipped { at, why, outcome } => {
                log::warn!("record {at} {why}: {outcome}; skipping it (--on-failure skip)");
            }
            RecordEvent::DeadLettered {
                at,
                why,
                outcome,
                place,
            } => log::warn!("record {at} {why}: {outcome}; {place}"),
            RecordEvent::LetterRefused {
                at,
                why,
                outcome,
                refusal,
                delay,
            } => log::error!(
                "record {at} {why}: {outcome}; {refusal}; it blocks its shard; offering its letter again in {}",
                shown(*delay)
            ),
            RecordEvent::BreakerOpened(limit) => log::error!(
                "gave up on {limit} records in a row; assuming the handler is broken and holding on to further records until one succeeds: fix the handler, or let it exit with 65 for bad records (--max-consecutive-failures)"
            ),
        }
    }
}

/// What a record does that may neither be done nor skipped.
const BLOCKS: &str = " and blocks its shard";

/// The attempts that count against a record, and how many may.
fn charged(attempts: &Attempts, limits: &Limits) -> String {
    match (attempts.charged, limits.max_attempts) {
        (0, _) => String::new(),
        (failures, Some(limit)) => format!(", failure {failures} of {limit}"),
        (failures, None) => format!(", failure {failures} without limit"),
    }
}
