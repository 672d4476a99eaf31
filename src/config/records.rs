//! How records are handed over: to what, in which form, how many at a time.

use super::off_or;
use crate::cli::{DataName, DecompressName, FormatName, Options, PerName};
use crate::format::{Data, Decompress, Decompression, Format};
use crate::handler::{Per, Window};

/// The most bytes of decompressed payloads in a run per batch.
const DECOMPRESSED: u64 = 256 * 1024 * 1024;

/// What may be read ahead with a window, where the user does not say; batches of the size that the user asked for
/// need more.
const READ_AHEAD: u64 = 64 * 1024 * 1024;

/// The window that collects records over several reads.
pub(super) fn window(options: &Options) -> Option<Window> {
    let length = off_or(options.batch.batch_window, None)?;
    Some(Window {
        length,
        aligned: options.batch.batch_align,
    })
}

/// A batch that runs, one that waits and what comes meanwhile fit into what is read ahead, if the user does not
/// say how much that is. The daemon's lines are a third longer than what they hold.
pub(super) fn read_ahead(options: &Options) -> u64 {
    let batch = options.batch.batch_bytes.unwrap_or(0);
    let default = window(options).map_or(0, |_| READ_AHEAD.max(batch.saturating_mul(3)));
    options.handover.read_ahead.unwrap_or(default)
}

/// What one handler process gets.
pub(super) fn per(options: &Options) -> Per {
    match options.handover.per.unwrap_or(PerName::Record) {
        PerName::Record => Per::Record,
        PerName::Batch => Per::Batch {
            size: options.batch.batch_size.filter(|size| *size > 0),
            bytes: batch_bytes(options),
        },
        PerName::Shard if gives_events(options) => Per::Event {
            size: options.batch.batch_size.filter(|size| *size > 0),
            bytes: batch_bytes(options),
            plain: options.shard.plain_answers,
            max_records: max_records(options),
        },
        PerName::Shard => Per::Shard {
            inflight: options.shard.inflight.unwrap_or(1),
            plain: options.shard.plain_answers,
            max_records: max_records(options),
        },
    }
}

/// Whether a handler lives as long as the lease and gets one Lambda event after the other.
pub(super) fn gives_events(options: &Options) -> bool {
    options.handover.per == Some(PerName::Shard)
        && options.handover.format == Some(FormatName::Lambda)
}

/// Whether handlers get batches of records.
pub(super) fn gives_batches(options: &Options) -> bool {
    options.handover.per == Some(PerName::Batch) || gives_events(options)
}

/// How many records one handler process gets that lives on.
fn max_records(options: &Options) -> Option<u64> {
    options.shard.max_records_per_handler.filter(|max| *max > 0)
}

/// Without a word of the user, what is decompressed is limited: a megabyte of gzip may become a gigabyte.
fn batch_bytes(options: &Options) -> Option<u64> {
    let default = decompression(options).map(|_| DECOMPRESSED);
    match options.batch.batch_bytes {
        None => default,
        Some(bytes) => Some(bytes).filter(|bytes| *bytes > 0),
    }
}

/// Which payloads are decompressed, and how large they may become.
pub(super) fn decompression(options: &Options) -> Option<Decompression> {
    let which = match options.handover.decompress? {
        DecompressName::Off => return None,
        DecompressName::Gzip => Decompress::Gzip,
        DecompressName::Auto => Decompress::Auto,
    };
    let largest = match options.handover.max_decompressed {
        None => Decompression::LARGEST,
        Some(0) => u64::MAX,
        Some(largest) => largest,
    };
    Some(Decompression { which, largest })
}

/// How records are written to the handler.
pub(super) fn format(options: &Options) -> Format {
    let default = match options.handover.per {
        None | Some(PerName::Record) => FormatName::Raw,
        Some(PerName::Batch | PerName::Shard) => FormatName::Jsonl,
    };
    match options.handover.format.unwrap_or(default) {
        FormatName::Raw => Format::Raw,
        FormatName::Lines => Format::Lines,
        FormatName::Nul => Format::Nul,
        FormatName::Netstring => Format::Netstring,
        FormatName::Lambda => Format::Lambda {
            stream_arn: options.lambda.stream_arn.clone().unwrap_or_default(),
        },
        FormatName::Jsonl => Format::Jsonl(match options.handover.data {
            None | Some(DataName::Text) => Data::Text,
            Some(DataName::Base64) => Data::Base64,
        }),
    }
}
