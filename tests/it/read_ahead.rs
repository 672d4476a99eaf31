//! Records that are held over several reads: `--read-ahead`, `--batch-window` and what goes with them.

use std::fs;

use rustix::process::Signal;

use crate::harness::{Bridge, Daemon, QUICK, Record};

/// Notes its records on one line, and ends when there is a file `go`.
const WHEN_TOLD: &str = r#"echo "begin $(cat | tr '\n' ' ')" >> log; until [ -e go ]; do sleep 0.01; done; echo end >> log"#;

/// Notes its records on one line.
const NOTE: &str = r#"echo $(cat) >> log"#;

/// The checkpoint that stands for the end of the shard.
const SHARD_END: &str = r#"{"action":"checkpoint","sequenceNumber":null,"subSequenceNumber":null}"#;

const WINDOW: &str = "--per batch --format lines --batch-window";

fn begun(bridge: Bridge) -> Daemon {
    let mut daemon = bridge.start();
    daemon.initialize();
    daemon
}

/// A read of these records, which is answered at once.
#[track_caller]
fn read(daemon: &mut Daemon, numbers: std::ops::RangeInclusive<u32>) {
    daemon.numbers(numbers);
    daemon.expect_status("processRecords");
}

/// A read that finds nothing, with the checkpoints that come in it.
#[track_caller]
fn empty_read(daemon: &mut Daemon) {
    daemon.records_behind(&[], 0.into());
}

#[test]
fn a_read_is_answered_while_its_records_are_worked_on_and_the_next_one_has_their_checkpoint() {
    let bridge = Bridge::new(WHEN_TOLD).options("--read-ahead 1MiB --checkpoint-batch");
    let mut daemon = begun(bridge);
    read(&mut daemon, 1..=1);
    assert_eq!(daemon.expect_lines("log", 1), ["begin 1"]);
    read(&mut daemon, 2..=2);
    fs::write(daemon.path("go"), "").expect("written");
    daemon.expect_lines("log", 4);
    // Nothing is said while no action is open; then what is due comes first.
    empty_read(&mut daemon);
    daemon.expect_status_behind_checkpoints("processRecords");
    daemon.until("both are stored", |daemon| {
        empty_read(daemon);
        daemon.expect_status_behind_checkpoints("processRecords");
        String::from_utf8_lossy(&daemon.stdout()).contains(r#""sequenceNumber":"2""#)
    });
    daemon.finish();
}

#[test]
fn keys_go_on_side_by_side_over_the_border_of_a_read() {
    let script = r#"n=$(cat); echo "begin $n" >> log; [ "$n" != 1 ] || until [ -e go ]; do sleep 0.01; done; echo "end $n" >> log"#;
    let mut daemon = begun(Bridge::new(script).options("--read-ahead 1MiB --jobs 2"));
    for (number, key) in [(1, "a"), (2, "b"), (3, "a")] {
        let record = Record::new(number, number.to_string()).with("partitionKey", key);
        daemon.records(&[record]);
        daemon.expect_status("processRecords");
    }
    let mut log = daemon.expect_lines("log", 3);
    log.sort();
    assert_eq!(
        log,
        ["begin 1", "begin 2", "end 2"],
        "3 is of the key that is at work"
    );
    fs::write(daemon.path("go"), "").expect("written");
    assert_eq!(
        daemon.expect_lines("log", 6)[3..],
        ["end 1", "begin 3", "end 3"]
    );
    daemon.finish();
}

#[test]
fn a_window_collects_over_reads_and_closes_by_size_or_by_the_shards_end() {
    let options = format!("{WINDOW} 1h --batch-size 3");
    let mut daemon = begun(Bridge::new(NOTE).options(&options));
    read(&mut daemon, 1..=2);
    read(&mut daemon, 3..=4);
    assert_eq!(daemon.expect_lines("log", 1), ["1 2 3"]);
    daemon.say(r#"{"action":"shardEnded"}"#);
    daemon.expect(SHARD_END);
    assert_eq!(daemon.lines("log"), ["1 2 3", "4"]);
    daemon.ack(None);
    daemon.expect_status("shardEnded");
    daemon.finish();
}

#[test]
fn a_window_is_over_by_its_time_with_no_read_between() {
    let mut daemon = begun(Bridge::new(NOTE).options(&format!("{WINDOW} 50ms")));
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).expect("a time");
    let now = i64::try_from(now.as_millis()).expect("a time of ours");
    let fresh =
        |number| Record::new(number, number.to_string()).with("approximateArrivalTimestamp", now);
    daemon.records(&[fresh(1), fresh(2)]);
    daemon.expect_status("processRecords");
    assert_eq!(daemon.expect_lines("log", 1), ["1 2"]);
    daemon.finish();
}

#[test]
fn at_a_shutdown_what_runs_is_finished_and_stored_and_what_waits_comes_again() {
    let bridge = Bridge::new(WHEN_TOLD).options("--read-ahead 1MiB");
    let mut daemon = begun(bridge);
    read(&mut daemon, 1..=2);
    daemon.expect_lines("log", 1);
    daemon.say(r#"{"action":"shutdownRequested"}"#);
    fs::write(daemon.path("go"), "").expect("written");
    daemon.expect_checkpoint("1", 0);
    daemon.ack(None);
    daemon.expect_status("shutdownRequested");
    // After what was dropped there would be a gap.
    read(&mut daemon, 3..=3);
    daemon.say(r#"{"action":"leaseLost"}"#);
    daemon.expect_status("leaseLost");
    daemon.finish();
    assert_eq!(daemon.lines("log"), ["begin 1", "end"]);
}

#[test]
fn a_run_that_is_not_over_at_the_end_of_the_drain_is_stopped_and_not_stored() {
    let bridge = Bridge::new(WHEN_TOLD).options("--read-ahead 1MiB --drain-timeout 50ms");
    let mut daemon = begun(bridge);
    read(&mut daemon, 1..=1);
    daemon.expect_lines("log", 1);
    daemon.say(r#"{"action":"shutdownRequested"}"#);
    daemon.expect_log("still at work");
    daemon.expect_status("shutdownRequested");
    daemon.finish();
    assert_eq!(daemon.lines("log"), ["begin 1"]);
}

#[test]
fn a_lost_lease_stops_a_run_in_its_middle() {
    let bridge = Bridge::new(WHEN_TOLD).options("--read-ahead 1MiB");
    let mut daemon = begun(bridge);
    read(&mut daemon, 1..=2);
    daemon.expect_lines("log", 1);
    daemon.say(r#"{"action":"leaseLost"}"#);
    daemon.expect_status("leaseLost");
    daemon.finish();
    assert_eq!(daemon.lines("log"), ["begin 1"]);
}

#[test]
fn a_read_larger_than_the_read_ahead_works_and_is_remarked_once() {
    let mut daemon = begun(Bridge::new("cat >> log; echo >> log").options("--read-ahead 100"));
    for first in [1, 4] {
        daemon.numbers(first..=first + 2);
        daemon.expect_status("processRecords");
    }
    assert_eq!(daemon.expect_lines("log", 6).len(), 6);
    daemon.finish();
    assert_eq!(daemon.log().matches("more than --read-ahead").count(), 1);
}

#[test]
fn a_batch_ends_where_it_takes_half_of_what_may_be_read_ahead() {
    // A record takes about 150 bytes of the daemon's line.
    let options = format!("{WINDOW} 1h --read-ahead 700");
    let mut daemon = begun(Bridge::new(NOTE).options(&options));
    for first in [1, 3, 5] {
        read(&mut daemon, first..=first + 1);
    }
    assert_eq!(daemon.expect_lines("log", 2), ["1 2", "3 4"]);
    daemon.finish();
}

#[test]
fn records_wait_in_files_without_a_name_and_a_directory_that_is_gone_holds_up_the_shard() {
    let options = format!("{WINDOW} 1h --batch-size 4 --spool-dir spool");
    let bridge = Bridge::new(NOTE).options(&options);
    fs::create_dir(bridge.path("spool")).expect("made");
    let mut daemon = begun(bridge);
    read(&mut daemon, 1..=2);
    let names = fs::read_dir(daemon.path("spool"))
        .expect("readable")
        .count();
    assert_eq!(names, 0);
    read(&mut daemon, 3..=4);
    assert_eq!(daemon.expect_lines("log", 1), ["1 2 3 4"]);
    fs::remove_dir(daemon.path("spool")).expect("empty");
    // It fits into the file that is there, or waits in memory until it is done: nothing is lost.
    daemon.numbers(5..=8);
    daemon.expect_status("processRecords");
    assert_eq!(daemon.expect_lines("log", 2)[1], "5 6 7 8");
    daemon.finish();
}

#[test]
fn a_handler_that_lives_on_is_promised_a_next_line_only_where_there_is_one() {
    let script = r#"while read -r line; do
        case $line in *'"last":false'*) last=no;; *) last=yes;; esac
        n=${line#'{"n":'}; n=${n%%,*}
        echo "$n $last" >> log
        [ "$n" != 1 ] || until [ -e go ]; do sleep 0.01; done
        [ $last = no ] || echo "$KCLPIPE_TOKEN upto $n"
    done"#;
    let options = "--per shard --inflight 10 --read-ahead 1MiB --checkpoint-manual";
    let mut daemon = begun(Bridge::new(script).options(options));
    read(&mut daemon, 1..=1);
    assert_eq!(daemon.expect_lines("log", 1), ["1 yes"]);
    // While the first is at work, two reads wait: the border between them is none to the handler.
    read(&mut daemon, 2..=2);
    read(&mut daemon, 3..=3);
    fs::write(daemon.path("go"), "").expect("written");
    let log = daemon.expect_lines("log", 3);
    assert!(log[2] == "3 yes", "{log:?}");
    daemon.finish();
}

#[test]
fn a_kill_in_a_window_tears_no_batch() {
    let options = format!("{WINDOW} 1h --batch-size 4 --batch-bytes 1MiB");
    let script =
        r#"echo $(cat) > out.new; sleep 0.05; mv out.new "out.$KCLPIPE_FIRST_SEQUENCE_NUMBER""#;
    let mut daemon = begun(Bridge::new(script).options(&options));
    read(&mut daemon, 1..=2);
    read(&mut daemon, 3..=5);
    daemon.until("a handler has its input", |daemon| {
        daemon.path("out.new").exists() || daemon.path("out.1").exists()
    });
    daemon.signal(Signal::KILL);
    daemon.until("the handler has ended", |daemon| {
        daemon.path("out.1").exists()
    });
    assert_eq!(daemon.read("out.1"), "1 2 3 4\n", "whole, and no more");
}

#[test]
fn the_metrics_say_what_is_held_and_why_handlers_start() {
    let options =
        format!("{WINDOW} 1h --batch-size 3 --metrics-dir . --name app --stats-every 50ms {QUICK}");
    let mut daemon = begun(Bridge::new(NOTE).options(&options));
    read(&mut daemon, 1..=5);
    let file = format!("kclpipe-app-shardId-0-{}.prom", daemon.id());
    daemon.until("the file says so", |daemon| {
        let text = daemon.read(&file);
        let labels = r#"{name="app",shard="shardId-0""#;
        [
            format!("kclpipe_held_records{labels}}} 2"),
            format!("kclpipe_handler_starts_total{labels},reason=\"size\"}} 1"),
            format!("kclpipe_batch_records_sum{labels}}} 3"),
            format!("kclpipe_batch_bytes_sum{labels}}} 3"),
        ]
        .iter()
        .all(|line| text.contains(line.as_str()))
    });
    daemon.expect_log("2 held");
    daemon.finish();
}
