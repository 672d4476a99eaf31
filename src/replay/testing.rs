//! The daemon as a value, for simulations and tests: without processes, and in a time of their own.

pub use super::faults::{Faults, Rng, Schedule, make_hostile};
pub use super::report::ShardReport;
pub use super::shard::{Due, Ending, LeasePosition, Rules, Shard, Step};
pub use super::stream::Record;
