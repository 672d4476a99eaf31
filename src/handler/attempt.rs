//! One handler process, and the records it was given.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::outcome::{Class, Ended, Line};

/// A running handler process with its unanswered records.
#[derive(Debug)]
pub(super) struct Attempt {
    /// What its answers begin with.
    pub(super) token: String,
    /// The records it has, by their index in the batch, oldest first.
    pub(super) unanswered: VecDeque<usize>,
    /// The last answer that will mean something once the process ends.
    pub(super) said: Option<Line>,
    /// It asked for a checkpoint, without the token.
    pub(super) wished: bool,
    pub(super) started: Instant,
    /// The time limit runs from here.
    pub(super) alive: Instant,
    half_said: bool,
    pub(super) stopped: Option<Stopped>,
}

/// Why we stopped a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// It was silent for too long.
    TimedOut,
    /// Its records are not ours any more.
    Withdrawn,
}

/// What becomes due on an attempt's time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    Nothing,
    /// Half of it is over, which is said once.
    Half,
    Over,
}

/// What a line on a handler's stdout leads to, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It is log output.
    Log,
    /// It was noted.
    Noted,
}

/// What a handler's end says of the records it had not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// This, of the oldest of them.
    Oldest(Class),
}

/// How an attempt ended, and what it left.
#[derive(Debug)]
pub(super) struct End {
    pub(super) ended: Ended,
    /// The last it wrote on stderr.
    pub(super) stderr: Vec<u8>,
}

impl Attempt {
    pub(super) fn new(now: Instant) -> Attempt {
        Attempt {
            token: token(),
            unanswered: VecDeque::new(),
            said: None,
            wished: false,
            started: now,
            alive: now,
            half_said: false,
            stopped: None,
        }
    }

    /// What is due at `now`, given the time limit.
    pub(super) fn check_limit(&mut self, limit: Duration, now: Instant) -> Limit {
        if self.stopped.is_some() || self.unanswered.is_empty() {
            return Limit::Nothing;
        }
        if now >= self.alive + limit {
            return Limit::Over;
        }
        let half = now >= self.alive + limit / 2 && !self.half_said;
        self.half_said |= half;
        if half { Limit::Half } else { Limit::Nothing }
    }

    /// When [`Attempt::check_limit`] has something new to say.
    pub(super) fn limit_at(&self, limit: Duration) -> Option<Instant> {
        let running = self.stopped.is_none() && !self.unanswered.is_empty();
        let next = if self.half_said { limit } else { limit / 2 };
        running.then_some(self.alive + next)
    }

    /// The handler showed that it is alive.
    pub(super) fn is_alive(&mut self, now: Instant) {
        self.alive = now;
        self.half_said = false;
    }
}

/// 128 random bits that no record can know, for they are made when the handler is started.
fn token() -> String {
    let random = || RandomState::new().hash_one(0u8);
    format!("{:016x}{:016x}", random(), random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_limit_is_said_once_and_a_sign_of_life_starts_it_again() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let limit = second * 10;
        let mut attempt = Attempt::new(now);
        assert_eq!(
            (
                attempt.check_limit(limit, now + limit),
                attempt.limit_at(limit)
            ),
            (Limit::Nothing, None)
        );
        attempt.unanswered.push_back(0);
        assert_eq!(attempt.limit_at(limit), Some(now + second * 5));
        assert_eq!(attempt.check_limit(limit, now + second * 5), Limit::Half);
        assert_eq!(attempt.check_limit(limit, now + second * 9), Limit::Nothing);
        attempt.is_alive(now + second * 9);
        assert_eq!(attempt.check_limit(limit, now + second * 14), Limit::Half);
        assert_eq!(attempt.check_limit(limit, now + second * 19), Limit::Over);
    }

    #[test]
    fn every_token_is_another() {
        assert_ne!(token(), token());
        assert_eq!(token().len(), 32);
    }
}
