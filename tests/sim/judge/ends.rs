//! How handlers end, and what that says of the records that they had.

use std::time::Duration;

use kclpipe::testing::handler::{ExitReport, Per, Role};
use kclpipe::testing::outcome::Ended;

use super::{Class, Hand, Rest, Why};
use crate::handlers::Child;
use crate::script::Word;
use crate::world::World;

impl World {
    /// kclpipe stops a child; whether it has a reason to.
    pub(crate) fn judge_stop(&mut self, role: Role) {
        self.judge.last_sign = self.now;
        if !matches!(role, Role::Handler(_)) {
            // What it does after that does not matter, unless it has used up its time.
            let over = self.judge.halted || self.judge.withdrawn || self.judge.input_ended;
            let over = over || self.is_drained();
            self.judge.letter_withdrawn |= role == Role::DeadLetter && over;
            return;
        }
        let heard = self.judge.withdrawn
            || self.judge.halted
            || self.judge.input_ended
            || self.judge.lease_gone
            || self.is_drained();
        let over = heard || self.daemon.is_gone(self.now);
        if self.is_drained() {
            self.seen.hit("handlers stopped at a drain's end");
        }
        let (now, limit) = (self.now, self.life.timeout);
        let ended = self.child(role).is_some_and(|child| child.ended.is_some());
        let Some(hand) = self.hand(role) else { return };
        let timed_out =
            limit.is_some_and(|limit| now >= hand.alive + limit && !hand.places.is_empty());
        let why = match hand.must_stop {
            Some(why) => why,
            None if over => Why::Withdrawn,
            None if timed_out => Why::TimeLimit,
            None => return self.breaks(format!("{role:?} is stopped without a reason")),
        };
        // A withdrawal is the last word, if kclpipe can have heard of it.
        let withdrawn = heard || (over && hand.must_stop.is_none());
        hand.stopped = Some(if withdrawn { Why::Withdrawn } else { why });
        if why == Why::TimeLimit && !ended {
            self.seen.hit("time limit");
        }
    }

    /// Whether the time is over that handlers have at a shutdown.
    fn is_drained(&self) -> bool {
        self.judge
            .drain_until
            .is_some_and(|until| self.now >= until)
    }

    /// kclpipe has learnt of the end of a child.
    pub(crate) fn judge_end(&mut self, child: &Child, report: &ExitReport) {
        self.judge.last_sign = self.now;
        match child.role {
            Role::Handler(_) => self.judge_handler_end(child.role, report),
            Role::DeadLetter => self.judge_letter_end(child, report),
            Role::Hook => self.judge_hook_end(child, report),
        }
    }

    fn judge_handler_end(&mut self, role: Role, report: &ExitReport) {
        let Some(hand) = self.take_hand(role) else {
            return;
        };
        let ended = match hand.stopped.or(hand.must_stop) {
            Some(Why::Withdrawn) => return,
            Some(Why::OutOfOrder) => return self.come_back(&hand.places, None),
            Some(Why::TimeLimit) => Ended::TimedOut,
            Some(Why::Invalid) => Ended::InvalidAnswer,
            None => report.ended,
        };
        if self.judge.withdrawn {
            return;
        }
        match self.life.per {
            Per::Record => self.record_ended(&hand, ended),
            Per::Batch { .. } => self.batch_ended(&hand, ended, report.unread),
            Per::Shard { .. } | Per::Event { .. } => {
                self.stream_ended(role, hand, ended, report.unread)
            }
        }
    }

    fn record_ended(&mut self, hand: &Hand, ended: Ended) {
        let class = match (Class::of(ended), hand.said) {
            (Class::Done, Some(_)) if hand.nonsense => Class::Fail,
            (Class::Done, Some(Word::Retry)) => Class::Retry,
            (Class::Done, Some(Word::Reject)) => Class::Reject,
            (Class::Done, Some(Word::Fail)) => Class::Fail,
            (Class::Done, Some(Word::Halt)) => Class::Halt,
            (class, _) => class,
        };
        let Some(place) = hand.places.first() else {
            return;
        };
        if class.is_good() && (hand.asked || class == Class::Checkpoint) {
            self.checkpoint_request(*place);
        }
        self.settle(*place, class);
    }

    fn batch_ended(&mut self, hand: &Hand, ended: Ended, unread: u64) {
        let class = Class::of(ended);
        let Some(last) = hand.places.last() else {
            match class {
                Class::Halt => self.halt(),
                _ => self.note_batch_done(),
            }
            return;
        };
        if class.is_good()
            && unread == 0
            && let Some(Word::Lowest(sequence_number, place)) = hand.reply
        {
            return self.batch_failed_from(hand.clone(), sequence_number, place);
        }
        if class.is_good() && unread == 0 {
            if hand.asked || class == Class::Checkpoint {
                self.checkpoint_request(*last);
            }
            self.cleared_by(hand, hand.places.len());
            hand.places.iter().for_each(|place| self.done(*place));
            return self.note_batch_done();
        }
        if class.is_good() {
            self.seen.hit("input unread");
        }
        let named = matches!(ended, Ended::Code(_)) && hand.said.is_some() && !class.is_good();
        let class = if class.is_good() { Class::Fail } else { class };
        if named || hand.given == 1 {
            self.found(hand);
            self.settle(hand.places[0], class);
            return self.come_back(&hand.places[1..], None);
        }
        self.unnamed(hand, class);
    }

    /// The records before this one are done, as a reply says; one that it has not is none.
    fn batch_failed_from(&mut self, mut hand: Hand, sequence_number: u64, place: Option<u64>) {
        let Some(records) = self.named_by(&hand, sequence_number, place) else {
            self.unnamed(&hand, Class::Fail);
            return;
        };
        self.seen.hit("a reply to a batch that lists a record");
        let done: Vec<usize> = hand.places.drain(..records).collect();
        hand.answered += records as u64;
        self.cleared_by(&hand, records);
        done.into_iter().for_each(|place| self.done(place));
        self.found(&hand);
        self.settle(hand.places[0], Class::Fail);
        self.come_back(&hand.places[1..], None);
    }

    /// A handler failed, and it is not known at which record; when its records are tried again, if they are.
    pub(super) fn unnamed(&mut self, hand: &Hand, class: Class) -> Option<Duration> {
        let places = hand.places.as_slice();
        let until = match class {
            Class::Retry => self.all_again(places),
            Class::Broken => self.broken(places),
            Class::Halt => {
                self.halt();
                return None;
            }
            Class::Fail if self.keeps_whole(hand) => {
                self.seen.hit("an aligned batch as it was");
                self.all_again(places)
            }
            _ if self.life.gives_batches() && places.len() > 1 => {
                self.seen.hit("narrowing");
                let until = self.now + self.delay(1);
                self.found(hand);
                self.come_back(places, Some(until));
                self.suspect_last(places.len());
                until
            }
            _ => {
                self.judge.batch[places[0]].alone = true;
                self.all_again(places)
            }
        };
        Some(until)
    }

    /// An aligned batch keeps its name when it fails the first time.
    fn keeps_whole(&self, hand: &Hand) -> bool {
        self.life.is_aligned() && hand.run.is_none() && hand.places.len() > 1
    }

    fn stream_ended(&mut self, role: Role, hand: Hand, ended: Ended, unread: u64) {
        let class = Class::of(ended);
        let is_unread = !hand.places.is_empty() && hand.fed > 0 && unread >= hand.fed;
        let idle = hand.places.is_empty();
        if class == Class::Halt && (idle || is_unread) {
            return self.halt();
        }
        if is_unread && !(class.is_good() && hand.answered > 0) {
            self.seen.hit("idle death");
            self.judge.batch[hand.places[0]].unsuccessful += 1;
            self.come_back(&hand.places, None);
            return self.rest(role);
        }
        if idle || is_unread {
            self.come_back(&hand.places, None);
            if !class.is_good() || hand.answered == 0 {
                self.seen.hit("idle death");
                self.rest(role);
            }
            return;
        }
        let class = if class.is_good() { Class::Fail } else { class };
        let suspect = self.judge.batch[hand.places[0]].alone && hand.given == 1;
        if suspect || (class == Class::Reject && hand.places.len() == 1) {
            self.found(&hand);
            let until = self.settle(hand.places[0], class);
            self.rest_as(role, until);
            return self.come_back(&hand.places[1..], None);
        }
        let until = self.unnamed(&hand, class);
        if until.is_some() {
            self.rest_as(role, until);
        }
    }

    /// A handler that lives on died for nothing: the next one waits, longer each time.
    fn rest(&mut self, role: Role) {
        if let Role::Handler(slot) = role {
            self.judge.rests[slot].deaths += 1;
            self.judge.rests[slot].until = self.now + self.delay(self.judge.rests[slot].deaths);
        }
    }

    pub(super) fn rest_as(&mut self, role: Role, until: Option<Duration>) {
        if let Role::Handler(slot) = role
            && self.life.lives_on()
        {
            self.judge.rests[slot] = Rest {
                deaths: 0,
                until: until.unwrap_or_default(),
            };
        }
    }

    pub(super) fn unrest(&mut self, role: Role) {
        if let Role::Handler(slot) = role {
            self.judge.rests[slot].deaths = 0;
        }
    }
}
