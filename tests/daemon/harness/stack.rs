//! The two services, on loopback.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::Value;
use tempfile::TempDir;

use super::service::Service;
use super::{logs, wait};

/// What `tests/daemon/setup` installed.
pub(crate) fn installed(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("the target directory holds it");
    let path = target.join("daemon").join(name);
    assert!(
        path.exists(),
        "{} is missing: run tests/daemon/setup",
        path.display()
    );
    path
}

/// A file of this directory's `support`.
pub(super) fn support(name: &str) -> PathBuf {
    [
        env!("CARGO_MANIFEST_DIR"),
        "tests",
        "daemon",
        "support",
        name,
    ]
    .iter()
    .collect()
}

/// Kinesis and DynamoDB. The tests that run at the same time share them, each with its own stream
/// and tables.
pub(crate) struct Stack {
    /// Kinesis over HTTP/1.1.
    pub(crate) kinesis: Service,
    /// Where Kinesis speaks HTTP/2.
    pub(crate) kinesis_http2: String,
    /// DynamoDB.
    pub(crate) dynamodb: Service,
    _servers: [Server; 2],
}

impl Stack {
    /// The running one, or a new one. It stops when the last test lets go of it.
    pub(crate) fn shared() -> Arc<Self> {
        static RUNNING: Mutex<Weak<Stack>> = Mutex::new(Weak::new());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        running.upgrade().unwrap_or_else(|| {
            let stack = Arc::new(Self::start());
            *running = Arc::downgrade(&stack);
            stack
        })
    }

    fn start() -> Self {
        let mut kinesis = Command::new("node");
        kinesis
            .arg(support("kinesis.js"))
            .arg(installed("kinesalite-3.3.3"));
        let kinesis = Server::start(kinesis);

        let jars = installed("dynamodb-2.6.1");
        let mut dynamodb = Command::new("java");
        dynamodb.arg(format!("-Djava.library.path={}", jars.display()));
        dynamodb
            .arg("-cp")
            .arg(jars.join("*"))
            .arg(support("DynamoDb.java"));
        let dynamodb = Server::start(dynamodb);

        Self {
            kinesis: Service::kinesis(&kinesis.url("http")),
            kinesis_http2: kinesis.url("http2"),
            dynamodb: Service::dynamodb(&dynamodb.url("http")),
            _servers: [kinesis, dynamodb],
        }
    }
}

/// A server that prints one line of JSON when it is ready. It ends with its stdin, so that none is
/// left behind when the tests are killed.
struct Server {
    child: Child,
    directory: TempDir,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let directory =
            TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory can be made");
        let log = |name| File::create(directory.path().join(name)).expect("a log can be made");
        command
            .current_dir(&directory)
            .stdin(Stdio::piped())
            .stdout(log("stdout"))
            .stderr(log("stderr"));
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        Self { child, directory }
    }

    /// Waits for the line, and takes a URL from it.
    fn url(&self, name: &str) -> String {
        let stdout = self.directory.path().join("stdout");
        wait::until_some("a server", || {
            let urls: Value = serde_json::from_str(&fs::read_to_string(&stdout).ok()?).ok()?;
            Some(urls[name].as_str()?.to_owned())
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().expect("a server can be killed");
        self.child.wait().expect("a server can be awaited");
        logs::show_after_failure(&mut self.directory);
    }
}
