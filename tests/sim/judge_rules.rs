//! The second half of the judge: letters, the hook, checkpoints, and what kclpipe owes when it falls asleep.

use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use kclpipe::testing::dead_letter::Appended;
use kclpipe::testing::handler::{ExitReport, Per, Role};
use kclpipe::testing::outcome::Ended;

use super::Ack;
use crate::daemon::{Pos, Stored, short};
use crate::draw::Policy;
use crate::handlers::{Child, RECOVERY};
use crate::world::World;

/// Without any sign of life for so long, while there is work and nobody works, a life stands still.
const STALL: Duration = Duration::from_secs(200);

/// The attempts of a round (checkpoints.md, "When storing fails").
const ROUND: u32 = 5;

impl World {
    // Letters.

    /// The record that a letter is about, if one is due for it. That one is due for a record which does not
    /// fit the format shows with its letter.
    fn letter_of(&mut self, line: &[u8]) -> Option<usize> {
        let letter: Value = serde_json::from_slice(line).ok()?;
        let seq = short(letter["sequenceNumber"].as_str()?)?;
        let pos = (seq, letter["subSequenceNumber"].as_u64()?);
        let numbers = Some((
            letter["attempts"].as_u64()? as u32,
            letter["failures"].as_u64()? as u32,
        ));
        let place = self.judge.batch.iter().position(|place| {
            let due =
                place.letter == numbers || (place.letter.is_none() && self.is_unfit(place.rec));
            self.daemon.records[place.rec].pos == pos && !place.done && due
        })?;
        self.judge.batch[place].letter = numbers;
        Some(place)
    }

    pub(crate) fn keep_letters(&mut self, letters: &[u8]) -> Result<Appended> {
        self.judge.last_sign = self.now;
        self.tell('<', || format!("{} bytes of letters", letters.len()));
        let lines: Vec<&[u8]> = letters.split_inclusive(|byte| *byte == b'\n').collect();
        let lines = lines.as_slice();
        if self.now < self.judge.letters_until {
            self.breaks("letters are offered before their delay is over");
        }
        if let Some(line) = lines
            .iter()
            .copied()
            .find(|line| self.letter_of(line).is_none())
        {
            self.breaks(format!(
                "a letter that is not due: {}",
                String::from_utf8_lossy(line)
            ));
        }
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
        for line in lines {
            if let Some(place) = self.letter_of(line) {
                self.judge.counted.letters += 1;
                self.over(place);
            }
        }
        Ok(Appended::Kept)
    }

    pub(crate) fn judge_letter_offered(&mut self, line: &[u8]) {
        if self.now < self.judge.letters_until {
            self.breaks("a letter is offered before its delay is over");
        }
        self.judge.offered = self.letter_of(line);
        if self.judge.offered.is_none() {
            self.breaks(format!(
                "a letter that is not due: {}",
                String::from_utf8_lossy(line)
            ));
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

    // The hook.

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

    // What is said to the daemon.

    /// Every record that the daemon sent or may still send in this session is done.
    fn is_all_done(&self) -> bool {
        let start = self.daemon.start;
        self.judge.known[start..].iter().all(|known| *known)
            && self.judge.hands.iter().all(|hand| hand.places.is_empty())
    }

    pub(crate) fn judge_status(&mut self, name: &str) {
        self.judge.last_sign = self.now;
        if self.judge.halted {
            return self.breaks(format!("'{name}' is answered after a halt"));
        }
        let busy = self
            .children
            .iter()
            .any(|child| matches!(child.role, Role::Handler(_)));
        match name {
            "initialize" if self.life.hook && !self.judge.hook_begun => {
                self.breaks("the lease begins before its hook has succeeded");
            }
            "initialize" => self.judge.last = self.now,
            "processRecords" if self.judge.batch.iter().any(|place| !place.done) => {
                self.breaks("processRecords is answered before all is done");
            }
            "processRecords" => self.judge.batch.clear(),
            _ if busy => self.breaks(format!("'{name}' is answered while a handler runs")),
            "shutdownRequested" => self.judge_shutdown(),
            "shardEnded" | "shutdown" if self.daemon.shard_ended => self.judge_shard_end(),
            _ => {}
        }
    }

    fn judge_shard_end(&mut self) {
        if self.daemon.stored != Stored::ShardEnd && !self.judge.lease_gone {
            self.breaks("the shard's end is answered before it is stored");
        }
    }

    fn judge_shutdown(&mut self) {
        let judge = &self.judge;
        let excused = judge.lease_gone || judge.round_failed || self.life.strategy.manual;
        if !excused && self.unsaved_end().is_some() {
            self.breaks("an orderly shutdown is answered before all that is done is stored");
        }
    }

    /// Records done since the last checkpoint.
    fn unsaved(&self) -> u64 {
        let stored = self
            .judge
            .stored
            .map_or(0, |stored| self.daemon.through(stored));
        let end = self.judge.end.map_or(0, |end| end + 1);
        end.saturating_sub(stored.max(self.daemon.start)) as u64
    }

    /// The end of what is done, if a checkpoint there would advance and the daemon would take it for what it is.
    fn unsaved_end(&self) -> Option<Pos> {
        let end = self.daemon.records[self.judge.end?].pos;
        let ends = self.is_withheld();
        (Some(end) > self.judge.stored && Some(end) != self.judge.refused && !ends).then_some(end)
    }

    pub(crate) fn judge_checkpoint(&mut self, asked: Option<Pos>, ends: bool) {
        self.judge.last_sign = self.now;
        if self.judge.lease_gone {
            return self.breaks("a checkpoint after the lease was lost");
        }
        if ends && !self.is_all_done() {
            return self.breaks("SHARD_END over records that are not done");
        }
        if ends && self.life.hook && !self.judge.hook_done {
            return self.breaks("SHARD_END before the hook has succeeded");
        }
        if let Some(asked) = asked {
            self.judge_position(asked);
        } else if self.judge.halted {
            self.breaks("SHARD_END after a halt");
        }
        let is_repeat = asked.is_some() && asked == self.judge.stored;
        if self.now < self.judge.not_before && !is_repeat {
            self.breaks("a checkpoint is tried again before its delay is over");
        }
    }

    fn judge_position(&mut self, asked: Pos) {
        let (start, through) = (self.daemon.start, self.daemon.through(asked));
        let passed = (start..through).find(|rec| !self.judge.known[*rec]);
        if let Some(rec) = passed {
            return self.breaks(format!(
                "the checkpoint {asked:?} passes record {rec}, which is not done"
            ));
        }
        let delivered = self
            .daemon
            .delivered
            .map(|index| self.daemon.records[index].pos);
        let is_repeat = Some(asked) == self.judge.stored;
        if Some(asked) < self.judge.stored || (Some(asked) > delivered && !is_repeat) {
            return self.breaks(format!(
                "the daemon refuses {asked:?}: it is not between what is stored and what was sent"
            ));
        }
        if is_repeat && self.life.keepalive.is_none() {
            return self.breaks("a checkpoint that does not advance");
        }
        let is_probe = through == 0 || self.daemon.records[through - 1].pos != asked;
        if is_probe && !is_repeat {
            self.seen.hit("lease probe");
        }
        let stored = self
            .judge
            .stored
            .map_or(start, |stored| self.daemon.through(stored));
        let wished = self.judge.wished.map_or(stored, |wished| wished + 1);
        if self.life.strategy.manual && through > wished.max(stored) {
            self.breaks("a checkpoint that nobody asked for");
        }
    }

    /// kclpipe has read the answer to a checkpoint.
    pub(crate) fn judge_ack(&mut self, ack: Ack) {
        self.judge.last_sign = self.now;
        self.tell('>', || format!("checkpoint: {:?}", ack.error));
        let is_repeat = ack.asked.is_some() && ack.asked == self.judge.stored;
        match ack.error {
            None if is_repeat => {}
            None => {
                self.judge.stored = ack.asked.or(self.judge.stored);
                self.judge.last = self.now;
                self.end_round();
            }
            Some("ShutdownException") => {
                let works = self.judge.hands.iter().any(|hand| !hand.places.is_empty());
                if works {
                    self.seen.hit("lease lost in mid-run");
                }
                self.withdraw();
            }
            Some(
                "ThrottlingException" | "KinesisClientLibDependencyException" | "RuntimeException",
            ) => {
                if !is_repeat {
                    self.round_goes_on(ack.asked.is_none());
                }
            }
            Some(_) if ack.asked.is_none() => {
                self.seen.hit("SHARD_END refused");
                self.judge.shard_end_refused = true;
            }
            Some(_) => {
                self.seen.hit("checkpoint refused");
                self.judge.refused = ack.asked;
                self.end_round();
            }
        }
    }

    fn end_round(&mut self) {
        self.judge.failures = 0;
        self.judge.not_before = Duration::ZERO;
        self.judge.in_round = false;
    }

    fn round_goes_on(&mut self, forever: bool) {
        self.seen.hit(if forever {
            "SHARD_END tried again"
        } else {
            "checkpoint tried again"
        });
        self.judge.failures += 1;
        let pause = if forever || self.judge.failures < ROUND {
            self.judge.in_round = true;
            self.delay(self.judge.failures)
        } else {
            self.seen.hit("checkpoint round failed");
            self.judge.in_round = false;
            self.judge.round_failed = true;
            self.judge.failures = 0;
            self.life.strategy.every.unwrap_or(Duration::from_secs(60))
        };
        self.judge.not_before = self.now + pause;
    }

    // What is owed.

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
        may && self.action() != "initialize" && self.is_due()
    }

    fn is_due(&mut self) -> bool {
        let (judge, strategy) = (&self.judge, self.life.strategy);
        let wished = judge.wished.map(|wished| self.daemon.records[wished].pos);
        let ends = self.daemon.shard_ended && judge.wished == self.daemon.delivered;
        let wish = wished > judge.stored && wished != judge.refused && !ends;
        if strategy.manual {
            return wish;
        }
        let withheld = self.is_withheld();
        if self.unsaved_end().is_none() && !withheld {
            return false;
        }
        let batch_over =
            self.action() == "processRecords" && judge.batch.iter().all(|place| place.done);
        let leaving = judge.last_chance || (judge.finishing && !self.daemon.shard_ended);
        let due = wish
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

    /// The end of what is done is the last position that was delivered: the daemon would take it for more.
    fn is_withheld(&self) -> bool {
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
        let key = |place: &super::Place| {
            if self.life.jobs == 1 {
                0
            } else {
                self.daemon.records[place.rec].key
            }
        };
        judge.batch.iter().enumerate().any(|(index, this)| {
            let is_first = judge.batch[..index]
                .iter()
                .all(|before| before.done || key(before) != key(this));
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
