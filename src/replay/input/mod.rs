//! What is replayed: records from lines, or from what Kinesis, Lambda and kclpipe itself write as JSON.
//!
//! `structure` tells the one from the other, `json` reads records from objects, `time` what they say of when
//! they arrived, and [`recording`] reads conversations.

mod json;
pub(crate) mod recording;
mod structure;
mod time;

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::record::Position;
use structure::without_mark;

/// How records stand in an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputFormat {
    /// One record a line, the line's bytes without its line feed.
    Lines,
    /// Objects with the names of the `jsonl` format; dead letters have them, too.
    Jsonl,
    /// What `aws kinesis get-records` prints, or the records in it.
    Aws,
    /// The events of a Lambda function's Kinesis trigger, or the records in them.
    Lambda,
    /// What `--capture` writes: no records alone, but all that the daemon said.
    Capture,
}

impl InputFormat {
    /// The name, as the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            InputFormat::Lines => "lines",
            InputFormat::Jsonl => "jsonl",
            InputFormat::Aws => "aws",
            InputFormat::Lambda => "lambda",
            InputFormat::Capture => "capture",
        }
    }
}

/// A record as its input has it; what the input does not say is filled in later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputRecord {
    /// The payload in base64.
    pub data: String,
    /// The partition key.
    pub partition_key: Option<String>,
    /// Where the record belongs instead of where its partition key says.
    pub hash_key: Option<u128>,
    /// The sequence number with its place in the aggregate.
    pub position: Option<Position>,
    /// When Kinesis took the record in, in milliseconds since the epoch.
    pub arrival: Option<i64>,
    /// What it is in the stream.
    pub origin: Origin,
}

/// What a record is in the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// One of its records, which may be an aggregate.
    #[default]
    Stream,
    /// One that the daemon has handed over before, or the first of an aggregate.
    Aggregate,
    /// In one aggregate with the record before it.
    SameAggregate,
}

/// An input and what it was found to be.
#[derive(Debug)]
pub(crate) struct Input {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// How records stand in it.
    pub format: InputFormat,
    /// Whether it had a byte order mark, which is not in `bytes`.
    pub had_mark: bool,
}

impl Input {
    /// The input with these bytes; `format` is what the user says that it is. In lines, if that is what the
    /// user says, every byte counts.
    ///
    /// # Errors
    /// It is something that can be named, but no records of a Kinesis stream.
    pub(crate) fn new(bytes: Vec<u8>, format: Option<InputFormat>) -> Result<Input> {
        if format == Some(InputFormat::Lines) {
            return Ok(Input {
                bytes,
                format: InputFormat::Lines,
                had_mark: false,
            });
        }
        let (bytes, had_mark) = without_mark(bytes);
        let format = format.map_or_else(|| structure::recognise(&bytes), Ok)?;
        Ok(Input {
            bytes,
            format,
            had_mark,
        })
    }

    /// The records in it, of which a capture has none by themselves.
    ///
    /// # Errors
    /// Something in it is no record; which, and why.
    pub(crate) fn records(&self) -> Result<Vec<InputRecord>> {
        match self.format {
            InputFormat::Lines => Ok(lines(&self.bytes).map(from_line).collect()),
            InputFormat::Capture => Ok(Vec::new()),
            InputFormat::Jsonl | InputFormat::Aws | InputFormat::Lambda => {
                json::records(&self.bytes, self.format)
            }
        }
    }
}

/// The bytes of a file, or of stdin for `-`.
///
/// # Errors
/// It cannot be read.
pub(crate) fn bytes_of(input: &Path) -> Result<Vec<u8>> {
    if input != Path::new("-") {
        return std::fs::read(input)
            .with_context(|| format!("cannot read the input '{}'", input.display()));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .context("cannot read stdin, the input '-'")?;
    Ok(bytes)
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ended = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    ended
        .split(|b| *b == b'\n')
        .filter(move |_| !bytes.is_empty())
}

fn from_line(line: &[u8]) -> InputRecord {
    InputRecord {
        data: STANDARD.encode(line),
        ..InputRecord::default()
    }
}

#[cfg(test)]
mod tests;
