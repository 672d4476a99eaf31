//! The options of the bridge, as they were typed, in a file for each thing that they are about. What `-h`
//! shows of them is in `help`.

mod checkpoints;
mod daemon;
mod failures;
mod filtering;
mod handover;
mod modes;
mod stopping;
mod watching;

use clap::Args;

pub(crate) use checkpoints::Checkpoints;
pub(crate) use daemon::{Daemon, Debugging, Lease};
pub(crate) use failures::{Failures, OnFailureName};
pub(crate) use filtering::{Filtering, NonJsonName};
pub(crate) use handover::{DataName, DecompressName, FormatName, Handover, PerName};
pub(crate) use modes::{Lambda, PerBatch, PerShard};
pub(crate) use stopping::Stopping;
pub(crate) use watching::{LogFormatName, StatsFormatName, Watching};

/// The options, in the order of the help.
#[derive(Args, Clone, Debug, Default)]
#[allow(missing_docs, reason = "each type says it, and clap would show it")]
pub(crate) struct Options {
    #[command(flatten)]
    pub handover: Handover,
    #[command(flatten)]
    pub filtering: Filtering,
    #[command(flatten)]
    pub batch: PerBatch,
    #[command(flatten)]
    pub shard: PerShard,
    #[command(flatten)]
    pub lambda: Lambda,
    #[command(flatten)]
    pub checkpoints: Checkpoints,
    #[command(flatten)]
    pub failures: Failures,
    #[command(flatten)]
    pub stopping: Stopping,
    #[command(flatten)]
    pub lease: Lease,
    #[command(flatten)]
    pub watching: Watching,
    #[command(flatten)]
    pub daemon: Daemon,
    #[command(flatten)]
    pub debugging: Debugging,
}
