//! Integration tests, one program.

/// A crew with real handlers and no daemon.
mod crew;
/// Several handlers at a time.
mod jobs;
/// One handler process per batch.
mod per_batch;
/// One handler process for the lease.
mod per_shard;
/// `kclpipe replay`, and children that break the daemon's rules.
mod replay;
/// The repository checks itself.
mod tidy;
/// Whole conversations with the daemon, without a process.
mod transcript;
