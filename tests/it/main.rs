//! Integration tests, one program.

/// `kclpipe replay`, and children that break the daemon's rules.
mod replay;
/// The repository checks itself.
mod tidy;
/// Whole conversations with the daemon, without a process.
mod transcript;
