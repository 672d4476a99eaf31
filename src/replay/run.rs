//! The shards' conversations with real processes: all of them in one poll loop.

use std::fmt;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use rustix::process::Signal;

use super::report::Report;
use super::shard::{Due, Shard, Step};
use crate::outcome::Ended;
use crate::process::{Command, Feed, Happening, Input, LINE, Processes, Spawn, Stderr, Stop};

/// How long a child has that is to be stopped: longer than a kclpipe with the usual `--stop-timeout`
/// needs to stop its handlers.
const STOP: Stop = Stop {
    signal: Signal::TERM,
    timeout: Duration::from_secs(15),
};

/// For a second request to stop.
const KILL: Stop = Stop {
    signal: Signal::KILL,
    timeout: Duration::ZERO,
};

/// When the user is told that a child is slow.
const SLOW: Duration = Duration::from_secs(60);

/// The daemon with its shards and children; the slot of a child is the place of its shard.
pub struct Stage {
    processes: Processes<'static>,
    shards: Vec<Shard>,
    clocks: Vec<Clock>,
    /// What shards do after a while.
    alarms: Vec<Alarm>,
    command: Command,
    timeout: Option<Duration>,
    interrupted: bool,
    started: Instant,
    bar: ProgressBar,
}

/// When which shard is to be told what.
#[derive(Clone, Copy)]
struct Alarm {
    at: Instant,
    slot: usize,
    due: Due,
}

/// Since when a shard waits for its child.
#[derive(Clone, Copy)]
struct Clock {
    signs: u64,
    since: Instant,
    told: bool,
}

impl Stage {
    /// Starts a child for each shard.
    ///
    /// # Errors
    /// A child cannot be started.
    pub fn start(shards: Vec<Shard>, command: Command, timeout: Option<Duration>) -> Result<Stage> {
        let now = Instant::now();
        let clock = Clock {
            signs: 0,
            since: now,
            told: false,
        };
        let mut stage = Stage {
            processes: Processes::new(None, true)?,
            clocks: vec![clock; shards.len()],
            alarms: Vec::new(),
            bar: bar(&shards),
            shards,
            command,
            timeout,
            interrupted: false,
            started: now,
        };
        for slot in 0..stage.shards.len() {
            stage.perform(slot, vec![Step::Start])?;
        }
        Ok(stage)
    }

    /// Plays until no child is left.
    ///
    /// # Errors
    /// The system refuses to poll, or to start a child again.
    pub fn run(mut self) -> Result<Report> {
        while self.processes.any_running() {
            self.shards.iter_mut().for_each(Shard::begin_reading);
            let deadlines = (0..self.shards.len()).filter_map(|slot| self.deadline(slot));
            let until = deadlines
                .chain(self.alarms.iter().map(|alarm| alarm.at))
                .min();
            for happening in self.processes.wait(false, until)? {
                self.handle(happening)?;
            }
            self.sound_alarms()?;
            for slot in 0..self.shards.len() {
                self.judge(slot)?;
            }
            self.bar
                .set_position(self.shards.iter().map(Shard::progress).sum::<usize>() as u64);
        }
        self.bar.finish_and_clear();
        let reports = self.shards.iter().map(Shard::report).collect();
        Ok(Report::new(reports, self.started.elapsed()))
    }

    fn handle(&mut self, happening: Happening) -> Result<()> {
        match happening {
            Happening::Line { slot, line } => {
                let steps = self.shards[slot].take(&line);
                self.perform(slot, steps)
            }
            Happening::Ended { slot, status, .. } => {
                let how = Ended::from(status).to_string();
                let steps = self.shards[slot].ended(&how, status.success());
                self.perform(slot, steps)
            }
            Happening::Signal(_) => self.interrupt(),
            Happening::Input | Happening::Fed { .. } => Ok(()),
        }
    }

    fn sound_alarms(&mut self) -> Result<()> {
        let now = Instant::now();
        let mut due: Vec<Alarm> = self
            .alarms
            .extract_if(.., |alarm| alarm.at <= now)
            .collect();
        due.sort_by_key(|alarm| alarm.at);
        for Alarm { slot, due, .. } in due {
            let steps = self.shards[slot].due(due);
            self.perform(slot, steps)?;
        }
        Ok(())
    }

    fn interrupt(&mut self) -> Result<()> {
        let again = std::mem::replace(&mut self.interrupted, true);
        let text = match again {
            false => "asked to stop: the children's input is closed; once more to kill them",
            true => "asked to stop again: the children are killed",
        };
        self.say(text);
        for slot in 0..self.shards.len() {
            let steps = self.shards[slot].interrupt();
            self.perform(slot, steps)?;
            if again {
                self.processes.stop(slot, KILL);
            }
        }
        Ok(())
    }

    fn perform(&mut self, slot: usize, steps: Vec<Step>) -> Result<()> {
        for step in steps {
            match step {
                Step::Start => self.start_child(slot)?,
                Step::Send(line) => {
                    self.processes.feed(slot, &mut line.into_bytes());
                }
                Step::Close => self.processes.close_input(slot),
                Step::Stop => self.processes.finish(slot, STOP),
                Step::StopNow => self.processes.stop(slot, STOP),
                Step::Kill => self.processes.stop(slot, KILL),
                Step::Later(wait, due) => {
                    let at = Instant::now() + wait;
                    self.alarms.push(Alarm { at, slot, due });
                }
                Step::Say(text) => self.say(&format!("{}: {text}", self.shards[slot].id())),
            }
        }
        Ok(())
    }

    fn start_child(&mut self, slot: usize) -> Result<()> {
        let spawn = Spawn {
            environment: &[],
            without: &[],
            watch_input: false,
            feed: Feed::Stream {
                large: false,
                torn: true,
            },
            line_limit: LINE,
            stderr: Stderr::Inherit,
        };
        let name = self.command.program.display();
        self.processes
            .start(slot, &self.command, &spawn, Input::default())
            .with_context(|| format!("cannot start the child '{name}'"))?;
        let steps = self.shards[slot].start();
        self.perform(slot, steps)
    }

    /// When the child in `slot` has been waited for long enough to say something, or to give up.
    fn deadline(&self, slot: usize) -> Option<Instant> {
        let patience = self.shards[slot].patience(self.timeout)?;
        let clock = self.clocks[slot];
        let wait = if clock.told {
            patience
        } else {
            patience.min(SLOW)
        };
        Some(clock.since + wait)
    }

    /// Starts the clock anew if there was a sign of life, and acts if there was none for too long.
    fn judge(&mut self, slot: usize) -> Result<()> {
        let (now, signs) = (Instant::now(), self.shards[slot].signs_of_life());
        if self.clocks[slot].signs != signs {
            self.clocks[slot] = Clock {
                signs,
                since: now,
                told: false,
            };
        }
        if self.deadline(slot).is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let waited = now - self.clocks[slot].since;
        let patience = self.shards[slot].patience(self.timeout);
        let steps = match patience.filter(|patience| waited >= *patience) {
            Some(patience) => self.shards[slot].silent(patience),
            None => {
                self.clocks[slot].told = true;
                vec![Step::Say(
                    "no word from the child for a minute (--timeout)".to_owned(),
                )]
            }
        };
        self.perform(slot, steps)
    }

    fn say(&self, text: &str) {
        self.bar.suspend(|| say(text));
    }
}

/// Tells the user, on stderr; nobody may be there to read it.
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "kclpipe replay: {text}");
}

/// Draws on stderr if that is a terminal, and nothing otherwise.
fn bar(shards: &[Shard]) -> ProgressBar {
    let records: usize = shards.iter().map(|shard| shard.report().records).sum();
    let style = ProgressStyle::with_template("{pos} of {len} records {wide_bar} {rate}/s")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = write!(out, "{:.0}", state.per_sec());
        });
    ProgressBar::new(records as u64).with_style(style)
}
