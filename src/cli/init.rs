//! The options of `kclpipe init`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::values::path;

/// What `kclpipe init --help` shows after the options.
const EXAMPLES: &str = "\
Examples:
  In a new directory, with a handler that will be started there:
    kclpipe init --stream orders --application orders-reader \\
        --region eu-central-1 --dir orders -- ./handler.sh
  A pipeline needs a shell:
    kclpipe init --stream orders --application orders-archive \\
        --region eu-central-1 -- bash -o pipefail -c 'jq -c .event | my-upload'

It writes kclpipe.properties, the daemon's configuration, and handler.args,
kclpipe's own command line, both with a comment on each line; checks them as
kclpipe check does; and prints the next command. A file that is there already is
never changed: then nothing is written.
Exit code: as of kclpipe check for what was written: 0 nothing found, 1 warnings
only, 2 errors; 73 a file exists or cannot be written, 64 a mistake in the
command line.";

/// What was typed after `init`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Write the daemon's configuration for a stream and a handler",
    long_about = "Writes the two files that a worker needs, the daemon's configuration and kclpipe's own command line.",
    override_usage = "kclpipe init [OPTIONS] -- COMMAND [ARG...]",
    after_long_help = EXAMPLES,
    after_help = "See --help for more, and for examples."
)]
pub(crate) struct InitOptions {
    /// The stream to read
    #[arg(long, value_name = "NAME")]
    pub stream: String,
    /// The application, which names its lease table; workers of one application share the shards
    #[arg(long, value_name = "NAME")]
    pub application: String,
    /// The region of AWS, for example eu-central-1
    #[arg(long, value_name = "REGION")]
    pub region: String,
    /// The directory for the two files, made if it is missing; the daemon starts there, and relative names in
    /// COMMAND are looked up there [default: the current one]
    #[arg(long, value_parser = path(), value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The handler and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}
