//! The options that say when a checkpoint is due.

use clap::Args;

use crate::cli::values::{Limit, limit};

/// When a checkpoint is due.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Checkpoints, whichever is due first")]
pub(crate) struct Checkpoints {
    /// Checkpoint when this long has passed since the last one; 0 disables [default: 60s]
    #[arg(long, value_parser = limit, value_name = "DURATION")]
    pub checkpoint_every: Option<Limit>,
    /// Checkpoint after N records
    #[arg(long, value_name = "N")]
    pub checkpoint_records: Option<u64>,
    /// Checkpoint at the end of every batch
    #[arg(long)]
    pub checkpoint_batch: bool,
    /// Checkpoint only where the handler asks for it
    #[arg(long)]
    pub checkpoint_manual: bool,
}
