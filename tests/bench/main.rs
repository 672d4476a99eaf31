//! What kclpipe costs, against floors measured in the same run.
//!
//! `cargo bench` prints one table, `cargo bench -- NAME` the rows whose name holds NAME. A figure alone says
//! more about the machine than about kclpipe, so each has a floor next to it: the same work done by a
//! program that does nothing else, in runs that take turns with kclpipe's. The bar is on the ratio, and
//! the exit code is 1 where one is not met.
//!
//! A row is an entry of [`ROWS`], [`ways::ROWS`], [`filter::ROWS`], [`held::ROWS`], [`many::ROWS`], [`peers::ROWS`] or
//! [`lambda::ROWS`] with a function that measures both sides; [`older`] puts an older kclpipe in the place of the floors.
//! [`driver`] plays the daemon, [`floor`], [`bare`] and [`runtime_api`] have the floors, [`measure`] the clocks and
//! medians, [`report`] the table. The peers are other programs, installed on demand, as is the runtime client of the
//! functions; without Python or the network their rows are skipped.

mod bare;
mod driver;
mod filter;
mod floor;
mod held;
mod lambda;
mod many;
mod measure;
mod older;
mod peak;
mod peers;
mod report;
mod rows;
mod runtime_api;
mod ways;

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context, Result};

use report::{Bar, Figures, Table};
use rows::Bench;

/// One line of the table.
struct Row {
    /// What `cargo bench -- NAME` picks it by.
    name: &'static str,
    /// What is measured of kclpipe, and against what.
    what: &'static str,
    bar: Bar,
    measure: fn(&Bench) -> Result<Figures>,
}

/// The bars are the project's promises on cost.
const ROWS: &[Row] = &[
    Row {
        name: "record-cpu",
        what: "CPU of 1,000 records, a sh handler each / bare spawns",
        bar: Bar::AtMost(1.15),
        measure: rows::record_cpu,
    },
    Row {
        name: "start",
        what: "start to the initialize status / run of true",
        bar: Bar::AtMost(3.0),
        measure: rows::start,
    },
    Row {
        name: "stop",
        what: "end of input to exit, less one poll / kill and wait",
        bar: Bar::AtMost(3.0),
        measure: rows::stop,
    },
    Row {
        name: "idle-memory",
        what: "resident memory when idle / 4 MiB",
        bar: Bar::AtMost(1.0),
        measure: rows::idle_memory,
    },
    Row {
        name: "batch-memory",
        what: "peak memory, 10,000 records of 1 KiB / their line",
        bar: Bar::AtMost(3.0),
        measure: rows::batch_memory,
    },
    Row {
        name: "record-memory",
        what: "peak memory, a record of 10 MiB / its line",
        bar: Bar::AtMost(3.0),
        measure: rows::record_memory,
    },
    Row {
        name: "size",
        what: "size of the stripped program / 3 MiB",
        bar: Bar::AtMost(1.0),
        measure: rows::size,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == floor::ARGUMENT => floor::run(rest).map(|()| true),
        _ => bench(&arguments),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            let _ = writeln!(io::stderr(), "bench: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Measures the rows that were asked for; whether every bar was met. Without cargo's `--bench`, which is
/// how `cargo test --all-targets` runs us, each side runs once, and no bar counts.
fn bench(arguments: &[String]) -> Result<bool> {
    let in_earnest = arguments.iter().any(|argument| argument == "--bench");
    let wanted = arguments
        .iter()
        .find(|argument| !argument.starts_with('-'))
        .map_or("", String::as_str);
    let bench = Bench::new(in_earnest)?;
    let mut table = Table::begin(io::stdout())?;
    for row in of(wanted, ROWS).chain(of(wanted, ways::ROWS)) {
        row.fill(&bench, &mut table)?;
    }
    if !older::is_given() {
        for row in of(wanted, filter::ROWS)
            .chain(of(wanted, held::ROWS))
            .chain(of(wanted, many::ROWS))
        {
            row.fill(&bench, &mut table)?;
        }
        measure_peers(wanted, &bench, &mut table)?;
    }
    Ok(table.all_met() || !in_earnest)
}

fn measure_peers(wanted: &str, bench: &Bench, table: &mut Table<impl Write>) -> Result<()> {
    for row in of(wanted, peers::ROWS).chain(of(wanted, lambda::ROWS)) {
        match peers::prepare(bench.in_earnest()) {
            Ok(()) => row.fill(bench, table)?,
            Err(e) => table.skipped(row.name, &e)?,
        }
    }
    Ok(())
}

fn of<'a>(wanted: &'a str, rows: &'a [Row]) -> impl Iterator<Item = &'a Row> {
    rows.iter().filter(move |row| row.name.contains(wanted))
}

impl Row {
    fn fill(&self, bench: &Bench, table: &mut Table<impl Write>) -> Result<()> {
        let figures =
            (self.measure)(bench).with_context(|| format!("in the row '{}'", self.name))?;
        let bar = match older::is_given() {
            true => self.bar.of_older(),
            false => self.bar,
        };
        Ok(table.row(self.name, self.what, &figures, bar)?)
    }
}
