//! kclpipe's own exit codes, those of each command. The numbers are those of BSD's `sysexits.h` where it has one.

use std::process::ExitCode;

/// What `main` gets, whichever command it was.
pub trait Exit: Copy + 'static {
    /// All ends of this command.
    const ALL: &'static [Self];
    /// A fault of kclpipe's, or of the system.
    const FAULT: Self;

    /// The number.
    fn code(self) -> u8;

    /// The number, for the system.
    fn to_system(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

/// A command's ends, each with its number; `ALL` cannot miss one that way.
macro_rules! exits {
    ($(#[$about:meta])* $name:ident, fault: $fault:ident; $($(#[$when:meta])* $end:ident = $code:literal,)+) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name {
            $($(#[$when])* $end = $code,)+
        }

        impl Exit for $name {
            const ALL: &'static [$name] = &[$($name::$end),+];
            const FAULT: $name = $name::$fault;

            fn code(self) -> u8 {
                self as u8
            }
        }
    };
}

exits! {
    /// The daemon's child.
    Bridge, fault: Protocol;
    /// The lease was lost, the shard ended, or the daemon closed our input.
    Done = 0,
    /// The handler or the user's flags asked to stop; the daemon then stops the whole worker.
    Halted = 1,
    /// The command line, an `@FILE` or the environment is wrong (`EX_USAGE`).
    Usage = 64,
    /// The daemon broke the protocol, or kclpipe has a fault (`EX_SOFTWARE`).
    Protocol = 70,
    /// The handler's command cannot be found or run, the log cannot be opened, or the slots of the machine have no
    /// place (`EX_CONFIG`).
    Config = 78,
}

exits! {
    /// A look at a properties file.
    Check, fault: Internal;
    /// Nothing was found.
    Clean = 0,
    /// There are warnings only.
    Warnings = 1,
    /// There are errors, or the file cannot be read.
    Errors = 2,
    /// The command line is wrong.
    Usage = 64,
    /// kclpipe has a fault, or its output cannot be written.
    Internal = 70,
}

exits! {
    /// The daemon, played.
    Replay, fault: Internal;
    /// The child kept the protocol, and every shard reached its end.
    Kept = 0,
    /// Not so.
    Broken = 1,
    /// The command line or the input is wrong.
    Usage = 64,
    /// kclpipe has a fault, or its output cannot be written.
    Internal = 70,
}

exits! {
    /// The files of a new worker, written and checked.
    Init, fault: Internal;
    /// Nothing was found in them.
    Clean = 0,
    /// There are warnings only.
    Warnings = 1,
    /// There are errors, for example no such handler.
    Errors = 2,
    /// The command line is wrong.
    Usage = 64,
    /// kclpipe has a fault, or its output cannot be written.
    Internal = 70,
    /// A file is there already, or cannot be written (`EX_CANTCREAT`).
    CannotCreate = 73,
}

exits! {
    /// The real daemon: once it is started, the exit code is Java's own.
    Launch, fault: Internal;
    /// The jars are fetched, or the command is printed.
    Done = 0,
    /// The command line is wrong.
    Usage = 64,
    /// kclpipe has a fault, or its output cannot be written.
    Internal = 70,
    /// The daemon was not started.
    NotStarted = 78,
}

exits! {
    /// A look at the shards of a machine.
    Status, fault: Internal;
    /// They are shown, and no limit is passed.
    Fine = 0,
    /// A limit of the user's is passed.
    Failing = 1,
    /// The command line is wrong.
    Usage = 64,
    /// The directory cannot be read (`EX_NOINPUT`).
    Unreadable = 66,
    /// The address cannot be listened on (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// kclpipe has a fault, or its output cannot be written.
    Internal = 70,
}

exits! {
    /// A function of AWS Lambda's, as a handler: the bridge takes these for a handler's.
    Lambda, fault: Internal;
    /// The events have ended, and the function has answered all of them.
    Done = 0,
    /// The function ended, or did not answer in time.
    Failed = 1,
    /// The command line is wrong.
    Usage = 64,
    /// kclpipe has a fault, or its output cannot be written.
    Internal = 70,
    /// The function cannot be started, says so itself, or ended before it asked for an event (`EX_CONFIG`).
    Broken = 78,
}

exits! {
    /// Dead letters, handed over again.
    Redrive, fault: Internal;
    /// All of them are done.
    Done = 0,
    /// Some failed again, or are no letters: they are in the file.
    Failed = 1,
    /// The command line is wrong.
    Usage = 64,
    /// There is no such file, or it cannot be read (`EX_NOINPUT`).
    Unreadable = 66,
    /// Another redrive has the file (`EX_UNAVAILABLE`).
    Busy = 69,
    /// kclpipe has a fault, or its output cannot be written.
    Internal = 70,
    /// It was stopped before the end: run it again, and it goes on (`EX_TEMPFAIL`).
    Unfinished = 75,
}

exits! {
    /// What only prints: help, the version, the manual page, completions; and what could not be understood.
    Show, fault: Internal;
    /// It is printed.
    Done = 0,
    /// The command line is wrong, or there is none.
    Usage = 64,
    /// The output cannot be written.
    Internal = 70,
}
