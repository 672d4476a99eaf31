//! `kclpipe launch`, by which all these tests start the daemon, and what else it promises.

use std::fs;
use std::process::Command;

use crate::harness::{Application, Case, Kcl, tests};

tests! {
    what_is_set_wins_over_the_file_and_a_childs_line_is_printed_once:
        kcl3_per_record kcl2_per_record kcl1_per_record;
}

/// The file's child logs into a file of its own, the one that is set on stderr.
fn what_is_set_wins_over_the_file_and_a_childs_line_is_printed_once(case: Case) {
    let mut application = Application::new(case, "");
    let child = format!("executableName={} -- true", env!("CARGO_BIN_EXE_kclpipe"));
    let daemon = application.start_with(&["--set", &child]);
    daemon.until("both shards", || {
        daemon.logged().matches("the lease begins").count() >= 2
    });
    daemon.terminate();
    assert_eq!(daemon.wait(), Some(143));

    let logged = daemon.logged();
    let lines = logged
        .lines()
        .filter(|line| line.contains("the lease begins"));
    // The daemon of 1.x has no logback, and logs each line of a child again.
    let times = if case.kcl == Kcl::V1 { 2 } else { 1 };
    assert_eq!(lines.count(), 2 * times, "{logged}");
    application.wait_until_nothing_runs();
}

/// Maven gets the whole of the smallest of the three.
#[test]
#[ignore = "needs the network"]
fn maven_fetches_what_launch_then_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let jars = folder.path().join("jars");
    let mut fetch = Command::new(env!("CARGO_BIN_EXE_kclpipe"));
    fetch.args(["launch", "--fetch", "--version", "1.15.3", "--jars"]);
    let output = fetch.arg(&jars).output().expect("started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        jars.join("amazon-kinesis-client-1.15.3.jar").exists(),
        "{said}"
    );
    let entries = fs::read_dir(folder.path()).expect("readable");
    assert_eq!(entries.count(), 1, "nothing else is left");
}
