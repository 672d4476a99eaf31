//! Functions of AWS Lambda's with the runtime clients that AWS makes, each by `kclpipe lambda`: what becomes of each
//! record, whatever the function does. What the functions do is in `functions/README.md`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Application, Record, cases, installed};

const KCLPIPE: &str = env!("CARGO_BIN_EXE_kclpipe");

/// A function, by its runtime client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Client {
    Python,
    Powertools,
    Node,
    Rust,
}

impl Client {
    /// What follows `kclpipe lambda`, with the variables that it needs.
    fn command(self) -> (Vec<String>, Vec<(&'static str, PathBuf)>) {
        let python = |handler: &str| {
            let words = ["python3", "-m", "awslambdaric", handler];
            let paths = ("PYTHONPATH", installed("awslambdaric-4.2.2"));
            (words.map(str::to_owned).to_vec(), vec![paths])
        };
        match self {
            Client::Python => python("app.handler"),
            Client::Powertools => python("batch.handler"),
            Client::Node => {
                let client = installed("aws-lambda-ric-4.0.2").join("node_modules/.bin");
                let client = client.join("aws-lambda-ric").display().to_string();
                (vec![client, "index.handler".to_owned()], Vec::new())
            }
            Client::Rust => {
                let bootstrap = installed("rust-function").join("bootstrap");
                (vec![bootstrap.display().to_string()], Vec::new())
            }
        }
    }
}

/// A directory in which a function runs.
struct Place {
    directory: TempDir,
    client: Client,
}

impl Place {
    /// A copy of the functions.
    fn new(client: Client) -> Place {
        let directory = TempDir::with_prefix_in("function-", env!("CARGO_TARGET_TMPDIR"));
        let directory = directory.expect("a directory can be made");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/functions");
        for name in ["app.py", "batch.py", "index.js"] {
            fs::copy(sources.join(name), directory.path().join(name)).expect("copied");
        }
        Place { directory, client }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Plays these records, with options of replay and of kclpipe.
    fn replay(&self, records: &[String], replay: &str, options: &str) -> Output {
        fs::write(self.path("records"), records.join("\n") + "\n").expect("written");
        let (function, variables) = self.client.command();
        Command::new(KCLPIPE)
            .arg("replay")
            .args(replay.split_whitespace())
            .args(["records", "--", KCLPIPE])
            .args("--per shard --format lambda --retry-delay 10ms".split(' '))
            .args(options.split_whitespace())
            .args(["--", KCLPIPE, "lambda", "--timeout", "2s", "--"])
            .args(function)
            .env("JOURNAL", self.path("journal"))
            .envs(variables)
            .current_dir(self.directory.path())
            .output()
            .expect("kclpipe starts")
    }

    /// What the function has done, each with the number of the process that did it.
    fn journal(&self) -> Vec<(String, String)> {
        let text = fs::read_to_string(self.path("journal")).unwrap_or_default();
        let line = |line: &str| {
            let (process, text) = line.split_once(' ').expect("a line of the journal");
            (process.to_owned(), text.to_owned())
        };
        text.lines().map(line).collect()
    }

    fn done(&self) -> BTreeSet<String> {
        self.journal().into_iter().map(|(_, text)| text).collect()
    }

    /// The payloads of the dead letters.
    fn letters(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.path("letters")).unwrap_or_default();
        let payload = |line: &str| {
            let letter: Value = serde_json::from_str(line).expect("a letter");
            let data = STANDARD.decode(letter["dataBase64"].as_str().expect("data"));
            String::from_utf8(data.expect("base64")).expect("text")
        };
        text.lines().map(payload).collect()
    }
}

fn assert_kept(output: &Output) {
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{log}");
}

fn words(texts: impl IntoIterator<Item = impl Into<String>>) -> BTreeSet<String> {
    texts.into_iter().map(Into::into).collect()
}

fn numbered(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("record {number}"))
        .collect()
}

/// Each record that cannot be handled ends in a letter of its own, and no other does.
fn what_becomes_of_each_record(client: Client) {
    let place = Place::new(client);
    let bad = ["partial", "raise", "exit", "hang"].map(str::to_owned);
    let good = numbered(16);
    let mut records = good.clone();
    for (at, bad) in bad.iter().enumerate() {
        records.insert(at * 4 + 1, bad.clone());
    }
    let options =
        "--batch-size 4 --max-attempts 2 --max-consecutive-failures 0 --dead-letter letters";
    let output = place.replay(&records, "", options);
    assert_kept(&output);
    assert_eq!(place.letters(), words(bad));
    assert_eq!(place.done(), words(good));
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(log.contains("did not answer its event within 2s"), "{log}");
    assert!(
        log.contains("ended while it had an event (exit code 0)"),
        "{log}"
    );
}

/// An event of more than six million bytes, and a reply of as many.
fn large_events_and_replies_pass(client: Client) {
    let place = Place::new(client);
    let records = [format!("large 6000000 {}", "x".repeat(4_700_000))];
    assert_kept(&place.replay(&records, "", ""));
    assert_eq!(place.done(), words(records));
}

/// Whatever the daemon does.
fn nothing_is_lost(client: Client) {
    let place = Place::new(client);
    let records = numbered(500);
    for seed in 1..=3 {
        let replay = format!("--inject all --seed {seed}");
        assert_kept(&place.replay(&records, &replay, "--batch-size 20"));
        assert_eq!(place.done(), words(records.clone()), "seed {seed}");
        fs::remove_file(place.path("journal")).expect("there is one");
    }
}

fn two_run_at_a_time(client: Client) {
    let place = Place::new(client);
    let records = numbered(200);
    assert_kept(&place.replay(&records, "", "--jobs 2 --batch-size 10"));
    let processes: BTreeSet<String> = place.journal().into_iter().map(|(by, _)| by).collect();
    assert_eq!(processes.len(), 2);
    assert_eq!(place.done(), words(records));
}

/// Makes a test of a scenario for each client.
macro_rules! clients {
    ($($scenario:ident: $($name:ident $client:ident)+;)+) => {$(
        mod $scenario {$(
            #[test]
            #[ignore = "needs tests/daemon/setup, Python and Node"]
            fn $name() {
                super::$scenario(super::Client::$client);
            }
        )+}
    )+};
}

clients! {
    what_becomes_of_each_record: python Python powertools Powertools node Node rust Rust;
    large_events_and_replies_pass: python Python node Node rust Rust;
    nothing_is_lost: python Python powertools Powertools node Node rust Rust;
    two_run_at_a_time: python Python powertools Powertools node Node rust Rust;
}

#[test]
#[ignore = "needs tests/daemon/setup, Java, Node and Python"]
fn a_function_runs_under_the_daemon() {
    let place = Place::new(Client::Python);
    let application = Application::new(cases::kcl3_per_shard(), "");
    let (function, variables) = place.client.command();
    let environment: Vec<String> = variables
        .iter()
        .map(|(name, value)| format!("{name}={}", value.display()))
        .collect();
    let handler = format!(
        "--per shard --format lambda --batch-size 100 --checkpoint-batch --log-file kclpipe.log --chdir {}\n\
         -- env JOURNAL={} {} {KCLPIPE} lambda -- {}\n",
        place.directory.path().display(),
        place.path("journal").display(),
        environment.join(" "),
        function.join(" ")
    );
    fs::write(application.directory().join("handler.args"), handler).expect("written");
    let records: Vec<Record> = Record::many(50);
    let sent = application.put_on_both(&records);
    let daemon = application.start();
    daemon.until("both checkpoints", || {
        sent.iter().all(|of_shard| {
            let last = of_shard.last().expect("a record");
            application.is_checkpointed(last)
        })
    });
    assert_eq!(place.journal().len(), 100);
}
