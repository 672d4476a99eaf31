//! What a Lambda handler replies to a batch from Kinesis.

use serde::Deserialize;

use crate::record::Header;

/// What a reply says of the batch, as Lambda's event source mapping reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Every record is done.
    Success,
    /// The records before this one are done, by its place among those without an answer.
    FailedFrom(usize),
    /// The whole batch failed.
    Failure,
}

/// The key that a reply has on Lambda.
const KEY: &str = "batchItemFailures";

/// The longest reply that is read; Lambda's own limit is 6 MB.
pub(super) const LONGEST: usize = 16 * 1024 * 1024;

/// Whether a line can only be a reply: an object, or `null`.
pub(super) fn is_bare(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    let is_object = || line.first() == Some(&b'{') && object(line).is_some();
    line == b"null" || is_object()
}

/// Whether a line is an object with the key of a reply.
pub(super) fn has_key(line: &[u8]) -> bool {
    let is_object = line.trim_ascii_start().first() == Some(&b'{');
    is_object && object(line).is_some_and(|reply| reply.contains_key(KEY))
}

fn object(line: &[u8]) -> Option<serde_json::Map<String, serde_json::Value>> {
    serde_json::from_slice(line).ok()
}

/// Whether an identifier names this record: by its sequence number, or, as in `eventID`, with the place in its
/// aggregate after a colon.
pub(in crate::handler) fn names(identifier: &str, record: &Header<'_>) -> bool {
    match identifier.split_once(':') {
        None => identifier == record.sequence_number,
        Some((sequence_number, place)) => {
            sequence_number == record.sequence_number
                && place == record.sub_sequence_number.to_string()
        }
    }
}

/// What a reply has in place of the key of a reply, in words; `None` where nothing is wrong. On Lambda such
/// a reply is a success all the same, which whoever wrote the function will hardly have meant.
pub(super) fn misunderstood(line: &[u8]) -> Option<String> {
    let reply = object(line)?;
    if reply.is_empty() || reply.contains_key(KEY) {
        return None;
    }
    let flat = |key: &str| key.replace(['_', '-'], "").to_lowercase();
    let alike = reply.keys().find(|key| flat(key) == KEY.to_lowercase());
    Some(match alike {
        Some(key) => format!("'{key}' in its place"),
        None if reply.contains_key("body") => "a 'body', as for an HTTP gateway".to_owned(),
        None => "other keys".to_owned(),
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    #[serde(default)]
    batch_item_failures: Option<Vec<Failure>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    #[serde(default)]
    item_identifier: Option<String>,
}

/// Reads a reply. Of several failures the first counts, as for streams the rest comes again anyway.
pub(super) fn reply(line: &[u8], find: &dyn Fn(&str) -> Option<usize>) -> Reply {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(line) else {
        return Reply::Failure;
    };
    if !value.is_object() {
        // `null`, a text or a number: a reply without the list.
        return Reply::Success;
    }
    let Ok(response) = serde_json::from_value::<Response>(value) else {
        return Reply::Failure;
    };
    let failures = response.batch_item_failures.unwrap_or_default();
    let places = failures
        .iter()
        .map(|failure| find(failure.item_identifier.as_deref().unwrap_or_default()));
    match places.collect::<Option<Vec<usize>>>() {
        None => Reply::Failure,
        Some(places) => places
            .into_iter()
            .min()
            .map_or(Reply::Success, Reply::FailedFrom),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_as_lambda_reads_it() {
        let find = |id: &str| {
            ["11", "12", "12", "13"]
                .iter()
                .position(|known| *known == id)
        };
        for (line, expected) in [
            ("null", Reply::Success),
            ("\"ok\"", Reply::Success),
            ("{}", Reply::Success),
            (r#"{"statusCode":200}"#, Reply::Success),
            (r#"{"batchItemFailures":[]}"#, Reply::Success),
            (r#"{"batchItemFailures":null}"#, Reply::Success),
            (
                r#"{"batchItemFailures":[{"itemIdentifier":"13"}]}"#,
                Reply::FailedFrom(3),
            ),
            (
                r#"{"batchItemFailures":[{"itemIdentifier":"13"},{"itemIdentifier":"12"}]}"#,
                Reply::FailedFrom(1),
            ),
            (
                r#"{"batchItemFailures":[{"itemIdentifier":"99"}]}"#,
                Reply::Failure,
            ),
            (
                r#"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
                Reply::Failure,
            ),
            (
                r#"{"batchItemFailures":[{"itemIdentifier":null}]}"#,
                Reply::Failure,
            ),
            (r#"{"batchItemFailures":[{"id":"11"}]}"#, Reply::Failure),
            (r#"{"batchItemFailures":"11"}"#, Reply::Failure),
            ("Traceback", Reply::Failure),
            ("", Reply::Failure),
        ] {
            assert_eq!(reply(line.as_bytes(), &find), expected, "{line}");
        }
    }

    #[test]
    fn a_record_of_an_aggregate_is_named_with_its_place() {
        let record = Header {
            partition_key: "k",
            sequence_number: "12",
            sub_sequence_number: 3,
            approximate_arrival_timestamp: None,
        };
        for (identifier, expected) in [
            ("12", true),
            ("12:3", true),
            ("12:0", false),
            ("12:03", false),
            ("12:", false),
            (":3", false),
            ("1", false),
            ("shardId-0:12:3", false),
        ] {
            assert_eq!(names(identifier, &record), expected, "{identifier}");
        }
    }

    #[test]
    fn only_an_object_or_null_is_a_reply_by_itself() {
        for (line, bare, key) in [
            ("null", true, false),
            ("{}", true, false),
            (" {\"batchItemFailures\":7} ", true, true),
            ("nullable", false, false),
            ("{", false, false),
            ("[]", false, false),
            ("\"batchItemFailures\"", false, false),
        ] {
            let found = (is_bare(line.as_bytes()), has_key(line.as_bytes()));
            assert_eq!(found, (bare, key), "{line}");
        }
    }

    #[test]
    fn a_reply_that_was_probably_meant_otherwise_is_noticed() {
        for (line, expected) in [
            ("", None),
            ("null", None),
            ("\"ok\"", None),
            ("{}", None),
            (r#"{"batchItemFailures":[]}"#, None),
            (
                r#"{"batchItemfailures":[{"itemIdentifier":"11"}]}"#,
                Some("'batchItemfailures' in its place"),
            ),
            (
                r#"{"batch_item_failures":[]}"#,
                Some("'batch_item_failures' in its place"),
            ),
            (
                r#"{"statusCode":200,"body":"{\"batchItemFailures\":[]}"}"#,
                Some("a 'body', as for an HTTP gateway"),
            ),
            (r#"{"statusCode":200}"#, Some("other keys")),
        ] {
            assert_eq!(
                misunderstood(line.as_bytes()).as_deref(),
                expected,
                "{line}"
            );
        }
    }
}
