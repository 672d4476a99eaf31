//! The rows on functions that were written for AWS Lambda, with AWS's own runtime client for Python: what `kclpipe
//! lambda` costs them, and what it saves against a process for each event.
//!
//! kclpipe adds a little to each event, whatever the function does with it. So the first row has a function that works
//! on each record, as real ones do; next to one that does nothing, the ratio is about 0.6. The second row has that
//! one: the longer a function works, the less a start matters.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::Row;
use crate::driver::{self, Daemon};
use crate::filter::order;
use crate::measure::{command, interleaved};
use crate::older;
use crate::peers;
use crate::report::{Bar, Figures, Unit};
use crate::rows::Bench;
use crate::runtime_api;
use crate::ways::Load;

/// The bars of functions.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "lambda-events",
        what: "kclpipe lambda, awslambdaric, 100 orders an event / bare API",
        bar: Bar::AtLeast(0.8),
        measure: events,
    },
    Row {
        name: "lambda-warm",
        what: "the same, 100 bytes, does nothing / started for each event",
        bar: Bar::AtLeast(50.0),
        measure: warm,
    },
];

/// What starts the function anew.
const START: &str = include_str!("../../docs/examples/lambda/run.py");

/// The records of an event.
const SIZE: usize = 100;

/// What the daemon sends at a time.
const EVENTS: usize = 50;

/// The function that works on each record, and the one that does not.
const FUNCTIONS: [&str; 2] = ["lambda_function.transform", "lambda_function.handler"];

/// The same events, once from kclpipe and once from a server that has nothing else to do.
fn events(bench: &Bench) -> Result<Figures> {
    let (python, [function, _]) = (python()?, FUNCTIONS);
    let event = an_event(bench)?;
    let load = load(bench, &order("paid"), EVENTS, 20);
    let ours = || Ok(load.give(kept_warm(&python, function)?)?.rate());
    let bare = || {
        let events = bench.rounds(1000);
        let rate = runtime_api::rate(client(&python, function), &event, events)?;
        Ok(rate * SIZE as f64)
    };
    let [ours, bare] = interleaved(bench.rounds(9), [&ours, &bare])?;
    Ok(Figures::against(&ours, &bare, Unit::Rate))
}

fn warm(bench: &Bench) -> Result<Figures> {
    let (python, [_, function]) = (python()?, FUNCTIONS);
    let [many, few] =
        [(EVENTS, 20), (20, 1)].map(|(events, reads)| load(bench, &[b'r'; 100], events, reads));
    let ours = || Ok(many.give(kept_warm(&python, function)?)?.rate());
    let cold = || Ok(few.give(started_anew(&python)?)?.rate());
    let [ours, cold] = interleaved(bench.rounds(5), [&ours, &cold])?;
    Ok(Figures::against(&ours, &cold, Unit::Rate))
}

fn load(bench: &Bench, payload: &[u8], events: usize, reads: usize) -> Load {
    Load::new(bench, events * SIZE, payload, reads)
}

/// Python itself: what the search path leads to may be a script that looks for it first, and would be most of a start.
fn python() -> Result<String> {
    let asks = ["-c", "import sys; print(sys.executable)"];
    let said = command("python3").args(asks).output()?;
    ensure!(said.status.success(), "python3 does not run");
    Ok(String::from_utf8(said.stdout)?.trim().to_owned())
}

/// AWS's runtime client with a function.
fn client(python: &str, function: &str) -> Command {
    let mut client = command(python);
    client.args(["-m", "awslambdaric", function]);
    with_modules(&mut client);
    client
}

/// kclpipe with a function whose process stays.
fn kept_warm(python: &str, function: &str) -> Result<Daemon> {
    let mut kclpipe = kclpipe("shard");
    kclpipe.arg(older::program()).args(["lambda", "--", python]);
    kclpipe.args(client(python, function).get_args());
    Daemon::play(kclpipe)
}

/// kclpipe with the function that does nothing, as a process for each event.
fn started_anew(python: &str) -> Result<Daemon> {
    let mut kclpipe = kclpipe("batch");
    kclpipe.args([python, "-c", START]);
    Daemon::play(kclpipe)
}

/// kclpipe with its options, up to the handler. A function that fails ends the measurement.
fn kclpipe(per: &str) -> Command {
    let way = format!("--per {per} --format lambda --batch-size {SIZE}");
    let failure = "--max-attempts 1 --on-failure halt";
    let mut kclpipe = command(older::program());
    kclpipe.args(way.split(' ').chain(failure.split(' ')));
    kclpipe.arg("--");
    with_modules(&mut kclpipe);
    kclpipe
}

fn with_modules(command: &mut Command) {
    let folders = [peers::folder().join("awslambdaric"), peers::here()];
    let folders = folders.map(|folder| folder.display().to_string());
    command.env("PYTHONPATH", folders.join(":"));
}

/// An event as kclpipe makes it.
fn an_event(bench: &Bench) -> Result<Vec<u8>> {
    let file = bench.new_path();
    let keep = bench.script(&format!("exec cat >'{}'", file.display()))?;
    let mut daemon = Daemon::start(&["--per", "batch", "--format", "lambda"], &[&keep])?;
    daemon.initialize()?;
    daemon.process(&driver::batch(SIZE, &order("paid")))?;
    daemon.close()?;
    fs::read(file).context("no event")
}
