//! Records as bytes on a handler's stdin.

mod decompress;
mod delimited;
mod jsonl;
mod lambda;
mod netstring;
mod payloads;

use anyhow::Result;

use crate::record::Record;

use decompress::Unpacker;

pub(crate) use decompress::{Decompress, Decompression};
pub use jsonl::Data;
pub(crate) use payloads::Payloads;

/// How records stand on a handler's stdin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// The payload and nothing else.
    Raw,
    /// The payload and a line feed.
    Lines,
    /// The payload and a NUL.
    Nul,
    /// One JSON object a line.
    Jsonl(Data),
    /// `length:payload,`.
    Netstring,
    /// The whole run as the event of a Lambda function with a Kinesis trigger.
    Lambda {
        /// The stream's ARN, or nothing.
        stream_arn: String,
    },
}

/// What the handler is told about a record besides the record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Envelope<'a> {
    /// The record's number within the handler's run, from 1.
    pub n: u64,
    /// The shard.
    pub shard_id: &'a str,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// Nothing more will be written before an answer.
    pub last: bool,
}

/// Whether a record can stand in a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Framed {
    /// It was appended.
    Written,
    /// It can't, and nothing was appended; what is the matter with its payload.
    Unfit(&'static str),
}

/// Working memory beyond this, as a large record needs it, is not kept.
const KEEP: usize = 1024 * 1024;

/// A format with its working memory.
#[derive(Debug)]
pub(crate) struct Framer {
    format: Format,
    unpacker: Option<Unpacker>,
    payload: Vec<u8>,
}

impl Framer {
    /// A framer of this format, for payloads as they are or decompressed.
    pub(crate) fn new(format: Format, decompress: Option<Decompression>) -> Framer {
        Framer {
            format,
            unpacker: decompress.map(Unpacker::new),
            payload: Vec::new(),
        }
    }

    /// Appends what stands before the first record of a run.
    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        if let Format::Lambda { .. } = self.format {
            lambda::begin(out);
        }
    }

    /// Appends `record` to `out`.
    ///
    /// # Errors
    /// The record's data is not base64: the daemon broke the protocol.
    pub(crate) fn frame(
        &mut self,
        record: &Record<'_>,
        envelope: &Envelope<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Framed> {
        let unpacked;
        let record = match &mut self.unpacker {
            None => record,
            Some(unpacker) => match unpacker.unpack(record)? {
                Err(why) => return Ok(Framed::Unfit(why)),
                Ok(record) => {
                    unpacked = record;
                    &unpacked
                }
            },
        };
        match &self.format {
            Format::Raw => record.decode_into(out)?,
            Format::Lines => {
                return delimited::frame(record, b'\n', "contains a line feed before its end", out);
            }
            Format::Nul => {
                return delimited::frame(record, 0, "contains a NUL before its end", out);
            }
            Format::Jsonl(data) => jsonl::frame(record, envelope, *data, &mut self.payload, out)?,
            Format::Netstring => netstring::frame(record, &mut self.payload, out)?,
            Format::Lambda { stream_arn } => lambda::frame(record, envelope, stream_arn, out)?,
        }
        if self.payload.capacity() > KEEP {
            self.payload = Vec::new();
        }
        Ok(Framed::Written)
    }

    /// How many bytes the payload framed last has, where payloads are decompressed.
    pub(crate) fn decompressed(&self) -> u64 {
        self.unpacker.as_ref().map_or(0, Unpacker::size)
    }

    /// Where the payload, as it came, stands in a record's frame of this length, in formats whose frames are the
    /// same at each attempt.
    pub(crate) fn payload_place(&self, frame: usize, payload: u64) -> Option<usize> {
        if self.unpacker.is_some() {
            return None;
        }
        match self.format {
            Format::Raw | Format::Lines | Format::Nul => Some(0),
            // Its length, a colon, and a comma after it.
            Format::Netstring => frame.checked_sub(payload as usize + 1),
            Format::Jsonl(_) | Format::Lambda { .. } => None,
        }
    }

    /// Whether a record says of itself that it is the last one.
    pub(crate) fn tells_the_last(&self) -> bool {
        matches!(self.format, Format::Jsonl(_))
    }

    /// Whether it is worth knowing in advance that `record` can't stand in the format, and it can't: the
    /// record before it is then the last one.
    ///
    /// # Errors
    /// As [`Framer::frame`].
    pub(crate) fn is_end_before(&mut self, record: &Record<'_>) -> Result<bool> {
        match (&self.format, &mut self.unpacker) {
            (Format::Jsonl(_), Some(unpacker)) => Ok(unpacker.unpack(record)?.is_err()),
            _ => Ok(false),
        }
    }

    /// Appends what stands behind the last record of a run.
    pub(crate) fn end(&self, out: &mut Vec<u8>) {
        if let Format::Lambda { .. } = self.format {
            lambda::end(out);
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::record::Header;

    fn framed(format: Format, payload: &[u8]) -> Result<String, &'static str> {
        let data = STANDARD.encode(payload);
        let record = Record {
            header: Header {
                partition_key: "k\"1",
                sequence_number: "4959",
                sub_sequence_number: 3,
                approximate_arrival_timestamp: None,
            },
            data_base64: &data,
        };
        let envelope = Envelope {
            n: 17,
            shard_id: "shardId-0",
            attempt: 2,
            last: true,
        };
        let mut out = b"before|".to_vec();
        let framed = Framer::new(format.clone(), None)
            .frame(&record, &envelope, &mut out)
            .expect("base64");
        let out =
            String::from_utf8_lossy(out.strip_prefix(b"before|").expect("what was there stays"))
                .into_owned();
        match framed {
            Framed::Written => Ok(out),
            Framed::Unfit(why) => {
                assert_eq!(out, "", "an unfit record leaves nothing behind");
                Err(why)
            }
        }
    }

    #[test]
    fn raw_is_exactly_the_payload() {
        assert_eq!(framed(Format::Raw, b"a\nb\0"), Ok("a\nb\0".into()));
        assert_eq!(framed(Format::Raw, b""), Ok(String::new()));
    }

    #[test]
    fn a_final_terminator_is_not_doubled_and_one_before_is_unfit() {
        assert_eq!(framed(Format::Lines, b"a\0b"), Ok("a\0b\n".into()));
        assert_eq!(framed(Format::Lines, b"ab\n"), Ok("ab\n".into()));
        assert_eq!(framed(Format::Lines, b""), Ok("\n".into()));
        assert_eq!(
            framed(Format::Lines, b"a\nb"),
            Err("contains a line feed before its end")
        );
        assert_eq!(
            framed(Format::Lines, b"a\n\n"),
            Err("contains a line feed before its end")
        );
        assert_eq!(framed(Format::Nul, b"a\nb\0"), Ok("a\nb\0".into()));
        assert_eq!(
            framed(Format::Nul, b"\0a"),
            Err("contains a NUL before its end")
        );
    }

    #[test]
    fn a_netstring_tells_its_length() {
        assert_eq!(framed(Format::Netstring, b"a\n,"), Ok("3:a\n,,".into()));
        assert_eq!(framed(Format::Netstring, b""), Ok("0:,".into()));
    }

    #[test]
    fn jsonl_is_one_object_with_the_daemons_names() {
        let object = |data: &str| {
            Ok(format!(
                r#"{{"n":17,"shardId":"shardId-0","sequenceNumber":"4959","subSequenceNumber":3,"partitionKey":"k\"1","approximateArrivalTimestamp":null,"attempt":2,"last":true,{data}}}"#
            ) + "\n")
        };
        let text = Format::Jsonl(Data::Text);
        let line = framed(text.clone(), b"hi").expect("it fits");
        assert!(crate::record_json::has_known_keys_only(line.as_bytes()));
        assert_eq!(
            framed(text.clone(), "é\n\"".as_bytes()),
            object(r#""data":"é\n\"""#)
        );
        assert_eq!(framed(text, b"\xff"), object(r#""dataBase64":"/w==""#));
        assert_eq!(
            framed(Format::Jsonl(Data::Base64), b"hi"),
            object(r#""dataBase64":"aGk=""#)
        );
    }

    #[test]
    fn lambda_is_the_event_of_a_kinesis_trigger() {
        let stream_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders".to_owned();
        let mut framer = Framer::new(Format::Lambda { stream_arn }, None);
        let mut out = Vec::new();
        framer.begin(&mut out);
        for (n, sequence_number) in [(1, "11"), (2, "12")] {
            let record = Record {
                header: Header {
                    partition_key: "k",
                    sequence_number,
                    sub_sequence_number: 0,
                    approximate_arrival_timestamp: (n == 1).then_some(1_545_084_650_987),
                },
                data_base64: "aGk=",
            };
            let envelope = Envelope {
                n,
                shard_id: "shardId-6",
                attempt: 1,
                last: false,
            };
            assert_eq!(
                framer.frame(&record, &envelope, &mut out).expect("base64"),
                Framed::Written
            );
        }
        framer.end(&mut out);
        let record = |number: &str, time: &str| {
            format!(
                r#"{{"kinesis":{{"kinesisSchemaVersion":"1.0","partitionKey":"k","sequenceNumber":"{number}","data":"aGk=","approximateArrivalTimestamp":{time}}},"eventSource":"aws:kinesis","eventVersion":"1.0","eventID":"shardId-6:{number}","eventName":"aws:kinesis:record","invokeIdentityArn":"","awsRegion":"eu-west-1","eventSourceARN":"arn:aws:kinesis:eu-west-1:123456789012:stream/orders"}}"#
            )
        };
        let expected = format!(
            "{{\"Records\":[{},{}]}}\n",
            record("11", "1545084650.987"),
            record("12", "null")
        );
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn lambda_tells_the_records_of_an_aggregate_apart() {
        let lambda = Format::Lambda {
            stream_arn: String::new(),
        };
        let record = framed(lambda, b"x").expect("it fits");
        assert!(record.contains(r#""sequenceNumber":"4959","#), "{record}");
        assert!(
            record.contains(r#""eventID":"shardId-0:4959:3""#),
            "{record}"
        );
    }

    #[test]
    fn data_that_is_not_base64_is_the_daemons_fault() {
        let record = Record {
            header: Header {
                partition_key: "",
                sequence_number: "1",
                sub_sequence_number: 0,
                approximate_arrival_timestamp: None,
            },
            data_base64: "?",
        };
        let envelope = Envelope {
            n: 1,
            shard_id: "",
            attempt: 1,
            last: true,
        };
        for format in [
            Format::Raw,
            Format::Lines,
            Format::Nul,
            Format::Netstring,
            Format::Jsonl(Data::Text),
        ] {
            assert!(
                Framer::new(format.clone(), None)
                    .frame(&record, &envelope, &mut Vec::new())
                    .is_err(),
                "{format:?}"
            );
        }
    }
}
