//! kclpipe: runs a command for each record of an Amazon Kinesis stream.

pub mod checkpoint;
pub mod exit;
pub mod outcome;
pub mod protocol;
pub mod record;
pub mod retry;
