//! What holds up a handler that could start: a limit that the user set.

use serde::{Deserialize, Serialize};

/// Such a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Throttle {
    /// The rate of the shard, `--rate`.
    Rate,
    /// The handlers of the machine, `--host-jobs`.
    HostJobs,
}

impl Throttle {
    /// What a handler waits for then.
    pub(crate) fn awaited(self) -> &'static str {
        match self {
            Throttle::Rate => "its rate",
            Throttle::HostJobs => "a slot",
        }
    }
}

/// All of them, with the names that metrics have for them.
pub(crate) const THROTTLES: [(Throttle, &str); 2] =
    [(Throttle::Rate, "rate"), (Throttle::HostJobs, "host_jobs")];
