//! The handler of the daemon tests: writes down what it is given, and takes orders from partition
//! keys. Compiled by the harness with `rustc`; it is no part of the test binary.
//!
//! usage: `handler record|batch|shard DIRECTORY`
//!
//! Every record it takes up becomes an entry of `DIRECTORY/journal`, which `harness/journal.rs`
//! reads: a line with the lengths of two parts, then the parts, in one write. The first holds
//! `NAME=VALUE` strings, each ended by a NUL: OUTCOME, PID, PARENT and the whole `KCLPIPE_*`
//! environment. The second is what came on stdin: the payload, or for `batch` and `shard` the JSON
//! line.
//!
//! A partition key that starts with one of these words is an order; any other record is just done:
//! - `poison`: fail for as long as `DIRECTORY/cure` does not exist
//! - `hold`: note it as held, then wait for `DIRECTORY/release`
//! - `slow`: note it as held, then take twelve seconds
//! - `checkpoint`: done, and ask for a checkpoint

use std::env;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, Read, Write};
use std::os::unix::process::parent_id;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::thread;
use std::time::{Duration, Instant};

/// What a slow record takes: longer than the lease lives without being renewed.
const SLOW: Duration = Duration::from_secs(12);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [way, directory] = arguments.as_slice() else {
        panic!("usage: handler record|batch|shard DIRECTORY")
    };
    let handler = Handler {
        directory: directory.into(),
        parent: parent_id(),
    };
    match way.as_str() {
        "record" => handler.one_record(),
        "batch" => handler.lines(Way::Batch),
        "shard" => handler.lines(Way::Shard),
        _ => panic!("'{way}' is not record, batch or shard"),
    }
}

/// How lines are answered.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Batch,
    Shard,
}

/// What became of a record.
#[derive(Clone, Copy, PartialEq)]
enum Outcome {
    Done,
    Checkpoint,
    Failed,
}

struct Handler {
    directory: PathBuf,
    parent: u32,
}

impl Handler {
    /// Handles the one record that is on stdin; its partition key is in the environment.
    fn one_record(&self) -> ExitCode {
        let mut payload = Vec::new();
        io::stdin()
            .read_to_end(&mut payload)
            .expect("stdin can be read");
        match self.handle(
            &env::var("KCLPIPE_PARTITION_KEY").unwrap_or_default(),
            &payload,
        ) {
            Outcome::Done => ExitCode::SUCCESS,
            Outcome::Checkpoint => answer("checkpoint"),
            Outcome::Failed => ExitCode::FAILURE,
        }
    }

    /// Handles JSON lines up to the end of input, answering each.
    fn lines(&self, way: Way) -> ExitCode {
        for line in io::stdin().lock().split(b'\n') {
            let line = line.expect("stdin can be read");
            let text = String::from_utf8_lossy(&line);
            let number = between(&text, "{\"n\":", ",");
            let outcome = self.handle(between(&text, "\"partitionKey\":\"", "\""), &line);
            match (way, outcome) {
                (Way::Batch, Outcome::Failed) => return ExitCode::FAILURE,
                (Way::Batch, Outcome::Done) => answer(&format!("upto {number}")),
                (Way::Shard, Outcome::Failed) => answer(&format!("fail {number}")),
                (Way::Shard, Outcome::Done) => answer(&format!("ok {number}")),
                (_, Outcome::Checkpoint) => answer(&format!("checkpoint {number}")),
            };
        }
        ExitCode::SUCCESS
    }

    /// Carries out the order of a record and notes it, before the answer: what was answered is in
    /// the journal.
    fn handle(&self, key: &str, input: &[u8]) -> Outcome {
        if key.starts_with("hold") {
            self.note("held", input);
            self.wait_for_release();
        } else if key.starts_with("slow") {
            self.note("held", input);
            self.take(SLOW);
        }
        let failed = key.starts_with("poison") && !self.directory.join("cure").exists();
        self.note(if failed { "failed" } else { "done" }, input);
        if failed {
            Outcome::Failed
        } else if key.starts_with("checkpoint") {
            Outcome::Checkpoint
        } else {
            Outcome::Done
        }
    }

    fn wait_for_release(&self) {
        while !self.directory.join("release").exists() {
            self.pause();
        }
    }

    fn take(&self, time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {
            self.pause();
        }
    }

    /// Ends the process when kclpipe is gone: a handler must not outlive the test that holds it.
    fn pause(&self) {
        if parent_id() != self.parent {
            process::exit(1);
        }
        thread::sleep(Duration::from_millis(20));
    }

    /// Appends an entry, in one write because handlers of several shards share the journal.
    fn note(&self, outcome: &str, input: &[u8]) {
        let mut about = format!(
            "OUTCOME={outcome}\0PID={}\0PARENT={}\0",
            process::id(),
            self.parent
        );
        for (name, value) in env::vars().filter(|(name, _)| name.starts_with("KCLPIPE_")) {
            write!(about, "{name}={value}\0").expect("a string takes everything");
        }
        let mut entry = format!("{} {}\n{about}", about.len(), input.len()).into_bytes();
        entry.extend_from_slice(input);
        let journal = self.directory.join("journal");
        let mut journal = File::options()
            .append(true)
            .create(true)
            .open(journal)
            .expect("the journal can be opened");
        journal
            .write_all(&entry)
            .expect("the journal can be written");
    }
}

/// Prints an answer with the token that kclpipe asks for.
fn answer(words: &str) -> ExitCode {
    let token = env::var("KCLPIPE_TOKEN").expect("KCLPIPE_TOKEN is set");
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{token} {words}")
        .and_then(|()| stdout.flush())
        .expect("stdout can be written");
    ExitCode::SUCCESS
}

/// The text after `before`, up to `after`.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = text.split_once(before).unwrap_or_default();
    rest.split_once(after).unwrap_or_default().0
}
