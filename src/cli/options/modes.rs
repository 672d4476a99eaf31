//! The options of one mode alone.

use clap::Args;

use crate::cli::values::{Limit, at_least_one, size, window};

/// With `--per batch`, and of the events with `--per shard --format lambda`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Per batch")]
pub(crate) struct PerBatch {
    /// The most records in a handler's batch, or in an event with --per shard --format lambda; 0 for no
    /// limit [default: 0]
    #[arg(long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// The most bytes of payload in a handler's batch, for example 512KiB or 6MB, counted when
    /// decompressed; 0 for no limit [default: 0, or 256MiB if payloads are decompressed]
    #[arg(long, value_parser = size, value_name = "SIZE")]
    pub batch_bytes: Option<u64>,
    /// Collect records over several reads before a handler is started, for this long at most; 0 disables
    /// [default: 0]
    #[arg(long, value_parser = window, value_name = "DURATION")]
    pub batch_window: Option<Limit>,
    /// With --batch-window: end a batch where the arrival time crosses a multiple of the window, so that a
    /// restart makes the same batches
    #[arg(long)]
    pub batch_align: bool,
}

/// With `--per shard`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Per shard")]
pub(crate) struct PerShard {
    /// How many records a handler may have in flight [default: 1]
    #[arg(long, value_parser = at_least_one, value_name = "N")]
    pub inflight: Option<usize>,
    /// Accept answers without the token, too
    #[arg(long)]
    pub plain_answers: bool,
    /// End a handler's input after N records and start a new handler; 0 for never [default: 0]
    #[arg(long, value_name = "N")]
    pub max_records_per_handler: Option<u64>,
}

/// With `--format lambda`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Lambda")]
pub(crate) struct Lambda {
    /// With --format lambda: the stream's ARN, for eventSourceARN and awsRegion
    #[arg(long, value_name = "ARN")]
    pub stream_arn: Option<String>,
}
