//! A shard whose lease outlives its kclpipes: plays the daemon to one after another, each from the stored
//! checkpoint on, and lets them and their handlers die on the way.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kclpipe::testing::replay::Rng;
use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::life::{Heard, Life};
use crate::harness::write_script;

/// The most records of one read.
const READ: usize = 60;

/// The longest time between two reads.
const PAUSE: Duration = Duration::from_millis(10);

/// How likely the shard ends with a read at its tip, so that there are some of these.
const END: f64 = 0.02;

/// What dies, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// Its handlers are killed.
    Handlers,
    /// Its handlers are asked to end.
    HandlersAsked,
    /// kclpipe is killed.
    Kclpipe,
    /// The handlers are killed, and then kclpipe.
    Both,
    /// The daemon dies, and its pipes are closed.
    Daemon,
    /// All are asked to end: the daemon asks for a shutdown.
    Shutdown,
}

impl Death {
    fn spares_kclpipe(self) -> bool {
        matches!(self, Death::Handlers | Death::HandlersAsked)
    }
}

/// A record. Its payload is its number, from 1.
pub(crate) struct Record {
    pub(crate) sequence_number: u64,
    pub(crate) sub_sequence_number: u64,
    pub(crate) partition_key: String,
    pub(crate) arrival: Option<i64>,
}

/// The shard, with a folder in which its kclpipes and handlers work.
pub(crate) struct Lease {
    folder: TempDir,
    arguments: Vec<String>,
    pub(crate) records: Vec<Record>,
    /// How many records there are up to a position.
    places: HashMap<(u64, u64), usize>,
    /// This many of the records are checkpointed.
    stored: usize,
    /// `SHARD_END` is stored.
    pub(crate) has_ended: bool,
    pub(crate) rng: Rng,
    /// Looks at each checkpoint, which covers this many records.
    judge: fn(&Lease, usize),
}

/// How a part of a conversation ended.
enum Part {
    /// The time was over.
    Over,
    /// The daemon's last action was answered.
    Answered,
}

impl Lease {
    /// A shard with these records; kclpipe has these arguments, and this script is `./handler`.
    pub(crate) fn new(records: Vec<Record>, arguments: &str, script: &str, seed: u64) -> Lease {
        let folder = tempfile::tempdir().expect("a folder");
        write_script(&folder.path().join("handler"), script);
        let at = |record: &Record| (record.sequence_number, record.sub_sequence_number);
        Lease {
            folder,
            arguments: arguments.split_whitespace().map(str::to_owned).collect(),
            places: records.iter().map(at).zip(1..).collect(),
            records,
            stored: 0,
            has_ended: false,
            rng: Rng::new(seed, 0),
            judge: |_, _| (),
        }
    }

    /// The same, with a look at each checkpoint.
    pub(crate) fn judged_by(self, judge: fn(&Lease, usize)) -> Lease {
        Lease { judge, ..self }
    }

    /// A place in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is in a file; nothing if it is missing.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A life of kclpipe with these deaths, each this long after what was before it; how many of them hit
    /// something.
    pub(crate) fn live(&mut self, deaths: &[(Duration, Death)]) -> usize {
        let mut life = self.begin();
        let mut hits = 0;
        for (after, death) in deaths {
            if let Part::Answered = self.talk(&mut life, Some(Instant::now() + *after)) {
                life.close();
                return hits;
            }
            hits += usize::from(self.die(&mut life, *death));
            if !death.spares_kclpipe() {
                break;
            }
        }
        hits
    }

    /// A life that nothing disturbs.
    pub(crate) fn live_on(&mut self) {
        let mut life = self.begin();
        self.talk(&mut life, None);
        life.close();
        assert!(self.has_ended);
    }

    fn begin(&self) -> Life {
        let mut life = Life::start(self.folder.path(), &self.arguments, self.stored);
        let last = self.stored.checked_sub(1).map(|last| &self.records[last]);
        let sequence_number = last.map_or("TRIM_HORIZON".to_owned(), |last| {
            last.sequence_number.to_string()
        });
        life.open(&json!({
            "action": "initialize",
            "shardId": "shardId-0",
            "sequenceNumber": sequence_number,
            "subSequenceNumber": last.map_or(0, |last| last.sub_sequence_number),
        }));
        life
    }

    /// Goes on with the conversation until its end, or until then.
    fn talk(&mut self, life: &mut Life, until: Option<Instant>) -> Part {
        loop {
            if !life.is_open {
                if life.is_leaving {
                    return Part::Answered;
                }
                if is_over_before_read(life, until) {
                    return Part::Over;
                }
                let action = self.next_action(life);
                life.open(&action);
            }
            match life.hear(until) {
                Heard::Checkpoint(at) => self.store(life, at),
                Heard::Status => life.rests_until = Instant::now() + self.rng.up_to(PAUSE),
                Heard::Closed => life.fail("kclpipe ends by itself"),
                Heard::Nothing => return Part::Over,
            }
        }
    }

    /// The next read, perhaps an empty one, or the end of the shard when all was read.
    fn next_action(&mut self, life: &mut Life) -> Value {
        let left = self.records.len() - life.delivered;
        let shard_ends = left == 0 && self.rng.hits(END);
        life.is_leaving = life.is_asked_to_end || shard_ends;
        if life.is_asked_to_end {
            return json!({"action": "shutdownRequested"});
        }
        if shard_ends {
            return json!({"action": "shardEnded"});
        }
        let count = self.rng.from_one_to(READ).min(left);
        let read = &self.records[life.delivered..life.delivered + count];
        let read: Vec<Value> = (life.delivered + 1..).zip(read).map(message).collect();
        life.delivered += count;
        // Never at the tip: then the clock would close windows whose records arrived long ago.
        json!({"action": "processRecords", "millisBehindLatest": 7, "records": read})
    }

    fn store(&mut self, life: &mut Life, at: Option<(u64, u64)>) {
        let through = at.map_or(self.records.len(), |at| self.places[&at]);
        (self.judge)(self, through);
        if through < self.stored {
            life.fail("a checkpoint goes back");
        }
        self.stored = through;
        self.has_ended |= at.is_none();
        life.acknowledge();
    }

    /// Whether that hit something.
    fn die(&mut self, life: &mut Life, death: Death) -> bool {
        match death {
            Death::Handlers => return signal_handlers(life, Signal::KILL),
            Death::HandlersAsked => return signal_handlers(life, Signal::TERM),
            Death::Kclpipe => life.signal(Signal::KILL),
            Death::Both => {
                signal_handlers(life, Signal::KILL);
                life.signal(Signal::KILL);
            }
            Death::Daemon => life.close(),
            Death::Shutdown => self.shut_down(life),
        }
        true
    }

    /// The daemon and kclpipe are asked to end, as a service manager does.
    fn shut_down(&mut self, life: &mut Life) {
        if life.is_up {
            life.signal(Signal::TERM);
        }
        life.is_asked_to_end = true;
        self.talk(life, None);
        life.close();
    }
}

/// Waits until the daemon reads again; whether `until` comes first.
fn is_over_before_read(life: &Life, until: Option<Instant>) -> bool {
    let wake = until.map_or(life.rests_until, |until| until.min(life.rests_until));
    thread::sleep(wake.saturating_duration_since(Instant::now()));
    wake < life.rests_until
}

/// Whether there is any.
fn signal_handlers(life: &Life, signal: Signal) -> bool {
    let handlers = life.handlers();
    for handler in &handlers {
        // It may have ended meanwhile.
        let _ = kill_process(*handler, signal);
    }
    !handlers.is_empty()
}

fn message((number, record): (usize, &Record)) -> Value {
    json!({
        "action": "record",
        "data": BASE64_STANDARD.encode(number.to_string()),
        "partitionKey": record.partition_key,
        "sequenceNumber": record.sequence_number.to_string(),
        "subSequenceNumber": record.sub_sequence_number,
        "approximateArrivalTimestamp": record.arrival,
    })
}
