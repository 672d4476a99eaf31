//! Captures: a conversation with the daemon as JSON lines, to be looked at and to be played again.

mod writer;

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::protocol::{Text, WireRecord};

pub(crate) use writer::{Capture, To};

/// One line of a capture.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Line<'a> {
    /// The child's process; several children may write into one file.
    pub pid: u32,
    /// Milliseconds since the child began the capture.
    pub ms: u64,
    /// When that was, as an RFC 3339 time; in the first line only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<String>,
    /// What the daemon wrote; a batch is a [`Batch`].
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub daemon: Option<&'a RawValue>,
    /// What the child wrote.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub child: Option<&'a RawValue>,
    /// The child's input ended.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub end: bool,
}

/// A `processRecords` as it stands in a capture.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "action", rename = "processRecords", rename_all = "camelCase")]
pub(crate) struct Batch<'a> {
    /// The records.
    #[serde(borrow)]
    pub records: Vec<CapturedRecord<'a>>,
    /// As the daemon wrote it.
    pub millis_behind_latest: Option<i64>,
}

/// A record as it stands in a capture: with its payload, or with the payload's length alone.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CapturedRecord<'a> {
    /// The bytes of a payload that is not in the capture.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    data_bytes: Option<usize>,
    /// All of it, or all but the payload and the partition key.
    #[serde(flatten, borrow)]
    pub record: WireRecord<'a>,
}

impl<'a> CapturedRecord<'a> {
    /// The record without what it says: the length of its payload, and a name in place of its key.
    fn without_data(record: WireRecord<'a>, name: String) -> CapturedRecord<'a> {
        CapturedRecord {
            data_bytes: record.data.as_deref().map(decoded_length),
            record: WireRecord {
                data: None,
                partition_key: name.into(),
                ..record
            },
        }
    }

    /// A record to be played: one whose payload is not known gets one of the same length.
    pub(crate) fn with_some_data(self) -> WireRecord<'a> {
        let made_up = self.data_bytes.map(|bytes| {
            use base64::Engine;
            let data = "x".repeat(bytes);
            Text(Cow::Owned(
                base64::engine::general_purpose::STANDARD.encode(data),
            ))
        });
        WireRecord {
            data: self.record.data.or(made_up),
            ..self.record
        }
    }
}

/// The length of what a text in base64 stands for.
fn decoded_length(base64: &str) -> usize {
    let padding = base64.bytes().rev().take_while(|b| *b == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(padding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_is_left_out_keeps_its_length() {
        for (data, length) in [("", 0), ("YQ==", 1), ("YWI=", 2), ("YWJj", 3)] {
            let record = WireRecord {
                data: Some(data.into()),
                partition_key: "secret".into(),
                sequence_number: "7".into(),
                approximate_arrival_timestamp: None,
                sub_sequence_number: Some(1),
            };
            let captured = CapturedRecord::without_data(record, "key-1".to_owned());
            let json = serde_json::to_string(&captured).expect("plain data");
            assert!(!json.contains("secret") && json.contains(&format!("\"dataBytes\":{length},")));
            let again: CapturedRecord<'_> = serde_json::from_str(&json).expect("the same");
            let played = again.with_some_data();
            assert_eq!(decoded_length(&played.data.expect("made up")), length);
            assert_eq!(&*played.partition_key, "key-1");
        }
    }
}
