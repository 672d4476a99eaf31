//! Nothing stands still in silence: every handler that holds up its shard has a time limit or a line in the log, and
//! holds up no more than it must.

use std::time::Duration;

use kclpipe::testing::format::Format;
use kclpipe::testing::handler::{OnFailure, Per};
use kclpipe::testing::outcome::{Class, OnExit};

use crate::harness::{Bridge, Daemon, QUICK};
use crate::pool::{BATCH, Play, SHARD};

fn begun(bridge: Bridge) -> Daemon {
    let mut daemon = bridge.start();
    daemon.initialize();
    daemon
}

#[test]
fn a_batch_handler_that_has_answered_and_does_not_end_is_stopped_and_the_next_batch_starts() {
    for answer in [
        "upto 2",
        "checkpoint 2",
        "reject 1\n$KCLPIPE_TOKEN reject 2",
    ] {
        let script = format!("cat >/dev/null; echo \"$KCLPIPE_TOKEN {answer}\"; exec sleep 1000");
        let script = script.replace('\n', "\"; echo \"");
        let options = "--per batch --stop-timeout 20ms --on-failure skip";
        let mut daemon = begun(Bridge::new(&script).options(options));
        for _ in 0..2 {
            daemon.payloads(&["a", "b"]);
            if answer.starts_with("checkpoint") {
                daemon.expect_checkpoint("2", 0);
                daemon.ack(None);
            }
            daemon.expect_status("processRecords");
            let log = daemon.expect_log("had answered every record");
            assert!(
                log.contains("WARN  shardId-0 kclpipe: the handler (process "),
                "{log}"
            );
            if answer.starts_with("checkpoint") {
                break;
            }
        }
        daemon.end_input();
        daemon.wait_exit_whatever_it_said();
    }
}

#[test]
fn with_a_stop_timeout_of_0_a_handler_may_end_by_itself_after_its_last_answer() {
    let script = "cat >/dev/null; echo \"$KCLPIPE_TOKEN upto 1\"; sleep 0.1; echo over >>log";
    let options = "--per batch --stop-timeout 0";
    let mut daemon = begun(Bridge::new(script).options(options));
    daemon.payloads(&["a"]);
    daemon.expect_status("processRecords");
    daemon.expect_lines("log", 1);
    daemon.finish();
}

#[test]
fn a_shard_handler_that_never_reads_blocks_its_shard_and_everybody_can_see_it() {
    for (script, exit, class) in [
        ("exit 0", "0", "fail"),
        ("exit 65", "65", "fail"),
        ("exit 127", "127", "broken"),
    ] {
        let options = "--per shard --metrics-dir . --stats-every 50ms";
        let mut daemon = begun(Bridge::new(script).options(options).options(QUICK));
        daemon.payloads(&["x"]);
        let told = format!(
            "the handler ended with exit code {exit} before it read record 1.0; with --per shard it must"
        );
        let log = daemon.expect_log(&told);
        assert!(
            log.contains(&format!("ERROR shardId-0 kclpipe: {told}")),
            "{log}"
        );
        daemon.expect_log("BLOCKED for ");
        let exits = format!("class=\"{class}\",exit=\"{exit}\"}} ");
        daemon.until("the metrics tell it", |daemon| {
            let folder = std::fs::read_dir(daemon.path("")).expect("the folder");
            let files = folder.map(|entry| entry.expect("an entry").path());
            let metrics = files.filter(|path| path.extension().is_some_and(|e| e == "prom"));
            let text: String = metrics
                .map(|path| std::fs::read_to_string(path).unwrap_or_default())
                .collect();
            let blocked = text
                .lines()
                .any(|line| line.starts_with("kclpipe_blocked{") && line.ends_with(" 1"));
            blocked && text.contains(&exits)
        });
        daemon.end_input();
        daemon.wait_exit();
    }
}

#[test]
fn a_shard_handler_that_ends_between_two_records_is_no_fault() {
    let script = r#"read -r r; echo "$r" >>"$LOG"; echo "$KCLPIPE_TOKEN ok""#;
    let play = Play::new(SHARD, script).with(|s| s.delays.first = Duration::from_secs(3600));
    assert_eq!(play.run(&["a b c"]).log, ["a", "b", "c"]);
}

/// The delays double from attempt to attempt of one record; were they those of the handler's deaths, the last of
/// these would be minutes.
#[test]
fn a_record_that_is_disposed_of_leaves_no_delay_behind() {
    let poison =
        r#"while read -r r; do case $r in bad*) exit 3;; esac; echo "$KCLPIPE_TOKEN ok"; done"#;
    let play = Play::new(SHARD, poison).with(|s| {
        s.delays.first = Duration::from_millis(5);
        s.delays.longest = Duration::from_secs(3600);
        s.limits.max_attempts = Some(3);
    });
    let play = play.run(&["bad1 bad2 bad3 bad4 bad5 good"]);
    assert_eq!(play.letters, ["bad1", "bad2", "bad3", "bad4", "bad5"]);
}

#[test]
fn a_record_that_finds_the_handler_broken_holds_up_only_its_key_while_others_are_done() {
    // 'bad' needs a program that is missing until everything else is handled.
    let script = r#"r=$(cat)
        if [ "$r" = bad ]; then [ "$(grep -c good "$LOG")" = 6 ] || exit 127; fi
        echo "$r" >>"$LOG""#;
    let play = Play::new(Per::Record, script).with(|s| {
        s.jobs = 2;
        s.delays.first = Duration::from_millis(20);
        s.delays.longest = Duration::from_millis(40);
    });
    let play = play.run(&["a:bad b:good c:good a:late d:good e:good b:good f:good"]);
    assert_eq!(play.log[6..], ["bad", "late"]);
}

#[test]
fn nothing_else_starts_while_the_handler_is_broken_for_all() {
    // Every process notes its start; all are broken until the third attempt at the first record.
    let script = r#"r=$(cat); echo "$r$KCLPIPE_ATTEMPT" >>"$LOG"; [ -e "$LOG.works" ] && exit
        [ "$r$KCLPIPE_ATTEMPT" = a3 ] || exit 127; : >"$LOG.works""#;
    let play = Play::new(Per::Record, script).with(|s| {
        s.jobs = 2;
        s.delays.first = Duration::from_millis(20);
        s.delays.longest = Duration::from_millis(40);
    });
    let play = play.run(&["1:a 2:b 3:c 4:d 5:e"]);
    let early: Vec<_> = play.log.iter().take_while(|line| *line != "a3").collect();
    assert!(
        early.iter().all(|line| line.starts_with(['a', 'b'])),
        "the two that found it broken are tried again, and no other: {early:?}"
    );
    assert_eq!(play.events.last().map(String::as_str), Some("done 5"));
}

#[test]
fn a_record_that_blocks_is_an_error_from_the_longest_delay_on() {
    let options = "--retry-delay 10ms --retry-max-delay 40ms";
    let mut daemon = begun(Bridge::new("exit 1").options(options));
    daemon.payloads(&["x"]);
    let log = daemon.expect_log(", failure 4 without limit)\n");
    let level = |failure: u32| {
        let end = format!(", failure {failure} without limit)");
        let line = log
            .lines()
            .find(|line| line.ends_with(&end))
            .expect("it is told");
        line.split_whitespace().nth(1).expect("a level").to_owned()
    };
    assert_eq!([1, 2, 3, 4].map(level), ["WARN", "WARN", "ERROR", "ERROR"]);
    daemon.end_input();
    daemon.wait_exit();
}

#[test]
fn an_answer_without_its_token_is_told_at_once_and_once() {
    let script = "while read -r line; do echo ok; echo ok; done";
    let mut daemon = begun(Bridge::new(script).options("--per shard"));
    daemon.payloads(&["x"]);
    daemon.expect_log(
        "printed 'ok', an answer without its token, so record 1.0 is still unanswered: let it echo ",
    );
    daemon.end_input();
    daemon.wait_exit();
    assert_eq!(daemon.log().matches("without its token").count(), 1);
    assert!(
        daemon
            .log()
            .contains("$KCLPIPE_TOKEN ok, or run kclpipe with --plain-answers")
    );
}

#[test]
fn a_reply_with_a_misspelled_key_is_done_as_on_lambda_and_told() {
    let script = r#"cat >/dev/null; echo '{"batch_item_failures": [{"itemIdentifier": "1"}]}'"#;
    let options = "--per batch --format lambda";
    let mut daemon = begun(Bridge::new(script).options(options));
    for _ in 0..2 {
        daemon.payloads(&["x"]);
        daemon.expect_status("processRecords");
    }
    daemon.finish();
    let told = "the function's reply has no 'batchItemFailures' but 'batch_item_failures' in its place: its batch counts as done";
    assert_eq!(daemon.log().matches(told).count(), 1, "{}", daemon.log());
}

#[test]
fn a_code_that_means_halt_is_one_also_where_the_handler_has_no_record() {
    let script = r#"read -r r; echo "$KCLPIPE_TOKEN ok"; exit 99"#;
    let on_exit = |s: &mut kclpipe::testing::handler::Settings| {
        s.on_exit = OnExit(vec![(99, Class::Halt)]);
    };
    let mut play = Play::new(SHARD, script).with(on_exit);
    play.settings.on_failure = OnFailure::Block;
    assert_eq!(play.run(&["a b"]).events, ["done 1", "halted"]);
}

#[test]
fn a_lease_at_latest_hands_its_first_record_over_alone() {
    let options = "--per batch --format lines";
    let mut daemon = Bridge::new("echo $(cat) >>log").options(options).start();
    daemon.say(r#"{"action":"initialize","shardId":"shardId-0","sequenceNumber":"LATEST","subSequenceNumber":0}"#);
    daemon.expect_status("initialize");
    daemon.payloads(&["a", "b", "c"]);
    daemon.expect_checkpoint("1", 0);
    daemon.ack(None);
    daemon.expect_status("processRecords");
    daemon.payloads(&["d", "e"]);
    daemon.expect_status("processRecords");
    assert_eq!(daemon.lines("log"), ["a", "b c", "d e"]);
    daemon.finish();
}

#[test]
fn a_batch_that_finds_the_handler_broken_after_others_were_done_is_tried_again_alone() {
    let script = r#"r=$(cat); case $r in *bad*) [ -e "$LOG.once" ] || { : >"$LOG.once"; exit 127; };; esac; echo $r >>"$LOG""#;
    let play = Play::new(BATCH, script).with(|s| s.format = Format::Lines);
    let play = play.run(&["a b", "bad c"]);
    assert_eq!(play.log, ["a b", "bad c"]);
}
