//! What the handlers' side needs, put together from the options.

use std::ffi::OsString;
use std::time::Duration;

use rustix::process::Signal;

use super::beside::beside;
use super::records::{decompression, format, per, read_ahead, window};
use super::{failures, off_or, watching};
use crate::cli::Options;
use crate::handler::Settings;
use crate::host_slots;
use crate::launched::Launched;
use crate::outcome::OnExit;
use crate::process::{Command, Stop};

const TIMEOUT: Duration = Duration::from_secs(5 * 60);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The settings of the handlers, which run `command`.
pub(super) fn settings(
    options: &Options,
    command: Command,
    launched: &Launched,
    environment: &[(OsString, OsString)],
) -> Settings {
    let on_failure = failures::on_failure(options);
    Settings {
        hook: options
            .lease
            .hook
            .as_ref()
            .map(|hook| beside(hook, options)),
        command,
        filter: None,
        decompress: decompression(options),
        per: per(options),
        format: format(options),
        jobs: options.handover.jobs.unwrap_or(1),
        host_jobs: host_jobs(options, environment),
        rate: options.handover.rate,
        // The last one that was typed for a code wins, and the first that fits is taken.
        on_exit: OnExit(options.failures.on_exit.iter().rev().copied().collect()),
        limits: failures::limits(options, &on_failure),
        delays: failures::delays(options),
        on_failure,
        timeout: off_or(options.stopping.timeout, Some(TIMEOUT)),
        stop: stop(options),
        read_ahead: read_ahead(options),
        window: window(options),
        spool_dir: options.handover.spool_dir.clone(),
        stream: launched.stream.clone(),
        application: launched.application.clone(),
        placeholders: options
            .handover
            .placeholders
            .then(|| watching::name(options)),
    }
}

/// How many handlers run on the machine, and where that is kept.
fn host_jobs(
    options: &Options,
    environment: &[(OsString, OsString)],
) -> Option<host_slots::Settings> {
    Some(host_slots::Settings {
        slots: options.handover.host_jobs?,
        directory: host_slots::directory(&watching::name(options), environment),
    })
}

/// How a handler is stopped.
pub(super) fn stop(options: &Options) -> Stop {
    let options = &options.stopping;
    Stop {
        signal: options.stop_signal.unwrap_or(Signal::TERM),
        timeout: off_or(options.stop_timeout, Some(STOP_TIMEOUT)).unwrap_or_default(),
    }
}
