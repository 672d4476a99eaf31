//! The `kclpipe` program; the library has all of it.

use std::process::ExitCode;

fn main() -> ExitCode {
    kclpipe::run()
}
