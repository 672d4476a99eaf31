//! The `kclpipe` program; the library has all of it.

use std::process::ExitCode;

/// musl's own takes two thirds more CPU for a record, for it asks the system for each large buffer anew.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    kclpipe::run()
}
