//! `kclpipe lambda`: events on stdin, a function that speaks the Runtime API, answers on stdout.

mod bootstrap;
mod deaths;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::harness::{are_here, skipped};
use bootstrap::MARK;

/// How long anything may take. Only a failure ever waits this long.
const DEADLINE: Duration = Duration::from_secs(30);

const KCLPIPE: &str = env!("CARGO_BIN_EXE_kclpipe");

/// A running `kclpipe lambda`.
struct Lambda {
    process: Child,
    events: Option<ChildStdin>,
    answers: Receiver<String>,
    log: Receiver<String>,
    logged: String,
}

impl Lambda {
    /// With the test's own function, which knows by this word what it is to do at its start.
    fn new(word: &str) -> Lambda {
        Lambda::with(&["--timeout", "30s"], word)
    }

    fn with(options: &[&str], word: &str) -> Lambda {
        let function = bootstrap::command();
        let words: Vec<&str> = function.iter().map(String::as_str).collect();
        Lambda::running(&[options, &["--"], &words].concat(), word)
    }

    fn running(arguments: &[&str], word: &str) -> Lambda {
        Lambda::started(Command::new(KCLPIPE).arg("lambda").args(arguments), word)
    }

    fn started(command: &mut Command, word: &str) -> Lambda {
        let command = command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("KCLPIPE_TOKEN", "t0ken")
            .env(MARK, word);
        let pipes = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = pipes.spawn().expect("kclpipe starts");
        Lambda {
            events: process.stdin.take(),
            answers: lines(process.stdout.take().expect("a pipe")),
            log: lines(process.stderr.take().expect("a pipe")),
            process,
            logged: String::new(),
        }
    }

    fn send(&mut self, event: &str) {
        let events = self.events.as_mut().expect("open");
        // What has ended does not read, and says why.
        let _ = events.write_all(format!("{event}\n").as_bytes());
    }

    fn answer(&mut self) -> String {
        let answer = self.answers.recv_timeout(DEADLINE);
        answer.unwrap_or_else(|_| panic!("no answer; {:?}", self.end()))
    }

    /// What is answered to an event.
    fn asked(&mut self, event: &str) -> String {
        self.send(event);
        self.answer()
    }

    /// Ends the events; the exit code, and all that was logged.
    fn end(&mut self) -> (Option<i32>, String) {
        self.events = None;
        self.ended()
    }

    fn ended(&mut self) -> (Option<i32>, String) {
        while let Some(line) = self.log_line() {
            self.logged += &line;
        }
        let status = self.process.wait().expect("ended");
        (status.code(), self.logged.clone())
    }

    /// Waits until the log says this.
    fn expect_log(&mut self, words: &str) {
        while !self.logged.contains(words) {
            let line = self.log_line().expect(words);
            self.logged += &line;
        }
    }

    /// The next line; `None` at the end.
    fn log_line(&mut self) -> Option<String> {
        match self.log.recv_timeout(DEADLINE) {
            Ok(line) => Some(line + "\n"),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("it does not end:\n{}", self.logged),
        }
    }
}

/// The lines of an output as they come.
fn lines(output: impl Read + Send + 'static) -> Receiver<String> {
    let (line, lines) = channel();
    let mut output = BufReader::new(output).lines().map_while(Result::ok);
    thread::spawn(move || output.all(|text| line.send(text).is_ok()));
    lines
}

/// The words of the log, each on a line of its own, in this order.
fn assert_log(log: &str, expected: &[&str]) {
    let mut lines = log.lines();
    for words in expected {
        let found = lines.any(|line| line.contains(words));
        assert!(found, "'{words}' is not in its place:\n{log}");
    }
}

#[test]
fn each_event_has_an_answer_on_a_line() {
    let mut lambda = Lambda::new("serve");
    for (event, answer) in [
        (r#""ok""#, r#"t0ken {  "batchItemFailures": []}"#),
        (r#""chunks""#, "t0ken [1,2]"),
        (r#"{"Records":[1.50]}"#, r#"t0ken {"Records":[1.50]}"#),
        (r#""error""#, "t0ken fail"),
        ("null", "t0ken null"),
        (r#""other paths""#, "t0ken null"),
    ] {
        assert_eq!(lambda.asked(event), answer, "{event}");
    }
    let (code, log) = lambda.end();
    assert_eq!(code, Some(0), "{log}");
    let error = "W! kclpipe lambda: the function reported an error: Boom: it broke";
    assert_log(&log, &["it: 202", error, "it: 202", "it: 404", "it: 404"]);
}

#[test]
fn an_event_and_a_response_of_six_megabytes_pass_and_those_read_ahead_are_handled() {
    let mut lambda = Lambda::new("serve");
    let event = format!("\"{}\"", "x".repeat(6_000_000));
    for _ in 0..2 {
        lambda.send(&event);
    }
    lambda.send(r#""ok""#);
    lambda.events = None;
    for _ in 0..2 {
        assert!(lambda.answer() == format!("t0ken {event}"));
    }
    assert!(lambda.answer().contains("batchItemFailures"));
    assert_eq!(lambda.end().0, Some(0));
}

#[test]
fn the_function_finds_its_variables_and_never_the_token() {
    let options = ["--handler", "app.handler", "--timeout", "1m"];
    let mut lambda = Lambda::with(&options, "serve");
    let answer = lambda.asked(r#""variables""#);
    let json = answer.strip_prefix("t0ken ").expect("the token");
    let mut variables: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let api = variables["AWS_LAMBDA_RUNTIME_API"].take();
    assert!(
        api.as_str()
            .is_some_and(|api| api.starts_with("127.0.0.1:"))
    );
    let expected = serde_json::json!({
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/function",
        "AWS_LAMBDA_LOG_STREAM_NAME": "kclpipe",
        "AWS_LAMBDA_RUNTIME_API": null,
        "LAMBDA_TASK_ROOT": "here",
        "_HANDLER": "app.handler",
    });
    assert_eq!(variables, expected);
    assert_eq!(lambda.end().0, Some(0));
}

#[test]
fn an_answer_to_another_event_is_refused() {
    let mut lambda = Lambda::new("serve");
    assert_eq!(lambda.asked(r#""twice""#), "t0ken 1");
    // The function asks for another event without having answered this one.
    lambda.send(r#""old""#);
    let (code, log) = lambda.ended();
    assert_eq!(code, Some(1), "{log}");
    assert_log(
        &log,
        &[
            "it: 202",
            "it: 400",
            "it: 400",
            "before it answered the one it has: refused",
            "the function ended while it had an event",
        ],
    );
    assert_log(&log, &["twice: the second answer is refused"]);
    let mut lambda = Lambda::new("serve");
    lambda.send(r#""unknown""#);
    let (code, log) = lambda.ended();
    assert_eq!(code, Some(1), "{log}");
    assert_log(&log, &["answered an event that it was not given: refused"]);
}

#[test]
fn a_response_that_cannot_be_understood_fails_its_event_and_no_other() {
    let mut lambda = Lambda::new("serve");
    for event in [r#""large""#, r#""garbled""#, r#""half""#, r#""empty""#] {
        assert_eq!(lambda.asked(event), "t0ken fail", "{event}");
    }
    assert!(lambda.asked(r#""ok""#).contains("batchItemFailures"));
    let (code, log) = lambda.end();
    assert_eq!(code, Some(0), "{log}");
    assert_log(
        &log,
        &["response is longer than 16 MiB, so its event failed"],
    );
    assert_log(&log, &["response cannot be read, so its event failed"]);
    assert_log(&log, &["response is no JSON, so its event failed"]);
    let statuses = [413, 400, 400, 202, 202].map(|status| format!("it: {status}"));
    assert_log(&log, &statuses.each_ref().map(String::as_str));
}

#[test]
fn one_asks_for_an_event_at_a_time_and_none_is_lost_with_who_has_gone() {
    let mut lambda = Lambda::new("serve");
    assert_eq!(lambda.asked(r#""second next""#), "t0ken null");
    lambda.expect_log("it: 409");
    assert!(lambda.asked(r#""ok""#).contains("batchItemFailures"));
    let (code, log) = lambda.end();
    assert_eq!(code, Some(0), "{log}");
    assert_log(&log, &["it: 403", "it: 202", "it: 409"]);
}

#[test]
fn a_stranger_is_not_served() {
    let mut lambda = Lambda::new("serve");
    let answer = lambda.asked(r#""variables""#);
    let json = answer.strip_prefix("t0ken ").expect("the token");
    let variables: serde_json::Value = serde_json::from_str(json).expect("JSON");
    let api = variables["AWS_LAMBDA_RUNTIME_API"].as_str();
    let mut stranger = TcpStream::connect(api.expect("an address")).expect("connected");
    let mut refusal = String::new();
    // Refused before it has said anything.
    stranger.read_to_string(&mut refusal).expect("a refusal");
    assert!(refusal.starts_with("HTTP/1.1 403 "), "{refusal}");
    let (code, log) = lambda.end();
    assert_eq!(code, Some(0), "{log}");
    assert_log(
        &log,
        &["a connection from a process that the function did not start"],
    );
}

#[test]
fn a_function_that_cannot_serve_is_broken() {
    for (word, said) in [
        (
            "exits at once",
            "ended before it asked for an event (exit code 65)",
        ),
        (
            "cannot start",
            "the function cannot start: Missing: no such module",
        ),
    ] {
        let (code, log) = Lambda::new(word).ended();
        assert_eq!(code, Some(78), "{word}: {log}");
        assert_log(&log, &[said]);
    }
    let mut missing = Lambda::running(&["--", "./no-such-bootstrap"], "");
    let (code, log) = missing.ended();
    assert_eq!(code, Some(78), "{log}");
    assert_log(
        &log,
        &["the function './no-such-bootstrap' cannot be started: No such file"],
    );
}

#[test]
fn a_death_or_too_long_a_silence_is_a_failure_whatever_the_functions_own_code() {
    // No busy machine takes as long to start the function.
    let limit = "2s";
    for (event, said) in [
        (r#""exit""#, "ended while it had an event (exit code 0)"),
        (
            r#""never""#,
            "did not answer its event within 2s (--timeout)",
        ),
        // It answers the wrong event, and dies as its next request is refused.
        (r#""silent""#, "ended while it had an event (exit code 101)"),
    ] {
        let mut lambda = Lambda::with(&["--timeout", limit], "serve");
        assert!(lambda.asked(r#""ok""#).contains("batchItemFailures"));
        lambda.send(event);
        let (code, log) = lambda.ended();
        assert_eq!(code, Some(1), "{event}: {log}");
        assert_log(&log, &[said]);
    }
    let mut lambda = Lambda::with(&["--timeout", limit], "never asks");
    lambda.send(r#""ok""#);
    let (code, log) = lambda.ended();
    assert_eq!(code, Some(78), "{log}");
    assert_log(&log, &["did not ask for an event within 2s (--timeout)"]);
}

#[test]
fn nothing_that_the_function_started_outlives_it() {
    let mut lambda = Lambda::new("serve");
    let answer = lambda.asked(r#""leaves a process""#);
    let left = answer.strip_prefix("t0ken ").expect("the token").parse();
    let left = Pid::from_raw(left.expect("a number")).expect("a process");
    assert!(test_kill_process(left).is_ok());
    assert_eq!(lambda.end().0, Some(0));
    assert!(test_kill_process(left).is_err(), "{left} is still there");
}

#[test]
fn a_request_to_stop_ends_the_function_too() {
    for (event, expected) in [(r#""ok""#, 0), (r#""leaves a process""#, 0)] {
        let mut lambda = Lambda::new("serve");
        lambda.asked(event);
        let process = Pid::from_child(&lambda.process);
        kill_process(process, Signal::TERM).expect("signalled");
        let (code, log) = lambda.ended();
        assert_eq!(code, Some(expected), "{log}");
    }
    let mut lambda = Lambda::new("serve");
    lambda.asked(r#""ok""#);
    lambda.send(r#""never""#);
    let process = Pid::from_child(&lambda.process);
    kill_process(process, Signal::TERM).expect("signalled");
    // The event may not have been read by then, and be nobody's.
    assert!(matches!(lambda.ended().0, Some(0 | 1)));
}

#[test]
fn a_part_of_an_event_is_dropped() {
    let mut lambda = Lambda::new("serve");
    let events = lambda.events.as_mut().expect("open");
    events
        .write_all(b"\"ok\"\n{\"Records\":[")
        .expect("written");
    assert!(lambda.answer().contains("batchItemFailures"));
    let (code, log) = lambda.end();
    assert_eq!(code, Some(0), "{log}");
    assert_log(&log, &["end within a line, which is dropped"]);
}

#[test]
fn without_a_free_port_it_is_broken() {
    let name = "without_a_free_port_it_is_broken";
    if !are_here(name, &["unshare"]) {
        return;
    }
    // In a network of its own with one port, which another one has.
    let script = format!(
        "echo 5000 5000 >/proc/sys/net/ipv4/ip_local_port_range && exec {KCLPIPE} lambda -- {KCLPIPE} lambda -- true"
    );
    let alone = ["-rn", "sh", "-c", &script];
    let (code, log) = Lambda::started(Command::new("unshare").args(alone), "").ended();
    if !log.contains("kclpipe lambda") {
        return skipped(name, "networks for users");
    }
    assert_eq!(code, Some(78), "{log}");
    assert_log(&log, &["no port of 127.0.0.1 can be listened on"]);
}
