//! Writes a capture, in a thread of its own: a disk that is slow, full or gone is no trouble of the bridge.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::OFlags;
use rustix::io::ioctl_fionbio;
use serde_json::value::RawValue;

use super::{Batch, CapturedRecord, Line};
use crate::append_line::before_line;
use crate::clean;
use crate::protocol::{Message, Tap};
use crate::random::Names;

/// The most that may wait for the disk.
const WAITING: usize = 64 * 1024 * 1024;

/// How long the disk may take at the end.
const AT_END: Duration = Duration::from_secs(1);

/// Where a capture goes, and what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct To {
    /// It is appended to this file; `{shard}` stands for the shard.
    pub file: PathBuf,
    /// Whether payloads and partition keys are in it.
    pub data: bool,
}

/// The bridge's end of a capture.
pub(crate) struct Capture {
    /// `None` once the capture has stopped.
    entries: Option<Sender<Entry>>,
    waiting: Arc<AtomicUsize>,
    over: Receiver<()>,
    since: Instant,
}

/// Something that happened, and when.
struct Entry {
    at: Duration,
    what: What,
}

enum What {
    Heard(String),
    Said(String),
    Ended,
}

impl Capture {
    /// Starts the capture.
    ///
    /// # Errors
    /// The system has no more threads.
    pub(crate) fn start(to: To) -> io::Result<Capture> {
        let (entries, received) = channel();
        let (done, over) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let taken = Arc::clone(&waiting);
        thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || {
                let file = to.file.display().to_string();
                if let Err(e) = Writing::new(to).write(&received, &taken) {
                    log::error!("cannot write the capture '{file}': {e}; capturing stops here");
                }
                drop(done);
            })?;
        Ok(Capture {
            entries: Some(entries),
            waiting,
            over,
            since: Instant::now(),
        })
    }

    fn put(&mut self, size: usize, what: What) {
        let Some(entries) = &self.entries else {
            return;
        };
        let waiting = self.waiting.fetch_add(size, Ordering::Relaxed);
        if waiting > 0 && waiting + size > WAITING {
            log::error!("the disk is too slow for the capture; capturing stops here");
            self.entries = None;
            return;
        }
        let at = self.since.elapsed();
        if entries.send(Entry { at, what }).is_err() {
            self.entries = None;
        }
    }
}

impl Tap for Capture {
    fn heard(&mut self, line: &str) {
        self.put(line.len(), What::Heard(line.to_owned()));
    }

    fn said(&mut self, line: &str) {
        self.put(line.len(), What::Said(line.to_owned()));
    }

    fn ended(&mut self) {
        self.put(0, What::Ended);
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.entries = None;
        let _ = self.over.recv_timeout(AT_END);
    }
}

/// The disk's end of a capture.
struct Writing {
    to: To,
    file: Option<File>,
    /// Gives partition keys names that cannot be turned back, not even by trying.
    names: Names,
}

impl Writing {
    fn new(to: To) -> Writing {
        Writing {
            to,
            file: None,
            names: Names::default(),
        }
    }

    fn write(&mut self, entries: &Receiver<Entry>, waiting: &AtomicUsize) -> io::Result<()> {
        for Entry { at, what } in entries {
            let size = match &what {
                What::Heard(line) | What::Said(line) => line.len(),
                What::Ended => 0,
            };
            self.write_entry(at, &what)?;
            waiting.fetch_sub(size, Ordering::Relaxed);
        }
        Ok(())
    }

    fn write_entry(&mut self, at: Duration, what: &What) -> io::Result<()> {
        let mut line = Line {
            pid: std::process::id(),
            ms: at.as_millis() as u64,
            since: None,
            daemon: None,
            child: None,
            end: false,
        };
        let heard;
        match what {
            What::Heard(text) => {
                let Ok(message) = Message::parse(text) else {
                    return Ok(());
                };
                if let Message::Initialize { shard_id, .. } = &message {
                    line.since = Some(began(at));
                    self.file = Some(self.open(shard_id)?);
                }
                heard = self.daemons(text, message)?;
                line.daemon = Some(&heard);
            }
            What::Said(text) => line.child = Some(serde_json::from_str(text)?),
            What::Ended => line.end = true,
        }
        // Before the first lease there is no shard, and so no file to write into.
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let mut bytes = serde_json::to_vec(&line)?;
        bytes.push(b'\n');
        file.write_all(&bytes)
    }

    /// The daemon's message as it is captured.
    fn daemons(&self, text: &str, message: Message<'_>) -> io::Result<Box<RawValue>> {
        let Message::ProcessRecords {
            records,
            millis_behind_latest,
        } = message
        else {
            return Ok(RawValue::from_string(text.trim().to_owned())?);
        };
        if self.to.data {
            return Ok(RawValue::from_string(text.trim().to_owned())?);
        }
        let records = records.into_iter().map(|record| {
            let name = format!("key-{:016x}", self.names.name(&record.partition_key));
            CapturedRecord::without_data(record, name)
        });
        let batch = Batch {
            records: records.collect(),
            millis_behind_latest,
        };
        Ok(serde_json::value::to_raw_value(&batch)?)
    }

    /// Opens the file for a shard, to be read by nobody else, and behind a line that was torn starts anew.
    fn open(&self, shard_id: &str) -> io::Result<File> {
        let path = clean::with_shard(&self.to.file, shard_id);
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(path)?;
        // A pipe that nobody reads is an error above; one that is read slowly is written slowly.
        ioctl_fionbio(&file, false)?;
        file.write_all(before_line(&file)?)?;
        Ok(file)
    }
}

/// When the capture began of which `at` has passed by now.
fn began(at: Duration) -> String {
    let began = SystemTime::now().checked_sub(at);
    humantime::format_rfc3339_millis(began.unwrap_or_else(SystemTime::now)).to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const INITIALIZE: &str = r#"{"action":"initialize","shardId":"shardId-7","sequenceNumber":"TRIM_HORIZON","subSequenceNumber":0}"#;
    const BATCH: &str = r#"{"action":"processRecords","records":[{"data":"c2VjcmV0","partitionKey":"mine","sequenceNumber":"1","approximateArrivalTimestamp":5,"subSequenceNumber":0,"action":"record"}],"millisBehindLatest":3}"#;
    const STATUS: &str = r#"{"action":"status","responseFor":"initialize"}"#;

    /// What is in the file after a short conversation.
    fn captured(data: bool, before: &str) -> (String, u32) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("{shard}.jsonl");
        let path = folder.path().join("shardId-7.jsonl");
        if !before.is_empty() {
            std::fs::write(&path, before).expect("written");
        }
        let mut recorder = Capture::start(To { file, data }).expect("a thread");
        recorder.heard(INITIALIZE);
        recorder.said(STATUS);
        recorder.heard(BATCH);
        recorder.ended();
        drop(recorder);
        let mode = path.metadata().expect("it is there").permissions().mode();
        (std::fs::read_to_string(path).expect("text"), mode & 0o777)
    }

    #[test]
    fn both_directions_and_the_end_are_lines() {
        let (text, mode) = captured(true, "");
        let lines: Vec<Line<'_>> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect();
        assert_eq!((lines.len(), mode), (4, 0o600));
        let daemon = |at: usize| lines[at].daemon.map(RawValue::get);
        assert_eq!(daemon(0), Some(INITIALIZE));
        assert!(lines[0].since.is_some() && lines[1].since.is_none());
        assert_eq!(lines[1].child.map(RawValue::get), Some(STATUS));
        assert_eq!(daemon(2), Some(BATCH));
        assert!(lines[3].end && lines.is_sorted_by_key(|line| line.ms));
    }

    #[test]
    fn without_a_request_no_payload_and_no_key_is_in_it() {
        let (text, _) = captured(false, "");
        assert!(
            !text.contains("c2VjcmV0") && !text.contains("mine"),
            "{text}"
        );
        assert!(
            text.contains("\"dataBytes\":6") && text.contains("key-"),
            "{text}"
        );
    }

    #[test]
    fn a_torn_line_is_ended_first() {
        let (text, _) = captured(false, "{\"pid\":1,");
        assert!(text.starts_with("{\"pid\":1,\n{\"pid\":"), "{text}");
    }

    #[test]
    fn a_disk_that_takes_nothing_is_no_trouble() {
        let to = To {
            file: "/dev/full".into(),
            data: true,
        };
        let mut recorder = Capture::start(to).expect("a thread");
        recorder.heard(INITIALIZE);
        for _ in 0..100 {
            recorder.heard(BATCH);
        }
    }

    #[test]
    fn what_waits_for_the_disk_is_bounded() {
        let (entries, received) = channel();
        let (_, over) = channel();
        let mut recorder = Capture {
            entries: Some(entries),
            waiting: Arc::default(),
            over,
            since: Instant::now(),
        };
        let megabyte = "x".repeat(1 << 20);
        for _ in 0..100 {
            recorder.heard(&megabyte);
        }
        assert!(recorder.entries.is_none());
        assert_eq!(received.iter().count(), WAITING >> 20);
    }
}
