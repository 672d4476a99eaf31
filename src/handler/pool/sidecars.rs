//! What goes on beside the handlers: dead letters on their way to a file or a command, and the hook.

use std::time::Instant;

use anyhow::Result;

use super::attempt::ExitReport;
use super::letter_box::{LetterBox, Posted};
use super::sidecar::{Job, Patience, Sidecar};
use super::{Pool, Role};
use crate::clean;
use crate::handler::held::shown;
use crate::handler::mode::environment;
use crate::handler::{Event, Settings};
use crate::process::Command;

/// The most that is written in one go, but for a letter that is larger by itself.
const LETTERS: usize = 1024 * 1024;

/// The commands beside the handlers, and the file for letters.
pub(super) struct Sidecars {
    /// The file for letters, once the shard is known.
    pub(super) file: Option<LetterBox>,
    pub(super) letters: Option<Sidecar>,
    pub(super) hook: Option<Sidecar>,
}

impl Sidecars {
    pub(super) fn new(settings: &Settings) -> Sidecars {
        let sidecar = |role: Role, command: &Command| {
            Sidecar::new(role, command.clone(), settings.delays, settings.stop)
        };
        let letters = settings.letter_command();
        let hook = settings.hook.as_ref();
        Sidecars {
            file: None,
            letters: letters.map(|command| sidecar(Role::DeadLetter, command)),
            hook: hook.map(|command| sidecar(Role::Hook, command)),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Sidecar> {
        self.letters.iter().chain(&self.hook)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Sidecar> {
        self.letters.iter_mut().chain(&mut self.hook)
    }
}

impl Pool<'_> {
    /// The shard is known, and with it the file for its letters.
    pub(super) fn name_letter_file(&mut self) {
        if let Some(file) = self.settings.letter_file() {
            let path = clean::with_shard(file, &self.records.shard_id);
            self.sidecars.file = Some(LetterBox::new(path, self.settings.delays));
        }
    }

    /// Writes the letters that wait for a file, as many as one turn allows: they share one sync.
    ///
    /// # Errors
    /// A record cannot be read from the file where it waits.
    pub(super) fn write_letters(&mut self, now: Instant) -> Result<()> {
        let Some(file) = self.sidecars.file.as_mut().filter(|file| file.is_free(now)) else {
            return Ok(());
        };
        if self.finishing || !self.records.has_letters() {
            return Ok(());
        }
        let (count, lines) = self.records.next_letters(LETTERS)?;
        let result = self.children.keep_letters(file.path(), &lines);
        match file.posted(result, now) {
            Posted::Kept => {
                let place = format!("its letter is in {}", file.place());
                (0..count).for_each(|_| self.records.letter_is_kept(&place));
            }
            Posted::Later => {}
            Posted::Failed(why, delay) => self.records.letter_is_refused(&why, delay),
        }
        Ok(())
    }

    /// When letters are written next, if any wait.
    pub(super) fn letters_due(&self, now: Instant) -> Option<Instant> {
        let file = self.sidecars.file.as_ref()?;
        let wait = self.records.has_letters() && !self.finishing;
        wait.then(|| file.free_at(now))
    }

    /// Whether nothing more may start, for it would only come twice: a letter is not where it is to be.
    pub(super) fn are_letters_stuck(&self) -> bool {
        let by_file = self.sidecars.file.is_some() && self.records.has_letters();
        by_file
            || self
                .sidecars
                .letters
                .as_ref()
                .is_some_and(Sidecar::is_failing)
    }

    /// Starts what is due.
    ///
    /// # Errors
    /// A record cannot be read from the file where it waits.
    pub(super) fn start_sidecars(&mut self, now: Instant) -> Result<()> {
        if self.finishing {
            return Ok(());
        }
        self.start_hook(now);
        self.start_letter(now)
    }

    fn start_letter(&mut self, now: Instant) -> Result<()> {
        let Some(sidecar) = self.sidecars.letters.as_mut().filter(|h| h.is_free(now)) else {
            return Ok(());
        };
        let Some((position, input)) = self.records.next_letter()? else {
            return Ok(());
        };
        let job = Job {
            environment: &environment::of_sidecar(
                &self.records.shard_id,
                Some(&position),
                &self.settings,
            ),
            without: &self.without,
            input,
            patience: Patience::Limit(self.settings.timeout),
        };
        if let Err(why) = sidecar.start(self.children, job, now) {
            self.letter_offered(Err(why), now);
        }
        Ok(())
    }

    fn start_hook(&mut self, now: Instant) {
        let Some(sidecar) = self.sidecars.hook.as_mut().filter(|h| h.is_free(now)) else {
            return;
        };
        let Some(hook_event) = &self.hook_event else {
            return;
        };
        let job = Job {
            environment: &environment::of_hook(&self.records.shard_id, hook_event, &self.settings),
            without: &self.without,
            input: Vec::new(),
            patience: if hook_event.must_succeed() {
                Patience::Limit(self.settings.timeout)
            } else {
                Patience::Short(self.settings.ending())
            },
        };
        log::info!("starting the hook for {}", hook_event.name());
        if let Err(why) = sidecar.start(self.children, job, now) {
            self.hook_ran(Err(why), now);
        }
    }

    /// The command that takes dead letters has ended.
    pub(super) fn letter_command_ended(&mut self, end: &ExitReport, now: Instant) {
        let sidecar = self.sidecars.letters.as_mut();
        if let Some(result) = sidecar.and_then(|sidecar| sidecar.ended(end)) {
            self.letter_offered(result, now);
        }
    }

    /// The hook has ended.
    pub(super) fn hook_ended(&mut self, end: &ExitReport, now: Instant) {
        let sidecar = self.sidecars.hook.as_mut();
        if let Some(result) = sidecar.and_then(|sidecar| sidecar.ended(end)) {
            self.hook_ran(result, now);
        }
    }

    fn letter_offered(&mut self, result: Result<(), String>, now: Instant) {
        let Some(sidecar) = &mut self.sidecars.letters else {
            return;
        };
        let program = sidecar.command.program.display();
        match result {
            Ok(()) => {
                let place = format!("'{program}' took it (--dead-letter-command)");
                self.records.letter_is_kept(&place);
                sidecar.succeeded();
            }
            Err(why) => {
                let what = format!(
                    "'{program}' did not take its dead letter (--dead-letter-command): {why}"
                );
                let delay = sidecar.failed(now);
                self.records.letter_is_refused(&what, delay);
            }
        }
    }

    fn hook_ran(&mut self, result: Result<(), String>, now: Instant) {
        let Some((sidecar, hook_event)) = self.sidecars.hook.as_mut().zip(self.hook_event.as_ref())
        else {
            return;
        };
        let name = hook_event.name();
        match result {
            Err(why) if hook_event.must_succeed() => {
                let delay = sidecar.failed(now);
                log::error!(
                    "the hook for {name} failed: {why}; this shard waits; running it again in {}",
                    shown(delay)
                );
                return;
            }
            Err(why) => log::error!("the hook for {name} failed: {why}"),
            Ok(()) => log::info!("the hook for {name} is done"),
        }
        sidecar.succeeded();
        self.hook_event = None;
        self.records.events.push_back(Event::Hooked);
    }
}
