//! Dead letters, handed over again.

use std::io::{self, Write};
use std::time::Instant;

use anyhow::{Context, Result};

use super::{complain, print};
use crate::exit;
use crate::plural::plural;
use crate::redrive::{self, Fault, Report, Rest, Settings, Taken};
use crate::replay::screen::Screen;

/// Hands all of them over, and prints what came of it.
///
/// # Errors
/// The system failed us, or the report cannot be written.
pub(super) fn run(settings: &Settings) -> Result<exit::Redrive> {
    let screen = Screen::new("redrive", Instant::now())?;
    let Taken { rest, is_older } = match Rest::take(&settings.file) {
        Ok(taken) => taken,
        Err(Fault::Unreadable(e)) => return Ok(complain(&e, exit::Redrive::Unreadable)),
        Err(Fault::Busy(e)) => return Ok(complain(&e, exit::Redrive::Busy)),
    };
    let aside = rest.path().display().to_string();
    if is_older {
        let _ = writeln!(
            io::stderr(),
            "kclpipe redrive: going on with '{aside}', which an earlier redrive left; run it again for what is in '{}' now",
            settings.file.display()
        );
    }
    let stopped = format!(
        "stopped before the end; the rest is in '{aside}', and the same command goes on with it"
    );
    let report = redrive::run(rest, settings, &screen).context(stopped.clone())?;
    if !report.is_complete {
        let _ = writeln!(io::stderr(), "kclpipe redrive: {stopped}");
        return Ok(exit::Redrive::Unfinished);
    }
    print(&(summary(&report, settings) + "\n"))?;
    Ok(match report.failed + report.unreadable {
        0 => exit::Redrive::Done,
        _ => exit::Redrive::Failed,
    })
}

fn summary(report: &Report, settings: &Settings) -> String {
    let mut text = format!("{} handed over", plural(report.letters as u64, "letter"));
    if let Some(failures) = settings.failures.as_ref().filter(|_| report.failed > 0) {
        text += &format!(
            "; {} failed again, now in '{}'",
            report.failed,
            failures.display()
        );
    }
    if report.unreadable > 0 {
        text += &format!(
            "; no letters, and put back into '{}': {}",
            settings.file.display(),
            plural(report.unreadable as u64, "line")
        );
    }
    text
}
