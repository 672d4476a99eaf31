//! What the handlers wrote down: see `handler.rs` for the format.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::process::Pid;
use serde_json::Value;

use super::Per;
use super::leases::Checkpoint;
use super::stream::{Position, Sent};

/// What a handler did with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Took it up, and did not let go of it yet.
    Held,
    /// Refused it.
    Failed,
    Done,
}

/// One entry.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) outcome: Outcome,
    /// The handler's process id.
    pub(crate) handler: Pid,
    /// The process id of the kclpipe that started the handler.
    pub(crate) kclpipe: Pid,
    pub(crate) shard: String,
    pub(crate) at: Position,
    pub(crate) attempt: u64,
    pub(crate) arrival: u64,
    key: String,
    data: Vec<u8>,
}

impl Entry {
    fn is_of(&self, sent: &Sent) -> bool {
        self.shard == sent.shard && self.at == sent.at
    }

    fn place(&self) -> (&str, &Position) {
        (&self.shard, &self.at)
    }
}

/// Everything that was written so far, in order.
pub(crate) struct Journal {
    path: PathBuf,
    per: Per,
    read: u64,
    entries: Vec<Entry>,
}

impl Journal {
    /// A journal that handlers will write at `path`.
    pub(crate) fn new(path: PathBuf, per: Per) -> Self {
        Self {
            path,
            per,
            read: 0,
            entries: Vec::new(),
        }
    }

    /// All entries, with those that came since the last call.
    pub(crate) fn entries(&mut self) -> &[Entry] {
        let mut news = Vec::new();
        if let Ok(mut file) = File::open(&self.path) {
            file.seek(SeekFrom::Start(self.read))
                .expect("the journal can be read");
            file.read_to_end(&mut news)
                .expect("the journal can be read");
        }
        let mut rest = news.as_slice();
        while let Some((about, input, after)) = split_entry(rest) {
            self.entries.push(parse(about, input, self.per));
            rest = after;
        }
        self.read += (news.len() - rest.len()) as u64;
        &self.entries
    }

    /// The last entry of a record.
    pub(crate) fn last(&mut self, sent: &Sent) -> Option<&Entry> {
        self.entries().iter().rfind(|entry| entry.is_of(sent))
    }

    /// Whether a handler has this record in hand and waits.
    pub(crate) fn is_held(&mut self, sent: &Sent) -> bool {
        self.last(sent)
            .is_some_and(|entry| entry.outcome == Outcome::Held)
    }

    /// How many times this record was refused.
    pub(crate) fn failures(&mut self, sent: &Sent) -> usize {
        self.entries()
            .iter()
            .filter(|entry| entry.is_of(sent) && entry.outcome == Outcome::Failed)
            .count()
    }

    /// Whether every one of these records was done.
    pub(crate) fn has(&mut self, sent: &[Sent]) -> bool {
        let done: HashSet<_> = self.done().map(Entry::place).collect();
        sent.iter()
            .all(|record| done.contains(&(record.shard.as_str(), &record.at)))
    }

    /// Asserts that these records were done and no others, each as it was sent, and those of a
    /// shard in their order.
    #[track_caller]
    pub(crate) fn assert_done(&mut self, sent: &[Sent]) {
        assert!(self.has(sent), "a record is lost");
        let by_place: HashMap<_, _> = sent
            .iter()
            .map(|sent| ((sent.shard.as_str(), &sent.at), sent))
            .collect();
        for entry in self.done() {
            let sent = by_place
                .get(&entry.place())
                .expect("a record that was done was sent");
            // Not assert_eq: a record may be 10 MiB.
            assert!(
                entry.key == sent.key,
                "the key of {:?} is {:?}, not {:?}",
                entry.at,
                entry.key,
                sent.key
            );
            assert!(entry.data == sent.data, "the data of {:?} differ", entry.at);
        }
        self.assert_order();
    }

    /// Asserts besides that none was done twice.
    #[track_caller]
    pub(crate) fn assert_done_once(&mut self, sent: &[Sent]) {
        self.assert_done(sent);
        assert_eq!(self.done().count(), sent.len(), "each record is done once");
    }

    /// Asserts that what was handed over after the first `mark` entries lies beyond the checkpoint
    /// of its shard.
    #[track_caller]
    pub(crate) fn assert_resumed(
        &mut self,
        mark: usize,
        checkpoints: &HashMap<String, Checkpoint>,
    ) {
        for entry in &self.entries()[mark..] {
            let Some(Checkpoint::At(checkpoint)) = checkpoints.get(&entry.shard) else {
                continue;
            };
            assert!(
                entry.at > *checkpoint,
                "{:?} of {} was checkpointed already",
                entry.at,
                entry.shard
            );
        }
    }

    fn done(&mut self) -> impl Iterator<Item = &Entry> {
        self.entries()
            .iter()
            .filter(|entry| entry.outcome == Outcome::Done)
    }

    /// Each kclpipe serves one shard, and goes through it once.
    #[track_caller]
    fn assert_order(&mut self) {
        let mut last = HashMap::new();
        for entry in self.done() {
            let before = last.insert(entry.kclpipe, entry.place());
            assert!(
                before.is_none_or(|before| before < entry.place()),
                "{:?} came after {before:?}",
                entry.place()
            );
        }
    }
}

/// The two parts of the first entry, and what follows it. None if it is not complete yet.
fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let lengths = str::from_utf8(&bytes[..end]).expect("an entry starts with two lengths");
    let (about, input) = lengths
        .split_once(' ')
        .expect("an entry starts with two lengths");
    let [about, input] =
        [about, input].map(|length| length.parse::<usize>().expect("a length is a number"));
    let (about, rest) = bytes[end + 1..].split_at_checked(about)?;
    let (input, rest) = rest.split_at_checked(input)?;
    Some((about, input, rest))
}

/// The fields of a record are in the environment where a handler gets one record, and in its JSON
/// line elsewhere.
fn parse(about: &[u8], input: &[u8], per: Per) -> Entry {
    let about = String::from_utf8_lossy(about);
    let about: HashMap<&str, &str> = about
        .split('\0')
        .filter_map(|variable| variable.split_once('='))
        .collect();
    let (json, data) = match per {
        Per::Record => (Value::Null, input.to_vec()),
        Per::Batch | Per::Shard => {
            let json = serde_json::from_slice(input).expect("a handler gets lines of JSON");
            let data = json_data(&json);
            (json, data)
        }
    };
    let field = |variable: &str, name: &str| match (per, json[name].as_str()) {
        (Per::Record, _) => about[variable].to_owned(),
        (_, Some(text)) => text.to_owned(),
        (_, None) => json[name].to_string(),
    };
    let number = |text: String| {
        text.parse()
            .unwrap_or_else(|_| panic!("'{text}' is no number"))
    };
    let shard = field("KCLPIPE_SHARD_ID", "shardId");
    assert_eq!(about["KCLPIPE_SHARD_ID"], shard, "it is told in any way");
    Entry {
        outcome: outcome(about["OUTCOME"]),
        handler: process(about["PID"]),
        kclpipe: process(about["PARENT"]),
        shard,
        at: Position {
            sequence: field("KCLPIPE_SEQUENCE_NUMBER", "sequenceNumber"),
            sub: number(field("KCLPIPE_SUB_SEQUENCE_NUMBER", "subSequenceNumber")),
        },
        attempt: number(field("KCLPIPE_ATTEMPT", "attempt")),
        arrival: number(field(
            "KCLPIPE_ARRIVAL_TIMESTAMP",
            "approximateArrivalTimestamp",
        )),
        key: field("KCLPIPE_PARTITION_KEY", "partitionKey"),
        data,
    }
}

/// The payload is text, or base64 where it is not UTF-8.
fn json_data(line: &Value) -> Vec<u8> {
    match (line["data"].as_str(), line["dataBase64"].as_str()) {
        (Some(text), None) => text.into(),
        (None, Some(encoded)) => BASE64_STANDARD
            .decode(encoded)
            .expect("dataBase64 is base64"),
        _ => panic!("a line has either data or dataBase64"),
    }
}

fn outcome(word: &str) -> Outcome {
    match word {
        "held" => Outcome::Held,
        "failed" => Outcome::Failed,
        "done" => Outcome::Done,
        other => panic!("'{other}' is no outcome"),
    }
}

fn process(id: &str) -> Pid {
    id.parse()
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process id is a positive number")
}
