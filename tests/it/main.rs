//! Integration tests, one program.

/// The repository checks itself.
mod tidy;
/// Whole conversations with the daemon, without a process.
mod transcript;
