//! kclpipe's own exit codes.

use std::process::ExitCode;

/// How kclpipe ended; the numbers are those of BSD's `sysexits.h` where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The lease was lost, the shard ended, or the daemon closed our input.
    Done = 0,
    /// The handler or the user's flags asked to stop; the daemon then stops the whole worker. Of replay:
    /// the protocol was broken, or a shard did not reach its end. Of check: there are warnings.
    Halt = 1,
    /// Of check: there are errors, or the file cannot be read.
    Wrong = 2,
    /// The command line is wrong (`EX_USAGE`).
    Usage = 64,
    /// The daemon broke the protocol, or kclpipe has a fault (`EX_SOFTWARE`).
    Internal = 70,
    /// The handler's command cannot be found or run (`EX_CONFIG`).
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}
