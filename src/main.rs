//! The `kclpipe` program.
fn main() {}
