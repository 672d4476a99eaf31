//! The daemon's child: its streams are the protocol.

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::time::Instant;

use anyhow::{Result, anyhow};

use super::complain;
use crate::bridge::Bridge;
use crate::capture::{self, Capture};
use crate::checkpoint::Checkpoints;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::dead_letter;
use crate::exit;
use crate::handler::{HandlerProcesses, Pool};
use crate::host_slots::HostSlots;
use crate::process::{self, Processes};
use crate::protocol::{Tap, Wire};
use crate::reporting::Reporting;

/// Serves one shard, until the daemon or the lease ends it.
pub(super) fn run(config: Config) -> exit::Bridge {
    if let Some(file) = config.settings.letter_file()
        && !dead_letter::can_be(file)
    {
        let e = anyhow!(
            "'{}' is not a regular file, so it cannot hold dead letters (--dead-letter)",
            file.display()
        );
        return complain(&e, exit::Bridge::Usage);
    }
    // Before this nothing can be logged; a word on stderr is all that a mistake gets.
    if let Err(e) = config.logging.start() {
        return complain(&e, exit::Bridge::Config);
    }
    config
        .remarks
        .iter()
        .for_each(|remark| log::warn!("{remark}"));
    if io::stdin().is_terminal() {
        log::warn!(
            "stdin is a terminal, so there is no daemon: name this command in the daemon's executableName, or put kclpipe replay FILE -- before it to try it; Ctrl-D ends it"
        );
    }
    let host_jobs = config.settings.host_jobs.clone();
    let host_slots = match host_jobs.map(HostSlots::open).transpose() {
        Ok(host_slots) => host_slots,
        Err(e) => {
            log::error!("{e:#}");
            return exit::Bridge::Config;
        }
    };
    converse(config, host_slots).unwrap_or_else(|e| {
        log::error!("{e:#}");
        exit::Bridge::Protocol
    })
}

/// Puts the parts together, and lets them work.
fn converse(config: Config, host_slots: Option<HostSlots>) -> Result<exit::Bridge> {
    let (mut input, mut output) = (
        File::from(io::stdin().as_fd().try_clone_to_owned()?),
        super::private_stdout()?,
    );
    process::enlarge(&input);
    let daemon = input.try_clone()?;
    // At a terminal, Ctrl-C and its like keep their default effect: no daemon is there to decide.
    let processes = Processes::new(Some(daemon.as_fd()), !io::stdin().is_terminal())?;
    let (storing, delays) = (config.settings.stop.timeout, config.settings.delays);
    let mut processes = HandlerProcesses::new(processes);
    if let Some(host_slots) = host_slots {
        processes = processes.limited_by(host_slots)?;
    }
    let mut pool = Pool::new(config.settings, &mut processes, &SystemClock);
    if config.reporting.metrics_dir.is_some() {
        pool.take_times();
    }
    let checkpoints = Checkpoints::new(config.strategy, delays, config.keepalive, Instant::now());
    let wire = Wire::new(&mut input, &mut output).tapped(capture(config.capture));
    let worker = config.worker;
    let ask = || worker.is_some_and(process::ask_parent_to_stop);
    Bridge::new(wire, &mut pool, checkpoints, &SystemClock, storing)
        .drained_for(config.drain_timeout)
        .stops_worker(&ask, config.grace)
        .until(config.until)
        .reported_by(Reporting::new(&config.reporting))
        .run()
}

/// Who listens to the conversation, if anybody; without a thread for it there is nobody.
fn capture(to: Option<capture::To>) -> Option<Box<dyn Tap>> {
    match Capture::start(to?) {
        Ok(capture) => Some(Box::new(capture)),
        Err(e) => {
            log::error!("cannot start the capture (--capture): {e}; nothing is captured");
            None
        }
    }
}
