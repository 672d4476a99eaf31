//! What is told of a lease: the file for Prometheus, the line that sums up, and the levels of what a
//! handler prints.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, Stdio};

use crate::harness::{Bridge, Daemon, QUICK, Record};

/// Metrics go into `m`, and are written with each line that sums up.
const METRICS: &str = "--metrics-dir m --name app --stats-every 50ms";

/// A bridge that keeps metrics in `m`, which is there.
fn measured(script: &str) -> Bridge {
    let bridge = Bridge::new(script).options(METRICS);
    fs::create_dir(bridge.path("m")).expect("made");
    bridge
}

fn begun(bridge: Bridge) -> Daemon {
    let mut daemon = bridge.start();
    daemon.initialize();
    daemon
}

/// The names of all files in `m`.
fn all_files(daemon: &Daemon) -> Vec<String> {
    let entries = fs::read_dir(daemon.path("m")).expect("m");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    names
        .map(|name| name.to_string_lossy().into_owned())
        .collect()
}

/// Those for Prometheus.
fn files(daemon: &Daemon) -> Vec<String> {
    let mut files = all_files(daemon);
    files.retain(|name| name.ends_with(".prom"));
    files
}

/// The one metrics file as it is now, each line as a name with its labels and a value.
fn metrics(daemon: &Daemon) -> BTreeMap<String, f64> {
    let name = format!("m/kclpipe-app-shardId-0-{}.prom", daemon.id());
    let text = daemon.read(&name);
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let name = name.replace(r#"name="app",shard="shardId-0""#, "");
        let name = name.replace("{,", "{").replace("{}", "");
        (name, value.parse().expect("a number"))
    });
    pairs.collect()
}

/// Waits until the metrics file has all of these.
#[track_caller]
fn expect_metrics(daemon: &mut Daemon, expected: &[(&str, f64)]) {
    let what = format!("the metrics have {expected:?}");
    daemon.until(&what, |daemon| {
        let metrics = metrics(daemon);
        expected
            .iter()
            .all(|(name, value)| metrics.get(*name) == Some(value))
    });
}

#[test]
fn the_metrics_file_has_what_became_of_the_records_and_goes_with_the_lease() {
    let script = "case $(cat) in bad) exit 65;; twice) [ $KCLPIPE_ATTEMPT = 2 ] || exit 75;; last) sleep 600;; esac";
    let mut daemon = begun(measured(script).options("--on-failure skip").options(QUICK));
    daemon.until("the file is there", |daemon| !files(daemon).is_empty());
    daemon.payloads(&["good", "bad", "twice", "good", "last"]);
    expect_metrics(
        &mut daemon,
        &[
            (r#"kclpipe_records_total{outcome="done"}"#, 3.0),
            (r#"kclpipe_records_total{outcome="skipped"}"#, 1.0),
            (r#"kclpipe_records_total{outcome="dead_lettered"}"#, 0.0),
            (r#"kclpipe_record_failures_total{reason="rejected"}"#, 1.0),
            (r#"kclpipe_failed_attempts_total{class="reject"}"#, 1.0),
            (r#"kclpipe_failed_attempts_total{class="retry"}"#, 1.0),
            (r#"kclpipe_failed_attempts_total{class="fail"}"#, 0.0),
            (r#"kclpipe_handler_exits_total{class="done",exit="0"}"#, 3.0),
            (
                r#"kclpipe_handler_exits_total{class="reject",exit="65"}"#,
                1.0,
            ),
            (
                r#"kclpipe_handler_exits_total{class="retry",exit="75"}"#,
                1.0,
            ),
            ("kclpipe_handler_duration_seconds_count", 5.0),
            ("kclpipe_record_age_seconds_count", 4.0),
            (r#"kclpipe_record_age_seconds_bucket{le="604800"}"#, 0.0),
            ("kclpipe_retries_total", 1.0),
            ("kclpipe_records_in_flight", 1.0),
            ("kclpipe_blocked", 0.0),
            ("kclpipe_unsaved_records", 4.0),
            (r#"kclpipe_checkpoints_total{result="stored"}"#, 0.0),
        ],
    );
    let behind = metrics(&daemon)["kclpipe_behind_latest_seconds"];
    assert!(
        behind > 86_400.0,
        "'last' arrived years ago and is not done: {behind}"
    );
    daemon.end_input();
    assert_eq!(daemon.wait_exit(), 0);
    assert_eq!(all_files(&daemon), [""; 0]);
}

#[test]
fn the_metrics_of_a_handler_that_lives_on_are_of_its_answers() {
    let script = r#"while read -r line; do case $line in die) exit 1;; esac; echo "$KCLPIPE_TOKEN ok"; done"#;
    let options = "--per shard --format lines --checkpoint-batch";
    let mut daemon = begun(measured(script).options(options).options(QUICK));
    daemon.payloads(&["1", "2", "3"]);
    daemon.expect_checkpoint("3", 0);
    daemon.ack(Some("ThrottlingException"));
    daemon.expect_checkpoint("3", 0);
    daemon.ack(None);
    daemon.expect_status("processRecords");
    daemon.records(&[Record::new(4, "die")]);
    daemon.expect_log("(attempt 4");
    daemon.until("the record blocks", |daemon| {
        let metrics = metrics(daemon);
        metrics.get("kclpipe_blocked") == Some(&1.0)
            && metrics["kclpipe_blocked_seconds"] > 0.0
            && metrics["kclpipe_handler_respawns_total"] >= 2.0
            && metrics[r#"kclpipe_failed_attempts_total{class="fail"}"#] >= 3.0
    });
    expect_metrics(
        &mut daemon,
        &[
            (r#"kclpipe_records_total{outcome="done"}"#, 3.0),
            ("kclpipe_handler_duration_seconds_count", 3.0),
            (r#"kclpipe_checkpoints_total{result="stored"}"#, 1.0),
            (r#"kclpipe_checkpoints_total{result="failed"}"#, 1.0),
            ("kclpipe_unsaved_records", 0.0),
        ],
    );
    daemon.end_input();
    assert_eq!(daemon.wait_exit(), 0);
    assert_eq!(all_files(&daemon), [""; 0]);
}

#[test]
fn no_way_out_leaves_the_metrics_file_behind() {
    type End = (&'static str, fn(&mut Daemon), i32);
    let ends: [End; 5] = [
        ("true", |daemon| daemon.end_input(), 0),
        ("true", |daemon| daemon.say(r#"{"action":"leaseLost"}"#), 0),
        (
            "true",
            |daemon| daemon.say(r#"{"action":"shutdown","reason":"ZOMBIE"}"#),
            0,
        ),
        ("true", |daemon| daemon.say("no JSON"), 70),
        ("exit 9", |daemon| daemon.payloads(&["1"]), 1),
    ];
    for (script, end, code) in ends {
        let mut daemon = begun(measured(script).options("--on-exit 9=halt"));
        daemon.until("the file is there", |daemon| files(daemon).len() == 1);
        end(&mut daemon);
        assert_eq!(daemon.wait_exit_whatever_it_said(), code, "{script}");
        assert_eq!(all_files(&daemon), [""; 0]);
    }
}

#[test]
fn the_files_of_dead_processes_are_removed_and_those_of_living_ones_kept() {
    let mut dead = Command::new("true").spawn().expect("started");
    dead.wait().expect("ended");
    let dead = format!("m/kclpipe-app-shardId-1-{}.prom", dead.id());
    let living = format!("kclpipe-app-shardId-2-{}.prom", std::process::id());
    let bridge = measured("").file(&dead, "");
    let mut daemon = begun(bridge.file(&format!("m/{living}"), ""));
    daemon.until("its own file is there", |daemon| {
        !metrics(daemon).is_empty()
    });
    let mut left = files(&daemon);
    left.sort();
    let ours = format!("kclpipe-app-shardId-0-{}.prom", daemon.id());
    assert_eq!(left, [ours, living]);
    daemon.finish();
}

#[test]
fn a_missing_metrics_directory_is_said_once_and_stops_nothing() {
    let bridge = Bridge::new("cat >>seen").options(METRICS);
    let mut daemon = begun(bridge);
    daemon.expect_log("cannot write the metrics file 'm/kclpipe-app-shardId-0-");
    daemon.payloads(&["one"]);
    daemon.expect_status("processRecords");
    fs::create_dir(daemon.path("m")).expect("made");
    let log = daemon.expect_log("' again");
    assert_eq!(log.matches("cannot write").count(), 1, "{log}");
    assert_eq!(daemon.read("seen"), "one");
    assert_eq!(files(&daemon).len(), 1);
    daemon.finish();
}

#[test]
fn a_replay_has_metrics_as_the_daemon_has() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("records.txt"), "one\ntwo\n").expect("written");
    fs::create_dir(folder.path().join("m")).expect("made");
    let kclpipe = env!("CARGO_BIN_EXE_kclpipe");
    let child = [kclpipe, "--metrics-dir", "m", "--name", "app", "--"];
    let status = Command::new(kclpipe)
        .args(["replay", "records.txt", "--"])
        .args(child)
        .args(["sh", "-c", "cd m; ls *.prom >>../seen"])
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("started");
    assert!(status.success());
    let seen = fs::read_to_string(folder.path().join("seen")).expect("seen");
    let names: Vec<&str> = seen.lines().collect();
    assert_eq!(names.len(), 2, "{names:?}");
    let begin = "kclpipe-app-shardId-000000000000-";
    assert!(
        names.iter().all(|name| name.starts_with(begin)),
        "{names:?}"
    );
    let left = fs::read_dir(folder.path().join("m")).expect("m").count();
    assert_eq!(left, 0);
}

#[test]
fn where_all_is_well_nothing_is_warned_of() {
    let answers = "while read -r line; do echo $KCLPIPE_TOKEN ok; done";
    for (options, script) in [
        ("", "cat >all"),
        ("--per batch", "cat >all"),
        ("--per batch", "cat >all; echo $KCLPIPE_TOKEN upto 3"),
        ("--per batch --format lambda", "cat >all; echo; echo null"),
        ("--per shard --read-ahead 1MiB", answers),
    ] {
        let mut daemon = begun(Bridge::new(script).options(options));
        // A second time, for only then it is sure that the first handler has ended by itself.
        for numbers in [1..=3, 4..=6] {
            daemon.numbers(numbers);
            daemon.expect_status("processRecords");
        }
        daemon.finish();
        let log = daemon.log();
        assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
    }
}

/// The next line stays due where the level hides it: that once left no time for anything else.
#[test]
fn lines_that_the_level_hides_disturb_nothing() {
    let mut daemon = begun(Bridge::new("").options("--stats-every 1ms --log-level warn"));
    for number in 1..=3 {
        daemon.numbers(number..=number);
        daemon.expect_status("processRecords");
    }
    daemon.finish();
    assert_eq!(daemon.log(), "");
}

#[test]
fn a_line_sums_up_each_interval_also_while_nothing_happens() {
    let options = "--stats-every 50ms --retry-delay 20s";
    let mut daemon = begun(Bridge::new("[ $(cat) != bad ]").options(options));
    daemon.expect_log(": 0 records done (0.0/s); checkpoints: 0 stored, none in ");
    daemon.payloads(&["good", "good", "bad"]);
    let log = daemon.expect_log(" by record 3.0\n");
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| line.contains(" done ("))
        .collect();
    assert!(
        lines
            .iter()
            .all(|line| line.contains("INFO  shardId-0 kclpipe: in ")),
        "{log}"
    );
    let done = lines.iter().map(|line| {
        let (before, _) = line.split_once(" done (").expect("it is there");
        let count = before.rsplit(' ').nth(1).expect("a number");
        count.parse::<u32>().expect("a number")
    });
    assert_eq!(done.sum::<u32>(), 2, "{log}");
    let has = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
    assert_eq!(has("; failed attempts: 1 fail; 1 retried; "), 1, "{log}");
    assert!(
        has(" behind latest, 0 in flight, 1 held; BLOCKED for ") > 0,
        "{log}"
    );
    daemon.end_input();
    daemon.wait_exit();
}

#[test]
fn without_the_options_there_is_neither_a_line_nor_a_file() {
    let mut daemon = begun(Bridge::new("sleep 0.2"));
    daemon.payloads(&["one"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert!(!daemon.log().contains("records done"), "{}", daemon.log());
    let entries = fs::read_dir(daemon.path("")).expect("the folder");
    let names: Vec<_> = entries.map(|e| e.expect("an entry").file_name()).collect();
    assert_eq!(names, ["handler"]);
}

#[test]
fn a_handler_may_say_the_level_of_a_line_on_stderr() {
    let script = "for level in E W I D; do echo \"$level! as $level\" >&2; done; echo plain >&2; echo 'E! out'";
    let mut daemon = begun(Bridge::new(script).options("--log-level debug"));
    daemon.payloads(&["one"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    let log = daemon.log();
    for line in [
        "ERROR shardId-0 handler: as E\n",
        "WARN  shardId-0 handler: as W\n",
        "INFO  shardId-0 handler: as I\n",
        "DEBUG shardId-0 handler: as D\n",
        "INFO  shardId-0 handler: plain\n",
        "DEBUG shardId-0 handler: E! out\n",
    ] {
        assert!(log.contains(line), "no {line} in {log}");
    }
}

#[test]
fn each_attempt_is_a_line_at_debug() {
    let lives_on = r#"while read -r line; do echo "$KCLPIPE_TOKEN ok"; done"#;
    for (script, options, ended) in [
        ("exit 0", "", "exit code 0 after 0."),
        (
            lives_on,
            "--per shard --format lines",
            "answered 'done' after 0.",
        ),
    ] {
        let bridge = Bridge::new(script)
            .options("--log-level debug")
            .options(options);
        let mut daemon = begun(bridge);
        daemon.payloads(&["one", "two"]);
        daemon.expect_status("processRecords");
        daemon.finish();
        for number in [1, 2] {
            let line = format!("DEBUG shardId-0 kclpipe: record {number}.0, attempt 1: {ended}");
            assert!(
                daemon.log().contains(&line),
                "no {line} in {}",
                daemon.log()
            );
        }
    }
}
