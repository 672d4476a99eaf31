//! What goes wrong on purpose, drawn from a seed or as it was recorded.

use std::collections::BTreeSet;

use super::*;
use crate::replay::faults::{Cut, Faults, When};

pub(super) fn faulty(count: usize, faults: &str, seed: u64, rules: Rules) -> Shard {
    let numbers: Vec<String> = (1..=count).map(|n| n.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let faults = Faults::parse(faults).expect(faults);
    shard(&numbers, rules).with(Schedule::new(faults, seed, 0))
}

#[test]
fn a_stolen_lease_is_lost_for_good_and_its_records_come_again() {
    let mut shard = faulty(2, "lease-stolen=0.999", 1, RULES);
    let report = converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0 2.0
         < checkpoint 1
         # injected: ShutdownException
         > ack 1.- ShutdownException
         < checkpoint 2
         # a checkpoint after ShutdownException fails in the same way
         > ack 2.- ShutdownException
         < status processRecords
         > leaseLost
         < status leaseLost
         * close
         ^ exit code 0
         * start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0 2.0
         < checkpoint 2
         > ack 2.- ok",
    );
    assert_eq!(
        (
            report.injected_errors,
            report.interruptions,
            report.redelivered
        ),
        (1, 1, 2)
    );
    assert!(report.faults.is_empty(), "{report:?}");
    assert_eq!((report.notes.len(), report.refused_checkpoints), (1, 1));
    assert_eq!(report.checkpointed, Some(2));
}

#[test]
fn an_answer_that_is_slow_is_waited_for() {
    let mut shard = faulty(1, "slow-ack=1s", 1, RULES);
    converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0
         < checkpoint 1
         * later
         < status processRecords",
    );
    assert_eq!(shard.patience(Some(Duration::from_secs(1))), None);
    shard.begin_reading();
    let steps = shard.due(Due {
        child: 1,
        what: What::Ack,
    });
    let steps: Vec<String> = steps.iter().map(shown).collect();
    assert_eq!(steps.len(), 3, "{steps:?}");
    assert_eq!(steps[0], "> ack 1.- ok");
    assert!(steps[1].contains("cannot know whether that was stored"));
    assert_eq!(steps[2], "> shardEnded");
}

#[test]
fn a_checkpoint_that_kcl_refuses_does_not_get_as_far_as_a_fault() {
    converse(
        &mut faulty(2, "throttle=0.999", 1, RULES),
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0 2.0
         < checkpoint 3
         # after the last delivered record
         > ack 3.- IllegalArgumentException
         < checkpoint 2
         > ack 2.- ThrottlingException",
    );
}

#[test]
fn nothing_of_a_child_is_left_for_the_next_one() {
    let end = Termination {
        cut: Cut::Kill,
        when: When::AtCheckpoint { stored: true },
        cause: Cause::Injected,
    };
    let mut shard = shard(&["1"], RULES);
    shard.start();
    shard.session.pending = Some(end);
    shard.session.held.push_back(b"late".to_vec());
    shard.session.resumes = true;
    shard.session.lost_answer = true;
    let fresh = Session {
        number: 2,
        ..Session::none()
    };
    let following = shard.session.following();
    assert_eq!(format!("{following:?}"), format!("{fresh:?}"));
    shard.begin_reading();
    shard.ended("exit code 1", false);
    shard.start();
    let what = What::Terminate(end);
    assert_eq!(
        shard.due(Due { child: 1, what }),
        [],
        "it was for the first child"
    );
    assert_eq!(shard.due(Due { child: 2, what }).last(), Some(&Step::Kill));
}

/// A recording of one batch that was throttled and then cut off, and of the child that came behind.
fn recorded() -> Shard {
    let lines = [
        r#"{"pid":1,"ms":0,"since":"x","daemon":{"action":"initialize","shardId":"s","sequenceNumber":"4","subSequenceNumber":0}}"#,
        r#"{"pid":1,"ms":1,"child":{"action":"status","responseFor":"initialize"}}"#,
        r#"{"pid":1,"ms":2,"daemon":{"action":"processRecords","records":[{"data":"","partitionKey":"k","sequenceNumber":"5","subSequenceNumber":0}],"millisBehindLatest":0}}"#,
        r#"{"pid":1,"ms":3,"daemon":{"action":"checkpoint","sequenceNumber":"5","subSequenceNumber":0,"error":"ThrottlingException"}}"#,
        r#"{"pid":1,"ms":9,"end":true}"#,
        r#"{"pid":2,"ms":0,"since":"x","daemon":{"action":"initialize","shardId":"s","sequenceNumber":"4","subSequenceNumber":0}}"#,
        r#"{"pid":2,"ms":1,"daemon":{"action":"leaseLost"}}"#,
    ];
    let read = crate::replay::input::recording::read(lines.join("\n").as_bytes());
    Shard::recorded("s".to_owned(), read.expect("a recording").0)
}

const SECOND_CHILD: &str = "* start
                            > initialize 4.0
                            < status initialize
                            > leaseLost
                            < status leaseLost
                            * close
                            ^ exit code 0";

#[test]
fn a_recording_has_its_own_batches_errors_and_ends() {
    let mut shard = recorded();
    converse(
        &mut shard,
        "* start
         > initialize 4.0
         < status initialize
         > processRecords 5.0
         * later
         < checkpoint 5
         > ack 5.- ThrottlingException
         < checkpoint 5
         > ack 5.- ok",
    );
    let what = What::Terminate(Termination {
        cut: Cut::Eof,
        when: When::AtOnce,
        cause: Cause::Recorded,
    });
    let steps = shard.due(Due { child: 1, what });
    assert_eq!(steps.last(), Some(&Step::Close));
    assert_eq!(shard.ended("exit code 0", true), [Step::Start]);
    let report = converse(&mut shard, SECOND_CHILD);
    assert!(report.reached_end && report.faults.is_empty(), "{report:?}");
    assert_eq!((report.delivered, report.injected_errors), (1, 1));
}

#[test]
fn a_child_that_dies_in_a_recording_is_at_fault_and_the_next_one_comes() {
    let mut shard = recorded();
    let script = format!(
        "* start
         > initialize 4.0
         < status initialize
         > processRecords 5.0
         * later
         ^ exit code 1
         # exit code 1 and processRecords unanswered
         {SECOND_CHILD}"
    );
    let report = converse(&mut shard, &script);
    assert!(report.reached_end && report.faults.len() == 1, "{report:?}");
}

/// A child that keeps every rule: it checkpoints behind each batch, and again if that fails.
#[derive(Default)]
pub(super) struct Model {
    pub(super) handled: BTreeSet<String>,
    /// All that was sent and done, in words.
    pub(super) trace: Vec<String>,
    batch: Vec<String>,
    alive: bool,
}

impl Model {
    /// Plays a shard to its end.
    fn play(shard: &mut Shard) -> Model {
        let mut model = Model::default();
        model.work(shard, vec![Step::Start]);
        model
    }

    /// The same with a shard whose records arrive, ten reads a second.
    pub(super) fn play_live(shard: &mut Shard) -> Model {
        let mut model = Model::default();
        model.work(shard, vec![Step::Start]);
        for now in (0..100_000).step_by(100) {
            let steps = shard.fetch(now);
            model.work(shard, steps);
        }
        model
    }

    fn work(&mut self, shard: &mut Shard, steps: Vec<Step>) {
        let mut steps = VecDeque::from(steps);
        while let Some(step) = steps.pop_front() {
            assert!(self.trace.len() < 10_000, "it does not end");
            self.trace.push(shown(&step));
            shard.begin_reading();
            steps.extend(match step {
                Step::Start => {
                    self.alive = true;
                    shard.start()
                }
                Step::Send(line) if self.alive => self.answer(shard, &line),
                Step::Later(_, due) => shard.due(due),
                Step::Close | Step::Kill if std::mem::take(&mut self.alive) => {
                    shard.ended("exit code 0", true)
                }
                Step::Send(_)
                | Step::Close
                | Step::Stop
                | Step::StopNow
                | Step::Kill
                | Step::Say(_) => Vec::new(),
            });
        }
    }

    fn answer(&mut self, shard: &mut Shard, line: &str) -> Vec<Step> {
        let said = brief(line);
        let words: Vec<&str> = said.split(' ').collect();
        let reply = match words[..] {
            ["processRecords", ref records @ ..] => {
                self.batch = records.iter().map(|record| (*record).to_owned()).collect();
                self.batch.retain(|record| !record.is_empty());
                self.handled.extend(self.batch.iter().cloned());
                match self.batch.last() {
                    Some(last) => format!("checkpoint {last}"),
                    None => "status processRecords".to_owned(),
                }
            }
            ["ack", "-.-", "ok" | "ShutdownException"] => "status shardEnded".to_owned(),
            ["ack", "-.-", "InvalidStateException"] => {
                self.alive = false;
                return shard.ended("exit code 70", false);
            }
            [
                "ack",
                _,
                "ok" | "ShutdownException" | "InvalidStateException",
            ] => "status processRecords".to_owned(),
            ["ack", "-.-", _] | ["shardEnded"] => "checkpoint".to_owned(),
            ["ack", at, _] => format!("checkpoint {at}"),
            [action, ..] => format!("status {action}"),
            [] => unreachable!("a message has words"),
        };
        shard.take(written(&reply).as_bytes())
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let trace = |seed| Model::play(&mut faulty(40, "all", seed, RULES)).trace;
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}

#[test]
fn every_shard_reaches_its_end_with_every_record_whatever_befalls_it() {
    let rules = Rules {
        restarts: 0,
        ..RULES
    };
    for seed in 0..100 {
        let mut shard = faulty(40, "all", seed, rules);
        let model = Model::play(&mut shard);
        let report = shard.report();
        assert!(
            report.reached_end && report.faults.is_empty(),
            "seed {seed}: {report:?}\n{:#?}",
            model.trace
        );
        assert_eq!(model.handled.len(), 40, "seed {seed}: {:#?}", model.trace);
    }
}

#[test]
fn empty_batches_do_not_hold_a_shard_up() {
    let mut shard = faulty(4, "empty=1", 3, RULES);
    let trace = Model::play(&mut shard).trace;
    let empty = trace.iter().filter(|sent| *sent == "> processRecords ");
    assert_eq!((empty.count(), shard.report().reached_end), (3, true));
}

#[test]
fn children_are_ended_at_most_once_for_each_step_forward() {
    let rules = Rules {
        restarts: 0,
        ..RULES
    };
    let mut shard = faulty(20, "kill=1", 3, rules);
    Model::play(&mut shard);
    let report = shard.report();
    assert!(report.reached_end, "{report:?}");
    assert!((10..=12).contains(&report.interruptions), "{report:?}");
}
