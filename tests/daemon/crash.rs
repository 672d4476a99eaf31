//! Whatever is killed, no record is lost, and only what came after the last checkpoint is handed
//! over again.

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Application, Case, Daemon, Record, Sent, tests};

tests! {
    killing_java_in_the_middle_of_a_record_loses_none:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_read_ahead kcl3_window
        kcl2_read_ahead kcl2_window kcl1_read_ahead kcl1_window;
    killing_java_in_full_flow_loses_no_record:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_fan_out kcl3_read_ahead kcl3_window
        kcl2_read_ahead kcl2_window kcl1_read_ahead kcl1_window;
    killing_kclpipe_loses_no_record:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_read_ahead kcl3_window
        kcl2_read_ahead kcl2_window kcl1_read_ahead kcl1_window;
    killing_a_handler_repeats_its_record_alone:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_read_ahead kcl3_window
        kcl2_read_ahead kcl2_window kcl1_read_ahead kcl1_window;
}

/// A checkpoint now and then, but not by the clock.
const EVERY_20: &str = "--checkpoint-every 0 --checkpoint-records 20";

/// One of the shards holds a single aggregate, so its checkpoints are inside of that.
fn killing_java_in_the_middle_of_a_record_loses_none(case: Case) {
    let mut application = Application::new(case, EVERY_20);
    let [left, right] = application.shards();
    let records = Record::many_with(100, 70, "hold");
    let shards = [
        application.stream.put(&left, &records),
        application.stream.put_aggregate(&right, &records),
    ];
    let daemon = application.start();
    for sent in &shards {
        daemon.until("the held record", || application.journal.is_held(&sent[70]));
        // 70 are done, so less than 20 of them are not checkpointed yet.
        daemon.until("the checkpoint", || {
            application.is_checkpointed_past(&sent[49])
        });
    }
    daemon.kill();
    assert_next_life_goes_on(application, daemon, &shards.concat());
}

fn killing_java_in_full_flow_loses_no_record(case: Case) {
    let mut application = Application::new(case, EVERY_20);
    let shards = application.put_on_both(&Record::many(1_000));
    let daemon = application.start();
    daemon.until("the flow", || application.journal.entries().len() > 300);
    daemon.kill();
    assert_next_life_goes_on(application, daemon, &shards.concat());
}

fn killing_kclpipe_loses_no_record(case: Case) {
    let mut application = Application::new(case, EVERY_20);
    let [left, right] = application.shards();
    let left = application
        .stream
        .put(&left, &Record::many_with(100, 70, "hold"));
    let right = application.stream.put(&right, &Record::many(100));
    let daemon = application.start();
    daemon.until("the held record", || application.journal.is_held(&left[70]));
    let killed = application
        .journal
        .last(&left[70])
        .cloned()
        .expect("it is held");
    kill(killed.kclpipe);
    assert_eq!(
        daemon.wait(),
        Some(1),
        "a daemon ends with any of its children"
    );
    assert_next_life_goes_on(application, daemon, &[left, right].concat());
}

/// The record is tried again by the same kclpipe, and neither shard is disturbed.
fn killing_a_handler_repeats_its_record_alone(case: Case) {
    let mut application = Application::new(case, "--retry-delay 100ms");
    let shards = application.put_on_both(&Record::many_with(20, 10, "hold"));
    let [left, _] = &shards;
    let daemon = application.start();
    daemon.until("the held record", || application.journal.is_held(&left[10]));
    let first = application
        .journal
        .last(&left[10])
        .expect("it is held")
        .clone();
    kill(first.handler);
    daemon.until("the next attempt", || {
        let next = application.journal.last(&left[10]).expect("it was held");
        next.handler != first.handler
            && next.kclpipe == first.kclpipe
            && next.attempt > first.attempt
    });
    application.release();
    daemon.until("all records", || application.journal.has(&shards.concat()));
    application.journal.assert_done_once(&shards.concat());
}

/// Waits until nothing is left of the daemon's life, and has another one finish the work.
#[track_caller]
fn assert_next_life_goes_on(mut application: Application, daemon: Daemon, sent: &[Sent]) {
    daemon.wait();
    application.wait_until_nothing_runs();
    let before = application.journal.entries().len();
    let checkpoints = application.checkpoints();

    application.release();
    let daemon = application.restart();
    daemon.until("all records", || application.journal.has(sent));
    application.journal.assert_done(sent);
    application.journal.assert_resumed(before, &checkpoints);
}

fn kill(process: Pid) {
    kill_process(process, Signal::KILL).expect("a process can be killed");
}
