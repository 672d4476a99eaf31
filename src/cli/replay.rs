//! The options of `kclpipe replay`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::values::{Limit, limit, path};
use crate::replay::faults::Faults;

/// What `kclpipe replay --help` shows after the options.
const EXAMPLES: &str = "\
Examples:
  One record a line, and a checkpoint after every second record:
    kclpipe replay records.txt -- kclpipe --checkpoint-records 2 -- ./handler.sh
  A few lines from a pipe, to see what a handler gets; its stderr is in the log:
    seq 3 | kclpipe replay - -- kclpipe -- sh -c 'printenv >&2; cat >&2'
  Records that were taken from a stream, on four shards:
    aws kinesis get-records --shard-iterator \"$ITERATOR\" > records.json
    kclpipe replay --shards 4 records.json -- kclpipe -- ./handler.sh
  Windows of 5 s on a shard that gets records every 2 s:
    kclpipe replay --empty-reads 2s records.txt -- \\
      kclpipe --per batch --batch-window 5s -- ./batch.sh
  The test event of a Lambda function:
    kclpipe replay event.json -- kclpipe --per batch --format lambda -- ./run.js
  Dead letters, to try a handler before kclpipe redrive hands them over again:
    kclpipe replay dead.jsonl -- kclpipe --dead-letter new.jsonl -- ./handler.sh
  A rehearsal with errors, lost leases, ends of input and kills at random, and
  the same one again:
    kclpipe replay --inject all records.txt -- kclpipe -- ./handler.sh
    kclpipe replay --inject all --seed 42 records.txt -- kclpipe -- ./handler.sh
  Play a conversation again that kclpipe --capture captured:
    kclpipe replay capture.jsonl -- kclpipe -- ./handler.sh
  Exactly what the daemon would run, and how it copes with losing its lease:
    kclpipe replay records.txt --properties my.properties --shutdown lease-lost

'kclpipe' as CHILD is always this program itself. CHILD may be any child of the
MultiLangDaemon.
Options of replay never come from the environment; CHILD gets the environment as
it is.
A record without a partition key gets key-N, where N is its number in the input;
one without a sequence number gets one.
Exit code: 0 the protocol was kept and every shard reached its end, 1 otherwise,
64 a mistake in the command line or the input.";

/// What was typed after `replay`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Play the daemon, to try a handler without AWS and Java",
    long_about = "Plays Amazon's MultiLangDaemon, so that its child can be tried without AWS, Java and network. \
                  It follows the daemon's rules, and says in plain words what the child does wrong.",
    override_usage = "kclpipe replay [OPTIONS] [INPUT...] -- CHILD [ARG...]\n       \
                      kclpipe replay [OPTIONS] [INPUT...] --properties FILE",
    after_long_help = EXAMPLES,
    after_help = "See --help for more, and for examples."
)]
pub(crate) struct ReplayOptions {
    /// Files with records, or - for stdin [default: -]
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,
    /// The format of the input [default: detected for each]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub input_format: Option<InputFormatName>,
    /// Take CHILD from executableName in FILE, split as the daemon splits it
    #[arg(long, value_parser = path(), value_name = "FILE")]
    pub properties: Option<PathBuf>,
    /// The most records in one processRecords, which also has at most 10 MiB of payload
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub batch_size: u32,
    /// Nothing arrives for this long after each batch: the child gets an empty processRecords each second, as
    /// with callProcessRecordsEvenForEmptyRecordList, so windows close and checkpoints have their moments
    #[arg(long, value_parser = limit, value_name = "DURATION", default_value = "0")]
    pub empty_reads: Limit,
    /// Distribute the records over N shards, by the MD5 of the partition key as Kinesis does; each has a
    /// child of its own, and all run at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub shards: u32,
    /// How the daemon ends
    #[arg(long, value_enum, value_name = "WAY", default_value = "shard-end")]
    pub shutdown: EndingName,
    /// How many times per shard to restart a dead child from its last checkpoint
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub restarts: u32,
    /// Let things go wrong, for example throttle=0.3,kill,slow-ack=200ms or all,eof=0: throttle, dependency,
    /// runtime, invalid-state, lease-stolen (errors of checkpoints), lease-loss, shutdown, kill, eof (ends
    /// of a child), empty, nulls, aggregate, odd-keys, redeliver, clock-skew, late-batch (what it is given),
    /// each with its rate; slow-ack, idle, with the longest time
    #[arg(long, value_parser = Faults::parse, value_name = "FAULTS")]
    pub inject: Option<Faults>,
    /// Repeat the faults of the replay that printed N [default: random]
    #[arg(long, value_name = "N", requires = "inject")]
    pub seed: Option<u64>,
    /// Fail when a child is silent for this long (the real daemon would wait forever); at most 10s after
    /// an answer it could not parse; 0 for never
    #[arg(long, value_parser = limit, value_name = "DURATION", default_value = "10m")]
    pub timeout: Limit,
    /// Print the report as one JSON object instead of text
    #[arg(long)]
    pub json: bool,
    /// The child and its arguments
    #[arg(last = true, value_name = "CHILD")]
    pub child: Vec<OsString>,
}

/// The values of `--input-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum InputFormatName {
    /// One record a line, byte for byte, without the line feed
    Lines,
    /// Objects with "data" or "dataBase64", as kclpipe's jsonl and its dead letters have them
    Jsonl,
    /// What aws kinesis get-records prints, once or several times, or the records in it
    Aws,
    /// Events of a Lambda function with a Kinesis trigger, or the records in them
    Lambda,
    /// What kclpipe --capture writes: the same batches, errors and endings again
    Capture,
}

/// The values of `--shutdown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EndingName {
    /// The shard ends: the child must have SHARD_END stored
    ShardEnd,
    /// The worker stops: shutdownRequested, then leaseLost
    Graceful,
    /// Another worker has the lease: leaseLost
    LeaseLost,
    /// The daemon dies: the input ends half-way, with a batch unanswered
    Kill,
}
