//! A handler pool with real handlers and no daemon: what handlers are given, and what comes of their answers.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kclpipe::testing::backoff::Delays;
use kclpipe::testing::clock::SystemClock;
use kclpipe::testing::format::Format;
use kclpipe::testing::handler::Limits;
use kclpipe::testing::handler::{
    Event, Finish, First, HandlerProcesses, Handlers, OnFailure, Per, Pool, Read, Settings,
};
use kclpipe::testing::outcome::OnExit;
use kclpipe::testing::process::{Command, Processes, Stop};
use kclpipe::testing::protocol::Message;
use kclpipe::testing::record::{Batch, Layout};
use rustix::process::Signal;
use tempfile::TempDir;

use crate::harness::write_script;

/// Longer than any of this takes on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(30);

/// One way of handing records over, with a handler.
pub(crate) struct Play {
    folder: TempDir,
    pub(crate) settings: Settings,
    batches: u32,
}

/// What came of a play.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The events, shortened: `done N` for the run's end, `checkpoint N`, `halted`.
    pub(crate) events: Vec<String>,
    /// What the handlers wrote to the file `log`.
    pub(crate) log: Vec<String>,
    /// The payloads of the dead letters.
    pub(crate) letters: Vec<String>,
    /// The outcomes that the dead letters tell.
    pub(crate) outcomes: Vec<String>,
}

impl Play {
    /// Handlers run this script; `$LOG` in it is the name of the log file.
    pub(crate) fn new(per: Per, script: &str) -> Play {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("handler");
        let log = folder.path().join("log");
        let script = script.replace("$LOG", &log.display().to_string());
        write_script(&program, &script);
        let settings = Settings {
            command: Command {
                program: program.into(),
                ..Command::default()
            },
            per,
            format: if per == Per::Record {
                Format::Raw
            } else {
                Format::Lines
            },
            decompress: None,
            filter: None,
            jobs: 1,
            host_jobs: None,
            rate: None,
            on_exit: OnExit::default(),
            limits: Limits {
                max_attempts: Some(2),
                max_age: None,
                max_consecutive_failures: 10,
            },
            delays: Delays {
                first: Duration::from_millis(2),
                longest: Duration::from_millis(10),
                jitter: true,
            },
            on_failure: OnFailure::DeadLetter(folder.path().join("letters")),
            timeout: None,
            stop: Stop {
                signal: Signal::TERM,
                timeout: Duration::from_secs(10),
            },
            hook: None,
            read_ahead: 0,
            window: None,
            spool_dir: None,
            stream: None,
            application: None,
            placeholders: None,
        };
        Play {
            folder,
            settings,
            batches: 0,
        }
    }

    /// Changes the settings.
    pub(crate) fn with(mut self, edit: impl FnOnce(&mut Settings)) -> Play {
        edit(&mut self.settings);
        self
    }

    /// Dead letters go to this script, and what it prints is taken for them.
    pub(crate) fn with_letters_to(mut self, script: &str) -> Play {
        let script = format!("exec >>letters; {script}");
        self.settings.on_failure = OnFailure::DeadLetterCommand(Command {
            program: "sh".into(),
            arguments: ["-c", &script].map(Into::into).into(),
            directory: Some(self.folder.path().into()),
        });
        self
    }

    /// Gives each of these texts, a word a record, as one batch to the pool, and ends the lease. A record
    /// `key:payload` has that key.
    pub(crate) fn run(mut self, batches: &[&str]) -> Outcome {
        let processes = Processes::new(None, false).expect("a poll loop");
        let mut processes = HandlerProcesses::new(processes);
        let mut pool = Pool::new(self.settings.clone(), &mut processes, &SystemClock);
        pool.begin("shardId-7").expect("the handler");
        let mut events = Vec::new();
        let give_up_at = Instant::now() + PATIENCE;
        'batches: for records in batches {
            let batch = self.batch(records);
            let mut left = batch.len() as u64;
            pool.offer(Read {
                batch,
                first: First::WithOthers,
                fresh: true,
            });
            while left > 0 {
                match next(&mut pool, give_up_at) {
                    Event::Done { end, records, .. } => {
                        left -= records;
                        events.push(format!("done {}", end.sequence_number));
                    }
                    Event::CheckpointRequested(at) => {
                        events.push(format!("checkpoint {}", at.sequence_number))
                    }
                    Event::Halted(_) => {
                        events.push("halted".into());
                        break 'batches;
                    }
                    other @ (Event::Input
                    | Event::Signal(_)
                    | Event::Finished
                    | Event::Hooked
                    | Event::Blocked
                    | Event::Room
                    | Event::Deadline) => panic!("{other:?} in the middle of a batch"),
                }
            }
        }
        pool.finish(Finish::Orderly);
        while next(&mut pool, give_up_at) != Event::Finished {}
        drop(pool);
        Outcome {
            events,
            log: self.lines("log"),
            letters: self.payloads(),
            outcomes: self.letters("outcome"),
        }
    }

    /// Sequence numbers go on from batch to batch, from 1.
    fn batch(&mut self, records: &str) -> Batch {
        let records: Vec<String> = records
            .split_whitespace()
            .map(|word| self.record(word))
            .collect();
        let line = format!(
            r#"{{"action":"processRecords","records":[{}],"millisBehindLatest":5}}"#,
            records.join(",")
        );
        let Message::ProcessRecords {
            records,
            millis_behind_latest,
        } = Message::parse(&line).expect("a message")
        else {
            panic!("no batch")
        };
        let layout = Layout::find(&line, &records).expect("records");
        Batch::new(line.clone(), layout, millis_behind_latest)
    }

    fn record(&mut self, word: &str) -> String {
        use base64::Engine;
        self.batches += 1;
        let (key, payload) = word.split_once(':').unwrap_or(("k", word));
        let payload = payload.replace("\\n", "\n");
        let data = base64::engine::general_purpose::STANDARD.encode(payload);
        format!(
            r#"{{"data":"{data}","partitionKey":"{key}","sequenceNumber":"{}","approximateArrivalTimestamp":1000,"subSequenceNumber":0}}"#,
            self.batches
        )
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read(self.file(name)).unwrap_or_default();
        String::from_utf8_lossy(&text)
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// What this field of the dead letters holds.
    fn letters(&self, field: &str) -> Vec<String> {
        let letter = |line: &String| {
            let letter: serde_json::Value = serde_json::from_str(line).expect("a letter is JSON");
            letter[field].as_str().expect("a text").to_owned()
        };
        self.lines("letters").iter().map(letter).collect()
    }

    fn payloads(&self) -> Vec<String> {
        use base64::Engine;
        let payload = |data: String| {
            let payload = base64::engine::general_purpose::STANDARD
                .decode(data)
                .expect("base64");
            String::from_utf8(payload).expect("text")
        };
        self.letters("dataBase64")
            .into_iter()
            .map(payload)
            .collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The next event. Attempts that never end well are no event, so they end a play, too.
fn next(pool: &mut Pool<'_>, give_up_at: Instant) -> Event {
    loop {
        let event = pool
            .wait(false, Some(give_up_at))
            .expect("the system works");
        assert_ne!(event, Event::Deadline, "nothing comes of it");
        if !matches!(event, Event::Blocked | Event::Room) {
            return event;
        }
    }
}

/// A whole batch in one run.
pub(crate) const BATCH: Per = Per::Batch {
    size: None,
    bytes: None,
};

/// One handler for the lease, in lock-step.
pub(crate) const SHARD: Per = Per::Shard {
    inflight: 1,
    plain: false,
    max_records: None,
};

/// One handler for the lease, with up to so many records unanswered.
pub(crate) fn window(inflight: usize) -> Per {
    Per::Shard {
        inflight,
        plain: false,
        max_records: None,
    }
}
