//! `kclpipe lambda` as the handler of a kclpipe, and what becomes of an event when one of the processes is killed.

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::bootstrap::{self, MARK};
use crate::harness::{Bridge, Daemon, QUICK, children_of};

/// A kclpipe whose handler serves this function, one record an event.
fn serving(function: &[String]) -> Daemon {
    let words = function.iter().map(String::as_str);
    let handler: Vec<&str> = [super::KCLPIPE, "lambda", "--"]
        .into_iter()
        .chain(words)
        .collect();
    let mut daemon = Bridge::running(&handler)
        .options("--per shard --format lambda --batch-size 1")
        .options(QUICK)
        .variable(MARK, "serve")
        .start();
    daemon.initialize();
    daemon
}

#[test]
fn where_it_is_killed_its_function_ends_too_and_the_event_comes_again() {
    let mut daemon = serving(&bootstrap::command());
    daemon.payloads(&["ok", "hold once"]);
    let function = daemon.expect_lines("held", 1)[0].parse();
    let function = Pid::from_raw(function.expect("a number")).expect("a process");
    let lambda = children_of(daemon.id())[0];
    kill_process(lambda, Signal::KILL).expect("signalled");
    daemon.expect_status("processRecords");
    assert!(
        test_kill_process(function).is_err(),
        "{function} is still there"
    );
    daemon.expect_log("record 2.0 was not answered: signal 9 (SIGKILL)");
    assert_eq!(daemon.lines("held").len(), 2);
    daemon.finish();
}

#[test]
fn where_the_function_is_killed_the_event_comes_again_also_to_a_shell_that_started_it() {
    for wrapper in ["", r#""$@"; exit $?"#] {
        let function = bootstrap::command();
        let wrapped = ["sh", "-c", wrapper, "sh"].map(str::to_owned);
        let wrapped = wrapped.into_iter().filter(|_| !wrapper.is_empty());
        let function: Vec<String> = wrapped.chain(function).collect();
        let mut daemon = serving(&function);
        daemon.payloads(&["ok", "die once"]);
        daemon.expect_status("processRecords");
        daemon.expect_log("the function ended while it had an event");
        assert_eq!(daemon.lines("dead").len(), 2);
        daemon.finish();
    }
}
