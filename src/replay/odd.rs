//! Records that are hard on a child: odd partition keys, and several records under one sequence number.

use md5::{Digest, Md5};

use super::chance::Chance;
use super::stream::Record;

/// The most characters that Kinesis takes in a partition key (API reference, `PutRecord`).
const KEY: usize = 256;

/// What a key is turned into; `{}` stands for the key itself, so that different keys stay different.
const ODD: [&str; 9] = [
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

/// The odd form of `key`, for the share of keys that `rate` says; always the same one for a key and a seed,
/// so that records of one key still have one key.
pub fn key(key: &str, seed: u64, rate: f64) -> Option<String> {
    let mut hash = [0; 8];
    hash.copy_from_slice(&Md5::digest(key.as_bytes())[..8]);
    let mut chance = Chance::new(seed, u64::from_be_bytes(hash));
    chance.hits(rate).then(|| {
        let odd = chance.one_of(&ODD).replace("{}", key);
        let long = odd.ends_with('…').then(|| "…".repeat(KEY));
        odd.chars()
            .chain(long.unwrap_or_default().chars())
            .take(KEY)
            .collect()
    })
}

/// Puts records, at this rate, under the sequence number of the one before, as the user records of an
/// aggregate of the Kinesis Producer Library are. They still increase strictly.
pub fn aggregate(records: &mut [Record], rate: f64, chance: &mut Chance) {
    for at in 1..records.len() {
        if chance.hits(rate) {
            let before = records[at - 1].position.clone();
            let position = &mut records[at].position;
            position.sequence_number = before.sequence_number;
            position.sub_sequence_number = before.sub_sequence_number + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::record::Position;

    #[test]
    fn a_key_is_odd_always_in_the_same_way_and_stays_itself() {
        let odd: BTreeSet<String> = (0..200)
            .map(|n| key(&n.to_string(), 5, 1.0).expect("each"))
            .collect();
        assert_eq!(odd.len(), 200);
        assert!(
            odd.iter()
                .all(|key| (1..=KEY).contains(&key.chars().count()))
        );
        assert!(odd.iter().any(|key| key.chars().count() == KEY));
        assert!(odd.iter().any(|key| key.contains('\0')));
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
        aggregate(&mut records, 1.0, &mut Chance::new(0, 0));
        let positions = records.map(|record| record.position.to_string());
        assert_eq!(positions, ["7.0", "7.1", "7.2", "7.3"]);
        for seed in 0..50 {
            let numbers = [("7", 3), ("7", 4), ("8", 0), ("9", 0), ("9", 1), ("12", 0)];
            let mut records = numbers.map(record);
            aggregate(&mut records, 0.5, &mut Chance::new(seed, 0));
            assert!(records.is_sorted_by(|a, b| a.position < b.position));
        }
    }
}
