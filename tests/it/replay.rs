//! `kclpipe replay` with real processes: a kclpipe as the child, and children that break each rule.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{write_program, write_script};

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

    /// A replay with the words of `line`, which are quoted as in a shell.
    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(KCLPIPE);
        command
            .arg("replay")
            .args(shlex::split(line).expect("quoted well"))
            .current_dir(self.0.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn replay(&self, line: &str) -> Left {
        let output = self.command(line).output().expect("started");
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

/// Tries all of these at the same time.
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
fn empty_reads_give_windows_and_checkpoints_their_moments() {
    let place = Place::new();
    place.write("records.txt", &numbers(6));
    place.script("handler.sh", "{ tr '\\n' ' '; echo; } >> out");
    let left = place.replay(
        "--json --batch-size 2 --empty-reads 300ms records.txt -- \
         kclpipe --per batch --format lines --batch-window 10ms --checkpoint-batch -- ./handler.sh",
    );
    let report = left.with_code(0).json();
    assert_eq!(place.lines("out"), ["1 2 ", "3 4 ", "5 6 "]);
    assert_eq!(report["checkpoints"], 4, "{report}");
    let place = Place::new();
    place.write("records.txt", &numbers(6));
    place.script("handler.sh", "{ tr '\\n' ' '; echo; } >> out");
    let left = place.replay(
        "--batch-size 2 records.txt -- kclpipe --per batch --format lines --batch-window 1h -- ./handler.sh",
    );
    let left = left.with_code(0);
    assert_eq!(place.lines("out"), ["1 2 3 4 5 6 "]);
    let held = "at most 4 answered and not checkpointed";
    assert!(left.out.contains(held), "{}", left.out);
}

#[test]
fn a_newcomer_sees_the_main_job_work() {
    let place = Place::new();
    place.write("records.txt", "one\ntwo\nthree\n");
    place.script("handler.sh", TAKE);
    let left = place.replay("records.txt -- kclpipe --checkpoint-records 2 -- ./handler.sh");
    let left = left.with_code(0);
    assert_eq!(place.lines("out"), ["one", "two", "three"]);
    assert!(
        left.out
            .contains("3 of 3 records handed to the child, 0 again; 3 checkpointed in 2 checkpoints, now at SHARD_END"),
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
    let left = place.replay("in --batch-size 2 --json -- ./child");
    let report = left.with_code(0).json();
    assert_eq!(
        (&report["delivered"], &report["checkpoints"]),
        (&5.into(), &4.into())
    );
}

#[test]
fn each_fault_is_found_and_said_in_plain_words() {
    let extra = r#"say '{"action":"status","responseFor":"processRecords","x":1}'"#;
    // All at once, for some wait for the time limit.
    at_once(
        [
            (
                "an unknown key",
                child(INITIALIZE, extra, END, ""),
                &["the key 'x'", "wait forever"][..],
            ),
            (
                "no answer",
                child(INITIALIZE, ":", END, ""),
                &["no answer to processRecords", "wait forever"],
            ),
            (
                "another action",
                child("status processRecords", BATCH, END, ""),
                &["'processRecords' when 'initialize'"],
            ),
            (
                "null",
                child(INITIALIZE, "say null", END, ""),
                &["a bare `null`"],
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
                &[
                    "IllegalArgumentException",
                    "after the last delivered record",
                ],
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
                &["exit code 4", "no restarts left"],
            ),
            (
                "no exit",
                child(INITIALIZE, BATCH, END, "exec sleep 600"),
                &["it still runs"],
            ),
        ],
        |(what, script, said)| {
            let place = Place::new();
            place.write("in", "one\n");
            place.script("child", &script);
            let waits = ["an unknown key", "no answer", "no exit"].contains(&what);
            let timeout = if waits { "1s" } else { "60s" };
            let left = place.replay(&format!("in --timeout {timeout} --restarts 1 -- ./child"));
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
        },
    );
}

#[test]
fn what_a_child_prints_besides_is_told_and_does_no_harm() {
    let place = Place::new();
    place.write("in", "one\n");
    place.script(
        "child",
        &child("echo hello; status initialize", BATCH, END, ""),
    );
    let left = place.replay("in -- ./child").with_code(0);
    assert!(
        left.err
            .contains("a line of 5 bytes on its stdout is not a message"),
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
    let left = place.replay("in --json -- kclpipe --checkpoint-records 2 -- ./handler.sh");
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
    let left = place.replay("in --shards 3 --batch-size 4 --json -- kclpipe -- ./handler.sh");
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
        .replay("in -- kclpipe --dead-letter dead -- ./strict.sh")
        .with_code(0);
    place.script(
        "mild.sh",
        "cat >> out; echo \" $KCLPIPE_SEQUENCE_NUMBER\" >> out",
    );
    let left = place.replay("dead -- kclpipe -- ./mild.sh").with_code(0);
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
    place.replay("in -- kclpipe -- ./handler.sh").with_code(0);
    assert_eq!(
        place.lines("out"),
        ["hello greeting 1545079850987 49590338271490256608559692538361571095921575989136588898"]
    );
}

/// What `aws kinesis get-records` printed: an aggregate of the Kinesis Producer Library with three records,
/// and a plain record.
const KPL: &str = r#"{
    "Records": [
        {
            "SequenceNumber": "49590338271490256608559692538361571095921575989136588898",
            "ApproximateArrivalTimestamp": 1763973600.5,
            "Data": "84mawgoFbm9ydGgKBXNvdXRoGgwIABoIYXBwbGVzIDMaCwgBGgdwZWFycyAyGgwIABoIcGx1bXMgMTJVsY1POalvg1Cib5ZPEFyn",
            "PartitionKey": "a"
        },
        {
            "SequenceNumber": "49590338271490256608559692538361571095921575989136588899",
            "ApproximateArrivalTimestamp": 1763973601.5,
            "Data": "ZmlncyAx",
            "PartitionKey": "east"
        }
    ],
    "MillisBehindLatest": 0
}
"#;

#[test]
fn aggregates_are_taken_apart_as_the_daemon_does() {
    let place = Place::new();
    place.write("in", KPL);
    let number = "${KCLPIPE_SEQUENCE_NUMBER#4959033827149025660855969253836157109592157598913658}";
    place.script(
        "handler.sh",
        &format!(
            "echo \"$(cat) $KCLPIPE_PARTITION_KEY {number} $KCLPIPE_SUB_SEQUENCE_NUMBER\" >> out"
        ),
    );
    let left = place.replay("in -- kclpipe -- ./handler.sh").with_code(0);
    assert_eq!(
        place.lines("out"),
        [
            "apples 3 north 8898 0",
            "pears 2 south 8898 1",
            "plums 12 north 8898 2",
            "figs 1 east 8899 0"
        ]
    );
    for said in [
        "'in': 2 records (aws)",
        "1 aggregate of the Kinesis Producer Library split up, as the daemon does: 4 records",
    ] {
        assert!(left.err.contains(said), "{}", left.err);
    }
}

#[test]
fn a_checkpoint_may_stand_within_an_aggregate() {
    let place = Place::new();
    place.write("in", KPL);
    place.script(
        "handler.sh",
        r#"case $(cat) in plums*)
            # Both records before it are stored.
            until [ "$(grep -c '"error":null' captured)" -ge 2 ]; do sleep 0.01; done
            mkdir killed && { kill -9 $PPID; exit 1; } ;;
        esac
        echo $KCLPIPE_PARTITION_KEY >> out"#,
    );
    let left = place
        .replay("in --json -- kclpipe --capture captured --checkpoint-records 1 -- ./handler.sh");
    let report = left.with_code(0).json();
    assert_eq!(report["redelivered"], 2, "those after the second: {report}");
    assert_eq!(report["checkpointed"], 4, "{report}");
    assert_eq!(place.lines("out"), ["north", "south", "north", "east"]);
}

#[test]
fn events_of_a_lambda_function_can_be_played() {
    let place = Place::new();
    let record = r#"{
      "kinesis": {
        "kinesisSchemaVersion": "1.0",
        "partitionKey": "north",
        "sequenceNumber": "49590338271490256608559692538361571095921575989136588898",
        "data": "YXBwbGVzIDM=",
        "approximateArrivalTimestamp": 1763973600.5
      },
      "eventSource": "aws:kinesis"
    }"#;
    place.write("in", &format!("{{\n  \"Records\": [{record}]\n}}\n"));
    place.script(
        "handler.sh",
        "echo \"$(cat) $KCLPIPE_PARTITION_KEY $KCLPIPE_ARRIVAL_TIMESTAMP\" > out",
    );
    let left = place.replay("in -- kclpipe -- ./handler.sh").with_code(0);
    assert_eq!(place.lines("out"), ["apples 3 north 1763973600500"]);
    assert!(left.err.contains("'in': 1 record (lambda)"), "{}", left.err);
}

#[test]
fn json_that_is_not_understood_is_no_lines() {
    let firehose = r#"{"deliveryStreamArn":"arn:aws:firehose:x","records":[{"data":"c2VjcmV0"}]}"#;
    for (text, said) in [
        ("{\n  \"event\": \"secret\"\n}\n", "'Records' is missing"),
        (
            "{\"Records\":[{\"eventSource\":\"aws:sqs\",\"body\":\"secret\"}]}",
            "neither 'Data' (get-records) nor 'kinesis'",
        ),
        (
            "{\n  \"Records\": [{\"PartitionKey\": \"secret\"}]\n}",
            "record 1: 'Data' is missing",
        ),
        (firehose, "a Data Firehose event"),
    ] {
        let place = Place::new();
        place.write("in", text);
        let left = place.replay("in -- kclpipe -- cat").with_code(64);
        let said_so = left.err.contains("the input 'in'") && left.err.contains(said);
        assert!(said_so && !left.err.contains("cret"), "{}", left.err);
        assert_eq!(left.err.lines().count(), 2, "{}", left.err);
    }
}

#[test]
fn a_byte_order_mark_does_not_hide_what_an_input_is() {
    let place = Place::new();
    place.write("in", "\u{feff}one\ntwo\n");
    place.script("handler.sh", TAKE);
    let left = place.replay("in -- kclpipe -- ./handler.sh").with_code(0);
    assert_eq!(place.lines("out"), ["one", "two"]);
    assert!(
        left.err.contains("'in': leaving out its byte order mark"),
        "{}",
        left.err
    );
}

#[test]
fn a_script_without_its_first_line_is_started_as_java_starts_it() {
    let place = Place::new();
    place.write("in", "one\n");
    write_program(
        &place.path("child"),
        &child("echo \"$1\" > argument; status initialize", BATCH, END, ""),
    );
    let left = place.replay("in -- ./child 'a b'").with_code(0);
    assert_eq!(place.lines("argument"), ["a b"]);
    assert!(
        left.err
            .contains("'./child' does not begin with '#!': running it with /bin/sh, as Java does"),
        "{}",
        left.err
    );
}

#[test]
fn a_handler_in_the_childs_place_is_told_where_it_belongs() {
    for (what, script, line, hint) in [
        (
            "one that dies",
            "exit 2",
            "-- ./handler.sh",
            "write: -- kclpipe -- ./handler.sh",
        ),
        (
            "one that ends well",
            "cat > /dev/null & exit 0",
            "-- ./handler.sh 'a b'",
            "write: -- kclpipe -- ./handler.sh 'a b'",
        ),
        ("one that echoes", "", "-- cat", "write: -- kclpipe -- cat"),
        (
            "one that reads on",
            "cat > /dev/null",
            "--timeout 200ms -- ./handler.sh",
            "write: -- kclpipe -- ./handler.sh",
        ),
        (
            "one in the properties",
            "exit 2",
            "--properties my.properties",
            "write: executableName = kclpipe -- ./handler.sh",
        ),
    ] {
        let place = Place::new();
        place.write("in", "one\n");
        place.write("my.properties", "executableName = ./handler.sh\n");
        place.script("handler.sh", script);
        let left = place.replay(&format!("in {line}")).with_code(1);
        assert_eq!(left.err.matches(hint).count(), 1, "{what}: {}", left.err);
    }
    let place = Place::new();
    place.write("in", "one\n");
    let left = place.replay("in -- kclpipe --wrong").with_code(1);
    assert!(!left.err.contains("if it is a handler"), "{}", left.err);
}

#[test]
fn who_says_nothing_at_first_is_asked_about_after_seconds() {
    let place = Place::new();
    place.write("in", "one\n");
    let mut replay = place
        .command("in -- sh -c 'exec cat > /dev/null'")
        .spawn()
        .expect("started");
    let mut err = BufReader::new(replay.stderr.take().expect("piped")).lines();
    err.by_ref()
        .map(|line| line.expect("text"))
        .find(|line| line.contains("no answer to initialize for 5 seconds: 'sh' is not kclpipe"))
        .expect("long before the time limit of ten minutes");
    kill_process(Pid::from_child(&replay), Signal::INT).expect("sent");
    assert_eq!(err.count(), 1, "stopping: closed");
    assert_eq!(replay.wait().expect("ended").code(), Some(1));
}

/// What a terminal shows after it was sent this, without the widths of lines.
fn shown(sent: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut row, mut rest) = (0, sent);
    let mut at_start = true;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '\n' => {
                row += 1;
                lines.resize(lines.len().max(row + 1), String::new());
                at_start = true;
            }
            '\r' => at_start = true,
            '\u{1b}' => {
                let end = rest.find(char::is_alphabetic).expect("a command");
                match &rest[..=end] {
                    "[2K" | "[K" => lines[row].clear(),
                    "[1A" => row -= 1,
                    "[0A" | "[0m" => {}
                    other => panic!("{other:?} is not known here"),
                }
                rest = &rest[end + 1..];
            }
            letter => {
                assert!(
                    !at_start || lines[row].is_empty(),
                    "'{letter}' is written over '{}'",
                    lines[row]
                );
                at_start = false;
                lines[row].push(letter);
            }
        }
    }
    lines
}

#[test]
fn the_bar_comes_late_and_leaves_nothing_between_lines() {
    let place = Place::new();
    place.write("in", "one\ntwo\nthree\n");
    place.script(
        "handler.sh",
        "read -r record; until [ -e go ]; do sleep 0.02; done; echo \"has $record\" >&2",
    );
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&master).expect("granted");
    unlockpt(&master).expect("unlocked");
    let name = ptsname(&master, Vec::new()).expect("a name");
    let name = OsStr::from_bytes(name.to_bytes());
    let terminal = File::options().read(true).write(true).open(name);
    let terminal = terminal.expect("opened");
    let size = Winsize {
        ws_row: 24,
        ws_col: 80,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&terminal, size).expect("sized");
    let started = Instant::now();
    let mut replay = place
        .command("in -- kclpipe -- ./handler.sh")
        .env("TERM", "xterm")
        .stderr(terminal)
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    let (mut sent, mut chunk) = (Vec::new(), [0; 4096]);
    let mut bar_after = None;
    // The terminal's end is an error here.
    while let Ok(length @ 1..) = rustix::io::read(&master, &mut chunk) {
        sent.extend_from_slice(&chunk[..length]);
        if bar_after.is_none() && String::from_utf8_lossy(&sent).contains('░') {
            bar_after = Some(started.elapsed());
            place.write("go", "");
        }
    }
    assert!(replay.wait().expect("ended").success());
    assert!(bar_after >= Some(Duration::from_secs(2)), "{bar_after:?}");
    let screen = shown(std::str::from_utf8(&sent).expect("text"));
    let screen = screen.join("\n");
    assert!(!screen.contains(['░', '█']), "{screen}");
    for record in ["one", "two", "three"] {
        assert!(
            screen.contains(&format!("handler: has {record}\n")),
            "{screen}"
        );
    }
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
    let left = place.replay("in --properties my.properties").with_code(0);
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
    let left = place.replay("in --restarts 0 --properties my.properties");
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
        let left = place.replay(&format!(
            "in --shutdown {way} --batch-size 2 --json -- kclpipe --checkpoint-batch -- ./handler.sh"
        ));
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
    let mut command = place.command("in --json --batch-size 1 -- kclpipe -- cat");
    command
        .env("KCLPIPE_CHECKPOINT_BATCH", "1")
        .env("KCLPIPE_REPORT", "text");
    let output = command.output().expect("started");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["checkpoints"], 5, "one a batch, and the end");
}

#[test]
fn stdin_is_an_input() {
    let place = Place::new();
    place.script("handler.sh", TAKE);
    for line in ["- -- kclpipe -- ./handler.sh", "-- kclpipe -- ./handler.sh"] {
        let mut replay = place
            .command(line)
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
        .command("in --shards 2 -- kclpipe -- ./handler.sh")
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
        rest.iter().any(|line| line.contains("stopping: closed")),
        "{rest:?}"
    );
    assert!(
        out.contains("NOT at its end") && out.ends_with("not every shard reached its end\n"),
        "{out}"
    );
}

/// The ways to run a handler, each with one that appends what it has done to the file `out`.
const WAYS: [&str; 4] = [
    "-- sh -c 'echo \"$(cat)\" >> out'",
    "--jobs 4 -- sh -c 'echo \"$(cat)\" >> out'",
    "--per batch --format lines -- sh -c 'cat >> out'",
    "--per shard --format lines --plain-answers -- \
     sh -c 'while read -r record; do echo \"$record\" >> out; echo ok; done'",
];

/// Plays 30 records to a kclpipe with all faults.
fn rehearse(place: &Place, seed: u64, way: &str, more: &str) -> Value {
    place.write("in", &numbers(30));
    let replay = format!("in --json --batch-size 4 --seed {seed} {more}");
    let bridge = "kclpipe --checkpoint-records 3 --retry-delay 2ms --retry-max-delay 5ms";
    let left = place.replay(&format!("{replay} -- {bridge} {way}"));
    left.with_code(0).json()
}

#[test]
fn no_record_is_lost_whatever_goes_wrong() {
    let mut ends = 0;
    for seed in 0..20 {
        let place = Place::new();
        let way = WAYS[seed as usize % WAYS.len()];
        let report = rehearse(&place, seed, way, "--inject all");
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
        let faults = "--inject all,aggregate=0 --shutdown kill";
        let report = rehearse(&place, seed, way, faults);
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
    let play = |more: &str| {
        let faults = "throttle=0.3,lease-loss=0.2,empty=0.2,aggregate";
        let replay = format!("in --json --batch-size 2 --inject {faults} {more}");
        let bridge = "kclpipe --checkpoint-batch --retry-delay 1ms --per batch";
        let left = place.replay(&format!("{replay} -- {bridge} -- cat"));
        left.with_code(0)
    };
    let first = play("");
    let seed = first.json()["seed"].to_string();
    assert!(
        first.err.contains(&format!("--seed {seed}")),
        "{}",
        first.err
    );
    let again = play(&format!("--seed {seed}"));
    assert_eq!(first.json()["shards"], again.json()["shards"]);
}

/// What the daemon said in a capture, without the times.
fn said_by_daemon(place: &Place, name: &str) -> Vec<Value> {
    let lines = place.lines(name);
    let values = lines.iter().map(|line| {
        let value: Value = serde_json::from_str(line).expect(line);
        value["daemon"].clone()
    });
    values.filter(|said| !said.is_null()).collect()
}

#[test]
fn a_capture_is_played_as_it_was() {
    let place = Place::new();
    place.write("in", &numbers(10));
    let bridge = |file: &str| {
        let options =
            "--checkpoint-batch --retry-delay 1ms --capture-data --per batch --format lines";
        format!("kclpipe {options} --capture {file} -- sh -c 'cat >> out'")
    };
    let faults = "throttle=0.3,lease-loss=0.3,empty=0.2,nulls=0.2,odd-keys";
    let replay = format!("in --batch-size 2 --inject {faults} --seed 3");
    place
        .replay(&format!("{replay} -- {}", bridge("{shard}.jsonl")))
        .with_code(0);
    let first = place.lines("out");
    fs::remove_file(place.path("out")).expect("removed");
    let recorded = "shardId-000000000000.jsonl";
    let left = place
        .replay(&format!("{recorded} -- {}", bridge("again")))
        .with_code(0);
    assert!(left.err.contains("conversations (capture)"), "{}", left.err);
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
fn without_payloads_a_capture_has_their_lengths() {
    let place = Place::new();
    place.write("in", "first secret\nsecret\n");
    place
        .replay("in -- kclpipe --capture captured -- sh -c 'cat > /dev/null'")
        .with_code(0);
    let captured = place.lines("captured").join("\n");
    assert!(!captured.contains("c2Vjcm"), "{captured}");
    assert!(!captured.contains("key-1\""), "{captured}");
    place
        .replay("captured -- kclpipe -- sh -c 'wc -c >> out'")
        .with_code(0);
    assert_eq!(place.lines("out"), ["12", "6"]);
}

#[test]
fn a_capture_that_is_cut_off_is_played_as_far_as_it_is_whole() {
    let place = Place::new();
    place.write("in", "one\ntwo\n");
    place
        .replay("in --batch-size 1 -- kclpipe --capture whole -- true")
        .with_code(0);
    let whole = place.lines("whole");
    place.write(
        "torn",
        &format!("{}\n{}", whole[..3].join("\n"), &whole[4][..40]),
    );
    let left = place.replay("torn --json -- kclpipe -- true").with_code(0);
    assert!(
        left.err.contains("'torn': line 4 was cut off"),
        "{}",
        left.err
    );
    assert_eq!(left.json()["delivered"], 1);
    place.write("hole", &format!("{}\n{{\n{}\n", whole[0], whole[2]));
    for (line, said) in [
        ("hole -- true", "line 2 is not a line of a capture"),
        ("whole in -- true", "played alone"),
        ("whole --inject all -- true", "remove --inject"),
        ("--input-format capture in -- true", "line 1"),
    ] {
        let left = place.replay(line).with_code(64);
        assert!(left.err.contains(said), "{}", left.err);
    }
}

#[test]
fn a_capture_that_cannot_be_written_is_no_trouble() {
    for file in ["/dev/full", "/no/such/folder/captured"] {
        let place = Place::new();
        place.write("in", &numbers(3));
        let left = place.replay(&format!("in -- kclpipe --capture {file} -- sh -c '{TAKE}'"));
        let left = left.with_code(0);
        assert_eq!(place.lines("out"), ["1", "2", "3"]);
        let told = left.err.matches("cannot write the capture").count();
        assert_eq!(told, 1, "{}", left.err);
    }
}

#[test]
fn rules_that_are_broken_only_when_something_goes_wrong() {
    let one = r#"{"action":"checkpoint","sequenceNumber":"49590338271490256608559692538361571095920000000000000001"}"#;
    let null = r#"{"action":"checkpoint"}"#;
    let status = r#"{"action":"status","responseFor":"processRecords"}"#;
    at_once(
        [
            (
                "an error of the last checkpoint is not looked at",
                BATCH.to_owned(),
                "--inject throttle=0.99 --seed 5",
                "would never finish",
            ),
            (
                "two at once",
                format!(
                    "printf '%s\\n' '{null}' '{null}'; read -r a; read -r b; status processRecords"
                ),
                "",
                "a second checkpoint before it had the answer",
            ),
            (
                "a status before the ack",
                format!("printf '%s\\n' '{null}' '{status}'; read -r a"),
                "",
                "cannot know whether that was stored",
            ),
            (
                "back",
                format!("checkpoint null; say '{one}'; read -r a; status processRecords"),
                "",
                "before the last one",
            ),
            (
                "while idle",
                format!("printf '%s\\n' '{status}' '{null}'"),
                "",
                "when no action was open",
            ),
        ],
        |(what, batch, faults, said)| {
            let place = Place::new();
            place.write("in", &numbers(4));
            place.script("child", &child(INITIALIZE, &batch, END, ""));
            let line = format!("in --batch-size 2 --timeout 1s {faults} -- ./child");
            let left = place.replay(&line).with_code(1);
            let first = left.out.lines().find(|line| line.contains("wrong: "));
            let first = first.unwrap_or_else(|| panic!("{what}: {}", left.out));
            assert!(first.contains(said), "{what}: {}", left.out);
            assert!(first.contains("wrong: message "), "{what}: {}", left.out);
        },
    );
}

#[test]
fn to_ask_again_after_the_lease_is_gone_is_in_vain_but_allowed() {
    let place = Place::new();
    place.write("in", &numbers(4));
    let batch = "checkpoint null; checkpoint null; status processRecords";
    place.script("child", &child(INITIALIZE, batch, END, ""));
    let left = place
        .replay("in --batch-size 2 --timeout 60s --inject lease-stolen=0.99 --seed 7 -- ./child");
    let left = left.with_code(0);
    assert!(
        left.out
            .contains("note: a checkpoint after ShutdownException fails in the same way"),
        "{}",
        left.out
    );
}

#[test]
fn a_mistake_is_one_line_and_64() {
    let place = Place::new();
    place.write("in", "{\"data\":\"x\"}\nsecret\n");
    place.write("empty.properties", "streamName = x\n");
    for (line, said) in [
        ("nothing -- cat", "'nothing'"),
        ("in -- cat", "line 2"),
        (
            "--input-format lines in -- ./no-child",
            "cannot start the child './no-child'",
        ),
        ("in", "after '--'"),
        ("in --properties empty.properties", "no executableName"),
        ("in --properties nothing", "'nothing'"),
        ("--shutdown now in -- cat", "--shutdown"),
        (
            "--inject kil in -- cat",
            "'kil' is not a fault: did you mean 'kill'?",
        ),
        ("--seed 1 in -- cat", "--inject"),
    ] {
        let left = place.replay(line).with_code(64);
        let last = left.err.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("kclpipe: ") && last.contains(said),
            "{}",
            left.err
        );
        assert!(!left.err.contains("secret"), "{}", left.err);
    }
}
