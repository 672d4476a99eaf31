//! kclpipe: runs a command for each record of an Amazon Kinesis stream, as the child of Amazon's KCL
//! MultiLangDaemon.
//!
//! The way of a record: [`protocol`] reads the daemon's line, [`record`] finds the records in it,
//! [`handler`] hands each to the user's command by way of [`mod@format`] and [`process`], and makes
//! of its end what [`outcome`] and [`dead_letter`] say; [`mod@bridge`] tells [`checkpoint`] how far
//! the run of done records goes, asks the daemon to store that, and answers. [`cli`] and [`config`] turn
//! what was typed into what all of these need.
//!
//! [`clean`] makes the words of others fit for the log and for names of files.
//!
//! [`tally`] counts what happens on the way, and [`watch`] shows it.
//!
//! [`mod@replay`] plays the other part, the daemon's; [`mod@check`] reads the daemon's configuration, and
//! [`mod@launch`] starts the real daemon. [`capture`] writes what replay can play again.

pub mod backoff;
pub mod bridge;
pub mod capture;
pub mod check;
pub mod checkpoint;
pub mod clean;
pub mod cli;
pub mod clock;
pub mod config;
pub mod dead_letter;
pub mod due;
pub mod exit;
pub mod format;
pub mod handler;
pub mod launch;
pub mod logging;
pub mod outcome;
pub mod process;
pub mod properties;
pub mod protocol;
pub mod record;
pub mod replay;
pub mod tally;
pub mod watch;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

use bridge::Bridge;
use capture::Capture;
use checkpoint::Checkpoints;
use clock::SystemClock;
use config::{Config, Task};
use exit::Exit;
use handler::{HandlerProcesses, Pool};
use process::Processes;
use properties::Properties;
use protocol::{Tap, Wire};
use replay::screen::Screen;
use watch::Watch;

/// What a user gets who types the program's name and no more.
pub const FIRST_STEPS: &str = "\
kclpipe runs a command for each record of an Amazon Kinesis stream. Amazon's MultiLangDaemon
starts it, once for each shard, and talks to it. Without AWS and Java, let replay play the daemon:

  seq 3 | kclpipe replay - -- kclpipe -- sh -c 'cat >&2'   three records, and a handler that prints them
  kclpipe replay FILE -- kclpipe -- ./handler.sh           a file with a record a line, and a handler of yours

Then name it in the daemon's configuration:  executableName = kclpipe -- ./handler.sh

  kclpipe -h               the options
  kclpipe --help           the options at length, and examples
  kclpipe man | man -l -   the manual page
";

/// Runs the program on this process's arguments, environment and streams.
pub fn run() -> Exit {
    if std::env::args_os().len() <= 1 && io::stdin().is_terminal() {
        let _ = write!(io::stderr(), "{FIRST_STEPS}");
        return Exit::Usage;
    }
    let _ = process::outlive_file_limits();
    match config::read(std::env::args_os().skip(1), std::env::vars_os()) {
        Ok(Task::Show(text)) => print(&text),
        Ok(Task::Bridge(config)) => guarded(|| bridge(*config)),
        Ok(Task::Check(settings)) => guarded(|| Ok(check(&settings))),
        Ok(Task::Launch(settings)) => guarded(|| Ok(launch(&settings))),
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
    if let Some(file) = config.settings.letter_file()
        && !dead_letter::can_be(file)
    {
        let e = anyhow!(
            "'{}' is not a regular file, so it cannot hold dead letters (--dead-letter)",
            file.display()
        );
        return Ok(complain(&e, Exit::Usage));
    }
    if let Err(e) = config.logging.start() {
        return Ok(complain(&e, Exit::Config));
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
    let (mut input, mut output) = (
        File::from(io::stdin().as_fd().try_clone_to_owned()?),
        protocol_output()?,
    );
    process::enlarge(&input);
    let daemon = input.try_clone()?;
    let processes = Processes::new(Some(daemon.as_fd()), !io::stdin().is_terminal())?;
    let (drain, delays) = (config.settings.stop.timeout, config.settings.delays);
    let mut processes = HandlerProcesses::new(processes);
    let mut pool = Pool::new(config.settings, &mut processes, &SystemClock);
    if config.watching.metrics_dir.is_some() {
        pool.take_times();
    }
    let checkpoints = Checkpoints::new(config.strategy, delays, config.keepalive, Instant::now());
    let wire = Wire::new(&mut input, &mut output).tapped(capture(config.capture));
    Bridge::new(wire, &mut pool, checkpoints, &SystemClock, drain)
        .watched(Watch::new(&config.watching))
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

/// The daemon's part, played.
fn replay(settings: &replay::Settings) -> Exit {
    let screen = match Screen::new(Instant::now()) {
        Ok(screen) => screen,
        Err(e) => return complain(&e.into(), Exit::Internal),
    };
    let stage = match replay::start(settings, &screen) {
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

/// A look at a properties file.
fn check(settings: &check::Settings) -> Exit {
    let properties = match check::read(&settings.file) {
        Ok(properties) => properties,
        Err(e) => return complain(&e, Exit::Wrong),
    };
    if !check::is_of_a_daemon(&properties, settings.kcl) {
        let name = settings.file.display();
        let error = anyhow!(
            "'{name}' is not a properties file: it has no key of the daemon (an @FILE of kclpipe is checked with the file that names it)"
        );
        return complain(&error, Exit::Wrong);
    }
    let context = check::Context {
        file: &settings.file,
        kcl: settings.kcl,
        directory: settings.directory.as_deref(),
        last_in_path: None,
        region_is_known: config::region_is_known(std::env::vars_os()),
        child: &|arguments| config::child(arguments, settings.directory.as_deref()),
    };
    let report = check::examine(&properties, &context);
    let text = match settings.json {
        true => report.to_json(),
        false => report.to_string(),
    };
    match (print(&(text + "\n")), report.errors, report.warnings) {
        (Exit::Done, 0, 0) => Exit::Done,
        (Exit::Done, 0, _) => Exit::Halt,
        (Exit::Done, ..) => Exit::Wrong,
        (exit, ..) => exit,
    }
}

/// The real daemon. What is missing or wrong before it starts is the configuration's fault.
fn launch(settings: &launch::Settings) -> Exit {
    let started = settings.jars().and_then(|jars| match &settings.file {
        Some(file) => start_daemon(settings, &jars, file),
        None => Ok(Exit::Done),
    });
    started.unwrap_or_else(|e| complain(&e, Exit::Config))
}

/// Becomes the daemon, and so comes back only where that is not to be or not possible.
fn start_daemon(settings: &launch::Settings, jars: &launch::Jars, file: &Path) -> Result<Exit> {
    let properties = settings.override_in(check::read(file)?);
    if settings.check && is_wrong(&properties, file, jars, settings) {
        bail!(
            "not starting the daemon with '{}' (--no-check starts it all the same)",
            file.display()
        );
    }
    let daemon = launch::Daemon::new(settings, jars, file, &properties)?;
    match settings.print {
        true => Ok(print(&(daemon.to_shell() + "\n"))),
        false => Err(daemon.start()),
    }
}

/// Whether a check finds errors; what it finds is told on stderr.
fn is_wrong(
    properties: &Properties,
    file: &Path,
    jars: &launch::Jars,
    settings: &launch::Settings,
) -> bool {
    let own = launch::own_directory().ok();
    let mut options = settings.java_options.iter();
    let of_java = options.any(|option| option.as_encoded_bytes().starts_with(b"-Daws.region="));
    let context = check::Context {
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
