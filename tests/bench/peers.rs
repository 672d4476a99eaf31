//! The rows against the peers: Python's client libraries with processors that do nothing, in-process, so
//! that what they take is the library's own. They are installed on demand by `tests/bench/peers/install`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::Row;
use crate::driver::Daemon;
use crate::measure::{command, interleaved};
use crate::report::{Bar, Figures, Unit};
use crate::rows::Bench;
use crate::ways::{self, Load};

/// The bars against the peers.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "peers-jsonl-kclpy",
        what: "as shard-jsonl / kclpy 0.2.0",
        bar: Bar::AtLeast(2.0),
        measure: |bench| against(bench, "jsonl", "kclpy"),
    },
    Row {
        name: "peers-jsonl-amazon",
        what: "as shard-jsonl / amazon_kclpy 3.2.0",
        bar: Bar::AtLeast(2.0),
        measure: |bench| against(bench, "jsonl", "amazon_kclpy"),
    },
    Row {
        name: "peers-lines-kclpy",
        what: "as shard-lines / kclpy 0.2.0",
        bar: Bar::AtLeast(4.0),
        measure: |bench| against(bench, "lines", "kclpy"),
    },
    Row {
        name: "peers-lines-amazon",
        what: "as shard-lines / amazon_kclpy 3.2.0",
        bar: Bar::AtLeast(4.0),
        measure: |bench| against(bench, "lines", "amazon_kclpy"),
    },
];

/// Sees to it that the peers are there, installing them if `may_install`.
///
/// # Errors
/// They are not, for example because there is no Python or no package index.
pub(crate) fn prepare(may_install: bool) -> Result<()> {
    let script = here().join("install");
    let installed = || {
        let by = fs::read(folder().join("installed-by"));
        by.is_ok_and(|by| fs::read(&script).is_ok_and(|script| script == by))
    };
    if !installed() && may_install {
        let status = Command::new(&script).arg(folder()).status();
        let status = status.with_context(|| format!("cannot run {}", script.display()))?;
        ensure!(status.success(), "the peers cannot be installed");
    }
    ensure!(installed(), "the peers are not installed");
    Ok(())
}

/// Where the peers are installed.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers")
}

/// Where their processors are, and the function.
pub(crate) fn here() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bench/peers")
}

/// Both sides in records a second; a peer is too slow for as many batches.
fn against(bench: &Bench, format: &str, peer: &str) -> Result<Figures> {
    let (many, few) = (Load::small(bench, 60), Load::small(bench, 10));
    let ours = || Ok(many.give(ways::streaming(format, 256, 1024)?)?.rate());
    let theirs = || {
        let mut python = command("python3");
        python
            .arg(here().join(format!("with_{peer}.py")))
            .env("PYTHONPATH", folder().join(peer));
        Ok(few.give(Daemon::play(python)?)?.rate())
    };
    let [ours, theirs] = interleaved(bench.rounds(5), [&ours, &theirs])?;
    Ok(Figures::against(&ours, &theirs, Unit::Rate))
}
