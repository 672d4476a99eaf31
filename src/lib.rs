//! kclpipe: runs a command for each record of an Amazon Kinesis stream, as the child of Amazon's KCL
//! MultiLangDaemon.
//!
//! The way of a record: `protocol` reads the daemon's line, `record` finds the records in it, `handler`
//! hands each to the user's command by way of `format` and `process`, and makes of its end what `outcome`,
//! `backoff` and `dead_letter` say; `bridge` tells `checkpoint` how far the run of done records goes, asks the
//! daemon to store that, and answers. `cli` and `config` turn what was typed into what all of these need, and
//! `app` has a file for each command.
//!
//! `clean` makes the words of others fit for the log and for names of files. `counters` counts what happens on the
//! way, and `reporting` shows it. `filter` says which records are for a handler at all. `suggest` knows which name
//! was meant by one that does not exist.
//!
//! `lambda` is a handler of its own, for functions written for AWS Lambda.
//!
//! `replay` plays the other part, the daemon's; `check` reads the daemon's configuration, `init` writes
//! one, and `launch` starts the real daemon. `capture` writes what replay can play again.
//!
//! `docs/architecture.md` has the reasons.

mod app;
mod append_line;
mod backoff;
mod bridge;
mod capture;
mod check;
mod checkpoint;
mod clean;
mod cli;
mod clock;
mod config;
mod counters;
mod dead_letter;
mod due;
mod exit;
mod filter;
mod format;
mod handler;
mod host_slots;
mod http;
mod init;
mod lambda;
mod launch;
mod launched;
mod logging;
mod outcome;
mod plural;
mod process;
mod properties;
mod protocol;
mod random;
mod record;
mod record_json;
mod redrive;
mod replay;
mod reporting;
mod shard_state;
mod status;
mod suggest;
mod throttle;
mod trigger;

/// What the program's own tests and benchmarks need; nobody else is promised anything.
#[doc(hidden)]
pub mod testing;

use std::process::ExitCode;

/// Runs the program on this process's arguments, environment and streams.
pub fn run() -> ExitCode {
    app::run()
}
