//! Records whose letter is to be kept before they are done.

use std::time::Duration;

use anyhow::Result;

use super::events::RecordEvent;
use super::{Letter, Records};
use crate::dead_letter::{Cause, DeadLetter};
use crate::record::Position;

impl Records {
    /// A letter as a line.
    fn letter(&mut self, letter: &Letter) -> Result<Vec<u8>> {
        let stderr = String::from_utf8_lossy(&letter.stderr);
        let attempts = self.attempts.get(&letter.index);
        let cause = Cause {
            attempts: attempts.map_or(0, |attempts| attempts.handed),
            failures: attempts.map_or(0, |attempts| attempts.charged),
            outcome: &letter.outcome,
            stderr: &stderr,
        };
        let (batch, place) = self.queue.batch(letter.index);
        let record = batch.record(place, &mut self.memory)?;
        let behind = batch.millis_behind_latest;
        Ok(DeadLetter::new(&self.shard_id, &record, behind, cause).to_line())
    }

    /// The oldest letter that waits.
    ///
    /// # Errors
    /// Its record cannot be read from the file where it waits.
    pub(in crate::handler) fn next_letter(&mut self) -> Result<Option<(Position, Vec<u8>)>> {
        let Some(letter) = self.letters.pop_front() else {
            return Ok(None);
        };
        let line = self.letter(&letter);
        let position = self.position(letter.index);
        self.letters.push_front(letter);
        Ok(Some((position, line?)))
    }

    /// The oldest letters as lines, up to this many bytes, and how many they are.
    ///
    /// # Errors
    /// A record cannot be read from the file where it waits.
    pub(in crate::handler) fn next_letters(&mut self, most: usize) -> Result<(usize, Vec<u8>)> {
        let letters = std::mem::take(&mut self.letters);
        let (mut count, mut lines) = (0, Ok(Vec::new()));
        for letter in &letters {
            let (Ok(all), line) = (&mut lines, self.letter(letter)) else {
                break;
            };
            if all.len() >= most {
                break;
            }
            match line {
                Ok(line) => all.extend(line),
                Err(e) => lines = Err(e),
            }
            count += 1;
        }
        self.letters = letters;
        Ok((count, lines?))
    }

    /// Whether a letter waits.
    pub(in crate::handler) fn has_letters(&self) -> bool {
        !self.letters.is_empty()
    }

    /// The oldest letter is in `place`: its record needs nothing more.
    pub(in crate::handler) fn letter_is_kept(&mut self, place: &str) {
        let Some(letter) = self.letters.pop_front() else {
            return;
        };
        let event = RecordEvent::DeadLettered {
            at: self.position(letter.index),
            why: letter.why,
            outcome: &letter.outcome,
            place,
        };
        event.tell(&mut self.counters);
        self.dispose_of(letter.index);
    }

    /// The oldest letter was not taken; why, and when it is offered again.
    pub(in crate::handler) fn letter_is_refused(&mut self, refusal: &str, delay: Duration) {
        if let Some(letter) = self.letters.front() {
            let event = RecordEvent::LetterRefused {
                at: self.position(letter.index),
                why: letter.why,
                outcome: &letter.outcome,
                refusal,
                delay,
            };
            event.tell(&mut self.counters);
        }
    }
}
