//! What the program's own tests and benchmarks need of it, in one place: all else is private, so that the
//! compiler sees what nobody uses.

pub use crate::app::FIRST_STEPS;

/// Delays between attempts.
pub mod backoff {
    pub use crate::backoff::Delays;
}

/// One shard's conversation with the daemon.
pub mod bridge {
    pub use crate::bridge::Bridge;
}

/// Findings about a properties file.
pub mod check {
    pub use crate::check::{Context, Finding, IDS, Severity, Version, examine};
}

/// What is due, and what is stored.
pub mod checkpoint {
    pub use crate::checkpoint::{BlockedRecord, Checkpoints, Strategy};
}

/// The clock, which a test may set.
pub mod clock {
    pub use crate::clock::{Clock, SystemClock};
}

/// The command line, read.
pub mod config {
    pub use crate::config::{Config, Task, read};
}

/// What became of a letter.
pub mod dead_letter {
    pub use crate::dead_letter::Appended;
}

/// The exit codes of each command.
pub mod exit {
    pub use crate::exit::{
        Bridge, Check, Exit, Init, Lambda, Launch, Redrive, Replay, Show, Status,
    };
}

/// Which records are handed over.
pub mod filter {
    pub use crate::filter::{Filter, NonJson, Pattern, patterns};
}

/// Records as bytes.
pub mod format {
    pub use crate::format::{Data, Format};
}

/// The handler side, with its seams.
pub mod handler {
    pub use crate::handler::{
        Children, Event, ExitReport, Finish, First, HandlerProcesses, Handlers, Happening,
        HookEvent, Limits, OnFailure, Per, Pool, Rate, Read, Role, Settings, VARIABLES, Window,
    };
}

/// How many handlers may run on the machine.
pub mod host_slots {
    pub use crate::host_slots::{HostSlots, Settings};
}

/// What an exit means.
pub mod outcome {
    pub use crate::outcome::{Class, Ended, OnExit, SIGNALS};
}

/// Commands as processes.
pub mod process {
    pub use crate::process::{Command, Feed, Input, Processes, Spawn, Stop};
}

/// Properties files.
pub mod properties {
    pub use crate::properties::{Properties, split_command};
}

/// The daemon's lines.
pub mod protocol {
    pub use crate::protocol::{Message, Source, Wire, WireRecord};
}

/// Records and their places.
pub mod record {
    pub use crate::record::{Batch, Layout, Position};
}

/// Parts of the daemon, played.
pub mod replay {
    pub use crate::replay::faults::{Faults, Rng, Schedule, make_hostile};
    pub use crate::replay::lease::LeasePosition;
    pub use crate::replay::report::ShardReport;
    pub use crate::replay::shard::{Due, Ending, Rules, Shard, Step};
    pub use crate::replay::stream::Record;

    /// Aggregates of the producer library.
    pub mod aggregate {
        pub use crate::replay::aggregate::take_apart;
    }
    /// What can go wrong on purpose.
    pub mod faults {
        pub use crate::replay::faults::{Amount, KINDS};
    }
    /// Records to be played.
    pub mod input {
        pub use crate::replay::input::InputRecord;
    }
}

/// What is counted.
pub mod counters {
    pub use crate::counters::Counters;
}

/// What is shown of it.
pub mod reporting {
    pub use crate::reporting::{FAMILIES, Kind};
}
