//! Checkpoints appear in the lease table where the strategy says.

use crate::harness::{Application, Case, Checkpoint, Record, tests};

tests! {
    a_checkpoint_follows_each_so_many_records:
        kcl3_per_record kcl3_per_shard kcl2_per_record kcl1_per_record;
    a_checkpoint_follows_each_batch_and_none_comes_before:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl2_per_record kcl1_per_record;
    a_checkpoint_follows_the_clock_also_while_a_handler_runs:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl2_per_record kcl1_per_record;
    a_checkpoint_stands_where_the_handler_asked_for_it:
        kcl3_per_record kcl3_per_batch kcl3_per_shard kcl2_per_record kcl1_per_record;
}

/// The held record gives the first checkpoint time to be stored: meanwhile no other is sent. There
/// is no such test per batch, where several answers may be read at a time, and the checkpoint is
/// then due at the last of them.
fn a_checkpoint_follows_each_so_many_records(case: Case) {
    let mut application = Application::new(case, "--checkpoint-every 0 --checkpoint-records 10");
    let shards = application.put_on_both(&Record::many_with(25, 15, "hold"));
    let daemon = application.start();
    for sent in &shards {
        daemon.until("the held record", || application.journal.is_held(&sent[15]));
        daemon.until("the first checkpoint", || {
            application.is_checkpointed(&sent[9])
        });
        application.assert_checkpoint_stays(&daemon, &sent[9]);
    }
    application.release();
    for sent in &shards {
        daemon.until("the last record", || application.journal.has(&sent[24..]));
        daemon.until("the second checkpoint", || {
            application.is_checkpointed(&sent[19])
        });
        application.assert_checkpoint_stays(&daemon, &sent[19]);
    }
}

fn a_checkpoint_follows_each_batch_and_none_comes_before(case: Case) {
    let mut application = Application::new(case, "--checkpoint-every 0 --checkpoint-batch");
    let shards = application.put_on_both(&Record::many_with(30, 25, "hold"));
    let daemon = application.start();
    for sent in &shards {
        daemon.until("the held record", || application.journal.is_held(&sent[25]));
        assert_eq!(
            application.leases.checkpoint(&sent[25].shard),
            Checkpoint::TrimHorizon
        );
    }
    application.release();
    for sent in &shards {
        daemon.until("the checkpoint", || application.is_checkpointed(&sent[29]));
    }
}

fn a_checkpoint_follows_the_clock_also_while_a_handler_runs(case: Case) {
    let mut application = Application::new(case, "--checkpoint-every 1s");
    let shards = application.put_on_both(&Record::many_with(30, 25, "hold"));
    let daemon = application.start();
    for sent in &shards {
        daemon.until("the checkpoint", || application.is_checkpointed(&sent[24]));
        assert!(application.journal.is_held(&sent[25]));
    }
    application.release();
    for sent in &shards {
        daemon.until("the last checkpoint", || {
            application.is_checkpointed(&sent[29])
        });
    }
}

fn a_checkpoint_stands_where_the_handler_asked_for_it(case: Case) {
    let mut application = Application::new(case, "--checkpoint-manual");
    let shards = application.put_on_both(&Record::many_with(30, 25, "checkpoint"));
    let daemon = application.start();
    daemon.until("all records", || application.journal.has(&shards.concat()));
    for sent in &shards {
        daemon.until("the checkpoint", || application.is_checkpointed(&sent[25]));
    }
    daemon.terminate();
    daemon.wait();
    for sent in &shards {
        assert!(
            application.is_checkpointed(&sent[25]),
            "the end adds nothing that the handler did not ask for"
        );
    }
}
