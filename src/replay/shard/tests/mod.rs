//! Conversations, written down. `>` is what the daemon sends, `<` what the child writes, `# ` what is
//! reported to the user (a part of it), `*` what else the daemon does, `^` how the child ends, `@` when it reads.

mod faults;
mod traps;

use std::collections::VecDeque;

use super::waiting::AFTER_LOST_ANSWER;
use super::*;
use crate::protocol::Message;
use crate::record::Position;

const RULES: Rules = Rules {
    batch_size: 2,
    ending: Ending::ShardEnd,
    restarts: 1,
    quiet: Duration::ZERO,
};

fn records(numbers: &[&str]) -> Vec<Record> {
    let record = |number: &&str| {
        let (number, sub) = number.split_once('.').unwrap_or((number, "0"));
        Record {
            data: "aGk=".to_owned(),
            partition_key: "k".to_owned(),
            position: Position::new(number, sub.parse().expect("digits")).expect("digits"),
            arrival: 7,
        }
    };
    numbers.iter().map(record).collect()
}

fn shard(numbers: &[&str], rules: Rules) -> Shard {
    Shard::new("shardId-0".to_owned(), records(numbers), rules)
}

/// A message in few words.
fn brief(line: &str) -> String {
    let message = Message::parse(line.trim_end()).expect(line);
    let action = message.action();
    let numbers = |number: Option<&str>, sub: Option<u64>| {
        format!(
            "{}.{}",
            number.unwrap_or("-"),
            sub.map_or("-".to_owned(), |sub| sub.to_string())
        )
    };
    match &message {
        Message::Initialize {
            sequence_number,
            sub_sequence_number,
            ..
        } => format!(
            "{action} {}",
            numbers(sequence_number.as_deref(), *sub_sequence_number)
        ),
        Message::ProcessRecords { records, .. } => {
            let number = |record: &crate::protocol::WireRecord<'_>| {
                numbers(Some(&record.sequence_number), record.sub_sequence_number)
            };
            let all: Vec<String> = records.iter().map(number).collect();
            format!("{action} {}", all.join(" "))
        }
        Message::Checkpoint {
            sequence_number,
            sub_sequence_number,
            error,
        } => format!(
            "ack {} {}",
            numbers(sequence_number.as_deref(), *sub_sequence_number),
            error.as_deref().unwrap_or("ok")
        ),
        Message::LeaseLost
        | Message::ShardEnded
        | Message::ShutdownRequested
        | Message::Shutdown { .. } => action.to_owned(),
    }
}

fn shown(step: &Step) -> String {
    match step {
        Step::Start => "* start".to_owned(),
        Step::Send(line) => format!("> {}", brief(line)),
        Step::Close => "* close".to_owned(),
        Step::Stop => "* stop".to_owned(),
        Step::StopNow => "* stop now".to_owned(),
        Step::Kill => "* kill".to_owned(),
        Step::Later(..) => "* later".to_owned(),
        Step::Say(text) => format!("# {text}"),
    }
}

/// `status X`, `checkpoint`, `checkpoint N`, `checkpoint N.S`, or a line as it is.
fn written(brief: &str) -> String {
    match brief.split_once(' ').unwrap_or((brief, "")) {
        ("status", action) => format!(r#"{{"action":"status","responseFor":"{action}"}}"#),
        ("checkpoint", "") => r#"{"action":"checkpoint"}"#.to_owned(),
        ("checkpoint", at) => match at.split_once('.') {
            None => format!(r#"{{"action":"checkpoint","sequenceNumber":"{at}"}}"#),
            Some((number, sub)) => format!(
                r#"{{"action":"checkpoint","sequenceNumber":"{number}","subSequenceNumber":{sub}}}"#
            ),
        },
        _ => brief.to_owned(),
    }
}

/// Plays the child's lines of `script`, and compares what the daemon does with the rest of it.
fn converse(shard: &mut Shard, script: &str) -> ShardReport {
    play(shard, script, VecDeque::from([Step::Start]))
}

/// The same with a child that is there.
fn converse_on(shard: &mut Shard, script: &str) -> ShardReport {
    play(shard, script, VecDeque::new())
}

fn play(shard: &mut Shard, script: &str, mut done: VecDeque<Step>) -> ShardReport {
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (kind, text) = line.split_at(2.min(line.len()));
        let input = match kind.trim() {
            "<" => {
                shard.begin_reading();
                shard.take(written(text).as_bytes())
            }
            // Written together with the line before, so before the daemon's answer to that.
            "+" => shard.take(written(text).as_bytes()),
            "^" => shard.ended(text, text == "exit code 0"),
            "@" => shard.fetch(text.parse().expect("milliseconds")),
            "~" => shard.silent(Duration::from_secs(9)),
            _ => {
                let step = done
                    .pop_front()
                    .unwrap_or_else(|| panic!("nothing more, but not '{line}'"));
                let shown = shown(&step);
                let same = match kind.trim() {
                    "#" => shown.starts_with('#') && shown.contains(text),
                    _ => shown.trim_end() == line,
                };
                assert!(same, "'{shown}' instead of '{line}'");
                if step == Step::Start {
                    done.extend(shard.start());
                }
                continue;
            }
        };
        assert!(done.is_empty(), "before '{line}': {done:?}");
        done.extend(input);
    }
    assert!(done.is_empty(), "{done:?}");
    shard.report()
}

#[test]
fn a_shard_is_read_to_its_end() {
    let mut shard = shard(&["1", "2", "3"], RULES);
    let report = converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0 2.0
         < checkpoint 1
         > ack 1.- ok
         < status processRecords
         > processRecords 3.0
         < status processRecords
         > shardEnded
         < checkpoint
         > ack -.- ok
         < status shardEnded
         * close
         ^ exit code 0",
    );
    assert_eq!(
        (report.delivered, report.redelivered, report.checkpoints),
        (3, 0, 2)
    );
    assert_eq!(report.sequence_number, "SHARD_END");
    assert!(report.reached_end && report.faults.is_empty(), "{report:?}");
    assert_eq!(shard.progress(), 3);
}

#[test]
fn what_a_checkpoint_covers_is_done_before_its_batch_is_answered() {
    let mut shard = shard(&["1", "2", "3"], RULES);
    let script = "* start\n> initialize TRIM_HORIZON.0\n< status initialize\n> processRecords 1.0 2.0\n\
                  < checkpoint 1\n> ack 1.- ok";
    converse(&mut shard, script);
    assert_eq!(shard.progress(), 1);
}

#[test]
fn reads_find_nothing_for_a_while_after_each_batch() {
    let quiet = Duration::from_millis(1500);
    let mut shard = shard(&["1", "2", "3"], Rules { quiet, ..RULES });
    let idle = |shard: &mut Shard, script: &str| {
        let mut steps = Vec::new();
        for line in script.lines().map(|line| written(line.trim())) {
            shard.begin_reading();
            steps = shard.take(line.as_bytes());
        }
        let [Step::Later(wait, due)] = steps[..] else {
            panic!("{steps:?}")
        };
        assert_eq!(wait, Duration::from_secs(1));
        shard.due(due).iter().map(shown).collect::<Vec<_>>()
    };
    shard.start();
    shard.begin_reading();
    let first = shard.take(written("status initialize").as_bytes());
    assert_eq!(shown(&first[0]), "> processRecords 1.0 2.0");
    let answered = "status processRecords";
    assert_eq!(idle(&mut shard, answered), ["> processRecords "]);
    assert_eq!(idle(&mut shard, answered), ["> processRecords "]);
    let report = converse_on(
        &mut shard,
        "< status processRecords
         > processRecords 3.0",
    );
    assert_eq!(report.held_at_most, Some(2), "no checkpoint covers them");
    // So it is after the last batch: a window may end before the shard does.
    assert_eq!(idle(&mut shard, answered), ["> processRecords "]);
    let at_the_tip = "checkpoint 3\nstatus processRecords";
    assert_eq!(idle(&mut shard, at_the_tip), ["> processRecords "]);
    converse_on(
        &mut shard,
        "< status processRecords
         > shardEnded",
    );
}

#[test]
fn the_first_lines_are_those_of_the_daemon() {
    let mut shard = shard(&["1"], RULES);
    let first = shard.start();
    assert_eq!(
        first,
        [Step::Send("{\"action\":\"initialize\",\"shardId\":\"shardId-0\",\"sequenceNumber\":\"TRIM_HORIZON\",\"subSequenceNumber\":0}\n".to_owned())]
    );
    shard.begin_reading();
    let batch = shard.take(written("status initialize").as_bytes());
    let Some(Step::Send(line)) = batch.first() else {
        panic!("{batch:?}")
    };
    let value: serde_json::Value = serde_json::from_str(line).expect(line);
    let expected = serde_json::json!({
        "action": "processRecords",
        "records": [{"action": "record", "data": "aGk=", "partitionKey": "k", "sequenceNumber": "1",
                     "approximateArrivalTimestamp": 7, "subSequenceNumber": 0}],
        "millisBehindLatest": 0,
    });
    assert_eq!(value, expected);
}

#[test]
fn the_other_ends_are_played_to_the_exit() {
    for (ending, script) in [
        (
            Ending::Graceful,
            "> shutdownRequested
             < checkpoint 2
             > ack 2.- ok
             < status shutdownRequested
             > leaseLost
             < status leaseLost
             * close
             ^ exit code 0",
        ),
        (
            Ending::LeaseLost,
            "> leaseLost
             < status leaseLost
             * close
             ^ exit code 0",
        ),
    ] {
        let mut shard = shard(&["1", "2"], Rules { ending, ..RULES });
        let start = "* start
                     > initialize TRIM_HORIZON.0
                     < status initialize
                     > processRecords 1.0 2.0
                     < status processRecords\n";
        let report = converse(&mut shard, &format!("{start}{script}"));
        assert!(report.reached_end && report.faults.is_empty(), "{report:?}");
    }
}

#[test]
fn a_daemon_that_is_killed_leaves_a_batch_unanswered() {
    let mut shard = shard(
        &["1", "2", "3", "4", "5", "6"],
        Rules {
            ending: Ending::Kill,
            ..RULES
        },
    );
    let report = converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0 2.0
         < status processRecords
         > processRecords 3.0 4.0
         * close
         < status processRecords
         ^ exit code 0",
    );
    assert!(report.reached_end && report.delivered == 4, "{report:?}");
}

#[test]
fn a_child_that_dies_is_started_again_behind_its_last_checkpoint() {
    let mut shard = shard(
        &["1.0", "1.1", "1.2"],
        Rules {
            batch_size: 9,
            ..RULES
        },
    );
    let report = converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0 1.1 1.2
         < checkpoint 1.1
         > ack 1.1 ok
         ^ signal 9 (SIGKILL)
         # signal 9 (SIGKILL) and processRecords unanswered
         * start
         > initialize 1.1
         < status initialize
         > processRecords 1.2
         < status processRecords
         > shardEnded
         < checkpoint
         > ack -.- ok
         < status shardEnded
         * close
         ^ exit code 0",
    );
    assert_eq!(
        (report.delivered, report.redelivered, report.restarts),
        (4, 1, 1)
    );
    assert!(report.reached_end && report.faults.is_empty(), "{report:?}");
}

#[test]
fn restarts_have_a_limit_and_a_child_that_never_answers_has_none() {
    let mut one = shard(&["1"], RULES);
    let script = "* start
                  > initialize TRIM_HORIZON.0
                  < status initialize
                  > processRecords 1.0
                  ^ exit code 1";
    let report = converse(
        &mut one,
        &format!("{script}\n# restarting from TRIM_HORIZON\n{script}\n# no restarts left"),
    );
    assert!(
        !report.reached_end && report.faults.len() == 1,
        "{report:?}"
    );
    let mut other = shard(&["1"], RULES);
    let report = converse(
        &mut other,
        "* start
         > initialize TRIM_HORIZON.0
         ^ exit code 64
         # exit code 64 and initialize unanswered",
    );
    assert_eq!((report.restarts, report.reached_end), (0, false));
    assert!(other.is_no_child() && !one.is_no_child());
}

#[test]
fn a_child_that_echoes_is_none_and_is_not_waited_for() {
    let mut shard = shard(&["1"], RULES);
    let report = converse(
        &mut shard,
        r#"* start
         > initialize TRIM_HORIZON.0
         < {"action":"initialize","shardId":"shardId-0","sequenceNumber":"TRIM_HORIZON","subSequenceNumber":0}
         # it echoes its input
         * stop"#,
    );
    assert!(
        shard.is_no_child() && report.faults.len() == 1,
        "{report:?}"
    );
}

#[test]
fn only_the_first_word_of_the_first_child_is_awaited_with_doubt() {
    let mut shard = shard(&["1"], RULES);
    converse(
        &mut shard,
        "* start
> initialize TRIM_HORIZON.0",
    );
    assert!(shard.awaits_first_word());
    converse_on(
        &mut shard,
        "< status initialize
> processRecords 1.0",
    );
    assert!(!shard.awaits_first_word());
    converse_on(
        &mut shard,
        "^ exit code 1
         # restarting
         * start
         > initialize TRIM_HORIZON.0",
    );
    assert!(!shard.awaits_first_word() && !shard.is_no_child());
}

#[test]
fn a_report_counts_the_records_that_the_checkpoint_covers() {
    let rules = Rules {
        batch_size: 9,
        ..RULES
    };
    let mut shard = shard(&["1", "2.0", "2.1", "3"], rules);
    assert_eq!(shard.report().checkpointed, Some(0));
    let script = "* start
                  > initialize TRIM_HORIZON.0
                  < status initialize
                  > processRecords 1.0 2.0 2.1 3.0
                  < checkpoint 2.0
                  > ack 2.0 ok";
    assert_eq!(converse(&mut shard, script).checkpointed, Some(2));
    let report = converse_on(
        &mut shard,
        "< checkpoint 3
         > ack 3.- ok
         < status processRecords
         > shardEnded
         < checkpoint
         > ack -.- ok",
    );
    assert_eq!(report.checkpointed, Some(4));
}

#[test]
fn a_checkpoint_is_taken_only_in_range_and_while_there_is_a_checkpointer() {
    let mut shard = shard(&["1", "2.0", "2.1", "3"], RULES);
    let report = converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < checkpoint
         # while answering initialize
         > ack -.- InvalidStateException
         < status initialize
         > processRecords 1.0 2.0
         < checkpoint 2.1
         # after the last delivered record 2.0
         > ack 2.1 IllegalArgumentException
         < checkpoint 2
         # means the first record of its aggregate
         > ack 2.- ok
         < checkpoint 2
         > ack 2.- ok
         < checkpoint 1.5
         # before the last one at 2.0
         > ack 1.5 IllegalArgumentException
         < checkpoint x
         # not a position
         > ack x.- IllegalArgumentException
         < checkpoint SHARD_END
         # after the last delivered record
         > ack SHARD_END.- IllegalArgumentException
         < status processRecords
         > processRecords 2.1 3.0
         < checkpoint 2.7
         > ack 2.7 ok
         < checkpoint 2
         # before the last one at 2.7
         > ack 2.- IllegalArgumentException",
    );
    assert_eq!((report.checkpoints, report.refused_checkpoints), (2, 6));
    assert_eq!(
        (report.sequence_number.as_str(), report.sub_sequence_number),
        ("2", 7)
    );
}

#[test]
fn a_wrong_status_ends_the_daemon() {
    for (line, said) in [
        (
            "status processrecords",
            "'processrecords' when 'processRecords'",
        ),
        ("status initialize", "answer that action twice?"),
        ("status checkpoint", "gets no status"),
        (r#"{"action":"status"}"#, "without 'responseFor'"),
        ("null", "a bare `null`"),
    ] {
        let mut shard = shard(&["1"], RULES);
        let report = converse(
            &mut shard,
            &format!(
                "* start
                 > initialize TRIM_HORIZON.0
                 < status initialize
                 > processRecords 1.0
                 < {line}
                 # {said}
                 * stop
                 < status processRecords
                 ^ exit code 0"
            ),
        );
        assert!(
            !report.reached_end && report.faults.len() == 1,
            "{report:?}"
        );
    }
}

#[test]
fn a_second_status_is_found_where_it_came_too_early_for_the_next_action() {
    let mut shard = shard(&["1", "2", "3"], RULES);
    converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0 2.0
         < status processRecords
         > processRecords 3.0
         + status processRecords
         # a second status for processRecords
         * stop",
    );
}

#[test]
fn the_end_of_a_shard_must_be_stored() {
    let to_the_end = "* start
                      > initialize TRIM_HORIZON.0
                      < status initialize
                      > processRecords 1.0
                      < checkpoint 1
                      > ack 1.- ok
                      < status processRecords
                      > shardEnded\n";
    let script = |rest: &str| format!("{to_the_end}{rest}");
    let report = converse(
        &mut shard(&["1"], RULES),
        &script(
            "< status shardEnded
             # would never finish
             * stop
             ^ exit code 0",
        ),
    );
    assert!(!report.reached_end);
    converse(
        &mut shard(&["1"], RULES),
        &script(
            "< checkpoint 1
             # stores nothing
             > ack 1.- ok
             < checkpoint SHARD_END
             > ack SHARD_END.- ok
             < status shardEnded
             * close",
        ),
    );
}

#[test]
fn the_last_position_stands_for_the_end_if_it_is_new() {
    let report = converse(
        &mut shard(&["1"], RULES),
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0
         < status processRecords
         > shardEnded
         < checkpoint 1.0
         > ack 1.0 ok
         < status shardEnded
         * close
         ^ exit code 3
         # exit code 3; the daemon only logs",
    );
    assert!(report.reached_end && report.faults.is_empty(), "{report:?}");
}

#[test]
fn a_child_that_dies_behind_the_end_needs_no_other() {
    let report = converse(
        &mut shard(&[], RULES),
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > shardEnded
         < checkpoint
         > ack -.- ok
         ^ exit code 1
         # finished all the same",
    );
    assert!(report.reached_end && report.faults.is_empty(), "{report:?}");
}

#[test]
fn lines_that_are_no_messages_are_passed_over_and_answers_among_them_missed() {
    let mut shard = shard(&["1"], RULES);
    let limit = Some(Duration::from_secs(600));
    let report = converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < hello
         # a line of 5 bytes on its stdout is not a message: it is not JSON
         <
         < {\"action\":\"leaseLost\"}
         < {\"action\":\"status\",\"responseFor\":\"initialize\",\"x\":1}
         # the key 'x'",
    );
    assert_eq!((report.skipped_lines, report.faults.len()), (2, 1));
    assert_eq!(shard.patience(limit), Some(AFTER_LOST_ANSWER));
    let steps = shard.silent(Duration::from_secs(9));
    assert!(matches!(&steps[..], [Step::Say(text), Step::Stop]
        if text.contains("no answer to initialize for 9s, because the daemon skipped its answer")));
    assert_eq!(shard.patience(limit), None);
}

#[test]
fn a_lone_carriage_return_ends_a_line() {
    let mut shard = shard(&[], RULES);
    shard.start();
    shard.begin_reading();
    let line = format!("\r{}\r\r", written("status initialize"));
    let steps = shard.take(line.as_bytes());
    assert_eq!(
        steps.iter().map(shown).collect::<Vec<_>>(),
        ["> shardEnded"]
    );
}

#[test]
fn junk_is_reported_a_few_times_only() {
    let mut shard = shard(&[], RULES);
    shard.start();
    let reported: usize = (0..100).map(|_| shard.take(b"junk").len()).sum();
    assert_eq!((reported, shard.report().skipped_lines), (REPORTED, 100));
}

#[test]
fn a_sentinel_is_stored_as_the_daemon_would_but_not_praised() {
    let report = converse(
        &mut shard(&["1"], RULES),
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0
         < checkpoint LATEST
         # would skip records
         > ack LATEST.- ok
         ^ exit code 1
         # restarting from LATEST
         * start
         > initialize LATEST.0
         < status initialize
         > shardEnded",
    );
    assert_eq!(report.faults.len(), 1);
}

#[test]
fn a_child_that_stays_after_the_end_of_its_input_is_at_fault() {
    let report = converse(
        &mut shard(
            &[],
            Rules {
                ending: Ending::LeaseLost,
                ..RULES
            },
        ),
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > leaseLost
         < status leaseLost
         * close
         ~
         # it still runs
         * stop now
         ^ signal 15 (SIGTERM)",
    );
    assert!(!report.reached_end);
}

#[test]
fn the_user_may_end_it() {
    let mut shard = shard(&["1"], RULES);
    shard.start();
    assert_eq!(shard.interrupt(), [Step::Stop]);
    assert_eq!(shard.interrupt(), []);
    assert_eq!(shard.ended("exit code 0", true), []);
    let report = shard.report();
    assert!(!report.reached_end && report.faults.is_empty());
}

#[test]
fn a_batch_has_ten_megabytes_at_most_but_one_record_at_least() {
    let mut large = records(&["1", "2", "3"]);
    for (record, megabytes) in large.iter_mut().zip([14, 6, 6]) {
        record.data = "A".repeat(megabytes << 20);
    }
    let mut shard = Shard::new(
        "shardId-0".to_owned(),
        large,
        Rules {
            batch_size: 9,
            ..RULES
        },
    );
    shard.start();
    let mut batches = Vec::new();
    for action in ["initialize", "processRecords"] {
        shard.begin_reading();
        batches.extend(
            shard
                .take(written(&format!("status {action}")).as_bytes())
                .iter()
                .map(shown),
        );
    }
    assert_eq!(
        batches,
        ["> processRecords 1.0", "> processRecords 2.0 3.0"]
    );
}

#[test]
fn the_first_broken_rule_is_told_with_its_place() {
    let mut shard = shard(&["1", "2", "3"], RULES);
    let report = converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0 2.0
         < status processRecords
         > processRecords 3.0
         < checkpoint 4
         # after the last delivered record
         > ack 4.- IllegalArgumentException",
    );
    let place = "message 6 with child 1, processRecords with records 3 to 3: asked for a checkpoint at 4.0,";
    assert!(report.faults[0].starts_with(place), "{report:?}");
}

#[test]
fn a_child_waits_for_the_answer_to_its_checkpoint() {
    let start = "* start
                 > initialize TRIM_HORIZON.0
                 < status initialize
                 > processRecords 1.0 2.0
                 < checkpoint 1
                 > ack 1.- ok\n";
    for (line, said, more) in [
        ("checkpoint 2", "a second checkpoint before", "> ack 2.- ok"),
        (
            "status processRecords",
            "cannot know whether that was stored",
            "> processRecords 3.0",
        ),
    ] {
        let script = format!("{start}+ {line}\n# {said}\n{more}");
        converse(&mut shard(&["1", "2", "3"], RULES), &script);
    }
}

#[test]
fn a_checkpoint_belongs_into_an_action() {
    converse(
        &mut shard(&["1", "2", "3"], RULES),
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0 2.0
         < status processRecords
         > processRecords 3.0
         + checkpoint 2
         # when no action was open
         > ack 2.- ok",
    );
    let lease_lost = Rules {
        ending: Ending::LeaseLost,
        ..RULES
    };
    converse(
        &mut shard(&[], lease_lost),
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > leaseLost
         < status leaseLost
         * close
         < checkpoint
         # sent a checkpoint after its last answer",
    );
}

#[test]
fn checkpoints_that_do_not_say_what_they_mean_are_noted() {
    let report = converse(
        &mut shard(&["1.0", "2.0", "2.1", "2.2"], RULES),
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0 2.0
         < checkpoint 1
         > ack 1.- ok
         < checkpoint 2
         # means the first record of its aggregate
         > ack 2.- ok
         < checkpoint 2
         > ack 2.- ok
         < checkpoint
         # stores the whole batch as done
         > ack -.- ok",
    );
    assert_eq!((report.notes.len(), report.repeated_checkpoints), (2, 2));
    assert!(report.faults.is_empty(), "{report:?}");
}
