//! One handler process per record: what it is given, and what comes of its answers.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::harness::{Bridge, Daemon, QUICK, Record, write_script};

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

fn now_millis() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_millis()).expect("a date")
}

/// The dead letters in a file, as JSON.
fn letters(daemon: &Daemon, name: &str) -> Vec<Value> {
    let lines = daemon.lines(name);
    let parsed = lines.iter().map(|line| serde_json::from_str(line));
    parsed.map(|letter| letter.expect("JSON")).collect()
}

fn numbers(letters: &[Value]) -> Vec<&str> {
    let numbers = letters.iter().map(|letter| &letter["sequenceNumber"]);
    numbers
        .map(|number| number.as_str().expect("text"))
        .collect()
}

// What a handler is given.

#[test]
fn every_record_has_a_process_of_its_own_and_they_go_in_order() {
    let mut daemon = begun(Bridge::new("echo $$ $(cat) >>log"));
    daemon.numbers(1..=20);
    daemon.expect_status("processRecords");
    daemon.numbers(21..=22);
    daemon.expect_status("processRecords");
    daemon.finish();
    let log = daemon.lines("log");
    let words: Vec<(&str, &str)> = log.iter().filter_map(|line| line.split_once(' ')).collect();
    let payloads: Vec<&str> = words.iter().map(|(_, payload)| *payload).collect();
    let expected: Vec<String> = (1..=22).map(|number: u32| number.to_string()).collect();
    assert_eq!(payloads, expected);
    let processes: HashSet<&str> = words.iter().map(|(process, _)| *process).collect();
    assert_eq!(processes.len(), 22);
}

#[test]
fn a_handler_starts_only_when_the_one_before_has_ended() {
    let mut daemon = begun(Bridge::new(
        "mkdir running || echo two at a time >>overlap\nrmdir running",
    ));
    daemon.numbers(1..=30);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.read("overlap"), "");
}

#[test]
fn an_empty_batch_is_answered_without_a_handler() {
    let mut daemon = begun(Bridge::new("echo >>log"));
    daemon.records(&[]);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.read("log"), "");
}

/// What the handler reads of these payloads in a format.
fn stdin_of(options: &str, payloads: &[&[u8]]) -> Vec<Vec<u8>> {
    let script = "cat >stdin.$KCLPIPE_SEQUENCE_NUMBER";
    let mut daemon = begun(Bridge::new(script).options(options));
    let records = payloads.iter().zip(1..);
    let records: Vec<Record> = records
        .map(|(payload, number)| Record::new(number, payload))
        .collect();
    daemon.records(&records);
    daemon.expect_status("processRecords");
    daemon.finish();
    let read = |number: usize| fs::read(daemon.path(&format!("stdin.{number}")));
    (1..=payloads.len())
        .map(|number| read(number).expect("a handler ran"))
        .collect()
}

#[test]
fn raw_is_exactly_the_payload() {
    let payloads: [&[u8]; 4] = [b"", b"a\nb\n", b"\0\xff\x80\r\n", "é".as_bytes()];
    assert_eq!(stdin_of("", &payloads), payloads);
    assert_eq!(stdin_of("--format raw", &payloads), payloads);
}

fn gzip(payload: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(payload).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn a_compressed_payload_is_decompressed_in_every_format() {
    let packed = gzip("é\n".as_bytes());
    for (options, stdin) in [
        ("--format raw", "é\n"),
        ("--format lines", "é\n"),
        ("--format nul", "é\n\0"),
        ("--format netstring", "3:é\n,"),
    ] {
        let options = format!("{options} --decompress gzip");
        let read = stdin_of(&options, &[&packed]).remove(0);
        assert_eq!(String::from_utf8_lossy(&read), stdin, "{options}");
    }
    for (data, field, text) in [("text", "data", "é\n"), ("base64", "dataBase64", "w6kK")] {
        let options = format!("--format jsonl --data {data} --decompress gzip");
        let read = stdin_of(&options, &[&packed]).remove(0);
        let object: Value = serde_json::from_slice(&read).expect("an object");
        assert_eq!(object[field], text);
    }
}

#[test]
fn auto_decompresses_what_begins_as_gzip_does() {
    let payloads: [&[u8]; 3] = [&gzip(b"packed"), b"plain", b""];
    let read = stdin_of("--decompress auto", &payloads);
    assert_eq!(read, [&b"packed"[..], b"plain", b""]);
    assert_eq!(stdin_of("--decompress off", &payloads), payloads);
}

#[test]
fn what_cannot_be_decompressed_is_rejected_and_its_letter_has_it_as_it_came() {
    let damaged = &gzip(b"some text")[..12];
    for (which, expected) in [("gzip", vec!["1", "2"]), ("auto", vec!["1"])] {
        let bridge = noting("").options("--dead-letter dead --decompress");
        let mut daemon = begun(bridge.options(which));
        daemon.records(&[
            Record::new(1, damaged),
            Record::new(2, "plain"),
            Record::new(3, gzip(b"good")),
        ]);
        daemon.expect_status("processRecords");
        daemon.finish();
        let letters = letters(&daemon, "dead");
        assert_eq!(numbers(&letters), expected, "{which}");
        assert_eq!(letters[0]["dataBase64"], STANDARD.encode(damaged));
        let outcome = letters[0]["outcome"].as_str().expect("a text");
        assert!(outcome.contains("(--decompress)"), "{outcome}");
        assert_eq!(
            daemon.lines("handed").last().map(String::as_str),
            Some("3 1")
        );
    }
}

#[test]
fn null_data_is_an_empty_payload() {
    let mut daemon = begun(Bridge::new("wc -c >size"));
    daemon.records(&[Record::new(1, "").with("data", Value::Null)]);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.read("size").trim(), "0");
}

#[test]
fn lines_and_nul_end_a_payload_once() {
    assert_eq!(
        stdin_of("--format lines", &[b"", b"a", b"a\n", b"\xff\0"]),
        [&b"\n"[..], b"a\n", b"a\n", b"\xff\0\n"]
    );
    assert_eq!(
        stdin_of("--format nul", &[b"", b"a", b"a\0", b"\xff\n"]),
        [&b"\0"[..], b"a\0", b"a\0", b"\xff\n\0"]
    );
}

#[test]
fn netstring_tells_the_length() {
    assert_eq!(
        stdin_of("--format netstring", &[b"", b"a,b", b"\0\xff\n"]),
        [&b"0:,"[..], b"3:a,b,", b"3:\0\xff\n,"]
    );
}

#[test]
fn jsonl_is_one_object_with_everything_about_the_record() {
    let object = |number: u32, field: &str, data: &str| {
        let text = format!(
            r#"{{"n":1,"shardId":"shardId-0","sequenceNumber":"{number}","subSequenceNumber":0,"partitionKey":"k","approximateArrivalTimestamp":1700000000123,"attempt":1,"last":true,"{field}":{data}}}"#
        );
        (text + "\n").into_bytes()
    };
    assert_eq!(
        stdin_of("--format jsonl", &[b"", "é\n\"\0".as_bytes(), b"\xff"]),
        [
            object(1, "data", r#""""#),
            object(2, "data", r#""é\n\"\u0000""#),
            object(3, "dataBase64", r#""/w==""#)
        ]
    );
    assert_eq!(
        stdin_of("--format jsonl --data base64", &[b"hi"]),
        [object(1, "dataBase64", r#""aGk=""#)]
    );
}

#[test]
fn jsonl_tells_the_attempt() {
    let mut daemon = begun(
        Bridge::new("cat >>stdin; [ $KCLPIPE_ATTEMPT = 2 ]")
            .options("--format jsonl")
            .options(QUICK),
    );
    daemon.payloads(&["x"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    let objects = letters(&daemon, "stdin");
    let attempts: Vec<&Value> = objects.iter().map(|object| &object["attempt"]).collect();
    assert_eq!(attempts, [&json!(1), &json!(2)]);
}

#[test]
fn ten_mebibytes_go_through_as_they_are() {
    let payload: Vec<u8> = (0..10u32 << 20).map(|i| (i % 251) as u8).collect();
    assert!(stdin_of("", &[&payload])[0] == payload);
}

#[test]
fn a_mebibyte_goes_through_in_every_format() {
    let payload: Vec<u8> = (0..1u32 << 20).map(|i| b'a' + (i % 26) as u8).collect();
    for (format, before, after) in [
        ("lines", "", "\n"),
        ("nul", "", "\0"),
        ("netstring", "1048576:", ","),
    ] {
        let read = stdin_of(&format!("--format {format}"), &[&payload]).remove(0);
        let expected = [before.as_bytes(), &payload, after.as_bytes()].concat();
        assert!(read == expected, "{format}");
    }
    let read = stdin_of("--format jsonl", &[&payload]).remove(0);
    let object: Value = serde_json::from_slice(&read).expect("JSON");
    assert!(object["data"].as_str().map(str::as_bytes) == Some(&payload[..]));
}

/// A handler that writes its `KCLPIPE_*` into a file of the record's number, each in base64.
const DUMP: &str =
    "env -0 | tr '\\n\\0' '\\001\\n' | grep ^KCLPIPE_ | sort >env.$KCLPIPE_SEQUENCE_NUMBER";

fn dumped(daemon: &Daemon, number: u32) -> Vec<String> {
    let mut lines = daemon.lines(&format!("env.{number}"));
    lines.retain(|line| !line.starts_with("KCLPIPE_TOKEN="));
    lines
}

#[test]
fn the_environment_tells_everything_but_the_payload() {
    let mut daemon = begun(Bridge::new(DUMP));
    let record = Record::new(17, "payload")
        .with("subSequenceNumber", 3)
        .with("partitionKey", "é =\"k\"\n");
    daemon.records_behind(&[record], json!(1234));
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(
        dumped(&daemon, 17),
        [
            "KCLPIPE_ARRIVAL_TIMESTAMP=1700000000123",
            "KCLPIPE_ATTEMPT=1",
            "KCLPIPE_EXIT_REJECT=65",
            "KCLPIPE_EXIT_RETRY=75",
            "KCLPIPE_ID=shardId-0-17.3",
            "KCLPIPE_MILLIS_BEHIND_LATEST=1234",
            "KCLPIPE_PARTITION_KEY=é =\"k\"\u{1}",
            "KCLPIPE_SEQUENCE_NUMBER=17",
            "KCLPIPE_SHARD_ID=shardId-0",
            "KCLPIPE_SUB_SEQUENCE_NUMBER=3",
        ]
    );
}

#[test]
fn a_null_field_leaves_its_variable_unset() {
    let mut daemon = begun(Bridge::new(DUMP));
    let record = Record::new(1, "x")
        .with("approximateArrivalTimestamp", Value::Null)
        .with("subSequenceNumber", Value::Null);
    daemon.records_behind(&[record], Value::Null);
    daemon.expect_status("processRecords");
    daemon.finish();
    let names: Vec<String> = dumped(&daemon, 1)
        .iter()
        .map(|line| line.replace("KCLPIPE_", ""))
        .collect();
    assert_eq!(
        names,
        [
            "ATTEMPT=1",
            "EXIT_REJECT=65",
            "EXIT_RETRY=75",
            "ID=shardId-0-1.0",
            "PARTITION_KEY=k",
            "SEQUENCE_NUMBER=1",
            "SHARD_ID=shardId-0",
            "SUB_SEQUENCE_NUMBER=0"
        ]
    );
}

#[test]
fn a_partition_key_with_a_nul_comes_in_base64() {
    let mut daemon = begun(Bridge::new(DUMP));
    daemon.records(&[Record::new(1, "x").with("partitionKey", "a\0b")]);
    daemon.expect_status("processRecords");
    daemon.finish();
    let keys: Vec<String> = dumped(&daemon, 1)
        .into_iter()
        .filter(|line| line.contains("KEY"))
        .collect();
    assert_eq!(keys, ["KCLPIPE_PARTITION_KEY_BASE64=YQBi"]);
}

#[test]
fn the_environment_names_codes_only_where_on_exit_gives_them() {
    let mut daemon = begun(Bridge::new(DUMP).options("--on-exit 99=checkpoint,98=halt"));
    daemon.payloads(&["x"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    let lines = dumped(&daemon, 1);
    assert!(
        lines.contains(&"KCLPIPE_EXIT_CHECKPOINT=99".into()),
        "{lines:?}"
    );
    assert!(lines.contains(&"KCLPIPE_EXIT_HALT=98".into()), "{lines:?}");
}

#[test]
fn kclpipes_own_variables_do_not_reach_the_handler_and_others_do() {
    let bridge = Bridge::new(&format!("echo \"$OTHER\" >other\n{DUMP}"))
        .variable("KCLPIPE_CHECKPOINT_EVERY", "1h")
        .variable("KCLPIPE_PARTITION_KEY_BASE64", "left over")
        .variable("KCLPIPE_TOKEN", "guessed")
        .variable("KCLPIPE_EXIT_HALT", "0")
        .variable("OTHER", "stays");
    let mut daemon = begun(bridge);
    daemon.payloads(&["x"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    let lines = dumped(&daemon, 1).join("\n");
    for foreign in ["EVERY", "BASE64", "HALT"] {
        assert!(!lines.contains(foreign), "{lines}");
    }
    assert!(!daemon.read("env.1").contains("guessed"));
    assert_eq!(daemon.read("other"), "stays\n");
}

#[test]
fn the_token_is_new_for_every_process() {
    let mut daemon =
        begun(Bridge::new("echo $KCLPIPE_TOKEN >>tokens; [ $KCLPIPE_ATTEMPT = 2 ]").options(QUICK));
    daemon.numbers(1..=5);
    daemon.expect_status("processRecords");
    daemon.finish();
    let tokens: HashSet<String> = daemon.lines("tokens").into_iter().collect();
    assert_eq!(tokens.len(), 10);
    assert!(tokens.iter().all(|token| token.len() >= 32), "{tokens:?}");
}

#[test]
fn the_attempt_counts_every_handing_over_whatever_came_of_it() {
    let script =
        "case $KCLPIPE_ATTEMPT in 1) exit 1;; 2) exit 75;; 3) exit 127;; 4) kill $$;; esac";
    let mut daemon = begun(noting(script).options(QUICK));
    daemon.numbers(1..=2);
    daemon.expect_status("processRecords");
    daemon.finish();
    let handed = [1, 2].map(|record| [1, 2, 3, 4, 5].map(|attempt| format!("{record} {attempt}")));
    assert_eq!(daemon.lines("handed"), handed.concat());
}

#[test]
fn arguments_reach_the_handler_as_they_are() {
    let script = r#"for word in "$@"; do echo "[$word]"; done >words"#;
    let bridge = Bridge::new(script);
    let mut daemon = bridge.start_with(&["--", "./handler", "a b", "$HOME", "--per", "*", ""]);
    daemon.initialize();
    daemon.payloads(&["x"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(
        daemon.lines("words"),
        ["[a b]", "[$HOME]", "[--per]", "[*]", "[]"]
    );
}

#[test]
fn chdir_is_the_handlers_directory_and_where_its_path_begins() {
    let bridge = Bridge::running(&["./there"]).options("--chdir inner");
    fs::create_dir(bridge.path("inner")).expect("a folder");
    write_script(&bridge.path("inner/there"), "pwd >place");
    let mut daemon = begun(bridge);
    daemon.payloads(&["x"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    let inner = fs::canonicalize(daemon.path("inner")).expect("a folder");
    assert_eq!(Path::new(daemon.read("inner/place").trim()), inner);
}

// What its end says.

/// Fails twice in the way of the payload, a line of sh, and then is done.
const TWICE: &str = "[ $KCLPIPE_ATTEMPT -gt 2 ] || eval \"$(cat)\"";

/// Gives each way to end to `TWICE`; for each, how often it was handed over, and whether it became a
/// dead letter.
fn treated(ways: &[&str], options: &str) -> Vec<(usize, bool)> {
    let mut daemon = begun(
        noting(TWICE)
            .options("--max-attempts 2 --dead-letter letters --max-consecutive-failures 0")
            .options(options)
            .options(QUICK),
    );
    daemon.payloads(ways);
    daemon.expect_status("processRecords");
    daemon.finish();
    let (handed, letters) = (daemon.lines("handed"), letters(&daemon, "letters"));
    let letters = numbers(&letters);
    (1..=ways.len())
        .map(|number| {
            let start = format!("{number} ");
            let handed = handed.iter().filter(|line| line.starts_with(&start));
            (handed.count(), letters.contains(&&*number.to_string()))
        })
        .collect()
}

const DONE: (usize, bool) = (1, false);
const REJECTED: (usize, bool) = (1, true);
const FAILED: (usize, bool) = (2, true);
/// As is a broken handler's.
const RETRIED: (usize, bool) = (3, false);

#[test]
fn an_exit_code_is_done_reject_retry_broken_or_fail() {
    let (mut ways, mut expected) = (Vec::new(), Vec::new());
    for (codes, class) in [
        (&[0][..], DONE),
        (&[65], REJECTED),
        (&[75, 69, 71, 74, 111], RETRIED),
        (&[64, 77, 78, 126, 127], RETRIED),
        (&[1, 2, 99, 255], FAILED),
    ] {
        ways.extend(codes.iter().map(|code| format!("exit {code}")));
        expected.extend(codes.iter().map(|_| class));
    }
    let ways: Vec<&str> = ways.iter().map(String::as_str).collect();
    assert_eq!(treated(&ways, ""), expected);
}

#[test]
fn a_request_to_stop_from_outside_is_a_retry_and_any_other_signal_is_a_failure() {
    let ways =
        ["TERM", "INT", "HUP", "KILL", "SEGV", "PIPE"].map(|name| format!("kill -{name} $$"));
    let ways: Vec<&str> = ways.iter().map(String::as_str).collect();
    assert_eq!(
        treated(&ways, ""),
        [RETRIED, RETRIED, RETRIED, FAILED, FAILED, FAILED]
    );
}

#[test]
fn on_exit_comes_before_the_table() {
    let ways = ["exit 1", "exit 2", "exit 3", "exit 4", "exit 65"];
    assert_eq!(
        treated(
            &ways,
            "--on-exit 1=done --on-exit 2=reject,3=retry,4=broken,65=fail"
        ),
        [DONE, REJECTED, RETRIED, RETRIED, FAILED]
    );
    assert_eq!(treated(&["exit 0"], "--on-exit 0=reject"), [REJECTED]);
}

#[test]
fn the_retry_and_reject_codes_are_in_the_environment() {
    assert_eq!(
        treated(
            &["exit $KCLPIPE_EXIT_RETRY", "exit $KCLPIPE_EXIT_REJECT"],
            ""
        ),
        [RETRIED, REJECTED]
    );
}

#[test]
fn a_broken_handler_is_told_apart_in_the_log() {
    let mut daemon = begun(Bridge::new("[ $KCLPIPE_ATTEMPT = 2 ] || exit 127").options(QUICK));
    daemon.payloads(&["x"]);
    daemon.expect_status("processRecords");
    let log = daemon.expect_log("found the handler broken: exit code 127");
    assert!(log.contains("record 1.0"), "{log}");
    daemon.finish();
}

#[test]
fn on_exit_checkpoint_is_done_and_a_checkpoint_there() {
    let mut daemon = begun(noting("exit $(cat)").options("--on-exit 99=checkpoint"));
    daemon.payloads(&["0", "99", "0"]);
    daemon.expect_checkpoint("2", 0);
    daemon.ack(None);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.lines("handed"), ["1 1", "2 1", "3 1"]);
}

#[test]
fn on_exit_halt_stores_the_run_and_ends_the_worker() {
    let mut daemon = begun(noting("exit $(cat)").options("--on-exit 98=halt"));
    daemon.payloads(&["0", "98", "0"]);
    daemon.expect_checkpoint("1", 0);
    daemon.ack(None);
    assert_eq!(daemon.wait_exit(), 1);
    assert_eq!(daemon.lines("handed"), ["1 1", "2 1"]);
}

// What it says.

#[test]
fn words_with_the_token_count_when_it_exits_0() {
    let say = |word: &str| format!("echo $KCLPIPE_TOKEN {word}");
    let ways = ["ok", "retry", "reject", "fail"].map(say);
    let ways: Vec<&str> = ways.iter().map(String::as_str).collect();
    assert_eq!(treated(&ways, ""), [DONE, RETRIED, REJECTED, FAILED]);
}

#[test]
fn a_non_zero_exit_speaks_for_itself() {
    let ways = [
        "echo $KCLPIPE_TOKEN ok; exit 1",
        "echo $KCLPIPE_TOKEN reject; exit 75",
        "echo $KCLPIPE_TOKEN halt; exit 65",
    ];
    assert_eq!(treated(&ways, ""), [FAILED, RETRIED, REJECTED]);
}

#[test]
fn words_without_the_token_are_only_text() {
    let ways = [
        "echo reject",
        "echo fail",
        "echo retry",
        "echo halt",
        "echo x$KCLPIPE_TOKEN reject",
        "echo ' '$KCLPIPE_TOKEN reject",
        "echo 0123456789abcdef0123456789abcdef reject",
    ];
    assert_eq!(treated(&ways, ""), [DONE; 7]);
}

#[test]
fn a_line_may_end_with_a_carriage_return_or_with_nothing() {
    let ways = [
        r#"printf "$KCLPIPE_TOKEN reject\r\n""#,
        r#"printf "$KCLPIPE_TOKEN reject""#,
        r#"printf "$KCLPIPE_TOKEN reject\r""#,
        r#"printf "text\n$KCLPIPE_TOKEN reject\ntext""#,
    ];
    assert_eq!(treated(&ways, ""), [REJECTED; 4]);
}

#[test]
fn a_last_line_without_an_end_counts_also_where_something_holds_the_pipe_open() {
    let ways = [r#"sleep 1000 & printf "$KCLPIPE_TOKEN reject""#];
    assert_eq!(treated(&ways, ""), [REJECTED]);
}

#[test]
fn an_answer_that_makes_no_sense_is_a_failure() {
    let ways = [
        "echo $KCLPIPE_TOKEN okay",
        "echo $KCLPIPE_TOKEN",
        "echo $KCLPIPE_TOKEN reject 1",
        "echo $KCLPIPE_TOKEN upto 1",
    ];
    assert_eq!(treated(&ways, ""), [FAILED; 4]);
}

#[test]
fn a_dead_letter_tells_the_word_that_was_not_good() {
    let outcome = |script: &str| {
        let bridge = noting(script).options("--dead-letter letters --max-attempts 1");
        let mut daemon = begun(bridge);
        daemon.numbers(1..=1);
        daemon.expect_status("processRecords");
        daemon.finish();
        letters(&daemon, "letters")[0]["outcome"].clone()
    };
    for (script, expected) in [
        (
            "echo $KCLPIPE_TOKEN reject",
            "the handler answered 'reject'",
        ),
        ("echo $KCLPIPE_TOKEN fail", "the handler answered 'fail'"),
        (
            "echo $KCLPIPE_TOKEN okay",
            "an answer that makes no sense here",
        ),
        ("echo $KCLPIPE_TOKEN reject; exit 3", "exit code 3"),
    ] {
        assert_eq!(outcome(script), expected, "{script}");
    }
}

#[test]
fn the_word_halt_ends_the_worker() {
    let mut daemon = begun(Bridge::new("echo $KCLPIPE_TOKEN $(cat)"));
    daemon.payloads(&["ok", "halt", "ok"]);
    daemon.expect_checkpoint("1", 0);
    daemon.ack(None);
    assert_eq!(daemon.wait_exit(), 1);
}

#[test]
fn checkpoint_is_understood_with_the_token_and_without_if_the_record_ends_done() {
    let mut daemon = begun(Bridge::new("eval \"$(cat)\"").options(QUICK));
    // Each in a batch of its own: a checkpoint names the newest end, and the next record may be done by then.
    for (payload, number) in [
        ("echo checkpoint", 1),
        ("echo $KCLPIPE_TOKEN checkpoint", 2),
        ("echo checkpoint; [ $KCLPIPE_ATTEMPT = 2 ]", 3),
    ] {
        daemon.records(&[Record::new(number, payload)]);
        daemon.expect_checkpoint(&number.to_string(), 0);
        daemon.ack(None);
        daemon.expect_status("processRecords");
    }
    daemon.records(&[
        Record::new(4, "echo Checkpoint"),
        Record::new(
            5,
            "[ $KCLPIPE_ATTEMPT = 2 ] || { echo checkpoint; exit 1; }",
        ),
    ]);
    daemon.expect_status("processRecords");
    daemon.finish();
}

#[test]
fn a_checkpoint_names_the_place_within_the_aggregate() {
    let mut daemon = begun(Bridge::new("echo checkpoint"));
    daemon.records(&[Record::new(5, "x").with("subSequenceNumber", 7)]);
    daemon.expect_checkpoint("5", 7);
    daemon.ack(None);
    daemon.expect_status("processRecords");
    daemon.finish();
}

#[test]
fn a_wish_while_an_ack_is_awaited_is_granted_behind_it() {
    let mut daemon = begun(Bridge::new("echo checkpoint; echo >>log"));
    daemon.numbers(1..=3);
    daemon.expect_checkpoint("1", 0);
    daemon.expect_lines("log", 3);
    daemon.ack(None);
    let mut line = daemon.next_line("a checkpoint");
    if line.contains("\"2\"") {
        daemon.ack(None);
        line = daemon.next_line("a checkpoint");
    }
    assert!(line.contains("\"3\""), "{line}");
    daemon.ack(None);
    daemon.expect_status("processRecords");
    daemon.finish();
}

// When checkpoints are made.

#[test]
fn checkpoints_by_records_by_batch_and_by_time() {
    for (options, expected) in [
        ("--checkpoint-records 2", &["2", "4"][..]),
        ("--checkpoint-batch", &["5"]),
        ("--checkpoint-batch --checkpoint-records 3", &["3", "5"]),
        ("", &[]),
        ("--checkpoint-every 0", &[]),
    ] {
        // The handler of the record behind a checkpoint waits until it was seen.
        let script = "read number; while [ $number -gt $(cat allowed) ]; do sleep 0.01; done";
        let bridge = Bridge::new(script).options(options).file("allowed", "0");
        let mut daemon = begun(bridge);
        daemon.records(
            &(1..=5)
                .map(|n| Record::new(n, format!("{n}\n")))
                .collect::<Vec<_>>(),
        );
        for number in expected {
            allow(&daemon, number);
            daemon.expect_checkpoint(number, 0);
            daemon.ack(None);
        }
        allow(&daemon, "5");
        daemon.expect_status("processRecords");
        daemon.finish();
    }
}

fn allow(daemon: &Daemon, number: &str) {
    fs::write(daemon.path("allowed.new"), number).expect("written");
    fs::rename(daemon.path("allowed.new"), daemon.path("allowed")).expect("renamed");
}

#[test]
fn time_makes_a_checkpoint_due_while_a_handler_runs() {
    let script = "[ $KCLPIPE_SEQUENCE_NUMBER = 1 ] || while [ ! -e go ]; do sleep 0.01; done";
    let mut daemon = begun(Bridge::new(script).options("--checkpoint-every 50ms"));
    daemon.numbers(1..=2);
    daemon.expect_checkpoint("1", 0);
    daemon.ack(None);
    fs::write(daemon.path("go"), "").expect("written");
    daemon.expect_status_behind_checkpoints("processRecords");
    daemon.finish();
}

#[test]
fn under_checkpoint_manual_only_the_handler_asks() {
    let script = "[ $KCLPIPE_SEQUENCE_NUMBER = 2 ] && echo checkpoint; true";
    let mut daemon = begun(Bridge::new(script).options("--checkpoint-manual"));
    daemon.numbers(1..=3);
    daemon.expect_checkpoint("2", 0);
    daemon.ack(None);
    daemon.expect_status("processRecords");
    daemon.say(r#"{"action":"shutdownRequested"}"#);
    daemon.expect_status("shutdownRequested");
    daemon.say(r#"{"action":"leaseLost"}"#);
    daemon.expect_status("leaseLost");
    assert_eq!(daemon.wait_exit(), 0);
}

#[test]
fn shutdown_and_shard_end_checkpoint_what_is_done() {
    let mut daemon = begun(Bridge::new("true"));
    daemon.numbers(1..=3);
    daemon.expect_status("processRecords");
    daemon.say(r#"{"action":"shutdownRequested"}"#);
    daemon.expect_checkpoint("3", 0);
    daemon.ack(None);
    daemon.expect_status("shutdownRequested");
    daemon.say(r#"{"action":"shardEnded"}"#);
    daemon.expect(r#"{"action":"checkpoint","sequenceNumber":null,"subSequenceNumber":null}"#);
    daemon.ack(None);
    daemon.expect_status("shardEnded");
    assert_eq!(daemon.wait_exit(), 0);
}

// What becomes of a record that is rejected or given up.

#[test]
fn block_is_the_default_and_hands_a_failed_record_over_until_it_is_done() {
    let mut daemon = begun(noting("[ $KCLPIPE_ATTEMPT = 8 ]").options(QUICK));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.lines("handed").len(), 8);
}

#[test]
fn block_hands_over_a_rejected_record_again_too_and_says_so_each_time() {
    let mut daemon = begun(
        noting("[ $KCLPIPE_ATTEMPT = 4 ] || exit 65")
            .options("--on-failure block --max-attempts 2")
            .options(QUICK),
    );
    daemon.numbers(1..=2);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.log().matches("blocks its shard").count(), 6);
    assert_eq!(daemon.lines("handed").len(), 8);
}

#[test]
fn skip_goes_on_with_the_next_record_and_says_so() {
    let mut daemon = begun(
        noting("exit $(cat)")
            .options("--on-failure skip --max-attempts 2 --checkpoint-batch")
            .options(QUICK),
    );
    daemon.payloads(&["65", "1", "0"]);
    daemon.expect_checkpoint("3", 0);
    daemon.ack(None);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.lines("handed"), ["1 1", "2 1", "2 2", "3 1"]);
    let log = daemon.log();
    assert!(
        log.contains("record 1.0 was rejected") && log.contains("record 2.0 failed"),
        "{log}"
    );
}

#[test]
fn a_skipped_last_record_is_in_the_run() {
    let mut daemon = begun(Bridge::new("exit 65").options("--on-failure skip --checkpoint-batch"));
    daemon.numbers(1..=2);
    daemon.expect_checkpoint("2", 0);
    daemon.ack(None);
    daemon.expect_status("processRecords");
    daemon.finish();
}

#[test]
fn on_failure_halt_checkpoints_the_run_and_ends_the_worker_without_a_status() {
    for code in ["65", "1"] {
        let mut daemon = begun(
            noting("exit $(cat)")
                .options("--on-failure halt --max-attempts 1")
                .options(QUICK),
        );
        daemon.payloads(&["0", code, "0"]);
        daemon.expect_checkpoint("1", 0);
        daemon.ack(None);
        assert_eq!(daemon.wait_exit(), 1);
        assert_eq!(daemon.lines("handed"), ["1 1", "2 1"]);
        let log = daemon.log();
        assert!(log.contains("record 2.0"), "{log}");
        assert!(log.contains("(--on-failure halt)"), "{log}");
    }
}

#[test]
fn the_usual_limit_is_five_attempts_where_a_record_can_be_given_up() {
    let mut daemon = begun(noting("exit 1").options("--on-failure skip").options(QUICK));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.lines("handed").len(), 5);
}

#[test]
fn a_record_past_its_age_is_given_up_after_a_failed_or_retried_attempt_and_never_untried() {
    let old = Record::new(1, "1").with("approximateArrivalTimestamp", now_millis() - 7_200_000);
    let retried = |number| {
        let record = Record::new(number, "75");
        record.with("approximateArrivalTimestamp", now_millis() - 7_200_000)
    };
    let done = Record::new(3, "0").with("approximateArrivalTimestamp", 1);
    let young = Record::new(4, "young").with("approximateArrivalTimestamp", now_millis());
    let unknown = Record::new(5, "young").with("approximateArrivalTimestamp", Value::Null);
    let script =
        "case $(cat) in young) [ $KCLPIPE_ATTEMPT = 7 ];; code) ;; *) exit $(cat number);; esac";
    let script = script
        .replace("$(cat number)", "$code")
        .replace("$(cat)", "$code");
    let mut daemon = begun(
        noting(&format!("code=$(cat)\n{script}"))
            .options("--max-record-age 1h --max-attempts 0 --dead-letter letters")
            .options(QUICK),
    );
    daemon.records(&[old, retried(2), done, young, unknown]);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(numbers(&letters(&daemon, "letters")), ["1", "2"]);
    assert_eq!(daemon.lines("handed").len(), 3 + 7 + 7);
}

#[test]
fn the_breaker_gives_up_no_more_after_so_many_in_a_row_until_one_is_done() {
    // From record 4 on nothing works until the file 'mended' is there.
    let script = "[ -e mended ] || [ $KCLPIPE_SEQUENCE_NUMBER = 3 ]";
    let mut daemon = begun(
        noting(script)
            .options("--max-attempts 1 --dead-letter letters --max-consecutive-failures 3")
            .options(QUICK),
    );
    daemon.numbers(1..=10);
    daemon.expect_log("assuming the handler is broken");
    daemon.until("record 7 is handed over again and again", |daemon| {
        daemon.lines("handed").iter().any(|line| line == "7 5")
    });
    fs::write(daemon.path("mended"), "").expect("written");
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(
        numbers(&letters(&daemon, "letters")),
        ["1", "2", "4", "5", "6"]
    );
}

#[test]
fn rejected_records_do_not_count_for_the_breaker() {
    let mut daemon =
        begun(Bridge::new("exit 65").options("--on-failure skip --max-consecutive-failures 2"));
    daemon.numbers(1..=6);
    daemon.expect_status("processRecords");
    daemon.finish();
}

#[test]
fn a_payload_that_does_not_fit_halts_under_halt() {
    let bridge = noting("").options("--format lines --on-failure halt");
    let mut daemon = begun(bridge);
    daemon.payloads(&["good", "a\nb", "good"]);
    daemon.expect_checkpoint("1", 0);
    daemon.ack(None);
    assert_eq!(daemon.wait_exit(), 1);
    assert_eq!(daemon.lines("handed"), ["1 1"]);
}

// Dead letters.

#[test]
fn a_dead_letter_has_everything_about_the_record_and_its_end() {
    let mut daemon = begun(
        Bridge::new("echo one >&2; echo two >&2; exit 3")
            .options("--max-attempts 2 --dead-letter letters")
            .options(QUICK),
    );
    let record = Record::new(12, b"\xffpayload")
        .with("subSequenceNumber", 4)
        .with("partitionKey", "a\0b");
    daemon.records_behind(&[record], json!(99));
    daemon.expect_status("processRecords");
    daemon.finish();
    let expected = json!({
        "shardId": "shardId-0", "sequenceNumber": "12", "subSequenceNumber": 4, "partitionKey": "a\0b",
        "approximateArrivalTimestamp": 1_700_000_000_123_i64, "millisBehindLatest": 99, "attempts": 2, "failures": 2,
        "outcome": "exit code 3", "stderr": "one\ntwo\n", "dataBase64": STANDARD.encode(b"\xffpayload"),
    });
    assert_eq!(letters(&daemon, "letters"), [expected]);
}

#[test]
fn a_dead_letters_stderr_is_its_tail() {
    let script = "head -c 100000 /dev/zero | tr '\\0' x >&2; echo END >&2; exit 65";
    let mut daemon = begun(Bridge::new(script).options("--dead-letter letters"));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
    let letters = letters(&daemon, "letters");
    let stderr = letters[0]["stderr"].as_str().expect("text");
    assert!(
        stderr.len() == 4096 && stderr.ends_with("xEND\n"),
        "{}",
        stderr.len()
    );
}

#[test]
fn shard_and_name_are_replaced_in_the_files_name() {
    let bridge = Bridge::new("exit 65").options("--dead-letter {name}-{shard}.jsonl --name app");
    let mut daemon = begun(bridge);
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(letters(&daemon, "app-shardId-0.jsonl").len(), 1);

    let mut daemon = begun(Bridge::new("exit 65").options("--dead-letter {name}.jsonl"));
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
    let folder = daemon.path("").file_name().expect("a name").to_owned();
    let file = format!("{}.jsonl", folder.to_string_lossy());
    assert_eq!(
        letters(&daemon, &file).len(),
        1,
        "the name of the directory"
    );
}

#[test]
fn a_payload_with_the_terminator_inside_is_rejected_and_never_reaches_the_handler() {
    for (format, bad, good) in [("lines", "a\nb", "a\n"), ("nul", "a\0b", "a\0")] {
        let mut daemon = begun(
            noting("")
                .options("--dead-letter letters --checkpoint-batch --format")
                .options(format),
        );
        daemon.payloads(&[good, bad, good]);
        daemon.expect_checkpoint("3", 0);
        daemon.ack(None);
        daemon.expect_status("processRecords");
        daemon.finish();
        assert_eq!(daemon.lines("handed"), ["1 1", "3 1"]);
        let letters = letters(&daemon, "letters");
        assert_eq!(numbers(&letters), ["2"]);
        assert_eq!(letters[0]["dataBase64"], STANDARD.encode(bad));
        assert_eq!(letters[0]["attempts"], 0);
        let outcome = letters[0]["outcome"].as_str().expect("text");
        assert!(outcome.starts_with("the payload contains"), "{outcome}");
    }
}

#[test]
fn a_payload_that_does_not_fit_blocks_under_block() {
    let mut daemon = begun(noting("").options("--format lines").options(QUICK));
    daemon.payloads(&["good", "a\nb"]);
    daemon.until("it was said three times", |daemon| {
        daemon.log().matches("blocks its shard").count() >= 3
    });
    daemon.expect_log("(looking again in");
    daemon.finish();
    assert_eq!(daemon.lines("handed"), ["1 1"]);
}

#[test]
fn a_letter_that_cannot_be_written_blocks_until_it_can() {
    let mut daemon = begun(
        noting("exit $(cat)")
            .options("--dead-letter spool/letters --checkpoint-batch")
            .options(QUICK),
    );
    daemon.payloads(&["0", "65", "0"]);
    let log = daemon.expect_log("cannot write the dead-letter file 'spool/letters'");
    assert!(log.contains("record 2.0"), "{log}");
    daemon.expect_log("offering its letter again in");
    fs::create_dir(daemon.path("spool")).expect("a folder");
    daemon.expect_checkpoint("3", 0);
    daemon.ack(None);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(numbers(&letters(&daemon, "spool/letters")), ["2"]);
    let handed = daemon.lines("handed");
    assert_eq!(
        handed,
        ["1 1", "2 1", "3 1"],
        "the letter alone is tried again"
    );
}

#[test]
fn the_dead_letter_file_may_be_moved_away_at_any_time() {
    let mut daemon = begun(Bridge::new("exit 65").options("--dead-letter letters"));
    daemon.numbers(1..=2);
    daemon.expect_status("processRecords");
    fs::rename(daemon.path("letters"), daemon.path("letters.1")).expect("renamed");
    daemon.numbers(3..=3);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(numbers(&letters(&daemon, "letters.1")), ["1", "2"]);
    assert_eq!(numbers(&letters(&daemon, "letters")), ["3"]);
}

#[test]
fn several_kclpipes_share_a_dead_letter_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("letters");
    let options = format!(
        "--dead-letter {} --max-consecutive-failures 0",
        file.display()
    );
    let mut daemons = [0, 1, 2].map(|_| begun(Bridge::new("exit 65").options(&options)));
    let large = "x".repeat(100_000);
    for daemon in &mut daemons {
        let records: Vec<Record> = (1..=20).map(|n| Record::new(n, &large)).collect();
        daemon.records(&records);
    }
    for daemon in &mut daemons {
        daemon.expect_status("processRecords");
        daemon.finish();
    }
    let text = fs::read_to_string(&file).expect("the letters");
    assert_eq!(text.lines().count(), 60);
    for line in text.lines() {
        serde_json::from_str::<Value>(line).expect("a whole line");
    }
}

#[test]
fn a_letter_is_not_appended_to_a_torn_one() {
    let bridge = Bridge::new("exit 65").options("--dead-letter letters");
    let mut file = fs::File::create(bridge.path("letters")).expect("created");
    file.write_all(b"{\"torn").expect("written");
    let mut daemon = begun(bridge);
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    daemon.finish();
    let lines = daemon.lines("letters");
    assert_eq!((lines.len(), lines[0].as_str()), (2, "{\"torn"));
}
