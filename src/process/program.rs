//! Programs that are no handlers: one that we wait for, and one that we become.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{self, ExitStatus, Stdio};

use super::Command;

/// A variable of a program's environment that it has otherwise than we: its name, and its value, or `None` where
/// it is removed.
pub(crate) type Variable = (OsString, Option<OsString>);

/// Runs a program to its end, with our stdin and stderr, and these variables; its stdout goes to stderr, too.
///
/// # Errors
/// It cannot be started.
pub(crate) fn run(command: &Command, environment: &[Variable]) -> io::Result<ExitStatus> {
    let stderr = rustix::io::dup(io::stderr())?;
    of(command, environment)
        .stdout(Stdio::from(stderr))
        .status()
}

/// Becomes a program, with these variables. Comes back only where that is not possible, to say why.
pub(crate) fn replace(command: &Command, environment: &[Variable]) -> io::Error {
    of(command, environment).exec()
}

/// A program, with these variables.
pub(super) fn of(command: &Command, environment: &[Variable]) -> process::Command {
    let mut program = process::Command::new(&command.program);
    program.args(&command.arguments);
    for (name, value) in environment {
        match value {
            Some(value) => program.env(name, value),
            None => program.env_remove(name),
        };
    }
    program
}
