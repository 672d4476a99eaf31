//! `kclpipe replay` with real processes: a kclpipe as the child, and children that break each rule.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::write_script;

const KCLPIPE: &str = env!("CARGO_BIN_EXE_kclpipe");

/// Takes a record's payload into the file `out`.
const TAKE: &str = "cat >> out; echo >> out";

/// A folder to run in.
struct Place(TempDir);

/// What a replay left.
struct Left {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Place {
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect(name);
    }

    fn script(&self, name: &str, body: &str) {
        write_script(&self.path(name), body);
    }

    /// The lines of a file that handlers wrote.
    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).expect(name);
        text.lines().map(str::to_owned).collect()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(KCLPIPE);
        command
            .arg("replay")
            .args(arguments)
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn replay(&self, arguments: &[&str]) -> Left {
        let output = self.command(arguments).output().expect("started");
        Left {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Left {
    fn with_code(self, code: i32) -> Left {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    fn json(&self) -> Value {
        assert_eq!(self.out.lines().count(), 1, "{}", self.out);
        serde_json::from_str(&self.out).expect("JSON")
    }
}

/// Tries all of these at the same time: some wait for a time limit.
fn at_once<T: Send>(cases: impl IntoIterator<Item = T>, test: impl Fn(T) + Sync) {
    let test = &test;
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || test(case));
        }
    });
}

fn numbers(count: usize) -> String {
    (1..=count).map(|n| format!("{n}\n")).collect()
}

#[test]
fn a_newcomer_sees_the_main_job_work() {
    let place = Place::new();
    place.write("records.txt", "one\ntwo\nthree\n");
    place.script("handler.sh", TAKE);
    let left = place.replay(&[
        "records.txt",
        "--",
        "kclpipe",
        "--checkpoint-records",
        "2",
        "--",
        "./handler.sh",
    ]);
    let left = left.with_code(0);
    assert_eq!(place.lines("out"), ["one", "two", "three"]);
    assert!(
        left.out
            .contains("3 of 3 records delivered, 0 again; 2 checkpoints, now at SHARD_END"),
        "{}",
        left.out
    );
    assert!(left.out.contains("the protocol was kept"), "{}", left.out);
    assert!(
        left.err.contains("'kclpipe' is this program"),
        "{}",
        left.err
    );
    assert!(
        left.err.contains("'records.txt': 3 records (lines)"),
        "{}",
        left.err
    );
}

/// The daemon's other child: a script that knows the protocol. `$batch` stands for what it does with
/// processRecords, and so on.
fn child(initialize: &str, batch: &str, end: &str, after: &str) -> String {
    format!(
        r#"say() {{ printf '%s\n' "$1"; }}
status() {{ say "{{\"action\":\"status\",\"responseFor\":\"$1\"}}"; }}
checkpoint() {{ say "{{\"action\":\"checkpoint\",\"sequenceNumber\":$1}}"; read -r ack; }}
while read -r line; do
  case $line in
    '{{"action":"initialize"'*) {initialize} ;;
    '{{"action":"processRecords"'*) {batch} ;;
    '{{"action":"shardEnded"'*) {end} ;;
    *) exit 9 ;;
  esac
done
{after}"#
    )
}

const INITIALIZE: &str = "status initialize";
const BATCH: &str = "checkpoint null; status processRecords";
const END: &str = "checkpoint null; status shardEnded";

#[test]
fn any_child_of_the_daemon_may_be_tried() {
    let place = Place::new();
    place.write("in", &numbers(5));
    place.script("child", &child(INITIALIZE, BATCH, END, ""));
    let left = place.replay(&[
        "in",
        "--batch-size",
        "2",
        "--report",
        "json",
        "--",
        "./child",
    ]);
    let report = left.with_code(0).json();
    assert_eq!(
        (&report["delivered"], &report["checkpoints"]),
        (&5.into(), &4.into())
    );
}

#[test]
fn each_fault_is_found_and_said_in_plain_words() {
    let extra = r#"say '{"action":"status","responseFor":"processRecords","x":1}'"#;
    let cases = [
        (
            "an unknown key",
            child(INITIALIZE, extra, END, ""),
            &["the key 'x'", "wait for ever"][..],
        ),
        (
            "no answer",
            child(INITIALIZE, ":", END, ""),
            &["no answer to processRecords", "wait for ever"],
        ),
        (
            "another action",
            child("status processRecords", BATCH, END, ""),
            &["'processRecords' while 'initialize'"],
        ),
        (
            "null",
            child(INITIALIZE, "say null", END, ""),
            &["just 'null'"],
        ),
        (
            "two statuses",
            child(
                INITIALIZE,
                "status processRecords; status processRecords",
                END,
                "",
            ),
            &["processRecords"],
        ),
        (
            "no SHARD_END",
            child(INITIALIZE, BATCH, "status shardEnded", ""),
            &["would never finish"],
        ),
        (
            "a checkpoint too far",
            child(
                INITIALIZE,
                "checkpoint '\"99999999999999999999999999999999999999999999999999999999\"'; status processRecords",
                END,
                "",
            ),
            &["IllegalArgumentException", "beyond what was delivered"],
        ),
        (
            "a checkpoint too early",
            child("checkpoint null; status initialize", BATCH, END, ""),
            &["InvalidStateException", "while answering initialize"],
        ),
        (
            "an end at once",
            "exit 3".to_owned(),
            &["exit code 3 and initialize unanswered"],
        ),
        (
            "an end each time",
            child(INITIALIZE, "exit 4", END, ""),
            &["exit code 4", "no restart is left"],
        ),
        (
            "no exit",
            child(INITIALIZE, BATCH, END, "exec sleep 600"),
            &["it still runs"],
        ),
    ];
    at_once(cases, |(what, script, said)| {
        let place = Place::new();
        place.write("in", "one\n");
        place.script("child", &script);
        let waits = ["an unknown key", "no answer", "no exit"].contains(&what);
        let timeout = if waits { "2s" } else { "60s" };
        let left = place.replay(&[
            "in",
            "--timeout",
            timeout,
            "--restarts",
            "1",
            "--",
            "./child",
        ]);
        let left = left.with_code(1);
        for said in said {
            assert!(left.err.contains(said), "{what}: {}", left.err);
        }
        assert!(left.out.contains("wrong: "), "{what}: {}", left.out);
        assert!(
            !left.err.contains("b25l"),
            "{what}: a payload is not printed: {}",
            left.err
        );
    });
}

#[test]
fn what_a_child_prints_besides_is_told_and_does_no_harm() {
    let place = Place::new();
    place.write("in", "one\n");
    place.script(
        "child",
        &child("echo hello; status initialize", BATCH, END, ""),
    );
    let left = place.replay(&["in", "--", "./child"]).with_code(0);
    assert!(
        left.err
            .contains("a line of 5 bytes on its stdout is no message"),
        "{}",
        left.err
    );
    assert!(left.out.contains("1 skipped line"), "{}", left.out);
}

#[test]
fn a_child_that_is_killed_in_the_middle_loses_no_record() {
    let place = Place::new();
    place.write("in", &numbers(9));
    place.script(
        "handler.sh",
        "record=$(cat); if [ \"$record\" = 6 ] && mkdir killed; then kill -9 $PPID; exit 1; fi; echo \"$record\" >> out",
    );
    let left = place.replay(&[
        "in",
        "--report",
        "json",
        "--",
        "kclpipe",
        "--checkpoint-records",
        "2",
        "--",
        "./handler.sh",
    ]);
    let report = left.with_code(0).json();
    assert_eq!(
        (&report["shards"][0]["restarts"], &report["ok"]),
        (&1.into(), &true.into())
    );
    assert!(
        report["redelivered"].as_u64() >= Some(4),
        "behind the checkpoint at 4: {report}"
    );
    let taken: BTreeSet<String> = place.lines("out").into_iter().collect();
    assert_eq!(taken.len(), 9, "{taken:?}");
}

#[test]
fn several_shards_are_played_at_once_and_each_in_order() {
    let place = Place::new();
    place.write("in", &numbers(40));
    place.script(
        "handler.sh",
        "cat >> $KCLPIPE_SHARD_ID; echo >> $KCLPIPE_SHARD_ID",
    );
    let left = place.replay(&[
        "in",
        "--shards",
        "3",
        "--batch-size",
        "4",
        "--report",
        "json",
        "--",
        "kclpipe",
        "--",
        "./handler.sh",
    ]);
    let report = left.with_code(0).json();
    let shards = report["shards"].as_array().expect("shards");
    let mut all = Vec::new();
    for shard in shards {
        let name = shard["shardId"].as_str().expect("a name");
        let taken: Vec<usize> = place
            .lines(name)
            .iter()
            .map(|line| line.parse().expect("a number"))
            .collect();
        assert_eq!(Some(taken.len() as u64), shard["records"].as_u64());
        assert!(taken.is_sorted(), "{taken:?}");
        all.extend(taken);
    }
    all.sort_unstable();
    assert_eq!((shards.len(), all), (3, (1..=40).collect()));
}

#[test]
fn dead_letters_can_be_played_again() {
    let place = Place::new();
    place.write("in", "good\nbad\n");
    place.script(
        "strict.sh",
        "[ \"$(cat)\" = good ] || { echo $KCLPIPE_SEQUENCE_NUMBER > number; exit 65; }",
    );
    place
        .replay(&[
            "in",
            "--",
            "kclpipe",
            "--dead-letter",
            "dead",
            "--",
            "./strict.sh",
        ])
        .with_code(0);
    place.script(
        "mild.sh",
        "cat >> out; echo \" $KCLPIPE_SEQUENCE_NUMBER\" >> out",
    );
    let left = place
        .replay(&["dead", "--", "kclpipe", "--", "./mild.sh"])
        .with_code(0);
    assert!(
        left.err.contains("'dead': 1 record (jsonl)"),
        "{}",
        left.err
    );
    assert_eq!(
        place.lines("out"),
        [format!("bad {}", place.lines("number")[0])]
    );
}

#[test]
fn what_aws_printed_can_be_played() {
    let place = Place::new();
    place.write(
        "in",
        r#"{
    "Records": [
        {
            "SequenceNumber": "49590338271490256608559692538361571095921575989136588898",
            "ApproximateArrivalTimestamp": "2018-12-17T20:50:50.987000+00:00",
            "Data": "aGVsbG8=",
            "PartitionKey": "greeting"
        }
    ],
    "MillisBehindLatest": 0
}
"#,
    );
    place.script(
        "handler.sh",
        "echo \"$(cat) $KCLPIPE_PARTITION_KEY $KCLPIPE_ARRIVAL_TIMESTAMP $KCLPIPE_SEQUENCE_NUMBER\" > out",
    );
    place
        .replay(&["in", "--", "kclpipe", "--", "./handler.sh"])
        .with_code(0);
    assert_eq!(
        place.lines("out"),
        ["hello greeting 1545079850987 49590338271490256608559692538361571095921575989136588898"]
    );
}

#[test]
fn the_deployed_line_is_tried_as_the_daemon_would_split_it() {
    let place = Place::new();
    place.write("in", "one\n");
    place.write("args", "-- sh -c 'cat > \"the out\"'");
    place.write(
        "my.properties",
        "executableName = wrong\nexecutableName = kclpipe \\\n   @args\n",
    );
    let left = place
        .replay(&["in", "--properties", "my.properties"])
        .with_code(0);
    assert_eq!(place.lines("the out"), ["one"]);
    assert!(
        left.err.contains(r#"runs ["kclpipe", "@args"]"#),
        "{}",
        left.err
    );
    // No quotes: sh gets "'cat", and fails.
    place.write(
        "my.properties",
        "executableName = kclpipe --max-attempts 1 --on-failure halt -- sh -c 'cat > out'\n",
    );
    let left = place.replay(&["in", "--restarts", "0", "--properties", "my.properties"]);
    let left = left.with_code(1);
    assert!(left.err.contains("exit code 2"), "{}", left.err);
    assert!(!place.path("out").exists());
}

#[test]
fn the_daemon_may_end_in_every_way() {
    for (way, end) in [
        ("graceful", "49"),
        ("lease-lost", "49"),
        ("shard-end", "SHARD_END"),
        ("kill", ""),
    ] {
        let place = Place::new();
        place.write("in", &numbers(8));
        place.script("handler.sh", TAKE);
        let left = place.replay(&[
            "in",
            "--shutdown",
            way,
            "--batch-size",
            "2",
            "--report",
            "json",
            "--",
            "kclpipe",
            "--checkpoint-batch",
            "--",
            "./handler.sh",
        ]);
        let report = left.with_code(0).json();
        let at = report["shards"][0]["sequenceNumber"]
            .as_str()
            .expect("a position");
        assert!(at.starts_with(end), "{way}: {at}");
        assert_eq!(
            report["delivered"].as_u64(),
            Some(if way == "kill" { 6 } else { 8 }),
            "{way}"
        );
    }
}

#[test]
fn the_environment_is_the_childs_alone() {
    let place = Place::new();
    place.write("in", &numbers(4));
    let mut command = place.command(&["in", "--report", "json", "--", "kclpipe", "--", "cat"]);
    command
        .env("KCLPIPE_CHECKPOINT_RECORDS", "1")
        .env("KCLPIPE_REPORT", "text");
    let output = command.output().expect("started");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["checkpoints"], 5, "one a record, and the end");
}

#[test]
fn stdin_is_an_input() {
    let place = Place::new();
    place.script("handler.sh", TAKE);
    for arguments in [&["-", "--"][..], &["--"]] {
        let arguments = [arguments, &["kclpipe", "--", "./handler.sh"]].concat();
        let mut replay = place
            .command(&arguments)
            .stdin(Stdio::piped())
            .spawn()
            .expect("started");
        let mut stdin = replay.stdin.take().expect("piped");
        stdin.write_all(b"from a pipe").expect("written");
        drop(stdin);
        assert!(replay.wait().expect("ended").success());
    }
    assert_eq!(place.lines("out"), ["from a pipe", "from a pipe"]);
}

#[test]
fn ctrl_c_ends_the_childrens_input_and_still_reports() {
    let place = Place::new();
    place.write("in", "one\n");
    place.script("handler.sh", "echo here >&2; exec sleep 600");
    let mut replay = place
        .command(&["in", "--shards", "2", "--", "kclpipe", "--", "./handler.sh"])
        .spawn()
        .expect("started");
    let mut err = BufReader::new(replay.stderr.take().expect("piped")).lines();
    err.by_ref()
        .map(|line| line.expect("text"))
        .find(|line| line.contains("here"))
        .expect("the handler starts");
    kill_process(Pid::from_child(&replay), Signal::INT).expect("sent");
    let rest: Vec<String> = err.map(|line| line.expect("text")).collect();
    let mut out = String::new();
    replay
        .stdout
        .take()
        .expect("piped")
        .read_to_string(&mut out)
        .expect("text");
    assert_eq!(replay.wait().expect("ended").code(), Some(1));
    assert!(
        rest.iter().any(|line| line.contains("asked to stop")),
        "{rest:?}"
    );
    assert!(
        out.contains("NOT at its end") && out.ends_with("not every shard reached its end\n"),
        "{out}"
    );
}

/// The ways to run a handler, each with one that appends what it has done to the file `out`.
const WAYS: [&[&str]; 4] = [
    &["--", "sh", "-c", "echo \"$(cat)\" >> out"],
    &["--jobs", "4", "--", "sh", "-c", "echo \"$(cat)\" >> out"],
    &[
        "--per",
        "batch",
        "--format",
        "lines",
        "--",
        "sh",
        "-c",
        "cat >> out",
    ],
    &[
        "--per",
        "shard",
        "--format",
        "lines",
        "--plain-answers",
        "--",
        "sh",
        "-c",
        "while read -r record; do echo \"$record\" >> out; echo ok; done",
    ],
];

/// Plays 30 records to a kclpipe with all faults.
fn rehearse(place: &Place, seed: u64, way: &[&str], more: &[&str]) -> Value {
    place.write("in", &numbers(30));
    let seed = seed.to_string();
    let replay = [
        "in",
        "--report",
        "json",
        "--batch-size",
        "4",
        "--seed",
        &seed,
    ];
    let bridge = [
        "--",
        "kclpipe",
        "--checkpoint-records",
        "3",
        "--retry-delay",
        "2ms",
        "--retry-max-delay",
        "5ms",
    ];
    let left = place.replay(&[&replay, more, &bridge, way].concat());
    left.with_code(0).json()
}

#[test]
fn no_record_is_lost_whatever_goes_wrong() {
    let mut ends = 0;
    for seed in 0..20 {
        let place = Place::new();
        let way = WAYS[seed as usize % WAYS.len()];
        let report = rehearse(&place, seed, way, &["--inject", "all"]);
        let done: BTreeSet<String> = place.lines("out").into_iter().collect();
        assert_eq!(done.len(), 30, "seed {seed}: {report}");
        ends += report["shards"][0]["interruptions"]
            .as_u64()
            .expect("a number");
    }
    assert!(ends >= 20, "the seeds are too kind: {ends}");
}

#[test]
fn every_record_before_a_checkpoint_was_handled() {
    for seed in 0..8 {
        let place = Place::new();
        let way = WAYS[seed as usize % WAYS.len()];
        let faults = ["--inject", "all,aggregate=0", "--shutdown", "kill"];
        let report = rehearse(&place, seed, way, &faults);
        let at = report["shards"][0]["sequenceNumber"].as_str().expect("one");
        let stored: usize = at[at.len().saturating_sub(4)..].parse().unwrap_or(0);
        let done: BTreeSet<String> = place.lines("out").into_iter().collect();
        let lost: Vec<usize> = (1..=stored)
            .filter(|n| !done.contains(&n.to_string()))
            .collect();
        assert!(lost.is_empty(), "seed {seed}: {lost:?} of {stored}");
    }
}

#[test]
fn a_seed_is_told_and_gives_the_same_faults_again() {
    let place = Place::new();
    place.write("in", &numbers(20));
    // Only what is sent, and nothing that depends on how fast the child is.
    let play = |more: &[&str]| {
        let replay = ["in", "--report", "json", "--batch-size", "2", "--inject"];
        let faults = ["throttle=0.3,lease-loss=0.2,empty=0.2,aggregate"];
        let bridge = [
            "--",
            "kclpipe",
            "--checkpoint-batch",
            "--retry-delay",
            "1ms",
        ];
        let handler = ["--per", "batch", "--", "cat"];
        let all = [&replay[..], &faults, more, &bridge, &handler].concat();
        place.replay(&all).with_code(0)
    };
    let first = play(&[]);
    let seed = first.json()["seed"].to_string();
    assert!(
        first.err.contains(&format!("--seed {seed}")),
        "{}",
        first.err
    );
    let again = play(&["--seed", &seed]);
    assert_eq!(first.json()["shards"], again.json()["shards"]);
}

/// What the daemon said in a recording, without the times.
fn said_by_daemon(place: &Place, name: &str) -> Vec<Value> {
    let lines = place.lines(name);
    let values = lines.iter().map(|line| {
        let value: Value = serde_json::from_str(line).expect(line);
        value["daemon"].clone()
    });
    values.filter(|said| !said.is_null()).collect()
}

#[test]
fn a_recording_is_played_as_it_was() {
    let place = Place::new();
    place.write("in", &numbers(10));
    let bridge = [
        "kclpipe",
        "--checkpoint-batch",
        "--retry-delay",
        "1ms",
        "--record-data",
        "--record",
    ];
    let handler = [
        "--per",
        "batch",
        "--format",
        "lines",
        "--",
        "sh",
        "-c",
        "cat >> out",
    ];
    let faults = [
        "in",
        "--batch-size",
        "2",
        "--inject",
        "throttle=0.3,lease-loss=0.3,empty=0.2,nulls=0.2,odd-keys",
        "--seed",
        "3",
        "--",
    ];
    place
        .replay(&[&faults[..], &bridge, &["{shard}.jsonl"], &handler].concat())
        .with_code(0);
    let first = place.lines("out");
    fs::remove_file(place.path("out")).expect("removed");
    let recorded = "shardId-000000000000.jsonl";
    let left = place
        .replay(&[&[recorded, "--"], &bridge[..], &["again"], &handler].concat())
        .with_code(0);
    assert!(
        left.err.contains("conversations (recording)"),
        "{}",
        left.err
    );
    let (was, again) = (
        said_by_daemon(&place, recorded),
        said_by_daemon(&place, "again"),
    );
    let actions = |said: &[Value]| -> BTreeSet<String> {
        said.iter().map(|said| said["action"].to_string()).collect()
    };
    assert_eq!(actions(&was).len(), 5, "{was:?}");
    let errors = was.iter().filter(|said| said["error"].is_string()).count();
    assert!(errors > 0, "{was:?}");
    assert_eq!(was, again);
    assert_eq!(first, place.lines("out"));
}

#[test]
fn without_payloads_a_recording_has_their_lengths() {
    let place = Place::new();
    place.write("in", "first secret\nsecret\n");
    let bridge = ["--", "kclpipe", "--record", "recording", "--", "sh", "-c"];
    let record = [&["in"], &bridge[..], &["cat > /dev/null"]].concat();
    place.replay(&record).with_code(0);
    let recording = place.lines("recording").join("\n");
    assert!(!recording.contains("c2Vjcm"), "{recording}");
    assert!(!recording.contains("key-1\""), "{recording}");
    let replay = [
        "recording",
        "--",
        "kclpipe",
        "--",
        "sh",
        "-c",
        "wc -c >> out",
    ];
    place.replay(&replay).with_code(0);
    assert_eq!(place.lines("out"), ["12", "6"]);
}

#[test]
fn a_recording_that_is_cut_off_is_played_as_far_as_it_is_whole() {
    let place = Place::new();
    place.write("in", "one\ntwo\n");
    let record = [
        "in",
        "--batch-size",
        "1",
        "--",
        "kclpipe",
        "--record",
        "whole",
        "--",
        "true",
    ];
    place.replay(&record).with_code(0);
    let whole = place.lines("whole");
    place.write(
        "torn",
        &format!("{}\n{}", whole[..3].join("\n"), &whole[4][..40]),
    );
    let left = place
        .replay(&["torn", "--report", "json", "--", "kclpipe", "--", "true"])
        .with_code(0);
    assert!(
        left.err.contains("'torn': line 4 was cut off"),
        "{}",
        left.err
    );
    assert_eq!(left.json()["delivered"], 1);
    place.write("hole", &format!("{}\n{{\n{}\n", whole[0], whole[2]));
    for (arguments, said) in [
        (
            &["hole", "--", "true"][..],
            "line 2 is no line of a recording",
        ),
        (&["whole", "in", "--", "true"], "played alone"),
        (
            &["whole", "--inject", "all", "--", "true"],
            "leave --inject out",
        ),
        (
            &["--input-format", "recording", "in", "--", "true"],
            "line 1",
        ),
    ] {
        let left = place.replay(arguments).with_code(64);
        assert!(left.err.contains(said), "{}", left.err);
    }
}

#[test]
fn a_recording_that_cannot_be_written_is_no_trouble() {
    for file in ["/dev/full", "/no/such/folder/recording"] {
        let place = Place::new();
        place.write("in", &numbers(3));
        let bridge = ["kclpipe", "--record", file, "--", "sh", "-c", TAKE];
        let left = place.replay(&[&["in", "--"], &bridge[..]].concat());
        let left = left.with_code(0);
        assert_eq!(place.lines("out"), ["1", "2", "3"]);
        let told = left.err.matches("cannot write the recording").count();
        assert_eq!(told, 1, "{}", left.err);
    }
}

#[test]
fn rules_that_are_broken_only_when_something_goes_wrong() {
    let one = r#"{"action":"checkpoint","sequenceNumber":"49590338271490256608559692538361571095920000000000000001"}"#;
    let null = r#"{"action":"checkpoint"}"#;
    let status = r#"{"action":"status","responseFor":"processRecords"}"#;
    let cases = [
        (
            "an error of the last checkpoint is not looked at",
            BATCH.to_owned(),
            &["--inject", "throttle=0.99"][..],
            "would never finish",
        ),
        (
            "on after the lease is gone",
            "checkpoint null; checkpoint null; status processRecords".to_owned(),
            &["--inject", "lease-stolen=0.99"],
            "although ShutdownException had said",
        ),
        (
            "two at once",
            format!(
                "printf '%s\\n' '{null}' '{null}'; read -r a; read -r b; status processRecords"
            ),
            &[],
            "a second checkpoint before it had the answer",
        ),
        (
            "a status before the ack",
            format!("printf '%s\\n' '{null}' '{status}'; read -r a"),
            &[],
            "cannot know whether that was stored",
        ),
        (
            "back",
            format!("checkpoint null; say '{one}'; read -r a; status processRecords"),
            &[],
            "behind the last one",
        ),
        (
            "while idle",
            format!("printf '%s\\n' '{status}' '{null}'"),
            &[],
            "while no action was under way",
        ),
    ];
    at_once(cases, |(what, batch, faults, said)| {
        let place = Place::new();
        place.write("in", &numbers(4));
        place.script("child", &child(INITIALIZE, &batch, END, ""));
        let replay = ["in", "--batch-size", "2", "--timeout", "2s", "--seed", "5"];
        // A seed is for faults.
        let words = if faults.is_empty() { 5 } else { 7 };
        let all = [&replay[..words], faults, &["--", "./child"]].concat();
        let left = place.replay(&all).with_code(1);
        let first = left.out.lines().find(|line| line.contains("wrong: "));
        let first = first.unwrap_or_else(|| panic!("{what}: {}", left.out));
        assert!(first.contains(said), "{what}: {}", left.out);
        assert!(first.contains("wrong: message "), "{what}: {}", left.out);
    });
}

#[test]
fn a_mistake_is_one_line_and_64() {
    let place = Place::new();
    place.write("in", "{\"data\":\"x\"}\nsecret\n");
    place.write("empty.properties", "streamName = x\n");
    for (arguments, said) in [
        (&["nothing", "--", "cat"][..], "'nothing'"),
        (&["in", "--", "cat"], "line 2"),
        (
            &["--input-format", "lines", "in", "--", "./no-child"],
            "cannot start the child './no-child'",
        ),
        (&["in"], "behind '--'"),
        (
            &["in", "--properties", "empty.properties"],
            "no executableName",
        ),
        (&["in", "--properties", "nothing"], "'nothing'"),
        (&["--shutdown", "now", "in", "--", "cat"], "--shutdown"),
        (
            &["--inject", "kil", "in", "--", "cat"],
            "no fault 'kil'; there are all, throttle",
        ),
        (&["--seed", "1", "in", "--", "cat"], "--inject"),
    ] {
        let left = place.replay(arguments).with_code(64);
        let last = left.err.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("kclpipe: ") && last.contains(said),
            "{}",
            left.err
        );
        assert!(!left.err.contains("secret"), "{}", left.err);
    }
}
