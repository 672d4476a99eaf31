//! Hostile records: strange partition keys, several records under one sequence number, and arrival times
//! that go back.

use md5::{Digest, Md5};

use super::{Fault, Faults, Rng};
use crate::replay::stream::Record;

/// The most characters that Kinesis takes in a partition key (API reference, `PutRecord`).
const KEY: usize = 256;

/// How far an arrival time goes back at most, in milliseconds.
const EARLIER: usize = 10_000;

/// What a key is turned into; `{}` stands for the key itself, so that different keys stay different.
const HOSTILE: [&str; 9] = [
    "{} é 漢字 🦀",
    "\"{}\" 'and' `so` on\\",
    " {} ",
    "-{}",
    "--{}=$(false); *",
    "{}\r\n\tline",
    "{}\u{2028}\u{feff}",
    "{}\0end",
    "{}…",
];

/// Makes the records of the shard with this number hostile, each fault at its rate.
pub fn make_hostile(records: &mut [Record], faults: &Faults, seed: u64, shard: usize) {
    for record in records.iter_mut() {
        let hostile = key(&record.partition_key, seed, faults.rate(Fault::OddKeys));
        record.partition_key = hostile.unwrap_or_else(|| std::mem::take(&mut record.partition_key));
    }
    let shard = shard as u64;
    let rate = faults.rate(Fault::Aggregate);
    aggregate(records, rate, &mut Rng::new(seed, 3 * shard + 2));
    // Counted down from the end, so that the numbers of the older faults stay what they were for a seed.
    let rate = faults.rate(Fault::ClockSkew);
    skew(records, rate, &mut Rng::new(seed, u64::MAX - 2 * shard));
}

/// The hostile form of `key`, for the share of keys that `rate` says; always the same one for a key and a seed,
/// so that records of one key still have one key.
fn key(key: &str, seed: u64, rate: f64) -> Option<String> {
    let mut hash = [0; 8];
    hash.copy_from_slice(&Md5::digest(key.as_bytes())[..8]);
    let mut rng = Rng::new(seed, u64::from_be_bytes(hash));
    rng.hits(rate).then(|| {
        let hostile = rng.one_of(&HOSTILE).replace("{}", key);
        let long = hostile.ends_with('…').then(|| "…".repeat(KEY));
        hostile
            .chars()
            .chain(long.unwrap_or_default().chars())
            .take(KEY)
            .collect()
    })
}

/// Puts records, at this rate, under the sequence number of the one before, as the user records of an
/// aggregate of the Kinesis Producer Library are. They still increase strictly.
fn aggregate(records: &mut [Record], rate: f64, rng: &mut Rng) {
    for at in 1..records.len() {
        if rng.hits(rate) {
            let before = records[at - 1].position.clone();
            let position = &mut records[at].position;
            position.sequence_number = before.sequence_number;
            position.sub_sequence_number = before.sub_sequence_number + 1;
        }
    }
}

/// Lets records, at this rate, have arrived before the previous one, as Kinesis may say: its hosts'
/// clocks differ, and the time is no part of the order.
fn skew(records: &mut [Record], rate: f64, rng: &mut Rng) {
    for at in 1..records.len() {
        if rng.hits(rate) {
            let earlier = rng.from_one_to(EARLIER) as i64;
            records[at].arrival = records[at - 1].arrival - earlier;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::record::Position;

    #[test]
    fn a_hostile_key_is_always_the_same_and_different_keys_stay_different() {
        let hostile: BTreeSet<String> = (0..200)
            .map(|n| key(&n.to_string(), 5, 1.0).expect("each"))
            .collect();
        assert_eq!(hostile.len(), 200);
        assert!(
            hostile
                .iter()
                .all(|key| (1..=KEY).contains(&key.chars().count()))
        );
        assert!(hostile.iter().any(|key| key.chars().count() == KEY));
        assert!(hostile.iter().any(|key| key.contains('\0')));
        assert_eq!(key("a", 5, 1.0), key("a", 5, 1.0));
        assert_eq!(key("a", 5, 0.0), None);
    }

    #[test]
    fn an_aggregate_has_one_number_and_positions_still_increase() {
        let record = |(number, sub): (&str, u64)| Record {
            data: String::new(),
            partition_key: "k".to_owned(),
            position: Position::new(number, sub).expect("digits"),
            arrival: 0,
        };
        let mut records = [("7", 0), ("8", 0), ("9", 0), ("9", 1)].map(record);
        aggregate(&mut records, 1.0, &mut Rng::new(0, 0));
        let positions = records.map(|record| record.position.to_string());
        assert_eq!(positions, ["7.0", "7.1", "7.2", "7.3"]);
        for seed in 0..50 {
            let numbers = [("7", 3), ("7", 4), ("8", 0), ("9", 0), ("9", 1), ("12", 0)];
            let mut records = numbers.map(record);
            aggregate(&mut records, 0.5, &mut Rng::new(seed, 0));
            assert!(records.is_sorted_by(|a, b| a.position < b.position));
        }
    }

    #[test]
    fn arrival_times_go_back_and_positions_do_not() {
        let mut records: Vec<Record> = (0..100)
            .map(|number| Record {
                data: String::new(),
                partition_key: "k".to_owned(),
                position: Position::new(&number.to_string(), 0).expect("digits"),
                arrival: 1_000_000 + number,
            })
            .collect();
        let before = records.clone();
        let faults = Faults::parse("clock-skew=0").expect("sound");
        make_hostile(&mut records, &faults, 4, 0);
        assert_eq!(records, before);
        let faults = Faults::parse("clock-skew=0.5").expect("sound");
        make_hostile(&mut records, &faults, 4, 0);
        let back = records
            .windows(2)
            .filter(|two| two[1].arrival < two[0].arrival);
        assert!((25..75).contains(&back.count()));
        assert!(records.is_sorted_by(|a, b| a.position < b.position));
    }
}
