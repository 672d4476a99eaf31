//! The real daemon: this process becomes it.

use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Result, bail};

use super::{complain, print};
use crate::check::{self, Context};
use crate::config;
use crate::exit;
use crate::launch::{self, Daemon, Jars, Settings};
use crate::properties::Properties;

/// Becomes the daemon, and comes back only where that is not to be or not possible. What is missing or wrong
/// before it starts is the configuration's fault.
pub(super) fn run(settings: &Settings) -> exit::Launch {
    let started = settings.jars().and_then(|jars| match &settings.file {
        Some(file) => start(settings, &jars, file),
        None => Ok(exit::Launch::Done),
    });
    started.unwrap_or_else(|e| complain(&e, exit::Launch::NotStarted))
}

fn start(settings: &Settings, jars: &Jars, file: &Path) -> Result<exit::Launch> {
    let properties = check::read(file)?;
    let properties = settings.override_in(properties, jars.version, SystemTime::now())?;
    if settings.check && is_wrong(&properties, file, jars, settings) {
        bail!(
            "not starting the daemon with '{}' (--no-check starts it all the same)",
            file.display()
        );
    }
    let daemon = Daemon::new(settings, jars, file, &properties)?;
    if let Some(backfill) = &settings.backfill {
        let notice = backfill.notice(&properties, jars.version);
        let _ = writeln!(io::stderr(), "kclpipe launch: {notice}");
    }
    if !settings.print {
        return Err(daemon.start());
    }
    match print(&(daemon.to_shell() + "\n")) {
        Ok(()) => Ok(exit::Launch::Done),
        Err(e) => Ok(complain(&e, exit::Launch::Internal)),
    }
}

/// Whether a check finds errors; what it finds is reported on stderr.
fn is_wrong(properties: &Properties, file: &Path, jars: &Jars, settings: &Settings) -> bool {
    let own = launch::own_directory().ok();
    let mut options = settings.java_options.iter();
    let of_java = options.any(|option| option.as_encoded_bytes().starts_with(b"-Daws.region="));
    let context = Context {
        file,
        kcl: jars.version,
        directory: None,
        last_in_path: own.as_deref(),
        region_is_known: of_java || config::region_is_known(std::env::vars_os()),
        child: &|arguments| config::child(arguments, None),
    };
    let report = check::examine(properties, &context);
    if report.errors + report.warnings > 0 {
        let _ = writeln!(io::stderr(), "{report}");
    }
    report.errors > 0
}
