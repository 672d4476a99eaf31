//! A fault of KCL 3.1.3 that a scenario can run into: the scheduler's one thread subscribes to a shard and then wants
//! the shard's lock, which the first `processRecords` may have by then (`ShardConsumer.executeLifecycle`: `subscribe`,
//! then `initializeComplete`). Until that is answered no other shard is begun, ended or handed over. A scenario that
//! holds a record of each shard then waits for ever, so it is played once more, and only if a dump of the daemon's
//! threads shows this very state.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::Case;

thread_local! {
    static SEEN: Cell<bool> = const { Cell::new(false) };
}

/// Looks whether these threads are in that state.
pub(crate) fn look(threads: &str) {
    let mut each = threads.split("\n\n");
    let waits = |thread: &str| {
        thread.contains("BLOCKED (on object monitor)")
            && thread.contains("ShardConsumer.initializeComplete")
    };
    SEEN.set(each.any(waits));
}

/// Plays a scenario, once more where the daemon stood still by itself.
#[expect(clippy::print_stderr, reason = "libtest shows it with a failure")]
pub(crate) fn play(scenario: fn(Case), case: Case) {
    SEEN.set(false);
    if let Err(why) = catch_unwind(AssertUnwindSafe(|| scenario(case))) {
        if !SEEN.take() {
            resume_unwind(why);
        }
        eprintln!("KCL's scheduler waited for the lock of a shard that works: played once more");
        scenario(case);
    }
}

#[test]
fn the_state_is_told_from_others() {
    let thread =
        |state: &str, at: &str| format!("\"main\" #1\n   State: {state}\n\tat x.{at}(X.java:1)\n");
    let blocked = "BLOCKED (on object monitor)";
    for (state, at, expected) in [
        (blocked, "ShardConsumer.initializeComplete", true),
        (blocked, "ShardConsumer.handleInput", false),
        ("RUNNABLE", "ShardConsumer.initializeComplete", false),
    ] {
        let others = thread(blocked, "Other.method");
        look(&format!("{others}\n{}\n{others}", thread(state, at)));
        assert_eq!(SEEN.take(), expected, "{state} {at}");
    }
}
