//! What runs beside the handlers: the command that takes dead letters, and the hook.

use std::time::Instant;

use super::Crew;
use crate::handler::attempt::End;
use crate::handler::helper::{Helper, Job, Patience};
use crate::handler::records::shown;
use crate::handler::{Event, OnFailure, Settings, environment};
use crate::process::Command;

/// The commands beside the handlers, each in a slot behind theirs.
pub(super) struct Helpers {
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

    /// Whether a dead letter cannot be got rid of.
    pub(super) fn are_letters_stuck(&self) -> bool {
        self.letters.as_ref().is_some_and(Helper::is_failing)
    }
}

impl Crew<'_> {
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
            patience: match occasion.must_succeed() {
                true => Patience::Limit(self.settings.timeout),
                false => Patience::Short,
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
                self.records.letter_is_out(&program);
                helper.succeeded();
            }
            Err(why) => {
                let what = format!("'{program}' (--dead-letter-command): {why}");
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
