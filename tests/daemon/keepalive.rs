//! `--keepalive` keeps the daemon's `timeoutInSeconds` from ending the worker, also before there is a checkpoint
//! that could be repeated, with a word that every generation knows.

use crate::harness::{Application, Case, Record, tests};

tests! {
    a_first_record_that_takes_longer_than_the_daemons_time_limit_ends_nothing:
        kcl3_per_record kcl2_per_record kcl1_per_record;
}

/// What kclpipe says before it has stored anything, in its log.
const WORD: &str = r#"to the daemon: {"action":"shutdownRequested"}"#;

/// Keep-alives at half a second, until twice the time limit is over.
const TWICE_THE_LIMIT: usize = 12;

fn a_first_record_that_takes_longer_than_the_daemons_time_limit_ends_nothing(case: Case) {
    let options = "--keepalive 500ms --timeout 0";
    let mut application = Application::new(case, options);
    let [left, _] = application.shards();
    let sent = application
        .stream
        .put(&left, &Record::many_with(3, 0, "hold"));
    let daemon = application.start_with(&["--set", "timeoutInSeconds=3"]);
    daemon.until("keep-alives for twice the time limit", || {
        let log = application.lines("kclpipe.log");
        log.iter().filter(|line| line.contains(WORD)).count() >= TWICE_THE_LIMIT
    });
    application.release();
    daemon.until("all records", || application.journal.has(&sent));
    application.journal.assert_done_once(&sent);
}
