//! Clocks, medians, and what the system knows of a process.

use std::ffi::OsStr;
use std::fs;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use crate::older;
use crate::report::{Figures, Unit};

/// One tick of the times in `/proc/PID/stat`: USER_HZ is 100 on every Linux.
const TICK: f64 = 0.01;

/// Of a process that has ended.
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    /// The CPU time of it and of every descendant that was waited for, in seconds.
    pub(crate) tree_cpu: f64,
}

/// `program`, without what cargo puts into the environment: a search path for libraries would slow every
/// start of every handler.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let from_cargo = ["LD_", "DYLD_", "CARGO", "RUST", "KCLPIPE_"]
            .iter()
            .any(|prefix| name.as_encoded_bytes().starts_with(prefix.as_bytes()));
        if from_cargo {
            command.env_remove(name);
        }
    }
    command
}

/// Starts it as a daemon starts a child: with pipes. Its stderr, which nobody would read, goes nowhere.
pub(crate) fn start(mut command: Command) -> Result<Child> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    command
        .spawn()
        .with_context(|| format!("cannot start {:?}", command.get_program()))
}

/// Waits for `child`; its figures are read before it is reaped, for afterwards there are none.
pub(crate) fn end_of(child: &mut Child) -> Result<End> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(Pid::from_child(child)), options)?;
    let tree_cpu = cpu(child.id(), 4)?;
    let status = child.wait()?;
    Ok(End { status, tree_cpu })
}

/// The CPU time of a process alone, in seconds.
pub(crate) fn own_cpu(pid: u32) -> Result<f64> {
    cpu(pid, 2)
}

/// The first so many of: the user and system time of a process, and of the children it waited for.
fn cpu(pid: u32, times: usize) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything; behind it the times are the 12th to 15th.
    let (_, fields) = stat.rsplit_once(')').context("no name in /proc/PID/stat")?;
    let times = fields.split_whitespace().skip(11).take(times);
    let ticks: u64 = times.map(str::parse::<u64>).sum::<Result<u64, _>>()?;
    Ok(ticks as f64 * TICK)
}

/// A figure of `/proc/PID/status`, in bytes.
pub(crate) fn memory(pid: u32, name: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim_matches([':', '\t', ' ']).strip_suffix(" kB"));
    let kib: u64 = number.with_context(|| format!("no {name}"))?.parse()?;
    Ok(kib * 1024)
}

/// How long `run` takes, in seconds.
pub(crate) fn timed(run: impl FnOnce() -> Result<()>) -> Result<f64> {
    let began = Instant::now();
    run()?;
    Ok(began.elapsed().as_secs_f64())
}

/// Runs each of `sides` once per round, so that a change in the machine's mood hits all of them. Where an older
/// kclpipe is given, the second side is the first one with that.
pub(crate) fn interleaved<const N: usize>(
    rounds: usize,
    sides: [&dyn Fn() -> Result<f64>; N],
) -> Result<[Vec<f64>; N]> {
    let mut samples = std::array::from_fn(|_| Vec::with_capacity(rounds));
    for _ in 0..rounds {
        for (number, samples) in samples.iter_mut().enumerate() {
            samples.push(match number {
                1 if older::is_given() => older::run(sides[0])?,
                _ => sides[number]()?,
            });
        }
    }
    Ok(samples)
}

/// A side against an amount that need not be measured, or against the same side of an older kclpipe.
pub(crate) fn against_fixed(
    rounds: usize,
    side: &dyn Fn() -> Result<f64>,
    amount: usize,
    unit: Unit,
) -> Result<Figures> {
    if older::is_given() {
        let [ours, older] = interleaved(rounds, [side, side])?;
        return Ok(Figures::against(&ours, &older, unit));
    }
    let [ours] = interleaved(rounds, [side])?;
    Ok(Figures::against_fixed(median(&ours), amount, unit))
}

/// The middle one.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
