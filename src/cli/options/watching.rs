//! The options of the log and the metrics.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::values::{Limit, limit, log_level, path};

/// What is reported, and where.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Logs and metrics")]
pub(crate) struct Watching {
    /// Which lines are logged: error, warn, info, debug, or for example warn,handler=debug
    /// [default: info]
    #[arg(long, value_parser = log_level, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// The form of a log line [default: text]
    #[arg(long, value_enum)]
    pub log_format: Option<LogFormatName>,
    /// Append the log to FILE instead of stderr; {name} is replaced
    #[arg(long, value_parser = path(), value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// Log a summary line at this interval; 0 disables [default: 0]
    #[arg(long, value_parser = limit, value_name = "DURATION")]
    pub stats_every: Option<Limit>,
    /// What reads the summary line: text for people, emf for CloudWatch Logs [default: text]
    #[arg(long, value_enum)]
    pub stats_format: Option<StatsFormatName>,
    /// Keep a file for Prometheus in DIR, for node_exporter's textfile collector; {name} is replaced
    #[arg(long, value_parser = path(), value_name = "DIR")]
    pub metrics_dir: Option<PathBuf>,
    /// Distinguishes the applications on one machine [default: the last part of the daemon's directory]
    #[arg(long)]
    pub name: Option<String>,
}

/// The values of `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it, and --help shows no more")]
pub(crate) enum LogFormatName {
    Text,
    Json,
}

/// The values of `--stats-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it, and --help shows no more")]
pub(crate) enum StatsFormatName {
    Text,
    Emf,
}
