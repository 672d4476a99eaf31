//! A part of a file of dead letters, by shard and in the order of the stream.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::clean::with_shard;
use crate::record::Position;
use crate::replay::stream::Record;

/// About how much of a file is a part, in bytes: it is in memory while its letters are handed over.
const PART: u64 = 64 << 20;

/// What a letter says that a handler gets; the names are those of [`crate::dead_letter`].
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Letter {
    shard_id: String,
    sequence_number: String,
    #[serde(default)]
    sub_sequence_number: u64,
    partition_key: String,
    approximate_arrival_timestamp: Option<i64>,
    data_base64: String,
}

/// Letters that follow each other in a file.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// The length of their lines, in bytes.
    pub(super) length: u64,
    /// The records of each shard.
    pub(super) shards: BTreeMap<String, BTreeMap<Position, Record>>,
    /// Lines that are no letters, without their ends.
    pub(super) unreadable: Vec<Vec<u8>>,
}

impl Part {
    /// Reads a part of this length, or as much as is one. A letter that it has already counts once. It ends before one
    /// with a number that it has for another record: the records of a shard's life increase. Records without an arrival
    /// time have this one. Empty at the file's end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(file: &mut impl BufRead, length: Option<u64>, now: i64) -> io::Result<Part> {
        let most = length.unwrap_or(PART);
        let mut part = Part::default();
        let mut line = Vec::new();
        while part.length < most && file.read_until(b'\n', &mut line)? > 0 {
            if !part.take(line.trim_ascii_end(), now) {
                break;
            }
            part.length += line.len() as u64;
            line.clear();
        }
        Ok(part)
    }

    /// Takes a line in; `false` if it belongs to the next part.
    fn take(&mut self, line: &[u8], now: i64) -> bool {
        match record(line, now) {
            Some((shard, record)) => {
                let records = self.shards.entry(shard).or_default();
                if let Some(there) = records.get(&record.position) {
                    // Of a record that came again after a death; or of another stream.
                    return is_same(there, &record);
                }
                records.insert(record.position.clone(), record);
            }
            None if line.is_empty() => {}
            None => self.unreadable.push(line.to_vec()),
        }
        true
    }

    /// What tells its letters apart from all others.
    pub(super) fn names(&self) -> impl Iterator<Item = Name> {
        let shards = self.shards.iter();
        shards.flat_map(|(shard, records)| records.keys().map(|at| name(shard, at)))
    }

    /// How many letters there are in it.
    pub(super) fn letters(&self) -> usize {
        self.shards.values().map(BTreeMap::len).sum()
    }
}

/// Which record a letter is of: its shard and position.
pub(super) type Name = (String, String);

fn name(shard: &str, position: &Position) -> Name {
    (shard.to_owned(), position.to_string())
}

/// Whether a handler would get the same twice.
fn is_same(one: &Record, other: &Record) -> bool {
    one.partition_key == other.partition_key && one.data == other.data
}

/// How many of these records have a letter where their shards' letters go: `{shard}` in `file` stands for each.
///
/// # Errors
/// A file that is there cannot be read.
pub(super) fn count(file: &Path, of: HashSet<Name>) -> Result<usize> {
    let files: BTreeSet<PathBuf> = of
        .iter()
        .map(|(shard, _)| with_shard(file, shard))
        .collect();
    let (all, mut without) = (of.len(), of);
    for file in files {
        strike(&file, &mut without)?;
    }
    Ok(all - without.len())
}

/// Takes away the records that have a letter in a file, which need not be there.
fn strike(file: &Path, from: &mut HashSet<Name>) -> Result<()> {
    let read = || format!("cannot read '{}'", file.display());
    let mut lines = match File::open(file) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => BufReader::new(opened.with_context(read)?),
    };
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).with_context(read)? > 0 {
        if let Some((shard, record)) = record(line.trim_ascii_end(), 0) {
            from.remove(&name(&shard, &record.position));
        }
        line.clear();
    }
    Ok(())
}

/// The shard and the record of a letter.
fn record(line: &[u8], now: i64) -> Option<(String, Record)> {
    let letter: Letter = serde_json::from_slice(line).ok()?;
    // A payload that is none would end the life of all that is played with it.
    STANDARD.decode(&letter.data_base64).ok()?;
    let position = Position::new(&letter.sequence_number, letter.sub_sequence_number)?;
    let record = Record {
        data: letter.data_base64,
        partition_key: letter.partition_key,
        position,
        arrival: letter.approximate_arrival_timestamp.unwrap_or(now),
    };
    Some((letter.shard_id, record))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(shard: &str, number: u32) -> String {
        format!(
            r#"{{"shardId":"{shard}","sequenceNumber":"{number}","subSequenceNumber":0,"partitionKey":"k","approximateArrivalTimestamp":5,"attempts":1,"outcome":"exit code 1","dataBase64":"aGk="}}"#
        ) + "\n"
    }

    fn numbers(part: &Part, shard: &str) -> Vec<String> {
        let positions = part.shards[shard].keys();
        positions.map(|at| at.sequence_number.clone()).collect()
    }

    #[test]
    fn letters_are_of_their_shard_and_in_its_order() {
        let text = [
            letter("b", 10),
            letter("a", 3),
            letter("b", 9),
            letter("a", 4),
        ]
        .concat();
        let part = Part::read(&mut text.as_bytes(), None, 0).expect("read");
        assert_eq!(part.length, text.len() as u64);
        assert_eq!(
            (numbers(&part, "a"), numbers(&part, "b")),
            (
                vec!["3".to_owned(), "4".to_owned()],
                vec!["9".to_owned(), "10".to_owned()]
            )
        );
        assert_eq!((part.letters(), part.unreadable.len()), (4, 0));
    }

    fn read(text: &str) -> Part {
        Part::read(&mut text.as_bytes(), None, 0).expect("read")
    }

    #[test]
    fn a_part_whose_length_is_known_has_no_more_whatever_was_appended() {
        let (one, other) = (letter("a", 1), letter("a", 2));
        let text = [&*one, &*other].concat();
        let length = Some(one.len() as u64);
        let part = Part::read(&mut text.as_bytes(), length, 0).expect("read");
        assert_eq!((part.letters(), part.length as usize), (1, one.len()));
    }

    #[test]
    fn a_letter_that_comes_again_counts_once() {
        let text = [letter("a", 1), letter("a", 2), letter("a", 1)].concat();
        let part = read(&text);
        assert_eq!((part.letters(), part.length as usize), (2, text.len()));
    }

    #[test]
    fn another_record_with_a_number_that_is_there_begins_another_part() {
        for (old, new) in [("aGk=", "aG8="), (r#""k""#, r#""l""#)] {
            let (one, other) = (letter("a", 1), letter("a", 1).replace(old, new));
            let text = [&*one, &*letter("a", 2), &*other].concat();
            let part = read(&text);
            assert_eq!(part.length as usize, text.len() - other.len());
            let part = read(&text[part.length as usize..]);
            assert_eq!((part.letters(), part.length as usize), (1, other.len()));
        }
    }

    #[test]
    fn a_record_with_two_letters_has_failed_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let text = [letter("a", 1), letter("a", 1), letter("a", 2)].concat();
        std::fs::write(folder.path().join("dead-a"), text).expect("written");
        let of = read(&[letter("a", 1), letter("a", 3), letter("b", 1)].concat());
        let count = |file| count(&folder.path().join(file), of.names().collect()).expect("read");
        assert_eq!(
            (count("dead-{shard}"), count("dead-a"), count("none")),
            (1, 1, 0)
        );
        // Not of a file that is not there, but of none that could be.
        assert!(super::count(&folder.path().join("dead-a/none"), of.names().collect()).is_err());
    }

    #[test]
    fn what_is_no_letter_is_kept_as_it_is() {
        for bad in [
            "{",
            "no JSON",
            r#"{"shardId":"a"}"#,
            r#"{"shardId":"a","sequenceNumber":"x","partitionKey":"k","dataBase64":""}"#,
            r#"{"shardId":"a","sequenceNumber":"1","partitionKey":"k","dataBase64":"?"}"#,
        ] {
            let text = letter("a", 1) + bad + "\n\n" + &letter("a", 2);
            let part = Part::read(&mut text.as_bytes(), None, 0).expect("read");
            assert_eq!(part.unreadable, [bad.as_bytes()]);
            assert_eq!(part.letters(), 2, "{bad}");
        }
    }
}
