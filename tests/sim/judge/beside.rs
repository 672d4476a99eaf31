//! What runs beside the handlers: dead letters on their way, and the hook.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use kclpipe::testing::dead_letter::Appended;
use kclpipe::testing::handler::ExitReport;
use kclpipe::testing::outcome::Ended;

use crate::daemon::short;
use crate::handlers::{Child, RECOVERY};
use crate::world::World;

impl World {
    /// The record that a letter is about, if one is due for it and it is none of `others`. That one is due for a record which does not
    /// fit the format shows with its letter.
    fn letter_of(&mut self, line: &[u8], others: &[usize]) -> Option<usize> {
        let letter: Value = serde_json::from_slice(line).ok()?;
        let seq = short(letter["sequenceNumber"].as_str()?)?;
        let pos = (seq, letter["subSequenceNumber"].as_u64()?);
        let numbers = Some((
            letter["attempts"].as_u64()? as u32,
            letter["failures"].as_u64()? as u32,
        ));
        let mut places = self.judge.batch.iter().enumerate();
        let (place, _) = places.find(|(index, place)| {
            let due =
                place.letter == numbers || (place.letter.is_none() && self.is_unfit(place.rec));
            let is_it = self.daemon.records[place.rec].pos == pos && !place.done && due;
            is_it && !others.contains(index)
        })?;
        self.judge.batch[place].letter = numbers;
        Some(place)
    }

    pub(crate) fn keep_letters(&mut self, letters: &[u8]) -> Result<Appended> {
        self.judge.last_sign = self.now;
        self.tell('<', || format!("{} bytes of letters", letters.len()));
        if self.now < self.judge.letters_until {
            self.breaks("letters are offered before their delay is over");
        }
        let places = self.places_of(letters);
        let mut rng = self
            .dice
            .rng("file", &[u64::from(self.daemon.session), self.effects]);
        if self.now < RECOVERY && rng.chance(12) {
            self.seen.hit("letter file fails");
            self.judge.letter_failures += 1;
            self.judge.letters_until = self.now + self.delay(self.judge.letter_failures);
            self.tell('*', || "the file cannot be written".to_owned());
            bail!("no space left on device");
        }
        if self.now < RECOVERY && rng.chance(25) {
            self.seen.hit("letter file locked");
            self.tell('*', || "the file is locked".to_owned());
            return Ok(Appended::Locked(Some(7)));
        }
        self.judge.letter_failures = 0;
        self.judge.letters_until = Duration::ZERO;
        for place in places {
            self.judge.counted.letters += 1;
            self.over(place);
        }
        Ok(Appended::Kept)
    }

    /// The records that these letters are about, each another one.
    fn places_of(&mut self, letters: &[u8]) -> Vec<usize> {
        let mut places = Vec::new();
        for line in letters.split_inclusive(|byte| *byte == b'\n') {
            match self.letter_of(line, &places) {
                Some(place) => places.push(place),
                None => self.not_due(line),
            }
        }
        places
    }

    fn not_due(&mut self, line: &[u8]) {
        let line = String::from_utf8_lossy(line);
        self.breaks(format!("a letter that is not due: {line}"));
    }

    pub(crate) fn judge_letter_offered(&mut self, line: &[u8]) {
        if self.now < self.judge.letters_until {
            self.breaks("a letter is offered before its delay is over");
        }
        self.judge.offered = self.letter_of(line, &[]);
        if self.judge.offered.is_none() {
            self.not_due(line);
        }
    }

    pub(super) fn letter_command_failed(&mut self) {
        self.seen.hit("letter command fails");
        self.judge.letter_fails = true;
        self.judge.letter_failures += 1;
        self.judge.letters_until = self.now + self.delay(self.judge.letter_failures);
    }

    pub(super) fn judge_letter_end(&mut self, child: &Child, report: &ExitReport) {
        let place = self.judge.offered.take();
        if self.judge.withdrawn || self.judge.letter_withdrawn || self.judge.batch.is_empty() {
            return;
        }
        if report.ended != Ended::Code(0) || report.unread > 0 || child.stopped {
            return self.letter_command_failed();
        }
        (self.judge.letter_fails, self.judge.letter_failures) = (false, 0);
        self.judge.letters_until = Duration::ZERO;
        if let Some(place) = place {
            self.judge.counted.letters += 1;
            self.over(place);
        }
    }

    pub(crate) fn judge_hook_start(&mut self, event: &str) {
        self.judge.hook_running = Some(event.to_owned());
        if self.now < self.judge.hook_until {
            self.breaks("the hook runs before its delay is over");
        }
        if event == "shard-end" && !(self.is_all_done() && self.daemon.shard_ended) {
            self.breaks("the hook for the shard's end runs before all is done");
        }
    }

    pub(super) fn hook_failed(&mut self) {
        self.seen.hit("hook fails");
        let must_succeed = !matches!(
            self.judge.hook_running.as_deref(),
            Some("lease-lost" | "shutdown")
        );
        if must_succeed && !self.judge.withdrawn {
            self.judge.hook_failures += 1;
            self.judge.hook_until = self.now + self.delay(self.judge.hook_failures);
        }
    }

    pub(super) fn judge_hook_end(&mut self, child: &Child, report: &ExitReport) {
        if report.ended != Ended::Code(0) || child.stopped {
            return self.hook_failed();
        }
        self.judge.hook_failures = 0;
        match self.judge.hook_running.take().as_deref() {
            Some("shard-end") => self.judge.hook_done = true,
            Some("initialize") => self.judge.hook_begun = true,
            _ => {}
        }
    }
}
