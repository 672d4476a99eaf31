//! A halt stops the whole worker in an orderly way: the daemon is asked to end, and stores what all shards have done.

use std::time::{Duration, Instant};

use crate::harness::{Application, Case, Record, tests};

/// Java's exit code after SIGTERM, which a halt sends it.
const TERMINATED: Option<i32> = Some(143);

/// What the daemon waits for, at most.
const GRACE: Duration = Duration::from_secs(60);

/// No checkpoint comes before the final one.
const OPTIONS: &str = "--checkpoint-every 0 --max-attempts 1 --on-failure halt";

tests! {
    a_halt_stores_the_checkpoints_of_all_shards_and_hands_no_record_over_twice:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_read_ahead kcl2_per_record kcl1_per_record;
}

fn a_halt_stores_the_checkpoints_of_all_shards_and_hands_no_record_over_twice(case: Case) {
    let mut application = Application::new(case, OPTIONS);
    let [left, right] = application.shards();
    let good = application.stream.put(&right, &Record::many(20));
    let daemon = application.start_with(&[
        "--set",
        &format!("shutdownGraceMillis={}", GRACE.as_millis()),
    ]);
    daemon.until("the good shard", || application.journal.has(&good));

    let bad = application
        .stream
        .put(&left, &Record::many_with(20, 10, "poison"));
    let put = Instant::now();
    assert_eq!(daemon.wait(), TERMINATED);
    assert!(put.elapsed() < GRACE, "the grace was waited out");
    let log = application.lines("kclpipe.log");
    let asks = log
        .iter()
        .filter(|line| line.contains("asked the daemon to stop"));
    assert_eq!(asks.count(), 1);
    application.assert_checkpointed(&good[19]);
    application.assert_checkpointed(&bad[9]);
    application
        .journal
        .assert_done_once(&[&good[..], &bad[..10]].concat());
    assert!(application.journal.last(&bad[11]).is_none());
    application.wait_until_nothing_runs();
}
