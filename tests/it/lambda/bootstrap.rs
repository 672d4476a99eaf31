//! A function with its runtime client: this test program, started anew by `kclpipe lambda`. Each event is a word, which
//! says what the function does with it; what it sees of the API it prints.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::{env, thread};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;

/// The variable by which this program knows that it is the function.
pub(crate) const MARK: &str = "TEST_FUNCTION";

/// The command that is the function.
pub(crate) fn command() -> Vec<String> {
    let program = env::current_exe().expect("a path");
    let program = program.to_str().expect("text").to_owned();
    let test = "lambda::bootstrap::serves_events_where_it_is_started_as_the_function";
    [&program, test, "--exact", "--nocapture", "--quiet"]
        .map(str::to_owned)
        .to_vec()
}

#[test]
fn serves_events_where_it_is_started_as_the_function() {
    match env::var(MARK).as_deref() {
        Err(_) => {}
        Ok("exits at once") => std::process::exit(65),
        Ok("cannot start") => {
            let body = r#"{"errorType":"Missing","errorMessage":"no such module"}"#;
            say(Connection::new().post("init/error", body.as_bytes()));
            wait();
        }
        Ok("never asks") => wait(),
        Ok(_) => serve(),
    }
}

fn wait() {
    loop {
        thread::park();
    }
}

fn say(what: impl std::fmt::Display) {
    let line = format!("it: {what}\n");
    std::io::stdout()
        .write_all(line.as_bytes())
        .expect("written");
}

fn serve() {
    say(env::var("AWS_LAMBDA_RUNTIME_API").expect("an address"));
    let (mut connection, mut last) = (Connection::new(), String::new());
    loop {
        let (id, event) = connection.next();
        handle(&mut connection, &id, &last, &event);
        last = id;
    }
}

/// What an event says: itself, or its first record's payload.
fn word(event: &str) -> String {
    let json: Value = serde_json::from_str(event).expect("JSON");
    let data = json["Records"][0]["kinesis"]["data"].as_str();
    let payload = data.map(|data| BASE64_STANDARD.decode(data).expect("base64"));
    payload.map_or_else(
        || event.trim_matches('"').to_owned(),
        |payload| String::from_utf8(payload).expect("text"),
    )
}

/// Does with an event what it says.
fn handle(connection: &mut Connection, id: &str, last: &str, event: &str) {
    let response = format!("invocation/{id}/response");
    match word(event).as_str() {
        "ok" => say(connection.post(&response, b"{\n  \"batchItemFailures\": []\n}")),
        "error" => {
            let body = br#"{"errorType":"Boom","errorMessage":"it broke"}"#;
            say(connection.post(&format!("invocation/{id}/error"), body));
        }
        "twice" => {
            say(connection.post(&response, b"1"));
            say(connection.post(&response, b"2"));
        }
        "old" => say(connection.post(&format!("invocation/{last}/response"), b"3")),
        "unknown" => say(connection.post("invocation/nobody/response", b"3")),
        "large" => {
            say(connection.post(&response, &vec![b'7'; 20_000_000]));
            *connection = Connection::new();
        }
        "garbled" => {
            say(connection.chunks(&response, b"2\r\nxy\r\nno number\r\n"));
            *connection = Connection::new();
        }
        "chunks" => say(connection.chunks(&response, b"3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n")),
        "silent" => {}
        "empty" => say(connection.post(&response, b"")),
        "half" => {
            say(connection.half(&response));
            *connection = Connection::new();
        }
        "hold once" => {
            if is_first("held") {
                wait();
            }
            say(connection.post(&response, b"null"));
        }
        "die once" => {
            if is_first("dead") {
                kill_process(getpid(), Signal::KILL).expect("signalled");
            }
            say(connection.post(&response, b"null"));
        }
        "second next" => second_next(connection, &response),
        "other paths" => {
            say(connection.get("/2018-06-01/runtime/restore/next").0);
            say(connection.get("/2020-01-01/extension/register").0);
            say(connection.post(&response, b"null"));
        }
        "variables" => say(connection.post(&response, variables().as_bytes())),
        "leaves a process" => {
            let script = "sleep 1000 >/dev/null 2>&1 & echo $!";
            let left = Command::new("sh").args(["-c", script]).output();
            let pid = left.expect("started").stdout;
            say(connection.post(&response, pid.trim_ascii()));
        }
        "never" => wait(),
        "exit" => std::process::exit(0),
        // Of any size, and from the function back again.
        _ => say(connection.post(&response, event.as_bytes())),
    }
}

/// Notes our number in this file; whether it is the first there.
fn is_first(file: &str) -> bool {
    let is_first = !Path::new(file).exists();
    let noted = File::options().create(true).append(true).open(file);
    writeln!(noted.expect("opened"), "{}", getpid()).expect("written");
    is_first
}

/// Asks for an event while it has one; and after it has answered, twice at the same time.
fn second_next(connection: &mut Connection, response: &str) {
    let next = "/2018-06-01/runtime/invocation/next";
    say(Connection::new().get(next).0);
    say(connection.post(response, b"null"));
    let (received, statuses) = channel();
    let two = [0, 1].map(|_| {
        let (mut asks, received) = (Connection::new(), received.clone());
        let stream = asks.0.get_ref().try_clone().expect("a stream");
        asks.send(&format!("GET {next} HTTP/1.1\r\n\r\n"), b"");
        thread::spawn(move || received.send(asks.try_receive().map(|(status, ..)| status)));
        stream
    });
    let status = statuses.recv().expect("one is refused");
    // The other one goes without its event, which is then for whoever asks next.
    for stream in two {
        stream.shutdown(Shutdown::Both).expect("closed");
    }
    say(status.expect("a status"));
}

fn variables() -> String {
    let names = env::vars().filter(|(name, _)| name != "PATH" && !name.starts_with("TEST_"));
    let ours = names.filter(|(name, _)| {
        ["AWS_", "LAMBDA_", "KCLPIPE_", "_HANDLER"]
            .iter()
            .any(|start| name.starts_with(start))
    });
    let here = env::current_dir().expect("a directory");
    let shown = |path: &Path| path.display().to_string();
    let short = ours.map(|(name, value)| match value == shown(&here) {
        true => (name, "here".to_owned()),
        false => (name, value),
    });
    let sorted: std::collections::BTreeMap<String, String> = short.collect();
    serde_json::to_string(&sorted).expect("text")
}

/// A connection to the API.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn new() -> Connection {
        let api = env::var("AWS_LAMBDA_RUNTIME_API").expect("an address");
        Connection(BufReader::new(TcpStream::connect(api).expect("connected")))
    }

    /// The next event, with its id.
    fn next(&mut self) -> (String, String) {
        let (status, head, body) = self.get("/2018-06-01/runtime/invocation/next");
        assert_eq!(status, 200, "{head}");
        let mut fields = head.lines().filter_map(|line| line.split_once(": "));
        let id = fields.find(|(name, _)| *name == "Lambda-Runtime-Aws-Request-Id");
        (id.expect("an id").1.to_owned(), body)
    }

    fn get(&mut self, path: &str) -> (u16, String, String) {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"), b"");
        self.try_receive().expect("a response")
    }

    fn post(&mut self, path: &str, body: &[u8]) -> u16 {
        let length = body.len();
        let head =
            format!("POST /2018-06-01/runtime/{path} HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        self.send(&head, body);
        self.try_receive().expect("a response").0
    }

    fn chunks(&mut self, path: &str, chunks: &[u8]) -> u16 {
        let head = format!(
            "POST /2018-06-01/runtime/{path} HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        );
        self.send(&head, chunks);
        self.try_receive().expect("a response").0
    }

    /// Begins a response and ends the connection within it.
    fn half(&mut self, path: &str) -> u16 {
        let head =
            format!("POST /2018-06-01/runtime/{path} HTTP/1.1\r\nContent-Length: 10\r\n\r\n");
        self.send(&head, b"{\"ba");
        let stream = self.0.get_ref();
        stream.shutdown(Shutdown::Write).expect("closed");
        self.try_receive().expect("a response").0
    }

    fn send(&mut self, head: &str, body: &[u8]) {
        let stream = self.0.get_mut();
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(body).expect("sent");
    }

    /// Status, head and body; `None` where none comes.
    fn try_receive(&mut self) -> Option<(u16, String, String)> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.0.read_line(&mut head).ok()? == 0 {
                return None;
            }
        }
        let length = head.split("Content-Length: ").nth(1).expect("a length");
        let length = length.lines().next().expect("a number").parse();
        let mut body = vec![0; length.expect("a number")];
        self.0.read_exact(&mut body).expect("a body");
        let status = head.split(' ').nth(1).expect("a status").parse();
        let body = String::from_utf8(body).expect("text");
        Some((status.expect("a number"), head, body))
    }
}
