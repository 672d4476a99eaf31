//! Every record arrives, with every byte.

use crate::harness::{Application, Case, Record, Retrieval, tests};

tests! {
    every_record_arrives_with_every_byte:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_fan_out kcl3_read_ahead kcl3_window
        kcl2_per_record kcl2_read_ahead kcl2_window kcl1_per_record kcl1_read_ahead kcl1_window;
}

fn every_record_arrives_with_every_byte(case: Case) {
    let mut application = Application::new(case, "");
    let [left, right] = application.shards();
    let mut sent = application.stream.put(&left, &unlike_each_other(2_500));
    sent.extend(application.stream.put(&right, &unlike_each_other(2_500)));
    sent.extend(application.stream.put(&left, &difficult()));
    sent.extend(
        application
            .stream
            .put_aggregate(&right, &unlike_each_other(25)),
    );
    sent.extend(
        application
            .stream
            .put(&right, &[Record::new("large", pseudorandom(10 << 20, 1))]),
    );
    sent.extend(
        application
            .stream
            .put(&right, &[Record::new("after", "the large one")]),
    );

    let daemon = application.start();
    daemon.until("all records", || application.journal.has(&sent));
    if case.retrieval == Retrieval::FanOut {
        daemon.until_logged("Waiting for StreamConsumer");
    }
    application.journal.assert_done_once(&sent);
    for entry in application.journal.entries() {
        assert_eq!(entry.attempt, 1);
        assert!(
            entry.arrival > 1_500_000_000_000,
            "{} is in milliseconds",
            entry.arrival
        );
    }
}

/// Small binary records of different lengths, some of them empty.
fn unlike_each_other(count: usize) -> Vec<Record> {
    (0..count)
        .map(|n| Record::new(&format!("clé {n} 鍵"), pseudorandom(n % 300, n as u64)))
        .collect()
}

/// What might be mangled on the way.
fn difficult() -> Vec<Record> {
    vec![
        Record::new(
            "a \"quoted\" \\key\u{2028}",
            "text with \"quotes\", a \\ and é",
        ),
        Record::new("text", "several\nlines\r\n\n"),
        Record::new("nul", b"\0\0".as_slice()),
        Record::new("no utf-8", b"\xff\xfe\x80\n".as_slice()),
        Record::new(
            "like an answer",
            "checkpoint\n{\"action\":\"checkpoint\"}\n",
        ),
        Record::new(&"k".repeat(256), "a key of the greatest length"),
    ]
}

/// Bytes of every value, the same in every run (xorshift64).
fn pseudorandom(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}
