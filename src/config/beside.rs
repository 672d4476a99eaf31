//! The commands that run beside the handler: the hook, and what takes dead letters.

use crate::cli::{Options, Words};
use crate::process::Command;

/// A command that runs beside the handler, in the same directory.
pub(super) fn beside(Words(program, arguments): &Words, options: &Options) -> Command {
    Command {
        program: program.clone(),
        arguments: arguments.clone(),
        directory: options.handover.chdir.clone(),
    }
}
