//! Deaths at random moments of kclpipe, of handlers and of the daemon, while records are held over several
//! reads: nothing is lost, no checkpoint passes what is not done, and aligned batches are the same ever again.
//!
//! The larger number of deaths takes a minute or two: `cargo test --test it deaths -- --ignored`.

mod lease;
mod life;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::time::Duration;

use kclpipe::testing::replay::Rng;

use lease::{Death, Lease, Record};

/// The longest time from a start, or a death, to the next death.
const APART: Duration = Duration::from_millis(120);

/// The length of an aligned window, in milliseconds.
const WINDOW: i64 = 1_000;

/// The most records of a batch.
const SIZE: usize = 40;

/// Records of 64 keys, about twenty in a second, many of them in aggregates. A few aggregates are so large that
/// they are cut by [`SIZE`], and some records say that they arrived before the one before them, or not when.
fn records(count: usize, seed: u64) -> Vec<Record> {
    let mut rng = Rng::new(seed, 1);
    let (mut records, mut arrival) = (Vec::new(), 1_600_000_000_000);
    for sequence_number in 1.. {
        let size = match rng.fraction() {
            large if large < 0.003 => SIZE + 5,
            small if small < 0.2 => rng.from_one_to(8),
            _ => 1,
        };
        arrival += 50 * size.min(8) as i64;
        let arrival = match rng.fraction() {
            none if none < 0.01 => None,
            earlier if earlier < 0.03 => Some(arrival - 700),
            _ => Some(arrival),
        };
        for sub_sequence_number in 0..size as u64 {
            records.push(Record {
                sequence_number,
                sub_sequence_number,
                partition_key: format!("key-{}", rng.from_one_to(64)),
                arrival,
            });
        }
        if records.len() >= count {
            break;
        }
    }
    records.truncate(count);
    records
}

/// Aligned batches that become an object each, as an upload makes them: whole or not at all.
fn aligned(count: usize, seed: u64) -> Lease {
    let arguments = format!(
        "--per batch --format lines --batch-align --batch-window {WINDOW}ms --batch-size {SIZE} -I --checkpoint-batch \
         --retry-delay 10ms --retry-max-delay 20ms -- ./handler objects/{{first}}"
    );
    let script = r#"cat >"part-$$" && mv "part-$$" "$1""#;
    let lease = Lease::new(records(count, 1), &arguments, script, seed);
    fs::create_dir(lease.path("objects")).expect("made");
    lease
}

/// The objects, by the numbers of their first records.
fn objects(lease: &Lease) -> BTreeMap<usize, (String, Vec<usize>)> {
    let entries = fs::read_dir(lease.path("objects")).expect("a folder");
    let object = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).expect("text");
        let numbers: Vec<usize> = text
            .lines()
            .map(|line| line.parse().expect("a number"))
            .collect();
        let name = entry.file_name().to_string_lossy().into_owned();
        (numbers[0], (name, numbers))
    };
    entries
        .map(|entry| object(entry.expect("an entry")))
        .collect()
}

/// All borders are by arrival or, a tenth at most, by count: none by the clock, nor for want of room.
fn assert_borders(lease: &Lease, objects: &BTreeMap<usize, (String, Vec<usize>)>) {
    let arrival = |number: &usize| lease.records[number - 1].arrival;
    let window = |number: &usize| arrival(number).map(|arrival| arrival.div_euclid(WINDOW));
    let borders = objects.values().zip(objects.keys().skip(1));
    let by_count = borders.filter(|((_, batch), next)| {
        let is_by_arrival = window(next) > window(&batch[0]);
        assert!(is_by_arrival || batch.len() == SIZE, "{batch:?}");
        !is_by_arrival
    });
    let by_count = by_count.count();
    assert!(
        by_count * 10 <= objects.len(),
        "{by_count} of {}",
        objects.len()
    );
}

/// Lives in which the same batch sees no handler killed twice, for that would halve it.
fn kills(rng: &mut Rng) -> Vec<(Duration, Death)> {
    let mut death = |of: &[Death]| (rng.up_to(APART), rng.one_of(of));
    vec![
        death(&[Death::Handlers, Death::Kclpipe]),
        death(&[Death::Kclpipe, Death::Both]),
    ]
}

/// Lives with such deaths until the shard has ended; without, once this many have hit something. How many did.
fn live_through(
    lease: &mut Lease,
    deaths: fn(&mut Rng) -> Vec<(Duration, Death)>,
    most: usize,
) -> usize {
    let mut hits = 0;
    while !lease.has_ended && hits < most {
        let deaths = deaths(&mut lease.rng);
        hits += lease.live(&deaths);
    }
    if !lease.has_ended {
        lease.live_on();
    }
    hits
}

/// Aligned batches through this many deaths, in shards of this many records, one after the other.
fn aligned_batches_are_the_same(count: usize, total: usize) {
    let mut undisturbed = aligned(count, 0);
    undisturbed.live_on();
    let expected = objects(&undisturbed);
    assert_borders(&undisturbed, &expected);
    let (mut hits, mut seed) = (0, 0);
    while hits < total {
        seed += 1;
        let mut lease = aligned(count, seed);
        hits += live_through(&mut lease, kills, total - hits);
        assert_eq!(objects(&lease), expected, "{}", lease.read("log"));
    }
}

/// What handlers have done is in the file `done`, a line a record.
fn done(lease: &Lease) -> Vec<usize> {
    let text = lease.read("done");
    text.lines()
        .map(|line| line.parse().expect("a number"))
        .collect()
}

/// Everything that a checkpoint covers is done.
fn judge(lease: &Lease, through: usize) {
    let done: BTreeSet<usize> = done(lease).into_iter().collect();
    let missing: Vec<usize> = (1..=through)
        .filter(|number| !done.contains(number))
        .collect();
    assert!(
        missing.is_empty(),
        "checkpointed, but not done: {missing:?}\n{}",
        lease.read("log")
    );
}

/// Any deaths, most of them such that kclpipe lives on.
fn deaths(rng: &mut Rng) -> Vec<(Duration, Death)> {
    let all = [
        Death::Handlers,
        Death::HandlersAsked,
        Death::Kclpipe,
        Death::Both,
        Death::Daemon,
        Death::Shutdown,
    ];
    (0..10)
        .map(|_| (rng.up_to(APART), rng.one_of(&all)))
        .collect()
}

/// Shards of this many records each, one after the other, until this many deaths have hit something.
fn nothing_is_lost(way: &str, script: &str, count: usize, total: usize) {
    let arguments = format!(
        "{way} --format lines --checkpoint-records 10 --checkpoint-every 0 --stop-timeout 1s --retry-delay 5ms \
         --retry-max-delay 20ms -- ./handler"
    );
    let (mut hits, mut again, mut seed) = (0, 0, 0);
    while hits < total {
        seed += 1;
        let mut lease = Lease::new(records(count, seed), &arguments, script, seed).judged_by(judge);
        hits += live_through(&mut lease, deaths, total - hits);
        judge(&lease, count);
        again += done(&lease).len() - count;
    }
    let records = count as u64 * seed;
    let note = format!("{way}: {hits} deaths, {records} records, {again} again\n");
    let _ = io::stderr().write_all(note.as_bytes());
}

/// The ways of handing records over, with what is held, and a handler for each.
const WAYS: [(&str, &str); 4] = [
    (
        "--per record --jobs 4 --read-ahead 16KiB",
        r#"n=$(cat); echo "$n" >>done"#,
    ),
    (
        "--per batch --batch-window 30ms --batch-size 50",
        "cat >>done",
    ),
    (
        "--per batch --jobs 3 --batch-window 20ms --spool-dir .",
        "cat >>done",
    ),
    (
        "--per shard --jobs 2 --inflight 8 --read-ahead 64KiB",
        r#"i=1; while read -r n; do echo "$n" >>done; echo "$KCLPIPE_TOKEN ok $i"; i=$((i + 1)); done"#,
    ),
];

#[test]
fn nothing_is_lost_through_some_deaths() {
    for (way, script) in WAYS {
        nothing_is_lost(way, script, 200, 5);
    }
}

#[test]
#[ignore = "takes some minutes"]
fn nothing_is_lost_through_a_thousand_deaths() {
    for (way, script) in WAYS {
        nothing_is_lost(way, script, 1_000, 250);
    }
}

#[test]
fn aligned_batches_are_the_same_through_ten_kills() {
    aligned_batches_are_the_same(400, 10);
}

#[test]
#[ignore = "takes a minute"]
fn aligned_batches_are_the_same_through_two_hundred_kills() {
    aligned_batches_are_the_same(5_000, 200);
}
