//! What the documents quote of the daemon, it says.

use std::process::Command;

use crate::harness::installed;

/// What AWS says, and not the daemon.
const OF_AWS: [&str; 1] = ["is not authorized to perform"];

#[test]
#[ignore = "needs tests/daemon/setup and Java"]
fn the_daemons_own_lines_in_troubleshooting_are_in_its_classes() {
    let page = include_str!("../../docs/troubleshooting.md");
    let (_, table) = page
        .split_once("\n| it prints |")
        .expect("the table of lines");
    let rows = table.lines().take_while(|line| !line.starts_with("## "));
    let quoted = rows
        .filter_map(|row| row.strip_prefix("| ")?.split(" | ").next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|sentence| !OF_AWS.contains(sentence));
    let quoted: Vec<&str> = quoted.collect();
    assert!(quoted.len() > 15, "{quoted:?}");

    let mut java = Command::new("java");
    java.arg(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/daemon/support/Sentences.java"
    ));
    let output = java.arg(installed("kcl-3.1.3")).args(&quoted).output();
    let output = output.expect("java can be started");
    assert!(output.status.success(), "{output:?}");
    let missing = String::from_utf8_lossy(&output.stdout);
    assert!(missing.is_empty(), "the daemon does not say {missing}");
}
