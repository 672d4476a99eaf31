//! What an input is, told from its structure and never from its name.
//!
//! Somebody's own JSON, one event a line, is `lines`: those are the payloads that people have. JSON that
//! spreads over several lines can be nobody's lines, so it is understood, or an error says what is missing.

use anyhow::{Result, bail};
use serde_json::Value;

use super::InputFormat;
use super::json::{Object, elements, not_json};
use crate::record_json;

/// Keys of a record that `get-records` prints, or that `put-records` takes.
const AWS: [&str; 6] = [
    "SequenceNumber",
    "ApproximateArrivalTimestamp",
    "Data",
    "PartitionKey",
    "EncryptionType",
    "ExplicitHashKey",
];

/// The input without a byte order mark, and whether it had one.
pub(super) fn without_mark(mut bytes: Vec<u8>) -> (Vec<u8>, bool) {
    let had_mark = bytes.starts_with("\u{feff}".as_bytes());
    if had_mark {
        bytes.drain(..'\u{feff}'.len_utf8());
    }
    (bytes, had_mark)
}

/// Tells the format from the first JSON value.
///
/// # Errors
/// It is something that can be named, but no records of a Kinesis stream.
pub(super) fn recognise(bytes: &[u8]) -> Result<InputFormat> {
    refuse_other_text(bytes)?;
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    match values.next() {
        Some(Ok(first)) => {
            let text = bytes[..values.byte_offset()].trim_ascii();
            let is_document = text.contains(&b'\n');
            of_value(&first, is_document, text == bytes.trim_ascii())
        }
        Some(Err(e)) if is_broken_document(bytes) => Err(not_json(&e).context(
            "it begins like a JSON document but is not one (--input-format lines takes each line of it)",
        )),
        Some(Err(_)) => Ok(of_second_line(bytes).unwrap_or(InputFormat::Lines)),
        None => Ok(InputFormat::Lines),
    }
}

/// What the second line is, where the first is broken: a dead letter that was torn does not make lines of
/// all the others.
fn of_second_line(bytes: &[u8]) -> Option<InputFormat> {
    let lines = bytes.split(|b| *b == b'\n');
    let second = lines.filter(|line| !line.trim_ascii().is_empty()).nth(1)?;
    of_record(&serde_json::from_slice(second).ok()?)
}

/// `is_document` says that the value spreads over several lines, `is_all` that nothing follows it.
fn of_value(first: &Value, is_document: bool, is_all: bool) -> Result<InputFormat> {
    if let Value::Object(object) = first {
        refuse_firehose(object)?;
    }
    let is_wrapped = matches!(first, Value::Object(_));
    let format = match elements(first) {
        Some([]) if is_wrapped || is_document || is_all => Some(InputFormat::Aws),
        Some([element, ..]) if is_wrapped => return of_wrapped(element),
        Some(elements) => elements.first().and_then(of_record),
        None => of_record(first),
    };
    match format {
        Some(format) => Ok(format),
        None if is_document => bail!(
            "it is a JSON document without any records that replay knows: 'Records' is missing, and so are 'Data' (get-records), 'kinesis' (an event of Lambda), 'data' and 'dataBase64' (jsonl); to make each value a record, write one per line (jq -c .)"
        ),
        None => Ok(InputFormat::Lines),
    }
}

/// What stands under `Records`.
fn of_wrapped(element: &Value) -> Result<InputFormat> {
    let has = |key| element.get(key).is_some();
    match element.as_object().and_then(object_format) {
        Some(format) => Ok(format),
        None if AWS.iter().any(|key| has(*key)) => Ok(InputFormat::Aws),
        None if has("kinesis") => Ok(InputFormat::Lambda),
        None => bail!(
            "the first of its 'Records' has neither 'Data' (get-records) nor 'kinesis' (an event of Lambda): it is of another source than a Kinesis stream (--input-format lines takes each line as a record)"
        ),
    }
}

fn of_record(value: &Value) -> Option<InputFormat> {
    object_format(value.as_object()?)
}

/// The format of a record that stands alone. Few keys tell it only if there are no others.
fn object_format(object: &Object) -> Option<InputFormat> {
    let has = |key: &str| object.contains_key(key);
    let is_text = |key: &str| object.get(key).is_some_and(Value::is_string);
    let is_number = |key: &str| object.get(key).is_some_and(Value::is_u64);
    let only = |keys: &[&str]| object.keys().all(|key| keys.contains(&key.as_str()));
    let is_said = has("daemon") || has("child") || has("end");
    if is_number("pid") && is_number("ms") && is_said {
        Some(InputFormat::Capture)
    } else if has("kinesisSchemaVersion") || (has("kinesis") && has("eventSource")) {
        Some(InputFormat::Lambda)
    } else if (has("SequenceNumber") && has("PartitionKey")) || (has("Data") && only(&AWS)) {
        Some(InputFormat::Aws)
    } else if (is_text("shardId") && is_text("sequenceNumber"))
        || ((is_text("data") || is_text("dataBase64")) && only(&record_json::KEYS))
    {
        Some(InputFormat::Jsonl)
    } else {
        None
    }
}

fn refuse_firehose(object: &Object) -> Result<()> {
    let is_firehose = object.contains_key("deliveryStreamArn");
    if is_firehose && object.get("records").is_some_and(Value::is_array) {
        bail!(
            "it is a Data Firehose event, whose records are not those of a Kinesis stream; to try their payloads: jq -c '.records[] | {{dataBase64: .data}}' FILE | kclpipe replay - -- …"
        );
    }
    Ok(())
}

/// What is written by the same commands, but in a way that is not read here.
fn refuse_other_text(bytes: &[u8]) -> Result<()> {
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        bail!("it is UTF-16, which PowerShell writes: convert it with iconv -f UTF-16 -t UTF-8");
    }
    let begins_as_output = |line: &[u8]| {
        line == b"Records:"
            || line.starts_with(b"RECORDS\t")
            || (line.starts_with(b"|") && line.windows(10).any(|word| word == b"GetRecords"))
    };
    let mut first_lines = bytes.split(|b| *b == b'\n').take(5);
    if first_lines.any(|line| begins_as_output(line.trim_ascii_end())) {
        bail!(
            "aws kinesis get-records printed it with --output yaml, text or table: use --output json (--input-format lines takes each line as a record)"
        );
    }
    Ok(())
}

/// Whether what cannot be read to its end was meant as one JSON document: its first line is that of a
/// printer for people, or has `Records` in it. A record that is broken JSON stays a line.
fn is_broken_document(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii();
    let first = text.split(|b| *b == b'\n').next().unwrap_or_default();
    let is_all = first.len() == text.len();
    (matches!(first.trim_ascii(), b"{" | b"[" | b"[{") && !is_all)
        || first.starts_with(b"{\"Records\"")
}
