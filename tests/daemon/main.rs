//! kclpipe under the real MultiLangDaemon: Amazon's own Java, against Kinesis and DynamoDB on
//! loopback.
//!
//! `tests/daemon/setup` first, then `cargo test --test daemon -- --ignored`. See `README.md`.

mod aggregates;
mod backfill;
mod check;
mod checkpoints;
mod container;
mod crash;
mod delivery;
#[path = "../dockerfile.rs"]
mod dockerfile;
mod failure;
mod filter;
mod functions;
mod halt;
mod harness;
mod keepalive;
mod launch;
mod monitoring;
mod probe;
mod reshard;
mod sentences;
mod shutdown;
mod status;
mod systemd;
