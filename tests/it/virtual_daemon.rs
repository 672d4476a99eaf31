//! Replay's side of a shard as the daemon of a child in the same thread, in virtual time: all from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kclpipe::testing::protocol::{Message, WireRecord};
use kclpipe::testing::record::Position;
use kclpipe::testing::replay::{
    Due, Ending, Faults, LeasePosition, Record, Rng, Rules, Schedule, Shard, Step, make_hostile,
};

/// How often the daemon reads, in milliseconds.
const READS: u64 = 200;

/// What may happen at a time.
enum Event {
    /// The daemon reads its stream.
    Read,
    /// The daemon has something to do that it put off.
    Due(Due),
    /// The child of this number has written this.
    Line(u32, String),
}

/// A life of a shard, and a child that does its work slowly and keeps every rule.
struct Life {
    shard: Shard,
    now: u64,
    /// In the order of their times, and of their making.
    events: BTreeMap<(u64, u64), Event>,
    made: u64,
    rng: Rng,
    child: u32,
    alive: bool,
    /// What the child has to do behind its checkpoint.
    status: String,
    handled: BTreeSet<String>,
    trace: Vec<String>,
    answered: u64,
    /// Empty reads that were made before the child's last answer, and after it.
    stale: usize,
    fresh: usize,
}

/// Thirty records, some of them in aggregates and with arrival times that go back, over about ten seconds.
fn records(faults: &Faults, seed: u64) -> Vec<Record> {
    let record = |number: i64| Record {
        data: "aGk=".to_owned(),
        partition_key: format!("key-{}", number % 4),
        position: Position::new(&number.to_string(), 0).expect("digits"),
        arrival: number * 350,
    };
    let mut records: Vec<Record> = (1..=30).map(record).collect();
    make_hostile(&mut records, faults, seed, 0);
    records
}

fn live(seed: u64, ending: Ending) -> Life {
    let faults = Faults::parse("all,late-batch,idle=300ms,slow-ack=2s").expect("sound");
    let rules = Rules {
        batch_size: 4,
        ending,
        restarts: 0,
        quiet: Duration::ZERO,
    };
    let shard = Shard::live("shardId-0".to_owned(), records(&faults, seed), rules, true);
    let mut life = Life {
        shard: shard.with(Schedule::new(faults, seed, 0)),
        now: 0,
        events: BTreeMap::new(),
        made: 0,
        rng: Rng::new(seed, 99),
        child: 0,
        alive: false,
        status: String::new(),
        handled: BTreeSet::new(),
        trace: Vec::new(),
        answered: 0,
        stale: 0,
        fresh: 0,
    };
    life.later(0, Event::Read);
    life
}

impl Life {
    fn run(mut self) -> Life {
        self.perform(vec![Step::Start]);
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            assert!(at < 3_600_000, "it does not end: {:#?}", self.trace);
            let steps = self.happen(event);
            self.perform(steps);
        }
        self
    }

    fn later(&mut self, wait: u64, event: Event) {
        self.made += 1;
        self.events.insert((self.now + wait, self.made), event);
    }

    fn happen(&mut self, event: Event) -> Vec<Step> {
        match event {
            Event::Read if self.shard.report().reached_end => Vec::new(),
            Event::Read => {
                self.later(READS, Event::Read);
                self.shard.fetch(self.now as i64)
            }
            Event::Due(due) => self.shard.due(due),
            Event::Line(child, line) if self.alive && child == self.child => {
                self.answered = self.now;
                self.shard.begin_reading();
                self.shard.take(line.as_bytes())
            }
            Event::Line(..) => Vec::new(),
        }
    }

    fn perform(&mut self, steps: Vec<Step>) {
        for step in steps {
            self.trace.push(format!("{} {step:?}", self.now));
            let more = match step {
                Step::Start => {
                    (self.child, self.alive) = (self.child + 1, true);
                    self.shard.start()
                }
                Step::Send(line) => {
                    self.hear(&line);
                    Vec::new()
                }
                Step::Later(wait, due) => {
                    self.later(wait.as_millis() as u64, Event::Due(due));
                    Vec::new()
                }
                Step::Close | Step::Stop | Step::StopNow | Step::Kill => {
                    self.alive = false;
                    self.shard.ended("exit code 0", true)
                }
                Step::Say(_) => Vec::new(),
            };
            self.perform(more);
        }
    }

    /// The child does these records; returns the checkpoint behind the last of them.
    fn handle(&mut self, records: &[WireRecord<'_>]) -> Option<String> {
        for record in records {
            let sub = record.sub_sequence_number.unwrap_or(0);
            self.handled
                .insert(format!("{}.{sub}", &*record.sequence_number));
        }
        let Some(last) = records.last() else {
            let is_stale = self.now < self.answered + 100;
            self.stale += usize::from(is_stale);
            self.fresh += usize::from(!is_stale);
            return None;
        };
        Some(format!(
            r#"{{"action":"checkpoint","sequenceNumber":"{}","subSequenceNumber":{}}}"#,
            &*last.sequence_number,
            last.sub_sequence_number.unwrap_or(0)
        ))
    }

    /// The child has read a line, and answers it after a while.
    fn hear(&mut self, line: &str) {
        let message = Message::parse(line.trim_end()).expect(line);
        let status = format!(
            r#"{{"action":"status","responseFor":"{}"}}"#,
            message.action()
        );
        let reply = match &message {
            Message::ProcessRecords { records, .. } => {
                self.status = status.clone();
                self.handle(records).unwrap_or(status)
            }
            Message::ShardEnded => {
                self.status = status;
                r#"{"action":"checkpoint"}"#.to_owned()
            }
            Message::Checkpoint { error, .. } => match error.as_deref() {
                None | Some("ShutdownException") => self.status.clone(),
                // The child gives up, as it may; the daemon starts it again.
                Some("InvalidStateException") => {
                    self.alive = false;
                    let steps = self.shard.ended("exit code 70", false);
                    return self.perform(steps);
                }
                Some(_) => line.split(r#","error""#).next().expect("a part").to_owned() + "}",
            },
            Message::Initialize { .. }
            | Message::LeaseLost
            | Message::ShutdownRequested
            | Message::Shutdown { .. } => status,
        };
        let work = self.rng.up_to(Duration::from_secs(1)).as_millis() as u64;
        self.later(work, Event::Line(self.child, reply));
    }
}

#[test]
fn a_life_is_one_seeds_and_takes_no_time() {
    let trace = |seed| live(seed, Ending::ShardEnd).run().trace;
    assert_eq!(trace(11), trace(11));
    assert_ne!(trace(11), trace(12));
}

#[test]
fn every_life_ends_with_every_record_and_meets_what_kcl_has_in_store() {
    let (mut stale, mut fresh, mut again, mut errors) = (0, 0, 0, 0);
    for seed in 0..60 {
        let ending = [Ending::ShardEnd, Ending::Graceful, Ending::LeaseLost][seed as usize % 3];
        let life = live(seed, ending).run();
        let report = life.shard.report();
        assert!(
            report.reached_end && report.faults.is_empty(),
            "seed {seed}: {report:?}\n{:#?}",
            life.trace
        );
        assert_eq!(life.handled.len(), 30, "seed {seed}: {:#?}", life.trace);
        let is_end = *life.shard.lease() == LeasePosition::ShardEnd;
        assert_eq!(is_end, ending == Ending::ShardEnd, "seed {seed}");
        stale += life.stale;
        fresh += life.fresh;
        again += report.redelivered;
        errors += report.injected_errors;
    }
    let seen = [stale, fresh, again, errors];
    assert!(seen.iter().all(|number| *number > 30), "{seen:?}");
}
