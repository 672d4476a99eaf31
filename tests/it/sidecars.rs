//! The commands beside the handlers: what takes dead letters, and the hook.

use serde_json::Value;

use crate::harness::{Bridge, Daemon, KEEPALIVE, QUICK, write_script};
use crate::pool::{BATCH, Play, window};

/// A handler that rejects every record but those that begin with `good`.
const PICKY: &str = r#"case $(cat) in good*) ;; *) echo "no good" >&2; exit 65 ;; esac"#;

/// A bridge with this handler, whose dead letters this script takes.
fn taken(handler: &str, script: &str) -> Bridge {
    let bridge = Bridge::new(handler)
        .options(QUICK)
        .options("--dead-letter-command ./take");
    write_script(&bridge.path("take"), script);
    bridge
}

/// A bridge with a handler that does nothing, and this hook.
fn hooked(script: &str) -> Bridge {
    let bridge = Bridge::new("cat >/dev/null")
        .options(QUICK)
        .options("--hook ./hook");
    write_script(&bridge.path("hook"), script);
    bridge
}

fn begun(bridge: Bridge) -> Daemon {
    let mut daemon = bridge.start();
    daemon.initialize();
    daemon
}

#[test]
fn a_command_takes_each_dead_letter_on_its_stdin() {
    let script = r#"cat >>letters; echo $(env | grep '^KCLPIPE_' | sort) >>given"#;
    let bridge = taken(PICKY, script).variable("KCLPIPE_LOG_LEVEL", "info");
    let mut daemon = begun(bridge);
    daemon.payloads(&["bad one", "good", "bad two"]);
    daemon.expect_status("processRecords");
    let letters: Vec<Value> = daemon
        .lines("letters")
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let fields = letters.iter().map(|letter| {
        let text = |field: &str| letter[field].as_str().expect(field);
        (
            text("sequenceNumber"),
            text("outcome"),
            text("stderr"),
            text("dataBase64"),
        )
    });
    assert_eq!(
        fields.collect::<Vec<_>>(),
        [
            ("1", "exit code 65", "no good\n", "YmFkIG9uZQ=="),
            ("3", "exit code 65", "no good\n", "YmFkIHR3bw=="),
        ]
    );
    assert_eq!(
        daemon.lines("given"),
        [1, 3].map(|number| format!(
            "KCLPIPE_SEQUENCE_NUMBER={number} KCLPIPE_SHARD_ID=shardId-0 KCLPIPE_SUB_SEQUENCE_NUMBER=0"
        ))
    );
    daemon.expect_log("'./take' took it (--dead-letter-command)");
    daemon.finish();
}

#[test]
fn the_command_is_split_as_a_file_is_and_what_it_prints_is_logged() {
    let bridge = Bridge::new(PICKY).file(
        "args",
        r#"--log-level info,handler=debug
           --dead-letter-command "sh -c 'cat >letter; echo out; echo \"two  words\" >&2'"
           -- ./handler"#,
    );
    let mut daemon = bridge.start_with(&["@args"]);
    daemon.initialize();
    daemon.payloads(&["bad"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    let log = daemon.log();
    assert!(
        log.contains("out\n") && log.contains("two  words\n"),
        "{log}"
    );
    assert_eq!(daemon.lines("letter").len(), 1);
}

#[test]
fn nothing_is_passed_over_before_the_command_has_the_letter() {
    let script = "[ -e space ] || { echo no >>tries; exit 3; }; cat >>letters";
    let bridge = taken(PICKY, script).options("--checkpoint-records 1");
    let mut daemon = begun(bridge);
    daemon.payloads(&["good", "bad", "good"]);
    daemon.expect_checkpoint("1", 0);
    daemon.ack(None);
    daemon.expect_lines("tries", 3);
    daemon.expect_log(
        "record 2.0 was rejected: exit code 65; './take' did not take its dead letter (--dead-letter-command): exit code 3; it blocks its shard; offering its letter again in",
    );
    std::fs::write(daemon.path("space"), "").expect("written");
    daemon.expect_status_behind_checkpoints("processRecords");
    assert_eq!(daemon.lines("letters").len(), 1);
    daemon.finish();
}

#[test]
fn a_command_that_does_not_read_its_letter_has_not_taken_it() {
    let mut daemon = begun(taken(PICKY, "exit 0"));
    daemon.payloads(&["bad"]);
    daemon.expect_log("bytes of its input unread");
    daemon.end_input();
    assert_eq!(daemon.wait_exit(), 0, "and no status");
}

#[test]
fn a_command_that_vanishes_blocks_until_it_is_back() {
    let mut daemon = begun(taken(PICKY, "cat >>letters"));
    let (take, gone) = (daemon.path("take"), daemon.path("gone"));
    std::fs::rename(&take, &gone).expect("renamed");
    daemon.payloads(&["bad"]);
    daemon.expect_log("'./take' did not take its dead letter (--dead-letter-command): it cannot be started: No such file");
    std::fs::rename(&gone, &take).expect("renamed");
    daemon.expect_status("processRecords");
    assert_eq!(daemon.lines("letters").len(), 1);
    daemon.finish();
}

#[test]
fn the_conversation_goes_on_while_a_letter_is_taken_which_has_a_time_limit() {
    let script = "echo x >>tries; exec sleep 1000";
    let options = "--timeout 300ms --stop-timeout 50ms --keepalive 20ms";
    let mut daemon = begun(taken(PICKY, script).options(options));
    daemon.payloads(&["bad"]);
    daemon.expect_lines("tries", 1);
    for _ in 0..5 {
        daemon.expect(KEEPALIVE);
    }
    daemon.expect_lines("tries", 2);
    daemon.expect_log("it reached its time limit of 300ms (--timeout) and was stopped");
    daemon.end_input();
    assert_eq!(daemon.wait_exit_whatever_it_said(), 0);
}

#[test]
fn a_lost_lease_stops_what_takes_letters_too() {
    let bridge = taken(PICKY, "echo x >>tries; exec sleep 1000");
    let mut daemon = begun(bridge.options("--checkpoint-records 1"));
    daemon.payloads(&["good", "bad"]);
    daemon.expect_checkpoint("1", 0);
    daemon.expect_lines("tries", 1);
    daemon.ack(Some("ShutdownException"));
    daemon.expect_status("processRecords");
    assert_eq!(daemon.processes(), []);
    daemon.say(r#"{"action":"leaseLost"}"#);
    daemon.expect_status("leaseLost");
    assert_eq!(daemon.wait_exit(), 0);
}

#[test]
fn a_shards_handler_goes_on_while_its_letters_are_taken() {
    let script = r#"
        echo start >>$LOG
        while IFS= read -r line; do
            case $line in bad) word=reject ;; *) word=ok ;; esac
            n=$((n + 1)); echo "$KCLPIPE_TOKEN $word $n"
        done"#;
    let outcome = Play::new(window(4), script)
        .with_letters_to("cat")
        .run(&["a bad b bad c"]);
    assert_eq!(outcome.log, ["start"]);
    assert_eq!(outcome.letters, ["bad", "bad"]);
    assert_eq!(outcome.events.last().map(String::as_str), Some("done 5"));
}

#[test]
fn the_rest_of_a_batch_goes_on_while_its_letters_are_taken() {
    let script = r#"while IFS= read -r line; do
            [ "$line" = bad ] && exit 65
            n=$((n + 1)); echo "$line" >>$LOG; echo "$KCLPIPE_TOKEN ok $n"
        done"#;
    let outcome = Play::new(BATCH, script)
        .with_letters_to("cat")
        .run(&["a bad b bad", "c"]);
    assert_eq!(outcome.log, ["a", "b", "c"]);
    assert_eq!(outcome.letters, ["bad", "bad"]);
    assert_eq!(outcome.events.last().map(String::as_str), Some("done 5"));
}

#[test]
fn letters_are_taken_one_at_a_time_and_any_number_of_them() {
    let take = "mkdir busy || exit 9; cat; rmdir busy";
    let words = "k1:bad k2:bad k3:bad k1:bad k2:bad k3:bad";
    let outcome = Play::new(kclpipe::testing::handler::Per::Record, "exit 65")
        .with(|settings| settings.jobs = 3)
        .with_letters_to(take)
        .run(&[words]);
    assert_eq!(outcome.letters, ["bad"; 6]);
    assert_eq!(outcome.events.last().map(String::as_str), Some("done 6"));
}

/// Notes what the hook is told.
const NOTES: &str = r#"echo "$KCLPIPE_EVENT $KCLPIPE_SHARD_ID $KCLPIPE_SEQUENCE_NUMBER $KCLPIPE_SUB_SEQUENCE_NUMBER" >>events"#;

#[test]
fn the_hook_is_told_what_it_is_run_for() {
    let mut daemon = hooked(NOTES).start();
    daemon.say(r#"{"action":"initialize","shardId":"shardId-0","sequenceNumber":"5","subSequenceNumber":2}"#);
    daemon.expect_status("initialize");
    daemon.say(r#"{"action":"shutdownRequested"}"#);
    daemon.expect_status("shutdownRequested");
    daemon.say(r#"{"action":"leaseLost"}"#);
    daemon.expect_status("leaseLost");
    assert_eq!(daemon.wait_exit(), 0);
    assert_eq!(
        daemon.lines("events"),
        [
            "initialize shardId-0 5 2",
            "shutdown shardId-0  ",
            "lease-lost shardId-0  "
        ]
    );
}

#[test]
fn the_end_of_a_shard_is_stored_when_the_hook_has_succeeded() {
    let script = format!(
        "{NOTES}; [ $KCLPIPE_EVENT = initialize ] || [ -e ready ] || {{ echo x >>tries; exit 4; }}"
    );
    let mut daemon = begun(hooked(&script));
    daemon.payloads(&["a"]);
    daemon.expect_status("processRecords");
    daemon.say(r#"{"action":"shardEnded"}"#);
    daemon.expect_lines("tries", 3);
    daemon.expect_log(
        "the hook for shard-end failed: exit code 4; this shard waits; running it again in",
    );
    std::fs::write(daemon.path("ready"), "").expect("written");
    daemon.expect(r#"{"action":"checkpoint","sequenceNumber":null,"subSequenceNumber":null}"#);
    daemon.expect_log("the hook for shard-end is done");
    daemon.ack(None);
    daemon.expect_status("shardEnded");
    assert_eq!(daemon.wait_exit(), 0);
    assert_eq!(
        daemon.lines("events").first().map(String::as_str),
        Some("initialize shardId-0  ")
    );
}

#[test]
fn the_first_record_waits_for_the_hook() {
    let script = "[ -e warm ] || { echo x >>tries; exit 1; }";
    let mut daemon = hooked(script).start();
    daemon.say_initialize();
    daemon.expect_lines("tries", 2);
    std::fs::write(daemon.path("warm"), "").expect("written");
    daemon.expect_status("initialize");
    daemon.finish();
}

#[test]
fn a_hook_that_is_missing_is_a_mistake_of_the_configuration() {
    // What follows when it stays missing is the same as for a handler.
    for option in ["--hook", "--dead-letter-command"] {
        let bridge = Bridge::new("cat").options(option);
        let mut daemon = bridge.options("./no-such-command").start();
        daemon.say_initialize();
        daemon.expect_log(&format!("the {option} './no-such-command' cannot be run"));
        daemon.expect_log("looking again for 5 s");
        daemon.finish();
        assert!(daemon.stdout().is_empty(), "the lease has not begun");
    }
}

#[test]
fn input_that_ends_while_the_hook_runs_stops_it() {
    let mut daemon = hooked("echo x >>tries; exec sleep 1000").start();
    daemon.say_initialize();
    daemon.expect_lines("tries", 1);
    daemon.end_input();
    assert_eq!(daemon.wait_exit(), 0);
}

#[test]
fn a_hook_at_the_loss_of_a_lease_has_little_time_and_its_failure_is_only_logged() {
    for (script, time, told) in [
        (
            "exec sleep 1000",
            "50ms",
            "it was still running after 50ms and was stopped (--stop-timeout)",
        ),
        ("exit 7", "20s", "exit code 7"),
    ] {
        let script = format!("[ $KCLPIPE_EVENT = initialize ] || {script}");
        let options = format!("--stop-timeout {time}");
        let mut daemon = begun(hooked(&script).options(&options));
        daemon.say(r#"{"action":"leaseLost"}"#);
        daemon.expect_status("leaseLost");
        assert_eq!(daemon.wait_exit(), 0);
        let told = format!("the hook for lease-lost failed: {told}\n");
        assert!(daemon.log().contains(&told), "{}", daemon.log());
    }
}

#[test]
fn with_a_stop_timeout_of_0_the_hook_at_the_loss_of_a_lease_runs_all_the_same() {
    let script = "[ $KCLPIPE_EVENT = initialize ] || { sleep 0.05; echo x >>ran; }";
    let mut daemon = begun(hooked(script).options("--stop-timeout 0"));
    daemon.say(r#"{"action":"leaseLost"}"#);
    daemon.expect_status("leaseLost");
    assert_eq!(daemon.wait_exit(), 0);
    assert_eq!(daemon.lines("ran"), ["x"]);
}
