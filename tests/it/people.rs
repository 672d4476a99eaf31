//! What is there for people at a terminal: the manual page, help, first steps.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::process::{Command, Output, Stdio};

use kclpipe::testing::exit::{self, Exit};
use kclpipe::testing::handler::VARIABLES;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

fn kclpipe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kclpipe"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KCLPIPE_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// What it prints on stdout, as it must without a complaint.
fn printed(arguments: &[&str]) -> String {
    let output = kclpipe(arguments).output().expect("it starts");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
    text(&output.stdout)
}

/// Runs with a terminal as stdin, on which `typed` was typed.
fn at_a_terminal(arguments: &[&str], typed: &[u8]) -> Output {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("granted");
    unlockpt(&ours).expect("unlocked");
    let name = ptsname(&ours, Vec::new()).expect("its name");
    let theirs = OpenOptions::new()
        .read(true)
        .write(true)
        .open(name.to_str().expect("text"))
        .expect("its other end");
    let mut ours = File::from(ours);
    ours.write_all(typed).expect("typed");
    kclpipe(arguments)
        .stdin(theirs)
        .output()
        .expect("it starts")
}

/// The text of a manual page, without its markup.
fn plain(page: &str) -> String {
    let text = page.replace("\\-", "-").replace("\\*(Aq", "'");
    ["\\fB", "\\fI", "\\fR", "\\&"]
        .iter()
        .fold(text, |text, mark| text.replace(mark, ""))
}

/// The part of a manual page under a heading.
fn part<'a>(page: &'a str, heading: &str) -> &'a str {
    let named = [format!(".SH \"{heading}\"\n"), format!(".SH {heading}\n")];
    let found = named.iter().find_map(|name| page.split_once(name.as_str()));
    let (_, rest) = found.unwrap_or_else(|| panic!("no section {heading} in:\n{page}"));
    rest.split(".SH ").next().unwrap_or_default()
}

#[test]
fn the_manual_page_has_each_option_each_subcommand_and_each_exit_code() {
    let page = plain(&printed(&["man"]));
    let help = printed(&["--help"]);
    let of_help = |line: &str| {
        line.trim_start()
            .split([' ', ','])
            .find(|word| word.starts_with("--"))
            .map(str::to_owned)
    };
    let options: Vec<String> = help
        .lines()
        .filter(|line| line.trim_start().starts_with('-'))
        .filter_map(of_help)
        .collect();
    assert!(options.len() > 30, "{options:?}");
    for option in options.iter().filter(|option| *option != "--help") {
        assert!(
            page.contains(&format!("\n{option}")) || page.contains(&format!(", {option}")),
            "{option}"
        );
    }
    let (_, subcommands) = help.split_once("\nCommands:\n").expect("subcommands");
    let subcommands: Vec<&str> = subcommands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(subcommands.len() >= 3, "{subcommands:?}");
    for word in subcommands {
        part(&page, &format!("KCLPIPE {}", word.to_uppercase()));
    }
    let told = part(&page, "EXIT STATUS");
    let told: BTreeSet<String> = told
        .lines()
        .filter(|line| line.parse::<u8>().is_ok())
        .map(str::to_owned)
        .collect();
    let bridge = exit::Bridge::ALL.iter().map(|exit| exit.code());
    let check = exit::Check::ALL.iter().map(|exit| exit.code());
    let codes: BTreeSet<String> = bridge.chain(check).map(|code| code.to_string()).collect();
    assert!(told.is_superset(&codes), "{told:?}");
}

#[test]
fn the_manual_page_has_each_variable_of_a_handler() {
    let page = plain(&printed(&["man"]));
    let told = part(&page, "ENVIRONMENT");
    for name in VARIABLES {
        assert!(told.contains(name), "{name} is not in:\n{told}");
    }
}

#[test]
fn at_a_terminal_the_bare_name_shows_first_steps() {
    let output = at_a_terminal(&[], b"");
    assert_eq!(output.status.code(), Some(64), "{output:?}");
    assert_eq!(text(&output.stderr), kclpipe::testing::FIRST_STEPS);
    assert!(output.stdout.is_empty());
}

#[test]
fn what_a_beginner_sees_first_is_80_columns_wide() {
    let help = [&["-h"][..], &["--help"], &["help", "replay"]].map(printed);
    let first = kclpipe::testing::FIRST_STEPS.to_owned();
    for line in help.iter().chain([&first]).flat_map(|text| text.lines()) {
        assert!(line.chars().count() <= 80, "{line}");
    }
}

#[test]
fn help_is_a_word_too() {
    assert_eq!(printed(&["help"]), printed(&["--help"]));
    for command in ["replay", "check", "launch"] {
        let help = printed(&["help", command]);
        assert!(
            help.contains(&format!("Usage: kclpipe {command} ")),
            "{help}"
        );
        assert!(help.contains("\nExamples:\n"), "{help}");
    }
    let output = kclpipe(&["help", "reply"]).output().expect("it starts");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(64), "{told}");
    assert!(
        told.contains("there is no command 'reply': did you mean 'replay'?"),
        "{told}"
    );
}

#[test]
fn the_first_of_the_first_steps_works_as_it_is_printed() {
    let line = kclpipe::testing::FIRST_STEPS
        .lines()
        .find(|line| line.contains("seq 3"))
        .expect("it");
    let folder = tempfile::tempdir().expect("a folder");
    let program = env!("CARGO_BIN_EXE_kclpipe");
    std::os::unix::fs::symlink(program, folder.path().join("kclpipe")).expect("linked");
    let path = std::env::var("PATH").expect("a PATH");
    let output = Command::new("sh")
        .args(["-c", line])
        .env("PATH", format!("{}:{path}", folder.path().display()))
        .output()
        .expect("sh");
    assert!(output.status.success(), "{output:?}");
    let log = text(&output.stderr);
    for record in 1..=3 {
        assert!(log.contains(&format!("handler: {record}\n")), "{log}");
    }
}

#[test]
fn at_a_terminal_the_bridge_says_that_no_daemon_talks_to_it_and_ends_with_its_input() {
    let control_d = b"\x04";
    let output = at_a_terminal(&["--log-level", "warn", "--", "cat"], control_d);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let log = text(&output.stderr);
    assert!(
        log.contains("stdin is a terminal") && log.contains("kclpipe replay"),
        "{log}"
    );
}
