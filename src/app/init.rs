//! The files of a new worker.

use anyhow::Result;

use super::{check, complain, print};
use crate::check::Settings as Check;
use crate::exit;
use crate::init::{self, KCL, PROPERTIES, Settings};

/// Writes the files, checks them, and prints what to type next.
///
/// # Errors
/// What was written cannot be read again, or the findings cannot be written.
pub(super) fn run(settings: &Settings) -> Result<exit::Init> {
    if let Err(e) = init::write(settings) {
        return Ok(complain(&e, exit::Init::CannotCreate));
    }
    let report = check::report(&Check {
        file: settings.properties(),
        kcl: KCL,
        directory: settings.directory.clone(),
        json: false,
    })?;
    let (exit, next) = match check::exit_of(&report) {
        exit::Check::Clean => (exit::Init::Clean, "launch --fetch"),
        exit::Check::Warnings => (exit::Init::Warnings, "launch --fetch"),
        exit::Check::Errors | exit::Check::Usage | exit::Check::Internal => {
            (exit::Init::Errors, "check")
        }
    };
    let next = settings.next(&format!("kclpipe {next} {PROPERTIES}"))?;
    print(&format!("{report}\nnext: {next}\n"))?;
    Ok(exit)
}
