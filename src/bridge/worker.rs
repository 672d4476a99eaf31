//! The daemon's whole worker, which a halt stops.
//!
//! A daemon whose child ends without an answer ends, too, but only after it has stood still for its whole grace, and
//! without the checkpoints of its other shards. One that is asked to stop asks all of its children to finish, and
//! stores what they have done.

use std::time::Duration;

/// How the worker is stopped.
pub(super) struct Worker<'a> {
    /// Asks the daemon to stop; whether that was possible.
    ask: &'a dyn Fn() -> bool,
    /// How long we wait for its next message after a halt.
    pub(super) patience: Duration,
    /// What came of asking.
    asked: Option<bool>,
}

impl Default for Worker<'_> {
    /// One that cannot be asked.
    fn default() -> Self {
        Worker::new(&|| false, super::HALT)
    }
}

impl<'a> Worker<'a> {
    pub(super) fn new(ask: &'a dyn Fn() -> bool, patience: Duration) -> Worker<'a> {
        Worker {
            ask,
            patience,
            asked: None,
        }
    }

    /// Asks the daemon to stop, once; whether it stops.
    pub(super) fn stops(&mut self) -> bool {
        let ask = self.ask;
        *self.asked.get_or_insert_with(|| {
            let can = ask();
            if can {
                log::error!(
                    "asked the daemon to stop (SIGTERM), so that it stores the checkpoints of all its shards: its exit code 143 is this halt"
                );
            }
            can
        })
    }
}
