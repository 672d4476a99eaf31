//! The command line, its other two sources, `@FILE` and `KCLPIPE_*`, and the log.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use kclpipe::testing::config::{self, Config, Task};
use serde_json::Value;

use crate::harness::{Bridge, Daemon};

/// What a run with these arguments, these variables and no input leaves: its code, stdout and stderr.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kclpipe"))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("kclpipe starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code().unwrap_or(-1),
        text(output.stdout),
        text(output.stderr),
    )
}

/// These arguments are a mistake, told in one line on stderr that has `told`.
#[track_caller]
fn is_refused(arguments: &[&str], variables: &[(&str, &str)], told: &str) {
    let (code, out, err) = run(arguments, variables);
    assert_eq!((code, out.as_str()), (64, ""), "{arguments:?}: {err}");
    assert_eq!(err.matches('\n').count(), 1, "{arguments:?}: {err}");
    assert!(
        err.starts_with("kclpipe: ") && err.ends_with('\n') && err.contains(told),
        "{arguments:?}: {err}"
    );
}

#[test]
fn a_mistake_is_one_line_on_stderr_and_code_64() {
    for (line, told) in [
        ("", "no handler"),
        ("--per record", "no handler"),
        ("--", "no handler"),
        (
            "cat",
            "write '--' before the handler, for example kclpipe -- cat",
        ),
        ("--per batch ./handler.sh x", "kclpipe -- ./handler.sh"),
        ("replya records.txt", "did you mean kclpipe replay?"),
        ("--checkpoint 60s -- cat", "'--checkpoint-every'"),
        ("--checkpoint 60 -- cat", "'--checkpoint-records'"),
        (
            "--checkpoint-records 1k -- cat",
            "'--checkpoint-records <N>': write a whole number, for example 1000 (",
        ),
        (
            "--checkpoint-records=-1 -- cat",
            "'--checkpoint-records <N>': write a whole number",
        ),
        (
            "--checkpoint-records -1 -- cat",
            "'-1' for '--checkpoint-records': numbers are not negative",
        ),
        ("--batch-size 1.5 -- cat", "write a whole number"),
        (
            "--checkpoint-records 99999999999999999999 -- cat",
            "write a whole number",
        ),
        ("replay --shards 1k x -- cat", "write a whole number"),
        (
            "--checkpoint-every=-5s -- cat",
            "durations are not negative; 0 is off",
        ),
        ("--retry-delay=-5s -- cat", "durations are not negative ("),
        ("--inflight 10 -- cat", "--inflight needs --per shard"),
        ("--batch-size 10 -- cat", "--batch-size needs --per batch"),
        ("--data text -- cat", "--data needs --format jsonl"),
        ("--nope -- cat", "there is no option '--nope' ("),
        (
            "--attempts 3 -- cat",
            "there is no option '--attempts': did you mean '--max-attempts'?",
        ),
        (
            "--checkpoint-interval 60s -- cat",
            "did you mean '--checkpoint-every'?",
        ),
        ("--chekpoint-every 60s -- cat", "mean '--checkpoint-every'?"),
        ("--max-retries 3 -- cat", "mean '--max-attempts'?"),
        ("--workers 3 -- cat", "mean '--jobs'?"),
        ("--batch 5 -- cat", "mean '--batch-size'?"),
        ("--stop 5s -- cat", "mean '--stop-timeout'?"),
        ("-v -- cat", "there is no option '-v' ("),
        ("--shards 3 -- cat", "is an option of kclpipe replay ("),
        (
            "replay --checkpoint-every 9s f -- cat",
            "an option of the child: write it after '-- kclpipe'",
        ),
        (
            "check --jobs 3 f",
            "'--jobs' is an option of kclpipe, not of kclpipe check",
        ),
        ("replay --injct all f -- cat", "mean '--inject'?"),
        ("version", "did you mean kclpipe --version?"),
        ("completions", "<SHELL> is missing"),
        ("init", ", --region <REGION>, <COMMAND>... are missing"),
        ("--timeout -- cat", "--timeout needs a value"),
        ("--per -- cat", "needs a value: write one of record, batch"),
        (
            "--per recrod -- cat",
            "not a value of --per: did you mean 'record'? Write one of record, batch, shard",
        ),
        ("--on-failure dead -- cat", "mean 'dead-letter'?"),
        ("--format json -- cat", "mean 'jsonl'?"),
        ("--log-level warning -- cat", "mean 'warn'?"),
        ("--stop-signal trem -- cat", "mean 'TERM'?"),
        ("--on-exit 3=failed -- cat", "mean 'fail'?"),
        ("replay --inject thortle f -- cat", "mean 'throttle'?"),
        ("--per", "--per"),
        ("--per page -- cat", "'page'"),
        ("--jobs 0 -- cat", "--jobs"),
        ("--jobs 10001 -- cat", "write a number from 1 to 10000"),
        (
            "--jobs 18446744073709551615 -- cat",
            "write a number from 1 to 10000",
        ),
        (
            "--checkpoint-every 300000000000y -- cat",
            "--checkpoint-every",
        ),
        (
            "--stats-every 101years -- cat",
            "that is longer than 100 years; 0 is off",
        ),
        (
            "--retry-max-delay 101years -- cat",
            "that is longer than 100 years",
        ),
        ("--per shard --inflight 0 -- cat", "--inflight"),
        ("--timeout 5 -- cat", "--timeout"),
        (
            "--timeout -5s -- cat",
            "'-5s' for '--timeout': durations are not negative; 0 is off",
        ),
        ("--retry-delay 0 -- cat", "--retry-delay"),
        ("--max-attempts many -- cat", "'many'"),
        ("--on-exit 256=done -- cat", "'256'"),
        ("--on-exit 1=good -- cat", "'good'"),
        ("--stop-signal LOUD -- cat", "--stop-signal"),
        ("--log-level loud -- cat", "'loud'"),
        ("--timeout 5s --timeout 6s -- cat", "--timeout"),
        (
            "--checkpoint-manual --checkpoint-batch -- cat",
            "--checkpoint-batch",
        ),
        (
            "--dead-letter f --on-failure skip -- cat",
            "--on-failure skip and --dead-letter exclude each other: remove one of them",
        ),
        (
            "--stats-format emf -- cat",
            "--stats-format emf needs an interval, for example --stats-every 1m",
        ),
        ("--dead-letter /dev/null -- cat", "--dead-letter"),
        ("--on-failure dead-letter -- cat", "--dead-letter"),
        (
            "--retry-delay 2m --retry-max-delay 1m -- cat",
            "--retry-max-delay",
        ),
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        is_refused(&arguments, &[], told);
    }
}

#[test]
fn an_old_name_is_answered_with_its_new_one() {
    for (line, told) in [
        ("--record f -- cat", "--record is now --capture "),
        ("--record=f -- cat", "--record is now --capture "),
        (
            "--record-data -- cat",
            "--record-data is now --capture-data ",
        ),
        ("check --format json f", "--format is now --json; text is"),
        ("check --format=text f", "--format is now --json; text is"),
        ("replay --report json f", "--report is now --json; text is"),
        ("launch --version 2.5.4 f", "--version is now --kcl "),
        (
            "replay --input-format recording f -- cat",
            "--input-format recording is now --input-format capture ",
        ),
    ] {
        let arguments: Vec<&str> = line.split_whitespace().collect();
        is_refused(&arguments, &[], told);
    }
    // A subcommand's old name is not the bridge's.
    is_refused(&["--report", "json", "--", "cat"], &[], "'--report'");
    for (old, new) in [
        ("RECORD", "CAPTURE"),
        ("RECORD_DATA", "CAPTURE_DATA"),
        ("RETRY", "EXIT_RETRY"),
        ("REJECT", "EXIT_REJECT"),
        ("CHECKPOINT", "EXIT_CHECKPOINT"),
        ("HALT", "EXIT_HALT"),
    ] {
        let log = log_of("", &[(&format!("KCLPIPE_{old}"), "1")]);
        let told = format!("KCLPIPE_{old} is ignored: its new name is KCLPIPE_{new}\n");
        assert!(log.contains(&told) && log.contains("WARN"), "{log}");
    }
}

#[test]
fn short_help_shows_what_most_users_set_and_says_where_the_rest_is() {
    let (_, short, _) = run(&["-h"], &[]);
    let (_, long, _) = run(&["--help"], &[]);
    let options = |help: &str| {
        let lines = help.lines().map(str::trim_start);
        lines.filter(|line| line.starts_with("--")).count()
    };
    assert_eq!(options(&short), 16, "{short}");
    assert!(options(&long) > 2 * options(&short), "{long}");
    assert!(
        short.contains("kclpipe --help shows all of them"),
        "{short}"
    );
    for heading in [
        "Per batch:",
        "Per shard:",
        "Lambda:",
        "Talking to the daemon:",
        "Debugging:",
    ] {
        assert!(long.lines().any(|line| line == heading), "{heading}");
    }
}

#[test]
fn a_path_that_is_not_utf_8_is_a_mistake() {
    for option in [
        "--chdir",
        "--dead-letter",
        "--log-file",
        "--metrics-dir",
        "--capture",
        "check --directory",
        "check",
        "launch --jars",
        "launch --java",
        "launch --log-configuration",
        "launch -p",
        "replay --properties",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_kclpipe"))
            .args(option.split(' '))
            .arg(OsStr::from_bytes(b"caf\xe9"))
            .stdin(Stdio::null())
            .output();
        let output = output.expect("kclpipe starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(64), "{option}: {said}");
        assert!(said.contains("a path must be UTF-8"), "{option}: {said}");
        assert_eq!(said.matches('\n').count(), 1, "{option}: {said}");
    }
}

#[test]
fn an_option_after_the_dashes_is_logged_once() {
    let told = "--checkpoint-records comes after '--'";
    for (line, times) in [
        ("-- cat --checkpoint-records 10 --max-attempts=3", 1),
        ("-- cat --retry-delay 3 --timeout 5 --name x", 0),
        ("--checkpoint-records 10 -- cat", 0),
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let (code, _, err) = run(&arguments, &[]);
        assert_eq!((code, err.matches(told).count()), (0, times), "{err}");
    }
}

#[test]
fn help_and_version_are_on_stdout() {
    for (argument, said) in [
        ("--help", "Examples:"),
        ("-h", "--checkpoint-every"),
        ("--version", env!("CARGO_PKG_VERSION")),
        ("-V", env!("CARGO_PKG_VERSION")),
    ] {
        let (code, out, err) = run(&[argument], &[]);
        assert_eq!((code, err.as_str()), (0, ""), "{argument}");
        assert!(out.contains(said), "{out}");
    }
}

#[test]
fn help_is_shown_whatever_the_environment_says() {
    let (code, out, _) = run(&["--help"], &[("KCLPIPE_TIMEOUT", "soon")]);
    assert_eq!(code, 0);
    assert!(out.contains("Usage:"), "{out}");
}

/// What this command line asks for.
fn configured(line: &str) -> Config {
    let arguments = line.split_whitespace().map(OsString::from);
    match config::read(arguments, std::iter::empty()) {
        Ok(Task::Bridge(config)) => *config,
        other => panic!("{line}: {other:?}"),
    }
}

/// The options of the help that name a default, with its first word.
fn defaults(help: &str) -> Vec<(String, String)> {
    let options = help.split("\n      --").skip(1).filter_map(|text| {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (option, rest) = words.split_once(' ')?;
        let (_, default) = rest.split_once("[default: ")?;
        let default = default.split([']', ' ', ',']).next()?;
        Some((option.to_owned(), default.to_owned()))
    });
    options.collect()
}

#[test]
fn the_defaults_of_the_help_are_those_of_the_program() {
    let (_, help, _) = run(&["--help"], &[]);
    // These depend on where it runs.
    let elsewhere = ["chdir", "name"];
    let mut compared = Vec::new();
    for (option, default) in defaults(&help) {
        if elsewhere.contains(&option.as_str()) {
            continue;
        }
        let with = match option.as_str() {
            "data" => "--format jsonl",
            "batch-size" | "batch-bytes" => "--per batch",
            "batch-window" => "--per batch",
            "inflight" | "max-records-per-handler" => "--per shard",
            "drain-timeout" => "--read-ahead 1MiB",
            "filter-non-json" => r#"--filter {"partitionKey":["k"]}"#,
            _ => "",
        };
        let named = configured(&format!("{with} --{option} {default} -- x"));
        assert_eq!(
            named,
            configured(&format!("{with} -- x")),
            "--{option} {default}"
        );
        compared.push(option);
    }
    for option in [
        "per",
        "format",
        "checkpoint-every",
        "max-attempts",
        "timeout",
        "stop-signal",
    ] {
        assert!(
            compared.iter().any(|name| name == option),
            "{option} in {compared:?}"
        );
    }
    assert_eq!(
        configured("--on-failure skip --max-attempts 5 -- x"),
        configured("--on-failure skip -- x")
    );
}

// @FILE.

/// Runs what this file says with a record; what the handler made of it.
fn from_file(text: &str) -> Daemon {
    let bridge = Bridge::new("cat >stdin; echo \"$*\" >words");
    let mut daemon = bridge.file("a.args", text).start_with(&["@a.args"]);
    daemon.initialize();
    daemon.payloads(&["x"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    daemon
}

#[test]
fn a_file_holds_the_command_line_with_quotes_and_comments() {
    let text = "# the handler of the archive\n--format lines # one a line\n-- ./handler 'a  b' \"c d\" e\\ f # end\n";
    let daemon = from_file(text);
    assert_eq!(daemon.read("stdin"), "x\n");
    assert_eq!(daemon.read("words"), "a  b c d e f\n");
    let daemon = from_file(&text.replace('\n', "\r\n"));
    assert_eq!(
        (daemon.read("stdin"), daemon.read("words")),
        ("x\n".into(), "a  b c d e f\n".into())
    );
}

#[test]
fn a_pipeline_is_written_with_sh_and_nothing_is_expanded_before() {
    let daemon =
        from_file("-- sh -c 'cat |\n tr x y >\"piped $KCLPIPE_SHARD_ID\"; echo $0' '$HOME'");
    assert_eq!(daemon.read("piped shardId-0"), "y");
}

#[test]
fn a_file_that_is_missing_nested_unclosed_or_not_alone_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("written");
        format!("@{}", folder.path().join(name).display())
    };
    let (good, open) = (at("good", "-- cat"), at("open", "-- sh -c 'cat"));
    is_refused(&["@/no/such/file"], &[], "'@/no/such/file'");
    is_refused(&[&open], &[], "open': a quote is not closed");
    is_refused(
        &[&good, "--per", "record"],
        &[],
        "must be the only argument",
    );
    is_refused(&[&at("nested", &good)], &[], "only one is read");
    is_refused(&[&at("wrong", "--nope -- cat")], &[], "'--nope'");
    is_refused(&[&at("empty", "# nothing\n")], &[], "no handler");
}

// The environment.

/// The log of a run with these options and variables that has nothing to do.
fn log_of(options: &str, variables: &[(&str, &str)]) -> String {
    let mut arguments: Vec<&str> = options.split_whitespace().collect();
    arguments.extend(["--", "cat"]);
    let (code, _, err) = run(&arguments, variables);
    assert_eq!(code, 0, "{err}");
    err
}

#[test]
fn an_option_may_come_from_the_environment_and_the_command_line_comes_first() {
    for (option, expected) in [("", "x\n"), ("--format netstring", "1:x,")] {
        let bridge = Bridge::new("cat >stdin").options(option);
        let mut daemon = bridge.variable("KCLPIPE_FORMAT", "lines").start();
        daemon.initialize();
        daemon.payloads(&["x"]);
        daemon.expect_status("processRecords");
        daemon.finish();
        assert_eq!(daemon.read("stdin"), expected);
    }
}

#[test]
fn a_flag_in_the_environment_is_yes_or_no() {
    for (value, checkpoints) in [
        ("1", true),
        ("true", true),
        ("yes", true),
        ("Yes", true),
        ("0", false),
        ("false", false),
        ("no", false),
        ("", false),
    ] {
        let bridge = Bridge::new("").variable("KCLPIPE_CHECKPOINT_BATCH", value);
        let mut daemon = bridge.start();
        daemon.initialize();
        daemon.payloads(&["x"]);
        if checkpoints {
            daemon.expect_checkpoint("1", 0);
            daemon.ack(None);
        }
        daemon.expect_status("processRecords");
        daemon.finish();
    }
    let maybe = [("KCLPIPE_CHECKPOINT_BATCH", "maybe")];
    is_refused(&["--", "cat"], &maybe, "KCLPIPE_CHECKPOINT_BATCH='maybe'");
}

#[test]
fn an_empty_variable_is_unset_and_a_wrong_one_is_named() {
    log_of("", &[("KCLPIPE_TIMEOUT", "")]);
    is_refused(
        &["--", "cat"],
        &[("KCLPIPE_TIMEOUT", "soon")],
        "KCLPIPE_TIMEOUT",
    );
    log_of("--timeout 5s", &[("KCLPIPE_TIMEOUT", "soon")]);
}

#[test]
fn a_variable_that_contradicts_the_command_line_is_dropped_with_a_line_in_the_log() {
    let log = log_of(
        "--checkpoint-manual",
        &[("KCLPIPE_CHECKPOINT_RECORDS", "5")],
    );
    assert!(
        log.contains("ignoring the variable KCLPIPE_CHECKPOINT_RECORDS"),
        "{log}"
    );
    let log = log_of("--on-failure skip", &[("KCLPIPE_DEAD_LETTER", "f")]);
    assert!(
        log.contains("ignoring the variable KCLPIPE_DEAD_LETTER"),
        "{log}"
    );
    let both = [
        ("KCLPIPE_CHECKPOINT_RECORDS", "5"),
        ("KCLPIPE_CHECKPOINT_MANUAL", "1"),
    ];
    is_refused(&["--", "cat"], &both, "--checkpoint-manual");
}

#[test]
fn an_unknown_variable_is_warned_of() {
    let log = log_of("", &[("KCLPIPE_CHEKPOINT_BATCH", "1"), ("OTHER", "1")]);
    let told = "did you mean KCLPIPE_CHECKPOINT_BATCH?";
    assert!(log.contains(told), "{log}");
    let warned: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(warned.len(), 1, "{log}");
    assert!(warned[0].contains("KCLPIPE_CHEKPOINT_BATCH"), "{log}");
}

// The log.

/// A handler that prints on both of its outputs has a record.
fn logged(options: &str) -> Daemon {
    let script = "echo on stdout; echo on stderr >&2; exit $((KCLPIPE_ATTEMPT % 2))";
    let bridge = Bridge::new(script).options("--retry-delay 1ms --retry-max-delay 2ms");
    let mut daemon = bridge.options(options).start();
    daemon.initialize();
    daemon.payloads(&["x"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    daemon
}

#[test]
fn the_level_decides_which_lines_are_logged() {
    for (level, stdout, stderr, begins, attempt) in [
        ("", false, true, true, false),
        ("--log-level info", false, true, true, false),
        ("--log-level debug", true, true, true, true),
        ("--log-level warn", false, false, false, false),
        ("--log-level error,handler=debug", true, true, false, false),
        ("--log-level handler=off", false, false, false, false),
        ("--log-level off", false, false, false, false),
    ] {
        let log = logged(level).log();
        let found = [
            "handler: on stdout",
            "handler: on stderr",
            "lease acquired",
            "attempt 1: exit code 1 after",
        ]
        .map(|text| log.contains(text));
        assert_eq!(found, [stdout, stderr, begins, attempt], "{level}: {log}");
    }
}

#[test]
fn what_was_suppressed_in_the_last_second_is_reported_at_the_end() {
    let mut daemon = Bridge::new("yes x | head -n 5000 >&2").start();
    daemon.initialize();
    daemon.payloads(&["x"]);
    daemon.expect_status("processRecords");
    daemon.finish();
    let log = daemon.log();
    let printed = log.matches("handler: x").count();
    let told = log
        .split("lines of handler output suppressed: ")
        .skip(1)
        .filter_map(|rest| rest.split_once(" (limit: 100 lines/s)"));
    let held: usize = told
        .map(|(count, _)| count.parse::<usize>().expect("a count"))
        .sum();
    assert!(
        printed < 5000 && printed + held == 5000,
        "{printed} and {held} in {log}"
    );
}

#[test]
fn a_line_names_the_shard_and_where_it_is_from() {
    let log = logged("").log();
    let line = log.lines().find(|line| line.contains("on stderr"));
    let line = line.expect("a line");
    assert!(
        line.contains(" INFO  shardId-0 handler: on stderr"),
        "{line}"
    );
}

#[test]
fn as_json_every_line_is_an_object() {
    let log = logged("--log-level trace --log-format json").log();
    let objects: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    let printed = objects
        .iter()
        .find(|object| object["message"] == "on stderr")
        .expect("a line");
    assert_eq!(
        (&printed["level"], &printed["target"], &printed["shard"]),
        (&"INFO".into(), &"handler".into(), &"shardId-0".into())
    );
}

#[test]
fn a_log_file_takes_every_line_and_may_be_moved_away() {
    let script = "echo \"record $KCLPIPE_SEQUENCE_NUMBER\" >&2";
    let bridge = Bridge::new(script).options("--log-file {name}.log --name app");
    let mut daemon = bridge.start();
    daemon.initialize();
    daemon.numbers(1..=1);
    daemon.expect_status("processRecords");
    fs::rename(daemon.path("app.log"), daemon.path("app.log.1")).expect("renamed");
    daemon.numbers(2..=2);
    daemon.expect_status("processRecords");
    daemon.finish();
    assert_eq!(daemon.log(), "", "nothing on stderr");
    let (moved, fresh) = (daemon.read("app.log.1"), daemon.read("app.log"));
    assert!(
        moved.contains("record 1") && !moved.contains("record 2"),
        "{moved}"
    );
    assert!(
        fresh.contains("record 2") && !fresh.contains("record 1"),
        "{fresh}"
    );
}

#[test]
fn a_log_file_that_cannot_be_opened_is_a_mistake_of_the_configuration() {
    let (code, out, err) = run(&["--log-file", "/no/such/folder/log", "--", "cat"], &[]);
    assert_eq!((code, out.as_str()), (78, ""));
    assert!(
        err.contains("'/no/such/folder/log'") && err.matches('\n').count() == 1,
        "{err}"
    );
}
