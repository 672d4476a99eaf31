//! kclpipe: runs a command for each record of an Amazon Kinesis stream.

pub mod bridge;
pub mod checkpoint;
pub mod dead_letter;
pub mod exit;
pub mod format;
pub mod handler;
pub mod lanes;
pub mod logging;
pub mod outcome;
pub mod process;
pub mod protocol;
pub mod record;
pub mod retry;
