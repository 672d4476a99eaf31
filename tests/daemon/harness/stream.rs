//! A Kinesis stream: putting records, splitting and merging.

use std::cmp::Ordering;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::aggregate;
use super::service::Service;
use super::wait;

/// A place in a shard. Sequence numbers are decimal and too long for any integer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Position {
    pub(crate) sequence: String,
    pub(crate) sub: u64,
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |position: &Self| {
            (
                position.sequence.len(),
                position.sequence.clone(),
                position.sub,
            )
        };
        rank(self).cmp(&rank(other))
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.sequence, self.sub)
    }
}

/// What is put into a stream.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
}

impl Record {
    /// A record with this partition key.
    pub(crate) fn new(key: &str, data: impl Into<Vec<u8>>) -> Self {
        Self {
            key: key.into(),
            data: data.into(),
        }
    }

    /// Many small ones, each different.
    pub(crate) fn many(count: usize) -> Vec<Self> {
        (0..count)
            .map(|n| Self::new(&format!("key {n}"), format!("record {n}")))
            .collect()
    }

    /// The same, but one of them has an order to the handler for its key.
    pub(crate) fn many_with(count: usize, index: usize, order: &str) -> Vec<Self> {
        let mut records = Self::many(count);
        records[index].key = order.into();
        records
    }
}

/// A record with the place that it got.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) shard: String,
    pub(crate) at: Position,
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
}

/// A shard, as the stream describes it.
#[derive(Clone, Debug)]
pub(crate) struct Shard {
    pub(crate) id: String,
    pub(crate) first_hash: u128,
    pub(crate) last_hash: u128,
    open: bool,
}

/// A stream of its own for each test.
pub(crate) struct Stream {
    service: Service,
    pub(crate) name: String,
}

impl Stream {
    /// Creates one with so many shards of equal size.
    pub(crate) fn create(service: &Service, name: &str, shards: u32) -> Self {
        service.call(
            "CreateStream",
            &json!({ "StreamName": name, "ShardCount": shards }),
        );
        let stream = Self {
            service: service.clone(),
            name: name.into(),
        };
        stream.wait_until_active();
        stream
    }

    /// The shards that take records, in the order of their hash keys: neighbours may be merged.
    pub(crate) fn open_shards(&self) -> Vec<Shard> {
        let reply = self
            .service
            .call("ListShards", &json!({ "StreamName": self.name }));
        let shards = reply["Shards"].as_array().expect("a stream has shards");
        let mut open: Vec<Shard> = shards
            .iter()
            .map(shard)
            .filter(|shard| shard.open)
            .collect();
        open.sort_by_key(|shard| shard.first_hash);
        open
    }

    /// Puts records into one shard, whatever their keys are.
    pub(crate) fn put(&self, shard: &Shard, records: &[Record]) -> Vec<Sent> {
        records
            .chunks(500)
            .flat_map(|chunk| self.put_at_once(shard, chunk))
            .collect()
    }

    /// Puts records as one aggregate of the Kinesis Producer Library.
    pub(crate) fn put_aggregate(&self, shard: &Shard, records: &[Record]) -> Vec<Sent> {
        // KCL drops an aggregate with a record that belongs to another shard, hence the explicit
        // hash key.
        let data = aggregate::encode(records, shard.first_hash);
        let whole = self.put(shard, &[Record::new("aggregate", data)]).remove(0);
        let place = |(sub, record): (u64, &Record)| {
            let at = Position {
                sequence: whole.at.sequence.clone(),
                sub,
            };
            Sent {
                shard: whole.shard.clone(),
                at,
                key: record.key.clone(),
                data: record.data.clone(),
            }
        };
        (0..).zip(records).map(place).collect()
    }

    /// Splits a shard in the middle.
    pub(crate) fn split(&self, shard: &Shard) {
        let middle = shard.first_hash + (shard.last_hash - shard.first_hash) / 2;
        let request = json!({
            "StreamName": self.name,
            "ShardToSplit": shard.id,
            "NewStartingHashKey": middle.to_string(),
        });
        self.service.call("SplitShard", &request);
        self.wait_until_active();
    }

    /// Merges two neighbours.
    pub(crate) fn merge(&self, one: &Shard, other: &Shard) {
        let request = json!({
            "StreamName": self.name,
            "ShardToMerge": one.id,
            "AdjacentShardToMerge": other.id,
        });
        self.service.call("MergeShards", &request);
        self.wait_until_active();
    }

    fn put_at_once(&self, shard: &Shard, records: &[Record]) -> Vec<Sent> {
        let entry = |record: &Record| {
            json!({
                "Data": BASE64_STANDARD.encode(&record.data),
                "PartitionKey": record.key,
                "ExplicitHashKey": shard.first_hash.to_string(),
            })
        };
        let entries: Vec<Value> = records.iter().map(entry).collect();
        let reply = self.service.call(
            "PutRecords",
            &json!({ "StreamName": self.name, "Records": entries }),
        );
        let places = reply["Records"]
            .as_array()
            .expect("every record has a result");
        let place = |(record, place): (&Record, &Value)| {
            assert_eq!(place["ShardId"], shard.id.as_str());
            let at = Position {
                sequence: text(&place["SequenceNumber"]),
                sub: 0,
            };
            Sent {
                shard: shard.id.clone(),
                at,
                key: record.key.clone(),
                data: record.data.clone(),
            }
        };
        records.iter().zip(places).map(place).collect()
    }

    fn wait_until_active(&self) {
        wait::until("the stream to be active", || {
            let reply = self
                .service
                .call("DescribeStreamSummary", &json!({ "StreamName": self.name }));
            reply["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
        });
    }
}

fn shard(description: &Value) -> Shard {
    let hash = |name: &str| {
        text(&description["HashKeyRange"][name])
            .parse()
            .expect("a hash key is a number")
    };
    Shard {
        id: text(&description["ShardId"]),
        first_hash: hash("StartingHashKey"),
        last_hash: hash("EndingHashKey"),
        open: description["SequenceNumberRange"]["EndingSequenceNumber"].is_null(),
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("it is a string").to_owned()
}
