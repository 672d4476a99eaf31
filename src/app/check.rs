//! A look at a properties file.

use anyhow::{Result, anyhow};

use super::{complain, print};
use crate::check::{self, Context, Report, Settings};
use crate::config;
use crate::exit;
use crate::properties::Properties;

/// Reads the file, and prints what is found in it.
///
/// # Errors
/// The findings cannot be written.
pub(super) fn run(settings: &Settings) -> Result<exit::Check> {
    let properties = match check::read(&settings.file) {
        Ok(properties) => properties,
        Err(e) => return Ok(complain(&e, exit::Check::Errors)),
    };
    if !check::is_of_a_daemon(&properties, settings.kcl) {
        let name = settings.file.display();
        let error = anyhow!(
            "'{name}' is not a properties file: it has no key of the daemon (an @FILE of kclpipe is checked with the file that names it)"
        );
        return Ok(complain(&error, exit::Check::Errors));
    }
    let report = examine(&properties, settings);
    let text = if settings.json {
        report.to_json()
    } else {
        report.to_string()
    };
    print(&(text + "\n"))?;
    Ok(exit_of(&report))
}

/// What is found in a file of our own making.
///
/// # Errors
/// It cannot be read.
pub(super) fn report(settings: &Settings) -> Result<Report> {
    Ok(examine(&check::read(&settings.file)?, settings))
}

fn examine(properties: &Properties, settings: &Settings) -> Report {
    let context = Context {
        file: &settings.file,
        kcl: settings.kcl,
        directory: settings.directory.as_deref(),
        last_in_path: None,
        region_is_known: config::region_is_known(std::env::vars_os()),
        // check is below config, so it is lent the way to read a child's options.
        child: &|arguments| config::child(arguments, settings.directory.as_deref()),
    };
    check::examine(properties, &context)
}

/// How a check with these findings ends.
pub(super) fn exit_of(report: &Report) -> exit::Check {
    match (report.errors, report.warnings) {
        (0, 0) => exit::Check::Clean,
        (0, _) => exit::Check::Warnings,
        _ => exit::Check::Errors,
    }
}
