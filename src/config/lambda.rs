//! What was typed after `lambda`, turned into what serving a function needs.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Config;
use crate::cli::LambdaOptions;
use crate::handler::Per;
use crate::lambda::Settings;
use crate::process::Command;

pub(super) fn settings(
    options: LambdaOptions,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Settings> {
    let mut words = options.command.into_iter();
    let command = Command {
        program: words
            .next()
            .context("no function: write its bootstrap after '--'")?,
        arguments: words.collect(),
        directory: None,
    };
    let environment: BTreeMap<OsString, OsString> = environment.collect();
    let variable = |name: &str| environment.get(OsStr::new(name)).cloned();
    Ok(Settings::new(
        command,
        options.handler,
        options.timeout,
        &variable,
    ))
}

/// Refuses a function as the handler of another mode, whose records would fail again and again: no other understands
/// its answers.
///
/// # Errors
/// The handler is `kclpipe lambda`, and is not given events.
pub(super) fn has_its_mode(config: &Config) -> Result<()> {
    let command = &config.settings.command;
    let program = Path::new(&command.program).file_name();
    let is_function = program == Some(OsStr::new("kclpipe"))
        && command
            .arguments
            .first()
            .is_some_and(|word| word == "lambda");
    let has_events = matches!(config.settings.per, Per::Event { .. });
    ensure!(
        has_events || !is_function,
        "kclpipe lambda takes events: write --per shard --format lambda before the '--' that it follows"
    );
    Ok(())
}
