//! The floors: programs that do the same work and nothing else. They are this executable again, with
//! [`ARGUMENT`] first, so that each is a process with its own figures.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::bare;
use crate::driver::Daemon;
use crate::measure::{self, End, command};

/// What makes this executable a floor.
pub(crate) const ARGUMENT: &str = "--floor";

/// What a handler that reads one line is given.
pub(crate) const PAYLOAD: &[u8] = b"one line of a record, for a handler that reads one\n";

/// Runs the floor that these arguments name, as a process of its own.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [name, handler, count] if name == "spawns" => spawn_in_turn(handler, count.parse()?),
        [name] if name == "waiter" => read_to_the_end(),
        [name, millis] if name == "sleeper" => sleep(millis.parse()?),
        [name, way, format, handler @ ..] if name == "bridge" => bare::run(way, format, handler),
        [name, group] if name == "helper" => bare::answer_in_groups(group.parse()?),
        _ => bail!("no such floor: {arguments:?}"),
    }
}

/// A run of a bare loop that starts `handler` so many times, one after the other.
pub(crate) fn spawns(handler: &str, count: usize) -> Result<End> {
    let mut floor = start(&["spawns", handler, &count.to_string()])?;
    let end = measure::end_of(&mut floor)?;
    ensure!(end.status.success(), "the floor ended with {}", end.status);
    Ok(end)
}

fn spawn_in_turn(handler: &str, count: usize) -> Result<()> {
    for _ in 0..count {
        let mut child = std::process::Command::new(handler)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("the handler has no stdin")?;
        input.write_all(PAYLOAD)?;
        drop(input);
        ensure!(child.wait()?.success(), "the handler failed");
    }
    Ok(())
}

/// A process that waits for the end of its input and exits.
pub(crate) fn waiter() -> Result<Child> {
    start(&["waiter"])
}

fn read_to_the_end() -> Result<()> {
    Ok(io::stdin().read_to_end(&mut Vec::new()).map(|_| ())?)
}

/// A compiled handler that reads its record and then waits, as one does that asks a server.
pub(crate) fn sleeper(millis: u64) -> Result<Vec<String>> {
    handler(&["sleeper", &millis.to_string()])
}

fn sleep(millis: u64) -> Result<()> {
    read_to_the_end()?;
    thread::sleep(Duration::from_millis(millis));
    Ok(())
}

/// The bare bridge as the daemon's child, with this handler.
pub(crate) fn bridge(way: &str, format: &str, handler: &[String]) -> Result<Daemon> {
    let mut bridge = this_again(&["bridge", way, format])?;
    bridge.args(handler);
    Daemon::play(bridge)
}

/// A compiled handler that answers `upto` for each group of so many lines.
pub(crate) fn helper(group: usize) -> Result<Vec<String>> {
    handler(&["helper", &group.to_string()])
}

/// This executable as a handler.
fn handler(arguments: &[&str]) -> Result<Vec<String>> {
    let this = std::env::current_exe()?;
    let this = this.to_str().context("this program's name is not UTF-8")?;
    let words = [this, ARGUMENT]
        .into_iter()
        .chain(arguments.iter().copied());
    Ok(words.map(str::to_owned).collect())
}

fn start(arguments: &[&str]) -> Result<Child> {
    measure::start(this_again(arguments)?)
}

fn this_again(arguments: &[&str]) -> Result<Command> {
    let mut floor = command(std::env::current_exe()?);
    floor.arg(ARGUMENT).args(arguments);
    Ok(floor)
}
