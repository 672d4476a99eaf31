//! A daemon that is asked to end leaves the final checkpoint behind, and no process.

use crate::harness::{Application, Case, Daemon, Held, Record, Sent, tests};

/// Java's exit code after SIGTERM.
const TERMINATED: Option<i32> = Some(143);

/// No checkpoint comes before the final one.
const ONLY_FINAL: &str = "--checkpoint-every 0";

tests! {
    sigterm_to_java_checkpoints_the_last_done_record:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_read_ahead kcl3_window kcl2_per_record kcl1_per_record;
    sigterm_to_java_lets_the_record_in_progress_finish:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_fan_out kcl3_read_ahead kcl3_window
        kcl2_per_record kcl1_per_record;
    a_slow_record_is_finished_at_sigterm: kcl3_read_ahead kcl3_window;
    a_slow_record_is_finished_when_its_lease_is_handed_over: kcl3_read_ahead kcl3_window;
    sigterm_to_the_group_checkpoints_the_last_done_record:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_read_ahead kcl3_window kcl2_per_record kcl1_per_record;
    sigterm_to_the_group_checkpoints_what_was_done_before_a_record_that_never_ends:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_read_ahead kcl3_window;
}

fn sigterm_to_java_checkpoints_the_last_done_record(case: Case) {
    end_when_idle(case, Daemon::terminate);
}

fn sigterm_to_the_group_checkpoints_the_last_done_record(case: Case) {
    end_when_idle(case, Daemon::terminate_group);
}

fn end_when_idle(case: Case, terminate: fn(&Daemon)) {
    let mut application = Application::new(case, ONLY_FINAL);
    let [left, right] = application.put_on_both(&Record::many(20));
    let daemon = application.start();
    daemon.until("all records", || {
        application.journal.has(&[&left[..], &right].concat())
    });

    terminate(&daemon);
    assert_eq!(daemon.wait(), TERMINATED);
    application.assert_checkpointed(&left[19]);
    application.assert_checkpointed(&right[19]);
    application.wait_until_nothing_runs();
}

fn sigterm_to_java_lets_the_record_in_progress_finish(case: Case) {
    let mut application = Application::new(case, ONLY_FINAL);
    let [left, right] = application.shards();
    let left = application
        .stream
        .put(&left, &Record::many_with(20, 10, "hold"));
    let right = application.stream.put(&right, &Record::many(20));
    let daemon = application.start();
    daemon.until("the idle shard", || application.journal.has(&right));
    daemon.until("the held record", || application.journal.is_held(&left[10]));

    daemon.terminate();
    // The final checkpoint of the idle shard tells that the end has begun.
    daemon.until("the idle shard's end", || {
        application.is_checkpointed(&right[19])
    });
    application.release();
    assert_eq!(daemon.wait(), TERMINATED);
    application.assert_checkpointed(&left[last_of(case, 10)]);
    application.wait_until_nothing_runs();
    assert_the_rest_follows(application, &[left, right].concat());
}

/// The last of twenty records that is done once no handler is started any more and this one is in progress:
/// what was read ahead is dropped, and a batch is finished.
fn last_of(case: Case, in_progress: usize) -> usize {
    match case.held {
        Held::Nothing | Held::Window => 19,
        Held::ReadAhead => in_progress,
    }
}

/// What was dropped, if anything was, comes in the next life, and nothing else.
fn assert_the_rest_follows(mut application: Application, sent: &[Sent]) {
    if !application.journal.has(sent) {
        let daemon = application.restart();
        daemon.until("all records", || application.journal.has(sent));
    }
    application.journal.assert_done_once(sent);
}

fn a_slow_record_is_finished_at_sigterm(case: Case) {
    let (mut application, left) = with_a_slow_record(case);
    let daemon = application.start();
    daemon.until("the slow record", || application.journal.is_held(&left[10]));
    daemon.terminate();
    assert_eq!(daemon.wait(), TERMINATED);
    application.assert_checkpointed(&left[last_of(case, 10)]);
    application.wait_until_nothing_runs();
    assert_the_rest_follows(application, &left);
}

/// The new owner, which never comes, leaves the lease to the old one.
fn a_slow_record_is_finished_when_its_lease_is_handed_over(case: Case) {
    let (mut application, left) = with_a_slow_record(case);
    let daemon = application.start();
    daemon.until("the slow record", || application.journal.is_held(&left[10]));
    application.leases.ask_for(&left[10].shard, "somebody else");
    daemon.until("the request", || is_asked_to_end(&application));
    assert!(
        application.journal.is_held(&left[10]),
        "it goes on meanwhile"
    );
    daemon.until("its checkpoint", || {
        application.is_checkpointed(&left[last_of(case, 10)])
    });
    daemon.until("all records", || application.journal.has(&left));
    application.journal.assert_done_once(&left);
}

fn is_asked_to_end(application: &Application) -> bool {
    let log = application.lines("kclpipe.log");
    log.iter()
        .any(|line| line.contains("the daemon asks for an orderly shutdown"))
}

fn with_a_slow_record(case: Case) -> (Application, Vec<Sent>) {
    let application = Application::new(case, ONLY_FINAL);
    let [left, _] = application.shards();
    let left = application
        .stream
        .put(&left, &Record::many_with(20, 10, "slow"));
    (application, left)
}

/// kclpipe gets the signal too and says what it has, as Java may not wait for the record.
fn sigterm_to_the_group_checkpoints_what_was_done_before_a_record_that_never_ends(case: Case) {
    let mut application = Application::new(case, ONLY_FINAL);
    let shards = application.put_on_both(&Record::many_with(20, 10, "hold"));
    let daemon = application.start();
    for sent in &shards {
        daemon.until("the held record", || application.journal.is_held(&sent[10]));
    }

    daemon.terminate_group();
    assert_eq!(daemon.wait(), TERMINATED);
    application.wait_until_nothing_runs();
    for sent in &shards {
        application.assert_checkpointed(&sent[9]);
    }
}
