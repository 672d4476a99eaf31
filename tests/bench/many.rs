//! The rows on `kclpipe status`: one look at 500 shards, and their metrics as one page.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::fs::{FlockOperation, flock};

use crate::Row;
use crate::driver::Daemon;
use crate::measure::{command, interleaved, timed};
use crate::older;
use crate::report::{Bar, Figures, Unit};
use crate::rows::Bench;

/// More than any machine has.
const SHARDS: usize = 500;

/// The bars of status.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "status-500",
        what: "kclpipe status of 500 shards, wall / 100 ms",
        bar: Bar::AtMost(1.0),
        measure: look,
    },
    Row {
        name: "metrics-500",
        what: "/metrics of 500 shards / reading their files",
        bar: Bar::AtMost(3.0),
        measure: scrape,
    },
];

/// Files as 500 living kclpipes would keep them.
struct Shards {
    directory: PathBuf,
    /// Whose locks say that they live.
    _locks: Vec<File>,
}

impl Shards {
    /// Takes the files of one real kclpipe as the pattern.
    fn new(bench: &Bench) -> Result<Shards> {
        let one = bench.new_path();
        fs::create_dir(&one)?;
        let directory = one.to_str().context("the folder's name is not UTF-8")?;
        let mut daemon = Daemon::start(&["--metrics-dir", directory], &["true"])?;
        daemon.initialize()?;
        let (state, metrics) = (written(&one, "json")?, written(&one, "prom")?);
        daemon.lose_lease()?;
        let directory = bench.new_path();
        fs::create_dir(&directory)?;
        let mut locks = Vec::new();
        for number in 0..SHARDS {
            let shard = format!("shardId-{number:012}");
            let of = |text: &str| text.replace("shardId-000000000000", &shard);
            let path = directory.join(format!("kclpipe-kclpipe-{shard}-{number}.json"));
            fs::write(path.with_extension("prom"), of(&metrics))?;
            fs::write(&path, of(&state))?;
            let file = File::open(path)?;
            flock(&file, FlockOperation::LockExclusive)?;
            locks.push(file);
        }
        Ok(Shards {
            directory,
            _locks: locks,
        })
    }
}

/// The file with this ending, once there is one.
fn written(directory: &Path, ending: &str) -> Result<String> {
    for _ in 0..1000 {
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|of| of == ending) {
                return Ok(fs::read_to_string(path)?);
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    anyhow::bail!("kclpipe wrote no .{ending}")
}

fn look(bench: &Bench) -> Result<Figures> {
    let shards = Shards::new(bench)?;
    let ours = || {
        timed(|| {
            let mut status = command(older::program());
            let output = status.arg("status").arg(&shards.directory).output()?;
            let lines = output.stdout.iter().filter(|byte| **byte == b'\n').count();
            ensure!(lines > SHARDS, "{lines} lines");
            Ok(())
        })
    };
    let [ours] = interleaved(bench.rounds(9), [&ours])?;
    Ok(Figures::against(
        &ours,
        &vec![0.1; ours.len()],
        Unit::Seconds,
    ))
}

fn scrape(bench: &Bench) -> Result<Figures> {
    let shards = Shards::new(bench)?;
    let server = Server::start(&shards.directory)?;
    let ours = || timed(|| server.scrape());
    let floor = || {
        timed(|| {
            let mut text = String::new();
            for entry in fs::read_dir(&shards.directory)? {
                File::open(entry?.path())?.read_to_string(&mut text)?;
            }
            ensure!(!text.is_empty(), "nothing was read");
            Ok(())
        })
    };
    let [ours, floor] = interleaved(bench.rounds(21), [&ours, &floor])?;
    Ok(Figures::against(&ours, &floor, Unit::Seconds))
}

/// `kclpipe status --listen`, killed in the end.
struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start(directory: &Path) -> Result<Server> {
        let mut status = command(older::program());
        status.args(["status", "--listen", "0"]).arg(directory);
        let mut child = status.stderr(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stderr = child.stderr.take().context("no stderr")?;
        BufReader::new(stderr).read_line(&mut line)?;
        let (_, rest) = line.split_once("http://").context("no address")?;
        let address = rest.trim().trim_end_matches('/').to_owned();
        Ok(Server { child, address })
    }

    fn scrape(&self) -> Result<()> {
        let mut stream = TcpStream::connect(&self.address)?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        ensure!(answer.len() > SHARDS * 1000, "{} bytes", answer.len());
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
