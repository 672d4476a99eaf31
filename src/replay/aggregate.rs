//! Aggregates of the Kinesis Producer Library, taken apart as the daemon does before it hands records over
//! (`AggregatorUtil.java`): one record of the stream that holds several of the producer's.
//!
//! It is a protobuf message between a magic number and the message's MD5:
//!
//! ```proto
//! message AggregatedRecord {
//!     repeated string partition_key_table = 1;
//!     repeated string explicit_hash_key_table = 2;
//!     repeated Record records = 3;
//! }
//! message Record {
//!     required uint64 partition_key_index = 1;
//!     optional uint64 explicit_hash_key_index = 2;
//!     required bytes data = 3;
//! }
//! ```
//!
//! The daemon discards an aggregate with a record whose hash key lies outside its shard. Where the real
//! shard began and ended is not in the input, so only a key that lies outside every shard is discarded here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};

use super::input::{InputRecord, Origin};
use super::protobuf::{Malformed, Value, fields};
use crate::record::Position;

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// The same in base64, without the bits that the next byte shares: most records are told by it.
const MAGIC_BASE64: &str = "84maw";

/// The bytes of an MD5.
const DIGEST: usize = 16;

/// What was found among the records of an input.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The records, as the daemon hands them over.
    pub records: Vec<InputRecord>,
    /// How many of the input's records were aggregates.
    pub aggregates: usize,
    /// What the daemon does not hand over, in words.
    pub losses: Vec<String>,
}

/// Takes the aggregates among `records` apart. What only looks like one stays whole, and so does what was
/// taken out of one before.
pub fn take_apart(records: Vec<InputRecord>) -> Found {
    let mut found = Found::default();
    for (index, record) in records.into_iter().enumerate() {
        let Some(aggregate) = aggregate(&record) else {
            found.records.push(record);
            continue;
        };
        found.aggregates += 1;
        let loss = aggregate.loss.map(|loss| loss.says(index + 1));
        found.losses.extend(loss);
        let users = aggregate.users.into_iter().enumerate();
        found
            .records
            .extend(users.map(|(sub, user)| user.into_record(sub as u64, &record)));
    }
    found
}

fn aggregate(record: &InputRecord) -> Option<Aggregate> {
    if record.origin != Origin::Stream || !record.data.starts_with(MAGIC_BASE64) {
        return None;
    }
    read(&STANDARD.decode(&record.data).ok()?)
}

/// The producer's records in an aggregate.
#[derive(Debug, Default, PartialEq, Eq)]
struct Aggregate {
    users: Vec<User>,
    loss: Option<Loss>,
}

/// A record of the producer's.
#[derive(Debug, PartialEq, Eq)]
struct User {
    key: String,
    hash_key: Option<u128>,
    data: Vec<u8>,
}

/// Why the daemon does not hand all of an aggregate over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Loss {
    /// A hash key that no shard has: it is discarded whole.
    Outside,
    /// The record at this place refers to a key that is not there. It and those after it are lost with Java 8;
    /// with later ones the daemon's attempt to log that fails, for a class is gone from Java.
    Broken(usize),
}

impl Loss {
    fn says(self, record: usize) -> String {
        match self {
            Loss::Outside => format!(
                "record {record} is an aggregate that the daemon silently discards: an explicit hash key in it belongs to no shard"
            ),
            Loss::Broken(place) => format!(
                "record {record} is an aggregate whose user record {place} lacks its key: with Java 8 the daemon drops that one and those after it, as replay does; with Java 11 or later it fails on the whole batch"
            ),
        }
    }
}

impl User {
    fn into_record(self, sub: u64, whole: &InputRecord) -> InputRecord {
        let position = whole.position.as_ref().map(|position| Position {
            sequence_number: position.sequence_number.clone(),
            sub_sequence_number: sub,
        });
        InputRecord {
            data: STANDARD.encode(self.data),
            partition_key: Some(self.key),
            hash_key: self.hash_key,
            position,
            arrival: whole.arrival,
            origin: match sub {
                0 => Origin::Aggregate,
                _ => Origin::SameAggregate,
            },
        }
    }
}

/// The records of `payload`, or `None` where the daemon hands it over as it is.
fn read(payload: &[u8]) -> Option<Aggregate> {
    let rest = payload.strip_prefix(&MAGIC)?;
    let (message, digest) = rest.split_at_checked(rest.len().checked_sub(DIGEST)?)?;
    if message.is_empty() || Md5::digest(message)[..] != *digest {
        return None;
    }
    let tables = Tables::read(message).ok()?;
    Some(tables.aggregate())
}

/// The message, not resolved yet.
#[derive(Default)]
struct Tables<'a> {
    keys: Vec<&'a [u8]>,
    hash_keys: Vec<&'a [u8]>,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    key: u64,
    hash_key: Option<u64>,
    data: &'a [u8],
}

impl<'a> Tables<'a> {
    fn read(message: &'a [u8]) -> Result<Tables<'a>, Malformed> {
        let mut tables = Tables::default();
        for field in fields(message)? {
            match field {
                (1, Value::Bytes(key)) => tables.keys.push(key),
                (2, Value::Bytes(key)) => tables.hash_keys.push(key),
                (3, Value::Bytes(entry)) => tables.entries.push(Entry::read(entry)?),
                _ => {}
            }
        }
        Ok(tables)
    }

    fn aggregate(&self) -> Aggregate {
        let mut users = Vec::new();
        for (place, entry) in self.entries.iter().enumerate() {
            match self.resolve(entry) {
                Ok(user) => users.push(user),
                Err(Unresolved::Outside) => {
                    return Aggregate {
                        users: Vec::new(),
                        loss: Some(Loss::Outside),
                    };
                }
                Err(Unresolved::Broken) => {
                    let loss = Some(Loss::Broken(place + 1));
                    return Aggregate { users, loss };
                }
            }
        }
        Aggregate { users, loss: None }
    }

    fn resolve(&self, entry: &Entry<'_>) -> Result<User, Unresolved> {
        let key = at(&self.keys, entry.key)?;
        let hash_key = entry.hash_key.map(|index| at(&self.hash_keys, index));
        Ok(User {
            key: String::from_utf8_lossy(key).into_owned(),
            hash_key: hash_key.transpose()?.map(hash_key_of).transpose()?,
            data: entry.data.to_vec(),
        })
    }
}

impl<'a> Entry<'a> {
    fn read(message: &'a [u8]) -> Result<Entry<'a>, Malformed> {
        let (mut key, mut hash_key, mut data) = (None, None, None);
        for field in fields(message)? {
            match field {
                (1, Value::Number(index)) => key = Some(index),
                (2, Value::Number(index)) => hash_key = Some(index),
                (3, Value::Bytes(bytes)) => data = Some(bytes),
                _ => {}
            }
        }
        Ok(Entry {
            key: key.ok_or(Malformed)?,
            hash_key,
            data: data.ok_or(Malformed)?,
        })
    }
}

/// Why an entry stands for no record.
enum Unresolved {
    Outside,
    Broken,
}

/// An entry of a table. The daemon takes the lower 32 bits of an index, as a Java `int`.
fn at<'a>(table: &[&'a [u8]], index: u64) -> Result<&'a [u8], Unresolved> {
    let index = usize::try_from(index as i32).map_err(|_| Unresolved::Broken)?;
    table.get(index).copied().ok_or(Unresolved::Broken)
}

/// A hash key as Java's `BigInteger` reads it.
fn hash_key_of(text: &[u8]) -> Result<u128, Unresolved> {
    let text = std::str::from_utf8(text).map_err(|_| Unresolved::Broken)?;
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Unresolved::Broken);
    }
    match digits.parse() {
        Ok(number) if !is_negative || number == 0 => Ok(number),
        _ => Err(Unresolved::Outside),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `aws kinesis get-records` printed of an aggregate with three records of two keys.
    const KPL: &str = "84mawgoFbm9ydGgKBXNvdXRoGgwIABoIYXBwbGVzIDMaCwgBGgdwZWFycyAyGgwIABoIcGx1bXMgMTJVsY1POalvg1Cib5ZPEFyn";

    fn stored(data: String) -> InputRecord {
        InputRecord {
            data,
            partition_key: Some("a".to_owned()),
            position: Position::new("49", 0),
            arrival: Some(7),
            ..InputRecord::default()
        }
    }

    fn packed(message: &[u8]) -> String {
        STANDARD.encode([&MAGIC[..], message, &Md5::digest(message)].concat())
    }

    /// Key, payload, hash key and position of each.
    fn shown(records: &[InputRecord]) -> Vec<String> {
        let shown = records.iter().map(|record| {
            let data = STANDARD.decode(&record.data).expect("base64");
            format!(
                "{} {} {:?} {}",
                record.partition_key.as_deref().unwrap_or_default(),
                String::from_utf8_lossy(&data),
                record.hash_key,
                record.position.as_ref().expect("one"),
            )
        });
        shown.collect()
    }

    #[test]
    fn an_aggregate_becomes_the_producers_records() {
        let found = take_apart(vec![
            stored(KPL.to_owned()),
            stored(STANDARD.encode("figs 1")),
        ]);
        assert_eq!((found.aggregates, found.losses.len()), (1, 0));
        assert_eq!(
            shown(&found.records),
            [
                "north apples 3 None 49.0",
                "south pears 2 None 49.1",
                "north plums 12 None 49.2",
                "a figs 1 None 49.0",
            ]
        );
        let origins: Vec<Origin> = found.records.iter().map(|record| record.origin).collect();
        assert_eq!(
            origins,
            [
                Origin::Aggregate,
                Origin::SameAggregate,
                Origin::SameAggregate,
                Origin::Stream
            ]
        );
        assert!(found.records.iter().all(|record| record.arrival == Some(7)));
    }

    #[test]
    fn what_only_looks_like_an_aggregate_goes_whole() {
        let mut wrong_digest = STANDARD.decode(KPL).expect("base64");
        *wrong_digest.last_mut().expect("a byte") ^= 1;
        for (what, payload) in [
            ("a wrong MD5", STANDARD.encode(&wrong_digest)),
            ("the magic number alone", STANDARD.encode(MAGIC)),
            ("no message", packed(b"")),
            ("no protobuf", packed(b"\x0b")),
            ("no data", packed(b"\x0a\x01k\x1a\x02\x08\x00")),
            ("no key", packed(b"\x0a\x01k\x1a\x03\x1a\x01x")),
            (
                "another kind of field",
                packed(b"\x0a\x01k\x1a\x05\x0a\x00\x1a\x01x"),
            ),
        ] {
            let found = take_apart(vec![stored(payload.clone())]);
            assert_eq!(found.aggregates, 0, "{what}");
            assert_eq!(found.records, [stored(payload)], "{what}");
        }
        let user = InputRecord {
            origin: Origin::Aggregate,
            ..stored(KPL.to_owned())
        };
        assert_eq!(take_apart(vec![user.clone()]).records, [user], "only once");
    }

    /// One record with this hash key, after one without any.
    fn with_hash_key(digits: &str) -> String {
        let mut message = b"\x0a\x01k\x1a\x05\x08\x00\x1a\x01x\x12".to_vec();
        message.push(digits.len() as u8);
        message.extend_from_slice(digits.as_bytes());
        message.extend_from_slice(b"\x1a\x07\x08\x00\x10\x00\x1a\x01y");
        packed(&message)
    }

    #[test]
    fn an_explicit_hash_key_says_where_a_record_belongs() {
        let most = u128::MAX.to_string();
        for (digits, key) in [("17", 17), ("+017", 17), ("-0", 0), (&most, u128::MAX)] {
            let found = take_apart(vec![stored(with_hash_key(digits))]);
            let keys: Vec<_> = found.records.iter().map(|record| record.hash_key).collect();
            assert_eq!(keys, [None, Some(key)], "{digits}");
            assert!(found.losses.is_empty(), "{digits}");
        }
    }

    #[test]
    fn what_the_daemon_does_not_hand_over_is_told() {
        // 2^128, which is one too many, and a negative number.
        for digits in ["340282366920938463463374607431768211456", "-1"] {
            let found = take_apart(vec![stored(with_hash_key(digits))]);
            assert_eq!((found.aggregates, found.records.len()), (1, 0), "{digits}");
            assert!(
                found.losses[0]
                    .contains("record 1 is an aggregate that the daemon silently discards")
            );
        }
        let no_such_key = packed(b"\x0a\x01k\x1a\x05\x08\x00\x1a\x01x\x1a\x05\x08\x01\x1a\x01y");
        for payload in [with_hash_key("north"), with_hash_key(""), no_such_key] {
            let found = take_apart(vec![stored(payload)]);
            assert_eq!(shown(&found.records), ["k x None 49.0"]);
            assert!(found.losses[0].contains("whose user record 2 lacks its key"));
        }
    }
}
