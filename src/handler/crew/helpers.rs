//! What goes on beside the handlers: dead letters on their way to a file or a command, and the hook.

use std::time::Instant;

use super::Crew;
use crate::clean;
use crate::handler::attempt::End;
use crate::handler::helper::{Helper, Job, Patience};
use crate::handler::letter_file::{LetterBox, Posted};
use crate::handler::records::shown;
use crate::handler::{Event, OnFailure, Settings, environment};
use crate::process::Command;

/// The most that is written in one go, but for a letter that is larger by itself.
const LETTERS: usize = 1024 * 1024;

/// The commands beside the handlers, each in a slot behind theirs, and the file.
pub(super) struct Helpers {
    /// The file for letters, once the shard is known.
    pub(super) file: Option<LetterBox>,
    pub(super) letters: Option<Helper>,
    pub(super) hook: Option<Helper>,
}

impl Helpers {
    pub(super) fn new(settings: &Settings) -> Helpers {
        let helper = |place: usize, command: &Command| {
            Helper::new(
                settings.jobs + place,
                command.clone(),
                settings.delays,
                settings.stop,
            )
        };
        let letters = match &settings.on_failure {
            OnFailure::DeadLetterCommand(command) => Some(command),
            _ => None,
        };
        Helpers {
            file: None,
            letters: letters.map(|command| helper(0, command)),
            hook: settings.hook.as_ref().map(|command| helper(1, command)),
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Helper> {
        self.letters.iter().chain(&self.hook)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Helper> {
        self.letters.iter_mut().chain(&mut self.hook)
    }
}

impl Crew<'_> {
    /// The shard is known, and with it the file for its letters.
    pub(super) fn name_letter_file(&mut self) {
        if let Some(file) = self.settings.letter_file() {
            let path = clean::with_shard(file, &self.records.shard_id);
            self.helpers.file = Some(LetterBox::new(path, self.settings.delays));
        }
    }

    /// Writes the letters that wait for a file, as many as one turn allows: they share one sync.
    pub(super) fn write_letters(&mut self, now: Instant) {
        let Some(file) = self.helpers.file.as_mut().filter(|file| file.is_free(now)) else {
            return;
        };
        if self.finishing || !self.records.has_letters() {
            return;
        }
        let (count, lines) = self.records.next_letters(LETTERS);
        match file.post(&lines, now) {
            Posted::Kept => {
                let place = format!("it is in {}", file.place());
                (0..count).for_each(|_| self.records.letter_is_out(&place));
            }
            Posted::Later => {}
            Posted::Failed(why, delay) => self.records.letter_is_not_out(&why, delay),
        }
    }

    /// When letters are written next, if any wait.
    pub(super) fn letters_due(&self, now: Instant) -> Option<Instant> {
        let file = self.helpers.file.as_ref()?;
        let wait = self.records.has_letters() && !self.finishing;
        wait.then(|| file.free_at(now))
    }

    /// Whether nothing more may start, for it would only come twice: a letter is not where it is to be.
    pub(super) fn are_letters_stuck(&self) -> bool {
        let by_file = self.helpers.file.is_some() && self.records.has_letters();
        by_file
            || self
                .helpers
                .letters
                .as_ref()
                .is_some_and(Helper::is_failing)
    }

    /// Starts what is due.
    pub(super) fn start_helpers(&mut self, now: Instant) {
        if self.finishing {
            return;
        }
        self.start_letter(now);
        self.start_hook(now);
    }

    fn start_letter(&mut self, now: Instant) {
        let Some(helper) = self.helpers.letters.as_mut().filter(|h| h.is_free(now)) else {
            return;
        };
        let Some((position, input)) = self.records.next_letter() else {
            return;
        };
        let job = Job {
            environment: &environment::of_helper(&self.records.shard_id, Some(&position)),
            without: &self.without,
            input,
            patience: Patience::Limit(self.settings.timeout),
        };
        if let Err(why) = helper.start(&mut self.processes, job, now) {
            self.letter_ended(Err(why), now);
        }
    }

    fn start_hook(&mut self, now: Instant) {
        let Some(helper) = self.helpers.hook.as_mut().filter(|h| h.is_free(now)) else {
            return;
        };
        let Some(occasion) = &self.occasion else {
            return;
        };
        let job = Job {
            environment: &environment::of_hook(&self.records.shard_id, occasion),
            without: &self.without,
            input: Vec::new(),
            patience: if occasion.must_succeed() {
                Patience::Limit(self.settings.timeout)
            } else {
                Patience::Short(self.settings.ending())
            },
        };
        log::info!("the hook for {} is started", occasion.name());
        if let Err(why) = helper.start(&mut self.processes, job, now) {
            self.hook_ended(Err(why), now);
        }
    }

    /// One of the commands has ended.
    pub(super) fn helper_ended(&mut self, slot: usize, end: &End, now: Instant) {
        let Some(helper) = self.helpers.all_mut().find(|helper| helper.slot == slot) else {
            return;
        };
        let Some(result) = helper.ended(end) else {
            return;
        };
        if slot == self.settings.jobs {
            self.letter_ended(result, now);
        } else {
            self.hook_ended(result, now);
        }
    }

    fn letter_ended(&mut self, result: Result<(), String>, now: Instant) {
        let Some(helper) = &mut self.helpers.letters else {
            return;
        };
        let program = helper.command.program.display();
        match result {
            Ok(()) => {
                let place = format!("'{program}' has it (--dead-letter-command)");
                self.records.letter_is_out(&place);
                helper.succeeded();
            }
            Err(why) => {
                let what = format!(
                    "its dead letter was not taken by '{program}' (--dead-letter-command): {why}"
                );
                let delay = helper.failed(now);
                self.records.letter_is_not_out(&what, delay);
            }
        }
    }

    fn hook_ended(&mut self, result: Result<(), String>, now: Instant) {
        let Some((helper, occasion)) = self.helpers.hook.as_mut().zip(self.occasion.as_ref())
        else {
            return;
        };
        let name = occasion.name();
        match result {
            Err(why) if occasion.must_succeed() => {
                let delay = helper.failed(now);
                log::error!(
                    "the hook for {name} failed: {why}; this shard waits for it, and it is run again in {}",
                    shown(delay)
                );
                return;
            }
            Err(why) => log::error!("the hook for {name} failed: {why}"),
            Ok(()) => log::info!("the hook for {name} is done"),
        }
        helper.succeeded();
        self.occasion = None;
        self.records.events.push_back(Event::Hooked);
    }
}
