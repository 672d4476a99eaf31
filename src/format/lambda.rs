//! `lambda`: the event that an AWS Lambda function gets from a Kinesis trigger.
//!
//! The fields and their constants are those of AWS' page "Using Lambda to process records from Amazon
//! Kinesis Data Streams".

use anyhow::Result;
use serde::Serialize;

use super::Envelope;
use crate::record::{Header, Record};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EventRecord<'a> {
    kinesis: Kinesis<'a>,
    event_source: &'static str,
    event_version: &'static str,
    #[serde(rename = "eventID")]
    event_id: String,
    event_name: &'static str,
    invoke_identity_arn: &'static str,
    aws_region: &'a str,
    #[serde(rename = "eventSourceARN")]
    event_source_arn: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kinesis<'a> {
    kinesis_schema_version: &'static str,
    partition_key: &'a str,
    sequence_number: &'a str,
    data: &'a str,
    /// Seconds, with the milliseconds behind the point.
    approximate_arrival_timestamp: Option<f64>,
}

pub(super) fn begin(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"Records\":[");
}

pub(super) fn frame(
    record: &Record<'_>,
    envelope: &Envelope<'_>,
    stream_arn: &str,
    out: &mut Vec<u8>,
) -> Result<()> {
    if envelope.n > 1 {
        out.push(b',');
    }
    let event = EventRecord {
        kinesis: Kinesis {
            kinesis_schema_version: "1.0",
            partition_key: record.header.partition_key,
            sequence_number: record.header.sequence_number,
            data: record.data_base64,
            approximate_arrival_timestamp: record
                .header
                .approximate_arrival_timestamp
                .map(|ms| ms as f64 / 1000.0),
        },
        event_source: "aws:kinesis",
        event_version: "1.0",
        event_id: event_id(envelope.shard_id, &record.header),
        event_name: "aws:kinesis:record",
        invoke_identity_arn: "",
        // arn:partition:service:region:account:resource
        aws_region: stream_arn.split(':').nth(3).unwrap_or_default(),
        event_source_arn: stream_arn,
    };
    serde_json::to_writer(out, &event)?;
    Ok(())
}

/// The shard and the sequence number, as on Lambda; the records of an aggregate, which comes as one record there,
/// have their places in it besides.
fn event_id(shard_id: &str, record: &Header<'_>) -> String {
    let id = format!("{shard_id}:{}", record.sequence_number);
    match record.sub_sequence_number {
        0 => id,
        place => format!("{id}:{place}"),
    }
}

pub(super) fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"]}\n");
}
