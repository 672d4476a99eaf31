//! `--per batch`: one handler process per batch.

use std::time::Duration;

use kclpipe::testing::format::{Data, Format};
use kclpipe::testing::handler::{OnFailure, Per, Window};
use kclpipe::testing::outcome::{Class, OnExit};

use crate::pool::{BATCH, Play};

/// Logs all records of a run on one line.
const LOG_RUN: &str = r#"echo $(cat) >> "$LOG""#;

#[test]
fn a_batch_is_one_run_and_its_end_is_the_end_of_the_run() {
    let play = Play::new(BATCH, LOG_RUN).run(&["a b c", "d"]);
    assert_eq!(play.log, ["a b c", "d"]);
    assert_eq!(play.events, ["done 3", "done 4"]);
}

#[test]
fn a_run_has_at_most_so_many_records_and_bytes() {
    let size = Play::new(
        Per::Batch {
            size: Some(2),
            bytes: None,
        },
        LOG_RUN,
    )
    .run(&["a b c d e"]);
    assert_eq!(size.log, ["a b", "c d", "e"]);
    let bytes = Play::new(
        Per::Batch {
            size: None,
            bytes: Some(6),
        },
        LOG_RUN,
    )
    .run(&["aaa bbb ccc dddddddddd eee"]);
    assert_eq!(
        bytes.log,
        ["aaa bbb", "ccc", "dddddddddd", "eee"],
        "a larger record goes alone"
    );
}

#[test]
fn every_format_holds_the_whole_run() {
    for (format, expected) in [
        (Format::Raw, "ab"),
        (Format::Netstring, "1:a,1:b,"),
        (Format::Lines, "a|b|"),
        (Format::Nul, "a_b_"),
    ] {
        let script = r#"tr '\0\n' '_|' >> "$LOG""#;
        let play = Play::new(BATCH, script)
            .with(|s| s.format = format.clone())
            .run(&["a b"]);
        assert_eq!(play.log, [expected], "{format:?}");
    }
}

#[test]
fn jsonl_counts_the_records_and_marks_the_last() {
    let play = Play::new(BATCH, r#"cat >> "$LOG""#)
        .with(|s| s.format = Format::Jsonl(Data::Text))
        .run(&["a b"]);
    let line = |n: u32, last: bool, data: &str| {
        format!(
            r#"{{"n":{n},"shardId":"shardId-7","sequenceNumber":"{n}","subSequenceNumber":0,"partitionKey":"k","approximateArrivalTimestamp":1000,"attempt":1,"last":{last},"data":"{data}"}}"#
        )
    };
    assert_eq!(play.log, [line(1, false, "a"), line(2, true, "b")]);
}

#[test]
fn the_environment_is_of_the_run() {
    let script = r#"cat > /dev/null
        echo "$KCLPIPE_SHARD_ID $KCLPIPE_BATCH_COUNT $KCLPIPE_MILLIS_BEHIND_LATEST $KCLPIPE_ATTEMPT ${KCLPIPE_SEQUENCE_NUMBER-none}" >> "$LOG""#;
    assert_eq!(
        Play::new(BATCH, script).run(&["a b c"]).log,
        ["shardId-7 3 5 1 none"]
    );
}

#[test]
fn what_was_answered_is_done_and_the_exit_speaks_of_the_next_record() {
    let script = r#"n=0; while read -r r; do n=$((n + 1)); [ "$r" = bad ] && exit 65
        echo "$r" >> "$LOG"; echo "$KCLPIPE_TOKEN upto $n"; done"#;
    let play = Play::new(BATCH, script).run(&["a b bad c d"]);
    assert_eq!(
        play.log,
        ["a", "b", "c", "d"],
        "nothing is handed over twice"
    );
    assert_eq!(play.letters, ["bad"]);
    assert_eq!(play.events.last().map(String::as_str), Some("done 5"));
}

#[test]
fn a_run_that_fails_without_naming_is_halved_until_the_culprit_stands_alone() {
    let script = r#"r=$(cat); echo $r >> "$LOG"; case $r in *bad*) exit 1;; esac"#;
    let play = Play::new(BATCH, script).run(&["a b c d bad f g h"]);
    let runs = [
        "a b c d bad f g h",
        "a b c d",
        "bad f",
        "bad",
        "bad",
        "f",
        "g h",
    ];
    assert_eq!(
        play.log, runs,
        "the second attempt alone is the second charged one"
    );
    assert_eq!(play.letters, ["bad"]);
}

#[test]
fn an_aligned_batch_that_fails_is_given_once_more_before_it_is_halved() {
    let play = |failures: u32| {
        let script =
            format!(r#"echo $(cat) >> "$LOG"; [ $(wc -l < "$LOG") -gt {failures} ] || exit 1"#);
        let four = Per::Batch {
            size: Some(4),
            bytes: None,
        };
        let aligned = Window {
            length: Duration::from_secs(60),
            aligned: true,
        };
        let play = Play::new(four, &script).with(|s| s.window = Some(aligned));
        play.run(&["a b c d"]).log
    };
    assert_eq!(play(1), ["a b c d", "a b c d"]);
    assert_eq!(play(2), ["a b c d", "a b c d", "a b", "c", "d"]);
}

#[test]
fn a_rejection_without_a_name_is_halved_too() {
    let script = r#"r=$(cat); case $r in *bad*) exit 65;; esac; echo $r >> "$LOG""#;
    let play = Play::new(BATCH, script).run(&["a bad c d"]);
    assert_eq!(
        (play.log.join(" "), play.letters),
        ("a c d".into(), vec!["bad".into()])
    );
}

#[test]
fn a_culprit_that_gets_better_is_not_lost() {
    let script =
        r#"r=$(cat); echo $r >> "$LOG"; case $r in *bad*) [ "$r" = bad ] || exit 1;; esac"#;
    let play = Play::new(BATCH, script).run(&["a bad c d"]);
    assert_eq!(play.letters, Vec::<String>::new());
    assert_eq!(play.log, ["a bad c d", "a bad", "a", "bad", "c d"]);
}

#[test]
fn a_run_to_be_retried_comes_again_whole_and_is_not_charged() {
    let script = r#"r=$(cat); echo $r >> "$LOG"; [ $(wc -l < "$LOG") -lt 5 ] && exit 75; exit 0"#;
    let play = Play::new(BATCH, script).run(&["a b c"]);
    assert_eq!(
        (play.log, play.letters),
        (vec!["a b c".to_owned(); 5], vec![])
    );
}

#[test]
fn input_left_unread_is_a_failure() {
    let script = r#"read -r r; echo "$r" >> "$LOG"; [ "$r" = bad ] && exit 3; exit 0"#;
    let long = "x".repeat(200_000);
    let play = Play::new(BATCH, script).run(&[&format!("a {long} b")]);
    let short: Vec<&str> = play.log.iter().map(|line| &line[..1]).collect();
    assert_eq!(
        short,
        ["a", "a", "a", "x", "b"],
        "each record was read by somebody: {short:?}"
    );
    assert_eq!(play.letters, Vec::<String>::new());
}

#[test]
fn answers_in_the_middle_of_a_run() {
    let script = r#"cat > /dev/null; echo "$KCLPIPE_ATTEMPT $KCLPIPE_BATCH_COUNT" >> "$LOG"
        [ $KCLPIPE_BATCH_COUNT = 4 ] || exit 0
        echo "$KCLPIPE_TOKEN ok 1"; echo "$KCLPIPE_TOKEN reject 2"; echo "$KCLPIPE_TOKEN retry 3"
        sleep 60"#;
    let play = Play::new(BATCH, script).run(&["a b c d"]);
    assert_eq!(play.letters, ["b"]);
    assert_eq!(
        play.log,
        ["1 4", "2 1", "2 1"],
        "after a bad answer the run is stopped, so that order holds"
    );
}

#[test]
fn a_checkpoint_is_wished_for_where_it_is_asked() {
    let script = r#"cat > /dev/null; echo "$KCLPIPE_TOKEN checkpoint 2""#;
    assert_eq!(
        Play::new(BATCH, script).run(&["a b c"]).events,
        ["checkpoint 2", "done 2", "done 3"]
    );
    let script = "cat > /dev/null; echo checkpoint";
    assert_eq!(
        Play::new(BATCH, script).run(&["a b c"]).events,
        ["checkpoint 3", "done 3"]
    );
    let script = "cat > /dev/null; exit 99";
    let play = Play::new(BATCH, script)
        .with(|s| s.on_exit = OnExit(vec![(99, Class::Checkpoint)]))
        .run(&["a b"]);
    assert_eq!(play.events, ["checkpoint 2", "done 2"]);
}

#[test]
fn an_answer_that_makes_no_sense_fails_the_run() {
    for answer in ["ok 2", "upto 9", "ok", "fine", "ok 1 1"] {
        let script = format!(
            r#"r=$(cat); echo $r >> "$LOG"; [ $(wc -l < "$LOG") = 1 ] && echo "$KCLPIPE_TOKEN {answer}" && sleep 60; exit 0"#
        );
        let play = Play::new(BATCH, &script).run(&["a b"]);
        assert_eq!(
            (play.log, play.letters),
            (vec!["a b".into(), "a".into(), "b".into()], vec![]),
            "{answer}"
        );
    }
}

#[test]
fn a_halt_stores_what_is_done() {
    let script =
        r#"cat > /dev/null; echo "$KCLPIPE_TOKEN upto 2"; echo "$KCLPIPE_TOKEN halt"; sleep 60"#;
    assert_eq!(
        Play::new(BATCH, script).run(&["a b c"]).events,
        ["done 2", "halted"]
    );
    let halt = |script: &str| {
        let limits = |s: &mut kclpipe::testing::handler::Settings| {
            s.on_failure = OnFailure::Halt;
            s.limits.max_attempts = Some(1);
        };
        Play::new(BATCH, script).with(limits).run(&["a b"]).events
    };
    assert_eq!(halt("cat > /dev/null; exit 1"), ["halted"]);
}

#[test]
fn a_payload_with_the_terminator_inside_is_rejected_in_its_turn() {
    let play = Play::new(BATCH, LOG_RUN).run(&["a b\\nb c"]);
    assert_eq!(
        (play.log, play.letters),
        (vec!["a".into(), "c".into()], vec!["b\nb".into()])
    );
}

#[test]
fn lambda_gets_an_event_and_its_reply_counts() {
    let script = r#"cat > "$LOG"; echo START; echo '{"batchItemFailures":[{"itemIdentifier":"3"},{"itemIdentifier":"2"}]}'"#;
    let lambda = Format::Lambda {
        stream_arn: "arn:aws:kinesis:eu-west-1:1:stream/s".into(),
    };
    let play = Play::new(BATCH, script).with(|s| {
        s.format = lambda.clone();
        s.limits.max_attempts = Some(1);
    });
    // Every run that holds 2 or 3 fails there; what is before it is done.
    let play = play.run(&["a b c"]);
    assert_eq!(play.letters, ["b", "c"]);
    let event: serde_json::Value = serde_json::from_str(&play.log[0]).expect("one event");
    assert_eq!(event["Records"][0]["kinesis"]["sequenceNumber"], "3");
    assert_eq!(event["Records"][0]["awsRegion"], "eu-west-1");
}

#[test]
fn a_lambda_reply_that_names_no_record_fails_the_run() {
    let script = r#"cat > /dev/null; echo x >> "$LOG"; [ $(wc -l < "$LOG") = 1 ] && echo '{"batchItemFailures":[{"itemIdentifier":"9"}]}'; exit 0"#;
    let play = Play::new(BATCH, script)
        .with(|s| {
            s.format = Format::Lambda {
                stream_arn: String::new(),
            }
        })
        .run(&["a b"]);
    assert_eq!(
        (play.log.len(), play.letters.len()),
        (3, 0),
        "once whole, then in halves"
    );
}

#[test]
fn a_dead_letter_tells_what_was_wrong_with_a_lambda_reply() {
    let outcome = |reply: &str| {
        let script = format!("cat > /dev/null; echo '{reply}'");
        let play = Play::new(BATCH, &script).with(|s| {
            s.format = Format::Lambda {
                stream_arn: String::new(),
            };
            s.limits.max_attempts = Some(1);
        });
        play.run(&["a"]).outcomes.join(" ")
    };
    let named = r#"{"batchItemFailures":[{"itemIdentifier":"1"}]}"#;
    assert_eq!(outcome(named), "the reply lists it as failed");
    for reply in [
        "undefined",
        r#"{"batchItemFailures":[{"itemIdentifier":"9"}]}"#,
    ] {
        let told = outcome(reply);
        assert!(
            told.starts_with("a reply that") && told.ends_with(&format!(": '{reply}'")),
            "{told}"
        );
    }
}

#[test]
fn a_dead_letter_tells_of_unread_input() {
    let play = Play::new(BATCH, "exec true").with(|s| s.limits.max_attempts = Some(1));
    assert_eq!(
        play.run(&["abc"]).outcomes,
        ["exit code 0, with 4 bytes of its input unread"]
    );
}

#[test]
fn words_in_braces_in_the_arguments_stand_for_the_batch_that_is_given() {
    let play = Play::new(BATCH, r#"cat > /dev/null; echo "$*" >> "$LOG""#)
        .with(|s| {
            s.placeholders = Some("app".into());
            s.command.arguments = ["{name}/{shard}", "{first}", "{last}", "{id}", "{print}"]
                .map(Into::into)
                .into();
        })
        .run(&["a b", "c"]);
    assert_eq!(
        play.log,
        [
            "app/shardId-7 1.0 2.0 shardId-7-1.0 {print}",
            "app/shardId-7 3.0 3.0 shardId-7-3.0 {print}"
        ]
    );
}
