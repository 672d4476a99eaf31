//! The daemon's part, played.

use std::time::Instant;

use anyhow::Result;

use super::{complain, print};
use crate::exit;
use crate::replay::report::Report;
use crate::replay::screen::Screen;
use crate::replay::{self, Settings};

/// Plays to the end, and prints what came of it.
///
/// # Errors
/// The system failed us, or the report cannot be written.
pub(super) fn run(settings: &Settings) -> Result<exit::Replay> {
    let screen = Screen::new("replay", Instant::now())?;
    let stage = match replay::start(settings, &screen) {
        Ok(stage) => stage,
        Err(e) => return Ok(complain(&e, exit::Replay::Usage)),
    };
    let report = Report {
        seed: settings.injection.as_ref().map(|injection| injection.seed),
        ..stage.run()?
    };
    let text = if settings.json {
        report.to_json()
    } else {
        report.to_string()
    };
    print(&(text + "\n"))?;
    Ok(if report.ok {
        exit::Replay::Kept
    } else {
        exit::Replay::Broken
    })
}
