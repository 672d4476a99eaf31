//! The options of `kclpipe launch`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use crate::check::Version;

/// The directory with the jars, for all launches.
pub(crate) const JARS: &str = "KCLPIPE_JARS";

/// What `kclpipe launch --help` shows behind the options.
const EXAMPLES: &str = "\
Examples:
  Get the daemon once, with Maven, into a directory of your own:
    kclpipe launch --fetch
  Start it; Java's own exit code and signals, and the children of the daemon in this directory:
    kclpipe launch kclpipe.properties
  More memory for Java, and another worker of the same application:
    kclpipe launch -Xmx1g --set workerId=two kclpipe.properties
  From the environment, as in a container:
    KCLPIPE_PROPERTY_streamName=orders kclpipe launch kclpipe.properties
  The command alone, to be pasted elsewhere:
    kclpipe launch --print kclpipe.properties

Order of what a property is taken from: --set, KCLPIPE_PROPERTY_NAME, FILE. Java is --java, else that of
JAVA_HOME, else that of PATH. The jars are in --jars, else in KCLPIPE_JARS, else in kclpipe/kcl-VERSION
under XDG_DATA_HOME or ~/.local/share. Errors that kclpipe check finds stop the launch.
Exit code: 78 the daemon was not started, 64 a mistake in the command line, else Java's own.";

/// What was typed behind `launch`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Start Amazon's MultiLangDaemon, and get it before with --fetch",
    long_about = "Starts Amazon's MultiLangDaemon with a properties file: finds Java and the daemon's jars, checks the \
                  file, and becomes Java.",
    override_usage = "kclpipe launch [OPTIONS] FILE\n       kclpipe launch --fetch [--kcl VERSION] [FILE]",
    after_long_help = EXAMPLES,
    after_help = "See --help for more, and for examples."
)]
pub(crate) struct LaunchOptions {
    /// The daemon's properties file
    #[arg(value_parser = super::path(), value_name = "FILE", required_unless_present_any = ["fetch", "properties_file"])]
    pub file: Option<PathBuf>,
    /// FILE, as Amazon's own class wants it to be written
    #[arg(long, short = 'p', value_parser = super::path(), value_name = "FILE", hide = true, conflicts_with = "file")]
    pub properties_file: Option<PathBuf>,
    /// A property that wins over FILE and the environment; repeatable
    #[arg(long, value_name = "NAME=VALUE", value_parser = property)]
    pub set: Vec<(String, String)>,
    /// The directory with the daemon's jars [default: that of --fetch]
    #[arg(long, value_parser = super::path(), value_name = "DIR")]
    pub jars: Option<PathBuf>,
    /// Get the jars with Maven if they are not there; without FILE that is all
    #[arg(long)]
    pub fetch: bool,
    /// The daemon's version, as 2.5.4 [default: 3.1.3]
    #[arg(long, value_name = "VERSION")]
    pub kcl: Option<Version>,
    /// The Java to run
    #[arg(long, value_parser = super::path(), value_name = "PROGRAM")]
    pub java: Option<PathBuf>,
    /// A system property of Java; repeatable
    #[arg(short = 'D', value_name = "NAME=VALUE")]
    pub define: Vec<OsString>,
    /// An option of Java, as -Xmx1g or -XX:+UseSerialGC; repeatable
    #[arg(short = 'X', value_name = "OPTION", allow_hyphen_values = true)]
    pub extra: Vec<OsString>,
    /// A logback file for the daemon [default: one that logs no line of a child twice]
    #[arg(long, value_parser = super::path(), value_name = "FILE")]
    pub log_configuration: Option<PathBuf>,
    /// Start it whatever kclpipe check finds
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
