//! What a shell may put in place of the word at its cursor. The shells' own scripts only ask, with the hidden
//! command `complete`, and show the answer: what the options are is known here, once for all shells.

use std::ffi::OsString;
use std::fmt::Write;

use clap::{Arg, Command, CommandFactory};

use super::Cli;
use crate::logging::LEVELS;
use crate::outcome::{CLASSES, SIGNALS};
use crate::replay::faults::KINDS;

/// What may come at the cursor.
#[derive(Debug, PartialEq, Eq)]
enum Candidates {
    /// These words, each with what it means.
    Words(Vec<(String, String)>),
    /// A file; this of the word comes before its name.
    Files(String),
    /// A directory; this of the word comes before its name.
    Directories(String),
    /// A program.
    Program,
    /// What only the user knows.
    Nothing,
}

/// The answer to a shell: `words`, with a line for each that has a tab before its meaning, or `files`,
/// `directories`, `program` or `nothing`. `typed` is what comes after the program's name, up to the cursor.
pub(crate) fn complete(typed: &[OsString]) -> String {
    let text = |word: &OsString| word.to_string_lossy().into_owned();
    let mut before: Vec<String> = typed.iter().map(text).collect();
    let word = &before.pop().unwrap_or_default();
    match candidates(&before, word) {
        Candidates::Words(words) => listed(&words, word),
        Candidates::Files(kept) => format!("files {kept}\n"),
        Candidates::Directories(kept) => format!("directories {kept}\n"),
        Candidates::Program => "program\n".to_owned(),
        Candidates::Nothing => "nothing\n".to_owned(),
    }
}

fn listed(words: &[(String, String)], begun: &str) -> String {
    let mut answer = "words\n".to_owned();
    for (text, meaning) in words.iter().filter(|(text, _)| text.starts_with(begun)) {
        let _ = writeln!(answer, "{text}\t{meaning}");
    }
    answer
}

fn candidates(before: &[String], word: &str) -> Candidates {
    if let Some(at) = before.iter().position(|typed| typed == "--") {
        return after_dashes(&before[at + 1..], word);
    }
    let bridge = Cli::command();
    let other = before
        .first()
        .and_then(|first| bridge.find_subcommand(first));
    let command = other.unwrap_or(&bridge);
    let with_value = word.split_once('=');
    if let Some((option, value)) = with_value.filter(|(option, _)| option.starts_with("--")) {
        return value_of(command, option, value, &format!("{option}="));
    }
    let last = before.last().filter(|last| takes_value(command, last));
    if let Some(option) = last {
        return value_of(command, option, word, "");
    }
    match (other, word.strip_prefix('@')) {
        (Some(_), _) if !word.starts_with('-') => argument_of(command),
        (None, Some(_)) if before.is_empty() => Candidates::Files("@".to_owned()),
        (None, None) if before.is_empty() && !word.starts_with('-') => commands(&bridge),
        _ => options_of(command),
    }
}

/// What comes after `--`: a program and its arguments, and if the program is kclpipe, a whole command line.
fn after_dashes(before: &[String], word: &str) -> Candidates {
    let Some((program, before)) = before.split_first() else {
        return Candidates::Program;
    };
    match program.rsplit('/').next() {
        Some("kclpipe") => candidates(before, word),
        _ => Candidates::Files(String::new()),
    }
}

fn option<'a>(command: &'a Command, typed: &str) -> Option<&'a Arg> {
    let long = typed.strip_prefix("--")?;
    command
        .get_arguments()
        .find(|arg| arg.get_long() == Some(long))
}

fn takes_value(command: &Command, typed: &str) -> bool {
    option(command, typed).is_some_and(|arg| arg.get_action().takes_values())
}

/// The values of an option; `kept` of the word comes before its value.
fn value_of(command: &Command, typed: &str, value: &str, kept: &str) -> Candidates {
    let Some(arg) = option(command, typed) else {
        return Candidates::Nothing;
    };
    let names = names_of_values(arg.get_long().unwrap_or_default());
    if !names.is_empty() {
        return Candidates::Words(last_of_list(&names, value, kept));
    }
    match described_values(arg, kept) {
        values if !values.is_empty() => Candidates::Words(values),
        _ => by_kind(arg, kept),
    }
}

/// The names that an option's value consists of, where clap does not know them.
fn names_of_values(long: &str) -> Vec<&'static str> {
    match long {
        "inject" => KINDS.iter().map(|kind| kind.name).chain(["all"]).collect(),
        "log-level" => LEVELS.to_vec(),
        "stop-signal" => SIGNALS.map(|(name, _)| name).to_vec(),
        "on-exit" => CLASSES.map(|(name, _)| name).to_vec(),
        _ => Vec::new(),
    }
}

/// The names as the last part of a list such as `kill,eof` or `65=fail`, of which the rest stays.
fn last_of_list(names: &[&str], value: &str, kept: &str) -> Vec<(String, String)> {
    let done = value.rfind([',', '=']).map_or("", |at| &value[..=at]);
    let whole = |name: &&str| (format!("{kept}{done}{name}"), String::new());
    names.iter().map(whole).collect()
}

fn described_values(arg: &Arg, kept: &str) -> Vec<(String, String)> {
    let values = arg.get_possible_values().into_iter();
    let described = values.map(|value| {
        let help = value.get_help().map(ToString::to_string);
        (
            format!("{kept}{}", value.get_name()),
            gist(&help.unwrap_or_default()),
        )
    });
    described.collect()
}

/// What the name of an option's value says that it is.
fn by_kind(arg: &Arg, kept: &str) -> Candidates {
    let name = arg.get_value_names().and_then(|names| names.first());
    match name.map(|name| name.as_str()) {
        Some("FILE" | "INPUT" | "PROGRAM") => Candidates::Files(kept.to_owned()),
        Some("DIR") => Candidates::Directories(kept.to_owned()),
        _ => Candidates::Nothing,
    }
}

/// What a command takes beside its options.
fn argument_of(command: &Command) -> Candidates {
    if command.get_name() == "help" {
        return commands(&Cli::command());
    }
    let mut arguments = command.get_positionals().filter(|arg| !arg.is_last_set());
    let Some(arg) = arguments.next() else {
        return Candidates::Nothing;
    };
    match described_values(arg, "") {
        values if !values.is_empty() => Candidates::Words(values),
        _ => by_kind(arg, ""),
    }
}

fn commands(bridge: &Command) -> Candidates {
    let shown = bridge
        .get_subcommands()
        .filter(|other| !other.is_hide_set());
    let described = shown.map(|other| {
        let about = other.get_about().map(ToString::to_string);
        (
            other.get_name().to_owned(),
            gist(&about.unwrap_or_default()),
        )
    });
    Candidates::Words(described.collect())
}

fn options_of(command: &Command) -> Candidates {
    let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let described = shown.filter_map(|arg| {
        let help = arg.get_help().map(ToString::to_string);
        Some((
            format!("--{}", arg.get_long()?),
            gist(&help.unwrap_or_default()),
        ))
    });
    let help = ("--help".to_owned(), "Print help".to_owned());
    Candidates::Words(described.chain([help]).collect())
}

/// The first words of a help text, up to where it goes into detail.
fn gist(help: &str) -> String {
    let end = [";", ":", " [", " (", ", for example"]
        .iter()
        .filter_map(|stop| help.find(stop))
        .min();
    help[..end.unwrap_or(help.len())].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer to a command line; its last word is at the cursor.
    fn answer(line: &str) -> String {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        complete(&words)
    }

    /// The words that are offered.
    fn words(line: &str) -> Vec<String> {
        let answer = answer(line);
        let lines = answer.strip_prefix("words\n").expect(&answer).lines();
        lines
            .map(|line| line.split('\t').next().unwrap_or_default().to_owned())
            .collect()
    }

    #[test]
    fn options_commands_and_values_are_words() {
        for (line, expected) in [
            ("--checkpoint-e", &["--checkpoint-every"][..]),
            ("--per record --on-f", &["--on-failure"]),
            ("re", &["replay", "redrive"]),
            ("help ch", &["check"]),
            ("replay --sha", &["--shards"]),
            ("la", &["launch", "lambda"]),
            ("lambda --t", &["--timeout"]),
            ("check --js", &["--json"]),
            ("completions z", &["zsh"]),
            ("--per ba", &["batch"]),
            ("--per=ba", &["--per=batch"]),
            ("--log-level wa", &["warn"]),
            ("--stop-signal TE", &["TERM"]),
            ("--on-exit 99=ch", &["99=checkpoint"]),
            ("--on-exit=99=ch", &["--on-exit=99=checkpoint"]),
            ("replay --inject thr", &["throttle"]),
            ("replay --inject all,thr", &["all,throttle"]),
            ("replay --shutdown k", &["kill"]),
            ("--nope", &[]),
        ] {
            assert_eq!(words(line), expected, "{line}");
        }
        assert!(!words("").contains(&"complete".to_owned()));
        assert!(words("launch --").contains(&"--fetch".to_owned()));
    }

    #[test]
    fn a_meaning_is_the_beginning_of_the_help() {
        let told = "words\n--timeout\tStop a handler that has been silent for this long\n";
        assert_eq!(answer("--timeo"), told);
        assert_eq!(answer("--per re"), "words\nrecord\tOne record\n");
    }

    #[test]
    fn files_directories_and_programs_are_the_shells() {
        for (line, expected) in [
            ("@uni", "files @\n"),
            ("--log-file l", "files \n"),
            ("--log-file=l", "files --log-file=\n"),
            ("--metrics-dir m", "directories \n"),
            ("replay r", "files \n"),
            ("replay records.txt r", "files \n"),
            ("replay --properties r", "files \n"),
            ("check k", "files \n"),
            ("launch k", "files \n"),
            ("launch --java j", "files \n"),
            ("-- ./h", "program\n"),
            ("-- cat f", "files \n"),
            ("--checkpoint-every 6", "nothing\n"),
            ("man x", "nothing\n"),
        ] {
            assert_eq!(answer(line), expected, "{line}");
        }
    }

    #[test]
    fn kclpipe_after_dashes_is_a_command_line_of_its_own() {
        let begun = "replay r.txt -- kclpipe";
        assert_eq!(
            words(&format!("{begun} --checkpoint-m")),
            ["--checkpoint-manual"]
        );
        assert_eq!(words(&format!("{begun} --per sh")), ["shard"]);
        assert_eq!(answer(&format!("{begun} @")), "files @\n");
        assert_eq!(answer(&format!("{begun} --per shard -- c")), "program\n");
        let inside = format!("{begun} --per shard -- kclpipe lambda");
        assert_eq!(words(&format!("{inside} --t")), ["--timeout"]);
        assert_eq!(answer(&format!("{inside} -- py")), "program\n");
        let path = "replay r.txt -- /usr/bin/kclpipe --per re";
        assert_eq!(words(path), ["record"]);
        assert_eq!(answer("replay r.txt -- cat --per"), "files \n");
    }
}
