//! What is said of a command line that cannot be understood: clap's own words as one line, or better ones
//! where we know what was meant.

use std::ffi::OsString;
use std::num::ParseIntError;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::{renamed, unknown};
use crate::suggest;

/// clap's error as one line: what is wrong, and what was probably meant.
pub(super) fn one_line(error: &clap::Error, arguments: &[OsString]) -> String {
    let said = better(error, arguments).unwrap_or_else(|| in_its_words(error));
    format!("{said} (see kclpipe --help)")
}

/// What is said in our words, where we know more than clap.
fn better(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    if error.kind() == ErrorKind::UnknownArgument {
        unknown::sentence(text(error, ContextKind::InvalidArg)?, arguments)
    } else if error.kind() == ErrorKind::InvalidValue {
        invalid_value(error)
    } else if error.kind() == ErrorKind::MissingRequiredArgument {
        missing(error)
    } else {
        None
    }
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
    let verb = if names.len() > 1 { "are" } else { "is" };
    Some(format!("{} {verb} missing", names.join(", ")))
}

/// What is said of a value that is none of those that an option takes.
fn invalid_value(error: &clap::Error) -> Option<String> {
    let option = text(error, ContextKind::InvalidArg)?;
    let value = text(error, ContextKind::InvalidValue)?;
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

/// What clap knows about its error, where it is one text.
fn text(error: &clap::Error, kind: ContextKind) -> Option<&str> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text),
        _ => None,
    }
}
