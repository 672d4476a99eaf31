//! Shards are split and merged: the old ones end with SHARD_END, the new ones are read.

use crate::harness::{Application, Case, Checkpoint, Daemon, Record, Sent, Shard, tests};

tests! {
    after_a_split_and_a_merge_parents_are_at_their_end_and_children_are_read:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl3_fan_out kcl3_read_ahead kcl3_window
        kcl2_per_record kcl1_per_record;
    a_split_shard_is_at_its_end_when_the_hook_has_succeeded:
        kcl3_per_record kcl3_read_ahead kcl3_window kcl1_per_record;
}

fn after_a_split_and_a_merge_parents_are_at_their_end_and_children_are_read(case: Case) {
    let mut application = Application::new(case, "");
    let daemon = application.start();
    let mut sent = put_everywhere(&application);
    daemon.until("the first records", || application.journal.has(&sent));

    let [left, right] = application.shards();
    application.stream.split(&left);
    sent.extend(put_everywhere(&application));
    wait_for_end(&daemon, &application, &[left]);
    daemon.until("the records after the split", || {
        application.journal.has(&sent)
    });

    let [first, second, _] = application
        .stream
        .open_shards()
        .try_into()
        .expect("one shard was split");
    application.stream.merge(&first, &second);
    sent.extend(put_everywhere(&application));
    wait_for_end(&daemon, &application, &[first, second]);
    daemon.until("the records after the merge", || {
        application.journal.has(&sent)
    });

    application.journal.assert_done_once(&sent);
    assert_ne!(
        application.leases.checkpoint(&right.id),
        Checkpoint::ShardEnd,
        "this one is open"
    );
}

fn a_split_shard_is_at_its_end_when_the_hook_has_succeeded(case: Case) {
    let hook = r#"--retry-delay 100ms --retry-max-delay 500ms --hook "sh -c 'echo $KCLPIPE_EVENT $KCLPIPE_SHARD_ID >>hooks
                  [ $KCLPIPE_EVENT != shard-end ] || [ -e release ]'""#;
    let mut application = Application::new(case, hook);
    let daemon = application.start();
    let mut sent = put_everywhere(&application);
    daemon.until("the first records", || application.journal.has(&sent));

    let [left, _] = application.shards();
    application.stream.split(&left);
    sent.extend(put_everywhere(&application));
    let tries = || {
        let line = format!("shard-end {}", left.id);
        application
            .lines("hooks")
            .iter()
            .filter(|l| **l == line)
            .count()
    };
    daemon.until("the hook to fail again and again", || tries() >= 5);
    assert_ne!(
        application.leases.checkpoint(&left.id),
        Checkpoint::ShardEnd,
        "the hook has not succeeded"
    );

    application.release();
    wait_for_end(&daemon, &application, &[left]);
    daemon.until("the records after the split", || {
        application.journal.has(&sent)
    });
    application.journal.assert_done_once(&sent);
    let begun = |shard: &Shard| {
        let line = format!("initialize {}", shard.id);
        application.lines("hooks").contains(&line)
    };
    assert!(application.stream.open_shards().iter().all(begun));
}

fn put_everywhere(application: &Application) -> Vec<Sent> {
    let put = |shard: Shard| application.stream.put(&shard, &Record::many(100));
    application
        .stream
        .open_shards()
        .into_iter()
        .flat_map(put)
        .collect()
}

fn wait_for_end(daemon: &Daemon, application: &Application, shards: &[Shard]) {
    for shard in shards {
        daemon.until("the end of a shard", || {
            application.leases.checkpoint(&shard.id) == Checkpoint::ShardEnd
        });
    }
}
