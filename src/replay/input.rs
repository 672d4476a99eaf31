//! What is replayed: records from lines, JSON lines, dead letters, or `aws kinesis get-records`.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::record::Position;

/// How records stand in an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InputFormat {
    /// One record a line, the line's bytes without its line feed.
    Lines,
    /// One object a line, with the names of the `jsonl` format; dead letters have them, too.
    Jsonl,
    /// The documents that `aws kinesis get-records` prints, one after the other.
    Aws,
    /// What `--record` writes: no records alone, but all that the daemon said.
    Recording,
}

impl InputFormat {
    /// The name, as the command line has it.
    pub fn name(self) -> &'static str {
        match self {
            InputFormat::Lines => "lines",
            InputFormat::Jsonl => "jsonl",
            InputFormat::Aws => "aws",
            InputFormat::Recording => "recording",
        }
    }
}

/// A record as its input has it; what the input does not say is filled in later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InputRecord {
    /// The payload in base64.
    pub data: String,
    /// The partition key.
    pub partition_key: Option<String>,
    /// The sequence number with its place in the aggregate.
    pub position: Option<Position>,
    /// When Kinesis took the record in, in milliseconds since the epoch.
    pub arrival: Option<i64>,
}

/// The bytes of a file, or of stdin for `-`.
///
/// # Errors
/// It cannot be read.
pub fn bytes_of(input: &Path) -> Result<Vec<u8>> {
    if input != Path::new("-") {
        return std::fs::read(input)
            .with_context(|| format!("cannot read the input '{}'", input.display()));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .read_to_end(&mut bytes)
        .context("cannot read stdin, the input '-'")?;
    Ok(bytes)
}

/// The records in `bytes`, of which a recording has none by themselves.
///
/// # Errors
/// Something in it is no record; which line, and why.
pub fn read(bytes: &[u8], format: InputFormat) -> Result<Vec<InputRecord>> {
    Ok(match format {
        InputFormat::Lines => lines(bytes).map(from_line).collect(),
        InputFormat::Jsonl => from_jsonl(bytes)?,
        InputFormat::Aws => from_aws(bytes)?,
        InputFormat::Recording => Vec::new(),
    })
}

/// Keys that a line of jsonl or a dead letter may have.
const KEYS: [&str; 15] = [
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

/// Tells the format from the first JSON value. Somebody's own JSON, one event a line, is `lines`: it is
/// taken for jsonl only if it has a payload and no key that we would not have written.
pub fn detect(bytes: &[u8]) -> InputFormat {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Value>();
    let Some(Ok(Value::Object(first))) = values.next() else {
        return InputFormat::Lines;
    };
    let is_text = |key: &str| first.get(key).is_some_and(Value::is_string);
    let is_number = |key: &str| first.get(key).is_some_and(Value::is_u64);
    if first.get("Records").is_some_and(Value::is_array) {
        InputFormat::Aws
    } else if is_number("pid")
        && is_number("ms")
        && ["daemon", "child", "end"]
            .iter()
            .any(|key| first.contains_key(*key))
    {
        InputFormat::Recording
    } else if (is_text("data") || is_text("dataBase64"))
        && first.keys().all(|key| KEYS.contains(&key.as_str()))
    {
        InputFormat::Jsonl
    } else {
        InputFormat::Lines
    }
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let ended = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    ended
        .split(|b| *b == b'\n')
        .filter(move |_| !bytes.is_empty())
}

fn from_line(line: &[u8]) -> InputRecord {
    InputRecord {
        data: STANDARD.encode(line),
        ..InputRecord::default()
    }
}

/// A line of jsonl; keys that are of no use here are passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    data: Option<String>,
    data_base64: Option<String>,
    partition_key: Option<String>,
    sequence_number: Option<String>,
    sub_sequence_number: Option<u64>,
    approximate_arrival_timestamp: Option<i64>,
}

fn from_jsonl(bytes: &[u8]) -> Result<Vec<InputRecord>> {
    let numbered = lines(bytes).enumerate();
    numbered
        .filter(|(_, line)| !line.trim_ascii().is_empty())
        .map(|(at, line)| from_object(line).with_context(|| format!("line {}", at + 1)))
        .collect()
}

fn from_object(line: &[u8]) -> Result<InputRecord> {
    let line: Line = serde_json::from_slice(line).map_err(without_values)?;
    let data = match (line.data, line.data_base64) {
        (Some(text), None) => STANDARD.encode(text),
        (None, Some(base64)) => checked(base64, "dataBase64")?,
        (Some(_), Some(_)) => bail!("has both 'data' and 'dataBase64'"),
        (None, None) => {
            bail!("has neither 'data' nor 'dataBase64' (--input-format lines takes any line)")
        }
    };
    Ok(InputRecord {
        data,
        partition_key: line.partition_key,
        position: position(line.sequence_number, line.sub_sequence_number)?,
        arrival: line.approximate_arrival_timestamp,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct GetRecords {
    records: Vec<AwsRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AwsRecord {
    data: String,
    partition_key: Option<String>,
    sequence_number: Option<String>,
    approximate_arrival_timestamp: Option<Box<RawValue>>,
}

fn from_aws(bytes: &[u8]) -> Result<Vec<InputRecord>> {
    let documents = serde_json::Deserializer::from_slice(bytes).into_iter::<GetRecords>();
    let mut all = Vec::new();
    for document in documents {
        for record in document.map_err(without_values)?.records {
            let number = all.len() + 1;
            all.push(from_aws_record(record).with_context(|| format!("record {number}"))?);
        }
    }
    Ok(all)
}

fn from_aws_record(record: AwsRecord) -> Result<InputRecord> {
    let arrival = record.approximate_arrival_timestamp;
    Ok(InputRecord {
        data: checked(record.data, "Data")?,
        partition_key: record.partition_key,
        position: position(record.sequence_number, None)?,
        arrival: arrival.map(|time| arrival_of(time.get())).transpose()?,
    })
}

/// Seconds since the epoch, or ISO 8601, as version 2 of the aws command writes it.
fn arrival_of(json: &str) -> Result<i64> {
    let seconds = match json.strip_prefix('"') {
        None => json.parse().ok(),
        Some(text) => iso_seconds(text.trim_end_matches('"')),
    };
    let seconds: f64 = seconds
        .context("its 'ApproximateArrivalTimestamp' is neither seconds nor an ISO 8601 time")?;
    Ok((seconds * 1000.0).round() as i64)
}

fn iso_seconds(text: &str) -> Option<f64> {
    let (time, offset) = match text
        .rfind(['+', '-'])
        .filter(|at| text[..*at].contains(':'))
    {
        Some(at) => (&text[..at], offset_seconds(&text[at..])?),
        None => (text, 0.0),
    };
    let time = humantime::parse_rfc3339_weak(time).ok()?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Some(since.as_secs_f64() - offset)
}

/// `+02:00` or `+0200`.
fn offset_seconds(text: &str) -> Option<f64> {
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let number: u32 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    let seconds = f64::from((number / 100) * 3600 + (number % 100) * 60);
    Some(if text.starts_with('-') {
        -seconds
    } else {
        seconds
    })
}

fn position(number: Option<String>, sub: Option<u64>) -> Result<Option<Position>> {
    let Some(number) = number else {
        return Ok(None);
    };
    match Position::new(&number, sub.unwrap_or(0)) {
        Some(position) => Ok(Some(position)),
        None => bail!("its sequence number is not decimal digits"),
    }
}

fn checked(base64: String, key: &str) -> Result<String> {
    match STANDARD.decode(&base64) {
        Ok(_) => Ok(base64),
        Err(_) => bail!("its '{key}' is not base64"),
    }
}

/// serde's words up to the first quoted value, which may be a payload, and where it stopped.
fn without_values(error: serde_json::Error) -> anyhow::Error {
    let text = error.to_string();
    let words = text.split(['"', '`']).next().unwrap_or_default();
    let words = words
        .split(" at line")
        .next()
        .unwrap_or_default()
        .trim_end();
    let (line, column) = (error.line(), error.column());
    anyhow::anyhow!("not as expected: {words} (at {line}:{column})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detected(text: &str) -> (InputFormat, Vec<InputRecord>) {
        let format = detect(text.as_bytes());
        (format, read(text.as_bytes(), format).expect(text))
    }

    fn payloads(records: &[InputRecord]) -> Vec<String> {
        let decode = |record: &InputRecord| STANDARD.decode(&record.data).expect("base64");
        records
            .iter()
            .map(|record| String::from_utf8(decode(record)).expect("text"))
            .collect()
    }

    #[test]
    fn lines_are_records_byte_for_byte() {
        let (format, records) = detected("one\ntwo \r\n\nlast");
        assert_eq!(format, InputFormat::Lines);
        assert_eq!(payloads(&records), ["one", "two \r", "", "last"]);
        assert_eq!(detected("").1.len(), 0);
        assert_eq!(
            detected("\n").1.len(),
            1,
            "one empty line is an empty record"
        );
    }

    #[test]
    fn somebodys_own_json_is_lines() {
        for text in [
            "{\"event\":1}\n{\"event\":2}\n",
            "{\"data\":{\"x\":1}}\n{}\n",
            "{\"data\":\"x\",\"type\":\"click\"}\nx\n",
            "[1]\n[2]\n",
            "\"data\"\n1\n",
        ] {
            let (format, records) = detected(text);
            assert_eq!((format, records.len()), (InputFormat::Lines, 2), "{text}");
        }
    }

    #[test]
    fn jsonl_and_dead_letters_have_the_same_names() {
        let text = r#"{"data":"hé"}

{"n":1,"shardId":"s","sequenceNumber":"49","subSequenceNumber":2,"partitionKey":"k","approximateArrivalTimestamp":5,"attempt":1,"last":true,"data":"b"}
{"shardId":"s","sequenceNumber":"50","subSequenceNumber":0,"partitionKey":"k","approximateArrivalTimestamp":null,"millisBehindLatest":7,"attempts":3,"outcome":"exit code 1","stderr":"","dataBase64":"Yw=="}
"#;
        let (format, records) = detected(text);
        assert_eq!(format, InputFormat::Jsonl);
        assert_eq!(payloads(&records), ["hé", "b", "c"]);
        assert_eq!(records[0].position, None);
        assert_eq!(records[1].position, Position::new("49", 2));
        assert_eq!((records[1].arrival, records[2].arrival), (Some(5), None));
        assert_eq!(records[1].partition_key.as_deref(), Some("k"));
    }

    #[test]
    fn what_get_records_prints_may_be_pretty_and_several() {
        let text = r#"
{
    "Records": [
        {
            "SequenceNumber": "4959",
            "ApproximateArrivalTimestamp": "2024-05-01T12:00:00.250000+02:00",
            "Data": "YQ==",
            "PartitionKey": "k"
        }
    ],
    "NextShardIterator": "AAAA",
    "MillisBehindLatest": 0
}
{"Records":[{"SequenceNumber":"4960","ApproximateArrivalTimestamp":1714557600.5,"Data":"Yg==","PartitionKey":"k","EncryptionType":"NONE"}]}{"Records":[]}"#;
        let (format, records) = detected(text);
        assert_eq!(format, InputFormat::Aws);
        assert_eq!(payloads(&records), ["a", "b"]);
        assert_eq!(records[0].arrival, Some(1_714_557_600_250));
        assert_eq!(records[1].arrival, Some(1_714_557_600_500));
    }

    #[test]
    fn times_may_have_any_offset() {
        for (json, millis) in [
            ("\"1970-01-01T00:00:01Z\"", 1000),
            ("\"1970-01-01T02:00:01.5+02:00\"", 1500),
            ("\"1970-01-01 00:00:01-0130\"", 5_401_000),
            ("\"1970-01-01T00:00:01\"", 1000),
            ("1", 1000),
        ] {
            assert_eq!(arrival_of(json).expect(json), millis, "{json}");
        }
        assert!(arrival_of("\"yesterday\"").is_err());
    }

    #[test]
    fn what_is_no_record_is_named_without_its_payload() {
        for (text, format, said) in [
            ("{\"data\":\"a\"}\nsecret", None, "line 2"),
            (
                "{\"dataBase64\":\"s*cret\"}",
                None,
                "line 1: its 'dataBase64' is not base64",
            ),
            (
                "{\"event\":\"secret\"}",
                Some(InputFormat::Jsonl),
                "neither 'data'",
            ),
            ("{\"data\":\"secret\",\"dataBase64\":\"\"}", None, "both"),
            (
                "{\"data\":\"secret\",\"sequenceNumber\":\"x\"}",
                None,
                "decimal digits",
            ),
            (
                "{\"data\":\"a\",\"partitionKey\":\"secret\",\"sequenceNumber\":7}",
                None,
                "line 1",
            ),
            (
                "{\"Records\":[{\"Data\":\"s*cret\"}]}",
                None,
                "record 1: its 'Data'",
            ),
            ("{\"Records\":[]} secret", None, "not as expected"),
            ("secret", Some(InputFormat::Aws), "not as expected"),
        ] {
            let error = format!(
                "{:#}",
                read(
                    text.as_bytes(),
                    format.unwrap_or_else(|| detect(text.as_bytes()))
                )
                .expect_err(text)
            );
            assert!(error.contains(said) && !error.contains("cret"), "{error}");
        }
    }
}
