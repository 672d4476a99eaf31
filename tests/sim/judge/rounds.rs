//! A round: the attempts at one checkpoint, and the pauses between them (checkpoints.md, "When storing fails").

use std::time::Duration;

use crate::daemon::Pos;
use crate::world::World;

/// The attempts of a round.
const ROUND: u32 = 5;

impl World {
    pub(super) fn end_round(&mut self) {
        self.judge.failures = 0;
        self.judge.not_before = Duration::ZERO;
        (self.judge.owed_from, self.judge.uncounted) = (Duration::ZERO, 0);
        (self.judge.in_round, self.judge.perhaps_in_round) = (false, false);
    }

    /// An attempt failed; `SHARD_END` is tried forever.
    pub(super) fn round_goes_on(&mut self, forever: bool) {
        self.seen.hit(if forever {
            "SHARD_END tried again"
        } else {
            "checkpoint tried again"
        });
        self.judge.failures += 1;
        self.pause_round(forever);
        let is_end = self.judge.finished_at == Some(self.now);
        if !forever && is_end && !self.judge.asked_at_end {
            // All was done at the same time: nobody knows which came first.
            (self.judge.failures, self.judge.uncounted) = (0, 1);
            self.judge.not_before = Duration::ZERO;
        }
    }

    /// A probe that failed is not wanted any more once its record is out of the way. Where both are seen at one
    /// time, nobody knows whether its round goes on with what is done now.
    pub(super) fn end_probe(&mut self, asked: Option<Pos>) {
        let is_probe = asked.is_some_and(|asked| self.is_probe(asked));
        if is_probe && self.judge.moved_at == Some(self.now) {
            (self.judge.in_round, self.judge.perhaps_in_round) = (false, true);
        }
    }

    /// Nothing is tried again before the shortest pause that may be right, and nothing is owed before the longest.
    fn pause_round(&mut self, forever: bool) {
        let (least, uncounted) = (self.judge.failures, self.judge.uncounted);
        let most = least + uncounted;
        let is_over = |failures: u32| !forever && failures >= ROUND;
        // If the one that may not count does, the round was over with the failure before this.
        let anew = is_over(least) && uncounted > 0;
        let shortest = self.pause_after(if anew { uncounted } else { least }, forever);
        let longest = shortest.max(self.pause_after(most, forever));
        self.judge.not_before = self.now + shortest;
        self.judge.owed_from = self.now + longest;
        self.judge.in_round = !is_over(most);
        self.judge.round_failed |= is_over(most);
        if is_over(least) {
            self.seen.hit("checkpoint round failed");
            self.judge.failures = 0;
        }
    }

    fn pause_after(&self, failures: u32, forever: bool) -> Duration {
        if forever || failures < ROUND {
            return self.delay(failures);
        }
        let every = self.life.strategy.every;
        every.unwrap_or(Duration::from_secs(60))
    }
}
