//! The rows: each function measures both sides of one, in runs that take turns.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

use crate::driver::{self, Daemon};
use crate::floor;
use crate::measure::{self, command, interleaved, timed};
use crate::older;
use crate::report::{Figures, Unit};

const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

/// What the measuring functions share.
pub(crate) struct Bench {
    folder: TempDir,
    in_earnest: bool,
    files: Cell<u32>,
}

impl Bench {
    /// With a folder of its own; unless `in_earnest`, every side runs once.
    pub(crate) fn new(in_earnest: bool) -> Result<Bench> {
        let folder = tempfile::tempdir().context("no folder for the handlers")?;
        Ok(Bench {
            folder,
            in_earnest,
            files: Cell::new(0),
        })
    }

    /// Whether bars count.
    pub(crate) fn in_earnest(&self) -> bool {
        self.in_earnest
    }

    /// So many, or one unless this is in earnest.
    pub(crate) fn rounds(&self, rounds: usize) -> usize {
        if self.in_earnest { rounds } else { 1 }
    }

    /// Our folder.
    pub(crate) fn folder(&self) -> Result<&str> {
        let path = self.folder.path().to_str();
        path.context("the folder's name is not UTF-8")
    }

    /// A name in our folder that nothing has yet.
    pub(crate) fn new_path(&self) -> PathBuf {
        self.files.set(self.files.get() + 1);
        self.folder.path().join(self.files.get().to_string())
    }

    /// An executable sh script.
    pub(crate) fn script(&self, text: &str) -> Result<String> {
        let path = self.new_path();
        fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let path = path.to_str().context("the folder's name is not UTF-8")?;
        Ok(path.to_owned())
    }
}

/// The CPU time of kclpipe and its handlers, against a loop that does nothing but start the same script
/// with three pipes, feed it and wait.
pub(crate) fn record_cpu(bench: &Bench) -> Result<Figures> {
    const RECORDS: usize = 1000;
    let handler = bench.script("read -r line")?;
    let batch = driver::batch(RECORDS, floor::PAYLOAD);
    let ours = || {
        let mut daemon = Daemon::start(&[], &[&handler])?;
        daemon.initialize()?;
        daemon.process(&batch)?;
        Ok(daemon.lose_lease()?.tree_cpu)
    };
    let floor = || floor::spawns(&handler, RECORDS).map(|end| end.tree_cpu);
    let [ours, floor] = interleaved(bench.rounds(9), [&ours, &floor])?;
    Ok(Figures::against(&ours, &floor, Unit::Seconds))
}

/// From the start to the answer to `initialize`, against a whole life of `true`.
pub(crate) fn start(bench: &Bench) -> Result<Figures> {
    let ours = || {
        let began = Instant::now();
        let mut daemon = Daemon::start(&[], &["true"])?;
        daemon.initialize()?;
        let took = began.elapsed();
        daemon.lose_lease()?;
        Ok(took.as_secs_f64())
    };
    let floor = || {
        let began = Instant::now();
        let mut child = measure::start(command("true"))?;
        child.wait()?;
        Ok(began.elapsed().as_secs_f64())
    };
    let [ours, floor] = interleaved(bench.rounds(201), [&ours, &floor])?;
    Ok(Figures::against(&ours, &floor, Unit::Seconds))
}

/// From the end of the daemon's input to kclpipe's exit while a handler sleeps, less what it takes a
/// process to see the end of its input and exit; against killing and awaiting the handler oneself.
pub(crate) fn stop(bench: &Bench) -> Result<Figures> {
    let batch = driver::batch(1, floor::PAYLOAD);
    let ours = || {
        let (handler, running) = sleeper(bench)?;
        let mut daemon = Daemon::start(&[], &[&handler])?;
        daemon.initialize()?;
        daemon.say(&batch)?;
        until_exists(&running)?;
        timed(|| daemon.close().map(|_| ()))
    };
    let kill = || {
        let (handler, running) = sleeper(bench)?;
        let mut handler = command(&handler);
        handler.process_group(0);
        let mut handler = measure::start(handler)?;
        until_exists(&running)?;
        timed(|| {
            kill_process_group(Pid::from_child(&handler), Signal::TERM)?;
            handler.wait().map(|_| ()).map_err(Into::into)
        })
    };
    let poll = || {
        let mut waiter = floor::waiter()?;
        settle();
        timed(|| waiter.wait().map(|_| ()).map_err(Into::into))
    };
    let [ours, kill, poll] = interleaved(bench.rounds(41), [&ours, &kill, &poll])?;
    let ours: Vec<f64> = ours.iter().zip(&poll).map(|(a, b)| a - b).collect();
    Ok(Figures::against(&ours, &kill, Unit::Seconds))
}

/// A handler that sleeps, and the file that it makes before.
fn sleeper(bench: &Bench) -> Result<(String, PathBuf)> {
    let running = bench.new_path();
    let handler = bench.script(&format!(": > '{}'\nexec sleep 60", running.display()))?;
    Ok((handler, running))
}

/// Waits for what a handler makes, and for the rest after it.
pub(crate) fn until_exists(file: &Path) -> Result<()> {
    let began = Instant::now();
    while !file.exists() {
        if began.elapsed() > Duration::from_secs(10) {
            bail!("the handler did not start");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    settle();
    Ok(())
}

/// Gives a process that was just started the time to come to rest.
fn settle() {
    std::thread::sleep(Duration::from_millis(20));
}

/// What an idle kclpipe holds: there is one per leased shard.
pub(crate) fn idle_memory(bench: &Bench) -> Result<Figures> {
    let ours = || {
        let mut daemon = Daemon::start(&[], &["true"])?;
        daemon.initialize()?;
        settle();
        let resident = daemon.memory("VmRSS")?;
        daemon.lose_lease()?;
        Ok(resident as f64)
    };
    measure::against_fixed(bench.rounds(5), &ours, 4 * MIB, Unit::Bytes)
}

/// The peak at a batch of many small records.
pub(crate) fn batch_memory(bench: &Bench) -> Result<Figures> {
    peak_memory(bench, &driver::batch(10_000, &vec![b'r'; KIB]))
}

/// The peak at the largest record that Kinesis takes.
pub(crate) fn record_memory(bench: &Bench) -> Result<Figures> {
    peak_memory(bench, &driver::batch(1, &vec![b'r'; 10 * MIB]))
}

/// The peak while `batch` is in hand and its first record has been handed over: no later one costs more.
fn peak_memory(bench: &Bench, batch: &str) -> Result<Figures> {
    let handler = bench.script("exec cat > /dev/null")?;
    let ours = || {
        let mut daemon = Daemon::start(&["--checkpoint-records", "1"], &[&handler])?;
        daemon.initialize()?;
        daemon.say(batch)?;
        ensure!(daemon.hear()?.is_checkpoint(), "no checkpoint");
        let peak = daemon.memory("VmHWM")?;
        daemon.close()?;
        Ok(peak as f64)
    };
    measure::against_fixed(bench.rounds(3), &ours, batch.len(), Unit::Bytes)
}

/// The program as it is installed.
pub(crate) fn size(_: &Bench) -> Result<Figures> {
    let size = || Ok(fs::metadata(older::program())?.len() as f64);
    measure::against_fixed(1, &size, 3 * MIB, Unit::Bytes)
}
