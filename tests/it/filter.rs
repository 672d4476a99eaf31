//! `--filter` as a whole: what a shard that is played makes of it, and how a mistake ends.

use std::fs;
use std::process::{Command, Output};

use tempfile::TempDir;

const KCLPIPE: &str = env!("CARGO_BIN_EXE_kclpipe");

/// Plays orders to a kclpipe with these options, whose handler appends to `wanted`.
fn played(options: &[&str]) -> (Output, TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let orders = "{\"n\":1}\nplain\n{\"n\":2}\n{\"n\":3}\n{\"n\":1.0}\n";
    fs::write(folder.path().join("orders"), orders).expect("written");
    let output = Command::new(KCLPIPE)
        .args(["replay", "--json", "orders", "--", KCLPIPE])
        .args(options)
        .args(["--", "sh", "-c", "cat >>wanted"])
        .current_dir(folder.path())
        .output();
    (output.expect("started"), folder)
}

fn wanted(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("wanted")).unwrap_or_default()
}

#[test]
fn what_matches_is_handed_over_and_everything_is_checkpointed() {
    let one = r#"{"data":{"n":[1]}}"#;
    for (options, expected) in [
        (&["--filter", one][..], r#"{"n":1}plain{"n":1.0}"#),
        (
            &["--filter", one, "--filter-non-json", "skip"],
            r#"{"n":1}{"n":1.0}"#,
        ),
        (
            &["--filter", one, "--filter", r#"{"data":{"n":[3]}}"#],
            r#"{"n":1}plain{"n":3}{"n":1.0}"#,
        ),
        (&["--filter", r#"{"partitionKey":["none"]}"#], ""),
    ] {
        let (output, folder) = played(options);
        assert!(output.status.success(), "{options:?}: {output:?}");
        assert_eq!(wanted(&folder).replace('\n', ""), expected, "{options:?}");
        let report = String::from_utf8_lossy(&output.stdout);
        let report = report.replace([' ', '\n'], "");
        assert!(report.contains(r#""checkpointed":5"#), "{report}");
    }
}

#[test]
fn a_pattern_that_is_none_is_a_mistake_with_its_place() {
    let output = Command::new(KCLPIPE)
        .args([
            "--filter",
            r#"{"data": {"a": [{"prefx": "x"}]}}"#,
            "--",
            "cat",
        ])
        .output()
        .expect("started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{said}");
    assert!(
        said.contains("--filter, line 1 column 17: unknown operator 'prefx'"),
        "{said}"
    );
}
