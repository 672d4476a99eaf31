//! `kclpipe init`, up to what a check and replay make of its files.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::harness::write_script;

const NAMES: &str = "--stream orders --application orders-reader --region eu-central-1";

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Runs kclpipe there, with kclpipe itself in `PATH`, and records on its stdin.
fn kclpipe(folder: &Path, line: &str, records: &str) -> Output {
    let own = Path::new(env!("CARGO_BIN_EXE_kclpipe"));
    let path = std::env::var("PATH").expect("a PATH");
    let beside = own.parent().expect("a folder").display();
    let mut child = Command::new(own)
        .args(line.split(' '))
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{beside}:{path}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("started");
    // Whoever wants no input may be gone by now.
    let _ = child
        .stdin
        .take()
        .expect("a pipe")
        .write_all(records.as_bytes());
    child.wait_with_output().expect("ended")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[test]
fn from_nothing_to_a_worker_that_handles_records() {
    let folder = folder();
    write_script(&folder.path().join("handler"), "cat >>out; echo >>out");
    let made = kclpipe(folder.path(), &format!("init {NAMES} -- ./handler"), "");
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    assert_eq!(
        text(&made.stdout),
        "kclpipe.properties: nothing found (KCL 3.1.3)\nnext: kclpipe launch --fetch kclpipe.properties\n"
    );
    let played = "replay --properties kclpipe.properties";
    let played = kclpipe(folder.path(), played, "one\ntwo\n");
    assert!(played.status.success(), "{played:?}");
    let out = fs::read_to_string(folder.path().join("out")).expect("out");
    assert_eq!(out, "one\ntwo\n");
}

#[test]
fn a_directory_is_made_and_is_where_the_handler_is_looked_for() {
    let folder = folder();
    let line = format!("init {NAMES} --dir a/b -- ./handler");
    let made = kclpipe(folder.path(), &line, "");
    assert_eq!(made.status.code(), Some(2), "{made:?}");
    let said = text(&made.stdout);
    assert!(said.contains("[program-missing]"), "{said}");
    assert!(
        said.ends_with("\nnext: cd a/b && kclpipe check kclpipe.properties\n"),
        "{said}"
    );
    write_script(&folder.path().join("a/b/handler"), "true");
    let checked = kclpipe(&folder.path().join("a/b"), "check kclpipe.properties", "");
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

#[test]
fn a_file_that_exists_is_left_and_then_nothing_is_written() {
    for (there, other) in [
        ("kclpipe.properties", "handler.args"),
        ("handler.args", "kclpipe.properties"),
    ] {
        let folder = folder();
        fs::write(folder.path().join(there), "mine").expect("written");
        let made = kclpipe(folder.path(), &format!("init {NAMES} -- cat"), "");
        assert_eq!(made.status.code(), Some(73), "{made:?}");
        let said = text(&made.stderr);
        assert!(
            said.contains(&format!("'{there}' is there already")),
            "{said}"
        );
        assert_eq!(
            fs::read_to_string(folder.path().join(there)).expect("it"),
            "mine"
        );
        assert!(!folder.path().join(other).exists(), "{other}");
    }
}

#[test]
fn a_value_that_aws_would_refuse_stops_it_before_anything_is_written() {
    let folder = folder();
    let line = "init --stream a,b --application orders-reader --region eu-central-1 -- cat";
    let made = kclpipe(folder.path(), line, "");
    assert_eq!(made.status.code(), Some(64), "{made:?}");
    let said = text(&made.stderr);
    assert!(
        said.starts_with("kclpipe: --stream: 'a,b' cannot be"),
        "{said}"
    );
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}
