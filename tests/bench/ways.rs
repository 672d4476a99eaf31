//! The rows on throughput: kclpipe's ways of handing records over, each against the bare bridge with the
//! same handler, under the same daemon and with the same lines.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::Row;
use crate::driver::{self, Daemon};
use crate::floor;
use crate::measure::{self, interleaved};
use crate::report::{Bar, Figures, Unit};
use crate::rows::Bench;

/// The records of a batch whose groups of 256 are all whole.
const RECORDS: usize = 39 * 256;

/// A record of 100 bytes.
const SMALL: &[u8] = &[b'r'; 100];

/// The bars of the ways.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "shard-jsonl",
        what: "--per shard --inflight 1024, 100 bytes, jsonl / bare bridge",
        bar: Bar::AtLeast(0.7),
        measure: |bench| stream(bench, "jsonl", Ran::rate, Unit::Rate),
    },
    Row {
        name: "shard-jsonl-cpu",
        what: "its own CPU a record / the bare bridge's",
        bar: Bar::AtMost(1.5),
        measure: |bench| stream(bench, "jsonl", Ran::cpu_a_record, Unit::Seconds),
    },
    Row {
        name: "shard-lines",
        what: "the same, lines / bare bridge",
        bar: Bar::AtLeast(0.7),
        measure: |bench| stream(bench, "lines", Ran::rate, Unit::Rate),
    },
    Row {
        name: "shard-lines-cpu",
        what: "its own CPU a record / the bare bridge's",
        bar: Bar::AtMost(1.5),
        measure: |bench| stream(bench, "lines", Ran::cpu_a_record, Unit::Seconds),
    },
    Row {
        name: "metrics-cpu",
        what: "its own CPU a record with --metrics-dir, jsonl / without",
        bar: Bar::AtMost(1.03),
        measure: metrics,
    },
    Row {
        name: "large-lines",
        what: "--per shard, records of 50 kB, lines / bare bridge",
        bar: Bar::AtLeast(0.8),
        measure: |bench| large(bench, "lines"),
    },
    Row {
        name: "large-base64",
        what: "the same, jsonl with dataBase64 / bare bridge",
        bar: Bar::AtLeast(0.8),
        measure: |bench| large(bench, "base64"),
    },
    Row {
        name: "step-dash",
        what: "--per shard, lock-step with dash's read / bare loop",
        bar: Bar::AtLeast(0.8),
        measure: |bench| lock_step(bench, "dash"),
    },
    Row {
        name: "step-bash",
        what: "--per shard, lock-step with bash's read / bare loop",
        bar: Bar::AtLeast(0.8),
        measure: |bench| lock_step(bench, "bash"),
    },
    Row {
        name: "batch-jsonl",
        what: "--per batch, 10,000 records, jsonl to cat > /dev/null / bare",
        bar: Bar::AtLeast(0.8),
        measure: batch,
    },
    Row {
        name: "batch-large",
        what: "--per batch, 16 MB, records of 50 kB, lines to cat / bare",
        // The floor feeds its handler while it decodes; ours starts with its whole input.
        bar: Bar::AtLeast(0.3),
        measure: large_batch,
    },
    Row {
        name: "jobs",
        what: "--jobs 32, 32 keys, handlers that sleep 100 ms / --jobs 1",
        bar: Bar::AtLeast(28.0),
        measure: jobs,
    },
    Row {
        name: "memory-batch",
        what: "peak memory, 10,000 of 1 KiB, --per batch, jsonl / their line",
        bar: Bar::AtMost(3.0),
        measure: |bench| memory(bench, &["--per", "batch"]),
    },
    Row {
        name: "memory-lambda",
        what: "the same, --per batch, lambda / their line",
        bar: Bar::AtMost(3.0),
        measure: |bench| memory(bench, &["--per", "batch", "--format", "lambda"]),
    },
    Row {
        name: "memory-shard",
        what: "the same, --per shard --inflight 10000 / their line",
        bar: Bar::AtMost(3.0),
        measure: |bench| memory(bench, &["--per", "shard", "--inflight", "10000"]),
    },
    Row {
        name: "memory-jobs",
        what: "the same with --jobs 8 / their line",
        bar: Bar::AtMost(3.0),
        measure: |bench| {
            let options = ["--per", "shard", "--inflight", "10000", "--jobs", "8"];
            memory(bench, &options)
        },
    },
];

/// What a child is given, time after time.
pub(crate) struct Load {
    line: String,
    records: usize,
    payload: usize,
    batches: usize,
}

/// What came of it.
pub(crate) struct Ran {
    records: f64,
    bytes: f64,
    seconds: f64,
    cpu: f64,
}

impl Load {
    /// So many batches of so many records.
    pub(crate) fn new(bench: &Bench, records: usize, payload: &[u8], batches: usize) -> Load {
        Load {
            line: driver::batch(records, payload),
            records,
            payload: payload.len(),
            batches: bench.rounds(batches),
        }
    }

    /// So many batches of this line, which has so many records.
    pub(crate) fn of(bench: &Bench, line: String, records: usize, batches: usize) -> Load {
        Load {
            payload: 0,
            batches: bench.rounds(batches),
            line,
            records,
        }
    }

    /// The small records of the rows on streams.
    pub(crate) fn small(bench: &Bench, batches: usize) -> Load {
        Load::new(bench, RECORDS, SMALL, batches)
    }

    /// Gives it to `child`, after one batch that does not count: handlers start, buffers grow.
    pub(crate) fn give(&self, mut child: Daemon) -> Result<Ran> {
        child.initialize()?;
        child.process(&self.line)?;
        let (began, cpu) = (Instant::now(), child.own_cpu()?);
        for _ in 0..self.batches {
            child.process(&self.line)?;
        }
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), child.own_cpu()? - cpu);
        child.close()?;
        let records = (self.batches * self.records) as f64;
        Ok(Ran {
            records,
            bytes: records * self.payload as f64,
            seconds,
            cpu,
        })
    }
}

impl Ran {
    /// Records in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.records / self.seconds
    }

    fn throughput(&self) -> f64 {
        self.bytes / self.seconds
    }

    pub(crate) fn cpu_a_record(&self) -> f64 {
        self.cpu / self.records
    }
}

/// The options for a format that is named as the bare bridge names it.
fn format_options(format: &str) -> Vec<&str> {
    match format {
        "base64" => vec!["--format", "jsonl", "--data", "base64"],
        _ => vec!["--format", format],
    }
}

/// A kclpipe with `--per shard` and the handler that answers in groups.
pub(crate) fn streaming(format: &str, group: usize, inflight: usize) -> Result<Daemon> {
    streaming_with(&[], format, group, inflight)
}

/// The same, with more options.
fn streaming_with(options: &[&str], format: &str, group: usize, inflight: usize) -> Result<Daemon> {
    let inflight = inflight.to_string();
    let options = [
        &["--per", "shard", "--inflight", &inflight],
        format_options(format).as_slice(),
        options,
    ]
    .concat();
    let helper = floor::helper(group)?;
    let helper: Vec<&str> = helper.iter().map(String::as_str).collect();
    Daemon::start(&options, &helper)
}

fn stream(bench: &Bench, format: &str, figure: fn(&Ran) -> f64, unit: Unit) -> Result<Figures> {
    let load = Load::small(bench, 60);
    let helper = floor::helper(256)?;
    let ours = || Ok(figure(&load.give(streaming(format, 256, 1024)?)?));
    let bare = || {
        Ok(figure(
            &load.give(floor::bridge("stream", format, &helper)?)?,
        ))
    };
    let [ours, bare] = interleaved(bench.rounds(9), [&ours, &bare])?;
    Ok(Figures::against(&ours, &bare, unit))
}

/// What it costs to be watched. CPU time is counted in hundredths of a second, so it is a long run.
fn metrics(bench: &Bench) -> Result<Figures> {
    let load = Load::small(bench, 200);
    let folder = tempfile::tempdir()?;
    let folder = folder
        .path()
        .to_str()
        .context("the folder's name is not UTF-8")?;
    let cost = |options: &[&str]| {
        let ran = load.give(streaming_with(options, "jsonl", 256, 1024)?)?;
        Ok(ran.cpu_a_record())
    };
    let watched = || cost(&["--metrics-dir", folder, "--stats-every", "1s"]);
    let alone = || cost(&[]);
    let [watched, alone] = interleaved(bench.rounds(9), [&watched, &alone])?;
    Ok(Figures::against(&watched, &alone, Unit::Seconds))
}

/// A batch here is about as large as Kinesis makes them, 10 MB.
fn large(bench: &Bench, format: &str) -> Result<Figures> {
    let load = Load::new(bench, 192, &[b'r'; 50_000], 20);
    let helper = floor::helper(16)?;
    let ours = || Ok(load.give(streaming(format, 16, 1024)?)?.throughput());
    let bare = || {
        let bridge = floor::bridge("stream", format, &helper)?;
        Ok(load.give(bridge)?.throughput())
    };
    let [ours, bare] = interleaved(bench.rounds(9), [&ours, &bare])?;
    Ok(Figures::against(&ours, &bare, Unit::Throughput))
}

fn lock_step(bench: &Bench, shell: &str) -> Result<Figures> {
    let loop_over_lines = "while IFS= read -r line; do echo \"$KCLPIPE_TOKEN ok\"; done";
    let handler = [shell, "-c", loop_over_lines];
    let load = Load::new(bench, 5_000, SMALL, 4);
    let ours = || {
        let kclpipe = Daemon::start(&["--per", "shard", "--format", "lines"], &handler)?;
        Ok(load.give(kclpipe)?.rate())
    };
    let bare = || {
        let bridge = floor::bridge("step", "lines", &handler.map(str::to_owned))?;
        Ok(load.give(bridge)?.rate())
    };
    let [ours, bare] = interleaved(bench.rounds(9), [&ours, &bare])?;
    Ok(Figures::against(&ours, &bare, Unit::Rate))
}

fn batch(bench: &Bench) -> Result<Figures> {
    let handler = bench.script("exec cat > /dev/null")?;
    let load = Load::new(bench, 10_000, SMALL, 60);
    let ours = || {
        let options = ["--per", "batch", "--format", "jsonl"];
        Ok(load.give(Daemon::start(&options, &[&handler])?)?.rate())
    };
    let bare = || {
        let bridge = floor::bridge("batch", "jsonl", std::slice::from_ref(&handler))?;
        Ok(load.give(bridge)?.rate())
    };
    let [ours, bare] = interleaved(bench.rounds(9), [&ours, &bare])?;
    Ok(Figures::against(&ours, &bare, Unit::Rate))
}

/// More than the pipes of a handler hold.
fn large_batch(bench: &Bench) -> Result<Figures> {
    let handler = bench.script("exec cat > /dev/null")?;
    let load = Load::new(bench, 320, &[b'r'; 50_000], 12);
    let ours = || {
        let options = ["--per", "batch", "--format", "lines"];
        let kclpipe = Daemon::start(&options, &[&handler])?;
        Ok(load.give(kclpipe)?.throughput())
    };
    let bare = || {
        let bridge = floor::bridge("batch", "lines", std::slice::from_ref(&handler))?;
        Ok(load.give(bridge)?.throughput())
    };
    let [ours, bare] = interleaved(bench.rounds(9), [&ours, &bare])?;
    Ok(Figures::against(&ours, &bare, Unit::Throughput))
}

/// Per record, where a job is worth most: one process for each record.
fn jobs(bench: &Bench) -> Result<Figures> {
    let rate = |jobs: &str, records: usize| {
        let mut daemon = Daemon::start(&["--jobs", jobs], &["sleep", "0.1"])?;
        daemon.initialize()?;
        let line = driver::batch_of_keys(records, SMALL, 32);
        let seconds = measure::timed(|| daemon.process(&line))?;
        daemon.close().context("at the end")?;
        Ok(records as f64 / seconds)
    };
    let (many, one) = (bench.rounds(8 * 32), bench.rounds(10));
    let ours = || rate("32", many);
    let alone = || rate("1", one);
    let [ours, alone] = interleaved(bench.rounds(5), [&ours, &alone])?;
    Ok(Figures::against(&ours, &alone, Unit::Rate))
}

/// The peak of kclpipe itself over two batches of many records, all of which a handler may have at once.
fn memory(bench: &Bench, options: &[&str]) -> Result<Figures> {
    let line = driver::batch(10_000, &[b'r'; 1024]);
    let helper = if options.contains(&"shard") {
        floor::helper(1)?
    } else {
        vec![bench.script("exec cat > /dev/null")?]
    };
    let helper: Vec<&str> = helper.iter().map(String::as_str).collect();
    let ours = || {
        let mut daemon = Daemon::start(options, &helper)?;
        daemon.initialize()?;
        // The first ones find memory that nobody has used: what is set aside there does not show.
        for _ in 0..4 {
            daemon.process(&line)?;
        }
        let peak = daemon.memory("VmHWM")?;
        daemon.close()?;
        Ok(peak as f64)
    };
    measure::against_fixed(bench.rounds(3), &ours, line.len(), Unit::Bytes)
}
