//! What a life is like: kclpipe's options, the stream, and how bad the world is.

use std::path::PathBuf;
use std::time::Duration;

use kclpipe::testing::backoff::Delays;
use kclpipe::testing::checkpoint::Strategy;
use kclpipe::testing::filter::{Filter, NonJson, patterns};
use kclpipe::testing::format::{Data, Format};
use kclpipe::testing::handler::{Limits, OnFailure, Per, Rate, Settings, Window};
use kclpipe::testing::host_slots;
use kclpipe::testing::outcome::{Class, OnExit};
use kclpipe::testing::process::{Command, Stop};

use crate::world::{Dice, Rng};

/// The exit code that the options make `checkpoint`, and the one that they make `halt`.
pub(crate) const CHECKPOINT: u8 = 99;
pub(crate) const HALT: u8 = 98;

/// What the filter passes: the payloads that it does not are JSON with this name, and the others no JSON.
const PATTERN: &str = r#"{"data": {"drop": [{"exists": false}]}}"#;

/// Where a lease without a checkpoint begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initial {
    TrimHorizon,
    AtTimestamp,
    Latest,
}

/// Everything that is drawn before a life begins.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    pub(crate) seed: u64,
    pub(crate) per: Per,
    pub(crate) format: Format,
    pub(crate) jobs: usize,
    pub(crate) strategy: Strategy,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) policy: Policy,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) max_age: Option<Duration>,
    pub(crate) breaker: u32,
    pub(crate) delays: Delays,
    pub(crate) timeout: Option<Duration>,
    pub(crate) stop_timeout: Duration,
    pub(crate) hook: bool,
    /// The daemon is answered when no more bytes than that are held.
    pub(crate) read_ahead: u64,
    pub(crate) window: Option<Window>,
    /// Handlers may go on for so long after a request to shut down.
    pub(crate) drain: Duration,
    /// What is held waits in files.
    pub(crate) spools: bool,
    /// A record takes so much of the rate.
    pub(crate) rate: Option<Duration>,
    /// The machine has slots, and others have all of them for up to so many milliseconds.
    pub(crate) others: Option<u64>,
    pub(crate) initial: Initial,
    pub(crate) records: usize,
    pub(crate) keys: u64,
    /// Sessions with faults of the daemon; after them it has none.
    pub(crate) sessions: u32,
    /// Of a hundred records so many are filtered, if there is a filter.
    pub(crate) filtered: Option<u64>,
    /// Of a hundred records so many are trouble at first.
    pub(crate) trouble: u64,
    /// Of a hundred checkpoints so many fail.
    pub(crate) ack_faults: u64,
    /// They fail only for a while.
    pub(crate) throttled: bool,
    /// Until then every handler fails alike.
    pub(crate) outage: Option<(Duration, u8)>,
    /// Handlers may take seconds.
    pub(crate) slow: bool,
    /// The machine is suspended now and then.
    pub(crate) sleepy: bool,
    /// A pipe holds so much.
    pub(crate) pipe: usize,
    /// The old `shutdown` in place of the newer messages.
    pub(crate) old: bool,
    pub(crate) empty_reads: bool,
    /// Nothing comes for long before the shard's end.
    pub(crate) quiet: bool,
}

/// What becomes of records that will not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Block,
    File,
    Command,
    Skip,
    Halt,
}

impl Draw {
    pub(crate) fn new(seed: u64) -> Draw {
        let mut rng = Dice(seed).rng("life", &[]);
        let rng = &mut rng;
        let per = per(rng);
        let ahead = Ahead::new(per, &mut Dice(seed).rng("ahead", &[]));
        let policy = rng.pick(&[
            Policy::Block,
            Policy::File,
            Policy::File,
            Policy::Command,
            Policy::Skip,
            Policy::Halt,
        ]);
        let limits = MachineLimits::new(per, &mut Dice(seed).rng("limits", &[]));
        let charged = policy != Policy::Block || rng.chance(30);
        Draw {
            seed,
            format: format(per, rng),
            per,
            jobs: ahead.jobs(rng.pick(&[1, 1, 2, 3])),
            strategy: strategy(rng),
            keepalive: rng
                .chance(40)
                .then(|| Duration::from_secs(rng.pick(&[1, 4, 20]))),
            policy,
            max_attempts: charged.then(|| rng.within(1, 3) as u32),
            max_age: rng
                .chance(15)
                .then(|| Duration::from_secs(rng.pick(&[2, 30])))
                .filter(|_| !limits.any()),
            breaker: rng.pick(&[0, 1, 2, 10]),
            delays: delays(rng),
            timeout: rng
                .chance(85)
                .then(|| Duration::from_secs(rng.pick(&[2, 8, 60]))),
            stop_timeout: Duration::from_secs(rng.pick(&[0, 1, 3])),
            hook: rng.chance(40),
            read_ahead: ahead.bytes,
            window: ahead.window,
            drain: ahead.drain,
            spools: ahead.spools,
            rate: limits.rate,
            others: limits.others,
            initial: rng.pick(&[
                Initial::TrimHorizon,
                Initial::TrimHorizon,
                Initial::AtTimestamp,
                Initial::Latest,
            ]),
            records: rng.within(1, 24) as usize,
            keys: rng.pick(&[1, 2, 4, 9]),
            filtered: filtered(&mut Dice(seed).rng("filter", &[])),
            sessions: rng.within(0, 4) as u32,
            trouble: rng.pick(&[0, 10, 30, 60]),
            ack_faults: rng.pick(&[0, 0, 10, 40, 95]),
            throttled: rng.chance(50),
            outage: rng
                .chance(15)
                .then(|| (rng.millis(1_000, 60_000), rng.pick(&[1, 78, 75, 65]))),
            slow: rng.chance(40),
            sleepy: rng.chance(20),
            pipe: pipe(per, rng),
            old: rng.chance(20),
            empty_reads: rng.chance(85),
            quiet: ahead.quiet,
        }
    }

    /// What kclpipe is told of all this.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            command: command("handler"),
            per: self.per,
            format: self.format.clone(),
            decompress: None,
            filter: self.filtered.map(|_| {
                let pattern = patterns("the pattern", PATTERN).expect("a pattern");
                Filter::new(pattern, NonJson::Pass)
            }),
            jobs: self.jobs,
            host_jobs: self.others.map(|_| host_slots::Settings {
                slots: 1,
                directory: PathBuf::from("slots"),
            }),
            rate: self.rate.map(|interval| Rate { interval }),
            on_exit: OnExit(vec![(CHECKPOINT, Class::Checkpoint), (HALT, Class::Halt)]),
            limits: Limits {
                max_attempts: self.max_attempts,
                max_age: self.max_age,
                max_consecutive_failures: self.breaker,
            },
            delays: self.delays,
            on_failure: match self.policy {
                Policy::Block => OnFailure::Block,
                Policy::File => OnFailure::DeadLetter(PathBuf::from("letters")),
                Policy::Command => OnFailure::DeadLetterCommand(command("letters")),
                Policy::Skip => OnFailure::Skip,
                Policy::Halt => OnFailure::Halt,
            },
            timeout: self.timeout,
            stop: self.stop(),
            hook: self.hook.then(|| command("hook")),
            read_ahead: self.read_ahead,
            window: self.window,
            spool_dir: self.spools.then(|| PathBuf::from("spool")),
            stream: None,
            application: None,
            placeholders: None,
        }
    }

    pub(crate) fn stop(&self) -> Stop {
        Stop {
            signal: kclpipe::testing::outcome::SIGNALS[12].1,
            timeout: self.stop_timeout,
        }
    }

    /// Whether batches end where the arrival time crosses a multiple of the window.
    pub(crate) fn is_aligned(&self) -> bool {
        self.window.is_some_and(|window| window.aligned)
    }

    /// Whether a handler lives as long as the lease.
    pub(crate) fn lives_on(&self) -> bool {
        matches!(self.per, Per::Shard { .. } | Per::Event { .. })
    }

    /// Whether a handler is given batches.
    pub(crate) fn gives_batches(&self) -> bool {
        matches!(self.per, Per::Batch { .. } | Per::Event { .. })
    }

    /// Whether a handler that lives on is given batches, as Lambda events.
    pub(crate) fn gives_events(&self) -> bool {
        matches!(self.per, Per::Event { .. })
    }

    /// Whether a handler may reply to a batch as Lambda functions do.
    pub(crate) fn takes_replies(&self) -> bool {
        matches!(self.format, Format::Lambda { .. })
    }

    /// Whether a handler that lives on takes lines without the token for answers.
    pub(crate) fn plain(&self) -> bool {
        matches!(
            self.per,
            Per::Shard { plain: true, .. } | Per::Event { plain: true, .. }
        )
    }

    /// How many records one process gets in its life.
    pub(crate) fn max_records(&self) -> Option<u64> {
        match self.per {
            Per::Shard { max_records, .. } | Per::Event { max_records, .. } => max_records,
            Per::Record | Per::Batch { .. } => None,
        }
    }

    /// How many records a handler has at most, before it answers.
    pub(crate) fn inflight(&self) -> usize {
        match self.per {
            Per::Record => 1,
            Per::Batch { size, .. } | Per::Event { size, .. } => size.unwrap_or(usize::MAX),
            Per::Shard { inflight, .. } => inflight,
        }
    }

    /// Simpler lives of the same seed, the simplest first.
    pub(crate) fn simpler(&self) -> Vec<Draw> {
        let mut simpler = Vec::new();
        let mut push = |change: &dyn Fn(&mut Draw)| {
            let mut draw = self.clone();
            change(&mut draw);
            if format!("{draw:?}") != format!("{self:?}") {
                simpler.push(draw);
            }
        };
        push(&|draw| draw.records = draw.records.div_ceil(2));
        push(&|draw| draw.records = draw.records.max(2) - 1);
        push(&|draw| draw.sessions = 0);
        push(&|draw| draw.sessions = draw.sessions.saturating_sub(1));
        push(&|draw| draw.filtered = None);
        push(&|draw| draw.ack_faults = 0);
        push(&|draw| draw.outage = None);
        push(&|draw| draw.trouble = 0);
        push(&|draw| draw.hook = false);
        push(&|draw| draw.keepalive = None);
        push(&|draw| draw.jobs = 1);
        push(&|draw| draw.slow = false);
        push(&|draw| draw.sleepy = false);
        push(&|draw| draw.max_age = None);
        push(&|draw| draw.pipe = 65_536);
        push(&|draw| draw.old = false);
        push(&|draw| draw.rate = None);
        push(&|draw| draw.others = None);
        push(&|draw| draw.spools = false);
        push(&|draw| draw.window = None);
        push(&|draw| {
            if let Some(window) = &mut draw.window {
                window.aligned = false;
            }
        });
        push(&|draw| draw.read_ahead = if draw.window.is_some() { 100_000 } else { 0 });
        push(&|draw| draw.keys = 1);
        simpler
    }
}

/// What is held over several reads, by the rules for options (`src/config.rs`).
struct Ahead {
    bytes: u64,
    window: Option<Window>,
    drain: Duration,
    spools: bool,
    quiet: bool,
}

impl Ahead {
    fn new(per: Per, rng: &mut Rng) -> Ahead {
        let batches = matches!(per, Per::Batch { .. } | Per::Event { .. });
        let windowed = batches && rng.chance(65);
        let window = windowed.then(|| Window {
            length: Duration::from_secs(rng.pick(&[1, 2, 10, 60])),
            aligned: rng.chance(45),
        });
        let bytes = match window {
            Some(_) => rng.pick(&[300, 1_500, 6_000, 100_000]),
            None => rng.pick(&[0, 0, 0, 100, 700, 3_000, 100_000]),
        };
        let reads_ahead = bytes > 0;
        Ahead {
            bytes,
            window,
            drain: Duration::from_secs(if reads_ahead {
                rng.pick(&[0, 0, 0, 1, 5, 15])
            } else {
                15
            }),
            spools: reads_ahead && rng.chance(40),
            quiet: windowed && rng.chance(60),
        }
    }

    /// An aligned window allows one job.
    fn jobs(&self, jobs: usize) -> usize {
        match self.window {
            Some(window) if window.aligned => 1,
            _ => jobs,
        }
    }
}

/// What may hold up a handler that could start.
struct MachineLimits {
    rate: Option<Duration>,
    others: Option<u64>,
}

impl MachineLimits {
    /// A handler that lives on has no slot of the machine, and a rate only where it is given batches.
    fn new(per: Per, rng: &mut Rng) -> MachineLimits {
        let ends = !matches!(per, Per::Shard { .. } | Per::Event { .. });
        let paced = !matches!(per, Per::Shard { .. });
        MachineLimits {
            rate: (paced && rng.chance(25))
                .then(|| Duration::from_millis(rng.pick(&[3, 100, 700]))),
            others: (ends && rng.chance(40)).then(|| rng.pick(&[1_000, 20_000, 50_000])),
        }
    }

    fn any(&self) -> bool {
        self.rate.is_some() || self.others.is_some()
    }
}

fn command(program: &str) -> Command {
    Command {
        program: program.into(),
        ..Command::default()
    }
}

fn per(rng: &mut Rng) -> Per {
    match rng.below(4) {
        0 => Per::Record,
        1 => Per::Batch {
            size: rng.pick(&[None, Some(1), Some(3), Some(8)]),
            bytes: rng.pick(&[None, None, Some(10), Some(40)]),
        },
        2 => Per::Event {
            size: rng.pick(&[None, Some(1), Some(3), Some(8)]),
            bytes: rng.pick(&[None, None, Some(10), Some(40)]),
            plain: rng.chance(20),
            max_records: rng.pick(&[None, None, Some(1), Some(4)]),
        },
        _ => Per::Shard {
            inflight: rng.pick(&[1, 1, 2, 5, 20]),
            plain: rng.chance(20),
            max_records: rng.pick(&[None, None, Some(1), Some(4)]),
        },
    }
}

/// How much a pipe holds: a few records, or a few events.
fn pipe(per: Per, rng: &mut Rng) -> usize {
    let small = rng.pick(&[65_536, 65_536, 30, 300]);
    match per {
        Per::Event { .. } => (small * 20).min(65_536),
        Per::Record | Per::Batch { .. } | Per::Shard { .. } => small,
    }
}

fn format(per: Per, rng: &mut Rng) -> Format {
    match per {
        Per::Record => rng.pick(&[Format::Raw, Format::Lines]),
        Per::Event { .. } => lambda(),
        Per::Batch { .. } => rng.pick(&[Format::Lines, Format::Jsonl(Data::Text), lambda()]),
        Per::Shard { .. } => rng.pick(&[Format::Lines, Format::Jsonl(Data::Text)]),
    }
}

fn lambda() -> Format {
    Format::Lambda {
        stream_arn: String::new(),
    }
}

/// How many of a hundred records are filtered.
fn filtered(rng: &mut Rng) -> Option<u64> {
    rng.pick(&[None, None, Some(0), Some(20), Some(50), Some(90), Some(100)])
}

fn strategy(rng: &mut Rng) -> Strategy {
    let every = |seconds| Some(Duration::from_secs(seconds));
    let mut strategy = Strategy {
        every: rng.pick(&[every(60), every(60), every(5), every(1), None]),
        records: rng.pick(&[None, None, Some(1), Some(3)]),
        batch: rng.chance(30),
        manual: false,
    };
    if rng.chance(12) {
        strategy = Strategy {
            manual: true,
            ..Strategy::default()
        };
    }
    strategy
}

fn delays(rng: &mut Rng) -> Delays {
    let (first, longest) = rng.pick(&[
        (1_000, 60_000),
        (100, 2_000),
        (1_000, 8_000),
        (2_000, 2_000),
    ]);
    Delays {
        first: Duration::from_millis(first),
        longest: Duration::from_millis(longest),
        jitter: false,
    }
}
