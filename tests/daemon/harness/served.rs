//! Servers for the metrics, and a kclpipe that has some: what it serves, Prometheus, its exporter.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};

use super::wait::until_some;

/// The last record fails for ever.
const HANDLER: &str = "[ $KCLPIPE_SEQUENCE_NUMBER != 30 ] || exit 1; sleep 0.1";

/// A kclpipe of this name with a batch that it does not come to the end of; it ends with its input.
pub(crate) struct Blocked {
    child: Child,
    _input: ChildStdin,
}

impl Blocked {
    /// Starts it in a folder, with its metrics in another.
    pub(crate) fn start(folder: &Path, metrics: &Path, name: &str) -> Blocked {
        let mut child = Command::new(env!("CARGO_BIN_EXE_kclpipe"))
            .arg("--metrics-dir")
            .arg(metrics)
            .args([
                "--name",
                name,
                "--retry-delay",
                "1s",
                "--retry-max-delay",
                "1s",
            ])
            // With an end, for the metric that a backfill has.
            .args(["--until", "2100-01-01T00:00:00Z"])
            .args(["--stop-timeout", "0", "--", "sh", "-c", HANDLER])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(log_of_all(folder))
            .spawn()
            .expect("kclpipe can be started");
        let mut input = child.stdin.take().expect("a pipe");
        let record = |number: u32| {
            json!({"data": "eA==", "partitionKey": "k", "sequenceNumber": number.to_string(),
                   "approximateArrivalTimestamp": 1_700_000_000_000_u64, "subSequenceNumber": 0})
        };
        let records: Vec<Value> = (1..=30).map(record).collect();
        for message in [
            json!({"action": "initialize", "shardId": "shardId-0", "sequenceNumber": "TRIM_HORIZON", "subSequenceNumber": 0}),
            json!({"action": "processRecords", "millisBehindLatest": 1500, "records": records}),
        ] {
            writeln!(input, "{message}").expect("kclpipe reads");
        }
        Blocked {
            child,
            _input: input,
        }
    }
}

/// What every blocked kclpipe of a test logs.
fn log_of_all(folder: &Path) -> File {
    let mut options = File::options();
    let log = options.create(true).append(true);
    log.open(folder.join("blocked.log"))
        .expect("a log can be made")
}

impl Drop for Blocked {
    fn drop(&mut self) {
        self.child.kill().expect("kclpipe can be killed");
        self.child.wait().expect("kclpipe can be awaited");
    }
}

/// Speaks HTTP/1.0, so that the reply is not chunked.
pub(crate) fn get(address: &str, path: &str) -> String {
    let mut connection = TcpStream::connect(address).expect("it listens");
    write!(connection, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("it reads");
    let mut reply = String::new();
    connection.read_to_string(&mut reply).expect("it answers");
    let (_, body) = reply.split_once("\r\n\r\n").expect("a reply has a head");
    body.to_owned()
}

/// A server that says on stderr where it listens. It ends with our end of its guard's input, so that none
/// is left behind when the tests are killed.
pub(crate) struct Server {
    guard: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(folder: &Path, program: &str, arguments: &[&str]) -> Server {
        let name = Path::new(program).file_name().expect("a name");
        let log = folder.join(name).with_extension("log");
        let guard = Command::new("sh")
            .args([
                "-c",
                "\"$@\" & read -r never; kill -s KILL $!; wait",
                "guard",
            ])
            .arg(program)
            .args(arguments)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log can be made"))
            .spawn()
            .expect("sh can be started");
        let mut server = Server {
            guard,
            address: String::new(),
        };
        server.address = until_some(&format!("the address of {program}"), || {
            let log = fs::read_to_string(&log).expect("a log");
            assert!(!log.contains("not found"), "{log}");
            log.lines().find_map(address_in)
        });
        server
    }
}

/// Where a server says that it listens: Prometheus' own, and `kclpipe status --listen`.
fn address_in(line: &str) -> Option<String> {
    let (_, rest) = line
        .split_once("serving http://")
        .or_else(|| line.split_once("\"Listening on\" address="))?;
    Some(rest.split([' ', '/']).next()?.to_owned())
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        self.guard.wait().expect("a guard can be awaited");
    }
}
