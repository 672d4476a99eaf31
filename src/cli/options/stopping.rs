//! The options that say when a handler is stopped, and how.

use clap::Args;

use crate::cli::values::{Limit, limit, signal};

/// When a handler is stopped, and how.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Stopping a handler")]
pub(crate) struct Stopping {
    /// Stop a handler that has been silent for this long; 0 for never [default: 5m]
    #[arg(long, value_parser = limit, value_name = "DURATION")]
    pub timeout: Option<Limit>,
    /// The signal that stops a handler and its process group [default: TERM]
    #[arg(long, value_parser = signal, value_name = "SIGNAL")]
    pub stop_signal: Option<rustix::process::Signal>,
    /// Kill it when this long has passed since the signal; 0 for at once [default: 10s]
    #[arg(long, value_parser = limit, value_name = "DURATION")]
    pub stop_timeout: Option<Limit>,
    /// With --read-ahead or --batch-window: how long handlers may go on with what they have after the daemon
    /// asks for a shutdown [default: 15s]
    #[arg(long, value_parser = limit, value_name = "DURATION")]
    pub drain_timeout: Option<Limit>,
}
