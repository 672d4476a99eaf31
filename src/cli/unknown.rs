//! What is said of a word on the command line that does not exist: what was meant, or whose it is.

use std::ffi::OsString;

use clap::{Arg, Command, CommandFactory};

use super::values::limit;
use super::{Cli, renamed};
use crate::suggest;

/// The sentence about `word`, as clap names what it does not expect; `None` if there is nothing better to say
/// than clap does.
pub(super) fn sentence(word: &str, arguments: &[OsString]) -> Option<String> {
    // Of '-5s' clap names what it takes for a flag, '-5'.
    let is_it = |typed: &OsString| typed.to_str().is_some_and(|typed| typed.starts_with(word));
    let at = arguments.iter().position(is_it);
    let beside = |at: Option<usize>| at.and_then(|at| arguments.get(at)?.to_str());
    let command = subcommand(arguments);
    if let Some(new) = renamed::option(command, word) {
        return Some(new);
    }
    match word.strip_prefix("--") {
        Some(name) => Some(option(name, command, beside(at.map(|at| at + 1)))),
        None if word.starts_with('-') => {
            let before = beside(at.and_then(|at| at.checked_sub(1)));
            let negative = before.and_then(|before| negative(beside(at)?, before));
            Some(negative.unwrap_or_else(|| format!("there is no option '{word}'")))
        }
        None if command.is_none() => Some(bare(word, at == Some(0))),
        None => None,
    }
}

/// The command that is asked for; `None` for the bridge.
fn subcommand(arguments: &[OsString]) -> Option<&str> {
    let first = arguments.first()?.to_str()?;
    Cli::command().find_subcommand(first).map(|_| first)
}

/// An option that does not exist there; `next` is the word after it.
fn option(name: &str, asked: Option<&str>, next: Option<&str>) -> String {
    let bridge = Cli::command();
    match asked {
        Some("replay") if has(&bridge, name) => {
            format!("'--{name}' is an option of the child: write it after '-- kclpipe'")
        }
        Some(asked) if has(&bridge, name) => {
            format!("'--{name}' is an option of kclpipe, not of kclpipe {asked}")
        }
        _ => match bridge.get_subcommands().find(|other| has(other, name)) {
            Some(other) => format!("'--{name}' is an option of kclpipe {}", other.get_name()),
            None => nowhere(
                name,
                asked
                    .and_then(|asked| bridge.find_subcommand(asked))
                    .unwrap_or(&bridge),
                next,
            ),
        },
    }
}

fn has(command: &Command, name: &str) -> bool {
    options(command).any(|known| known == name)
}

fn options(command: &Command) -> impl Iterator<Item = &str> {
    command.get_arguments().filter_map(Arg::get_long)
}

/// An option that no command has; `command` is the one that it was written for.
fn nowhere(name: &str, command: &Command, next: Option<&str>) -> String {
    let question = match next.and_then(|next| begun(command, name, next)) {
        Some(begun) => suggest::question(name, "--", [begun]),
        None => suggest::question(name, "--", options(command)),
    };
    let question = question.map(|question| format!(": {question}"));
    format!(
        "there is no option '--{name}'{}",
        question.unwrap_or_default()
    )
}

/// The option that begins so and takes such a value.
fn begun<'a>(command: &'a Command, start: &str, value: &str) -> Option<&'a str> {
    let kind = match value {
        _ if value.bytes().all(|b| b.is_ascii_digit()) => "N",
        _ if limit(value).is_ok() => "DURATION",
        _ => return None,
    };
    let takes = |option: &&Arg| {
        let mut names = option.get_value_names().unwrap_or_default().iter();
        names.any(|name| name.as_str() == kind)
    };
    let options = command.get_arguments().filter(takes);
    let mut names = options.filter_map(Arg::get_long);
    names.find(|name| name.starts_with(start))
}

/// A value with a minus before it, after an option.
fn negative(value: &str, option: &str) -> Option<String> {
    let digits = value.strip_prefix('-')?;
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || !option.starts_with("--") {
        return None;
    }
    let (what, zero) = if digits.bytes().all(|b| b.is_ascii_digit()) {
        ("numbers", "write a whole number, for example 1000")
    } else {
        ("durations", "0 is off")
    };
    Some(format!(
        "invalid value '{value}' for '{option}': {what} are not negative; {zero}"
    ))
}

/// A word that is neither an option nor a command.
fn bare(word: &str, is_first: bool) -> String {
    if word == "version" {
        return "there is no 'version': did you mean kclpipe --version?".to_owned();
    }
    match misspelled(word).filter(|_| is_first) {
        Some(other) => format!("there is no '{word}': did you mean kclpipe {other}?"),
        None => format!(
            "'{word}' is not an option: write '--' before the handler, for example kclpipe -- {word}"
        ),
    }
}

/// The command that was meant, if it looks like the word. A part of its name does not count: the word may well be
/// a handler.
fn misspelled(word: &str) -> Option<String> {
    let bridge = Cli::command();
    let shown = bridge
        .get_subcommands()
        .filter(|other| !other.is_hide_set());
    let mut names = shown.map(Command::get_name);
    let near = names.find(|name| (1..=2).contains(&strsim::osa_distance(name, word)))?;
    (word.len() > 3).then(|| near.to_owned())
}
