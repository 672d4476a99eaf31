//! The bare bridge: the floor of whatever carries records. It reads the daemon's line, parses it with
//! borrowed serde, decodes, frames, writes to the handler and counts its answers. It has no ledger, no
//! timers and no policies, and it blocks wherever it can.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

/// How much is read and written at a time.
const CHUNK: usize = 64 * 1024;

/// What its handlers begin their answers with.
const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[derive(Deserialize)]
struct Line<'a> {
    action: &'a str,
    #[serde(borrow, default)]
    records: Vec<Record<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    data: &'a str,
    partition_key: &'a str,
    sequence_number: &'a str,
    approximate_arrival_timestamp: i64,
    sub_sequence_number: u64,
}

/// A record in `jsonl`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    n: u64,
    shard_id: &'a str,
    sequence_number: &'a str,
    sub_sequence_number: u64,
    partition_key: &'a str,
    approximate_arrival_timestamp: i64,
    attempt: u32,
    last: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<&'a str>,
}

/// A handler that lives on.
struct Handler {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    given: u64,
}

/// Plays a child of the daemon until its input ends. `way` is `stream` (one handler that answers in
/// groups), `step` (one handler that answers each record) or `batch` (a handler for each batch).
pub(crate) fn run(way: &str, format: &str, handler: &[String]) -> Result<()> {
    let mut daemon = BufReader::with_capacity(CHUNK, io::stdin().lock());
    let mut line = Vec::new();
    let mut living = None;
    loop {
        line.clear();
        if daemon.read_until(b'\n', &mut line)? == 0 {
            return living.map_or(Ok(()), Handler::end);
        }
        let message: Line<'_> = serde_json::from_slice(&line)?;
        if !message.records.is_empty() {
            let mut to = match living.take() {
                Some(handler) => handler,
                None => Handler::start(handler)?,
            };
            match way {
                "stream" => to.stream(&message.records, format)?,
                "step" => to.step(&message.records, format)?,
                "batch" => to.write(&message.records, format)?,
                _ => bail!("no such way: {way}"),
            }
            if way == "batch" {
                to.end()?;
            } else {
                living = Some(to);
            }
        }
        let action = message.action;
        let status = format!("\n{{\"action\":\"status\",\"responseFor\":\"{action}\"}}\n");
        let mut out = io::stdout().lock();
        out.write_all(status.as_bytes())?;
        out.flush()?;
    }
}

impl Handler {
    fn start(command: &[String]) -> Result<Handler> {
        let (program, arguments) = command.split_first().context("no handler")?;
        let mut child = Command::new(program)
            .args(arguments)
            .env("KCLPIPE_TOKEN", TOKEN)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take().context("the handler has no stdin")?;
        let output = child.stdout.take().context("the handler has no stdout")?;
        Ok(Handler {
            child,
            input,
            output: BufReader::with_capacity(CHUNK, output),
            given: 0,
        })
    }

    /// Writes all, then reads answers up to the last record's.
    fn stream(&mut self, records: &[Record<'_>], format: &str) -> Result<()> {
        self.write(records, format)?;
        let mut answer = String::new();
        let mut through = 0;
        while through < self.given {
            answer.clear();
            self.output.read_line(&mut answer)?;
            let (_, number) = answer.trim_end().rsplit_once(' ').context("no number")?;
            through = number.parse()?;
        }
        Ok(())
    }

    /// Writes a record, reads its answer, and so on.
    fn step(&mut self, records: &[Record<'_>], format: &str) -> Result<()> {
        let (mut out, mut answer) = (Vec::new(), Vec::new());
        for record in records {
            out.clear();
            self.frame(record, format, &mut out)?;
            self.input.write_all(&out)?;
            answer.clear();
            let read = self.output.read_until(b'\n', &mut answer)?;
            ensure!(read > 0, "no answer");
        }
        Ok(())
    }

    fn write(&mut self, records: &[Record<'_>], format: &str) -> Result<()> {
        let mut out = Vec::with_capacity(2 * CHUNK);
        for record in records {
            self.frame(record, format, &mut out)?;
            if out.len() >= CHUNK {
                self.input.write_all(&out)?;
                out.clear();
            }
        }
        Ok(self.input.write_all(&out)?)
    }

    fn frame(&mut self, record: &Record<'_>, format: &str, out: &mut Vec<u8>) -> Result<()> {
        self.given += 1;
        let mut payload = Vec::new();
        match format {
            "lines" => STANDARD.decode_vec(record.data, out)?,
            "jsonl" => {
                STANDARD.decode_vec(record.data, &mut payload)?;
                let text = std::str::from_utf8(&payload)?;
                serde_json::to_writer(&mut *out, &self.object(record, Some(text), None))?;
            }
            "base64" => {
                let object = self.object(record, None, Some(record.data));
                serde_json::to_writer(&mut *out, &object)?;
            }
            _ => bail!("no such format: {format}"),
        }
        out.push(b'\n');
        Ok(())
    }

    fn object<'a>(
        &self,
        record: &'a Record<'_>,
        data: Option<&'a str>,
        data_base64: Option<&'a str>,
    ) -> Object<'a> {
        Object {
            n: self.given,
            shard_id: "shardId-000000000000",
            sequence_number: record.sequence_number,
            sub_sequence_number: record.sub_sequence_number,
            partition_key: record.partition_key,
            approximate_arrival_timestamp: record.approximate_arrival_timestamp,
            attempt: 1,
            last: false,
            data,
            data_base64,
        }
    }

    fn end(mut self) -> Result<()> {
        drop(self.input);
        ensure!(self.child.wait()?.success(), "the handler failed");
        Ok(())
    }
}

/// A handler that answers `upto` for each full group of so many lines on its stdin.
pub(crate) fn answer_in_groups(group: u64) -> Result<()> {
    let token = std::env::var("KCLPIPE_TOKEN")?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    let mut chunk = vec![0; 4 * CHUNK];
    let (mut lines, mut answered) = (0, 0);
    loop {
        let read = input.read(&mut chunk)?;
        if read == 0 {
            return Ok(());
        }
        lines += memchr::memchr_iter(b'\n', &chunk[..read]).count() as u64;
        let mut answers = String::new();
        while lines - answered >= group {
            answered += group;
            answers += &format!("{token} upto {answered}\n");
        }
        output.write_all(answers.as_bytes())?;
        output.flush()?;
    }
}
