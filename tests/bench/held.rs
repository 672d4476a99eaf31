//! The rows on records that are held over several reads: what a read-ahead wins, and what a window costs.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::Row;
use crate::driver::{Daemon, Reads};
use crate::floor;
use crate::measure::{self, interleaved, timed};
use crate::report::{Bar, Figures, Unit};
use crate::rows::{Bench, MIB, until_exists};

/// What is held in the rows on memory, counted in the daemon's lines. A batch is half of what is read ahead.
const HELD: usize = 64 * MIB;

/// The records of a small read.
const READ: usize = 20;

/// The bars of what is held.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "held-jobs",
        what: "--jobs 32, reads of 5, 50 ms a record, --read-ahead 1MiB / 0",
        bar: Bar::AtLeast(5.0),
        measure: jobs,
    },
    Row {
        name: "held-large",
        what: "peak memory, a window of 64 MiB, records of 10 kB / 64 MiB",
        bar: Bar::AtMost(1.5),
        measure: |bench| window_memory(bench, 10_000, &[]),
    },
    Row {
        name: "held-small",
        what: "the same, records of 100 bytes / 64 MiB",
        bar: Bar::AtMost(1.8),
        measure: |bench| window_memory(bench, 100, &[]),
    },
    Row {
        name: "held-large-spool",
        what: "the same, records of 10 kB, --spool-dir / 64 MiB",
        bar: Bar::AtMost(0.5),
        measure: |bench| window_memory(bench, 10_000, &["--spool-dir", bench.folder()?]),
    },
    Row {
        name: "held-small-spool",
        what: "the same, records of 100 bytes, --spool-dir / 64 MiB",
        bar: Bar::AtMost(0.5),
        measure: |bench| window_memory(bench, 100, &["--spool-dir", bench.folder()?]),
    },
    Row {
        name: "held-keys",
        what: "memory after 1,000,000 records of 100,000 keys / 100,000",
        bar: Bar::AtMost(1.2),
        measure: many_keys,
    },
    Row {
        name: "held-window",
        what: "handlers started, 200 records/s, --batch-window 5s / windows",
        bar: Bar::AtMost(1.0),
        measure: starts,
    },
    Row {
        name: "held-idle-cpu",
        what: "CPU while a checkpoint is due that cannot be sent / 1 %",
        bar: Bar::AtMost(1.0),
        measure: idle_cpu,
    },
];

/// Records that come five at a time to handlers that wait: without a read-ahead five work, with one all do.
fn jobs(bench: &Bench) -> Result<Figures> {
    let handler = floor::sleeper(50)?;
    let handler: Vec<&str> = handler.iter().map(String::as_str).collect();
    let rate = |options: &[&str], records: usize| {
        let options = [&["--jobs", "32"], options].concat();
        let mut daemon = Daemon::start(&options, &handler)?;
        daemon.initialize()?;
        let reads = Reads::new(5, &[b'r'; 100]).keys(64);
        let seconds = timed(|| {
            for read in 0..records / 5 {
                daemon.process(&reads.line(read))?;
            }
            daemon.end_shard()
        })?;
        daemon.close()?;
        Ok(records as f64 / seconds)
    };
    let (many, few) = (bench.rounds(400) * 5, bench.rounds(60) * 5);
    let ahead = || rate(&["--read-ahead", "1MiB"], many);
    let not = || rate(&[], few);
    let [ahead, not] = interleaved(bench.rounds(3), [&ahead, &not])?;
    Ok(Figures::against(&ahead, &not, Unit::Rate))
}

/// The most that kclpipe and the file of its batch in memory hold at a time, from the first record that is
/// collected to the end of the handler that gets all of them.
fn window_memory(bench: &Bench, payload: usize, options: &[&str]) -> Result<Figures> {
    let window = [
        "--per",
        "batch",
        "--format",
        "lines",
        "--batch-window",
        "1h",
    ];
    let read_ahead = (2 * HELD).to_string();
    let options = [&window[..], &["--read-ahead", &read_ahead], options].concat();
    let reads = Reads::new(1_000_000 / payload, &vec![b'r'; payload]);
    let handler = bench.script("exec cat > /dev/null")?;
    let peak = || {
        let mut daemon = Daemon::start(&options, &[&handler])?;
        daemon.initialize()?;
        let peak = daemon.watch_memory();
        let mut held = 0;
        for read in 0.. {
            let line = reads.line(read);
            held += line.len();
            if held > HELD {
                break;
            }
            daemon.process(&line)?;
        }
        daemon.end_shard()?;
        daemon.close()?;
        Ok(peak.most()? as f64)
    };
    measure::against_fixed(bench.rounds(3), &peak, HELD, Unit::Bytes)
}

/// Keys come and go, and nothing of them stays. Per shard, or it would take an hour.
fn many_keys(bench: &Bench) -> Result<Figures> {
    const RECORDS: usize = 10_000;
    let options = "--per shard --format lines --inflight 1024 --jobs 8 --read-ahead 8MiB";
    let options: Vec<&str> = options.split(' ').collect();
    let helper = floor::helper(1)?;
    let helper: Vec<&str> = helper.iter().map(String::as_str).collect();
    let reads = Reads::new(RECORDS, &[b'r'; 100]).keys(100_000);
    let mut daemon = Daemon::start(&options, &helper)?;
    daemon.initialize()?;
    let mut memory_after = |reads_from: usize, reads_to: usize| {
        for read in reads_from..reads_to {
            daemon.process(&reads.line(read))?;
        }
        daemon.memory("VmRSS")
    };
    let tenth = memory_after(0, 10)?;
    let all = memory_after(10, 10 + bench.rounds(90))?;
    daemon.end_shard()?;
    daemon.close()?;
    Ok(Figures::against_fixed(
        all as f64,
        tenth as usize,
        Unit::Bytes,
    ))
}

/// A steady stream in small reads, and a handler that notes that it was started.
fn starts(bench: &Bench) -> Result<Figures> {
    let windows = bench.rounds(3);
    let length = Duration::from_secs(bench.rounds(5) as u64);
    let notes = bench.new_path();
    let handler = bench.script(&format!("cat > /dev/null; echo >> '{}'", notes.display()))?;
    let window = format!("{}s", length.as_secs());
    let options = ["--per", "batch", "--batch-window", &window];
    let mut daemon = Daemon::start(&options, &[&handler])?;
    daemon.initialize()?;
    let reads = Reads::new(READ, &[b'r'; 100]);
    let (began, pause) = (Instant::now(), Duration::from_millis(100));
    // Half a window more, in which none ends.
    let end = length.mul_f64(windows as f64 + 0.5);
    for read in 0.. {
        if began.elapsed() >= end {
            break;
        }
        daemon.process(&reads.line(read))?;
        thread::sleep(pause);
    }
    let started = fs::read(&notes).context("no handler was started")?.len();
    daemon.lose_lease()?;
    Ok(Figures::against_fixed(started as f64, windows, Unit::Count))
}

/// A checkpoint falls due with each record, and the daemon does not call.
fn idle_cpu(bench: &Bench) -> Result<Figures> {
    let idle = Duration::from_secs(bench.rounds(5) as u64);
    let done = bench.new_path();
    let handler = bench.script(&format!("sleep 0.2; echo >> '{}'", done.display()))?;
    let options = ["--read-ahead", "1MiB", "--checkpoint-records", "1"];
    let cost = || {
        let mut daemon = Daemon::start(&options, &[&handler])?;
        daemon.initialize()?;
        daemon.process(&Reads::new(1, b"r").line(0))?;
        until_exists(&done)?;
        let before = daemon.own_cpu()?;
        thread::sleep(idle);
        let cost = daemon.own_cpu()? - before;
        daemon.lose_lease()?;
        Ok(cost / idle.as_secs_f64() * 100.0)
    };
    measure::against_fixed(1, &cost, 1, Unit::Percent)
}
