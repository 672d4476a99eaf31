//! The help that is not clap's own: `kclpipe -h`, one screen with the options that most users set, and
//! `kclpipe help`.

use anyhow::{Result, bail};
use clap::{Arg, Command, CommandFactory};

use super::{Cli, USAGE};
use crate::suggest;

/// These options, and what fits on a line about each. `--help` has their whole text.
const OPTIONS: [(&str, &str); 16] = [
    ("per", "A process per record, batch or shard [record]"),
    ("format", "stdin as raw, lines, nul, jsonl or lambda"),
    ("jobs", "Handlers that run at a time [1]"),
    ("batch-size", "Records in a batch, at most [no limit]"),
    ("batch-bytes", "Bytes in a batch, at most [no limit]"),
    ("inflight", "Records that a handler may have in flight [1]"),
    ("checkpoint-every", "Checkpoint at this interval [60s]"),
    ("checkpoint-records", "Checkpoint after N records"),
    ("checkpoint-batch", "Checkpoint at the end of each batch"),
    (
        "checkpoint-manual",
        "Checkpoint where the handler asks for it",
    ),
    (
        "max-attempts",
        "Give up on a record after N failed attempts",
    ),
    (
        "on-failure",
        "Then block, dead-letter, skip or halt [block]",
    ),
    ("dead-letter", "Then append the record to FILE, and go on"),
    ("timeout", "Stop a handler that is silent this long [5m]"),
    ("log-file", "Append the log to FILE, not to stderr"),
    ("metrics-dir", "Keep a file for Prometheus in DIR"),
];

/// The page, at most 80 columns wide.
pub(super) fn page() -> String {
    let command = Cli::command();
    let about = command.get_about().map(ToString::to_string);
    format!(
        "{}\n\nUsage: {USAGE}\n\nCommands:\n{}\nThe options that most users set, with their [defaults]:\n{}\n{}\n",
        about.unwrap_or_default(),
        commands(&command),
        options(&command),
        "kclpipe --help shows all of them, and examples; kclpipe help replay, those of\nreplay."
    )
}

/// What `kclpipe help` and `kclpipe help COMMAND` print: what `--help` prints there.
///
/// # Errors
/// There is no such command; which there are.
pub(crate) fn help(of: Option<&str>) -> Result<String> {
    let mut command = Cli::command();
    command.build();
    let Some(name) = of else {
        return Ok(command.render_long_help().to_string());
    };
    if let Some(other) = command.find_subcommand_mut(name) {
        return Ok(other.render_long_help().to_string());
    }
    let others = command
        .get_subcommands()
        .filter(|other| !other.is_hide_set());
    let known: Vec<&str> = others.map(Command::get_name).collect();
    bail!(
        "there is no command '{name}': {}",
        suggest::choice(name, &known)
    )
}

fn commands(command: &Command) -> String {
    let shown = command
        .get_subcommands()
        .filter(|other| !other.is_hide_set());
    let line = |other: &Command| {
        let about = other.get_about().map(ToString::to_string);
        format!("  {:11}  {}\n", other.get_name(), about.unwrap_or_default())
    };
    shown.map(line).collect()
}

fn options(command: &Command) -> String {
    let line = |(long, text): &(&str, &str)| {
        let mut all = command.get_arguments();
        let value = all
            .find(|option| option.get_long() == Some(long))
            .map(value);
        format!(
            "  {:29}  {text}\n",
            format!("--{long}{}", value.unwrap_or_default())
        )
    };
    OPTIONS.iter().map(line).collect()
}

/// The name of an option's value, as it comes after the option.
fn value(option: &Arg) -> String {
    let takes_one = option.get_action().takes_values();
    let names = option.get_value_names().filter(|_| takes_one);
    names.map_or_else(String::new, |names| format!(" <{}>", names[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_the_examples_is_wrapped() {
        let command = Cli::command();
        for of in command.get_subcommands().chain([&command]) {
            let examples = of.get_after_long_help().map(ToString::to_string);
            for line in examples.unwrap_or_default().lines() {
                assert!(line.chars().count() <= 80, "{}: {line}", of.get_name());
            }
        }
    }

    #[test]
    fn each_option_exists_and_the_page_is_80_columns_wide() {
        let command = Cli::command();
        let known: Vec<_> = command.get_arguments().filter_map(Arg::get_long).collect();
        for (long, _) in OPTIONS {
            assert!(known.contains(&long), "--{long}");
        }
        for line in page().lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
