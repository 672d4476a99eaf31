//! `kclpipe replay`: plays the daemon, so that a child of the MultiLangDaemon can be tried without AWS,
//! without Java and without a network.
//!
//! [`input`] finds the records, [`stream`] deals them to shards, [`mod@shard`] is the daemon's side of one
//! shard's conversation, [`action`] for action, in which [`reply`] reads the child's lines and [`mark`] is what a lease's
//! checkpoint can be, [`run`] connects shards with processes, and [`report`] tells what came out.
//! [`faults`] is what can be made to go wrong, [`chance`] when, and [`odd`] makes records hard to handle;
//! [`recorded`] is a conversation that is played again.

pub mod action;
pub mod chance;
pub mod faults;
pub mod input;
pub mod mark;
pub mod odd;
pub mod recorded;
pub mod reply;
pub mod report;
pub mod run;
pub mod shard;
pub mod stream;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::process::Command;
use crate::properties::{Properties, split_command};
use chance::Chance;
use faults::{Fault, Faults};
use input::{InputFormat, InputRecord};
use recorded::Conversation;
use run::{Stage, say};
use shard::{Luck, Rules, Shard};
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

/// Where the child's command is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Child {
    /// The command line.
    Words(Vec<OsString>),
    /// `executableName` in this file.
    Properties(PathBuf),
}

/// Reads the input and starts the children.
///
/// # Errors
/// An input cannot be read, or the child cannot be started; the message names it.
pub fn start(settings: &Settings) -> Result<Stage> {
    let command = command(&settings.child)?;
    let (records, recorded) = material(settings)?;
    let shards = match recorded.is_empty() {
        true => from_records(records, settings),
        false => from_recordings(recorded, settings),
    };
    Stage::start(shards, command, settings.timeout)
}

fn from_records(records: Vec<InputRecord>, settings: &Settings) -> Vec<Shard> {
    let (dealt, renumbered) = stream::deal(records, settings.shards, now());
    for shard in renumbered {
        let id = shard_id(shard);
        say(&format!(
            "{id}: the sequence numbers of the input do not increase here, or some are missing; new ones are made"
        ));
    }
    if let Some(injection) = &settings.injection {
        say(&format!(
            "faults are injected with --seed {}",
            injection.seed
        ));
    }
    let numbered = dealt.into_iter().enumerate();
    numbered
        .map(|(at, records)| shard(at, records, settings))
        .collect()
}

/// A shard for each that the conversations are about.
fn from_recordings(all: Vec<Conversation>, settings: &Settings) -> Vec<Shard> {
    let mut of_shards: BTreeMap<String, Vec<Conversation>> = BTreeMap::new();
    for conversation in all {
        let id = conversation.shard_id.clone();
        of_shards.entry(id).or_default().push(conversation);
    }
    let of_shards = of_shards.into_iter();
    of_shards
        .map(|(id, all)| Shard::staged(id, all, settings.rules))
        .collect()
}

fn shard(at: usize, mut records: Vec<Record>, settings: &Settings) -> Shard {
    let Some(Injection { faults, seed }) = &settings.injection else {
        return Shard::new(shard_id(at), records, settings.rules);
    };
    for record in &mut records {
        let odd = odd::key(&record.partition_key, *seed, faults.rate(Fault::OddKeys));
        record.partition_key = odd.unwrap_or_else(|| std::mem::take(&mut record.partition_key));
    }
    let luck = Luck::new(faults.clone(), *seed, at);
    odd::aggregate(
        &mut records,
        faults.rate(Fault::Aggregate),
        &mut Chance::new(*seed, 3 * at as u64 + 2),
    );
    Shard::new(shard_id(at), records, settings.rules).with(luck)
}

/// The records of all inputs, or the conversations.
fn material(settings: &Settings) -> Result<(Vec<InputRecord>, Vec<Conversation>)> {
    let (mut records, mut recorded) = (Vec::new(), Vec::new());
    for input in &settings.inputs {
        let bytes = input::bytes_of(input)?;
        let name = input.display();
        let format = settings.format.unwrap_or_else(|| input::detect(&bytes));
        let in_input = || format!("the input '{name}'");
        let found = input::read(&bytes, format).with_context(in_input)?;
        let number = match format {
            InputFormat::Recording => {
                let (found, remarks) = recorded::read(&bytes).with_context(in_input)?;
                remarks
                    .iter()
                    .for_each(|remark| say(&format!("'{name}': {remark}")));
                if found.is_empty() {
                    bail!("the input '{name}': no conversation in it is whole at its beginning");
                }
                let number = report::count(found.len(), "conversation");
                recorded.extend(found);
                number
            }
            _ => report::count(found.len(), "record"),
        };
        say(&format!("'{name}': {number} ({})", format.name()));
        records.extend(found);
    }
    if !recorded.is_empty() && !records.is_empty() {
        bail!("a recording is played alone: leave the other inputs out");
    }
    if !recorded.is_empty() && settings.injection.is_some() {
        bail!("a recording is played as it was: leave --inject out");
    }
    Ok((records, recorded))
}

fn command(child: &Child) -> Result<Command> {
    let words = match child {
        Child::Words(words) => words.clone(),
        Child::Properties(file) => executable_name(file)?,
    };
    let Some((program, arguments)) = words.split_first() else {
        bail!("no child: its command is empty");
    };
    let program = if program == "kclpipe" {
        let own = std::env::current_exe().context("cannot find this program's own file")?;
        say(&format!("'kclpipe' is this program, '{}'", own.display()));
        own.into_os_string()
    } else {
        program.clone()
    };
    Ok(Command {
        program,
        arguments: arguments.to_vec(),
        directory: None,
    })
}

/// The command that the daemon would make of a configuration.
fn executable_name(file: &Path) -> Result<Vec<OsString>> {
    let name = file.display();
    let bytes =
        std::fs::read(file).with_context(|| format!("cannot read the properties '{name}'"))?;
    let properties = Properties::parse(&bytes).with_context(|| format!("in '{name}'"))?;
    let Some(value) = properties.get("executableName") else {
        bail!("'{name}' has no executableName");
    };
    let words = split_command(value);
    match words.first().map(String::as_str) {
        None => bail!("executableName in '{name}' is empty"),
        Some("") => {
            bail!("executableName in '{name}' starts with a space, so the daemon would run ''")
        }
        Some(_) => say(&format!("'{name}' runs {words:?}")),
    }
    Ok(words.into_iter().map(OsString::from).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn in_file(text: &str) -> Result<Vec<OsString>> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("my.properties");
        std::fs::write(&file, text).expect("written");
        executable_name(&file)
    }

    #[test]
    fn the_deployed_line_is_what_is_tried() {
        let words =
            in_file("executableName = old\nexecutableName = kclpipe  --name \\\n x -- sh -c 'a b'");
        let expected = ["kclpipe", "--name", "x", "--", "sh", "-c", "'a", "b'"];
        assert_eq!(words.expect("sound"), expected.map(OsString::from));
        for (text, said) in [
            ("streamName=x", "my.properties' has no executableName"),
            ("executablename=x", "no executableName"),
            ("executableName=", "is empty"),
            ("executableName=\\ x", "starts with a space"),
            ("executableName=\\u12", "line 1"),
        ] {
            let error = format!("{:#}", in_file(text).expect_err(text));
            assert!(
                error.contains(said) && error.contains("my.properties"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_bare_kclpipe_is_this_very_program() {
        let words = |words: &[&str]| Child::Words(words.iter().map(OsString::from).collect());
        let own = std::env::current_exe().expect("a path");
        let bare = command(&words(&["kclpipe", "--", "cat"])).expect("sound");
        assert_eq!(
            (bare.program, bare.arguments.len()),
            (own.into_os_string(), 2)
        );
        let other = command(&words(&["./kclpipe"])).expect("sound");
        assert_eq!(other.program, "./kclpipe");
        assert!(command(&words(&[])).is_err());
    }
}
