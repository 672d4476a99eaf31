//! The options of `kclpipe launch`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::values::path;
use crate::check::Version;
use crate::launch::Backfill;

/// The directory with the jars, for all launches.
pub(crate) const JARS: &str = "KCLPIPE_JARS";

/// What `kclpipe launch --help` shows after the options.
const EXAMPLES: &str = "\
Examples:
  Download the daemon once, with Maven, into a directory of your own:
    kclpipe launch --fetch
  Start it, in this directory, with Java's exit code and signals:
    kclpipe launch kclpipe.properties
  More memory for Java, and another worker of the same application:
    kclpipe launch -Xmx1g --set workerId=two kclpipe.properties
  From the environment, for example in a container:
    KCLPIPE_PROPERTY_streamName=orders kclpipe launch kclpipe.properties
  An hour of the stream again, beside the worker that goes on:
    kclpipe launch \\
      --backfill 2026-11-25T14:00:00Z..2026-11-25T15:00:00Z kclpipe.properties
  Only print the command, to paste it elsewhere:
    kclpipe launch --print kclpipe.properties

A property comes from --set, else KCLPIPE_PROPERTY_NAME, else FILE. Java comes
from --java, else JAVA_HOME, else PATH. The jars come from --jars, else
KCLPIPE_JARS, else kclpipe/kcl-VERSION under XDG_DATA_HOME or ~/.local/share.
Errors that kclpipe check finds stop the launch.
Exit code: 78 the daemon was not started, 64 a mistake in the command line,
otherwise Java's own.";

/// What was typed after `launch`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Start Amazon's MultiLangDaemon; --fetch downloads it first",
    long_about = "Starts Amazon's MultiLangDaemon with a properties file: finds Java and the daemon's jars, checks the \
                  file, and becomes Java.",
    override_usage = "kclpipe launch [OPTIONS] FILE\n       kclpipe launch --fetch [--kcl VERSION] [FILE]",
    after_long_help = EXAMPLES,
    after_help = "See --help for more, and for examples."
)]
pub(crate) struct LaunchOptions {
    /// The daemon's properties file
    #[arg(value_parser = path(), value_name = "FILE", required_unless_present_any = ["fetch", "properties_file"])]
    pub file: Option<PathBuf>,
    /// FILE, written as Amazon's own class expects it
    #[arg(long, short = 'p', value_parser = path(), value_name = "FILE", hide = true, conflicts_with = "file")]
    pub properties_file: Option<PathBuf>,
    /// A property that wins over FILE and the environment; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = property)]
    pub set: Vec<(String, String)>,
    /// Hand over again what arrived in this time, by an application of its own: production's checkpoints stay
    /// as they are
    #[arg(long, value_name = "FROM..UNTIL")]
    pub backfill: Option<Backfill>,
    /// The directory with the daemon's jars [default: that of --fetch]
    #[arg(long, value_parser = path(), value_name = "DIR")]
    pub jars: Option<PathBuf>,
    /// Download the jars with Maven if they are missing; without FILE do only that
    #[arg(long)]
    pub fetch: bool,
    /// The daemon's version, for example 2.5.4 [default: 3.1.3]
    #[arg(long, value_name = "VERSION")]
    pub kcl: Option<Version>,
    /// The Java program to run
    #[arg(long, value_parser = path(), value_name = "PROGRAM")]
    pub java: Option<PathBuf>,
    /// A system property of Java; repeatable
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    pub define: Vec<OsString>,
    /// An option of Java, such as -Xmx1g or -XX:+UseSerialGC; repeatable
    #[arg(short = 'X', value_name = "OPTION", allow_hyphen_values = true)]
    pub extra: Vec<OsString>,
    /// A logback file for the daemon [default: one that logs no line of a child twice]
    #[arg(long, value_parser = path(), value_name = "FILE")]
    pub log_configuration: Option<PathBuf>,
    /// Start it even if kclpipe check finds errors
    #[arg(long)]
    pub no_check: bool,
    /// Print the command instead of running it
    #[arg(long)]
    pub print: bool,
}

fn property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write NAME=VALUE".to_owned()),
    }
}
