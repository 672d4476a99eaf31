//! A program of `support`, with the jars of what `tests/daemon/setup` installed.

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use super::stack::{installed, support};

/// What the program says of `input`.
pub(crate) fn java(program: &str, jars: &str, input: String) -> String {
    let mut java = Command::new("java")
        .args(["-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp"])
        .arg(installed(jars).join("*"))
        .arg(support(program))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("java can be started");
    let mut stdin = java.stdin.take().expect("piped");
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()).expect("read"));
    let output = java.wait_with_output().expect("it ends");
    writer.join().expect("all was written");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("UTF-8")
}
