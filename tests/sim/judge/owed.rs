//! What kclpipe owes when it falls asleep.

use std::time::Duration;

use kclpipe::testing::handler::{Per, Role};

use super::Place;
use crate::draw::Policy;
use crate::handlers::Child;
use crate::world::World;

/// Without any sign of life for so long, while there is work and nobody works, a life stands still.
const STALL: Duration = Duration::from_secs(200);

impl World {
    /// kclpipe goes to sleep, until something happens at `next`: it must have done all that it can do now.
    pub(crate) fn judge_sleep(&mut self, next: Option<Duration>) {
        if let Some(owed) = self.owed() {
            self.breaks(format!("kclpipe sleeps, and {owed}"));
        }
        self.judge_wake(next);
        self.see_what_waits();
        let busy = !self.children.is_empty() || self.daemon.awaiting;
        let silent = next.unwrap_or(self.now) > self.judge.last_sign + STALL;
        if self.is_open() && !busy && silent {
            self.breaks("a stall: there is work, and nobody works");
        }
    }

    /// What falls due before kclpipe wakes is slept through.
    fn judge_wake(&mut self, next: Option<Duration>) {
        let Some(before) = next.and_then(|next| next.checked_sub(Duration::from_nanos(1))) else {
            return;
        };
        let now = self.now;
        self.now = before.max(now);
        if let Some(owed) = self.owed() {
            self.breaks(format!(
                "kclpipe sleeps until {next:?}, and before that {owed}"
            ));
        }
        self.now = now;
    }

    fn see_what_waits(&mut self) {
        if !self.is_open() && !self.judge.halted && self.is_due() {
            self.seen.hit("a checkpoint due with no action open");
        }
    }

    /// Whether kclpipe has work that goes on whether an action is open or not.
    fn is_at_work(&self) -> bool {
        let judge = &self.judge;
        let over = judge.halted || judge.lease_gone || judge.finishing || judge.dropped;
        !over && !judge.input_ended && !judge.shard_end_refused && !self.daemon.is_gone(self.now)
    }

    /// Whether an action awaits its status, as far as kclpipe knows.
    fn is_open(&self) -> bool {
        let read = self
            .daemon
            .action
            .as_ref()
            .is_some_and(|action| action.read);
        read && !self.judge.input_ended
            && !self.daemon.is_gone(self.now)
            && !self.judge.shard_end_refused
    }

    pub(super) fn action(&self) -> &'static str {
        self.daemon.action.as_ref().map_or("", |action| action.name)
    }

    fn owed(&mut self) -> Option<&'static str> {
        self.note_report();
        if let Some(owed) = self.stop_owed() {
            return Some(owed);
        }
        let (open, works) = (self.is_open(), self.is_at_work());
        [
            (open && self.is_status_owed(), "the status is owed"),
            (open && self.is_checkpoint_due(), "a checkpoint is due"),
            (open && self.is_shard_end_owed(), "SHARD_END is owed"),
            (
                open && self.is_keep_alive_due(),
                "the daemon has heard nothing for too long",
            ),
            (self.is_leave_owed(), "a halt is not carried out"),
            (works && self.is_letter_owed(), "a letter waits for nothing"),
            (
                works && self.is_start_owed() && !self.is_held_up(),
                "a record may start, and a handler is free",
            ),
            (
                self.is_slot_kept(),
                "a slot of the machine is kept for nothing",
            ),
            (
                works && self.is_promise_broken(),
                "a handler waits for a record that was promised by last: false",
            ),
        ]
        .into_iter()
        .find(|(owed, _)| *owed)
        .map(|(_, what)| what)
    }

    fn stop_owed(&self) -> Option<&'static str> {
        let over = self.judge.halted || self.judge.withdrawn || self.judge.input_ended;
        let alive = |role: Role| {
            self.children
                .iter()
                .any(|child| child.role == role && child.ended.is_none())
        };
        for hand in self
            .judge
            .hands
            .iter()
            .filter(|hand| hand.stopped.is_none() && alive(hand.role))
        {
            let limit = self.life.timeout.filter(|_| !hand.places.is_empty());
            if hand.must_stop.is_some() {
                return Some("a handler that has to be stopped goes on");
            }
            let open = |child: &&Child| child.role == hand.role && !child.stdin.closed;
            if self.judge.finishing && self.children.iter().any(|child| open(&child)) {
                return Some("a handler does not see the end of its input");
            }
            let drained = self
                .judge
                .drain_until
                .is_some_and(|until| self.now >= until);
            if drained && !hand.places.is_empty() {
                return Some("a handler goes on after the time that it had at a shutdown");
            }
            if over {
                return Some("a handler goes on, though its records are nobody's any more");
            }
            if limit.is_some_and(|limit| self.now >= hand.alive + limit) {
                return Some("a handler is beyond its time limit");
            }
        }
        None
    }

    fn is_status_owed(&self) -> bool {
        let judge = &self.judge;
        let room = self.room().1 || judge.dropped;
        let handlers = judge.lease_gone && !self.children.is_empty();
        let in_round = judge.in_round || judge.perhaps_in_round;
        let waits = in_round && (self.life.read_ahead == 0 || judge.lease_gone);
        let storing = self.daemon.awaiting || waits;
        self.action() == "processRecords" && room && !handlers && !storing && !judge.halted
    }

    /// All is done, and handlers and hook have ended.
    fn is_shard_end_owed(&self) -> bool {
        let judge = &self.judge;
        let over = judge.halted || judge.ends_unread || judge.lease_gone;
        let earned = judge.finished_at.is_some() && self.children.is_empty();
        let hooked = !self.life.hook || judge.hook_done;
        let free = !self.daemon.awaiting && self.now >= judge.owed_from;
        matches!(self.action(), "shardEnded" | "shutdown") && earned && hooked && free && !over
    }

    /// Without an action a halt waits for a minute.
    fn is_leave_owed(&self) -> bool {
        let late = self.judge.leaves_at.is_some_and(|at| self.now >= at);
        late && !self.judge.input_ended && !self.daemon.is_gone(self.now)
    }

    fn is_keep_alive_due(&self) -> bool {
        let over = self.judge.lease_gone || self.judge.leaves;
        self.may_repeat() && !self.daemon.awaiting && !over && self.action() != "initialize"
    }

    fn is_letter_owed(&self) -> bool {
        let waits = self.judge.batch.iter().any(|place| place.letter.is_some());
        let free = match self.life.policy {
            Policy::Command => !self
                .children
                .iter()
                .any(|child| child.role == Role::DeadLetter),
            // Somebody else's lock is looked at every tenth of a second.
            _ => self.now >= self.judge.last_sign + Duration::from_millis(150),
        };
        waits && free && self.now >= self.judge.letters_until
    }

    /// Per record and batch: a record whose turn it is, and a handler that has nothing to do.
    fn is_start_owed(&mut self) -> bool {
        let judge = &self.judge;
        let letters = judge.batch.iter().any(|place| place.letter.is_some());
        if letters {
            self.seen.hit("letters waiting");
        }
        let judge = &self.judge;
        let held = self.now < judge.paused_until.max(judge.broken_until);
        let busy = !self.is_handler_free() || letters || judge.letter_fails || held;
        if matches!(self.life.per, Per::Shard { .. }) || busy {
            return false;
        }
        if self.life.window.is_some() {
            return self.is_batch_owed();
        }
        let key = |place: &Place| {
            if self.life.jobs == 1 {
                0
            } else {
                self.daemon.records[place.rec].key
            }
        };
        judge.batch.iter().enumerate().any(|(index, this)| {
            let mut others = judge.batch.iter().enumerate();
            let is_first = others.all(|(other, place)| {
                let before = other < index && !place.done;
                key(place) != key(this) || !(before || place.out.is_some())
            });
            !this.done
                && this.out.is_none()
                && this.retry_at <= self.now
                && !self.is_unfit(this.rec)
                && is_first
        })
    }

    /// Whether a handler has nothing to do, or may start.
    fn is_handler_free(&self) -> bool {
        if !self.life.gives_events() {
            return self.judge.hands.len() < self.life.jobs;
        }
        (0..self.life.jobs).any(|slot| self.is_slot_free(slot))
    }

    /// Whether a handler that lives on may have the next event in this slot.
    fn is_slot_free(&self, slot: usize) -> bool {
        let role = Role::Handler(slot);
        let Some(hand) = self.judge.hands.iter().find(|hand| hand.role == role) else {
            return self.now >= self.judge.rests[slot].until;
        };
        let most = self.life.max_records();
        let spent = most.is_some_and(|most| hand.given >= most);
        let ends = hand.stopped.is_some() || hand.must_stop.is_some() || spent;
        let mut children = self.children.iter();
        let reads = |child: &Child| child.ended.is_none() && child.stdin.is_fed();
        let is_there = children.any(|child| child.role == role && reads(child));
        hand.places.is_empty() && !ends && is_there
    }

    /// Per shard: a handler that answers in groups was told that more comes.
    fn is_promise_broken(&self) -> bool {
        let kept = |child: &&Child| {
            let hand = self.judge.hands.iter().find(|hand| hand.id == child.id);
            let free = hand.is_some_and(|hand| hand.stopped.is_none() && hand.must_stop.is_none());
            free && child.work.last == Some(false)
                && child.work.waits_for_more()
                && child.ended.is_none()
        };
        let broken = self
            .children
            .iter()
            .filter(kept)
            .any(|child| child.stdin.pipe.is_empty() && child.exit.is_none());
        broken && !self.judge.finishing
    }
}
