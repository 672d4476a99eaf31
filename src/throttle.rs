//! What holds up a handler that could start: a limit that the user set.

/// Such a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Throttle {
    /// The rate of the shard, `--rate`.
    Rate,
    /// The handlers of the machine, `--host-jobs`.
    HostJobs,
}

/// All of them, with the names that metrics have for them.
pub(crate) const THROTTLES: [(Throttle, &str); 2] =
    [(Throttle::Rate, "rate"), (Throttle::HostJobs, "host_jobs")];
