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

impl Exit {
    /// All of them.
    pub const ALL: [Exit; 6] = [
        Exit::Done,
        Exit::Halt,
        Exit::Wrong,
        Exit::Usage,
        Exit::Internal,
        Exit::Config,
    ];

    /// The number.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn all_are_all() {
        for (index, exit) in Exit::ALL.into_iter().enumerate() {
            // A new one does not compile without a place here, which must be its place there.
            let place = match exit {
                Exit::Done => 0,
                Exit::Halt => 1,
                Exit::Wrong => 2,
                Exit::Usage => 3,
                Exit::Internal => 4,
                Exit::Config => 5,
            };
            assert_eq!(index, place);
        }
    }
}
