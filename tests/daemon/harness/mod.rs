//! What the tests stand on: the services, the daemon, and one test's application on them.

pub(crate) mod aggregate;
mod application;
mod daemon;
mod java;
mod journal;
pub(crate) mod kcl_fault;
mod leases;
mod logs;
pub(crate) mod served;
mod service;
mod stack;
mod stream;
pub(crate) mod wait;

pub(crate) use application::{Application, is_alive};
pub(crate) use daemon::Daemon;
pub(crate) use java::java;
pub(crate) use leases::Checkpoint;
pub(crate) use stack::installed;
pub(crate) use stream::{Record, Sent, Shard};

/// The generations of the daemon: 3.1.3, 2.5.4 and 1.15.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kcl {
    V3,
    V2,
    V1,
}

/// The ways to hand records over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Per {
    Record,
    Batch,
    Shard,
}

impl Per {
    /// The word for it, on the command lines of kclpipe and of the handler.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Record => "record",
            Self::Batch => "batch",
            Self::Shard => "shard",
        }
    }
}

/// How the daemon gets records: it asks for them, or the service pushes them (enhanced fan-out).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retrieval {
    Polling,
    FanOut,
}

/// Whether the daemon is answered before all of its records are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// No.
    Nothing,
    /// Yes, and handlers go on from read to read.
    ReadAhead,
    /// Yes, and records are collected before a handler is started.
    Window,
}

impl Held {
    /// The options of kclpipe for it.
    pub(crate) fn options(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::ReadAhead => "--read-ahead 1MiB",
            Self::Window => "--read-ahead 1MiB --batch-window 2s",
        }
    }
}

/// What a test is run with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) kcl: Kcl,
    pub(crate) per: Per,
    pub(crate) retrieval: Retrieval,
    pub(crate) held: Held,
}

/// Makes a test of a scenario for each case: `scenario: kcl3_per_record kcl2_per_record;` makes the
/// tests `scenario::kcl3_per_record` and `scenario::kcl2_per_record`, which call `scenario(case)`.
macro_rules! tests {
    ($($scenario:ident: $($case:ident)+;)+) => {$(
        mod $scenario {$(
            #[test]
            #[ignore = "needs tests/daemon/setup, Java and Node"]
            fn $case() {
                crate::harness::kcl_fault::play(super::$scenario, crate::harness::cases::$case());
            }
        )+}
    )+};
}
pub(crate) use tests;

/// The cases that there are.
pub(crate) mod cases {
    use super::{Case, Held, Kcl, Per, Retrieval};

    macro_rules! cases {
        ($($name:ident: $kcl:ident $per:ident $retrieval:ident $held:ident;)+) => {$(
            pub(crate) fn $name() -> Case {
                Case {
                    kcl: Kcl::$kcl,
                    per: Per::$per,
                    retrieval: Retrieval::$retrieval,
                    held: Held::$held,
                }
            }
        )+};
    }

    cases! {
        kcl3_per_record: V3 Record Polling Nothing;
        kcl3_per_batch: V3 Batch Polling Nothing;
        kcl3_per_shard: V3 Shard Polling Nothing;
        kcl3_fan_out: V3 Shard FanOut Nothing;
        kcl3_read_ahead: V3 Record Polling ReadAhead;
        kcl3_window: V3 Batch Polling Window;
        kcl2_per_record: V2 Record Polling Nothing;
        kcl2_read_ahead: V2 Record Polling ReadAhead;
        kcl2_window: V2 Batch Polling Window;
        kcl1_per_record: V1 Record Polling Nothing;
        kcl1_read_ahead: V1 Record Polling ReadAhead;
        kcl1_window: V1 Batch Polling Window;
    }
}
