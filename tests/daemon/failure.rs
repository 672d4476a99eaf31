//! A record that fails holds up its own shard, and nothing else.

use crate::harness::{Application, Case, Record, tests};

tests! {
    a_record_that_fails_holds_up_only_its_own_shard: kcl3_per_record kcl3_per_batch kcl3_per_shard;
    a_dead_letter_goes_to_a_command_before_the_checkpoint_passes_its_record: kcl3_per_record;
}

fn a_record_that_fails_holds_up_only_its_own_shard(case: Case) {
    let options = "--checkpoint-every 1s --retry-delay 100ms --retry-max-delay 500ms";
    let mut application = Application::new(case, options);
    let [left, right] = application.shards();
    let bad = application
        .stream
        .put(&left, &Record::many_with(20, 10, "poison"));
    let mut good = application.stream.put(&right, &Record::many(20));
    let daemon = application.start();
    daemon.until("some attempts", || {
        application.journal.failures(&bad[10]) >= 3
    });
    daemon.until("the checkpoint before the bad record", || {
        application.is_checkpointed(&bad[9])
    });
    daemon.until("the checkpoint of the other shard", || {
        application.is_checkpointed(&good[19])
    });

    good.extend(application.stream.put(&right, &Record::many(20)));
    daemon.until("new records of the other shard", || {
        application.journal.has(&good)
    });
    application.assert_checkpointed(&bad[9]);
    assert!(
        application.journal.last(&bad[11]).is_none(),
        "no record is passed over"
    );

    application.cure();
    let sent = [bad, good].concat();
    daemon.until("all records", || application.journal.has(&sent));
    application.journal.assert_done_once(&sent);
}

fn a_dead_letter_goes_to_a_command_before_the_checkpoint_passes_its_record(case: Case) {
    let options = r#"--checkpoint-every 1s --retry-delay 100ms --retry-max-delay 500ms --max-attempts 2
                     --dead-letter-command "sh -c 'echo try >>tries; [ -e release ] && cat >>letters'""#;
    let application = Application::new(case, options);
    let [left, _] = application.shards();
    let sent = application
        .stream
        .put(&left, &Record::many_with(20, 10, "poison"));
    let daemon = application.start();
    daemon.until("the checkpoint before the bad record", || {
        application.is_checkpointed(&sent[9])
    });
    let tries = application.lines("tries").len();
    daemon.until("more tries of the command", || {
        application.lines("tries").len() >= tries + 3
    });
    application.assert_checkpointed(&sent[9]);

    application.release();
    daemon.until("the checkpoint of the last record", || {
        application.is_checkpointed(&sent[19])
    });
    let letters = application.lines("letters");
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].contains(&sent[10].at.sequence), "{letters:?}");
}
