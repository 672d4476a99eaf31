//! What no death, no rotation, no lock and no full disk may break: inputs are whole, letters are kept, and
//! everything has an end.

use std::fs::{self, File};
use std::io::Write;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use crate::harness::{Bridge, Daemon, QUICK, Record};

/// More than any pipe holds that nobody reads.
const LARGE: usize = 1024 * 1024;

/// Waits for a file with the name `go`, and for nothing longer than a test may take.
const AWAIT_GO: &str = "n=0; while [ ! -e go ] && [ $n -lt 2000 ]; do sleep 0.01; n=$((n+1)); done";

fn begun(bridge: Bridge) -> Daemon {
    let mut daemon = bridge.start();
    daemon.initialize();
    daemon
}

fn go(daemon: &Daemon) {
    fs::write(daemon.path("go"), "").expect("written");
}

/// Starts a handler with a large record, which it reads only when the file `go` is there, and what it has read
/// by then is in `seen`.
fn with_a_large_record(before: &str, options: &str) -> Daemon {
    let script =
        format!("{before}; echo ready >ready; {AWAIT_GO}; wc -c >counted; mv counted seen");
    let mut daemon = begun(Bridge::new(&script).options(options));
    daemon.records(&[Record::new(1, vec![b'x'; LARGE])]);
    daemon.expect_lines("ready", 1);
    daemon
}

fn expect_all_of_it(daemon: &mut Daemon) {
    daemon.expect_lines("seen", 1);
    assert_eq!(daemon.read("seen").trim(), LARGE.to_string());
}

#[test]
fn a_handler_that_outlives_kclpipe_has_the_whole_record() {
    for options in ["", "--per batch --format raw"] {
        let mut daemon = with_a_large_record(":", options);
        daemon.signal(Signal::KILL);
        daemon.until("kclpipe is gone", |daemon| {
            crate::harness::status_of(daemon.id(), "State").is_none_or(|state| state.contains('Z'))
        });
        go(&daemon);
        expect_all_of_it(&mut daemon);
    }
}

#[test]
fn a_handler_that_does_not_heed_the_stop_signal_has_the_whole_record() {
    for (trap, heeds) in [("trap '' TERM", false), ("trap 'echo x >heard' TERM", true)] {
        let mut daemon = with_a_large_record(trap, "--stop-timeout 20s");
        daemon.end_input();
        // A handler that is done before kclpipe has seen the end of its input is not stopped at all.
        daemon.expect_log("stdin closed while the daemon awaited an answer");
        // What the handler runs dies of the signal, so that has come before it reads.
        if heeds {
            daemon.expect_lines("heard", 1);
        }
        go(&daemon);
        assert_eq!(daemon.wait_exit(), 0);
        expect_all_of_it(&mut daemon);
    }
}

/// The input of a handler that lives on goes through a pipe: it stays open until the handler is killed.
#[test]
fn a_handler_of_the_shard_that_is_stopped_does_not_see_the_end_of_a_part() {
    let script =
        format!("trap '' TERM; echo ready >ready; {AWAIT_GO}; wc -c >seen; echo done >done");
    let bridge = Bridge::new(&script).options("--per shard --format lines --stop-timeout 300ms");
    let mut daemon = begun(bridge);
    daemon.records(&[Record::new(1, vec![b'x'; LARGE])]);
    daemon.expect_lines("ready", 1);
    go(&daemon);
    daemon.until("it reads", |daemon| daemon.path("seen").exists());
    daemon.end_input();
    assert_eq!(daemon.wait_exit(), 0);
    let seen = daemon.read("seen");
    assert!(
        seen.is_empty() || seen.trim() == (LARGE + 1).to_string(),
        "{seen}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn an_input_that_is_a_file_may_be_opened_by_its_name() {
    let options = "--per batch --format raw";
    let mut daemon = begun(Bridge::new("cat /dev/stdin | wc -c >size").options(options));
    daemon.records(&[Record::new(1, vec![b'x'; LARGE])]);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.read("size").trim(), LARGE.to_string());
}

#[test]
fn what_is_left_unread_of_a_file_is_told() {
    let script = "[ -e go ] && exec cat >all; head -c 10 >part";
    let bridge = Bridge::new(script).options("--per batch --format raw --on-failure block");
    let mut daemon = begun(bridge.options(QUICK));
    daemon.records(&[Record::new(1, vec![b'x'; LARGE])]);
    daemon.expect_log("bytes of its input unread");
    go(&daemon);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.read("all").len(), LARGE);
}

#[test]
fn a_locked_dead_letter_file_makes_nobody_deaf() {
    let mut daemon = begun(Bridge::new("exit 65").options("--dead-letter letters"));
    let other = File::create(daemon.path("letters")).expect("made");
    flock(&other, FlockOperation::LockExclusive).expect("locked");
    daemon.payloads(&["x"]);
    let line = daemon.expect_log(" has locked the dead-letter file 'letters' for");
    assert!(line.contains("letters wait for it"), "{line}");
    daemon.end_input();
    assert_eq!(daemon.wait_exit(), 0, "and no status");
    assert_eq!(daemon.read("letters"), "");
}

#[test]
fn a_letter_waits_for_a_lock_and_its_handler_is_not_run_again() {
    let bridge = Bridge::new("echo ran >>ran; exit 65").options("--dead-letter letters");
    let mut daemon = begun(bridge);
    let other = File::create(daemon.path("letters")).expect("made");
    flock(&other, FlockOperation::LockExclusive).expect("locked");
    daemon.payloads(&["x"]);
    daemon.expect_log(" has locked the dead-letter file 'letters' for");
    drop(other);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.lines("ran").len(), 1);
    assert_eq!(daemon.lines("letters").len(), 1);
}

/// The file is moved away, read and removed while the letter waits for its lock.
#[test]
fn a_letter_that_was_waited_for_is_in_the_file_that_has_the_name() {
    let mut daemon = begun(Bridge::new("exit 65").options("--dead-letter letters"));
    let other = File::create(daemon.path("letters")).expect("made");
    flock(&other, FlockOperation::LockExclusive).expect("locked");
    daemon.payloads(&["x"]);
    daemon.expect_log("has locked the dead-letter file");
    fs::rename(daemon.path("letters"), daemon.path("moved")).expect("moved");
    fs::remove_file(daemon.path("moved")).expect("removed");
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.lines("letters").len(), 1);
}

#[test]
fn a_batch_of_unfit_records_leaves_the_daemon_and_the_checkpoints_their_turn() {
    let options = "--per batch --format lines --dead-letter letters --checkpoint-records 1";
    let mut daemon = begun(Bridge::new("cat").options(options));
    let records: Vec<Record> = (1..=1000).map(|n| Record::new(n, "a\nb")).collect();
    daemon.records(&records);
    let line = daemon.next_line("a checkpoint in the middle of the batch");
    let number = line.split('"').nth(7).and_then(|text| text.parse().ok());
    assert!(number.is_some_and(|number: u32| number < 1000), "{line}");
    daemon.ack(None);
    daemon.expect_status_behind_checkpoints("processRecords");
    daemon.finish();
    assert_eq!(daemon.lines("letters").len(), 1000);
}

#[test]
fn a_batch_is_limited_by_what_was_decompressed() {
    let zeros = |bytes: usize| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&vec![b'0'; bytes]).expect("memory");
        encoder.finish().expect("memory")
    };
    for format in ["raw", "jsonl"] {
        let script = "echo $KCLPIPE_BATCH_COUNT >>counts; cat >>all";
        let options = "--per batch --decompress gzip --batch-bytes 250KB --format";
        let mut daemon = begun(Bridge::new(script).options(options).options(format));
        let records: Vec<Record> = (1..=5).map(|n| Record::new(n, zeros(100_000))).collect();
        daemon.records(&records);
        daemon.expect_status("processRecords");
        daemon.finish();
        assert_eq!(daemon.lines("counts"), ["2", "2", "1"], "{format}");
        if format == "jsonl" {
            let last = daemon
                .lines("all")
                .iter()
                .map(|line| line.contains("\"last\":true"))
                .collect::<Vec<_>>();
            assert_eq!(last, [false, true, false, true, true]);
        }
    }
}

#[test]
fn a_payload_that_becomes_too_large_is_rejected() {
    let options = "--decompress auto --max-decompressed 9B --dead-letter letters";
    let mut daemon = begun(Bridge::new("cat >>all").options(options));
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"0123456789").expect("memory");
    let packed = encoder.finish().expect("memory");
    daemon.records(&[
        Record::new(1, packed),
        Record::new(2, "much longer, but plain"),
    ]);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.read("all"), "much longer, but plain");
    assert!(daemon.read("letters").contains("--max-decompressed"));
}

/// Whether this can be run; if not, says so where it is seen.
fn can_run(program: &str, arguments: &[&str]) -> bool {
    let status = Command::new(program)
        .args(arguments)
        .stderr(Stdio::null())
        .status();
    let can = status.is_ok_and(|status| status.success());
    if !can {
        let note = format!("SKIPPED: for want of '{program} {}'\n", arguments.join(" "));
        let _ = std::io::stderr().write_all(note.as_bytes());
    }
    can
}

#[test]
fn ends_are_noticed_where_the_signal_that_tells_of_them_is_blocked() {
    if !can_run("env", &["--block-signal=CHLD", "true"]) {
        return;
    }
    let bridge = Bridge::new("exec true").under(&["env", "--block-signal=CHLD"]);
    let mut daemon = begun(bridge.options("--timeout 20s"));
    daemon.payloads(&["x", "y"]);
    daemon.expect_status("processRecords");
    daemon.end_input();
    assert_eq!(daemon.wait_exit(), 0);
    assert!(!daemon.log().contains("time limit"), "{}", daemon.log());
}

#[test]
fn a_file_that_may_not_grow_blocks_the_record_and_ends_nothing() {
    let under = ["sh", "-c", "ulimit -f 1; exec \"$0\" \"$@\""];
    let bridge = Bridge::new("exit 65").under(&under);
    let mut daemon = begun(bridge.options("--dead-letter letters").options(QUICK));
    daemon.records(&[Record::new(1, vec![b'x'; 3000])]);
    let line = daemon.expect_log("cannot write the dead-letter file");
    assert!(line.contains("File too large"), "{line}");
    daemon.end_input();
    assert_eq!(daemon.wait_exit(), 0);
    assert_eq!(daemon.read("letters"), "", "nothing of it is left");
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_file_that_is_a_pipe_without_a_reader_is_an_error() {
    let bridge = Bridge::new("cat").options("--log-file pipe");
    let pipe = bridge.path("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .expect("made");
    let mut daemon = bridge.start();
    daemon.expect_log("cannot open the log file 'pipe'");
    assert_eq!(daemon.wait_exit(), 78);
}

#[test]
fn the_daemons_words_forge_no_line_and_lead_to_no_other_file() {
    let options = "--dead-letter letters-{shard} --capture record-{shard} --metrics-dir .";
    let mut daemon = Bridge::new("exit 65").options(options).start();
    daemon.say(
        r#"{"action":"initialize","shardId":"../x\u001b[31m\nFORGED\u202e","sequenceNumber":"TRIM_HORIZON","subSequenceNumber":0}"#,
    );
    daemon.expect_status("initialize");
    daemon.payloads(&["x"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    let log = daemon.log();
    assert!(
        !log.contains('\u{1b}') && !log.contains('\u{202e}'),
        "{log}"
    );
    assert!(!log.lines().any(|line| line.starts_with("FORGED")), "{log}");
    let name = ".._x__31m_FORGED_";
    assert_eq!(daemon.lines(&format!("letters-{name}")).len(), 1);
    assert!(daemon.path(&format!("record-{name}")).exists());
}
