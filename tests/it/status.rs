//! `kclpipe status`: what it shows of running kclpipes, of killed ones, and over HTTP.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Bridge, Daemon, QUICK};

const KCLPIPE: &str = env!("CARGO_BIN_EXE_kclpipe");

/// A kclpipe that keeps its files in `m`, which is there.
fn begun(script: &str, options: &str) -> Daemon {
    let bridge = Bridge::new(script).options("--metrics-dir m --name app --stats-every 50ms");
    fs::create_dir(bridge.path("m")).expect("made");
    let mut daemon = bridge.options(options).start();
    daemon.initialize();
    daemon
}

fn status(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(KCLPIPE);
    command.arg("status").args(arguments).arg(directory);
    command.output().expect("started")
}

fn json(directory: &Path) -> Vec<Value> {
    let output = status(directory, &["--json"]);
    serde_json::from_slice(&output.stdout).expect("a JSON array")
}

/// Waits until there is a shard of which this is so.
#[track_caller]
fn expect_shard(daemon: &mut Daemon, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut found = Value::Null;
    daemon.until(what, |daemon| {
        let all = json(&daemon.path("m"));
        found = all.into_iter().find(&is_so).unwrap_or_default();
        !found.is_null()
    });
    found
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_blocked_shard_is_shown_with_its_record_and_the_handlers_last_words() {
    let script = "cat; echo 'no route to db' >&2; exit 1";
    let mut daemon = begun(script, QUICK);
    daemon.payloads(&["a", "b"]);
    let shard = expect_shard(&mut daemon, "it blocks", |of| of["standing"] == "blocked");
    assert_eq!(shard["blocked"]["sequenceNumber"], "1");
    assert_eq!(shard["heldRecords"], 2);
    let output = status(&daemon.path("m"), &["--fail-if", "blocked=1ms,behind=1h"]);
    let table = text(&output.stdout);
    assert!(table.contains("record 1.0, "), "{table}");
    assert!(table.contains("exit code 1: no route to db"), "{table}");
    assert!(!table.contains('\x1b'), "no colours in a pipe: {table}");
    let reasons = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{reasons}");
    assert!(reasons.contains("app shardId-0: blocked for"), "{reasons}");
    assert!(reasons.contains("app shardId-0: ") && reasons.lines().count() == 2);
    daemon.end_input();
    daemon.wait_exit();
    assert!(json(&daemon.path("m")).is_empty(), "it has left orderly");
}

#[test]
fn a_kclpipe_that_was_killed_is_gone_until_its_shard_is_leased_here_again() {
    let mut daemon = begun("cat", "");
    expect_shard(&mut daemon, "it is well", |of| of["standing"] == "well");
    daemon.signal(Signal::KILL);
    daemon.wait_exit();
    let shard = expect_shard(&mut daemon, "it is gone", |of| of["standing"] == "gone");
    assert_eq!(shard["pid"], daemon.id());
    let output = status(&daemon.path("m"), &["--fail-if", "gone=0s"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("its kclpipe is gone"));
    let output = status(&daemon.path("m"), &["--fail-if", "stale=0s,gone=1h"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let metrics = daemon.path("m").display().to_string();
    let options = format!("--metrics-dir {metrics} --name app");
    let mut next = Bridge::new("cat").options(&options).start();
    next.initialize();
    next.until("the new one stands alone", |_| {
        let all = json(&daemon.path("m"));
        all.len() == 1 && all[0]["standing"] == "well"
    });
    next.finish();
}

#[test]
fn a_directory_of_anything_is_survived() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = status(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stderr).contains("--metrics-dir"));
    fs::write(folder.path().join("kclpipe-\x1b[31m-0-1.json"), "{").expect("written");
    fs::write(
        folder.path().join("kclpipe-huge-0-1.json"),
        vec![b' '; 1 << 20],
    )
    .expect("written");
    fs::create_dir(folder.path().join("kclpipe-x-0-1.json")).expect("made");
    let output = status(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(0));
    let said = text(&output.stderr);
    assert_eq!(said.matches("no file of a kclpipe's").count(), 3, "{said}");
    assert!(!said.contains('\x1b'), "{said}");
    let missing = status(&folder.path().join("no"), &[]);
    assert_eq!(missing.status.code(), Some(66), "{}", text(&missing.stderr));
}

/// A server, stopped at the end of the test.
struct Server(Child, String);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    fn new(directory: &Path, limits: &str) -> Server {
        let mut child = Command::new(KCLPIPE)
            .args(["status", "--listen", "0", "--fail-if", limits])
            .arg(directory)
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        let stderr = child.stderr.take().expect("a pipe");
        let mut line = String::new();
        BufReader::new(stderr)
            .read_line(&mut line)
            .expect("it says where it listens");
        let (_, rest) = line.split_once("http://").expect(&line);
        let address = rest.trim().trim_end_matches('/').to_owned();
        Server(child, address)
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.1).expect("connected")
    }

    fn get(&self, path: &str) -> String {
        let mut stream = self.connect();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    }
}

#[test]
fn slow_broken_and_curious_clients_leave_the_others_alone() {
    let mut daemon = begun("exit 1", QUICK);
    daemon.payloads(&["a"]);
    expect_shard(&mut daemon, "it blocks", |of| of["standing"] == "blocked");
    let server = Server::new(&daemon.path("m"), "blocked=1ms");
    // They say nothing, half a request, or nonsense.
    let slow: Vec<TcpStream> = (0..5).map(|_| server.connect()).collect();
    (&slow[1]).write_all(b"GET / HTT").expect("sent");
    (&slow[2]).write_all(b"\0\0\0\r\n\r\n").expect("sent");
    let health = server.get("/healthz");
    assert!(health.starts_with("HTTP/1.1 503"), "{health}");
    assert!(health.contains("app shardId-0: blocked for"), "{health}");
    let metrics = server.get("/metrics");
    assert!(metrics.contains("kclpipe_up{name=\"app\",shard=\"shardId-0\"} 1"));
    assert_eq!(metrics.matches("# TYPE kclpipe_blocked gauge").count(), 1);
    assert!(server.get("/").contains("blocked"));
    assert!(server.get("/m/../x").starts_with("HTTP/1.1 404"));
    let taken = Command::new(KCLPIPE)
        .args(["status", "--listen", &server.1])
        .arg(daemon.path("m"))
        .output()
        .expect("started");
    assert_eq!(taken.status.code(), Some(69), "{}", text(&taken.stderr));
    drop(server);
    daemon.end_input();
    daemon.wait_exit();
}

/// Files as that many living kclpipes keep them, after the pattern of one, and the locks that say that they live.
fn crowd(daemon: &Daemon, shards: u32) -> (TempDir, Vec<File>) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut locks = Vec::new();
    for entry in fs::read_dir(daemon.path("m")).expect("readable").flatten() {
        let pattern = fs::read_to_string(entry.path()).expect("text");
        let ending = entry.path().extension().expect("one").to_owned();
        for number in 0..shards {
            let shard = format!("shardId-{number:03}");
            let name = format!("kclpipe-app-{shard}-{number}");
            let path = folder.path().join(name).with_extension(&ending);
            fs::write(&path, pattern.replace("shardId-0", &shard)).expect("written");
            let file = File::open(path).expect("there");
            flock(&file, FlockOperation::LockExclusive).expect("locked");
            locks.push(file);
        }
    }
    (folder, locks)
}

#[test]
fn five_hundred_shards_have_a_line_each_and_a_family_is_named_once() {
    let mut daemon = begun("cat", "");
    expect_shard(&mut daemon, "it is well", |of| of["standing"] == "well");
    let (folder, _locks) = crowd(&daemon, 500);
    let table = text(&status(folder.path(), &[]).stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(
        lines.len(),
        502,
        "a head, the shards, and how many they are"
    );
    let server = Server::new(folder.path(), "stale=1h");
    let metrics = server.get("/metrics");
    assert_eq!(metrics.matches("# TYPE kclpipe_records_total ").count(), 1);
    assert_eq!(metrics.matches("\nkclpipe_up{").count(), 500);
    assert_eq!(server.get("/").matches("shardId-").count(), 500);
    daemon.finish();
}
