//! The made-up stream: which shard a record is in, and what number and key it has there.

use md5::{Digest, Md5};

use super::input::{InputRecord, Origin};
use crate::record::Position;

/// The start of a made-up sequence number; sixteen digits follow, so that it has 56 as Kinesis' own.
const PREFIX: &str = "4959033827149025660855969253836157109592";

/// A record in its shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The payload in base64.
    pub data: String,
    /// The partition key.
    pub partition_key: String,
    /// Its number; numbers increase strictly within a shard.
    pub position: Position,
    /// When it came into the stream, in milliseconds since the epoch.
    pub arrival: i64,
}

/// The records of each shard, in the order of the input, and the shards whose records were numbered anew
/// although the input has numbers.
///
/// A record without a key has `key-N` where N is its number in the input, from 1; one without a time came
/// `now`, in milliseconds since the epoch. What is in one aggregate has one number.
pub(crate) fn deal(
    input: Vec<InputRecord>,
    shards: usize,
    now: i64,
) -> (Vec<Vec<Record>>, Vec<usize>) {
    let mut dealt: Vec<Vec<(Position, InputRecord)>> = vec![Vec::new(); shards];
    let (mut number, mut sub) = (0, 0);
    for mut record in input {
        (number, sub) = match record.origin {
            Origin::SameAggregate => (number, sub + 1),
            Origin::Stream | Origin::Aggregate => (number + 1, 0),
        };
        let key = record
            .partition_key
            .get_or_insert_with(|| format!("key-{number}"));
        let shard = shard_of(hash_of(key, record.hash_key), shards);
        dealt[shard].push((made_up(number, sub), record));
    }
    let renumbered = dealt.iter().enumerate().filter(|(_, records)| {
        !is_increasing(records) && records.iter().any(|(_, record)| record.position.is_some())
    });
    let renumbered = renumbered.map(|(shard, _)| shard).collect();
    let placed = dealt
        .into_iter()
        .map(|records| place(records, now))
        .collect();
    (placed, renumbered)
}

/// Where a record belongs: its explicit hash key, or the MD5 of its partition key.
fn hash_of(key: &str, explicit: Option<u128>) -> u128 {
    explicit.unwrap_or_else(|| u128::from_be_bytes(Md5::digest(key.as_bytes()).into()))
}

/// The shard whose range of hash keys holds `hash`, where the shards share the range evenly.
fn shard_of(hash: u128, shards: usize) -> usize {
    match shards as u128 {
        0 | 1 => 0,
        // 2^128 / count, which is one more than what fits where count divides it.
        count => (hash / ((u128::MAX - (count - 1)) / count + 1)).min(count - 1) as usize,
    }
}

/// Whether every record has a number and the numbers can stand in one shard.
fn is_increasing(records: &[(Position, InputRecord)]) -> bool {
    let positions: Option<Vec<&Position>> = records
        .iter()
        .map(|(_, record)| record.position.as_ref())
        .collect();
    positions.is_some_and(|positions| positions.is_sorted_by(|a, b| a < b))
}

fn place(records: Vec<(Position, InputRecord)>, now: i64) -> Vec<Record> {
    let keep = is_increasing(&records);
    records
        .into_iter()
        .map(|(made_up, record)| Record {
            data: record.data,
            partition_key: record.partition_key.unwrap_or_default(),
            position: record.position.filter(|_| keep).unwrap_or(made_up),
            arrival: record.arrival.unwrap_or(now),
        })
        .collect()
}

fn made_up(number: usize, sub: u64) -> Position {
    Position {
        sequence_number: format!("{PREFIX}{number:016}"),
        sub_sequence_number: sub,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: Option<&str>, number: Option<(&str, u64)>) -> InputRecord {
        InputRecord {
            partition_key: key.map(str::to_owned),
            position: number.and_then(|(number, sub)| Position::new(number, sub)),
            ..InputRecord::default()
        }
    }

    fn positions(records: &[Record]) -> Vec<String> {
        records
            .iter()
            .map(|record| record.position.to_string())
            .collect()
    }

    #[test]
    fn keys_and_numbers_are_made_up_from_the_records_place() {
        let (shards, renumbered) = deal(vec![record(None, None), record(Some("k"), None)], 1, 7);
        assert!(renumbered.is_empty());
        let keys: Vec<&str> = shards[0].iter().map(|r| r.partition_key.as_str()).collect();
        assert_eq!(keys, ["key-1", "k"]);
        assert_eq!(shards[0][1].position.sequence_number.len(), 56);
        assert!(shards[0][0].position < shards[0][1].position);
        assert_eq!(shards[0][0].arrival, 7);
    }

    #[test]
    fn own_numbers_stay_if_they_increase() {
        let input = [("9", 0), ("10", 0), ("10", 1), ("11", 0)].map(|n| record(None, Some(n)));
        let (shards, renumbered) = deal(input.to_vec(), 1, 0);
        assert!(renumbered.is_empty());
        assert_eq!(positions(&shards[0]), ["9.0", "10.0", "10.1", "11.0"]);
    }

    #[test]
    fn numbers_that_do_not_increase_or_are_missing_are_made_anew() {
        for second in [Some(("9", 0)), Some(("9", 1)), None] {
            let input = vec![record(None, Some(("9", 1))), record(None, second)];
            let (shards, renumbered) = deal(input, 1, 0);
            assert_eq!(renumbered, [0]);
            assert!(positions(&shards[0])[0].starts_with(PREFIX));
        }
    }

    /// The hashes are from `printf KEY | md5sum`.
    #[test]
    fn a_key_is_in_the_shard_that_kinesis_puts_it_in() {
        for (key, hash) in [
            ("a", 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661_u128),
            ("b", 0x92eb_5ffe_e6ae_2fec_3ad7_1c77_7531_578f),
            ("e", 0xe167_1797_c52e_15f7_6338_0b45_e841_ec32),
        ] {
            assert_eq!(hash_of(key, None), hash);
            assert_eq!(shard_of(hash, 1), 0);
            assert_eq!(shard_of(hash, 2), (hash >> 127) as usize);
            assert_eq!(shard_of(hash, 4), (hash >> 126) as usize);
            // The second of three shards starts at 113427455640312821154458202477256070485.
            let third = 113_427_455_640_312_821_154_458_202_477_256_070_485;
            assert_eq!(shard_of(hash, 3), (hash / third) as usize);
        }
    }

    #[test]
    fn an_explicit_hash_key_goes_before_the_partition_key() {
        let of = |hash_key| InputRecord {
            hash_key,
            ..record(Some("a"), None)
        };
        let (shards, _) = deal(vec![of(None), of(Some(u128::MAX))], 2, 0);
        assert_eq!((shards[0].len(), shards[1].len()), (1, 1));
    }

    #[test]
    fn an_aggregate_has_one_made_up_number() {
        let of = |origin| InputRecord {
            origin,
            ..record(None, None)
        };
        let origins = [
            Origin::Stream,
            Origin::Aggregate,
            Origin::SameAggregate,
            Origin::SameAggregate,
            Origin::Stream,
        ];
        let (shards, _) = deal(origins.map(of).to_vec(), 1, 0);
        let ends: Vec<String> = positions(&shards[0])
            .iter()
            .map(|position| position[PREFIX.len() + 14..].to_owned())
            .collect();
        assert_eq!(ends, ["01.0", "02.0", "02.1", "02.2", "03.0"]);
        assert_eq!(shards[0][4].partition_key, "key-3");
    }
}
