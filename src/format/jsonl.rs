//! `jsonl`: one object a line, with the daemon's names.

use anyhow::Result;
use serde::Serialize;

use super::Envelope;
use crate::record::Record;
use crate::record_json::Identity;

/// How the payload stands in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data {
    /// As `data`, or as `dataBase64` where it is not UTF-8.
    Text,
    /// Always as `dataBase64`, just as it came from the daemon.
    Base64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Object<'a> {
    n: u64,
    #[serde(flatten)]
    identity: Identity<'a>,
    attempt: u32,
    last: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data_base64: Option<&'a str>,
}

pub(super) fn frame(
    record: &Record<'_>,
    envelope: &Envelope<'_>,
    data: Data,
    payload: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<()> {
    payload.clear();
    if data == Data::Text {
        record.decode_into(payload)?;
    }
    let text = std::str::from_utf8(payload)
        .ok()
        .filter(|_| data == Data::Text);
    let object = Object {
        n: envelope.n,
        identity: Identity::new(envelope.shard_id, record.header),
        attempt: envelope.attempt,
        last: envelope.last,
        data: text,
        data_base64: text.is_none().then_some(record.data_base64),
    };
    // Most of the line is known in advance; without this a large one is copied as it grows.
    out.reserve(payload.len().max(record.data_base64.len() / 4 * 3));
    serde_json::to_writer(&mut *out, &object)?;
    out.push(b'\n');
    Ok(())
}
