//! What goes into a handler's input: which records follow each other, and their bytes.
//!
//! A record that is written with `last: false` is followed by another in the same input, whatever comes: a handler
//! that answers in groups waits for it. So what follows is decided before a record is framed.
//!
//! What must not change:
//!
//! - A record is taken from its lane before it is framed, and put back in its place if it does not fit: nobody else
//!   may start the next of its key meanwhile.
//! - A run that is tried again has no more records than it had: half, where it is being narrowed down.
//! - A record that cannot stand in the format is judged only when nothing stands before it in the input: those
//!   before it are not done yet.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use anyhow::Result;

use super::Pool;
use super::attempt::Attempt;
use crate::format::{Envelope, Framed};
use crate::handler::held::Most;
use crate::handler::mode::Mode;

/// About this much is made ready for a handler that lives on before its pipe has taken it: enough for the
/// handler to be busy while the next is made, little enough to stay in the processor's cache.
const AHEAD: usize = 256 * 1024;

/// Records on their way into an input.
#[derive(Debug)]
struct Run {
    slot: usize,
    /// The handler lives on: what it is given is fed bit by bit.
    lives_on: bool,
    /// They are one batch.
    is_batch: bool,
    /// The first record, if there is one already.
    first: Option<usize>,
    /// At most this many records; `None` for any number.
    narrow: Option<usize>,
    most: Most,
    now: Instant,
    /// Bytes of their payloads.
    bytes: u64,
    /// Bytes that they take in the daemon's lines.
    line: u64,
    /// The last one: the record, its number, and where it begins in the input's buffer.
    last: Option<(usize, u64, usize)>,
    /// Records before the first that could not stand in the format.
    skipped: Vec<usize>,
    /// Records whose payload will be read from the input's file if it is needed again, and where in it.
    in_input: VecDeque<(usize, Range<u64>)>,
}

impl Run {
    fn new(slot: usize, mode: &dyn Mode, now: Instant) -> Run {
        Run {
            slot,
            lives_on: mode.lives_on(),
            is_batch: mode.gives_batches(),
            first: None,
            narrow: None,
            most: mode.most(),
            now,
            bytes: 0,
            line: 0,
            last: None,
            skipped: Vec::new(),
            in_input: VecDeque::new(),
        }
    }
}

impl Pool<'_> {
    /// Writes what the attempt may have now into the input, with what stands before and after it; how many bytes
    /// of payload that is, if there is any record.
    pub(super) fn compose(
        &mut self,
        slot: usize,
        attempt: &mut Attempt,
        now: Instant,
    ) -> Result<Option<u64>> {
        self.framer.begin(self.input.buffer());
        let bytes = self.fill(slot, attempt, now)?;
        let (Some(first), Some(last)) = (attempt.unanswered.front(), attempt.unanswered.back())
        else {
            self.input.clear();
            return Ok(None);
        };
        self.framer.end(self.input.buffer());
        attempt.fed = self.input.len();
        self.records.begin_run(*first, *last);
        Ok(Some(bytes))
    }

    /// Appends to the input what the attempt may have now; how many bytes of payload that is.
    pub(super) fn fill(&mut self, slot: usize, attempt: &mut Attempt, now: Instant) -> Result<u64> {
        let mut run = Run::new(slot, &*self.mode, now);
        if attempt.unanswered.is_empty() {
            attempt.fed = 0;
        }
        attempt.owed = false;
        let mut next = self.records.peek(slot, now);
        self.begin_with(next, attempt, &mut run);
        next = next.filter(|index| self.may_follow(*index, attempt, &run));
        while let Some(index) = next {
            next = self.append(index, attempt, &mut run)?;
        }
        attempt.fed += self.input.len();
        self.free_rest(&mut run);
        Ok(run.bytes)
    }

    /// The run begins with this record: if it came back, what came with it says who goes with it, and how many.
    fn begin_with(&self, first: Option<usize>, attempt: &mut Attempt, run: &mut Run) {
        if !run.is_batch {
            return;
        }
        run.first = first;
        attempt.run = first.and_then(|first| self.records.run_of(first));
        run.narrow = attempt.run.and_then(|run| self.records.most_of(run));
    }

    /// Appends a record; which one follows.
    fn append(
        &mut self,
        index: usize,
        attempt: &mut Attempt,
        run: &mut Run,
    ) -> Result<Option<usize>> {
        self.records.take(run.slot, index);
        // Given before it is framed: what follows depends on how many there are with it.
        let given = attempt.give(index, run.now);
        let n = if run.is_batch { attempt.batch } else { given };
        let before = (run.bytes, run.line);
        run.bytes += self.known_size(index);
        run.line += self.known_length(index, run);
        let next = self.next(index, attempt, run);
        self.spill(run);
        let start = self.input.buffer().len();
        let framed = self.frame(index, n, next.is_none())?;
        run.bytes += self.framer.decompressed();
        self.turn.bytes += self.framer.decompressed();
        match framed {
            Framed::Unfit(why) => {
                (run.bytes, run.line) = before;
                self.take_back(index, Some(why), attempt, run)
            }
            Framed::Written if attempt.unanswered.len() > 1 && run.bytes > run.most.payload => {
                (run.bytes, run.line) = before;
                self.input.buffer().truncate(start);
                self.take_back(index, None, attempt, run)
            }
            Framed::Written => {
                run.last = Some((index, n, start));
                self.note_place(index, start, run);
                attempt.sealed = next.is_none();
                match next {
                    Some(next) if self.is_ahead(run) => self.pause_before(next, attempt, run),
                    next => Ok(next),
                }
            }
        }
    }

    /// The record that follows `last` in the same input, as far as can be known before it is framed.
    fn next(&mut self, last: usize, attempt: &Attempt, run: &Run) -> Option<usize> {
        let next = self.peek_after(run)?;
        let narrow = run
            .narrow
            .is_some_and(|most| attempt.unanswered.len() >= most);
        let ends = narrow || self.records.goes_alone(last);
        (!ends && self.may_follow(next, attempt, run)).then_some(next)
    }

    /// The record that comes after those of the run, of all that may be taken now.
    fn peek_after(&mut self, run: &Run) -> Option<usize> {
        match run.first {
            Some(first) => self.records.peek_after(first, run.slot, run.now),
            None => self.records.peek(run.slot, run.now),
        }
    }

    /// Whether a record may stand in the input behind what is there.
    fn may_follow(&self, index: usize, attempt: &Attempt, run: &Run) -> bool {
        let alone = self.records.goes_alone(index) && !attempt.unanswered.is_empty();
        let first = run.first.filter(|first| *first != index);
        let line = run.line + self.known_length(index, run);
        let payload = match run.most.payload {
            u64::MAX => 0,
            _ => run.bytes + self.known_size(index),
        };
        !alone
            && first.is_none_or(|first| self.records.may_stand_with(first, index, line, &run.most))
            && !self.mode.is_full(attempt, payload)
    }

    /// About what a record takes in the daemon's line, where that is limited: to look would be felt at each record.
    fn known_length(&self, index: usize, run: &Run) -> u64 {
        match run.most.line {
            u64::MAX => 0,
            _ => self.records.queue.length(index),
        }
    }

    /// The bytes of a record's payload, where that does not take decompressing it.
    fn known_size(&self, index: usize) -> u64 {
        match self.settings.decompress {
            None => self.records.queue.payload(index),
            Some(_) => 0,
        }
    }

    /// Whether a record belongs to a later aligned window than one that was skipped.
    fn is_of_later_window(&self, index: usize, run: &Run) -> bool {
        let mut skipped = run.skipped.iter();
        skipped.any(|skipped| self.records.is_crossed(*skipped, index))
    }

    /// Takes out of the attempt the record that cannot stand in the input, or has no room there; which one
    /// follows.
    fn take_back(
        &mut self,
        index: usize,
        unfit: Option<&'static str>,
        attempt: &mut Attempt,
        run: &mut Run,
    ) -> Result<Option<usize>> {
        attempt.take_back();
        match unfit {
            Some(why) if attempt.unanswered.is_empty() => {
                self.turn.unfit += 1;
                self.records.unfit(index, why, run.now);
                let goes_on = self.records.halted.is_none() && !self.turn.is_over();
                run.skipped.push(index);
                let next = self.records.peek(run.slot, run.now);
                // A later window has not been waited for.
                let next = next.filter(|next| !self.is_of_later_window(*next, run));
                // Those after it go with each other, not with it.
                self.begin_with(next, attempt, run);
                Ok(next.filter(|next| goes_on && self.may_follow(*next, attempt, run)))
            }
            _ => {
                // What is before it is handled first; then it comes up again.
                self.records.put_back(index, None);
                self.seal(attempt, run).map(|()| None)
            }
        }
    }

    /// Nothing follows the last record before an answer: it is framed anew where that stands in it.
    fn seal(&mut self, attempt: &mut Attempt, run: &Run) -> Result<()> {
        attempt.sealed = true;
        if let Some((index, n, start)) = run.last.filter(|_| self.framer.tells_the_last()) {
            self.input.buffer().truncate(start);
            // It could stand there before.
            let _ = self.frame(index, n, true)?;
        }
        Ok(())
    }

    /// Whether enough is made ready. Not with several lanes: the handler was told that more comes, but
    /// another one may take it first.
    fn is_ahead(&mut self, run: &Run) -> bool {
        !run.is_batch && self.settings.jobs == 1 && self.input.buffer().len() >= AHEAD
    }

    /// Leaves the rest of the run for later, if a rest is sure to come.
    fn pause_before(
        &mut self,
        next: usize,
        attempt: &mut Attempt,
        run: &Run,
    ) -> Result<Option<usize>> {
        if self.is_end_before(next)? {
            self.seal(attempt, run)?;
        } else {
            attempt.owed = true;
        }
        Ok(None)
    }

    /// Moves out of memory what is large and will not be changed any more. What is fed bit by bit stays there.
    fn spill(&mut self, run: &mut Run) {
        if run.lives_on {
            return;
        }
        let spilled = match &mut run.last {
            Some((_, _, start)) if self.framer.tells_the_last() => {
                let spilled = self.input.spill(*start);
                *start -= spilled;
                spilled
            }
            _ => {
                let end = self.input.buffer().len();
                self.input.spill(end)
            }
        };
        if spilled > 0 {
            self.free_payloads(run);
        }
    }

    /// Moves the rest of a large input to its file, too: else the daemon's line stays in memory for a few records.
    fn free_rest(&mut self, run: &mut Run) {
        if !run.in_input.is_empty() && self.input.filed().is_some() {
            let end = self.input.buffer().len();
            self.input.spill_all(end);
            self.free_payloads(run);
        }
    }

    /// Notes where the payload of the record that was framed last stands in the input.
    fn note_place(&mut self, index: usize, start: usize, run: &mut Run) {
        if run.lives_on {
            return;
        }
        let frame = self.input.buffer().len() - start;
        let payload = self.records.queue.payload(index);
        if let Some(place) = self.framer.payload_place(frame, payload) {
            let end = self.input.len();
            let at = end - frame as u64 + place as u64;
            run.in_input.push_back((index, at..at + payload));
        }
    }

    /// Frees the memory of payloads that are in the input's file by now.
    fn free_payloads(&mut self, run: &mut Run) {
        if run.in_input.is_empty() {
            return;
        }
        let Some((filed, file)) = self.input.filed() else {
            return;
        };
        let is_filed = |(_, place): &(usize, Range<u64>)| place.end <= filed;
        while run.in_input.front().is_some_and(is_filed) {
            if let Some((index, place)) = run.in_input.pop_front() {
                self.records.queue.moved(index, &file, place);
            }
        }
    }

    fn frame(&mut self, index: usize, n: u64, last: bool) -> Result<Framed> {
        let attempt = self.records.attempt_number(index);
        let envelope = Envelope {
            n,
            shard_id: &self.records.shard_id,
            attempt,
            last,
        };
        let (batch, place) = self.records.queue.batch(index);
        let record = batch.record(place, &mut self.memory)?;
        self.framer.frame(&record, &envelope, self.input.buffer())
    }

    /// Whether a record ends the run before it, for it cannot stand in the format.
    fn is_end_before(&mut self, index: usize) -> Result<bool> {
        let (batch, place) = self.records.queue.batch(index);
        let record = batch.record(place, &mut self.memory)?;
        self.framer.is_end_before(&record)
    }
}
