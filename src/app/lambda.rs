//! A function of AWS Lambda's, as a handler.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use anyhow::Result;

use crate::exit;
use crate::lambda::{self, Settings};
use crate::logging::Logging;
use crate::process;

/// Serves the function, until the events on stdin end.
///
/// # Errors
/// The system failed us, or an answer cannot be written.
pub(super) fn run(settings: &Settings) -> Result<exit::Lambda> {
    // Only what should not happen at all is logged; the function's own words go to stderr without us.
    let logging = Logging {
        level: "warn".to_owned(),
        ..Logging::default()
    };
    logging.start()?;
    let events = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    process::enlarge(&events);
    // The function's stdout is our stderr from here on.
    let mut answers = super::private_stdout()?;
    lambda::run(settings, &events, &mut answers)
}
