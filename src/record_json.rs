//! A record as JSON: the names under which the `jsonl` format and dead letters write it and replay reads it.

use serde::Serialize;

use crate::record::Header;

/// Every key that a line of `jsonl` or a dead letter may have. A line with another is somebody's own JSON.
pub(crate) const KEYS: [&str; 15] = [
    "n",
    "shardId",
    "sequenceNumber",
    "subSequenceNumber",
    "partitionKey",
    "approximateArrivalTimestamp",
    "millisBehindLatest",
    "attempt",
    "attempts",
    "failures",
    "last",
    "outcome",
    "stderr",
    "data",
    "dataBase64",
];

/// Which record it is; flattened into whatever else is said of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Identity<'a> {
    shard_id: &'a str,
    sequence_number: &'a str,
    sub_sequence_number: u64,
    partition_key: &'a str,
    approximate_arrival_timestamp: Option<i64>,
}

impl<'a> Identity<'a> {
    /// That of a record of this shard.
    pub(crate) fn new(shard_id: &'a str, record: Header<'a>) -> Identity<'a> {
        Identity {
            shard_id,
            sequence_number: record.sequence_number,
            sub_sequence_number: record.sub_sequence_number,
            partition_key: record.partition_key,
            approximate_arrival_timestamp: record.approximate_arrival_timestamp,
        }
    }
}

/// Whether all keys of a line are known, so that replay can read it.
#[cfg(test)]
pub(crate) fn has_known_keys_only(line: &[u8]) -> bool {
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(line).expect("an object");
    object.keys().all(|key| KEYS.contains(&key.as_str()))
}
