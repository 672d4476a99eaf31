//! The table.

use std::fmt;
use std::io::{self, Write};

use crate::measure::median;

/// Both sides of a row.
#[derive(Debug)]
pub(crate) struct Figures {
    ours: f64,
    floor: f64,
    ratio: f64,
    unit: Unit,
}

/// What a figure counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    Seconds,
    Bytes,
    /// Records in a second.
    Rate,
    /// Bytes of payload in a second.
    Throughput,
    /// How many.
    Count,
    /// Of one processor.
    Percent,
}

/// What a ratio must be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bar {
    AtMost(f64),
    AtLeast(f64),
}

/// A table that is printed row by row.
pub(crate) struct Table<W> {
    to: W,
    all_met: bool,
}

impl Figures {
    /// Of two sides that took turns: the medians, and the median of the rounds' ratios, which a slow moment
    /// in one round disturbs less than the ratio of the medians.
    pub(crate) fn against(ours: &[f64], floor: &[f64], unit: Unit) -> Figures {
        let ratios: Vec<f64> = ours.iter().zip(floor).map(|(a, b)| a / b).collect();
        Figures {
            ours: median(ours),
            floor: median(floor),
            ratio: median(&ratios),
            unit,
        }
    }

    /// Against an amount that need not be measured.
    pub(crate) fn against_fixed(ours: f64, amount: usize, unit: Unit) -> Figures {
        let floor = amount as f64;
        Figures {
            ours,
            floor,
            ratio: ours / floor,
            unit,
        }
    }
}

impl<W: Write> Table<W> {
    /// Prints the head.
    pub(crate) fn begin(mut to: W) -> io::Result<Table<W>> {
        writeln!(
            to,
            "{:18}  {:62}  {:>11}  {:>11}  {:>6}  {:>7}",
            "name", "what / floor", "kclpipe", "floor", "ratio", "bar"
        )?;
        Ok(Table { to, all_met: true })
    }

    /// Prints a row.
    pub(crate) fn row(
        &mut self,
        name: &str,
        what: &str,
        figures: &Figures,
        bar: Bar,
    ) -> io::Result<()> {
        let met = bar.is_met(figures.ratio);
        self.all_met &= met;
        writeln!(
            self.to,
            "{name:18}  {what:62}  {:>11}  {:>11}  {:6.2}  {bar}  {}",
            Amount(figures.ours, figures.unit).to_string(),
            Amount(figures.floor, figures.unit).to_string(),
            figures.ratio,
            if met { "met" } else { "NOT MET" }
        )
    }

    /// Says instead of a row why there is none.
    pub(crate) fn skipped(&mut self, name: &str, why: &anyhow::Error) -> io::Result<()> {
        writeln!(self.to, "{name:18}  skipped: {why:#}")
    }

    /// Whether every row so far met its bar.
    pub(crate) fn all_met(&self) -> bool {
        self.all_met
    }
}

impl Bar {
    /// The bar where an older kclpipe is the floor: no more than a few hundredths worse.
    pub(crate) fn of_older(self) -> Bar {
        match self {
            Bar::AtMost(_) => Bar::AtMost(1.03),
            Bar::AtLeast(_) => Bar::AtLeast(0.97),
        }
    }

    fn is_met(self, ratio: f64) -> bool {
        match self {
            Bar::AtMost(bar) => ratio <= bar,
            Bar::AtLeast(bar) => ratio >= bar,
        }
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Bar::AtMost(bar) => write!(f, "<= {bar:5.2}"),
            Bar::AtLeast(bar) => write!(f, ">= {bar:5.2}"),
        }
    }
}

/// A number with its unit, at a scale that people read.
struct Amount(f64, Unit);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Amount(n, Unit::Seconds) if n >= 1.0 => write!(f, "{n:.2} s"),
            Amount(n, Unit::Seconds) if n >= 1e-4 => write!(f, "{:.2} ms", n * 1e3),
            Amount(n, Unit::Seconds) => write!(f, "{:.2} us", n * 1e6),
            Amount(n, Unit::Bytes) => write!(f, "{:.2} MiB", n / f64::from(1 << 20)),
            Amount(n, Unit::Rate) if n < 1e4 => write!(f, "{n:.1}/s"),
            Amount(n, Unit::Rate) => write!(f, "{:.0} k/s", n / 1e3),
            Amount(n, Unit::Count) => write!(f, "{n:.0}"),
            Amount(n, Unit::Percent) => write!(f, "{n:.2} %"),
            Amount(n, Unit::Throughput) => write!(f, "{:.0} MB/s", n / 1e6),
        }
    }
}
