//! The messages of both directions, as the MultiLangDaemon writes and reads them.
//!
//! Facts about fields are from KCL 3.5.1, `software/amazon/kinesis/multilang/messages/*.java`;
//! the protocol classes are the same since 2.1.0. `shutdown` is what 1.x and 2.0.x send.

use std::borrow::Cow;
use std::fmt;

use anyhow::{Context, Result, anyhow, bail};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use crate::clean;

/// What the daemon says to its child.
#[derive(Debug, PartialEq, Serialize)]
#[serde(
    tag = "action",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Message<'a> {
    /// The first message: which shard, and the lease's checkpoint.
    Initialize {
        /// For example `shardId-000000000000`.
        shard_id: Text<'a>,
        /// Decimal digits, or a sentinel such as `TRIM_HORIZON`; absent before KCL 1.7.2.
        sequence_number: Option<Text<'a>>,
        /// The place within an aggregated record; 0 for a plain one.
        sub_sequence_number: Option<u64>,
    },
    /// A batch of records, in stream order, KPL aggregates already taken apart.
    ProcessRecords {
        /// The records; empty only with `callProcessRecordsEvenForEmptyRecordList`.
        records: Vec<WireRecord<'a>>,
        /// How far behind the shard's tip the batch was when it was read, in milliseconds.
        millis_behind_latest: Option<i64>,
    },
    /// The answer to our [`Reply::Checkpoint`].
    Checkpoint {
        /// An echo of what was asked.
        sequence_number: Option<Text<'a>>,
        /// An echo of what was asked.
        sub_sequence_number: Option<u64>,
        /// The simple class name of the exception, or `None` for success.
        error: Option<Text<'a>>,
    },
    /// Another worker has, or will have, the shard: checkpoints are refused from here on.
    LeaseLost,
    /// The shard was split or merged and every record of it was delivered.
    ShardEnded,
    /// The worker stops, or hands this lease over; `LeaseLost` follows.
    ShutdownRequested,
    /// KCL 1.x and 2.0.x: shard end or lease loss, by its reason.
    Shutdown {
        /// What it stands for.
        reason: Shutdown,
    },
}

/// The two reasons of the old `shutdown` message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Shutdown {
    /// `TERMINATE` (1.x) and `SHARD_END` (2.0.x): as `shardEnded`.
    Terminate,
    /// `ZOMBIE`, `LEASE_LOST` and whatever else: as `leaseLost`.
    Zombie,
}

/// One record of a [`Message::ProcessRecords`], its texts borrowed from the line.
///
/// Written, it has `"action":"record"`, by which clients such as kclpy know a record.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "action", rename = "record", rename_all = "camelCase")]
pub struct WireRecord<'a> {
    /// The payload in base64; null stands for an empty one.
    #[serde(borrow, default)]
    pub data: Option<Text<'a>>,
    /// The partition key, of the user record where it was aggregated.
    #[serde(borrow, default)]
    pub partition_key: Text<'a>,
    /// Kinesis' number, shared by the records of one aggregate.
    #[serde(borrow)]
    pub sequence_number: Text<'a>,
    /// Milliseconds since the epoch, when Kinesis took the record in.
    #[serde(default)]
    pub approximate_arrival_timestamp: Option<i64>,
    /// The place within the aggregate; null for a plain record in 1.x.
    #[serde(default)]
    pub sub_sequence_number: Option<u64>,
}

/// What the child says to the daemon: exactly these keys, for the daemon skips a line with any other
/// and both sides would wait for ever (`GetNextMessageTask.java:65`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(
    tag = "action",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
pub enum Reply<'a> {
    /// The action that `response_for` names is finished.
    Status {
        /// The action's name.
        response_for: &'a str,
    },
    /// Store this position in the lease table; both `None` means the end of what was delivered, and
    /// at a shard's end `SHARD_END`.
    Checkpoint {
        /// Decimal digits.
        sequence_number: Option<&'a str>,
        /// Always the record's own: an absent one would mean 0.
        sub_sequence_number: Option<u64>,
    },
    /// A message that the daemon reads and ignores, though it restarts its `timeoutInSeconds`
    /// (`MultiLangProtocol.java:180-204`, `waitForStatusMessage`). This word is one that every daemon from
    /// KCL 1.7.6 on decodes; 1.x and 2.0 do not know `leaseLost`, and skip its line without a restart.
    #[serde(rename = "shutdownRequested")]
    KeepAlive,
}

impl<'a> Message<'a> {
    /// Reads one line. Fields that we do not know are passed over; an action that we do not know is
    /// an error, since the daemon would wait for its answer for ever.
    pub fn parse(line: &'a str) -> Result<Message<'a>> {
        let fields: Fields<'a> = serde_json::from_str(line).map_err(|e| {
            anyhow!(
                "the daemon's line is not a message: {}",
                clean::redacted(&e)
            )
        })?;
        let action = fields.action.clone();
        fields
            .into_message()
            .with_context(|| format!("in the daemon's message '{action}'"))
    }

    /// The name that a status gives back in `responseFor`.
    pub fn action(&self) -> &'static str {
        match self {
            Message::Initialize { .. } => "initialize",
            Message::ProcessRecords { .. } => "processRecords",
            Message::Checkpoint { .. } => "checkpoint",
            Message::LeaseLost => "leaseLost",
            Message::ShardEnded => "shardEnded",
            Message::ShutdownRequested => "shutdownRequested",
            Message::Shutdown { .. } => "shutdown",
        }
    }
}

/// The fields of all messages together. An internally tagged enum would read better, but serde holds
/// the whole message in a tree before it picks the variant, several times a 16 MB line.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    action: Text<'a>,
    #[serde(borrow, default)]
    shard_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    sequence_number: Option<Text<'a>>,
    #[serde(default)]
    sub_sequence_number: Option<u64>,
    #[serde(borrow, default)]
    records: Option<Vec<WireRecord<'a>>>,
    #[serde(default)]
    millis_behind_latest: Option<i64>,
    #[serde(borrow, default)]
    error: Option<Text<'a>>,
    #[serde(borrow, default)]
    reason: Option<Text<'a>>,
}

impl<'a> Fields<'a> {
    fn into_message(self) -> Result<Message<'a>> {
        Ok(match self.action.as_ref() {
            "initialize" => Message::Initialize {
                shard_id: self.shard_id.context("missing field 'shardId'")?,
                sequence_number: self.sequence_number,
                sub_sequence_number: self.sub_sequence_number,
            },
            "processRecords" => Message::ProcessRecords {
                records: self.records.context("missing field 'records'")?,
                millis_behind_latest: self.millis_behind_latest,
            },
            "checkpoint" => Message::Checkpoint {
                sequence_number: self.sequence_number,
                sub_sequence_number: self.sub_sequence_number,
                error: self.error,
            },
            "leaseLost" => Message::LeaseLost,
            "shardEnded" => Message::ShardEnded,
            "shutdownRequested" => Message::ShutdownRequested,
            // KCL 1.x has this one for what later became leaseLost and shardEnded.
            "shutdown" => Message::Shutdown {
                reason: Shutdown::of(self.reason.as_deref()),
            },
            _ => bail!("unknown action"),
        })
    }
}

impl Shutdown {
    fn of(reason: Option<&str>) -> Shutdown {
        match reason {
            Some("TERMINATE" | "SHARD_END") => Shutdown::Terminate,
            _ => Shutdown::Zombie,
        }
    }
}

/// A text that stays in the line it was read from, unless the line had it with escapes.
///
/// serde borrows a plain `Cow` field but never one within an `Option`; this type borrows everywhere.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text<'a>(pub Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'a, T: Into<Cow<'a, str>>> From<T> for Text<'a> {
    fn from(text: T) -> Self {
        Text(text.into())
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Text(Cow::Owned(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Text<'_> {
        text.into()
    }

    #[test]
    fn every_message_is_read_as_the_daemon_writes_it() {
        let record = WireRecord {
            data: Some(text("aGk=")),
            partition_key: text("k1"),
            sequence_number: text("4959"),
            approximate_arrival_timestamp: Some(1_700_000_000_123),
            sub_sequence_number: Some(0),
        };
        for (line, message) in [
            (
                r#"{"action":"initialize","shardId":"shardId-3","sequenceNumber":"TRIM_HORIZON","subSequenceNumber":0}"#,
                Message::Initialize {
                    shard_id: text("shardId-3"),
                    sequence_number: Some(text("TRIM_HORIZON")),
                    sub_sequence_number: Some(0),
                },
            ),
            (
                r#"{"action":"processRecords","records":[{"data":"aGk=","partitionKey":"k1","sequenceNumber":"4959","approximateArrivalTimestamp":1700000000123,"subSequenceNumber":0,"action":"record"}],"millisBehindLatest":7}"#,
                Message::ProcessRecords {
                    records: vec![record],
                    millis_behind_latest: Some(7),
                },
            ),
            (
                r#"{"action":"checkpoint","sequenceNumber":"4959","subSequenceNumber":2,"error":"ThrottlingException"}"#,
                Message::Checkpoint {
                    sequence_number: Some(text("4959")),
                    sub_sequence_number: Some(2),
                    error: Some(text("ThrottlingException")),
                },
            ),
            (r#"{"action":"leaseLost"}"#, Message::LeaseLost),
            (r#"{"action":"shardEnded"}"#, Message::ShardEnded),
            (
                r#"{"action":"shutdownRequested"}"#,
                Message::ShutdownRequested,
            ),
            (
                r#"{"action":"shutdown","reason":"TERMINATE"}"#,
                Message::Shutdown {
                    reason: Shutdown::Terminate,
                },
            ),
            (
                r#"{"action":"shutdown","reason":"SHARD_END"}"#,
                Message::Shutdown {
                    reason: Shutdown::Terminate,
                },
            ),
            (
                r#"{"action":"shutdown","reason":"ZOMBIE"}"#,
                Message::Shutdown {
                    reason: Shutdown::Zombie,
                },
            ),
            (
                r#"{"action":"shutdown","reason":"LEASE_LOST"}"#,
                Message::Shutdown {
                    reason: Shutdown::Zombie,
                },
            ),
            (
                r#"{"action":"shutdown","reason":"REQUESTED"}"#,
                Message::Shutdown {
                    reason: Shutdown::Zombie,
                },
            ),
        ] {
            assert_eq!(Message::parse(line).expect(line), message);
        }
    }

    #[test]
    fn nulls_unknown_fields_and_a_carriage_return_are_fine() {
        let line = "{\"records\":[{\"data\":null,\"partitionKey\":\"\\u00e9\",\"sequenceNumber\":\"1\",\"approximateArrivalTimestamp\":null,\"subSequenceNumber\":null,\"new\":{}}],\"millisBehindLatest\":null,\"later\":[1],\"action\":\"processRecords\"}\r";
        let Message::ProcessRecords {
            records,
            millis_behind_latest,
        } = Message::parse(line).expect(line)
        else {
            panic!("another message")
        };
        assert_eq!(
            (records[0].data.as_ref(), millis_behind_latest),
            (None, None)
        );
        assert_eq!(records[0].partition_key, text("é"));
        assert!(
            matches!(records[0].sequence_number.0, Cow::Borrowed(_)),
            "a plain text is not copied"
        );
    }

    #[test]
    fn what_is_no_message_is_an_error_that_says_so() {
        for (line, said) in [
            ("{", "not a message"),
            ("null", "not a message"),
            (r#"{"shardId":"x"}"#, "not a message"),
            (r#"{"action":"dance"}"#, "'dance'"),
            (
                r#"{"action":"processRecords","records":"secret"}"#,
                "invalid type: string (line 1, column 45)",
            ),
            (r#"{"action":"initialize"}"#, "shardId"),
            (r#"{"action":"processRecords"}"#, "records"),
        ] {
            let error = format!("{:#}", Message::parse(line).expect_err(line));
            assert!(error.contains(said), "{line}: {error}");
        }
    }

    #[test]
    fn replies_have_exactly_the_keys_the_daemon_takes() {
        let json = |reply: &Reply<'_>| serde_json::to_string(reply).expect("plain data");
        assert_eq!(
            json(&Reply::Status {
                response_for: "leaseLost"
            }),
            r#"{"action":"status","responseFor":"leaseLost"}"#
        );
        assert_eq!(
            json(&Reply::Checkpoint {
                sequence_number: Some("49"),
                sub_sequence_number: Some(0)
            }),
            r#"{"action":"checkpoint","sequenceNumber":"49","subSequenceNumber":0}"#
        );
        assert_eq!(
            json(&Reply::Checkpoint {
                sequence_number: None,
                sub_sequence_number: None
            }),
            r#"{"action":"checkpoint","sequenceNumber":null,"subSequenceNumber":null}"#
        );
    }
}
