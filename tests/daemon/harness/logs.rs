//! What is left behind when a test fails.

use std::fs;
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;

/// So many lines are shown of each file.
const LINES: usize = 200;

/// What fills the logs of a daemon with nothing to do. The files that are kept have it all.
const NOISE: [&str; 6] = [
    "processRecords",
    "ProcessRecordsMessage",
    "Message size ==",
    "Reading next message from STDIN",
    "LeaseAssignment",
    "LeaderDecider",
];

/// If the test has failed: keeps the directory, and shows the end of each log in it.
#[expect(clippy::print_stderr, reason = "libtest shows it with the failure")]
pub(crate) fn show_after_failure(directory: &mut TempDir) {
    if !thread::panicking() {
        return;
    }
    directory.disable_cleanup(true);
    eprintln!("--- everything is kept in {}", directory.path().display());
    let files = fs::read_dir(directory.path())
        .into_iter()
        .flatten()
        .flatten();
    let mut files: Vec<PathBuf> = files.map(|file| file.path()).collect();
    files.sort();
    for file in files.iter().filter(|file| !file.ends_with("journal")) {
        let bytes = fs::read(file).unwrap_or_default();
        eprintln!(
            "--- {}\n{}",
            file.display(),
            end_of(&String::from_utf8_lossy(&bytes))
        );
    }
}

fn end_of(log: &str) -> String {
    let is_noise = |line: &&str| NOISE.iter().any(|noise| line.contains(noise));
    let lines: Vec<&str> = log.lines().filter(|line| !is_noise(line)).collect();
    lines[lines.len().saturating_sub(LINES)..].join("\n")
}
