//! A child's line, read as strictly and as leniently as the daemon reads it.
//!
//! The daemon's reader is Jackson with its defaults, seen under KCL 3.1.3: an unknown key makes the whole
//! line count for nothing, while a number may stand for a text and the other way round.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

/// A line that the daemon understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// An action is finished.
    Status {
        /// The action; `None` where the line has null or nothing.
        response_for: Option<String>,
    },
    /// A position to be stored.
    Checkpoint {
        /// The number or a sentinel; `None` for the end of what was delivered.
        sequence_number: Option<String>,
        /// The place within an aggregate.
        sub_sequence_number: Option<i64>,
    },
    /// The daemon's first message, come back.
    Initialize,
    /// Another message that only the daemon itself sends: decoded and passed over.
    Ignored,
}

/// A line that the daemon does not understand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Misread {
    /// The line is `null`: the daemon falls over it.
    Null,
    /// The daemon logs the line and goes on waiting.
    Skipped {
        /// What is wrong with it, never its text.
        why: String,
        /// Whether it was meant as an answer, so that the child believes to have given one.
        is_answer: bool,
    },
}

/// The actions, each with the keys that the daemon takes besides `action`.
const ACTIONS: [(&str, &[&str]); 8] = [
    ("status", &["responseFor"]),
    (
        "checkpoint",
        &["sequenceNumber", "subSequenceNumber", "error"],
    ),
    (
        "initialize",
        &["shardId", "sequenceNumber", "subSequenceNumber"],
    ),
    ("processRecords", &["records", "millisBehindLatest"]),
    ("leaseLost", &[]),
    ("shardEnded", &[]),
    ("shutdownRequested", &[]),
    ("shutdown", &["reason"]),
];

type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// Reads a line that is not blank.
///
/// # Errors
/// The daemon would make nothing of it.
pub(crate) fn read(line: &[u8]) -> Result<Said, Misread> {
    let text = String::from_utf8_lossy(line);
    if text.starts_with('\u{feff}') {
        return Err(not_a_message("it starts with a byte order mark"));
    }
    // Of two messages on a line the first one counts, and junk behind it is not seen.
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<&RawValue>();
    let value = match values.next() {
        Some(Ok(value)) => value.get(),
        _ => return Err(not_a_message("it is not JSON")),
    };
    if value == "null" {
        return Err(Misread::Null);
    }
    let fields: Fields<'_> =
        serde_json::from_str(value).map_err(|_| not_a_message("it is JSON, but not an object"))?;
    message(&fields)
}

fn message(fields: &Fields<'_>) -> Result<Said, Misread> {
    let action = match fields.get("action").map(|action| text(action)) {
        None => return Err(not_a_message("it is an object without 'action'")),
        Some(Some(Some(action))) => action,
        Some(_) => return Err(not_a_message("its 'action' is not a string")),
    };
    let Some((action, keys)) = ACTIONS.iter().find(|(name, _)| *name == action) else {
        return Err(unknown_action(&action));
    };
    let unknown = fields
        .keys()
        .find(|key| *key != "action" && !keys.contains(&key.as_str()));
    if let Some(key) = unknown {
        return Err(unknown_key(key, action, keys));
    }
    match *action {
        "status" => Ok(Said::Status {
            response_for: text_of(fields, "responseFor")?,
        }),
        "checkpoint" => Ok(Said::Checkpoint {
            sequence_number: text_of(fields, "sequenceNumber")?,
            sub_sequence_number: number_of(fields, "subSequenceNumber")?,
        }),
        "initialize" => Ok(Said::Initialize),
        _ => Ok(Said::Ignored),
    }
}

fn text_of(fields: &Fields<'_>, key: &str) -> Result<Option<String>, Misread> {
    let value = fields.get(key).map_or(Some(None), |value| text(value));
    value.ok_or_else(|| broken_answer(format!("its '{key}' is neither a string nor null")))
}

fn number_of(fields: &Fields<'_>, key: &str) -> Result<Option<i64>, Misread> {
    let value = fields.get(key).map_or(Some(None), |value| number(value));
    value.ok_or_else(|| broken_answer(format!("its '{key}' is neither an integer nor null")))
}

/// A text, or what Jackson turns into one; `Some(None)` is null.
fn text(value: &RawValue) -> Option<Option<String>> {
    match value.get() {
        "null" => Some(None),
        raw if raw.starts_with('"') => serde_json::from_str(raw).ok().map(Some),
        raw if raw.starts_with(['{', '[']) => None,
        raw => Some(Some(raw.to_owned())),
    }
}

/// A whole number, or what Jackson turns into one; `Some(None)` is null.
fn number(value: &RawValue) -> Option<Option<i64>> {
    let raw = value.get();
    if raw.starts_with('"') {
        let text: String = serde_json::from_str(raw).ok()?;
        return match text.trim() {
            "" => Some(None),
            digits => digits.parse().ok().map(Some),
        };
    }
    if raw == "null" {
        return Some(None);
    }
    let truncated = || {
        let number: f64 = raw.parse().ok()?;
        (number.abs() < i64::MAX as f64 && raw.contains(['.', 'e', 'E'])).then_some(number as i64)
    };
    raw.parse().ok().or_else(truncated).map(Some)
}

fn not_a_message(why: &str) -> Misread {
    Misread::Skipped {
        why: why.to_owned(),
        is_answer: false,
    }
}

fn broken_answer(why: String) -> Misread {
    Misread::Skipped {
        why,
        is_answer: true,
    }
}

fn unknown_action(action: &str) -> Misread {
    let meant = ACTIONS
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(action));
    match meant {
        Some((name, _)) => broken_answer(format!("its 'action' must be exactly '{name}'")),
        None => not_a_message("the daemon does not know this 'action'"),
    }
}

fn unknown_key(key: &str, action: &str, keys: &[&str]) -> Misread {
    let shown: String = key.chars().filter(|c| !c.is_control()).take(40).collect();
    let allowed: Vec<String> = ["action"]
        .iter()
        .chain(keys)
        .map(|key| format!("'{key}'"))
        .collect();
    broken_answer(format!(
        "a {action} must not have the key '{shown}', only {}",
        allowed.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(action: Option<&str>) -> Said {
        Said::Status {
            response_for: action.map(str::to_owned),
        }
    }

    fn checkpoint(number: Option<&str>, sub: Option<i64>) -> Said {
        Said::Checkpoint {
            sequence_number: number.map(str::to_owned),
            sub_sequence_number: sub,
        }
    }

    #[test]
    fn what_the_daemon_takes() {
        let wide = "4959033827149025660855969253836157109592";
        for (line, said) in [
            (
                r#"{"action":"status","responseFor":"initialize"}"#,
                status(Some("initialize")),
            ),
            (
                r#" {"responseFor" : "leaseLost", "action" : "status"} trailing"#,
                status(Some("leaseLost")),
            ),
            (r#"{"action":"status"}"#, status(None)),
            (
                r#"{"action":"status","responseFor":"a","responseFor":"b"}"#,
                status(Some("b")),
            ),
            (
                r#"{"action":"status","responseFor":"a"}{"action":"status","responseFor":"b"}"#,
                status(Some("a")),
            ),
            (r#"{"action":"checkpoint"}"#, checkpoint(None, None)),
            (
                r#"{"action":"checkpoint","sequenceNumber":null,"subSequenceNumber":null,"error":"x"}"#,
                checkpoint(None, None),
            ),
            (
                r#"{"action":"checkpoint","sequenceNumber":"12","subSequenceNumber":3}"#,
                checkpoint(Some("12"), Some(3)),
            ),
            (
                &format!(r#"{{"action":"checkpoint","sequenceNumber":{wide}}}"#),
                checkpoint(Some(wide), None),
            ),
            (
                r#"{"action":"checkpoint","sequenceNumber":true}"#,
                checkpoint(Some("true"), None),
            ),
            (
                r#"{"action":"checkpoint","subSequenceNumber":"5"}"#,
                checkpoint(None, Some(5)),
            ),
            (
                r#"{"action":"checkpoint","subSequenceNumber":0.9}"#,
                checkpoint(None, Some(0)),
            ),
            (
                r#"{"action":"checkpoint","subSequenceNumber":""}"#,
                checkpoint(None, None),
            ),
            (
                r#"{"action":"checkpoint","subSequenceNumber":-1}"#,
                checkpoint(None, Some(-1)),
            ),
            (r#"{"action":"leaseLost"}"#, Said::Ignored),
            (r#"{"action":"initialize","shardId":"x"}"#, Said::Initialize),
        ] {
            assert_eq!(read(line.as_bytes()), Ok(said), "{line}");
        }
    }

    #[test]
    fn what_the_daemon_skips_and_would_wait_behind() {
        for (line, said, meant) in [
            ("hello", "not JSON", false),
            (
                "\u{feff}{\"action\":\"leaseLost\"}",
                "byte order mark",
                false,
            ),
            ("[]", "not an object", false),
            ("42", "not an object", false),
            ("{}", "without 'action'", false),
            (r#"{"action":{}}"#, "not a string", false),
            (
                r#"{"action":"log","message":"x"}"#,
                "does not know this 'action'",
                false,
            ),
            (
                r#"{"action":"STATUS","responseFor":"x"}"#,
                "must be exactly 'status'",
                true,
            ),
            (
                r#"{"action":"status","responseFor":"initialize","x":1}"#,
                "the key 'x'",
                true,
            ),
            (
                r#"{"action":"checkpoint","checkpoint":"100"}"#,
                "the key 'checkpoint'",
                true,
            ),
            (
                r#"{"action":"checkpoint","sequencenumber":"1"}"#,
                "only 'action', 'sequenceNumber'",
                true,
            ),
            (
                r#"{"action":"checkpoint","sequenceNumber":{}}"#,
                "neither a string",
                true,
            ),
            (
                r#"{"action":"checkpoint","subSequenceNumber":"x"}"#,
                "neither an integer",
                true,
            ),
            (
                r#"{"action":"checkpoint","subSequenceNumber":9223372036854775808}"#,
                "integer",
                true,
            ),
            (
                r#"{"action":"checkpoint","subSequenceNumber":true}"#,
                "integer",
                true,
            ),
            (
                r#"{"action":"leaseLost","reason":1}"#,
                "the key 'reason'",
                true,
            ),
        ] {
            match read(line.as_bytes()).expect_err(line) {
                Misread::Skipped { why, is_answer } => {
                    assert!(why.contains(said), "{line}: {why}");
                    assert_eq!(is_answer, meant, "{line}");
                }
                Misread::Null => panic!("{line}"),
            }
        }
    }

    #[test]
    fn a_line_that_is_null_ends_the_daemon() {
        assert_eq!(read(b"null"), Err(Misread::Null));
        assert_eq!(read(b" null "), Err(Misread::Null));
        assert!(matches!(read(b"nullx"), Err(Misread::Skipped { .. })));
    }

    #[test]
    fn depth_and_bytes_that_are_not_utf8_do_no_harm() {
        let deep = "[".repeat(200_000);
        assert!(matches!(
            read(deep.as_bytes()),
            Err(Misread::Skipped { .. })
        ));
        let deep = format!(
            "{{\"action\":\"status\",\"x\":{deep}{}}}",
            "]".repeat(200_000)
        );
        assert!(matches!(
            read(deep.as_bytes()),
            Err(Misread::Skipped { .. })
        ));
        assert!(read(b"{\"action\":\"status\",\"responseFor\":\"\xff\"}").is_ok());
    }
}
