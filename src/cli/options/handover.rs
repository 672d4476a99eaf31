//! The options that say how records are handed over.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cli::values::{host_jobs, jobs, path, rate, size};
use crate::handler::Rate;

/// How records are handed to a handler.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Handing records over")]
pub(crate) struct Handover {
    /// What one handler process is given [default: record]
    #[arg(long, value_enum, value_name = "WAY")]
    pub per: Option<PerName>,
    /// How records are written to the handler's stdin [default: raw with --per record, otherwise jsonl]
    #[arg(long, value_enum)]
    pub format: Option<FormatName>,
    /// How many handlers run at a time; records of one partition key stay in order [default: 1]
    #[arg(long, value_parser = jobs, value_name = "N")]
    pub jobs: Option<usize>,
    /// How many handlers run on this machine at a time at most, for all shards of the application (--name);
    /// not with --per shard
    #[arg(long, value_parser = host_jobs, value_name = "N")]
    pub host_jobs: Option<usize>,
    /// How many records of a shard are handed over in a second or a minute at most, for example 100/s or
    /// 30/m; with --per shard only in --format lambda
    #[arg(long, value_parser = rate, value_name = "RATE")]
    pub rate: Option<Rate>,
    /// With --format jsonl: text writes a payload as "data" if it is UTF-8 and as "dataBase64" if not;
    /// base64 always as "dataBase64" [default: text]
    #[arg(long, value_enum)]
    pub data: Option<DataName>,
    /// Answer the daemon once no more than SIZE of its records wait or are at work, so that handlers go on
    /// while it reads; 0 answers when all are done [default: 0, or with --batch-window 64MiB or three
    /// times --batch-bytes, whichever is more]
    #[arg(long, value_parser = size, value_name = "SIZE")]
    pub read_ahead: Option<u64>,
    /// Keep the records that wait in files in DIR, which have no names, instead of memory
    #[arg(long, value_parser = path(), value_name = "DIR")]
    pub spool_dir: Option<PathBuf>,
    /// Replace {shard}, {id}, {sequence}, {first}, {last} and {name} in COMMAND's arguments; with --per
    /// shard only {shard} and {name}
    #[arg(short = 'I', long)]
    pub placeholders: bool,
    /// Decompress payloads: gzip all of them, and reject what is not gzip; auto only those that begin as
    /// gzip does [default: off]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub decompress: Option<DecompressName>,
    /// Reject a payload that is larger than this when decompressed; 0 for no limit [default: 64MiB]
    #[arg(long, value_parser = size, value_name = "SIZE")]
    pub max_decompressed: Option<u64>,
    /// The directory the handler runs in [default: the daemon's]
    #[arg(long, value_parser = path(), value_name = "DIR")]
    pub chdir: Option<PathBuf>,
}

/// The values of `--per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PerName {
    /// One record; its exit code is the answer
    Record,
    /// All records of a batch; its lines and its exit code say what is done
    Batch,
    /// Every record of the lease; it answers each with a line, or each event with --format lambda
    Shard,
}

/// The values of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatName {
    /// Exactly the payload; back to back with --per batch; not with --per shard
    Raw,
    /// Payload and line feed; a payload with a line feed before its end is rejected
    Lines,
    /// Payload and NUL; a payload with a NUL before its end is rejected
    Nul,
    /// One JSON object with the payload, its numbers and its key
    Jsonl,
    /// The payload's length, a colon, the payload, a comma
    Netstring,
    /// The event of a Lambda function with a Kinesis trigger; with --per batch its reply is the last
    /// line of stdout, with --per shard each event is a line and each reply one with the token
    Lambda,
}

/// The values of `--data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it, and --help shows no more")]
pub(crate) enum DataName {
    Text,
    Base64,
}

/// The values of `--decompress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the option's own help says it")]
pub(crate) enum DecompressName {
    Off,
    Gzip,
    Auto,
}
