//! The options that say what happens when a record fails.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use crate::cli::values::{Limit, Words, delay, limit, on_exit, path, words};
use crate::outcome::Class;

/// What happens when a record fails.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Failures")]
pub(crate) struct Failures {
    /// Give up on a record after N failed attempts; 0 for never [default: 0 with --on-failure block,
    /// otherwise 5]
    #[arg(long, value_name = "N")]
    pub max_attempts: Option<u32>,
    /// Give up on a failing record once it is older than this; 0 disables [default: 0]
    #[arg(long, value_parser = limit, value_name = "DURATION")]
    pub max_record_age: Option<Limit>,
    /// The delay before the second attempt; it doubles with each attempt [default: 1s]
    #[arg(long, value_parser = delay, value_name = "DURATION")]
    pub retry_delay: Option<Duration>,
    /// The longest delay [default: 1m]
    #[arg(long, value_parser = delay, value_name = "DURATION")]
    pub retry_max_delay: Option<Duration>,
    /// What an exit code means, for example 99=checkpoint; done, checkpoint, reject, retry, fail, broken
    /// or halt
    #[arg(long, value_parser = on_exit, value_name = "CODE=CLASS", value_delimiter = ',', action = ArgAction::Append)]
    pub on_exit: Vec<(u8, Class)>,
    /// What to do with a record that is rejected or out of attempts: block (retry; the shard waits),
    /// dead-letter, skip, or halt (stop the worker) [default: block, or dead-letter if a dead-letter
    /// option is given]
    #[arg(long, value_enum, value_name = "POLICY")]
    pub on_failure: Option<OnFailureName>,
    /// Append each such record to FILE, one JSON object per line; {shard} and {name} are replaced
    #[arg(long, value_parser = path(), value_name = "FILE")]
    pub dead_letter: Option<PathBuf>,
    /// Pipe each such record to COMMAND as the same JSON object; exit status 0 means the record is safe
    #[arg(long, value_parser = words, value_name = "COMMAND")]
    pub dead_letter_command: Option<Words>,
    /// After giving up on N records in a row, assume the handler is broken and hold on to further records;
    /// 0 for never [default: 10]
    #[arg(long, value_name = "N")]
    pub max_consecutive_failures: Option<u32>,
}

/// The values of `--on-failure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the option's own help says it")]
pub(crate) enum OnFailureName {
    Block,
    DeadLetter,
    Skip,
    Halt,
}
