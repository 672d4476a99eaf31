//! What kclpipe owes when it falls asleep.

use std::time::Duration;

use kclpipe::testing::handler::{Per, Role};

use super::Place;
use crate::draw::Policy;
use crate::handlers::Child;
use crate::world::World;

/// The time between two lease probes.
const PROBE: Duration = Duration::from_secs(30);

/// Without any sign of life for so long, while there is work and nobody works, a life stands still.
const STALL: Duration = Duration::from_secs(200);

impl World {
    /// kclpipe goes to sleep, until something happens at `next`: it must have done all that it can do now.
    pub(crate) fn judge_sleep(&mut self, next: Option<Duration>) {
        if let Some(owed) = self.owed() {
            self.breaks(format!("kclpipe sleeps, and {owed}"));
        }
        let busy = !self.children.is_empty() || self.daemon.awaiting;
        let silent = next.unwrap_or(self.now) > self.judge.last_sign + STALL;
        if self.is_open() && !busy && silent {
            self.breaks("a stall: there is work, and nobody works");
        }
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

    fn action(&self) -> &'static str {
        self.daemon.action.as_ref().map_or("", |action| action.name)
    }

    fn owed(&mut self) -> Option<&'static str> {
        if let Some(owed) = self.stop_owed() {
            return Some(owed);
        }
        if !self.is_open() {
            return None;
        }
        let handed_over =
            self.action() == "processRecords" && !self.judge.halted && !self.judge.lease_gone;
        [
            (self.is_status_owed(), "the status is owed"),
            (self.is_checkpoint_due(), "a checkpoint is due"),
            (
                self.is_keep_alive_due(),
                "the daemon has heard nothing for too long",
            ),
            (
                handed_over && self.is_letter_owed(),
                "a letter waits for nothing",
            ),
            (
                handed_over && self.is_start_owed(),
                "a record may start, and a handler is free",
            ),
            (
                handed_over && self.is_promise_broken(),
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
        let done = judge.batch.iter().all(|place| place.done);
        let handlers = judge.lease_gone && !self.children.is_empty();
        let storing = self.daemon.awaiting || judge.in_round;
        self.action() == "processRecords" && done && !handlers && !storing && !judge.halted
    }

    fn is_checkpoint_due(&mut self) -> bool {
        let judge = &self.judge;
        let may = !self.daemon.awaiting && !judge.lease_gone && self.now >= judge.not_before;
        may && self.action() != "initialize" && (self.is_due() || self.is_probe_due())
    }

    fn is_due(&mut self) -> bool {
        let (judge, strategy) = (&self.judge, self.life.strategy);
        let requested = judge
            .requested
            .map(|requested| self.daemon.records[requested].pos);
        let ends = self.daemon.shard_ended && judge.requested == self.daemon.delivered;
        let checkpoint_request = requested > judge.stored && requested != judge.refused && !ends;
        if strategy.manual {
            return checkpoint_request;
        }
        let withheld = self.is_withheld();
        if self.unsaved_end().is_none() && !withheld {
            return false;
        }
        let batch_over =
            self.action() == "processRecords" && judge.batch.iter().all(|place| place.done);
        let leaving = judge.last_chance || (judge.finishing && !self.daemon.shard_ended);
        let due = checkpoint_request
            || judge.in_round
            || leaving
            || judge.is_unprotected()
            || self.now < judge.draining
            || (strategy.batch && batch_over)
            || strategy
                .records
                .is_some_and(|records| self.unsaved() >= records)
            || strategy
                .every
                .is_some_and(|every| self.now >= judge.last + every);
        if due && withheld {
            self.seen.hit("checkpoint withheld at a shard's end");
        }
        due && !withheld
    }

    /// A record has blocked its shard for half a minute, and there is a position between it and what is done
    /// (checkpoints.md, "The lease probe").
    fn is_probe_due(&self) -> bool {
        let (judge, records) = (&self.judge, &self.daemon.records);
        let front = judge.batch.iter().find(|place| !place.done);
        let Some(((since, next), end)) = front
            .and_then(|front| Some((front.since?, front.rec)))
            .zip(judge.end)
        else {
            return false;
        };
        let clear = next > end && records[next].pos.0 != records[end].pos.0;
        let plain = !self.life.strategy.manual && judge.refused.is_none();
        let works = self.action() == "processRecords" && !judge.halted;
        works && clear && plain && self.now >= since.max(judge.last) + PROBE
    }

    /// The end of what is done is the last position that was delivered: the daemon would take it for more.
    pub(super) fn is_withheld(&self) -> bool {
        let end = self.judge.end.map(|end| self.daemon.records[end].pos);
        self.daemon.shard_ended
            && end > self.judge.stored
            && self.judge.end == self.daemon.delivered
    }

    fn is_keep_alive_due(&self) -> bool {
        let due = self
            .life
            .keepalive
            .is_some_and(|every| self.now >= self.daemon.heard_at + every);
        due && !self.daemon.awaiting && !self.judge.lease_gone && self.action() != "initialize"
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
        let busy = judge.hands.len() >= self.life.jobs || letters || judge.letter_fails || held;
        if matches!(self.life.per, Per::Shard { .. }) || busy || judge.finishing {
            return false;
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
