//! The words of `kclpipe redrive`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::values::path;

/// What `kclpipe redrive --help` shows after the options.
const EXAMPLES: &str = "\
Examples:
  After you fixed the handler, with the options that the daemon runs it with:
    kclpipe redrive /var/spool/dead.jsonl @handler.args
  Or with others:
    kclpipe redrive dead.jsonl --jobs 4 --retry-delay 5s -- ./handler.sh

FILE is moved to FILE.redrive, its letters are handed over, each shard's in the
order of the stream, and it is removed when all are done. Live workers may go on
appending letters to FILE.
A record that fails again is appended to FILE, unless an option says what
becomes of it. A line that is no letter is put back.
Stopped at any time, even by kill -9, the same command goes on where it was; a
few records that were done may come again, as after the death of a worker.
OPTIONS are those of kclpipe; without one about checkpoints, how far it is done
is kept every second, and --max-consecutive-failures is 0.
Exit code: 0 all are done, 1 some failed again or are no letters, 64 a mistake
in the command line, 66 there is no FILE, 69 another redrive has it, 75 it was
stopped before the end.";

/// What was typed after `redrive`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Hand the dead letters of a file over again",
    long_about = "Hands the dead letters of a file over again, to the handler that you fixed, safely beside \
                  live workers that may append to the file.",
    override_usage = "kclpipe redrive FILE [OPTIONS] -- COMMAND [ARG...]\n       kclpipe redrive FILE @FILE",
    after_long_help = EXAMPLES,
    after_help = "See --help for more, and for examples."
)]
pub(crate) struct RedriveOptions {
    /// The file that --dead-letter names
    #[arg(value_parser = path(), value_name = "FILE")]
    pub file: PathBuf,
    /// Options of kclpipe, and after -- the handler; or @FILE with all that
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    pub child: Vec<OsString>,
}
