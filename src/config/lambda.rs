//! What was typed after `lambda`, turned into what serving a function needs.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use anyhow::{Context, Result};

use crate::cli::LambdaOptions;
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
