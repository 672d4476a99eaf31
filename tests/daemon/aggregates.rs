//! `kclpipe replay` takes aggregates apart as the daemon's own class does, whole ones and broken ones
//! (`support/Aggregates.java`).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kclpipe::testing::replay::Rng;
use kclpipe::testing::replay::aggregate::take_apart;
use kclpipe::testing::replay::input::InputRecord;
use md5::{Digest, Md5};

use crate::harness::{Record, aggregate, java};

/// A record as it is handed over: place, key, payload in base64, explicit hash key.
type Handed = (u64, String, String, Option<u128>);

/// What is handed over of a payload, or that it is an aggregate that is broken.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Handed(Vec<Handed>),
    Broken,
}

/// What the daemon's class makes of each payload.
fn asked(jars: &str, payloads: &[String]) -> Vec<Told> {
    let said = java("Aggregates.java", jars, payloads.join("\n"));
    let mut told: Vec<Told> = Vec::new();
    // The daemon's log is on stdout, too.
    for line in said.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["payload"] => told.push(Told::Handed(Vec::new())),
            ["broken"] => *told.last_mut().expect("a payload") = Told::Broken,
            ["record", sub, key, data, hash_key] => {
                let Some(Told::Handed(records)) = told.last_mut() else {
                    panic!("{line} without a payload");
                };
                let sub = sub.parse().expect("a number");
                records.push((sub, text_of(key), data.to_owned(), hash_key.parse().ok()));
            }
            _ => {}
        }
    }
    told
}

fn text_of(base64: &str) -> String {
    String::from_utf8(STANDARD.decode(base64).expect("base64")).expect("UTF-8")
}

/// What replay makes of a payload.
fn taken_apart(payload: &str) -> Told {
    let whole = InputRecord {
        data: payload.to_owned(),
        partition_key: Some("whole".to_owned()),
        ..InputRecord::default()
    };
    let found = take_apart(vec![whole]);
    if found
        .losses
        .iter()
        .any(|loss| loss.contains("lacks its key"))
    {
        return Told::Broken;
    }
    let handed = (0..).zip(found.records);
    let handed = handed.map(|(sub, record)| {
        let key = record.partition_key.expect("each has one");
        (sub, key, record.data, record.hash_key)
    });
    Told::Handed(handed.collect())
}

/// An aggregate of a few records, sealed again after a few of its bytes were changed, taken out or put in.
fn broken(chance: &mut Rng) -> String {
    let records = ["north", "süd", "", "east"].map(|key| Record::new(key, key.repeat(2)));
    let hash_key = chance.one_of(&[0, 17, u128::MAX]);
    let whole = aggregate::encode(&records, hash_key);
    let mut message = whole[4..whole.len() - 16].to_vec();
    for _ in 0..chance.one_of(&[0, 1, 1, 2, 3]) {
        let at = (chance.fraction() * message.len() as f64) as usize;
        let byte = chance.one_of(&[0, 1, 2, 8, 10, 16, 18, 26, b'-', b'9', 0x7f, 0x80, 0xff]);
        match chance.one_of(&[0, 1, 2, 3]) {
            0 | 1 => message[at] = byte,
            2 => drop(message.remove(at)),
            _ => message.insert(at, byte),
        }
    }
    let mut digest = Md5::digest(&message).to_vec();
    digest[0] ^= u8::from(chance.hits(0.05));
    STANDARD.encode([&whole[..4], &message, &digest].concat())
}

fn agree(jars: &str) {
    let mut chance = Rng::new(11, 0);
    let payloads: Vec<String> = (0..20_000).map(|_| broken(&mut chance)).collect();
    let told = asked(jars, &payloads);
    assert_eq!(told.len(), payloads.len());
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (payload, told) in payloads.iter().zip(told) {
        assert_eq!(taken_apart(payload), told, "{payload}");
        let kind = match &told {
            Told::Broken => "broken",
            Told::Handed(records) if records.is_empty() => "discarded",
            Told::Handed(records) if records[0].1 == "whole" => "whole",
            Told::Handed(_) => "taken apart",
        };
        *seen.entry(kind).or_default() += 1;
    }
    let is_enough = seen.values().all(|count| *count > 20);
    assert!(seen.len() == 4 && is_enough, "{seen:?}");
}

#[test]
#[ignore = "needs tests/daemon/setup and Java"]
fn kcl3_takes_the_same_apart() {
    agree("kcl-3.1.3");
}

#[test]
#[ignore = "needs tests/daemon/setup and Java"]
fn kcl2_takes_the_same_apart() {
    agree("kcl-2.5.4");
}
