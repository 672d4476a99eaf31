//! The shards' conversations with real processes: all of them in one poll loop.

use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;

use super::child::as_java_starts;
use super::report::Report;
use super::screen::Screen;
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

/// When it is reported that a child is slow.
const SLOW: Duration = Duration::from_secs(60);

/// When it is reported that what has said nothing yet may be no child at all.
const NO_CHILD: Duration = Duration::from_secs(5);

/// The daemon with its shards and children; the slot of a child is the place of its shard.
pub(crate) struct Simulator<'s> {
    processes: Processes<'s>,
    shards: Vec<Shard>,
    clocks: Vec<Clock>,
    /// What shards do after a while.
    alarms: Vec<Alarm>,
    command: Command,
    timeout: Option<Duration>,
    interrupted: bool,
    started: Instant,
    screen: &'s Screen,
    /// What is said once if the command turns out to be no child of the daemon.
    hint: Option<String>,
}

/// When a shard is to do what.
#[derive(Clone, Copy)]
struct Alarm {
    at: Instant,
    slot: usize,
    due: Due,
}

/// Since when a shard waits for its child.
#[derive(Clone, Copy)]
struct Clock {
    signs: (u32, u64),
    since: Instant,
    reported: bool,
}

impl<'s> Simulator<'s> {
    /// A simulator without children.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub(crate) fn new(
        shards: Vec<Shard>,
        command: Command,
        timeout: Option<Duration>,
        screen: &'s Screen,
    ) -> Result<Simulator<'s>> {
        let now = Instant::now();
        let clock = Clock {
            signs: (0, 0),
            since: now,
            reported: false,
        };
        Ok(Simulator {
            processes: Processes::new(screen.relayed(), true)?,
            clocks: vec![clock; shards.len()],
            alarms: Vec::new(),
            shards,
            command,
            timeout,
            interrupted: false,
            started: now,
            screen,
            hint: None,
        })
    }

    /// The same, with what is said once if the command turns out to be no child of the daemon.
    pub(crate) fn with_hint(self, hint: Option<String>) -> Simulator<'s> {
        Simulator { hint, ..self }
    }

    /// Starts a child for each shard.
    ///
    /// # Errors
    /// A child cannot be started.
    pub(crate) fn start(mut self) -> Result<Simulator<'s>> {
        for slot in 0..self.shards.len() {
            self.perform(slot, vec![Step::Start])?;
            // Else the first deadline would find a start that it took for news, and wait once more.
            self.note_signs(slot);
        }
        Ok(self)
    }

    /// Plays until no child is left.
    ///
    /// # Errors
    /// The system refuses to poll, or to start a child again.
    pub(crate) fn run(self) -> Result<Report> {
        self.run_watched(|_| Ok(()))
    }

    /// The same; after each turn somebody sees how the shards stand.
    ///
    /// # Errors
    /// The same, or those of who looks.
    pub(crate) fn run_watched(
        mut self,
        mut watch: impl FnMut(&[Shard]) -> Result<()>,
    ) -> Result<Report> {
        let relays = self.screen.relayed().is_some();
        while self.processes.any_running() {
            self.shards.iter_mut().for_each(Shard::begin_reading);
            let until = self.next_deadline();
            for happening in self.processes.wait(relays, until)? {
                self.handle(happening)?;
            }
            self.sound_alarms()?;
            for slot in 0..self.shards.len() {
                self.judge(slot)?;
            }
            watch(&self.shards)?;
            self.show_progress();
        }
        self.screen.clear();
        let reports = self.shards.iter().map(Shard::report).collect();
        Ok(Report::new(reports, self.started.elapsed()))
    }

    /// When something is to be done although nothing happens.
    fn next_deadline(&self) -> Option<Instant> {
        let deadlines = (0..self.shards.len()).filter_map(|slot| self.deadline(slot));
        deadlines
            .chain(self.alarms.iter().map(|alarm| alarm.at))
            .chain(self.screen.deadline(Instant::now()))
            .min()
    }

    fn show_progress(&self) {
        let done = self.shards.iter().map(Shard::progress).sum();
        let of = self.shards.iter().map(Shard::size).sum();
        self.screen.progress(done, of, Instant::now());
    }

    fn handle(&mut self, happening: Happening) -> Result<()> {
        match happening {
            Happening::Line { slot, line } => {
                let steps = self.shards[slot].take(&line);
                self.perform(slot, steps)?;
                self.give_hint(slot);
                Ok(())
            }
            Happening::Ended { slot, status, .. } => {
                let how = Ended::from(status).to_string();
                let steps = self.shards[slot].ended(&how, status.success());
                self.perform(slot, steps)?;
                self.give_hint(slot);
                Ok(())
            }
            Happening::Signal(_) => self.interrupt(),
            // Nothing rings here.
            Happening::Rung => Ok(()),
            Happening::Input => {
                self.screen.pass_on();
                Ok(())
            }
            Happening::Fed { .. } => Ok(()),
        }
    }

    /// Says, once, how a handler is tried, if that is what the child seems to be.
    fn give_hint(&mut self, slot: usize) {
        if self.shards[slot].is_no_child()
            && let Some(hint) = self.hint.take()
        {
            self.screen.say(&hint);
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
        let text = if again {
            "stopping: killed the children"
        } else {
            "stopping: closed the children's input; repeat to kill them"
        };
        self.screen.say(text);
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
                Step::Say(text) => self
                    .screen
                    .say(&format!("{}: {text}", self.shards[slot].id())),
            }
        }
        Ok(())
    }

    fn start_child(&mut self, slot: usize) -> Result<()> {
        if let Err(e) = self.spawn(slot) {
            let name = self.command.program.display().to_string();
            self.command = as_java_starts(&self.command, &e)
                .ok_or(e)
                .with_context(|| format!("cannot start the child '{name}'"))?;
            self.screen.say(&format!(
                "'{name}' does not begin with '#!': running it with /bin/sh, as Java does"
            ));
            self.spawn(slot)
                .with_context(|| format!("cannot start the child '{name}'"))?;
        }
        let steps = self.shards[slot].start();
        self.perform(slot, steps)
    }

    fn spawn(&mut self, slot: usize) -> io::Result<()> {
        let spawn = Spawn {
            environment: &[],
            without: &[],
            watch_input: false,
            feed: Feed::Stream {
                large: false,
                torn: true,
            },
            line_limit: LINE,
            stderr: match self.screen.children_stderr() {
                Some(relay) => Stderr::To(relay),
                None => Stderr::Inherit,
            },
        };
        self.processes
            .start(slot, &self.command, &spawn, Input::default())
    }

    /// When the child in `slot` has been waited for long enough to say something, or to give up.
    fn deadline(&self, slot: usize) -> Option<Instant> {
        let patience = self.shards[slot].patience(self.timeout)?;
        let clock = self.clocks[slot];
        let wait = if self.may_be_no_child(slot) {
            patience.min(NO_CHILD)
        } else if clock.reported {
            patience
        } else {
            patience.min(SLOW)
        };
        Some(clock.since + wait)
    }

    /// Whether the child has yet to say its first word, and there is something to say about that.
    fn may_be_no_child(&self, slot: usize) -> bool {
        self.hint.is_some() && self.shards[slot].awaits_first_word()
    }

    /// Starts the clock anew if there was a sign of life.
    fn note_signs(&mut self, slot: usize) {
        let signs = self.shards[slot].signs_of_life();
        if self.clocks[slot].signs != signs {
            self.clocks[slot] = Clock {
                signs,
                since: Instant::now(),
                reported: false,
            };
        }
    }

    /// Acts if there was no sign of life for too long.
    fn judge(&mut self, slot: usize) -> Result<()> {
        self.note_signs(slot);
        let now = Instant::now();
        if self.deadline(slot).is_none_or(|deadline| now < deadline) {
            return Ok(());
        }
        let waited = now - self.clocks[slot].since;
        let patience = self.shards[slot].patience(self.timeout);
        let steps = match patience.filter(|patience| waited >= *patience) {
            Some(patience) => self.shards[slot].silent(patience),
            None if self.may_be_no_child(slot) => {
                let seconds = NO_CHILD.as_secs();
                let hint = self.hint.take().unwrap_or_default();
                vec![Step::Say(format!(
                    "no answer to initialize for {seconds} seconds: {hint}"
                ))]
            }
            None => {
                self.clocks[slot].reported = true;
                vec![Step::Say(
                    "no message from the child for a minute (--timeout)".to_owned(),
                )]
            }
        };
        self.perform(slot, steps)?;
        self.give_hint(slot);
        Ok(())
    }
}
