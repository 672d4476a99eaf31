//! `kclpipe replay`: plays the daemon, so that a child of the MultiLangDaemon can be tried without AWS,
//! without Java and without a network.
//!
//! [`input`] finds the records, [`mod@aggregate`] takes apart what the daemon does, and [`stream`] deals them to
//! shards. [`mod@shard`] is the daemon's side of one shard's conversation, in which [`reply`] reads the child's
//! lines; what comes next, action by action (see [`mod@action`]), is decided by a [`director`], and [`faults`] is
//! what goes wrong with it. [`simulator`] connects shards with processes, of which [`child`] is the command and
//! [`screen`] what the user sees meanwhile, and [`report`] says what came out.

// What a new action or phase means is to be decided at every place that asks which it is.
#![cfg_attr(not(test), warn(clippy::wildcard_enum_match_arm))]

pub(crate) mod action;
pub(crate) mod aggregate;
pub(crate) mod child;
pub(crate) mod director;
pub(crate) mod faults;
pub(crate) mod input;
pub(crate) mod lease;
mod protobuf;
pub(crate) mod reply;
pub(crate) mod report;
mod request;
pub(crate) mod screen;
pub(crate) mod shard;
pub(crate) mod simulator;
pub(crate) mod stream;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

pub(crate) use child::Child;
use faults::{Faults, Schedule, make_hostile};
use input::recording::{self, Conversation};
use input::{Input, InputFormat, InputRecord};
use screen::{Screen, say};
use shard::{Rules, Shard};
use simulator::Simulator;
use stream::Record;

/// What a replay needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Files with records; `-` is stdin.
    pub inputs: Vec<PathBuf>,
    /// How records stand in them; `None` to tell it from the content of each.
    pub format: Option<InputFormat>,
    /// What to start.
    pub child: Child,
    /// How many shards.
    pub shards: usize,
    /// How each is played.
    pub rules: Rules,
    /// What goes wrong on purpose.
    pub injection: Option<Injection>,
    /// How long a child may be silent; `None` for ever.
    pub timeout: Option<Duration>,
    /// Whether the report is JSON.
    pub json: bool,
}

/// Faults, and what they are drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Injection {
    /// What goes wrong, and how often.
    pub faults: Faults,
    /// The same seed gives the same faults, as far as the children answer the same.
    pub seed: u64,
}

/// Reads the input and starts the children.
///
/// # Errors
/// An input cannot be read, or the child cannot be started; the message names it.
pub(crate) fn start<'s>(settings: &Settings, screen: &'s Screen) -> Result<Simulator<'s>> {
    let (command, hint) = settings.child.command()?;
    let (records, recorded) = material(settings)?;
    let shards = if recorded.is_empty() {
        from_records(records, settings)
    } else {
        from_recordings(recorded)
    };
    let simulator = Simulator::new(shards, command, settings.timeout, screen)?;
    simulator.with_hint(hint).start()
}

fn from_records(records: Vec<InputRecord>, settings: &Settings) -> Vec<Shard> {
    let (dealt, renumbered) = stream::deal(records, settings.shards, now());
    for shard in renumbered {
        let id = shard_id(shard);
        say(&format!(
            "{id}: the sequence numbers of the input do not increase here, or some are missing; replay makes new ones"
        ));
    }
    if let Some(injection) = &settings.injection {
        say(&format!("injecting faults with --seed {}", injection.seed));
    }
    let numbered = dealt.into_iter().enumerate();
    numbered
        .map(|(at, records)| shard(at, records, settings))
        .collect()
}

/// A shard for each that the conversations are about.
fn from_recordings(all: Vec<Conversation>) -> Vec<Shard> {
    let mut of_shards: BTreeMap<String, Vec<Conversation>> = BTreeMap::new();
    for conversation in all {
        let id = conversation.shard_id.clone();
        of_shards.entry(id).or_default().push(conversation);
    }
    let of_shards = of_shards.into_iter();
    of_shards
        .map(|(id, all)| Shard::recorded(id, all))
        .collect()
}

fn shard(at: usize, mut records: Vec<Record>, settings: &Settings) -> Shard {
    let Some(Injection { faults, seed }) = &settings.injection else {
        return Shard::new(shard_id(at), records, settings.rules);
    };
    make_hostile(&mut records, faults, *seed, at);
    let schedule = Schedule::new(faults.clone(), *seed, at);
    Shard::new(shard_id(at), records, settings.rules).with(schedule)
}

/// The records of all inputs, or the conversations.
fn material(settings: &Settings) -> Result<(Vec<InputRecord>, Vec<Conversation>)> {
    let (mut records, mut recorded) = (Vec::new(), Vec::new());
    for path in &settings.inputs {
        let name = path.display();
        let in_input = || format!("the input '{name}'");
        let bytes = input::bytes_of(path)?;
        let input = Input::new(bytes, settings.format).with_context(in_input)?;
        if input.had_mark {
            say(&format!("'{name}': leaving out its byte order mark"));
        }
        if input.format == InputFormat::Capture {
            recorded.extend(conversations(&input.bytes, &name).with_context(in_input)?);
        } else {
            let found = input.records().with_context(in_input)?;
            records.extend(taken_apart(found, input.format, &name));
        }
    }
    if !recorded.is_empty() && !records.is_empty() {
        bail!("a capture is played alone: remove the other inputs");
    }
    if !recorded.is_empty() && settings.injection.is_some() {
        bail!("a capture is played as it was: remove --inject");
    }
    Ok((records, recorded))
}

/// The conversations in a recording.
fn conversations(bytes: &[u8], name: &dyn fmt::Display) -> Result<Vec<Conversation>> {
    let (found, remarks) = recording::read(bytes)?;
    remarks
        .iter()
        .for_each(|remark| say(&format!("'{name}': {remark}")));
    if found.is_empty() {
        bail!("it has no conversation with a complete beginning");
    }
    let number = report::count(found.len(), "conversation");
    say(&format!("'{name}': {number} (capture)"));
    Ok(found)
}

/// The records of an input as the daemon hands them over.
fn taken_apart(
    stored: Vec<InputRecord>,
    format: InputFormat,
    name: &dyn fmt::Display,
) -> Vec<InputRecord> {
    let number = report::count(stored.len(), "record");
    say(&format!("'{name}': {number} ({})", format.name()));
    let found = aggregate::take_apart(stored);
    if found.aggregates > 0 {
        say(&format!(
            "'{name}': {} of the Kinesis Producer Library split up, as the daemon does: {} for the child",
            report::count(found.aggregates, "aggregate"),
            report::count(found.records.len(), "record")
        ));
    }
    found
        .losses
        .iter()
        .for_each(|loss| say(&format!("'{name}': {loss}")));
    found.records
}

/// As Kinesis names the shards of a new stream.
fn shard_id(index: usize) -> String {
    format!("shardId-{index:012}")
}

/// In milliseconds since the epoch.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}
