//! `kclpipe check`: each file of `tests/it/check` says what is found in it.
//!
//! `#= error ID: TEXT` or `#= warning ID: TEXT` stands above the line that is wrong, ID is the finding's, and
//! TEXT is a part of what is said; `#= error ID KEY: TEXT` is about a key that no line has, or about line 1, above which nothing can
//! stand; `#= --kcl 1` is an option. There are no other findings than these.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// kclpipe, which also finds itself in PATH.
fn kclpipe(arguments: &[&str], directory: &Path) -> Output {
    let own = Path::new(env!("CARGO_BIN_EXE_kclpipe"));
    let path = std::env::var("PATH").expect("a PATH");
    let path = format!("{}:{path}", own.parent().expect("a folder").display());
    let mut command = Command::new(own);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KCLPIPE_") {
            command.env_remove(name);
        }
    }
    // What this machine knows of AWS is nothing to a test.
    for name in ["AWS_REGION", "AWS_CONFIG_FILE", "HOME"] {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .env("PATH", path)
        .current_dir(directory);
    command.output().expect("started")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn report(arguments: &[&str], directory: &Path) -> (Option<i32>, Value) {
    let arguments = [&["check", "--json"], arguments].concat();
    let output = kclpipe(&arguments, directory);
    let json = serde_json::from_slice(&output.stdout);
    (
        output.status.code(),
        json.unwrap_or_else(|e| panic!("{e}: {}", text(&output))),
    )
}

/// A finding that a file says will be found.
#[derive(Debug)]
struct Expected {
    line: u64,
    severity: String,
    id: String,
    key: Option<String>,
    text: String,
}

/// What a file says of itself: the options, and the findings.
fn expected(file: &Path) -> (Vec<String>, Vec<Expected>) {
    let bytes = fs::read(file).expect("readable");
    let latin_1: String = bytes.iter().map(|b| char::from(*b)).collect();
    let (mut options, mut found, mut open) = (Vec::new(), Vec::new(), Vec::new());
    for (line, number) in latin_1.lines().zip(1..) {
        let Some(mark) = line.strip_prefix("#= ") else {
            found.extend(open.drain(..).map(|e| Expected { line: number, ..e }));
            continue;
        };
        if mark.starts_with("--") {
            options.extend(mark.split(' ').map(str::to_owned));
            continue;
        }
        let (head, text) = mark.split_once(": ").expect(mark);
        let mut words = head.splitn(3, ' ');
        let mut next = || words.next().expect(mark);
        let (severity, id) = (next(), next());
        let key = words.next();
        let expected = Expected {
            line: 0,
            severity: severity.to_owned(),
            id: id.to_owned(),
            key: key.map(str::to_owned),
            text: text.to_owned(),
        };
        match key {
            Some(_) => found.push(expected),
            None => open.push(expected),
        }
    }
    (options, found)
}

impl Expected {
    fn is(&self, finding: &Value) -> bool {
        let says = ["what", "why", "fix"].map(|part| finding[part].as_str().expect("a text"));
        let first = self.key.is_some() && finding["line"] == 1;
        (finding["line"] == self.line || first)
            && finding["severity"] == *self.severity
            && finding["id"] == *self.id
            && self.key.as_deref().is_none_or(|key| finding["key"] == key)
            && (says.iter().any(|said| said.contains(&self.text)))
    }
}

#[test]
fn each_planted_mistake_is_found_with_its_line_and_nothing_else() {
    let folder = root().join("tests/it/check");
    let files = fs::read_dir(&folder)
        .expect("the files")
        .map(|entry| entry.expect("an entry").path());
    let (mut wrong, mut right, mut failed) = (0, 0, Vec::new());
    for file in files {
        let (options, expected) = expected(&file);
        let name = file.to_str().expect("UTF-8");
        let arguments: Vec<&str> = options.iter().map(String::as_str).chain([name]).collect();
        let (code, report) = report(&arguments, &folder);
        let findings = report["findings"].as_array().expect("a list");
        let told = findings
            .iter()
            .all(|finding| expected.iter().any(|e| e.is(finding)));
        let found = expected
            .iter()
            .all(|e| findings.iter().any(|finding| e.is(finding)));
        if !(told && found && findings.len() == expected.len()) {
            failed.push(format!(
                "{name}: expected {expected:#?}, found {findings:#?}"
            ));
        }
        let worst = match (
            expected.is_empty(),
            expected.iter().any(|e| e.severity == "error"),
        ) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 2,
        };
        if code != Some(worst) {
            failed.push(format!("{name}: exit code {code:?}, not {worst}"));
        }
        match worst {
            0 => right += 1,
            _ => wrong += 1,
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(wrong >= 25 && right >= 5, "{wrong} and {right} files");
}

#[test]
fn nothing_is_found_in_the_samples_but_what_is_to_be_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("target/release")).expect("made");
    let own = Path::new(env!("CARGO_BIN_EXE_kclpipe"));
    symlink(own, folder.path().join("target/release/kclpipe")).expect("linked");
    symlink(root().join("docs"), folder.path().join("docs")).expect("linked");
    for (sample, directory) in [
        ("properties/kclpipe.properties", root().join("properties")),
        ("properties/local.properties", folder.path().to_path_buf()),
    ] {
        let directory = directory.to_str().expect("UTF-8");
        let output = kclpipe(&["check", "--directory", directory, sample], &root());
        let printed = text(&output);
        let unchanged = printed.matches("is still the value of the sample").count();
        let (found, code) = match unchanged {
            0 => ("nothing found", 0),
            _ => ("0 errors, 2 warnings", 1),
        };
        assert_eq!(output.status.code(), Some(code), "{printed}");
        let last = format!("{sample}: {found} (KCL 3.1.3)\n");
        assert!(printed.ends_with(&last), "{printed}");
        assert_eq!(unchanged == 2, sample.contains("kclpipe.prop"), "{printed}");
    }
}

/// A folder with a sound configuration, whose handler is in an `@FILE`.
fn deployment() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let right = fs::read_to_string(root().join("tests/it/check/right.properties")).expect("text");
    let file = right.replace("kclpipe -- cat", "kclpipe @handler.args");
    fs::write(folder.path().join("k.properties"), file).expect("written");
    fs::write(folder.path().join("handler.args"), "-- './my handler'").expect("written");
    let handler = folder.path().join("my handler");
    fs::write(&handler, "#!/bin/sh\n").expect("written");
    fs::set_permissions(&handler, PermissionsExt::from_mode(0o755)).expect("made executable");
    folder
}

#[test]
fn relative_names_are_looked_up_where_the_daemon_is_started() {
    let folder = deployment();
    let file = folder.path().join("k.properties");
    let (file, directory) = (
        file.to_str().expect("UTF-8"),
        folder.path().to_str().expect("UTF-8"),
    );
    let from = |arguments: &[&str], cwd: &Path| {
        let (code, report) = report(arguments, cwd);
        (code, report["findings"][0]["what"].to_string())
    };
    assert_eq!(from(&[file], folder.path()).0, Some(0));
    assert_eq!(from(&["--directory", directory, file], &root()).0, Some(0));
    let (code, what) = from(&[file], &root());
    assert!(
        code == Some(2) && what.contains("cannot read '@handler.args'"),
        "{what}"
    );

    fs::write(
        folder.path().join("handler.args"),
        "--chdir sub -- ./handler",
    )
    .expect("written");
    let (_, what) = from(&[file], folder.path());
    assert!(what.contains("'sub' does not exist (--chdir)"), "{what}");
    fs::write(folder.path().join("handler.args"), "-- 'open").expect("written");
    let (_, what) = from(&[file], folder.path());
    assert!(what.contains("a quote is not closed"), "{what}");
}

#[test]
fn a_relative_program_is_worth_a_warning_until_the_directory_is_known() {
    let folder = deployment();
    let own = Path::new(env!("CARGO_BIN_EXE_kclpipe"));
    symlink(own, folder.path().join("kclpipe")).expect("linked");
    let file = folder.path().join("k.properties");
    let relative = fs::read_to_string(&file)
        .expect("text")
        .replace("= kclpipe @", "= ./kclpipe @");
    fs::write(&file, relative).expect("written");
    let (code, found) = report(&["k.properties"], folder.path());
    assert_eq!((code, &found["warnings"]), (Some(1), &1.into()), "{found}");
    let (code, found) = report(&["--directory", ".", "k.properties"], folder.path());
    assert_eq!(code, Some(0), "{found}");
}

/// What is found in a folder where the daemon runs `child`, or kclpipe runs `handler`, which begins so.
fn found_of_a_script(child: &str, script: &str, start: &str) -> (u64, u64, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let right = fs::read_to_string(root().join("tests/it/check/right.properties")).expect("text");
    let file = right.replace("kclpipe -- cat", child);
    fs::write(folder.path().join("k.properties"), file).expect("written");
    let path = folder.path().join(script);
    fs::write(&path, start).expect("written");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("made executable");
    let (_, report) = report(&["--directory", ".", "k.properties"], folder.path());
    let count = |of: &str| report[of].as_u64().expect("a count");
    (
        count("errors"),
        count("warnings"),
        report["findings"].to_string(),
    )
}

#[test]
fn the_first_line_of_child_and_handler_is_looked_at() {
    for (child, script, start, errors, warnings, said) in [
        ("./run.py", "run.py", "#!env python\n", 1, 0, "names 'env'"),
        ("./run.py", "run.py", "#!/bin/sh\r\n", 1, 0, "CR LF"),
        (
            "./run.py",
            "run.py",
            "#!/usr/bin/env no-such\n",
            1,
            0,
            "'no-such'",
        ),
        (
            "./run.py",
            "run.py",
            "import os\n",
            0,
            1,
            "/bin/sh, whatever language",
        ),
        ("./run.sh", "run.sh", "cat\n", 0, 0, ""),
        ("./run.sh", "run.sh", "#!/bin/sh\n", 0, 0, ""),
        (
            "kclpipe -- ./h",
            "h",
            "#!/no/such\n",
            1,
            0,
            "the handler './h': its first line names '/no/such'",
        ),
        (
            "kclpipe -- ./h.sh",
            "h.sh",
            "cat\n",
            1,
            0,
            "kclpipe does not use a shell",
        ),
        (
            "kclpipe --hook ./h -- cat",
            "h",
            "#!/bin/sh\r\n",
            1,
            0,
            "CR LF",
        ),
        ("kclpipe -- ./h", "h", "#!/bin/sh\n", 0, 0, ""),
        (
            "kclpipe -- ./curl -d @-",
            "curl",
            "#!/bin/sh\n",
            0,
            1,
            "Write --on-exit 65=fail",
        ),
        (
            "kclpipe --on-exit 65=fail -- ./curl",
            "curl",
            "#!/bin/sh\n",
            0,
            0,
            "",
        ),
    ] {
        let (e, w, findings) = found_of_a_script(child, script, start);
        assert_eq!((e, w), (errors, warnings), "{child} {start:?}: {findings}");
        assert!(findings.contains(said), "{child} {start:?}: {findings}");
    }
}

#[test]
fn folders_are_looked_up_where_the_daemon_is_started() {
    let folder = deployment();
    let args = "--log-file logs/{name}.log --dead-letter '{name}/{shard}.jsonl' -- './my handler'";
    fs::write(folder.path().join("handler.args"), args).expect("written");
    let directory = folder.path().canonicalize().expect("a path");
    let name = directory.file_name().expect("a name");
    let check = || {
        let file = folder.path().join("k.properties");
        let words = ["--directory", directory.to_str().expect("UTF-8")];
        let (_, report) = report(
            &[&words[..], &[file.to_str().expect("UTF-8")]].concat(),
            &root(),
        );
        report["findings"].to_string()
    };
    let found = check();
    assert!(
        found.contains("(--log-file)") && found.contains("(--dead-letter)"),
        "{found}"
    );
    fs::create_dir(folder.path().join("logs")).expect("made");
    fs::create_dir(folder.path().join(name)).expect("made");
    assert_eq!(check(), "[]");
}

#[test]
fn a_finding_says_where_what_why_and_the_fix() {
    let folder = root().join("tests/it/check");
    let output = kclpipe(&["check", "key-in-wrong-case.properties"], &folder);
    let expected = "key-in-wrong-case.properties:10: error: maxrecords: the daemon does not know this key [key-unknown]
    The daemon silently skips it, so this line sets nothing; keys are case-sensitive.
    Write 'maxRecords'.
key-in-wrong-case.properties: 1 error, 0 warnings (KCL 3.1.3)
";
    assert_eq!(text(&output), expected);
    let (_, json) = report(&["key-in-wrong-case.properties"], &folder);
    let expected = serde_json::json!({
        "file": "key-in-wrong-case.properties",
        "kcl": "3.1.3",
        "errors": 1,
        "warnings": 0,
        "findings": [{
            "line": 10,
            "key": "maxrecords",
            "severity": "error",
            "id": "key-unknown",
            "what": "the daemon does not know this key",
            "why": "The daemon silently skips it, so this line sets nothing; keys are case-sensitive.",
            "fix": "Write 'maxRecords'.",
        }],
    });
    assert_eq!(json, expected);
}

#[test]
fn no_secret_is_printed() {
    let folder = root().join("tests/it/check");
    for name in [
        "secret-in-quotes",
        "secret-in-command",
        "secret-in-address",
        "access-key-in-value",
    ] {
        let printed = text(&kclpipe(&["check", &format!("{name}.properties")], &folder));
        let secret = printed.contains("hunter2") || printed.contains("AKIA");
        assert!(!secret && printed.contains("1 warning"), "{printed}");
    }
}

#[test]
fn a_file_that_is_no_text_is_told_in_bounds() {
    let folder = tempfile::tempdir().expect("a folder");
    let junk: Vec<u8> = (0..200_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    let no_escapes: Vec<u8> = junk.into_iter().filter(|b| *b != b'\\').collect();
    fs::write(folder.path().join("junk"), no_escapes).expect("written");
    fs::write(folder.path().join("long"), "k".repeat(3_000_000)).expect("written");
    for name in ["junk", "long"] {
        let output = kclpipe(&["check", name], folder.path());
        let printed = text(&output);
        assert_eq!(output.status.code(), Some(2));
        assert!(printed.lines().all(|line| line.len() < 1000), "{name}");
        assert!(
            !printed.contains(|c: char| c.is_control() && c != '\n'),
            "{name}"
        );
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_clear_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let broken = folder.path().join("broken.properties");
    let other = "-- sh -c 'cat'\n# no key\n--per batch\n";
    fs::write(folder.path().join("handler.args"), other).expect("written");
    let wide: Vec<u8> = "streamName = x".bytes().flat_map(|b| [b, 0]).collect();
    fs::write(folder.path().join("wide.properties"), wide).expect("written");
    fs::write(&broken, "a = 1\nb = C:\\users\n").expect("written");
    for (name, said) in [
        (
            "no-such.properties",
            "cannot read 'no-such.properties': No such file",
        ),
        ("/dev/zero", "'/dev/zero' is not a properties file"),
        (".", "cannot read '.': Is a directory"),
        (
            "handler.args",
            "'handler.args' is not a properties file: it has no key of the daemon (an @FILE",
        ),
        (
            "wide.properties",
            "'wide.properties' is not a properties file: it contains zero bytes",
        ),
        (
            "broken.properties",
            "the daemon cannot read 'broken.properties': line 2",
        ),
    ] {
        for options in [&["check"][..], &["check", "--json"]] {
            let output = kclpipe(&[options, &[name]].concat(), folder.path());
            let printed = text(&output);
            assert_eq!(output.status.code(), Some(2), "{printed}");
            assert!(
                printed.starts_with(&format!("kclpipe: {said}")),
                "{printed}"
            );
            assert_eq!(printed.lines().count(), 1, "{printed}");
        }
    }
    let output = kclpipe(&["check"], folder.path());
    assert_eq!(output.status.code(), Some(64), "{}", text(&output));
}

#[test]
fn options_from_the_environment_count_as_under_the_daemon() {
    let own = env!("CARGO_BIN_EXE_kclpipe");
    let file = root().join("tests/it/check/right-other-child.properties");
    let folder = tempfile::tempdir().expect("a folder");
    let text_of = fs::read_to_string(file)
        .expect("text")
        .replace("cat -u", &format!("{own} -- cat"));
    fs::write(folder.path().join("k"), text_of).expect("written");
    let check = |manual: &str| {
        let mut command = Command::new(own);
        command.args(["check", "k"]).current_dir(folder.path());
        let status = command.env("KCLPIPE_CHECKPOINT_MANUAL", manual).output();
        status.expect("started").status.code()
    };
    assert_eq!((check("1"), check("0")), (Some(0), Some(1)));
}

/// The blocks of a page, each with the word behind its first fence.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let inside = page.split("\n```").skip(1).step_by(2);
    inside.filter_map(|block| block.split_once('\n')).collect()
}

#[test]
fn the_page_shows_what_is_printed() {
    let page = fs::read_to_string(root().join("docs/check.md")).expect("the page");
    let blocks = blocks(&page);
    let block = |word: &str, at: usize| {
        let mut all = blocks.iter().filter(|(of, _)| *of == word);
        all.nth(at).expect(word).1.to_owned() + "\n"
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("orders.properties");
    fs::write(&file, block("properties", 0)).expect("written");
    let command = block("sh", 0);
    let words: Vec<&str> = command.split_whitespace().skip(1).collect();
    let output = kclpipe(&words, folder.path());
    assert_eq!(
        (text(&output), output.status.code()),
        (block("", 0), Some(2))
    );

    let right = fs::read_to_string(root().join("tests/it/check/right.properties")).expect("text");
    let graceless = right.replace("= 60000", "= 0");
    fs::write(&file, format!("\n\n{graceless}")).expect("written");
    let (code, report) = report(&["orders.properties"], folder.path());
    let told: Value = serde_json::from_str(&block("json", 0)).expect("JSON");
    assert_eq!((code, report), (Some(1), told));

    // The line for a build, with errors and with warnings only.
    let deploy = folder.path().join("deploy");
    fs::create_dir(&deploy).expect("made");
    for (contents, fine) in [(graceless, true), (right.replace("stream", "steam"), false)] {
        fs::write(deploy.join("orders.properties"), contents).expect("written");
        let mut shell = Command::new("sh");
        let own = Path::new(env!("CARGO_BIN_EXE_kclpipe"))
            .parent()
            .expect("a folder");
        let path = format!(
            "{}:{}",
            own.display(),
            std::env::var("PATH").expect("a PATH")
        );
        shell
            .args(["-c", &block("sh", 1)])
            .env("PATH", path)
            .current_dir(folder.path());
        assert_eq!(shell.output().expect("started").status.success(), fine);
    }
}
