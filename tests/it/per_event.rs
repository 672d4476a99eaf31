//! `--per shard --format lambda`: one process for as long as the lease lasts, which gets Lambda events.

use std::time::Duration;

use kclpipe::testing::format::Format;
use kclpipe::testing::handler::Per;

use crate::pool::{Outcome, Play};

/// At most this many records in an event.
fn events(size: usize) -> Per {
    Per::Event {
        size: Some(size),
        bytes: None,
        plain: false,
        max_records: None,
    }
}

fn play(size: usize, script: &str) -> Play {
    Play::new(events(size), script).with(|s| {
        s.format = Format::Lambda {
            stream_arn: "arn:aws:kinesis:eu-west-1:1:stream/s".into(),
        };
    })
}

/// What the lines of a log say are events: their records' sequence numbers.
fn numbers(play: &Outcome) -> Vec<String> {
    let numbers = |line: &String| {
        let event: serde_json::Value = serde_json::from_str(line).expect("an event is a line");
        let records = event["Records"].as_array().expect("records");
        let number = |record: &serde_json::Value| {
            let number = record["kinesis"]["sequenceNumber"].as_str();
            number.expect("a text").to_owned()
        };
        records.iter().map(number).collect::<Vec<_>>().join(" ")
    };
    play.log.iter().map(numbers).collect()
}

#[test]
fn one_process_gets_every_event_of_the_lease() {
    let script = r#"echo "$KCLPIPE_LANE,$KCLPIPE_INFLIGHT,$KCLPIPE_ID,$KCLPIPE_BATCH_COUNT" >> "$LOG"
        while read -r event; do echo "${#event}" >> "$LOG"; echo "$KCLPIPE_TOKEN {}"; done; echo end >> "$LOG""#;
    let play = play(2, script).run(&["a b c", "d"]);
    assert_eq!(play.events, ["done 2", "done 3", "done 4"]);
    assert_eq!((play.log.len(), play.log[0].as_str()), (5, "0,,,"));
    assert_eq!(play.log[4], "end");
}

#[test]
fn what_a_reply_names_comes_again_to_the_same_process() {
    let script = r#"while read -r event; do echo "$event" >> "$LOG"; n=$((n + 1))
        if [ $n = 1 ]; then echo "$KCLPIPE_TOKEN {\"batchItemFailures\": [{\"itemIdentifier\": \"2\"}]}"
        else echo "$KCLPIPE_TOKEN null"; fi; done"#;
    let play = play(9, script).run(&["a b c"]);
    assert_eq!(numbers(&play), ["1 2 3", "2", "3"]);
    assert_eq!(play.events, ["done 1", "done 2", "done 3"]);
}

#[test]
fn a_death_is_charged_only_to_the_record_that_was_alone() {
    let script = r#"while read -r event; do echo "$event" >> "$LOG"
        case $event in *'"sequenceNumber":"3"'*) exit 1 ;; esac; echo "$KCLPIPE_TOKEN ok"; done"#;
    let play = play(9, script).run(&["a b c d"]);
    assert_eq!(play.letters, ["c"]);
    assert_eq!(play.outcomes, ["exit code 1"]);
    assert_eq!(
        numbers(&play),
        ["1 2 3 4", "1 2", "3", "3", "3", "4"],
        "a suspect alone, and then two attempts of it"
    );
}

#[test]
fn a_function_that_hangs_is_stopped_and_its_event_is_halved() {
    let script = r#"while read -r event; do
        [ -e "$LOG" ] || { echo "$event" >> "$LOG"; exec sleep 60; }
        echo "$event" >> "$LOG"; echo "$KCLPIPE_TOKEN null"; done"#;
    let play = play(9, script)
        .with(|s| s.timeout = Some(Duration::from_millis(300)))
        .run(&["a b"]);
    assert_eq!(numbers(&play), ["1 2", "1", "2"]);
}

/// More than a pipe holds, to one that reads no faster than it likes.
#[test]
fn an_event_of_six_megabytes_comes_whole_as_one_line() {
    let script = r#"while size=$(head -n 1 | wc -c) && [ "$size" -gt 0 ]; do
        echo $size >> "$LOG"; echo "$KCLPIPE_TOKEN null"; done"#;
    let batch = vec!["x".repeat(45_000); 100].join(" ");
    let play = play(100, script).run(&[&batch]);
    let size: usize = play.log[0].trim().parse().expect("a number");
    assert!(play.log.len() == 1 && size > 6_000_000, "{size}");
    assert_eq!(play.events, ["done 100"]);
}

#[test]
fn an_answer_before_the_event_was_read_is_no_evidence() {
    let script =
        r#"dd bs=1 count=10 2>/dev/null >/dev/null; echo "$KCLPIPE_TOKEN null"; exec sleep 60"#;
    let play = play(9, script).run(&["a"]);
    assert_eq!(
        play.outcomes,
        ["the handler sent an answer before it had read all of its event"]
    );
}

/// Of 16 MiB.
#[test]
fn a_reply_that_is_too_long_fails_the_event() {
    for (blocks, expected) in [("250", &["1 2"][..]), ("300", &["1 2", "1", "2"])] {
        let script = r#"while read -r event; do echo "$event" >> "$LOG"
            [ $(wc -l < "$LOG") = 1 ] && { printf '%s "' "$KCLPIPE_TOKEN"
                dd if=/dev/zero bs=65536 count=BLOCKS 2>/dev/null | tr '\0' x; echo '"'; continue; }
            echo "$KCLPIPE_TOKEN null"; done"#;
        let play = play(9, &script.replace("BLOCKS", blocks)).run(&["a b"]);
        assert_eq!(numbers(&play), expected, "{blocks}");
    }
}

#[test]
fn what_a_function_logs_is_no_reply_but_with_plain_answers() {
    let script = r#"while read -r event; do echo '{"level":"info"}'; echo 'null'; echo "$KCLPIPE_TOKEN fail"; done"#;
    assert_eq!(play(9, script).run(&["a"]).letters, ["a"]);
    let plain = Per::Event {
        size: None,
        bytes: None,
        plain: true,
        max_records: None,
    };
    let script = r#"while read -r event; do echo working; echo '{"batchItemFailures": []}'; done"#;
    let play = play(9, script).with(|s| s.per = plain).run(&["a b"]);
    assert_eq!(play.events, ["done 2"]);
}
