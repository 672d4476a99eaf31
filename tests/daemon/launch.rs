//! `kclpipe launch`, by which all these tests start the daemon, and what else it promises.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::harness::{Application, Case, Kcl, tests, wait};

tests! {
    what_is_set_wins_over_the_file_and_a_childs_line_is_printed_once:
        kcl3_per_record kcl2_per_record kcl1_per_record;
    without_credentials_the_daemon_ends_with_0: kcl3_per_record;
    the_daemon_asks_a_proxy_for_its_services: kcl3_per_record kcl1_per_record;
}

/// The file's child logs into a file of its own, the one that is set on stderr.
fn what_is_set_wins_over_the_file_and_a_childs_line_is_printed_once(case: Case) {
    let mut application = Application::new(case, "");
    let child = format!("executableName={} -- true", env!("CARGO_BIN_EXE_kclpipe"));
    let daemon = application.start_with(&["--set", &child]);
    daemon.until("both shards", || {
        daemon.logged().matches("lease acquired").count() >= 2
    });
    daemon.terminate();
    assert_eq!(daemon.wait(), Some(143));

    let logged = daemon.logged();
    let lines = logged
        .lines()
        .filter(|line| line.contains("lease acquired"));
    // The daemon of 1.x has no logback, and logs each line of a child again.
    let times = if case.kcl == Kcl::V1 { 2 } else { 1 };
    assert_eq!(lines.count(), 2 * times, "{logged}");
    // The daemon's own words for each batch are left out, where it takes a logback file.
    assert_eq!(
        logged.contains("MessageWriter"),
        case.kcl == Kcl::V1,
        "{logged}"
    );
    application.wait_until_nothing_runs();
}

/// As troubleshooting.md says: a service manager takes that for a success.
fn without_credentials_the_daemon_ends_with_0(case: Case) {
    let application = Application::new(case, "");
    let daemon = application.start_with(&[
        "--set",
        "AWSCredentialsProvider=SystemPropertyCredentialsProvider",
        "--set",
        "schedulerInitializationBackoffTimeMillis=50",
    ]);
    assert_eq!(daemon.wait(), Some(0));
    let logged = daemon.logged();
    for said in [
        "Caught exception when initializing LeaseCoordinator",
        "Unable to load credentials from",
        "Worker loop is complete. Exiting from worker.",
    ] {
        assert!(logged.contains(said), "no '{said}' in {logged}");
    }
}

/// As launch.md says: KCL 3 has the names that are not those for https, though the services are.
fn the_daemon_asks_a_proxy_for_its_services(case: Case) {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    let scheme = if case.kcl == Kcl::V1 { "https" } else { "http" };
    let port = proxy.local_addr().expect("an address").port();
    let application = Application::new(case, "");
    let daemon = application.start_with(&[
        "--set",
        "dynamoDBEndpoint=https://dynamodb.invalid",
        &format!("-D{scheme}.proxyHost=127.0.0.1"),
        &format!("-D{scheme}.proxyPort={port}"),
    ]);
    proxy.set_nonblocking(true).expect("set");
    daemon.until("a request to the proxy", || {
        first_line(&proxy).is_some_and(|line| line.starts_with("CONNECT dynamodb.invalid:443 "))
    });
}

/// The first line of a request that has come, after which it is refused.
fn first_line(listener: &TcpListener) -> Option<String> {
    let (connection, _) = listener.accept().ok()?;
    connection.set_nonblocking(false).expect("set");
    let mut line = String::new();
    BufReader::new(connection).read_line(&mut line).ok()?;
    Some(line)
}

/// `tests/daemon/local`, as README says, and the metrics of what it does.
#[test]
#[ignore = "needs tests/daemon/setup"]
fn one_command_shows_all_of_it_on_this_machine() {
    let folder = tempfile::tempdir().expect("a folder");
    let metrics = folder.path().join("metrics");
    fs::create_dir(&metrics).expect("made");
    let child = format!(
        "executableName={} --metrics-dir {} -- docs/examples/handler.sh",
        env!("CARGO_BIN_EXE_kclpipe"),
        metrics.display()
    );
    let log = folder.path().join("log");
    let output = File::create(&log).expect("a log");
    let local = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/daemon/local"))
        .args(["-Xmx1g", "--set", &child])
        .env("KCLPIPE", env!("CARGO_BIN_EXE_kclpipe"))
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("shared"))
        .stderr(output)
        .process_group(0)
        .spawn()
        .expect("started");
    let mut local = Group(local);
    let ended = || local_log(&log).contains("Process shutdown is complete");
    wait::until("the records in the metrics", || done(&metrics) == 5);
    assert!(
        local_log(&log).contains("handler: 40 cherries"),
        "{}",
        local_log(&log)
    );

    kill_process_group(Pid::from_child(&local.0), Signal::TERM).expect("signalled");
    local.0.wait().expect("ended");
    wait::until("the daemon's end", ended);
    wait::until("the metrics' end", || files(&metrics).is_empty());
}

/// What was started, which does not outlive the test.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
    }
}

fn local_log(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).expect("a log")).into_owned()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("readable");
    entries
        .map(|entry| entry.expect("an entry").path())
        .collect()
}

/// How many records are done, by the metrics of all shards.
fn done(metrics: &Path) -> u32 {
    let texts = files(metrics)
        .into_iter()
        .filter_map(|file| fs::read_to_string(file).ok());
    let text: String = texts.collect();
    let lines = text
        .lines()
        .filter(|line| line.starts_with("kclpipe_records_total{"));
    let done = lines.filter(|line| line.contains("outcome=\"done\""));
    done.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u32>().ok())
        .sum()
}

/// Maven gets the whole of the smallest of the three.
#[test]
#[ignore = "needs the network"]
fn maven_fetches_what_launch_then_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let jars = folder.path().join("jars");
    let mut fetch = Command::new(env!("CARGO_BIN_EXE_kclpipe"));
    fetch.args(["launch", "--fetch", "--kcl", "1.15.3", "--jars"]);
    let output = fetch.arg(&jars).output().expect("started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains('\x1b'), "colours in a file: {said:?}");
    assert!(
        jars.join("amazon-kinesis-client-1.15.3.jar").exists(),
        "{said}"
    );
    let entries = fs::read_dir(folder.path()).expect("readable");
    assert_eq!(entries.count(), 1, "nothing else is left");
}
