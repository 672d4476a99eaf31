//! What goes wrong around handlers and on the daemon's side, and what kclpipe leaves behind.

use std::fs;
use std::process::Command;
use std::time::Instant;

use rustix::process::Signal;

use crate::harness::{Bridge, Daemon, QUICK, Record, children_of, status_of, write_script};

/// Starts it and gives it its shard.
fn begun(bridge: Bridge) -> Daemon {
    let mut daemon = bridge.start();
    daemon.initialize();
    daemon
}

/// A handler that notes each handing over as `RECORD ATTEMPT` and then does `script`.
fn noting(script: &str) -> Bridge {
    Bridge::new(&format!(
        "echo \"$KCLPIPE_SEQUENCE_NUMBER $KCLPIPE_ATTEMPT\" >>handed\n{script}"
    ))
}

/// Shell text that waits for [`go`].
const WAIT: &str = "while [ ! -e go ]; do sleep 0.01; done";

fn go(daemon: &Daemon) {
    fs::write(daemon.path("go"), "").expect("written");
}

/// The handler of this script takes these records, and kclpipe ends well behind them.
fn takes(script: &str, payloads: &[&str]) -> Daemon {
    let mut daemon = begun(Bridge::new(script));
    daemon.payloads(payloads);
    daemon.expect_status("processRecords");
    daemon.finish();
    daemon
}

// The command.

#[test]
fn a_command_that_appears_in_time_is_run() {
    let mut daemon = Bridge::running(&["./late"]).start();
    daemon.say_initialize();
    daemon.expect_log("looking again");
    write_script(&daemon.path("late"), "cat >stdin");
    daemon.expect_status("initialize");
    daemon.payloads(&["x"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.read("stdin"), "x");
}

#[test]
fn a_command_that_is_not_executable_is_told_with_its_cure() {
    let mut daemon = Bridge::running(&["./plain"])
        .file("plain", "#!/bin/sh\n")
        .start();
    daemon.say_initialize();
    daemon.expect_log("'./plain' is not executable (chmod +x)");
    write_script(&daemon.path("plain"), "true");
    daemon.expect_status("initialize");
    daemon.finish();
}

/// That a look has an end is in `transcript.rs`, where the five seconds pass at once.
#[test]
fn input_that_ends_while_the_command_is_looked_for_ends_the_look() {
    let mut daemon = Bridge::running(&["./missing"]).start();
    daemon.say_initialize();
    daemon.expect_log("'./missing' cannot be run");
    daemon.expect_log("looking again for 5 s");
    daemon.finish();
    assert!(!daemon.log().contains("giving up"), "{}", daemon.log());
}

#[test]
fn a_command_that_vanishes_later_is_awaited() {
    let bridge = noting("").options("--dead-letter letters --max-attempts 1");
    let mut daemon = begun(bridge.options(QUICK));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    fs::rename(daemon.path("handler"), daemon.path("away")).expect("renamed");
    daemon.numbers(2..=3);
    daemon.until("it was tried three times", |daemon| {
        daemon.log().matches("cannot be started").count() >= 3
    });
    fs::rename(daemon.path("away"), daemon.path("handler")).expect("renamed");
    daemon.expect_status("processRecords");
    daemon.finish();
    let handed = daemon.lines("handed");
    let records: Vec<&str> = handed.iter().filter_map(|line| line.get(..1)).collect();
    assert_eq!(records, ["1", "2", "3"]);
    assert_eq!(daemon.read("letters"), "");
}

#[test]
fn a_script_whose_interpreter_is_missing_is_broken_not_skipped() {
    let bridge = Bridge::new("cat >stdin").options("--on-failure skip --max-attempts 1");
    let mut daemon = begun(bridge.options(QUICK));
    fs::rename(daemon.path("handler"), daemon.path("good")).expect("renamed");
    fs::copy(daemon.path("good"), daemon.path("handler")).expect("copied");
    fs::write(daemon.path("handler"), "#!/no/such/sh\n").expect("written");
    daemon.payloads(&["x"]);
    daemon.expect_log("cannot be started: the interpreter");
    fs::rename(daemon.path("good"), daemon.path("handler")).expect("renamed");
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.read("stdin"), "x");
}

#[test]
fn a_handler_of_the_shard_that_ends_unread_is_told_from_one_that_answered() {
    let script = r#"[ -e go ] || exit 3
        read -r line; echo "$KCLPIPE_TOKEN ok"; exit 4"#;
    let bridge = Bridge::new(script).options("--per shard");
    let mut daemon = begun(bridge.options(QUICK));
    daemon.payloads(&["x"]);
    daemon.expect_log("the handler ended with exit code 3 before it read record 1.0; ");
    go(&daemon);
    daemon.expect_status("processRecords");
    daemon.expect_log("ended with exit code 4, although every record was answered");
    daemon.finish();
}

/// No path leads from a failure to an attempt without a delay, also where no record is charged.
#[test]
fn a_handler_of_the_shard_that_dies_idle_is_not_started_again_at_once() {
    let delay = "--retry-delay 1h --retry-max-delay 1h";
    let answers = r#"read -r line; echo "$KCLPIPE_TOKEN ok""#;
    for script in [
        "exit 0",
        "exit 3",
        "exit 127",
        "kill -KILL $$",
        &format!("{answers}; exit 4"),
        &format!("{answers}; kill -KILL $$"),
    ] {
        let bridge = Bridge::new(&format!("echo >>starts\n{script}"));
        let options = "--per shard --keepalive 10ms";
        let mut daemon = begun(bridge.options(options).options(delay));
        daemon.payloads(&["x", "y"]);
        daemon.expect_lines("starts", 1);
        daemon.until("the handler has ended", |daemon| {
            daemon.processes().is_empty()
        });
        twenty_ticks(&mut daemon);
        assert_eq!(daemon.lines("starts").len(), 1, "{script}");
        daemon.end_input();
        daemon.wait_exit_whatever_it_said();
    }
}

// Its input and output.

#[test]
fn a_handler_need_not_read_its_input() {
    let large = "x".repeat(10 << 20);
    let daemon = takes("echo $KCLPIPE_ATTEMPT >>handed", &[&large, "x"]);
    assert_eq!(daemon.lines("handed"), ["1", "1"]);
    let script = "exec <&-; echo $KCLPIPE_ATTEMPT >>handed";
    let daemon = takes(script, &[&large[..1 << 20], "x"]);
    assert_eq!(daemon.lines("handed"), ["1", "1"]);
}

#[test]
fn a_handler_may_close_its_output_and_go_on() {
    let daemon = takes("exec >&- 2>&-; cat >stdin; sleep 0.1; echo >>done", &["x"]);
    assert_eq!(
        (daemon.read("stdin").as_str(), daemon.lines("done").len()),
        ("x", 1)
    );
}

#[test]
fn a_mebibyte_on_stderr_before_anything_is_read_blocks_nothing() {
    let script = "head -c 1048576 /dev/zero | tr '\\0' e >&2; cat >stdin";
    let daemon = takes(script, &[&"x".repeat(1 << 20)]);
    assert_eq!(daemon.read("stdin").len(), 1 << 20);
}

#[test]
fn ten_megabytes_on_stdout_are_read_while_the_input_is_written() {
    let large = ("x".repeat(99) + "\n").repeat(100_000);
    let daemon = takes("cat | tee stdin", &[&large]);
    assert_eq!(daemon.read("stdin"), large);
}

#[test]
fn a_line_without_an_end_takes_no_memory() {
    let mut daemon = begun(Bridge::new("head -c 60000000 /dev/zero | tr '\\0' x"));
    daemon.payloads(&["x"]);
    daemon.expect_status("processRecords");
    let most = status_of(daemon.id(), "VmHWM").expect("the most memory that it had");
    daemon.finish();
    let kilobytes = most.strip_suffix(" kB").expect("in kB");
    let kilobytes: u32 = kilobytes.parse().expect("a number");
    assert!(kilobytes < 50_000, "{most}");
}

#[test]
fn of_a_flood_a_hundred_lines_a_second_are_logged() {
    for (script, level) in [
        ("seq 1 20000 >&2", "info"),
        ("seq 1 20000", "handler=debug"),
    ] {
        let before = Instant::now();
        let mut daemon = begun(Bridge::new(script).options("--log-level").options(level));
        daemon.payloads(&["x"]);
        daemon.expect_status("processRecords");
        daemon.finish();
        let seconds = usize::try_from(before.elapsed().as_secs()).expect("few");
        let log = daemon.log();
        let logged = log
            .lines()
            .filter(|line| line.contains(" handler: "))
            .count();
        assert!(logged >= 100, "{logged} lines");
        assert!(
            logged <= 102 * (seconds + 2),
            "{logged} lines in {seconds} s"
        );
    }
}

#[test]
fn nothing_that_a_handler_prints_gets_into_the_protocol() {
    let status = r#"{"action":"status","responseFor":"processRecords"}"#;
    let checkpoint = r#"{"action":"checkpoint","sequenceNumber":null,"subSequenceNumber":null}"#;
    let script = "cat; echo; cat <<END\n$KCLPIPE_TOKEN\nEND\ncat said said >&2";
    let bridge = Bridge::new(script).file("said", &format!("\n{status}\n{checkpoint}\n"));
    let mut daemon = begun(bridge.options("--log-level trace"));
    daemon.payloads(&[status, checkpoint]);
    // The token alone makes no answer; so nothing is done, and nothing may be said.
    daemon.expect_log("(attempt 2");
    daemon.finish();
}

#[cfg(target_os = "linux")]
#[test]
fn kclpipes_stdout_is_not_the_protocol() {
    let status = r#"{"action":"status","responseFor":"forged"}"#;
    let daemon = takes(&format!("echo '{status}' >/proc/$PPID/fd/1"), &["x"]);
    assert!(daemon.log().contains("forged"), "it goes to stderr");
}

// Time.

#[test]
fn a_handler_that_never_ends_is_stopped_and_its_record_charged() {
    let options = "--timeout 500ms --max-attempts 2 --dead-letter letters";
    let mut daemon = begun(noting("exec sleep 1000").options(options).options(QUICK));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
    let letter = daemon.read("letters");
    assert!(letter.contains(r#""outcome":"time limit""#), "{letter}");
    let log = daemon.log();
    assert_eq!(log.matches("half of its time limit").count(), 2, "{log}");
    assert_eq!(log.matches("reached its time limit").count(), 2, "{log}");
}

#[test]
fn a_group_that_ignores_the_stop_signal_is_killed_with_everything_in_it() {
    let script = "[ $KCLPIPE_ATTEMPT -ge 2 ] || {
        trap '' TERM
        (sleep 1000; echo) & sleep 1000 | sleep 1000 & sleep 1000
    }";
    let bridge = noting(script).options("--timeout 1s --stop-timeout 200ms");
    let mut daemon = begun(bridge.options(QUICK));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.until("only kclpipe is left", |daemon| {
        daemon.processes().is_empty()
    });
    daemon.finish();
}

#[test]
fn a_grandchild_that_ignores_the_signal_and_holds_the_pipes_holds_up_nothing() {
    let script = "[ $KCLPIPE_ATTEMPT -ge 2 ] || { (trap '' TERM; exec sleep 1000) & wait; }";
    // The grace is longer than any test: the end of the handler alone must be enough.
    let bridge = noting(script).options("--timeout 1s --stop-timeout 1h");
    let mut daemon = begun(bridge.options(QUICK));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
}

#[test]
fn a_handler_that_was_suspended_is_killed_too() {
    let script = "[ $KCLPIPE_ATTEMPT -ge 2 ] || kill -STOP $$";
    let bridge = noting(script).options("--timeout 1s --stop-timeout 100ms");
    let mut daemon = begun(bridge.options(QUICK));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
}

#[test]
fn a_handler_that_ends_well_when_it_is_stopped_has_failed_all_the_same() {
    let script = "[ $KCLPIPE_ATTEMPT -ge 2 ] || { trap 'exit 0' TERM; sleep 1000 & wait; }";
    let mut daemon = begun(noting(script).options("--timeout 1s").options(QUICK));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.lines("handed")[..2], ["1 1", "1 2"]);
}

#[test]
fn the_stop_signal_can_be_chosen() {
    let script = "[ $KCLPIPE_ATTEMPT -ge 2 ] || {
        trap 'echo usr1 >>got; exit 1' USR1
        trap 'echo term >>got; exit 1' TERM
        sleep 1000 & wait
    }";
    let bridge = noting(script).options("--timeout 1s --stop-signal USR1");
    let mut daemon = begun(bridge.options(QUICK));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.lines("got"), ["usr1"]);
}

#[test]
fn progress_starts_the_time_limit_again() {
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do echo progress; sleep 0.1; done";
    let mut daemon = begun(noting(script).options("--timeout 1s").options(QUICK));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.lines("handed"), ["1 1"]);
}

#[test]
fn a_handler_that_has_ended_is_not_timed_out_while_its_output_is_awaited() {
    let bridge =
        noting("sleep 1000 &").options("--timeout 50ms --max-attempts 20 --on-failure skip");
    let mut daemon = begun(bridge.options(QUICK));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
    // The start of a process may take longer than the limit on a busy machine, but not twenty times in a row.
    assert!(!daemon.log().contains("is skipped"), "{}", daemon.log());
}

// Processes.

#[cfg(target_os = "linux")]
#[test]
fn what_a_handler_left_running_is_killed_and_reaped() {
    let mut daemon = begun(Bridge::new(
        "sleep 1000 & (sleep 1000 & echo $! >>pids) & wait $!",
    ));
    daemon.numbers(1..=5);
    daemon.expect_status("processRecords");
    assert_eq!(daemon.lines("pids").len(), 5);
    daemon.until("no process is left", |daemon| daemon.processes().is_empty());
    daemon.until("no zombie is left", |daemon| {
        children_of(daemon.id()).is_empty()
    });
    daemon.finish();
}

#[cfg(target_os = "linux")]
#[test]
fn what_left_the_handlers_group_is_reaped_when_it_ends() {
    let script = "setsid sh -c 'echo >>apart; while [ ! -e go ]; do sleep 0.01; done' &
        while [ ! -e apart ]; do sleep 0.01; done";
    let mut daemon = begun(Bridge::new(script));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    go(&daemon);
    daemon.until("it has ended", |daemon| daemon.processes().is_empty());
    daemon.until("no zombie is left", |daemon| {
        children_of(daemon.id()).is_empty()
    });
    daemon.finish();
}

#[cfg(target_os = "linux")]
#[test]
fn a_handler_has_its_own_group_no_blocked_signal_and_three_descriptors() {
    let script = "cut -d' ' -f5 /proc/$$/stat >group; echo $$ >pid
        grep -E 'SigBlk|SigIgn' /proc/self/status >signals; ls /proc/self/fd >descriptors";
    let daemon = takes(script, &["x"]);
    assert_eq!(daemon.read("group"), daemon.read("pid"));
    let signals = daemon.lines("signals");
    assert_eq!(signals[0], "SigBlk:\t0000000000000000");
    let ignored = signals[1].rsplit('\t').next().expect("a number");
    let ignored = u64::from_str_radix(ignored, 16).expect("a number");
    assert_eq!(ignored & (1 << 12), 0, "SIGPIPE has its usual effect");
    // A descriptor that the test itself was started with is everybody's.
    let usual = Command::new("ls").arg("/proc/self/fd").output();
    let usual = String::from_utf8(usual.expect("ls runs").stdout).expect("numbers");
    assert_eq!(daemon.read("descriptors"), usual);
}

#[cfg(target_os = "linux")]
#[test]
fn kclpipes_descriptors_do_not_grow() {
    fn descriptors(daemon: &Daemon) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", daemon.id()));
        open.expect("kclpipe runs").count()
    }
    let mut daemon = begun(
        Bridge::new("[ $KCLPIPE_SEQUENCE_NUMBER != 7 ] || [ $KCLPIPE_ATTEMPT = 2 ]").options(QUICK),
    );
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    let before = descriptors(&daemon);
    daemon.numbers(2..=200);
    daemon.expect_status("processRecords");
    assert_eq!(descriptors(&daemon), before);
    daemon.finish();
}

// The daemon's side.

#[test]
fn input_that_ends_within_a_record_stops_the_handler_without_an_answer() {
    for script in [
        "sleep 1000",
        "trap '' TERM; sleep 1000 & wait; sleep 1000",
        "trap 'exit 0' TERM; sleep 1000 & wait",
    ] {
        let bridge = noting(script).options("--checkpoint-records 1 --stop-timeout 200ms");
        let mut daemon = begun(bridge);
        daemon.numbers(1..=2);
        daemon.expect_lines("handed", 1);
        daemon.finish();
        assert_eq!(daemon.lines("handed"), ["1 1"], "{script}");
    }
}

#[test]
fn input_that_ends_while_a_record_waits_for_its_next_attempt_ends_the_wait() {
    let mut daemon = begun(noting("exit 1").options("--retry-delay 1h"));
    daemon.numbers(1..=1);
    daemon.expect_log("(attempt 2");
    daemon.finish();
    assert_eq!(daemon.lines("handed"), ["1 1"]);
}

#[test]
fn input_that_ends_while_an_ack_is_awaited_is_the_end() {
    let mut daemon = begun(Bridge::new("").options("--checkpoint-batch"));
    daemon.numbers(1..=1);
    daemon.expect_checkpoint("1", 0);
    daemon.finish();
}

#[test]
fn messages_before_the_end_of_input_are_answered() {
    let mut daemon = Bridge::new("").start();
    daemon.say_initialize();
    daemon.say(r#"{"action":"leaseLost"}"#);
    daemon.end_input();
    daemon.expect_status("initialize");
    daemon.expect_status("leaseLost");
    assert_eq!(daemon.wait_exit(), 0);
}

/// The daemon says this; kclpipe leaves with 70 and one line that has `told`, and the payload is nowhere.
fn breaks(line: &str, told: &str) {
    let mut daemon = begun(Bridge::new("cat"));
    daemon.say(line);
    assert_eq!(daemon.wait_exit(), 70, "{line}");
    let log = daemon.log();
    let errors: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(errors.len(), 1, "{log}");
    assert!(errors[0].contains(told), "{log}");
    assert!(
        !log.contains("c2VjcmV0") && !log.contains("secret"),
        "{log}"
    );
}

#[test]
fn what_breaks_the_protocol_ends_kclpipe_with_one_line_that_does_not_tell_payloads() {
    let record = |data: &str| {
        format!(
            r#"{{"action":"processRecords","records":[{{"data":{data},"partitionKey":"k","sequenceNumber":"49","subSequenceNumber":0}}],"millisBehindLatest":0}}"#
        )
    };
    breaks("c2VjcmV0", "not a message");
    breaks(
        r#"{"action":"processRecords","records":["c2VjcmV0"#,
        "not a message",
    );
    breaks(
        r#"{"action":"processRecords","records":"c2VjcmV0"}"#,
        "not a message",
    );
    breaks(&record(r#"["c2VjcmV0"]"#), "not a message");
    breaks(&record(r#""c2VjcmV0!""#), "record 49.0 is not base64");
    breaks(
        r#"{"action":"dance","data":"c2VjcmV0"}"#,
        "'dance': unknown action",
    );
    breaks(r#"{"data":"c2VjcmV0"}"#, "action");
    breaks(
        r#"{"action":"processRecords","records":[{"data":"c2VjcmV0","sequenceNumber":"x"}]}"#,
        "'x' is not decimal digits",
    );
    breaks(
        r#"{"action":"checkpoint","sequenceNumber":"1","error":null}"#,
        "that nothing asked for",
    );
}

#[test]
fn bad_base64_within_a_batch_ends_kclpipe_when_the_record_is_reached() {
    let mut daemon = begun(noting("").options("--checkpoint-batch"));
    daemon.records(&[Record::new(1, "x"), Record::new(2, "x").with("data", "?")]);
    assert_eq!(daemon.wait_exit(), 70);
    assert_eq!(daemon.lines("handed"), ["1 1"]);
}

#[test]
fn a_message_in_place_of_an_ack_stops_the_running_handler_too() {
    let script = "[ $KCLPIPE_SEQUENCE_NUMBER = 1 ] || sleep 1000";
    let mut daemon = begun(noting(script).options("--checkpoint-records 1"));
    daemon.numbers(1..=2);
    daemon.expect_checkpoint("1", 0);
    daemon.expect_lines("handed", 2);
    daemon.say(r#"{"action":"leaseLost"}"#);
    assert_eq!(daemon.wait_exit(), 70);
}

#[test]
fn a_stdout_that_nobody_reads_is_the_end_of_input() {
    let mut daemon = Bridge::new("").deaf().start();
    daemon.say_initialize();
    assert_eq!(daemon.wait_exit(), 0);
    let log = daemon.log();
    assert!(log.contains("cannot write to the daemon"), "{log}");
}

#[test]
fn a_lost_lease_stops_the_running_handler_and_answers() {
    let script = "[ $KCLPIPE_SEQUENCE_NUMBER = 1 ] || sleep 1000";
    let mut daemon = begun(noting(script).options("--checkpoint-records 1"));
    daemon.numbers(1..=3);
    daemon.expect_checkpoint("1", 0);
    daemon.expect_lines("handed", 2);
    daemon.ack(Some("ShutdownException"));
    daemon.expect_status("processRecords");
    daemon.until("the handler is gone", |daemon| {
        daemon.processes().is_empty()
    });
    daemon.numbers(4..=5);
    daemon.expect_status("processRecords");
    daemon.say(r#"{"action":"leaseLost"}"#);
    daemon.expect_status("leaseLost");
    assert_eq!(daemon.wait_exit(), 0);
    assert_eq!(daemon.lines("handed"), ["1 1", "2 1"]);
}

#[test]
fn a_checkpoint_that_fails_for_a_while_is_tried_again() {
    let bridge = Bridge::new("").options("--checkpoint-batch --log-level debug");
    let mut daemon = begun(bridge.options(QUICK));
    daemon.numbers(1..=1);
    for error in ["ThrottlingException", "RuntimeException"] {
        daemon.expect_checkpoint("1", 0);
        daemon.ack(Some(error));
    }
    daemon.expect_checkpoint("1", 0);
    daemon.ack(None);
    daemon.expect_status("processRecords");
    daemon.finish();
    let log = daemon.log();
    assert_eq!(
        log.matches("from the daemon: checkpoint").count(),
        3,
        "{log}"
    );
}

#[test]
fn a_lost_lease_between_batches_ends_kclpipe() {
    for line in [
        r#"{"action":"leaseLost"}"#,
        r#"{"action":"shutdown","reason":"ZOMBIE"}"#,
    ] {
        let mut daemon = begun(Bridge::new(""));
        daemon.numbers(1..=1);
        daemon.expect_status("processRecords");
        daemon.say(line);
        let action = if line.contains("leaseLost") {
            "leaseLost"
        } else {
            "shutdown"
        };
        daemon.expect_status(action);
        assert_eq!(daemon.wait_exit(), 0);
    }
}

#[test]
fn odd_lines_of_the_daemon_are_understood() {
    let mut daemon = Bridge::new("cat >>stdin; echo \"$KCLPIPE_PARTITION_KEY\" >>keys").start();
    daemon.say_bytes(
        b"\r\n  \n\n{\"action\":\"initialize\",\"shardId\":\"s\",\"sequenceNumber\":null,\"new\":{\"a\":[1]}}\r\n",
    );
    daemon.expect_status("initialize");
    daemon.say_bytes(
        b"{\"new\":1,\"records\":[{\"x\":null,\"data\":\"aGk=\",\"partitionKey\":\"a\xffb\",\"sequenceNumber\":\"1\"}],\"action\":\"processRecords\"}\r\n",
    );
    daemon.expect_status("processRecords");
    daemon.say_bytes(b"{\"action\":\"processRec");
    daemon.finish();
    assert_eq!(daemon.read("stdin"), "hi");
    assert_eq!(daemon.read("keys"), "a\u{fffd}b\n");
}

// Signals to kclpipe.

const STOPS: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

#[test]
fn a_signal_while_a_record_runs_stores_the_run_and_the_work_goes_on() {
    for signal in STOPS {
        let script = format!("[ $KCLPIPE_SEQUENCE_NUMBER = 1 ] || {WAIT}");
        let mut daemon = begun(noting(&script).options("--stop-timeout 300ms"));
        daemon.numbers(1..=3);
        daemon.expect_lines("handed", 2);
        daemon.signal(signal);
        daemon.expect_checkpoint("1", 0);
        daemon.ack(None);
        go(&daemon);
        daemon.expect_status_behind_checkpoints("processRecords");
        daemon.finish();
        assert_eq!(daemon.lines("handed"), ["1 1", "2 1", "3 1"]);
    }
}

#[test]
fn a_signal_while_nothing_is_to_be_done_is_only_noted() {
    for signal in STOPS {
        let mut daemon = begun(noting("").options("--stop-timeout 100ms"));
        daemon.numbers(1..=1);
        daemon.expect_status("processRecords");
        daemon.signal(signal);
        daemon.expect_log(&format!("signal {}", signal.as_raw()));
        daemon.numbers(2..=2);
        daemon.expect_status_behind_checkpoints("processRecords");
        daemon.finish();
        assert_eq!(daemon.lines("handed"), ["1 1", "2 1"]);
    }
}

/// Waits until the keep-alive, every 10 ms, has come twenty times, as a clock.
fn twenty_ticks(daemon: &mut Daemon) {
    for _ in 0..20 {
        let line = daemon.next_line("a keep-alive");
        if line.contains("checkpoint") {
            daemon.ack(None);
        }
    }
}

#[test]
fn after_a_signal_no_attempt_starts_within_the_stop_timeout() {
    for code in [0, 1, 75, 127] {
        let script = format!("{WAIT}; exit {code}");
        let bridge = noting(&script).options("--stop-timeout 1h --keepalive 10ms");
        let mut daemon = begun(bridge.options(QUICK));
        daemon.numbers(1..=2);
        daemon.expect_lines("handed", 1);
        daemon.signal(Signal::TERM);
        daemon.expect_log("signal 15");
        go(&daemon);
        daemon.until("the handler has ended", |daemon| {
            daemon.processes().is_empty()
        });
        twenty_ticks(&mut daemon);
        assert_eq!(daemon.lines("handed"), ["1 1"], "exit {code}");
        daemon.end_input();
        daemon.wait_exit_whatever_it_said();
    }
}

#[test]
fn when_kclpipe_is_killed_the_handler_finishes_alone() {
    let script = format!("cat >stdin; echo >>taken; {WAIT}; echo >>done");
    let mut daemon = begun(Bridge::new(&script));
    daemon.payloads(&["x"]);
    daemon.expect_lines("taken", 1);
    daemon.signal(Signal::KILL);
    assert_eq!(daemon.wait_exit_leaving(), -1);
    go(&daemon);
    daemon.expect_lines("done", 1);
    assert_eq!(daemon.read("stdin"), "x");
}
