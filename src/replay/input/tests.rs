//! What an input is taken for, what is read from it, and how it is refused.

use super::*;

fn recognised(text: &str) -> Input {
    Input::new(text.as_bytes().to_vec(), None).expect(text)
}

fn detected(text: &str) -> (InputFormat, Vec<InputRecord>) {
    let input = recognised(text);
    (input.format, input.records().expect(text))
}

fn error(text: &str, format: Option<InputFormat>) -> String {
    let records = |input: Input| input.records();
    let read = Input::new(text.as_bytes().to_vec(), format).and_then(records);
    let error = format!("{:#}", read.expect_err(text));
    assert!(!error.contains('\n'), "{error}");
    error
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
        "{\"Data\":\"x\",\"type\":\"click\"}\nx\n",
        "{\"records\":[1]}\n{\"records\":[2]}\n",
        "{\"kinesis\":\"x\"}\n{\"kinesis\":\"y\"}\n",
        "[1]\n[2]\n",
        "[]\n[]\n",
        "[{\"event\":1}]\n[{\"event\":2}]\n",
        "\"data\"\n1\n",
        "1\n2\n",
        // Records that are broken are what handlers have to be tried with.
        "{\"event\":\n{\"event\":2}\n",
        "[1,\n[2]\n",
        "{\"event\":1}\n{\n",
        "[x]\na=1\n",
    ] {
        let (format, records) = detected(text);
        assert_eq!((format, records.len()), (InputFormat::Lines, 2), "{text}");
    }
    for text in ["{\"event\":", "{", "[{\"event\":1},{\"event\":2}]\n"] {
        let (format, records) = detected(text);
        assert_eq!((format, records.len()), (InputFormat::Lines, 1), "{text}");
    }
}

#[test]
fn jsonl_and_dead_letters_have_the_same_names() {
    let text = r#"{"data":"hé"}

{"n":1,"shardId":"s","sequenceNumber":"49","subSequenceNumber":2,"partitionKey":"k","approximateArrivalTimestamp":5,"attempt":1,"last":true,"data":"b"}
{"shardId":"s","sequenceNumber":"50","subSequenceNumber":0,"partitionKey":"k","approximateArrivalTimestamp":null,"millisBehindLatest":7,"attempts":3,"failures":2,"outcome":"exit code 1","stderr":"","dataBase64":"Yw=="}
"#;
    let (format, records) = detected(text);
    assert_eq!(format, InputFormat::Jsonl);
    assert_eq!(payloads(&records), ["hé", "b", "c"]);
    assert_eq!(records[0].position, None);
    assert_eq!(records[1].position, Position::new("49", 2));
    assert_eq!((records[1].arrival, records[2].arrival), (Some(5), None));
    assert_eq!(records[1].partition_key.as_deref(), Some("k"));
    let origins: Vec<Origin> = records.iter().map(|record| record.origin).collect();
    assert_eq!(
        origins,
        [Origin::Stream, Origin::Aggregate, Origin::Aggregate],
        "what was handed over before is taken apart no more"
    );
}

/// As `jq -s . dead.jsonl` and `jq . dead.jsonl` write them, and with a note of somebody's.
#[test]
fn dead_letters_may_have_been_through_jq() {
    let letter = r#"{"shardId":"s","sequenceNumber":"50","partitionKey":"k","dataBase64":"Yw=="}"#;
    let pretty = letter.replace(',', ",\n  ");
    let noted = letter.replace("\"k\"", "\"k\",\"seen\":\"by me\"");
    for text in [
        format!("[{letter},{letter}]"),
        format!("{pretty}\n{pretty}\n"),
        format!("{noted}\n{letter}\n"),
    ] {
        let (format, records) = detected(&text);
        assert_eq!(format, InputFormat::Jsonl, "{text}");
        assert_eq!(payloads(&records), ["c", "c"], "{text}");
    }
}

const RECORD: &str = r#"{
            "SequenceNumber": "4959",
            "ApproximateArrivalTimestamp": "2024-05-01T12:00:00.250000+02:00",
            "Data": "YQ==",
            "PartitionKey": "k"
        }"#;

#[test]
fn what_get_records_prints_may_be_pretty_and_several() {
    let text = format!(
        r#"
{{
    "Records": [
        {RECORD}
    ],
    "NextShardIterator": "AAAA",
    "MillisBehindLatest": 0
}}
{{"Records":[{{"SequenceNumber":"4960","ApproximateArrivalTimestamp":1714557600.5,"Data":"Yg==","PartitionKey":"k","EncryptionType":"NONE"}}]}}{{"Records":[]}}"#
    );
    let (format, records) = detected(&text);
    assert_eq!(format, InputFormat::Aws);
    assert_eq!(payloads(&records), ["a", "b"]);
    assert_eq!(records[0].arrival, Some(1_714_557_600_250));
    assert_eq!(records[1].arrival, Some(1_714_557_600_500));
}

/// `--query Records`, `jq '.Records[]'`, `jq -c '.Records[]'`, and a selection of keys.
#[test]
fn records_may_have_been_taken_out_of_what_get_records_printed() {
    let line: String = RECORD.split_whitespace().collect();
    for text in [
        format!("[\n{RECORD},\n{RECORD}\n]\n"),
        format!("[{line},{line}]"),
        format!("{RECORD}\n{RECORD}\n"),
        format!("{line}\n{line}\n"),
        "[\n{\"Data\": \"YQ==\"},\n{\"Data\": \"YQ==\"}\n]".to_owned(),
        "{\"Data\":\"YQ==\",\"PartitionKey\":\"k\"}\n{\"Data\":\"YQ==\",\"PartitionKey\":\"l\"}"
            .to_owned(),
    ] {
        let (format, records) = detected(&text);
        assert_eq!(format, InputFormat::Aws, "{text}");
        assert_eq!(payloads(&records), ["a", "a"], "{text}");
    }
    for text in ["[]", "[]\n", "[\n]\n", "{\"Records\":[]}"] {
        let (format, records) = detected(text);
        assert_eq!((format, records.len()), (InputFormat::Aws, 0), "{text}");
    }
}

#[test]
fn an_explicit_hash_key_is_read() {
    let text = r#"[{"Data":"YQ==","PartitionKey":"k","ExplicitHashKey":"17"}]"#;
    assert_eq!(detected(text).1[0].hash_key, Some(17));
}

const KINESIS: &str = r#"{
        "kinesisSchemaVersion": "1.0",
        "partitionKey": "north",
        "sequenceNumber": "4959",
        "data": "YQ==",
        "approximateArrivalTimestamp": 1763973600.5
      }"#;

/// A test event, one that was logged, its records, their `kinesis`, and what EventBridge Pipes makes of them.
#[test]
fn events_of_a_lambda_function_are_read() {
    let record = format!("{{\"kinesis\": {KINESIS}, \"eventSource\": \"aws:kinesis\"}}");
    let line: String = record.split_whitespace().collect();
    let flat = KINESIS.replace('}', ", \"eventSource\": \"aws:kinesis\"}");
    for text in [
        format!("{{\n  \"Records\": [{record}, {record}]\n}}"),
        format!("{{\"Records\":[{line}]}}\n{{\"Records\":[{line}]}}\n"),
        format!("[{record},{record}]"),
        format!("{line}\n{line}\n"),
        format!("{KINESIS}\n{KINESIS}\n"),
        format!("[{flat},{flat}]"),
    ] {
        let (format, records) = detected(&text);
        assert_eq!(format, InputFormat::Lambda, "{text}");
        assert_eq!(payloads(&records), ["a", "a"], "{text}");
        assert_eq!(records[0].partition_key.as_deref(), Some("north"));
        assert_eq!(records[0].position, Position::new("4959", 0));
        assert_eq!(records[0].arrival, Some(1_763_973_600_500));
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_record() {
    for (text, format) in [
        (
            "\u{feff}{\"Records\":[{\"Data\":\"YQ==\"}]}",
            InputFormat::Aws,
        ),
        ("\u{feff}{\"data\":\"a\"}\n", InputFormat::Jsonl),
        ("\u{feff}a\n", InputFormat::Lines),
    ] {
        let input = recognised(text);
        assert_eq!((input.format, input.had_mark), (format, true), "{text}");
        let records = input.records().expect(text);
        assert_eq!(payloads(&records), ["a"], "{text}");
    }
    let lines = Input::new("\u{feff}a".into(), Some(InputFormat::Lines)).expect("lines");
    assert_eq!(
        payloads(&lines.records().expect("lines")),
        ["\u{feff}a"],
        "every byte, if the user says so"
    );
}

/// Otherwise the letters themselves, one a line, would be the records.
#[test]
fn a_first_line_that_is_torn_does_not_hide_what_the_others_are() {
    let letter = r#"{"shardId":"s","sequenceNumber":"4","dataBase64":"c2VjcmV0"}"#;
    let error = error(&format!("{}\n{letter}\n", &letter[..30]), None);
    assert!(error.starts_with("line 1: not valid JSON: "), "{error}");
}

/// A document that is not understood is never taken for lines.
#[test]
fn what_is_json_but_not_understood_names_what_is_missing() {
    for (text, said) in [
        ("{\n  \"event\": \"secret\"\n}\n", "'Records' is missing"),
        ("[\n  \"secret\",\n  \"secret\"\n]", "'Records' is missing"),
        ("[\n  {\"event\": \"secret\"}\n]", "'Records' is missing"),
        (
            "{\"Records\":[{\"messageId\":\"1\",\"body\":\"secret\"}]}",
            "neither 'Data' (get-records) nor 'kinesis'",
        ),
        (
            "{\"Records\":[{\"PartitionKey\":\"secret\"}]}",
            "record 1: 'Data' is missing",
        ),
        (
            "{\"Records\":[{\"kinesis\":{\"partitionKey\":\"secret\"}}]}",
            "record 1: 'data' is missing",
        ),
        (
            "{\"Records\":[{\"kinesis\":7}]}",
            "record 1: its 'kinesis' is not an object",
        ),
        (
            "{\"Records\":[{\"Data\":\"YQ==\"},{\"kinesis\":{}}]}",
            "record 2: 'Data' is missing",
        ),
        (
            "[{\"kinesis\":{\"data\":\"YQ==\"},\"eventSource\":\"x\"},{\"dynamodb\":{}}]",
            "record 2: 'kinesis' is missing",
        ),
        (
            "{\"Data\":\"YQ==\"}\n{\"PartitionKey\":\"secret\"}\n",
            "line 2: 'Data' is missing",
        ),
        (
            "{\"Records\":[{\"Data\":{\"type\":\"Buffer\"}}]}",
            "record 1: its 'Data' is not a string",
        ),
        (
            "{\"Records\":[{\"Data\":\"YQ==\",\"SequenceNumber\":4959}]}",
            "its 'SequenceNumber' is not a string",
        ),
        (
            "{\"Records\":[{\"Data\":\"YQ==\",\"ApproximateArrivalTimestamp\":\"secret\"}]}",
            "neither seconds nor",
        ),
        (
            "{\"shardId\":\"s\",\"sequenceNumber\":\"4\"}",
            "line 1: 'data' or 'dataBase64' is missing",
        ),
        (
            "{\n  \"Records\": [\n    {\"Data\": \"c2Vjcm",
            "line 3, column",
        ),
        (
            "{\n  \"Records\": [\n    {\"Data\": \"YQ==\"},\n  ]\n}",
            "line 4, column 3: not valid JSON",
        ),
        (
            "{\"Records\":[{\"Data\":\"YQ==\"},\n{\"Data\":\"c2Vjcm",
            "line 2, column",
        ),
        ("[{\n \"Data\": secret", "begins like a JSON document"),
    ] {
        let error = error(text, None);
        assert!(
            error.contains(said) && !error.contains("cret"),
            "{text}: {error}"
        );
    }
}

#[test]
fn what_is_something_else_is_refused_by_its_name() {
    let firehose = r#"{"invocationId":"i","deliveryStreamArn":"arn:aws:firehose:x","region":"r","records":[{"recordId":"1","data":"c2VjcmV0"}]}"#;
    for (text, said) in [
        (firehose, "a Data Firehose event"),
        (
            &firehose.replace(',', ",\n"),
            "jq -c '.records[] | {dataBase64: .data}' FILE",
        ),
        (
            "MillisBehindLatest: 0\nNextShardIterator: AAAA\nRecords:\n- Data: c2VjcmV0\n",
            "--output json",
        ),
        (
            "0\tAAAA\nRECORDS\t1763973600.5\tc2VjcmV0\tk\t4959\n",
            "--output json",
        ),
        ("-------\n|   GetRecords   |\n+------+\n", "--output json"),
    ] {
        let error = error(text, None);
        assert!(
            error.contains(said) && !error.contains("c2V"),
            "{text}: {error}"
        );
    }
    let wide: Vec<u8> = "\u{feff}{}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let error = Input::new(wide, None).expect_err("UTF-16");
    assert!(error.to_string().contains("iconv -f UTF-16"), "{error}");
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
            "'data' or 'dataBase64' is missing (--input-format lines",
        ),
        ("{\"data\":\"secret\",\"dataBase64\":\"\"}", None, "both"),
        (
            "{\"data\":\"secret\",\"sequenceNumber\":\"x\"}",
            None,
            "its 'sequenceNumber' is not decimal digits",
        ),
        (
            "{\"data\":\"a\"}\n\n{\"data\":\"a\",\"partitionKey\":\"secret\",\"sequenceNumber\":7}",
            None,
            "line 3: its 'sequenceNumber' is not a string",
        ),
        (
            "{\"data\":\"a\",\"subSequenceNumber\":\"secret\"}",
            None,
            "its 'subSequenceNumber' is not an integer",
        ),
        (
            "{\"Records\":[{\"Data\":\"s*cret\"}]}",
            None,
            "record 1: its 'Data' is not base64",
        ),
        (
            "{\"data\":\"a\"}\n\"secret\"",
            None,
            "line 2: it is not an object",
        ),
        ("{\"Records\":[]} secret", None, "not valid JSON"),
        ("secret", Some(InputFormat::Aws), "not valid JSON"),
    ] {
        let error = error(text, format);
        assert!(error.contains(said) && !error.contains("cret"), "{error}");
    }
}
