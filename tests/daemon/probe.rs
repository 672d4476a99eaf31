//! A shard that waits for a bad record finds out whether it still has its lease: after half a
//! minute kclpipe checkpoints positions just behind the last done record, which pass over nothing
//! but must be written.

use crate::harness::{Application, Case, Checkpoint, Kcl, Record, Sent, is_alive, tests};

tests! {
    a_blocked_shard_notices_that_its_lease_was_taken:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_read_ahead kcl3_window kcl2_per_record kcl1_per_record;
    a_restart_after_a_probe_loses_and_repeats_nothing:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_read_ahead kcl3_window kcl2_per_record kcl1_per_record;
}

const OPTIONS: &str = "--checkpoint-every 1s --retry-delay 1s --retry-max-delay 2s";

fn a_blocked_shard_notices_that_its_lease_was_taken(case: Case) {
    let (mut application, [left, right]) = with_a_bad_record(case);
    let daemon = application.start();
    daemon.until("the bad record", || {
        application.journal.failures(&left[10]) > 0
    });
    daemon.until("the checkpoint before it", || {
        application.is_checkpointed(&left[9])
    });
    let blocked = application
        .journal
        .last(&left[10])
        .cloned()
        .expect("it failed");

    daemon.until("the end of the blocked kclpipe", || {
        application.leases.seize(&left[10].shard, "somebody else");
        !is_alive(blocked.kclpipe)
    });
    assert!(
        !is_alive(blocked.handler),
        "a handler ends before its kclpipe"
    );
    let answer = match case.kcl {
        Kcl::V3 | Kcl::V2 => r#""responseFor":"leaseLost""#,
        Kcl::V1 => r#""responseFor":"shutdown""#,
    };
    daemon.until("the answer", || {
        let log = application.lines("kclpipe.log");
        log.iter()
            .any(|line| line.contains("to the daemon") && line.contains(answer))
    });

    // The other worker renews its lease no more, so the daemon takes it again.
    application.cure();
    let sent = [left, right].concat();
    daemon.until("all records", || application.journal.has(&sent));
    application.journal.assert_done_once(&sent);
}

fn a_restart_after_a_probe_loses_and_repeats_nothing(case: Case) {
    let (mut application, [left, right]) = with_a_bad_record(case);
    let daemon = application.start();
    daemon.until("the checkpoint of the other shard", || {
        application.is_checkpointed(&right[19])
    });
    daemon.until("a probe", || has_probed(&application, &left[9]));
    daemon.terminate();
    daemon.wait();
    application.wait_until_nothing_runs();
    assert!(
        has_probed(&application, &left[9]),
        "the end does not go back behind the probe"
    );

    application.cure();
    let daemon = application.restart();
    let sent = [left, right].concat();
    daemon.until("all records", || application.journal.has(&sent));
    application.journal.assert_done_once(&sent);
}

/// One shard stops at its record 10, the other has nothing to stop at.
fn with_a_bad_record(case: Case) -> (Application, [Vec<Sent>; 2]) {
    let application = Application::new(case, OPTIONS);
    let [left, right] = application.shards();
    let left = application.stream.put(&left, &large_with_poison());
    let right = application.stream.put(&right, &Record::many(20));
    (application, [left, right])
}

/// More than is read ahead lies behind the bad record: while the daemon is answered, KCL tells by itself that
/// a lease was taken, and there is no probe.
fn large_with_poison() -> Vec<Record> {
    let mut records = Record::many_with(20, 10, "poison");
    for record in &mut records {
        record.data.resize(150_000, b' ');
    }
    records
}

/// Whether the checkpoint lies behind this record, but has its sequence number.
fn has_probed(application: &Application, last: &Sent) -> bool {
    match application.leases.checkpoint(&last.shard) {
        Checkpoint::At(position) => position.sequence == last.at.sequence && position > last.at,
        Checkpoint::TrimHorizon | Checkpoint::ShardEnd => false,
    }
}
