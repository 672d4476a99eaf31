//! `--per shard`: one handler process for as long as the lease lasts.

use std::time::Duration;

use kclpipe::testing::format::{Data, Format};
use kclpipe::testing::handler::{OnFailure, Per};

use crate::harness::{Bridge, Record};
use crate::pool::{Play, SHARD, window};

/// Logs each record with the process that got it, and answers.
const LOOP: &str = r#"while read -r r; do echo "$r" >> "$LOG"; echo "$KCLPIPE_TOKEN ok"; done"#;

#[test]
fn one_handler_answers_every_record_of_the_lease() {
    let script = format!(
        r#"echo start "$KCLPIPE_SHARD_ID" "$KCLPIPE_LANE" "$KCLPIPE_INFLIGHT" >> "$LOG"; {LOOP}; echo end >> "$LOG""#
    );
    let play = Play::new(SHARD, &script).run(&["a b", "c"]);
    assert_eq!(play.log, ["start shardId-7 0 1", "a", "b", "c", "end"]);
    assert_eq!(play.events.last().map(String::as_str), Some("done 3"));
}

#[test]
fn a_handler_that_answers_in_groups_answers_at_the_last_record() {
    let script = r#"while read -r r; do
            n=$((n + 1)); echo "$r" | cut -d, -f 1,8 >> "$LOG"
            case $r in *'"last":true'*) echo "$KCLPIPE_TOKEN upto $n";; esac
        done"#;
    let play = Play::new(window(3), script)
        .with(|s| s.format = Format::Jsonl(Data::Text))
        .run(&["a b c d", "e"]);
    let last = [false, false, true, true, true];
    let expected: Vec<String> = (1..)
        .zip(last)
        .map(|(n, last)| format!(r#"{{"n":{n},"last":{last}"#))
        .collect();
    assert_eq!(play.log, expected);
    assert_eq!(play.events, ["done 3", "done 4", "done 5"]);
}

#[test]
fn the_record_before_one_that_cannot_be_decompressed_is_the_last() {
    let script = r#"while IFS= read -r r; do
        n=$((n + 1)); case $r in *'"last":true'*) echo "$KCLPIPE_TOKEN upto $n" ;; esac; done"#;
    let options = "--per shard --inflight 8 --decompress auto --dead-letter dead";
    let mut daemon = Bridge::new(script).options(options).start();
    daemon.initialize();
    let damaged = [0x1f, 0x8b, 8, 0, 0];
    let payloads = [&b"a"[..], b"b", &damaged, b"c", &damaged];
    let records = payloads.iter().zip(1..);
    let records = records.map(|(payload, number)| Record::new(number, payload));
    daemon.records(&records.collect::<Vec<_>>());
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.lines("dead").len(), 2);
}

/// More than is made ready at once, and more than a pipe holds.
#[test]
fn a_window_of_large_records_comes_whole_and_only_its_last_record_is_the_last() {
    let script = r#"while read -r r; do
            n=$((n + 1))
            case $r in *'"last":true'*) echo "$KCLPIPE_TOKEN upto $n"; echo "$n" >> "$LOG";; esac
        done"#;
    let batch = vec!["x".repeat(50_000); 15].join(" ");
    let play = Play::new(window(12), script)
        .with(|s| s.format = Format::Jsonl(Data::Text))
        .run(&[&batch]);
    assert_eq!(play.log, ["12", "15"]);
    assert_eq!(play.events, ["done 12", "done 15"]);
}

#[test]
fn one_that_has_all_records_of_its_life_sees_the_end_of_its_input_and_may_answer_then() {
    let two = Per::Shard {
        inflight: 2,
        plain: false,
        max_records: Some(2),
    };
    let script = r#"while read -r r; do n=$((n + 1)); done; echo "$KCLPIPE_TOKEN upto $n""#;
    let play = Play::new(two, script).run(&["a b c d"]);
    assert_eq!(play.events, ["done 2", "done 4"]);
}

#[test]
fn an_answer_that_makes_no_sense_is_in_the_letter_of_its_record() {
    let script = r#"read -r r; echo "$KCLPIPE_TOKEN ok 9"; cat"#;
    let play = Play::new(SHARD, script).run(&["a"]);
    assert_eq!(
        play.outcomes,
        ["the handler sent an answer for a record that it does not have"]
    );
}

#[test]
fn words_without_the_token_are_log_lines_unless_plain_answers_are_taken() {
    let script = r#"while read -r r; do echo ok; echo "$KCLPIPE_TOKEN reject"; done"#;
    assert_eq!(Play::new(SHARD, script).run(&["a"]).letters, ["a"]);
    let plain = Per::Shard {
        inflight: 1,
        plain: true,
        max_records: None,
    };
    assert_eq!(
        Play::new(plain, "while read -r r; do echo ok; done")
            .run(&["a b"])
            .events
            .len(),
        2
    );
}

#[test]
fn a_record_answered_badly_comes_again_to_the_same_handler() {
    let script = r#"while read -r r; do
            echo "$$ $r" >> "$LOG"; n=$((n + 1))
            if [ "$r" = b ] && [ $n -lt 4 ]; then echo "$KCLPIPE_TOKEN retry"; else echo "$KCLPIPE_TOKEN ok"; fi
        done"#;
    let play = Play::new(SHARD, script).run(&["a b c"]);
    let records: Vec<&str> = play
        .log
        .iter()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(
        (records, play.letters.len()),
        (vec!["a", "b", "b", "b", "c"], 0),
        "retry is not charged"
    );
    let processes: std::collections::HashSet<&str> = play
        .log
        .iter()
        .filter_map(|line| line.split(' ').next())
        .collect();
    assert_eq!(processes.len(), 1);
}

#[test]
fn failures_are_charged_and_a_rejection_is_final() {
    let script = r#"while read -r r; do echo "$r" >> "$LOG"
        case $r in bad) echo "$KCLPIPE_TOKEN fail";; worse) echo "$KCLPIPE_TOKEN reject";; *) echo "$KCLPIPE_TOKEN ok";; esac; done"#;
    let play = Play::new(SHARD, script).run(&["a bad b worse c"]);
    assert_eq!(play.log, ["a", "bad", "bad", "b", "worse", "c"]);
    assert_eq!(play.letters, ["bad", "worse"]);
}

#[test]
fn after_a_bad_answer_with_more_in_flight_the_handler_starts_again_at_that_record() {
    let script = r#"n=0; while read -r r; do n=$((n + 1))
        if [ "$r" = b ] && [ ! -e "$LOG.once" ]; then : > "$LOG.once"; echo "$KCLPIPE_TOKEN retry $n"; cat > /dev/null; exit; fi
        echo "$r" >> "$LOG"; echo "$KCLPIPE_TOKEN ok $n"; done"#;
    let play = Play::new(window(4), script).run(&["a b c d e"]);
    assert_eq!(
        play.log,
        ["a", "b", "c", "d", "e"],
        "order holds, and nothing is handled twice"
    );
}

#[test]
fn a_death_is_charged_only_when_the_oldest_record_was_given_alone() {
    let script = r#"n=0; while read -r r; do n=$((n + 1)); echo "$r" >> "$LOG"
        [ "$r" = bad ] && exit 1
        echo "$KCLPIPE_TOKEN ok $n"; done"#;
    let play = Play::new(window(4), script).run(&["a bad c d"]);
    // Once among others, then alone until its two attempts are used up.
    assert_eq!(play.log, ["a", "bad", "bad", "bad", "c", "d"]);
    assert_eq!(play.letters, ["bad"]);
}

#[test]
fn one_that_ends_well_with_records_unanswered_is_not_charged_the_first_time() {
    let script = r#"read -r r; echo "$r" >> "$LOG"; [ -e "$LOG.$r" ] || { : > "$LOG.$r"; exit 0; }; echo "$KCLPIPE_TOKEN ok""#;
    let play = Play::new(SHARD, script)
        .with(|s| s.limits.max_attempts = Some(1))
        .run(&["a b"]);
    assert_eq!(
        (play.log, play.letters),
        (["a", "a", "b", "b"].map(str::to_owned).to_vec(), vec![])
    );
}

#[test]
fn a_handler_may_end_between_two_records() {
    let script = r#"read -r r; echo "$r" >> "$LOG"; echo "$KCLPIPE_TOKEN ok""#;
    assert_eq!(
        Play::new(SHARD, script).run(&["a b", "c"]).log,
        ["a", "b", "c"]
    );
}

#[test]
fn so_many_records_and_then_a_new_handler() {
    let per = Per::Shard {
        inflight: 2,
        plain: false,
        max_records: Some(2),
    };
    let script = r#"n=0; while read -r r; do n=$((n + 1)); echo "$r" >> "$LOG"; echo "$KCLPIPE_TOKEN ok $n"; done; echo end >> "$LOG""#;
    assert_eq!(
        Play::new(per, script).run(&["a b c d e"]).log,
        ["a", "b", "end", "c", "d", "end", "e", "end"]
    );
}

#[test]
fn an_answer_that_cannot_be_restarts_the_handler_and_nothing_is_lost() {
    for answer in ["ok 7", "upto 0", "dance", "ok 0", "ok x"] {
        let script = format!(
            r#"while read -r r; do echo "$r" >> "$LOG"
            if [ "$r" = b ] && [ ! -e "$LOG.once" ]; then : > "$LOG.once"; echo "$KCLPIPE_TOKEN {answer}"; sleep 60; fi
            echo "$KCLPIPE_TOKEN ok"; done"#
        );
        let play = Play::new(SHARD, &script).run(&["a b c"]);
        assert_eq!(
            (play.log.join(" "), play.letters.len()),
            ("a b b c".into(), 0),
            "{answer}"
        );
    }
}

#[test]
fn a_second_answer_for_one_record_restarts_the_handler() {
    let script = r#"while read -r r; do echo "$r" >> "$LOG"
        if [ "$r" = a ]; then echo "$KCLPIPE_TOKEN ok
$KCLPIPE_TOKEN ok"; sleep 60; fi
        echo "$KCLPIPE_TOKEN ok"; done"#;
    let play = Play::new(SHARD, script).run(&["a b c"]);
    assert_eq!(
        (play.log.join(" "), play.letters.len()),
        ("a b c".into(), 0),
        "b was not taken for answered"
    );
}

#[test]
fn one_that_answers_nothing_is_stopped_at_its_time_limit() {
    let script = r#"while read -r r; do echo "$r" >> "$LOG"; [ "$r" = bad ] && sleep 60; echo "$KCLPIPE_TOKEN ok"; done"#;
    let play = Play::new(SHARD, script)
        .with(|s| s.timeout = Some(Duration::from_millis(300)))
        .run(&["a bad c"]);
    assert_eq!(play.log, ["a", "bad", "bad", "bad", "c"]);
    assert_eq!(play.letters, ["bad"]);
}

#[test]
fn one_that_prints_nothing_gets_the_hint_at_buffers_before_its_time_limit() {
    let bridge = Bridge::new("exec sleep 1000").options("--per shard --timeout 400ms");
    let mut daemon = bridge.start();
    daemon.initialize();
    daemon.payloads(&["a"]);
    let log = daemon.expect_log("stopping it");
    let hint = "the handler has had a record for 200ms and has printed nothing";
    assert!(log.contains(hint), "{log}");
    daemon.finish();
}

#[test]
fn one_that_does_not_end_with_its_input_is_stopped_with_a_warning() {
    let script = r#"read -r r; echo "$KCLPIPE_TOKEN ok"; exec sleep 1000"#;
    let bridge = Bridge::new(script).options("--per shard --stop-timeout 50ms");
    let mut daemon = bridge.start();
    daemon.initialize();
    daemon.payloads(&["a"]);
    daemon.expect_status("processRecords");
    daemon.say(r#"{"action":"shutdownRequested"}"#);
    daemon.expect_status_behind_checkpoints("shutdownRequested");
    daemon.finish();
    let log = daemon.log();
    let told = "had answered every record, but was still running 50ms after its input ended and was stopped (--stop-timeout)";
    assert!(log.contains(told) && !log.contains("ERROR"), "{log}");
}

#[test]
fn progress_starts_the_time_limit_again() {
    let script = r#"while read -r r; do
        for i in 1 2 3 4 5 6; do sleep 0.2; echo "$KCLPIPE_TOKEN progress"; done
        echo "$r" >> "$LOG"; echo "$KCLPIPE_TOKEN ok"; done"#;
    let play = Play::new(SHARD, script)
        .with(|s| s.timeout = Some(Duration::from_secs(1)))
        .run(&["a"]);
    assert_eq!(play.log, ["a"]);
}

#[test]
fn one_that_closes_its_input_or_prints_without_end_loses_nothing() {
    let script = r#"if [ ! -e "$LOG.once" ]; then : > "$LOG.once"; exec < /dev/null; head -c 100000000 /dev/zero; exit; fi
        while read -r r; do echo "$r" >> "$LOG"; echo "$KCLPIPE_TOKEN ok"; done"#;
    assert_eq!(Play::new(SHARD, script).run(&["a b"]).log, ["a", "b"]);
}

#[test]
fn a_broken_handler_is_waited_for_and_never_charged() {
    let script = r#"echo start >> "$LOG"; [ $(wc -l < "$LOG") -lt 5 ] && exit 127
        while read -r r; do echo "$r" >> "$LOG"; echo "$KCLPIPE_TOKEN ok"; done"#;
    let play = Play::new(SHARD, script)
        .with(|s| s.limits.max_attempts = Some(1))
        .run(&["a"]);
    assert_eq!((play.log.len(), play.letters.len()), (6, 0));
}

#[test]
fn a_halt_ends_the_work() {
    let script = r#"while read -r r; do [ "$r" = c ] && echo "$KCLPIPE_TOKEN halt"; echo "$KCLPIPE_TOKEN ok"; done"#;
    let play = Play::new(SHARD, script).run(&["a b c d"]);
    assert_eq!(play.events.last().map(String::as_str), Some("halted"));
    assert!(play.events.contains(&"done 2".to_owned()));
}

#[test]
fn a_record_that_cannot_stand_in_the_format_never_reaches_the_handler() {
    let play = Play::new(SHARD, LOOP)
        .with(|s| s.on_failure = OnFailure::Skip)
        .run(&["a x\\ny b"]);
    assert_eq!(play.log, ["a", "b"]);
}
