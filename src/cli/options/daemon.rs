//! The options of the conversation with the daemon: what runs at its turns, what keeps it alive, what captures it.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::Args;

use crate::cli::values::{Limit, Words, limit, path, time, words};

/// What runs when a lease begins and ends.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Start and end of a shard")]
pub(crate) struct Lease {
    /// Run COMMAND with KCLPIPE_EVENT=initialize, lease-lost, shard-end or shutdown; the first record and
    /// the end of a shard wait until it exits with 0
    #[arg(long, value_parser = words, value_name = "COMMAND")]
    pub hook: Option<Words>,
    /// Leave out records that arrived at TIME or later, for example 2026-11-25T14:00:00Z: the end of a
    /// backfill (kclpipe launch --backfill sets it)
    #[arg(long, value_parser = time, value_name = "TIME")]
    pub until: Option<SystemTime>,
}

/// How long work is kept alive.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Talking to the daemon")]
pub(crate) struct Daemon {
    /// During long work, restart the daemon's timeoutInSeconds at this interval; 0 for never [default: 0]
    #[arg(long, value_parser = limit, value_name = "DURATION")]
    pub keepalive: Option<Limit>,
}

/// What is captured.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Debugging")]
pub(crate) struct Debugging {
    /// Append the conversation with the daemon to FILE, for kclpipe replay; {shard} and {name} are
    /// replaced
    #[arg(long, value_parser = path(), value_name = "FILE")]
    pub capture: Option<PathBuf>,
    /// Capture payloads and partition keys, too
    #[arg(long)]
    pub capture_data: bool,
}
