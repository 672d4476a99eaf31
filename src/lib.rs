//! kclpipe: runs a command for each record of an Amazon Kinesis stream, as the child of Amazon's KCL
//! MultiLangDaemon.
//!
//! The way of a record: [`protocol`] reads the daemon's line, [`record`] finds the records in it,
//! [`handler`] hands each to the user's command by way of [`mod@format`], [`lanes`] and [`process`], and makes
//! of its end what [`outcome`], [`retry`] and [`dead_letter`] say; [`mod@bridge`] tells [`checkpoint`] how far
//! the run of done records goes, asks the daemon to store that, and answers. [`cli`] and [`config`] turn
//! what was typed into what all of these need.
//!
//! [`mod@replay`] plays the other part, the daemon's; [`recording`] is what it can play again.

pub mod bridge;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod dead_letter;
pub mod exit;
pub mod format;
pub mod handler;
pub mod lanes;
pub mod logging;
pub mod outcome;
pub mod process;
pub mod properties;
pub mod protocol;
pub mod record;
pub mod recording;
pub mod replay;
pub mod retry;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use anyhow::{Context, Result};

use bridge::Bridge;
use checkpoint::Checkpoints;
use config::{Config, Task};
use exit::Exit;
use handler::Crew;
use process::Processes;
use protocol::{Tap, Wire};
use recording::Recorder;

/// Runs the program on this process's arguments, environment and streams.
pub fn run() -> Exit {
    match config::read(std::env::args_os().skip(1), std::env::vars_os()) {
        Ok(Task::Show(text)) => print(&text),
        Ok(Task::Bridge(config)) => guarded(|| bridge(*config)),
        Ok(Task::Replay(settings)) => guarded(|| Ok(replay(&settings))),
        Err(e) => complain(&e, Exit::Usage),
    }
}

/// Runs a task; an error or a panic in it has its exit code, and every handler is stopped by then.
fn guarded(task: impl FnOnce() -> Result<Exit>) -> Exit {
    match catch_unwind(AssertUnwindSafe(task)) {
        Ok(Ok(exit)) => exit,
        Ok(Err(e)) => {
            log::error!("{e:#}");
            Exit::Internal
        }
        Err(_) => Exit::Internal,
    }
}

/// The daemon's child: its streams are the protocol.
fn bridge(config: Config) -> Result<Exit> {
    if let Err(e) = config.logging.start() {
        return Ok(complain(&e, Exit::Config));
    }
    config
        .remarks
        .iter()
        .for_each(|remark| log::warn!("{remark}"));
    if io::stdin().is_terminal() {
        log::info!(
            "stdin is a terminal, so no daemon talks to us: name this command in the daemon's executableName, or try it \
             with kclpipe replay (see --help); Ctrl-D ends it"
        );
    }
    let (mut input, mut output) = (
        File::from(io::stdin().as_fd().try_clone_to_owned()?),
        protocol_output()?,
    );
    process::enlarge(&input);
    let daemon = input.try_clone()?;
    let processes = Processes::new(Some(daemon.as_fd()), !io::stdin().is_terminal())?;
    let (drain, delays) = (config.settings.stop.timeout, config.settings.delays);
    let mut crew = Crew::new(config.settings, processes);
    let checkpoints = Checkpoints::new(config.strategy, delays, config.keepalive, Instant::now());
    let wire = Wire::new(&mut input, &mut output).tapped(recorder(config.record));
    Bridge::new(wire, &mut crew, checkpoints, &Instant::now, drain).run()
}

/// Who listens to the conversation, if anybody; without a thread for it there is nobody.
fn recorder(to: Option<recording::To>) -> Option<Box<dyn Tap>> {
    match Recorder::start(to?) {
        Ok(recorder) => Some(Box::new(recorder)),
        Err(e) => {
            log::error!("cannot start to record: {e}");
            None
        }
    }
}

/// The daemon's part, played.
fn replay(settings: &replay::Settings) -> Exit {
    let stage = match replay::start(settings) {
        Ok(stage) => stage,
        Err(e) => return complain(&e, Exit::Usage),
    };
    let report = match stage.run() {
        Ok(report) => replay::report::Report {
            seed: settings.injection.as_ref().map(|injection| injection.seed),
            ..report
        },
        Err(e) => return complain(&e, Exit::Internal),
    };
    let text = match settings.json {
        true => report.to_json(),
        false => report.to_string(),
    };
    match print(&(text + "\n")) {
        Exit::Done if !report.ok => Exit::Halt,
        exit => exit,
    }
}

/// Takes the daemon's end of stdout away to a descriptor of our own and points stdout at stderr: whatever
/// else may print cannot be taken for the protocol.
fn protocol_output() -> Result<File> {
    let output = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .context("stdout is closed")?;
    rustix::stdio::dup2_stdout(io::stderr()).context("cannot move stdout")?;
    Ok(File::from(output))
}

fn print(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Done,
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
        Err(e) => complain(&e.into(), Exit::Internal),
    }
}

/// One line on stderr.
fn complain(error: &anyhow::Error, exit: Exit) -> Exit {
    let _ = writeln!(io::stderr(), "kclpipe: {error:#}");
    exit
}
