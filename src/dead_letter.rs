//! Dead letters: records that were given up, one JSON line each, kept before a checkpoint passes them.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use crate::record::Record;

/// One dead letter; the names are those of the `jsonl` format.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter<'a> {
    shard_id: &'a str,
    sequence_number: &'a str,
    sub_sequence_number: u64,
    partition_key: &'a str,
    approximate_arrival_timestamp: Option<i64>,
    millis_behind_latest: Option<i64>,
    attempts: u32,
    outcome: &'a str,
    stderr: &'a str,
    data_base64: &'a str,
}

/// What led to a dead letter.
#[derive(Clone, Copy, Debug)]
pub struct Cause<'a> {
    /// How often the record was handed over.
    pub attempts: u32,
    /// How the last attempt ended, in words.
    pub outcome: &'a str,
    /// The last that the handler wrote on stderr.
    pub stderr: &'a str,
}

impl<'a> DeadLetter<'a> {
    /// The letter for `record`.
    pub fn new(
        shard_id: &'a str,
        record: &Record<'a>,
        millis_behind_latest: Option<i64>,
        cause: Cause<'a>,
    ) -> DeadLetter<'a> {
        DeadLetter {
            shard_id,
            sequence_number: record.sequence_number,
            sub_sequence_number: record.sub_sequence_number,
            partition_key: record.partition_key,
            approximate_arrival_timestamp: record.approximate_arrival_timestamp,
            millis_behind_latest,
            attempts: cause.attempts,
            outcome: cause.outcome,
            stderr: cause.stderr,
            data_base64: record.data_base64,
        }
    }

    /// The letter as a line, with its line feed.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("a letter is plain data");
        line.push(b'\n');
        line
    }
}

/// Appends `letter` to `file` and has it on disk when this returns.
///
/// Many kclpipes may share a file: the lock keeps a line whole, and a line that cannot be written whole,
/// as on a full disk, is cut off again.
///
/// # Errors
/// The file cannot be opened, locked, written or synced. Nothing of the letter is in it then.
pub fn append(file: &Path, letter: &DeadLetter<'_>) -> Result<()> {
    write_whole(file, &letter.to_line())
        .with_context(|| format!("cannot write the dead-letter file '{}'", file.display()))
}

fn write_whole(path: &Path, line: &[u8]) -> Result<()> {
    let is_new = !path.exists();
    let mut file = OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .open(path)?;
    flock(&file, FlockOperation::LockExclusive)?;
    let length = file.metadata()?.len();
    let before: &[u8] = if is_torn(&file, length) { b"\n" } else { b"" };
    let written = file
        .write_all(&[before, line].concat())
        .and_then(|()| file.sync_data());
    if written.is_err() {
        // Under the lock nobody else has written behind us.
        file.set_len(length)?;
    }
    written?;
    if is_new {
        sync_directory(path)?;
    }
    Ok(())
}

/// Whether the file ends within a line: a machine went down while it was written.
fn is_torn(file: &File, length: u64) -> bool {
    let mut last = [b'\n'];
    length > 0 && file.read_exact_at(&mut last, length - 1).is_ok() && last != *b"\n"
}

/// Makes the name of a new file last: without this a crash may lose the file with all its letters.
fn sync_directory(path: &Path) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    File::open(directory)?.sync_all()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record<'_> = Record {
        data_base64: "aGk=",
        partition_key: "k",
        sequence_number: "4959",
        sub_sequence_number: 1,
        approximate_arrival_timestamp: Some(5),
    };

    fn letter(stderr: &str) -> DeadLetter<'_> {
        DeadLetter::new(
            "shardId-0",
            &RECORD,
            Some(7),
            Cause {
                attempts: 3,
                outcome: "exit code 1",
                stderr,
            },
        )
    }

    #[test]
    fn a_letter_is_one_line_with_the_names_of_jsonl() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("letters");
        append(&file, &letter("one\ntwo")).expect("written");
        append(&file, &letter("")).expect("written");
        let text = std::fs::read_to_string(&file).expect("the file");
        let first = r#"{"shardId":"shardId-0","sequenceNumber":"4959","subSequenceNumber":1,"partitionKey":"k","approximateArrivalTimestamp":5,"millisBehindLatest":7,"attempts":3,"outcome":"exit code 1","stderr":"one\ntwo","dataBase64":"aGk="}"#;
        assert_eq!(text.lines().next(), Some(first));
        assert_eq!(text.lines().count(), 2);
    }

    #[test]
    fn a_letter_does_not_stick_to_one_that_was_torn_by_a_crash() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("letters");
        std::fs::write(&file, "{\"torn\":").expect("written");
        append(&file, &letter("")).expect("written");
        let text = std::fs::read_to_string(&file).expect("the file");
        assert!(text.starts_with("{\"torn\":\n{\"shardId\""), "{text}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let error = format!(
            "{:#}",
            append(Path::new("/no/such/folder/letters"), &letter("")).expect_err("no folder")
        );
        assert!(error.contains("'/no/such/folder/letters'"), "{error}");
    }

    /// `/dev/full` takes no byte, as a full disk.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_full_disk_is_an_error() {
        assert!(append(Path::new("/dev/full"), &letter("")).is_err());
    }
}
