//! `kclpipe redrive`: hands the dead letters of a file over again, beside live workers that may append to it.
//!
//! [`rest`] moves the file aside and knows which of its letters are done, over any death of ours; [`letters`] reads a
//! part of it at a time. Each shard of a part is played to a kclpipe of its own, as `replay` plays the daemon; what
//! that gives up on is appended to the file, which begins anew.

mod letters;
mod rest;

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::dead_letter::{Appended, LetterFile};
use crate::process::Command;
use crate::replay::screen::Screen;
use crate::replay::shard::{Ending, Rules, Shard};
use crate::replay::simulator::Simulator;
use letters::Part;
pub(crate) use rest::{Fault, Rest, Taken};

/// How a shard of letters is played: to its end, so that all of it is done, and once.
const RULES: Rules = Rules {
    batch_size: 100,
    ending: Ending::ShardEnd,
    restarts: 0,
    quiet: Duration::ZERO,
};

/// How often the lock of the letter file is tried, and the pause between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);

/// What a redrive needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The file with dead letters.
    pub(crate) file: PathBuf,
    /// Options of the bridge, `--` and the handler.
    pub(crate) child: Vec<OsString>,
    /// The file that letters which fail again are appended to, with `{shard}` in it; `None` where they go elsewhere.
    pub(crate) failures: Option<PathBuf>,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Letters of the parts that came to their end.
    pub(crate) letters: usize,
    /// How many of these failed again, where that can be seen.
    pub(crate) failed: usize,
    /// Lines that are no letters; they are in the file again.
    pub(crate) unreadable: usize,
    /// All of it came to its end.
    pub(crate) is_complete: bool,
}

/// Hands over all letters of a file that was moved aside, and removes it when they are done.
///
/// # Errors
/// The system fails us; what is not known to be done comes again the next time.
pub(crate) fn run(mut rest: Rest, settings: &Settings, screen: &Screen) -> Result<Report> {
    let (mut report, mut handed) = (Report::default(), HashSet::new());
    report.is_complete = true;
    while let Some(part) = rest.part()? {
        handed.extend(part.names());
        report.is_complete = play(&mut rest, &part, settings, screen)?;
        if !report.is_complete {
            break;
        }
        put_back(&settings.file, &part.unreadable)?;
        report.letters += part.letters();
        report.unreadable += part.unreadable.len();
        rest.finish(&part)?;
    }
    report.failed = match &settings.failures {
        Some(file) => letters::count(file, handed)?,
        None => 0,
    };
    // Last of all: where something fails before, the rest is where the message says.
    if report.is_complete {
        rest.remove()?;
    }
    Ok(report)
}

/// Plays all shards of a part; whether all of them came to their end.
fn play(rest: &mut Rest, part: &Part, settings: &Settings, screen: &Screen) -> Result<bool> {
    let shards: Vec<Shard> = part
        .shards
        .iter()
        .map(|(id, records)| Shard::new(id.clone(), records.values().cloned().collect(), RULES))
        .collect();
    if shards.is_empty() {
        return Ok(true);
    }
    let command = Command {
        program: std::env::current_exe()
            .context("cannot find this program's own file")?
            .into_os_string(),
        arguments: settings.child.clone(),
        directory: None,
    };
    let simulator = Simulator::new(shards, command, None, screen)?.start()?;
    Ok(simulator.run_watched(|shards| rest.note(shards))?.ok)
}

/// Appends lines that are no letters to the file that they came from: nobody else has them.
fn put_back(file: &Path, lines: &[Vec<u8>]) -> Result<()> {
    if lines.is_empty() {
        return Ok(());
    }
    let text = [lines.join(&b'\n'), b"\n".to_vec()].concat();
    append(file, &text)
}

fn append(path: &Path, text: &[u8]) -> Result<()> {
    let mut file = LetterFile::new(path.to_path_buf());
    for _ in 0..TRIES {
        match file.append(text)? {
            Appended::Kept => return Ok(()),
            Appended::Locked(_) => std::thread::sleep(PAUSE),
        }
    }
    bail!("somebody else keeps the lock of '{}'", path.display())
}
