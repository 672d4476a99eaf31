//! Records from JSON objects, wherever they stand: one a line, in an array, or under `Records`.

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::time::arrival_of;
use super::{InputFormat, InputRecord, Origin};
use crate::record::Position;

/// An object's keys with their values.
pub(super) type Object = Map<String, Value>;

/// The records of all JSON values in `bytes`.
pub(super) fn records(bytes: &[u8], format: InputFormat) -> Result<Vec<InputRecord>> {
    let mut all = Vec::new();
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let (mut line, mut seen) = (1, 0);
    loop {
        let start = values.byte_offset() + blanks(&bytes[values.byte_offset()..]);
        line += line_feeds(&bytes[seen..start]);
        seen = start;
        let Some(value) = values.next() else {
            return Ok(all);
        };
        let value = value.map_err(|e| not_json(&e))?;
        let elements = elements(&value);
        for element in elements.unwrap_or(std::slice::from_ref(&value)) {
            let number = all.len() + 1;
            let place = || match elements {
                Some(_) => format!("record {number}"),
                None => format!("line {line}"),
            };
            all.push(record(element, format).with_context(place)?);
        }
    }
}

/// The records in what a command or Lambda wraps around them; `None` for what is a record by itself.
pub(super) fn elements(value: &Value) -> Option<&[Value]> {
    let all = match value.as_object() {
        Some(object) => object.get("Records")?,
        None => value,
    };
    all.as_array().map(Vec::as_slice)
}

/// What is wrong with the JSON itself, and where.
pub(super) fn not_json(error: &serde_json::Error) -> anyhow::Error {
    let text = error.to_string();
    let words = text.split(" at line").next().unwrap_or_default();
    let place = match (error.line(), error.column()) {
        // It stopped at the line feed.
        (line, 0) => format!("line {}", line.saturating_sub(1).max(1)),
        (line, column) => format!("line {line}, column {column}"),
    };
    anyhow!("{place}: not valid JSON: {words}")
}

fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_whitespace()).count()
}

fn line_feeds(bytes: &[u8]) -> usize {
    bytes.iter().filter(|b| **b == b'\n').count()
}

fn record(value: &Value, format: InputFormat) -> Result<InputRecord> {
    let Value::Object(object) = value else {
        bail!("it is not an object (--input-format lines takes any line)");
    };
    match format {
        InputFormat::Aws => from_aws(object),
        InputFormat::Lambda => from_lambda(object),
        InputFormat::Lines | InputFormat::Jsonl | InputFormat::Capture => from_jsonl(object),
    }
}

fn from_jsonl(object: &Object) -> Result<InputRecord> {
    let data = match (text(object, "data")?, text(object, "dataBase64")?) {
        (Some(text), None) => STANDARD.encode(text),
        (None, Some(_)) => base64(object, "dataBase64")?,
        (Some(_), Some(_)) => bail!("it has both 'data' and 'dataBase64'"),
        (None, None) => {
            bail!("'data' or 'dataBase64' is missing (--input-format lines takes any line)")
        }
    };
    let sub = whole(object, "subSequenceNumber")?;
    let is_stored = object.get("subSequenceNumber").is_none_or(Value::is_null);
    Ok(InputRecord {
        data,
        partition_key: text(object, "partitionKey")?.map(str::to_owned),
        hash_key: None,
        position: position(object, "sequenceNumber", sub)?,
        arrival: match object.get("approximateArrivalTimestamp") {
            None | Some(Value::Null) => None,
            Some(time) => Some(time.as_i64().ok_or_else(|| {
                anyhow!("its 'approximateArrivalTimestamp' is not an integer of milliseconds")
            })?),
        },
        origin: if is_stored {
            Origin::Stream
        } else {
            Origin::Aggregate
        },
    })
}

fn from_aws(object: &Object) -> Result<InputRecord> {
    let hash_key = text(object, "ExplicitHashKey")?;
    Ok(InputRecord {
        data: base64(object, "Data")?,
        partition_key: text(object, "PartitionKey")?.map(str::to_owned),
        hash_key: hash_key
            .map(|key| {
                key.parse()
                    .context("its 'ExplicitHashKey' is not a hash key")
            })
            .transpose()?,
        position: position(object, "SequenceNumber", 0)?,
        arrival: arrival(object, "ApproximateArrivalTimestamp")?,
        origin: Origin::Stream,
    })
}

/// A record of a Lambda event, or what is left of one when its `kinesis` was taken out.
fn from_lambda(object: &Object) -> Result<InputRecord> {
    let kinesis = match object.get("kinesis") {
        Some(Value::Object(kinesis)) => kinesis,
        Some(_) => bail!("its 'kinesis' is not an object"),
        None if object.contains_key("kinesisSchemaVersion") => object,
        None => bail!("'kinesis' is missing: it is of another source than a Kinesis stream"),
    };
    Ok(InputRecord {
        data: base64(kinesis, "data")?,
        partition_key: text(kinesis, "partitionKey")?.map(str::to_owned),
        hash_key: None,
        position: position(kinesis, "sequenceNumber", 0)?,
        arrival: arrival(kinesis, "approximateArrivalTimestamp")?,
        origin: Origin::Stream,
    })
}

/// A text that may be missing or null.
fn text<'a>(object: &'a Object, key: &str) -> Result<Option<&'a str>> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => bail!("its '{key}' is not a string"),
    }
}

/// A whole number that is 0 if it is missing or null.
fn whole(object: &Object, key: &str) -> Result<u64> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(0),
        Some(value) => value
            .as_u64()
            .ok_or_else(|| anyhow!("its '{key}' is not an integer")),
    }
}

/// A payload, which must be there.
fn base64(object: &Object, key: &str) -> Result<String> {
    let Some(base64) = text(object, key)? else {
        bail!("'{key}' is missing");
    };
    match STANDARD.decode(base64) {
        Ok(_) => Ok(base64.to_owned()),
        Err(_) => bail!("its '{key}' is not base64"),
    }
}

fn position(object: &Object, key: &str, sub: u64) -> Result<Option<Position>> {
    let Some(number) = text(object, key)? else {
        return Ok(None);
    };
    match Position::new(number, sub) {
        Some(position) => Ok(Some(position)),
        None => bail!("its '{key}' is not decimal digits"),
    }
}

fn arrival(object: &Object, key: &str) -> Result<Option<i64>> {
    match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(time) => match arrival_of(time) {
            Some(millis) => Ok(Some(millis)),
            None => bail!("its '{key}' is neither seconds nor an ISO 8601 time"),
        },
    }
}
