//! Plays the daemon: starts a child, writes its lines, answers its checkpoints.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::measure::{self, End, command};
use crate::older;
use crate::peak::Peak;

/// A child of the daemon, and our ends of its pipes: kclpipe or what it is measured against. It is killed
/// if it was not led to its end.
pub(crate) struct Daemon {
    child: Child,
    /// Closed once the child is to end.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

/// What the child says.
pub(crate) struct Reply(Value);

impl Reply {
    /// Whether it asks for a checkpoint, for which it is owed an answer.
    pub(crate) fn is_checkpoint(&self) -> bool {
        self.0["action"] == "checkpoint"
    }
}

impl Daemon {
    /// Starts kclpipe with these options and this handler.
    pub(crate) fn start(options: &[&str], handler: &[&str]) -> Result<Daemon> {
        let mut kclpipe = command(older::program());
        kclpipe.args(options).arg("--").args(handler);
        Daemon::play(kclpipe)
    }

    /// Starts any other child.
    pub(crate) fn play(command: Command) -> Result<Daemon> {
        let mut child = measure::start(command)?;
        let output = child.stdout.take().context("the child has no stdout")?;
        Ok(Daemon {
            input: child.stdin.take(),
            output: BufReader::new(output),
            child,
        })
    }

    /// Writes one message; a line end is put behind it.
    pub(crate) fn say(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("the child's input is closed")?;
        input.write_all(line.as_bytes())?;
        Ok(input.write_all(b"\n")?)
    }

    /// Reads the next message.
    pub(crate) fn hear(&mut self) -> Result<Reply> {
        let mut line = String::new();
        while line.trim().is_empty() {
            line.clear();
            let read = self.output.read_line(&mut line)?;
            ensure!(read > 0, "the child closed its output");
        }
        let reply =
            serde_json::from_str(&line).with_context(|| format!("the child said {line}"))?;
        Ok(Reply(reply))
    }

    /// Says `line`, answers every checkpoint, and returns once the status is there.
    pub(crate) fn process(&mut self, line: &str) -> Result<()> {
        self.say(line)?;
        loop {
            let Reply(mut reply) = self.hear()?;
            if reply["action"] == "status" {
                return Ok(());
            }
            ensure!(reply["action"] == "checkpoint", "the child said {reply}");
            reply["error"] = Value::Null;
            self.say(&reply.to_string())?;
        }
    }

    /// Begins a lease.
    pub(crate) fn initialize(&mut self) -> Result<()> {
        self.process(
            r#"{"action":"initialize","shardId":"shardId-000000000000","sequenceNumber":"TRIM_HORIZON","subSequenceNumber":0}"#,
        )
    }

    /// Ends the lease, and the child with it.
    pub(crate) fn lose_lease(mut self) -> Result<End> {
        self.process(r#"{"action":"leaseLost"}"#)?;
        self.close()
    }

    /// Ends the shard, which waits until all is done, and with it the child's work.
    pub(crate) fn end_shard(&mut self) -> Result<()> {
        self.process(r#"{"action":"shardEnded"}"#)
    }

    /// Ends the child's input and waits for its exit.
    pub(crate) fn close(mut self) -> Result<End> {
        self.input = None;
        let end = measure::end_of(&mut self.child)?;
        ensure!(end.status.success(), "the child ended with {}", end.status);
        Ok(end)
    }

    /// The CPU time of the child alone so far, in seconds.
    pub(crate) fn own_cpu(&self) -> Result<f64> {
        measure::own_cpu(self.child.id())
    }

    /// Looks from now on how much memory it has.
    pub(crate) fn watch_memory(&self) -> Peak {
        Peak::watch(self.child.id())
    }

    /// A figure of `/proc/PID/status`, in bytes.
    pub(crate) fn memory(&self, name: &str) -> Result<u64> {
        measure::memory(self.child.id(), name)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A `processRecords` line with as many records of this payload.
pub(crate) fn batch(records: usize, payload: &[u8]) -> String {
    batch_of_keys(records, payload, 100)
}

/// The same, with so many partition keys in turn.
pub(crate) fn batch_of_keys(records: usize, payload: &[u8], keys: usize) -> String {
    Reads::new(records, payload).keys(keys).line(0)
}

/// Reads of so many records each, all with the same payload.
pub(crate) struct Reads {
    records: usize,
    data: String,
    keys: usize,
}

impl Reads {
    /// With a hundred keys.
    pub(crate) fn new(records: usize, payload: &[u8]) -> Reads {
        Reads {
            records,
            data: STANDARD.encode(payload),
            keys: 100,
        }
    }

    /// The same, with so many partition keys in turn.
    pub(crate) fn keys(self, keys: usize) -> Reads {
        Reads { keys, ..self }
    }

    /// The `processRecords` line of this one.
    pub(crate) fn line(&self, read: usize) -> String {
        let first = read * self.records;
        let records: Vec<Value> = (first..first + self.records)
            .map(|number| record(number, number % self.keys, &self.data))
            .collect();
        json!({"action": "processRecords", "millisBehindLatest": 0, "records": records}).to_string()
    }
}

/// A record as the daemon writes it.
fn record(number: usize, key: usize, data: &str) -> Value {
    json!({
        "action": "record",
        "data": data,
        "partitionKey": format!("key-{key}"),
        "sequenceNumber": format!("4959033827149025660855969253836157109592157598{number:010}"),
        "approximateArrivalTimestamp": 1_545_084_650_987_u64,
        "subSequenceNumber": 0,
    })
}
