//! `kclpipe replay`: plays the daemon, so that a child of the MultiLangDaemon can be tried without AWS,
//! without Java and without a network.
//!
//! [`input`] finds the records, [`stream`] deals them to shards, [`shard`] is the daemon's side of one
//! shard's conversation, in which [`reply`] reads the child's lines and [`mark`] is what a lease's
//! checkpoint can be, [`run`] connects shards with processes, and [`report`] tells what came out.

pub mod input;
pub mod mark;
pub mod reply;
pub mod report;
pub mod shard;
pub mod stream;
