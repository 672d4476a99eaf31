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
            "{:13}  {:53}  {:>10}  {:>10}  {:>6}  {:>7}",
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
        bar: f64,
    ) -> io::Result<()> {
        let met = figures.ratio <= bar;
        self.all_met &= met;
        writeln!(
            self.to,
            "{name:13}  {what:53}  {:>10}  {:>10}  {:6.2}  <= {bar:4.2}  {}",
            Amount(figures.ours, figures.unit).to_string(),
            Amount(figures.floor, figures.unit).to_string(),
            figures.ratio,
            if met { "met" } else { "NOT MET" }
        )
    }

    /// Whether every row so far met its bar.
    pub(crate) fn all_met(&self) -> bool {
        self.all_met
    }
}

/// A number with its unit, at a scale that people read.
struct Amount(f64, Unit);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Amount(n, Unit::Seconds) if n >= 1.0 => write!(f, "{n:.2} s"),
            Amount(n, Unit::Seconds) => write!(f, "{:.2} ms", n * 1e3),
            Amount(n, Unit::Bytes) => write!(f, "{:.2} MiB", n / f64::from(1 << 20)),
        }
    }
}
