//! kclpipe: runs a command for each record of an Amazon Kinesis stream.
