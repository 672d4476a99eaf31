//! The commands, one file each: settings in, streams used, an exit code out.

mod bridge;
mod check;
mod init;
mod lambda;
mod launch;
mod redrive;
mod replay;
mod status;

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::config::{self, Task};
use crate::exit::{self, Exit};
use crate::process;

/// What a user gets who types the program's name and no more.
pub const FIRST_STEPS: &str = "\
kclpipe runs a command for each record of an Amazon Kinesis stream. Amazon's
MultiLangDaemon starts it, once for each shard, and talks to it.

Without AWS and Java, let replay play the daemon. Three records, and a handler
that prints them:
  seq 3 | kclpipe replay -- kclpipe -- sh -c 'cat >&2'
Records of yours, one a line, and a handler of yours:
  kclpipe replay FILE -- kclpipe -- ./handler.sh

Then let it write the daemon's configuration:
  kclpipe init --help

  kclpipe -h               the options that most users set
  kclpipe --help           all options, and examples
  kclpipe man | man -l -   the manual page
";

/// Runs the command that this process's arguments ask for, on its environment and streams.
pub(crate) fn run() -> ExitCode {
    if std::env::args_os().len() <= 1 && io::stdin().is_terminal() {
        let _ = write!(io::stderr(), "{FIRST_STEPS}");
        return exit::Show::Usage.to_system();
    }
    // A lower limit only means fewer handlers at a time, so a failure here is none of ours.
    let _ = process::outlive_file_limits();
    match config::read(std::env::args_os().skip(1), std::env::vars_os()) {
        Ok(Task::Show(text)) => guarded(|| print(&text).map(|()| exit::Show::Done)),
        Ok(Task::Bridge(config)) => guarded(|| Ok(bridge::run(*config))),
        Ok(Task::Check(settings)) => guarded(|| check::run(&settings)),
        Ok(Task::Init(settings)) => guarded(|| init::run(&settings)),
        Ok(Task::Lambda(settings)) => guarded(|| lambda::run(&settings)),
        Ok(Task::Launch(settings)) => guarded(|| Ok(launch::run(&settings))),
        Ok(Task::Redrive(settings)) => guarded(|| redrive::run(&settings)),
        Ok(Task::Replay(settings)) => guarded(|| replay::run(&settings)),
        Ok(Task::Status(settings)) => guarded(|| status::run(&settings)),
        Err(e) => complain(&e, exit::Show::Usage).to_system(),
    }
}

/// Runs a command; an error or a panic in it has its exit code, and every handler is stopped by then.
fn guarded<E: Exit>(command: impl FnOnce() -> Result<E>) -> ExitCode {
    // Nothing that was half changed is used after this, so unwinding may pass everything.
    let exit = match catch_unwind(AssertUnwindSafe(command)) {
        Ok(Ok(exit)) => exit,
        Ok(Err(e)) => complain(&e, E::FAULT),
        Err(_) => E::FAULT,
    };
    exit.to_system()
}

/// Prints on stdout; a reader that has seen enough is no error.
fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(e.into()),
        _ => Ok(()),
    }
}

/// Takes stdout away to a descriptor of our own and points stdout at stderr: whatever else may print cannot be taken
/// for what we say.
fn private_stdout() -> Result<File> {
    let output = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .context("stdout is closed")?;
    rustix::stdio::dup2_stdout(io::stderr()).context("cannot move stdout")?;
    Ok(File::from(output))
}

/// One line on stderr.
fn complain<E: Exit>(error: &anyhow::Error, exit: E) -> E {
    let _ = writeln!(io::stderr(), "kclpipe: {error:#}");
    exit
}
