//! What becomes of records, and when each may be tried again.

use std::time::Duration;

use super::Class;
use crate::draw::Policy;
use crate::world::{World, stamp};

impl World {
    pub(super) fn done(&mut self, place: usize) {
        self.judge.counted.done += 1;
        self.judge.breaker = 0;
        self.judge.works = true;
        self.judge.broken_until = Duration::ZERO;
        self.over(place);
    }

    /// The record needs nothing more.
    pub(super) fn over(&mut self, place: usize) {
        let this = &mut self.judge.batch[place];
        (this.done, this.letter, this.out) = (true, None, None);
        let rec = this.rec;
        self.judge.known[rec] = true;
        self.move_on();
    }

    /// How far the batch has come.
    fn move_on(&mut self) {
        let judge = &mut self.judge;
        let done = judge.batch.iter().take_while(|place| place.done).count();
        // Nothing of an aligned batch is stored before its end.
        let within = judge.aligned.iter().find(|batch| batch.contains(&done));
        let through = within.map_or(done, |batch| batch.start);
        judge.through = through;
        if self.life.window.is_none() {
            let passed = judge.read_ends.iter().rev().find(|end| **end < through);
            judge.batch_end = judge.batch_end.max(passed.map(|end| judge.batch[*end].rec));
        }
        // An older position may have come again.
        let end = judge.batch[..through].iter().map(|place| place.rec).max();
        if end > judge.end {
            (judge.end, judge.moved_at) = (end, Some(self.now));
        }
        let reached = judge
            .requests
            .iter()
            .copied()
            .filter(|checkpoint_request| Some(*checkpoint_request) <= judge.end)
            .max();
        judge
            .requests
            .retain(|checkpoint_request| Some(*checkpoint_request) > judge.end);
        judge.requested = judge.requested.max(reached);
        if self.is_everything_done() {
            self.judge.spool_failed = false;
        }
        self.finish_shard();
    }

    pub(super) fn checkpoint_request(&mut self, place: usize) {
        let mut aligned = self.judge.aligned.iter();
        if aligned.any(|batch| batch.contains(&place) && place + 1 < batch.end) {
            // Only ends of batches are stored.
            return;
        }
        let rec = self.judge.batch[place].rec;
        let is_aligned = self.life.window.is_some_and(|window| window.aligned);
        if is_aligned && Some(rec) < self.judge.end {
            // It came again, and lies within a batch that is done.
            return;
        }
        self.judge.requests.push(rec);
        if Some(rec) > self.judge.end.map(|end| end + 1) && rec > self.daemon.start {
            self.seen.hit("request beyond what is done");
        }
        self.move_on();
    }

    pub(super) fn come_back(&mut self, places: &[usize], until: Option<Duration>) {
        self.same_run(places);
        for place in places {
            let this = &mut self.judge.batch[*place];
            this.handed += 1;
            this.out = None;
            this.retry_at = this.retry_at.max(until.unwrap_or_default());
        }
    }

    pub(super) fn all_again(&mut self, places: &[usize]) -> Duration {
        let Some(first) = places.first() else {
            return self.now;
        };
        self.judge.batch[*first].unsuccessful += 1;
        self.judge.batch[*first].since.get_or_insert(self.now);
        let until = self.now + self.delay(self.judge.batch[*first].unsuccessful);
        self.come_back(places, Some(until));
        until
    }

    pub(super) fn broken(&mut self, places: &[usize]) -> Duration {
        self.seen.hit("broken handler");
        let works = std::mem::take(&mut self.judge.works);
        let until = self.all_again(places);
        if !works {
            self.judge.broken_until = self.judge.broken_until.max(until);
        }
        until
    }

    pub(super) fn halt(&mut self) {
        if self
            .daemon
            .action
            .as_ref()
            .is_some_and(|action| action.read)
        {
            self.seen.hit("halt in an action");
        } else if !self.judge.halted {
            self.judge.leaves_at = Some(self.now + Duration::from_secs(60));
        }
        self.judge.halted = true;
        self.judge.last_chance = true;
        self.give_last_chance();
    }

    /// Does with a record what the class of a verdict about it asks for; when it is tried again, if it is.
    pub(super) fn settle(&mut self, place: usize, class: Class) -> Option<Duration> {
        self.judge.batch[place].out = None;
        if !class.is_good() {
            self.same_run(&[place]);
            self.judge.batch[place].since.get_or_insert(self.now);
        }
        match class {
            Class::Done | Class::Checkpoint => {
                self.done(place);
                None
            }
            Class::Reject => {
                self.judge.batch[place].handed += 1;
                self.judge.batch[place].alone = true;
                self.dispose(place)
            }
            Class::Retry | Class::Fail => self.try_again(place, class == Class::Fail),
            Class::Broken => Some(self.broken(&[place])),
            Class::Halt => {
                self.halt();
                None
            }
        }
    }

    fn try_again(&mut self, place: usize, charged: bool) -> Option<Duration> {
        let this = &mut self.judge.batch[place];
        this.handed += 1;
        this.alone = true;
        this.unsuccessful += 1;
        this.charged += u32::from(charged);
        let unsuccessful = this.unsuccessful;
        let attempts_exhausted = self
            .life
            .max_attempts
            .is_some_and(|most| this.charged >= most);
        let stamped = self.daemon.records[this.rec].stamp;
        let age = stamped.map_or(0, |stamped| stamp(self.now) - stamped);
        let expired = self
            .life
            .max_age
            .is_some_and(|most| age > most.as_millis() as i64);
        if expired && !attempts_exhausted {
            self.seen.hit("too old");
        }
        if attempts_exhausted || expired {
            return self.give_up(place);
        }
        let until = self.now + self.delay(unsuccessful);
        self.judge.batch[place].retry_at = until;
        Some(until)
    }

    fn give_up(&mut self, place: usize) -> Option<Duration> {
        if self.life.breaker > 0 && self.judge.breaker >= self.life.breaker {
            self.seen.hit("breaker open");
            return Some(self.blocked(place));
        }
        let until = self.dispose(place);
        if until.is_none() && !self.judge.halted {
            self.judge.breaker += 1;
        }
        until
    }

    fn blocked(&mut self, place: usize) -> Duration {
        let until = self.now + self.life.delays.longest;
        self.judge.batch[place].retry_at = until;
        until
    }

    fn dispose(&mut self, place: usize) -> Option<Duration> {
        match self.life.policy {
            Policy::Block => return Some(self.blocked(place)),
            Policy::Skip => {
                self.seen.hit("skipped");
                self.judge.counted.skipped += 1;
                self.over(place);
            }
            Policy::Halt => self.halt(),
            Policy::File | Policy::Command => {
                let this = &mut self.judge.batch[place];
                this.letter = Some((this.handed, this.charged));
            }
        }
        None
    }
}
