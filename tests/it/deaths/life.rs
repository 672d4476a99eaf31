//! One kclpipe under a daemon that is played, and the ends of its pipes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::harness::children_of;

/// How long anything may take. Only a failure ever waits this long.
const DEADLINE: Duration = Duration::from_secs(60);

/// What comes of waiting for kclpipe.
pub(crate) enum Heard {
    /// It asks for a checkpoint there, or for the end of the shard.
    Checkpoint(Option<(u64, u64)>),
    /// It has answered the open action.
    Status,
    /// It closed its output.
    Closed,
    /// The time is over.
    Nothing,
}

/// A running kclpipe.
pub(crate) struct Life {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What both sides said, for a failure.
    transcript: Vec<String>,
    log: PathBuf,
    /// This many of the shard's records were delivered.
    pub(crate) delivered: usize,
    /// It has answered an action, so it knows what to do at a signal.
    pub(crate) is_up: bool,
    /// An action awaits its answer.
    pub(crate) is_open: bool,
    /// The open action is the daemon's last.
    pub(crate) is_leaving: bool,
    /// The daemon was asked to end.
    pub(crate) is_asked_to_end: bool,
    /// The next action is not sent before.
    pub(crate) rests_until: Instant,
}

impl Life {
    /// Starts kclpipe in this folder.
    pub(crate) fn start(folder: &Path, arguments: &[String], delivered: usize) -> Life {
        let log = folder.join("log");
        let stderr = File::options().append(true).create(true).open(&log);
        let mut child = Command::new(env!("CARGO_BIN_EXE_kclpipe"))
            .args(arguments)
            .current_dir(folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr.expect("a log"))
            .spawn()
            .expect("kclpipe starts");
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        thread::spawn(move || pass_on(stdout, &sender));
        Life {
            input: child.stdin.take(),
            child,
            lines,
            transcript: Vec::new(),
            log,
            delivered,
            is_up: false,
            is_open: false,
            is_leaving: false,
            is_asked_to_end: false,
            rests_until: Instant::now(),
        }
    }

    /// Writes a message. That nobody reads it is found out when nothing is heard.
    pub(crate) fn say(&mut self, message: &Value) {
        let text = message.to_string();
        self.note('>', &text);
        if let Some(input) = &mut self.input {
            let _ = writeln!(input, "{text}");
        }
    }

    /// Sends an action, which awaits its answer then.
    pub(crate) fn open(&mut self, action: &Value) {
        self.is_open = true;
        self.say(action);
    }

    /// Says that a checkpoint is stored.
    pub(crate) fn acknowledge(&mut self) {
        self.say(&json!({"action": "checkpoint", "sequenceNumber": null, "subSequenceNumber": null, "error": null}));
    }

    /// The next thing that it says, until then.
    pub(crate) fn hear(&mut self, until: Option<Instant>) -> Heard {
        let give_up_at = Instant::now() + DEADLINE;
        let wait = until
            .unwrap_or(give_up_at)
            .saturating_duration_since(Instant::now());
        match self.lines.recv_timeout(wait) {
            Ok(line) => self.understand(&line),
            Err(RecvTimeoutError::Disconnected) => Heard::Closed,
            Err(RecvTimeoutError::Timeout) if until.is_some() => Heard::Nothing,
            Err(RecvTimeoutError::Timeout) => self.fail("kclpipe says nothing"),
        }
    }

    fn understand(&mut self, line: &str) -> Heard {
        self.note('<', line);
        let message: Value = serde_json::from_str(line).expect("JSON");
        match message["action"].as_str() {
            Some("status") => {
                (self.is_open, self.is_up) = (false, true);
                Heard::Status
            }
            Some("checkpoint") => Heard::Checkpoint(position(&message)),
            _ => self.fail("kclpipe breaks the protocol"),
        }
    }

    /// Its handlers that run.
    pub(crate) fn handlers(&self) -> Vec<Pid> {
        children_of(self.child.id())
    }

    /// Sends kclpipe a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it is not reaped");
    }

    /// Closes its input, as the end of the daemon does, and waits for its end, which must be a good one.
    pub(crate) fn close(&mut self) {
        self.input = None;
        while let Heard::Checkpoint(_) | Heard::Status = self.hear(None) {}
        if !self.child.wait().expect("a child").success() {
            self.fail("kclpipe fails");
        }
    }

    /// Fails with all that is known.
    pub(crate) fn fail(&self, why: &str) -> ! {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        panic!(
            "{why}\n--- conversation\n{}\n--- log\n{log}",
            self.transcript.join("\n")
        )
    }

    fn note(&mut self, side: char, text: &str) {
        let start: String = text.chars().take(200).collect();
        self.transcript.push(format!("{side} {start}"));
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn position(message: &Value) -> Option<(u64, u64)> {
    let sequence_number = message["sequenceNumber"].as_str()?.parse();
    let sub_sequence_number = message["subSequenceNumber"].as_u64();
    sequence_number.ok().zip(sub_sequence_number)
}

/// Passes lines on that are not blank, until nobody takes them.
fn pass_on(output: impl BufRead, to: &Sender<String>) {
    let lines = output.lines().map_while(Result::ok);
    for line in lines.filter(|line| !line.is_empty()) {
        if to.send(line).is_err() {
            return;
        }
    }
}
