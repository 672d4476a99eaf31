//! The options of `kclpipe check`.

use std::path::PathBuf;

use clap::Args;

use super::values::path;
use crate::check::Version;

/// What `kclpipe check --help` shows after the options.
const EXAMPLES: &str = "\
Examples:
  In the directory where you will start the daemon:
    kclpipe check kclpipe.properties
  For a daemon that a service manager starts elsewhere:
    kclpipe check --directory /srv/orders /srv/orders/kclpipe.properties
  In a build, for KCL 2.x; let only errors stop it:
    kclpipe check --kcl 2 --json kclpipe.properties || [ $? -eq 1 ]

Each finding gives the file and line, what is wrong, its id, why it matters, and
how to fix it.
An error: the daemon would not start or not stay up, or would not do what the
line says. A warning: it would do as the line says, and that is rarely what is
wanted.
If the child is kclpipe, its options are checked, too: those in executableName,
in @FILE, and in the environment.
Exit code: 0 nothing found, 1 warnings only, 2 errors, or the file cannot be
read, 64 a mistake in the command line.";

/// What was typed after `check`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Find mistakes in a properties file before the daemon starts",
    long_about = "Finds mistakes in a properties file of the MultiLangDaemon, which is silent about most of them: \
                  it skips keys and values that it does not understand.",
    override_usage = "kclpipe check [OPTIONS] FILE",
    after_long_help = EXAMPLES,
    after_help = "See --help for more, and for examples."
)]
pub(crate) struct CheckOptions {
    /// The properties file
    #[arg(value_parser = path(), value_name = "FILE")]
    pub file: PathBuf,
    /// The directory the daemon starts in; relative names are looked up there [default: the current one]
    #[arg(long, value_parser = path(), value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// The daemon's generation, 1, 2 or 3 (which is 3.1.3), or its version, for example 3.5.1
    #[arg(long, value_name = "VERSION", default_value = "3")]
    pub kcl: Version,
    /// Print one JSON object instead of text
    #[arg(long)]
    pub json: bool,
}
