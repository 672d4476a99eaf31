//! Records that are collected before a handler is started with them: what is known for [`Window`], and which
//! batch is under way where batches have borders that a restart finds again.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::{Instant, SystemTime};

use super::Records;
use super::window::{Most, Reads, Waiting, Window};
use crate::due::Due;
use crate::record::Batch;
use crate::trigger::Trigger;

/// What is known of the records that wait together.
#[derive(Debug)]
pub(in crate::handler) struct Collecting {
    reads: Reads,
    /// The shard has ended: nothing more is waited for.
    pub(super) ended: bool,
    /// A batch of a handler is done, which was not reported yet.
    pub(super) batch_done: bool,
    /// Aligned batches that were begun and are not done, oldest first: nothing of one is reported before its
    /// end. The next may begin while a letter of the last is under way.
    pub(super) batches: VecDeque<Range<usize>>,
    /// From this record on the next one behind its aligned window was looked for, up to the second.
    pub(super) looked: (usize, usize),
}

impl Collecting {
    pub(super) fn new(now: Instant) -> Collecting {
        Collecting {
            reads: Reads {
                last: now,
                caught_up: None,
            },
            ended: false,
            batch_done: false,
            batches: VecDeque::new(),
            looked: (0, 0),
        }
    }

    /// The daemon read this. An empty read shows that there is nothing more, but only a `fresh` one: others
    /// have waited in the daemon since who knows when.
    pub(super) fn read(
        &mut self,
        batch: &Batch,
        fresh: bool,
        now: Instant,
        time_of_day: SystemTime,
    ) {
        let at_tip = batch.is_empty() && batch.millis_behind_latest == Some(0);
        self.reads = Reads {
            last: now,
            caught_up: (at_tip && fresh)
                .then_some(time_of_day)
                .or_else(|| self.reads.caught_up.filter(|_| batch.is_empty())),
        };
    }

    /// How far what is done may be reported.
    pub(super) fn storable(&self, done_through: usize) -> usize {
        self.batch_of(done_through)
            .map_or(done_through, |batch| batch.start)
    }

    /// What is done through here is reported.
    pub(super) fn reported(&mut self, through: usize) {
        let is_over = |batch: &Range<usize>| batch.end <= through;
        while self.batches.front().is_some_and(is_over) {
            self.batches.pop_front();
        }
    }

    /// The aligned batch that has this record.
    fn batch_of(&self, index: usize) -> Option<&Range<usize>> {
        self.batches.iter().find(|batch| batch.contains(&index))
    }

    /// Whether a checkpoint at this record would lie within an aligned batch: only ends of batches are stored.
    pub(super) fn is_within_batch(&self, index: usize) -> bool {
        self.batch_of(index)
            .is_some_and(|batch| index + 1 < batch.end)
    }

    pub(super) fn withdraw(&mut self) {
        self.batches.clear();
        (self.looked, self.batch_done) = ((0, 0), false);
    }
}

impl Records {
    /// The shard has ended: no window waits any more.
    pub(in crate::handler) fn end_windows(&mut self) {
        self.collecting.ended = true;
    }

    /// Whether a handler starts in `lane` with what it may take, or when. `needs_room`: the daemon waits, and
    /// no handler runs that could make room.
    pub(in crate::handler) fn start_due(
        &mut self,
        lane: usize,
        most: &Most,
        needs_room: bool,
        now: Instant,
    ) -> Due<Trigger> {
        let Some(first) = self.peek(lane, now) else {
            return Due::Never;
        };
        let Some(window) = self.settings.window else {
            return Due::Now(Trigger::AtOnce);
        };
        if self.attempts.contains_key(&first) || self.alone == Some(first) {
            return Due::Now(Trigger::AtOnce);
        }
        if self.collecting.ended {
            return Due::Now(Trigger::End);
        }
        let waiting = Waiting {
            size: self.lanes.startable(lane),
            taken_in: self.queue.taken_in(first),
            arrived: self.queue.arrived(first),
            crossed: self.is_crossed_after(first, window),
        };
        let due = window.due(
            &waiting,
            most,
            &self.collecting.reads,
            (now, self.time_of_day),
        );
        // A safety net: borders by bytes leave room for a batch that runs and one that waits.
        if needs_room && due.now().is_none() {
            return Due::Now(Trigger::Room);
        }
        due
    }

    /// Whether a record waits behind the aligned window of `first`. What was looked at is not looked at again.
    pub(super) fn is_crossed_after(&mut self, first: usize, window: Window) -> bool {
        if !window.aligned {
            return false;
        }
        let arrived = |index| self.queue.arrived(index);
        let (from, through) = self.collecting.looked;
        let mut at = if from == first {
            through.max(first)
        } else {
            first
        };
        while at < self.queue.end() && !window.is_crossed(arrived(first), arrived(at)) {
            at += 1;
        }
        self.collecting.looked = (first, at);
        at < self.queue.end()
    }

    /// Whether `index` may stand in a run that begins with `first`, as far as borders go that are a function
    /// of the records; `line` is what all of them take in the daemon's lines.
    pub(in crate::handler) fn may_stand_with(
        &self,
        first: usize,
        index: usize,
        line: u64,
        most: &Most,
    ) -> bool {
        if self.attempts.contains_key(&first) {
            return true;
        }
        !self.is_crossed(first, index) && line <= most.line
    }

    /// Whether a record belongs to a later aligned window than `first`.
    pub(in crate::handler) fn is_crossed(&self, first: usize, index: usize) -> bool {
        let arrived = |index| self.queue.arrived(index);
        let window = self.settings.window;
        window.is_some_and(|window| window.is_crossed(arrived(first), arrived(index)))
    }

    /// A handler starts with these records, from the first through the last, for this reason.
    pub(in crate::handler) fn begin_run(&mut self, first: usize, last: usize) {
        let aligned = self.settings.window.is_some_and(|window| window.aligned);
        if aligned && !self.attempts.contains_key(&first) {
            self.collecting.batches.push_back(first..last + 1);
        }
    }

    /// All records of a handler's batch are done.
    pub(in crate::handler) fn end_run(&mut self) {
        self.collecting.batch_done = true;
    }
}
