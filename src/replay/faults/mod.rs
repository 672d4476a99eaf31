//! What can be made to go wrong: the faults of `--inject`, their names and how often they come.
//!
//! [`schedule`] says when which of them comes, [`records`] makes records hostile, and [`rng`] is where both
//! draw from.

pub(crate) mod records;
pub(crate) mod rng;
pub(crate) mod schedule;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::suggest;

pub use records::make_hostile;
pub use rng::Rng;
pub use schedule::Schedule;

/// Something that the daemon, DynamoDB, Kinesis or the machine may do to a child at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the table below says it")]
pub enum Fault {
    Throttle,
    Dependency,
    Runtime,
    InvalidState,
    LeaseStolen,
    SlowAck,
    LeaseLoss,
    Shutdown,
    Kill,
    Eof,
    Empty,
    Idle,
    Nulls,
    Aggregate,
    OddKeys,
    Redeliver,
    ClockSkew,
    LateBatch,
}

/// How a child's end comes upon it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// SIGKILL.
    Kill,
    /// Its input ends, as when the daemon is killed.
    Eof,
}

/// A child's end that is not its own doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Termination {
    /// How it comes.
    pub cut: Cut,
    /// When it comes.
    pub when: When,
    /// Why it comes.
    pub cause: Cause,
}

/// When a child is terminated, counted from the action that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// As soon as the action is sent.
    AtOnce,
    /// This long after it was sent.
    After(Duration),
    /// At the next checkpoint, whose answer does not come, whether it is stored or not.
    AtCheckpoint {
        /// Whether it is.
        stored: bool,
    },
}

/// Why something goes wrong that is not the child's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It was drawn.
    Injected,
    /// It was so in the recording.
    Recorded,
    /// The user wants the shard to end so.
    Ending,
}

impl Cause {
    /// In a word, for the user.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Injected => "injected",
            Cause::Recorded => "recorded",
            Cause::Ending => "ending",
        }
    }
}

/// How often, or how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Amount {
    /// This many of one: from 0 for never to 1 for each.
    Rate(f64),
    /// A time that is drawn for each, from nothing to this.
    UpTo(Duration),
}

/// A fault as users know it.
#[derive(Debug)]
pub struct Kind {
    /// Its name in `--inject`.
    pub name: &'static str,
    /// Which it is.
    pub fault: Fault,
    /// How much of it there is if only its name is given.
    pub usual: Amount,
    /// The error in the answer to a checkpoint, where it is one: the simple name of the exception
    /// (`MultiLangProtocol.java`, `DynamoDBCheckpointer.java`, `DynamoDBLeaseRenewer.java`).
    pub error: Option<&'static str>,
    /// Whether `all` has it.
    pub in_all: bool,
}

const fn kind(name: &'static str, fault: Fault, usual: Amount) -> Kind {
    Kind {
        name,
        fault,
        usual,
        error: None,
        in_all: true,
    }
}

const fn refusal(name: &'static str, fault: Fault, rate: f64, error: &'static str) -> Kind {
    Kind {
        name,
        fault,
        usual: Amount::Rate(rate),
        error: Some(error),
        in_all: true,
    }
}

/// What KCL does not do, though the protocol allows it and other daemons do.
const fn foreign(name: &'static str, fault: Fault, rate: f64) -> Kind {
    Kind {
        name,
        fault,
        usual: Amount::Rate(rate),
        error: None,
        in_all: false,
    }
}

/// Every fault there is.
pub const KINDS: [Kind; 18] = [
    refusal("throttle", Fault::Throttle, 0.1, "ThrottlingException"),
    refusal(
        "dependency",
        Fault::Dependency,
        0.05,
        "KinesisClientLibDependencyException",
    ),
    refusal("runtime", Fault::Runtime, 0.02, "RuntimeException"),
    refusal(
        "invalid-state",
        Fault::InvalidState,
        0.02,
        "InvalidStateException",
    ),
    refusal(
        "lease-stolen",
        Fault::LeaseStolen,
        0.02,
        "ShutdownException",
    ),
    kind(
        "slow-ack",
        Fault::SlowAck,
        Amount::UpTo(Duration::from_millis(20)),
    ),
    kind("lease-loss", Fault::LeaseLoss, Amount::Rate(0.02)),
    kind("shutdown", Fault::Shutdown, Amount::Rate(0.02)),
    kind("kill", Fault::Kill, Amount::Rate(0.05)),
    kind("eof", Fault::Eof, Amount::Rate(0.05)),
    kind("empty", Fault::Empty, Amount::Rate(0.1)),
    kind("idle", Fault::Idle, Amount::UpTo(Duration::from_millis(10))),
    kind("nulls", Fault::Nulls, Amount::Rate(0.05)),
    kind("aggregate", Fault::Aggregate, Amount::Rate(0.5)),
    kind("odd-keys", Fault::OddKeys, Amount::Rate(0.2)),
    kind("redeliver", Fault::Redeliver, Amount::Rate(0.05)),
    kind("clock-skew", Fault::ClockSkew, Amount::Rate(0.1)),
    foreign("late-batch", Fault::LateBatch, 0.5),
];

/// The errors that a checkpoint may be answered with.
const REFUSALS: [Fault; 5] = [
    Fault::Throttle,
    Fault::Dependency,
    Fault::Runtime,
    Fault::InvalidState,
    Fault::LeaseStolen,
];

/// The faults to be injected, each with its amount.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults(BTreeMap<Fault, Amount>);

impl Faults {
    /// Reads `throttle=0.3,kill,slow-ack=200ms`; `all` stands for every fault of KCL's with its usual amount, and
    /// the last mention of a fault counts.
    ///
    /// # Errors
    /// A name or an amount that there is not; what there is.
    pub fn parse(text: &str) -> Result<Faults, String> {
        let mut faults = Faults::default();
        for item in text.split(',').map(str::trim) {
            let (name, amount) = match item.split_once('=') {
                Some((name, amount)) => (name.trim(), Some(amount.trim())),
                None => (item, None),
            };
            if (name, amount) == ("all", None) {
                let all = KINDS.iter().filter(|kind| kind.in_all);
                let usual = all.map(|kind| (kind.fault, kind.usual));
                faults.0.extend(usual);
                continue;
            }
            let kind = KINDS.iter().find(|kind| kind.name == name);
            let kind = kind.ok_or_else(|| unknown(name))?;
            let amount = amount.map_or(Ok(kind.usual), |amount| kind.amount(amount))?;
            faults.0.insert(kind.fault, amount);
        }
        match faults.sum(&REFUSALS) {
            sum if sum < 1.0 => Ok(faults),
            _ => Err(
                "every checkpoint would fail, and no shard could end: the rates of throttle, dependency, runtime, invalid-state and lease-stolen must add up to less than 1"
                    .to_owned(),
            ),
        }
    }

    /// How often `fault` comes; 0 for a fault that is not injected.
    pub fn rate(&self, fault: Fault) -> f64 {
        match self.0.get(&fault) {
            Some(Amount::Rate(rate)) => *rate,
            Some(Amount::UpTo(_)) | None => 0.0,
        }
    }

    /// How long `fault` may take; `None` for a fault that is not injected.
    pub fn longest(&self, fault: Fault) -> Option<Duration> {
        match self.0.get(&fault) {
            Some(Amount::UpTo(longest)) => Some(*longest).filter(|longest| !longest.is_zero()),
            Some(Amount::Rate(_)) | None => None,
        }
    }

    /// What at most one of `faults` stands for, each at its rate.
    pub fn one_of<T: Copy>(&self, faults: &[(Fault, T)], rng: &mut Rng) -> Option<T> {
        let mut at = rng.fraction();
        let found = faults.iter().find(|(fault, _)| {
            at -= self.rate(*fault);
            at < 0.0
        });
        found.map(|(_, meaning)| *meaning)
    }

    /// The error of the next checkpoint, if it is to fail.
    pub fn refusal(&self, rng: &mut Rng) -> Option<&'static Kind> {
        let fault = self.one_of(&REFUSALS.map(|fault| (fault, fault)), rng)?;
        KINDS.iter().find(|kind| kind.fault == fault)
    }

    fn sum(&self, faults: &[Fault]) -> f64 {
        faults.iter().map(|fault| self.rate(*fault)).sum()
    }
}

impl Kind {
    fn amount(&self, text: &str) -> Result<Amount, String> {
        match self.usual {
            Amount::Rate(_) => text
                .parse()
                .ok()
                .filter(|rate| (0.0..=1.0).contains(rate))
                .map(Amount::Rate)
                .ok_or_else(|| {
                    format!(
                        "'{text}' is not a rate: write {0}=0.1 for one in ten, {0}=0 for never",
                        self.name
                    )
                }),
            Amount::UpTo(_) if text == "0" => Ok(Amount::UpTo(Duration::ZERO)),
            Amount::UpTo(_) => humantime::parse_duration(text)
                .map(Amount::UpTo)
                .map_err(|e| format!("{e}; write {0}=200ms, or {0}=0 for never", self.name)),
        }
    }
}

fn unknown(name: &str) -> String {
    let known: Vec<&str> = KINDS.iter().map(|kind| kind.name).chain(["all"]).collect();
    format!("'{name}' is not a fault: {}", suggest::choice(name, &known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_amounts_and_the_last_mention_counts() {
        let faults = Faults::parse("throttle=0.3, kill,slow-ack=200ms").expect("sound");
        assert_eq!(
            (faults.rate(Fault::Throttle), faults.rate(Fault::Kill)),
            (0.3, 0.05)
        );
        let slow = faults.longest(Fault::SlowAck);
        assert_eq!(slow, Some(Duration::from_millis(200)));
        assert_eq!(
            (faults.rate(Fault::Eof), faults.longest(Fault::Idle)),
            (0.0, None)
        );
        let faults = Faults::parse("all,kill=0,idle=0").expect("sound");
        assert_eq!(
            (faults.rate(Fault::Kill), faults.longest(Fault::Idle)),
            (0.0, None)
        );
        let has = |kind: &Kind| faults.0.contains_key(&kind.fault);
        assert!(KINDS.iter().all(|kind| has(kind) == kind.in_all));
    }

    #[test]
    fn a_mistake_says_what_there_is() {
        for (text, said) in [
            (
                "throtle",
                "'throtle' is not a fault: did you mean 'throttle'? Write one of throttle",
            ),
            ("", "'' is not a fault"),
            ("all=1", "'all' is not a fault"),
            ("kill=2", "'2' is not a rate: write kill=0.1"),
            ("kill=often", "'often' is not a rate"),
            ("kill=NaN", "'NaN' is not a rate"),
            ("slow-ack=5", "write slow-ack=200ms"),
            ("throttle=0.5,runtime=0.5", "no shard could end"),
        ] {
            let error = Faults::parse(text).expect_err(text);
            assert!(
                error.contains(said) && !error.contains('\n'),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn one_fault_at_a_time_each_at_its_rate() {
        let faults = Faults::parse("throttle=0.2,lease-stolen=0.1").expect("sound");
        let mut rng = Rng::new(3, 0);
        let mut seen: BTreeMap<Option<&str>, usize> = BTreeMap::new();
        for _ in 0..10_000 {
            let refusal = faults.refusal(&mut rng);
            *seen.entry(refusal.and_then(|kind| kind.error)).or_default() += 1;
        }
        assert_eq!(seen.len(), 3, "{seen:?}");
        assert!(
            (1800..2200).contains(&seen[&Some("ThrottlingException")]),
            "{seen:?}"
        );
        assert!(
            (850..1150).contains(&seen[&Some("ShutdownException")]),
            "{seen:?}"
        );
    }
}
