//! Programs that are no handlers: one that we wait for, and one that we become.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::{self, ExitStatus, Stdio};

use super::Command;

/// Runs a program to its end, with our stdin and stderr; its stdout goes to stderr, too.
///
/// # Errors
/// It cannot be started.
pub fn run(command: &Command) -> io::Result<ExitStatus> {
    let stderr = rustix::io::dup(io::stderr())?;
    of(command).stdout(Stdio::from(stderr)).status()
}

/// Becomes a program, with variables that are set or, as `None`, removed. Comes back only where that is not
/// possible, to say why.
pub fn replace(command: &Command, environment: &[(OsString, Option<OsString>)]) -> io::Error {
    let mut command = of(command);
    for (name, value) in environment {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.exec()
}

fn of(command: &Command) -> process::Command {
    let mut program = process::Command::new(&command.program);
    program.args(&command.arguments);
    program
}
