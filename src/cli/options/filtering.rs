//! The options that say which records reach a handler.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use crate::cli::values::path;

/// Which records are handed over at all.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filtering records")]
pub(crate) struct Filtering {
    /// Hand over only records that match PATTERN, for example '{"data": {"status": ["paid"]}}', a pattern
    /// of EventBridge and Lambda; others are done at once. Given again, one of all patterns must match;
    /// off turns all of them off
    #[arg(long, value_name = "PATTERN", action = ArgAction::Append)]
    pub filter: Vec<String>,
    /// The same with the patterns in FILE, one or several, or a FilterCriteria of Lambda
    #[arg(long, value_parser = path(), value_name = "FILE")]
    pub filter_file: Option<PathBuf>,
    /// What becomes of a record whose payload is not JSON where a pattern asks for the payload: pass hands
    /// it over, skip does not [default: pass]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub filter_non_json: Option<NonJsonName>,
}

/// The values of `--filter-non-json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the option's own help says it")]
pub(crate) enum NonJsonName {
    Pass,
    Skip,
}
