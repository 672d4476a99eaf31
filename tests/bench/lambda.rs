//! The rows on functions that were written for AWS Lambda, with AWS's own runtime client for Python: what `kclpipe
//! lambda` costs them, and what it saves against a process for each event.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::Row;
use crate::driver::{self, Daemon};
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
        what: "--per shard, lambda, kclpipe lambda, awslambdaric / bare Runtime API",
        bar: Bar::AtLeast(0.8),
        measure: events,
    },
    Row {
        name: "lambda-warm",
        what: "the same / --per batch, lambda, the function started for each event",
        bar: Bar::AtLeast(50.0),
        measure: warm,
    },
];

/// The records of an event, of 100 bytes each.
const SIZE: usize = 100;

/// What the daemon sends at a time.
const EVENTS: usize = 50;

/// The same events, once from kclpipe and once from a server that has nothing else to do.
fn events(bench: &Bench) -> Result<Figures> {
    let python = python()?;
    let event = an_event(bench)?;
    let load = load(bench, EVENTS, 20);
    let ours = || Ok(load.give(kept_warm(&python)?)?.rate());
    let bare = || {
        let events = bench.rounds(1000);
        Ok(runtime_api::rate(function(&python), &event, events)? * SIZE as f64)
    };
    let [ours, bare] = interleaved(bench.rounds(9), [&ours, &bare])?;
    Ok(Figures::against(&ours, &bare, Unit::Rate))
}

fn warm(bench: &Bench) -> Result<Figures> {
    let python = python()?;
    let (many, few) = (load(bench, EVENTS, 20), load(bench, 20, 1));
    let ours = || Ok(many.give(kept_warm(&python)?)?.rate());
    let cold = || Ok(few.give(started_anew(&python)?)?.rate());
    let [ours, cold] = interleaved(bench.rounds(5), [&ours, &cold])?;
    Ok(Figures::against(&ours, &cold, Unit::Rate))
}

fn load(bench: &Bench, events: usize, reads: usize) -> Load {
    Load::new(bench, events * SIZE, &[b'r'; 100], reads)
}

/// Python itself: what the search path leads to may be a script that looks for it first, and would be most of a start.
fn python() -> Result<String> {
    let asks = ["-c", "import sys; print(sys.executable)"];
    let said = command("python3").args(asks).output()?;
    ensure!(said.status.success(), "python3 does not run");
    Ok(String::from_utf8(said.stdout)?.trim().to_owned())
}

/// The function with its runtime client.
fn function(python: &str) -> Command {
    let mut function = command(python);
    function.args(["-m", "awslambdaric", "lambda_function.handler"]);
    with_modules(&mut function);
    function
}

/// kclpipe with the function, whose process stays.
fn kept_warm(python: &str) -> Result<Daemon> {
    let function = function(python);
    let mut kclpipe = kclpipe("shard");
    kclpipe.arg(older::program()).args(["lambda", "--"]);
    kclpipe.arg(python).args(function.get_args());
    Daemon::play(kclpipe)
}

/// kclpipe with the function, as a process for each event.
fn started_anew(python: &str) -> Result<Daemon> {
    let run = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/lambda/run.py");
    let mut kclpipe = kclpipe("batch");
    kclpipe.args([python, run]);
    Daemon::play(kclpipe)
}

/// kclpipe with its options, up to the handler.
fn kclpipe(per: &str) -> Command {
    let mut kclpipe = command(older::program());
    let size = SIZE.to_string();
    kclpipe.args([
        "--per",
        per,
        "--format",
        "lambda",
        "--batch-size",
        &size,
        "--",
    ]);
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
    daemon.process(&driver::batch(SIZE, &[b'r'; 100]))?;
    daemon.close()?;
    fs::read(file).context("no event")
}
