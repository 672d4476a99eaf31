//! What is said of a command line that cannot be understood: clap's own words as one line, or better ones
//! where we know what was meant.

use std::ffi::OsString;
use std::num::ParseIntError;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Command, CommandFactory};

use super::values::limit;
use super::{Cli, renamed};
use crate::suggest;

/// clap's error as one line: what is wrong, and what was probably meant.
pub(super) fn one_line(error: &clap::Error, arguments: &[OsString]) -> String {
    let said = if error.kind() == ErrorKind::UnknownArgument {
        unknown(error, arguments)
    } else if error.kind() == ErrorKind::InvalidValue {
        invalid_value(error)
    } else if error.kind() == ErrorKind::MissingRequiredArgument {
        missing(error)
    } else {
        None
    };
    let said = said.unwrap_or_else(|| in_its_words(error));
    format!("{said} (see kclpipe --help)")
}

fn in_its_words(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let said = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:"));
    let said: Vec<&str> = said
        .filter(|line| !line.is_empty() && !line.starts_with("For more"))
        .collect();
    let said = said.join("; ").replace(":;", ":");
    match number(error) {
        Some(words) => said.replace(&words, "write a whole number, for example 1000"),
        None => said,
    }
}

/// What Rust says of a text that is no number, if that is what is wrong.
fn number(error: &clap::Error) -> Option<String> {
    let source = std::error::Error::source(error)?;
    source
        .downcast_ref::<ParseIntError>()
        .map(ToString::to_string)
}

/// What is said where an argument is missing.
fn missing(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::Strings(names)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    Some(format!("{} is missing", names.join(" and ")))
}

/// What is said of a value that is none of those that an option takes.
fn invalid_value(error: &clap::Error) -> Option<String> {
    let said = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let (option, value) = (
        said(ContextKind::InvalidArg)?,
        said(ContextKind::InvalidValue)?,
    );
    if let Some(new) = renamed::value(option, value) {
        return Some(new);
    }
    let Some(ContextValue::Strings(known)) = error.get(ContextKind::ValidValue) else {
        return None;
    };
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    let option = option.split(' ').next()?;
    Some(if known.is_empty() {
        format!("{option} needs a value")
    } else if value.is_empty() {
        format!("{option} needs a value: write one of {}", known.join(", "))
    } else {
        format!(
            "'{value}' is not a value of {option}: {}",
            suggest::choice(value, &known)
        )
    })
}

/// What was meant by a word that clap does not expect, if that can be said.
fn unknown(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    // Of '-5s' clap names what it takes for a flag, '-5'.
    let is_it = |typed: &&OsString| {
        typed
            .to_str()
            .is_some_and(|typed| typed.starts_with(word.as_str()))
    };
    let at = arguments.iter().position(|typed| is_it(&typed));
    let typed = at.and_then(|at| arguments[at].to_str()).unwrap_or(word);
    let beside = |at: Option<usize>| at.and_then(|at| arguments.get(at)?.to_str());
    let before = beside(at.and_then(|at| at.checked_sub(1)));
    let next = beside(at.map(|at| at + 1));
    let subcommand = subcommand(arguments);
    if let Some(new) = renamed::option(subcommand, word) {
        return Some(new);
    }
    match word.strip_prefix("--") {
        Some(name) => Some(unknown_option(name, subcommand, next)),
        None if word.starts_with('-') => {
            let negative = before.and_then(|before| negative(typed, before));
            Some(negative.unwrap_or_else(|| format!("there is no option '{word}'")))
        }
        None if subcommand.is_none() => Some(unknown_word(word, at == Some(0))),
        None => None,
    }
}

/// What to say of an option that the bridge or a subcommand does not have; `next` is the word after it.
fn unknown_option(name: &str, subcommand: Option<&str>, next: Option<&str>) -> String {
    let command = Cli::command();
    let of = |command: &Command| -> Vec<String> {
        let options = command.get_arguments().filter_map(Arg::get_long);
        options.map(str::to_owned).collect()
    };
    let other = command
        .get_subcommands()
        .find(|other| of(other).iter().any(|own| own == name));
    let is_bridges = of(&command).iter().any(|own| own == name);
    match (subcommand, other) {
        (Some("replay"), _) if is_bridges => {
            format!("'--{name}' is an option of the child: write it after '-- kclpipe'")
        }
        (Some(subcommand), _) if is_bridges => {
            format!("'--{name}' is an option of kclpipe, not of kclpipe {subcommand}")
        }
        (_, Some(other)) => format!("'--{name}' is an option of kclpipe {}", other.get_name()),
        (subcommand, None) => {
            let asked = subcommand.and_then(|name| command.find_subcommand(name));
            let asked = asked.unwrap_or(&command);
            let known = of(asked);
            let begun = next.and_then(|next| begun(asked, name, next));
            let known = begun.map_or(known, |option| vec![option]);
            match suggest::question(name, "--", known.iter().map(String::as_str)) {
                Some(question) => format!("there is no option '--{name}': {question}"),
                None => format!("there is no option '--{name}'"),
            }
        }
    }
}

/// What to say of a word that is neither an option nor a command.
fn unknown_word(word: &str, is_first: bool) -> String {
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

/// The subcommand that is asked for; `None` for the bridge.
fn subcommand(arguments: &[OsString]) -> Option<&str> {
    let first = arguments.first()?.to_str()?;
    let command = Cli::command();
    let mut others = command.get_subcommands();
    others
        .any(|other| other.get_name() == first)
        .then_some(first)
}

/// The other thing that was meant, if it looks like the word.
fn misspelled(word: &str) -> Option<String> {
    let command = Cli::command();
    let others = command.get_subcommands();
    let mut others = others
        .filter(|other| !other.is_hide_set())
        .map(Command::get_name);
    let near = others.find(|other| (1..=2).contains(&strsim::osa_distance(other, word)))?;
    (word.len() > 3).then(|| near.to_owned())
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

/// The beginning of an option before a value: the option that begins so and takes such a value.
fn begun(command: &Command, start: &str, value: &str) -> Option<String> {
    let kind = match value {
        _ if value.bytes().all(|b| b.is_ascii_digit()) => "N",
        _ if limit(value).is_ok() => "DURATION",
        _ => return None,
    };
    let takes = |option: &&Arg| {
        let mut names = option.get_value_names().unwrap_or_default().iter();
        names.any(|name| name.as_str() == kind)
    };
    let mut options = command.get_arguments().filter(takes);
    let option =
        options.find_map(|option| option.get_long().filter(|long| long.starts_with(start)))?;
    Some(option.to_owned())
}
