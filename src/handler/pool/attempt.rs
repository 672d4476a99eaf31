//! One handler process, and the records it was given.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::due::Due;
use crate::handler::held::runs::RunId;
use crate::handler::mode::line::Line;
use crate::outcome::Ended;
use crate::random::token;

/// A running handler process with its unanswered records.
#[derive(Debug)]
pub(in crate::handler) struct Attempt {
    /// What its answers begin with.
    pub(in crate::handler) token: String,
    /// The records it has, by their index in the batch, oldest first.
    pub(in crate::handler) unanswered: VecDeque<usize>,
    /// The run that came back and that its records are of.
    pub(in crate::handler) run: Option<RunId>,
    /// Records given to this process so far.
    pub(in crate::handler) given: u64,
    /// Records given to it since it last had none.
    pub(in crate::handler) batch: u64,
    /// Records that it had answered by then.
    pub(in crate::handler) before: u64,
    /// Records it has answered: the number N of its oldest unanswered one is one more.
    pub(in crate::handler) answered: u64,
    /// Bytes of the records that it was given since it last had none.
    pub(in crate::handler) fed: u64,
    /// The last answer that will mean something once the process ends.
    pub(in crate::handler) said: Option<Line>,
    /// It asked for a checkpoint, without a number.
    pub(in crate::handler) asked_to_checkpoint: bool,
    /// The last line on stdout that was neither empty nor an answer, where such a line is a reply.
    pub(in crate::handler) reply: Vec<u8>,
    /// It was told that nothing more comes before it answers.
    pub(in crate::handler) sealed: bool,
    /// There was more for it than was made ready at once.
    pub(in crate::handler) owed: bool,
    /// It has printed something, so its output is not held in a buffer.
    pub(in crate::handler) printed: bool,
    pub(in crate::handler) hinted: bool,
    pub(in crate::handler) started: Instant,
    /// The time limit runs from here.
    pub(in crate::handler) alive: Instant,
    /// What it takes for the next answer is counted from here.
    pub(in crate::handler) asked: Instant,
    half_said: bool,
    pub(in crate::handler) stopped: Option<Stopped>,
}

/// Why we stopped a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) enum Stopped {
    /// It was silent for too long.
    TimedOut,
    /// It broke the rules for answers; in words.
    InvalidAnswer(&'static str),
    /// A record has to be given again before those that it has.
    OutOfOrder,
    /// Its records are not ours any more.
    Withdrawn,
}

/// What becomes due on an attempt's time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) enum Limit {
    /// Half of it is over, which is said once.
    Half,
    Over,
}

/// How a process ended, and what it left.
#[derive(Clone, Debug)]
pub struct ExitReport {
    /// Its process number, for the log.
    pub pid: i32,
    /// How.
    pub ended: Ended,
    /// Bytes of its input that it did not read.
    pub unread: u64,
    /// The last it wrote on stderr.
    pub stderr: Vec<u8>,
    /// We had sent it the stop signal.
    pub stopped: bool,
}

#[cfg(test)]
impl ExitReport {
    /// An end that left nothing.
    pub(in crate::handler) fn of(ended: Ended) -> ExitReport {
        ExitReport {
            pid: 1,
            ended,
            unread: 0,
            stderr: Vec::new(),
            stopped: false,
        }
    }
}

impl Attempt {
    pub(in crate::handler) fn new(now: Instant) -> Attempt {
        Attempt {
            token: token(),
            unanswered: VecDeque::new(),
            run: None,
            given: 0,
            batch: 0,
            before: 0,
            answered: 0,
            fed: 0,
            said: None,
            asked_to_checkpoint: false,
            reply: Vec::new(),
            sealed: false,
            owed: false,
            printed: false,
            hinted: false,
            started: now,
            alive: now,
            asked: now,
            half_said: false,
            stopped: None,
        }
    }

    /// A record is given; returns its number N.
    pub(in crate::handler) fn give(&mut self, index: usize, now: Instant) -> u64 {
        if self.unanswered.is_empty() {
            self.begin_batch(now);
        }
        self.unanswered.push_back(index);
        self.batch += 1;
        self.given += 1;
        self.given
    }

    /// It is given records and has none: what it said of others is over.
    fn begin_batch(&mut self, now: Instant) {
        self.is_alive(now);
        self.asked = now;
        (self.batch, self.before) = (0, self.answered);
        (self.said, self.asked_to_checkpoint) = (None, false);
        self.reply = Vec::new();
    }

    /// The last record was not given after all.
    pub(in crate::handler) fn take_back(&mut self) {
        self.unanswered.pop_back();
        self.batch -= 1;
        self.given -= 1;
    }

    /// The oldest record is answered.
    pub(in crate::handler) fn answer(&mut self) -> Option<usize> {
        let index = self.unanswered.pop_front()?;
        self.answered += 1;
        self.sealed = false;
        Some(index)
    }

    /// How many of the oldest records an answer with this number covers; `None` where it is of a record
    /// that the handler does not have.
    pub(in crate::handler) fn through(&self, number: u64) -> Option<usize> {
        let records = usize::try_from(number.checked_sub(self.answered)?).ok()?;
        (1..=self.unanswered.len())
            .contains(&records)
            .then_some(records)
    }

    /// What is due on its time limit. It runs only while a record is unanswered.
    pub(in crate::handler) fn limit(&self, limit: Duration, now: Instant) -> Due<Limit> {
        if self.stopped.is_some() || self.unanswered.is_empty() {
            return Due::Never;
        }
        let half = Some(self.alive + limit / 2).filter(|_| !self.half_said);
        let over = Due::from(Some(self.alive + limit), now, Limit::Over);
        over.or(Due::from(half, now, Limit::Half))
    }

    /// It was said that half of the limit is over.
    pub(in crate::handler) fn said_half(&mut self) {
        self.half_said = true;
    }

    /// Whether the handler has not even begun to read the records that it has, given how much of its input
    /// it left unread: it ended between two records.
    pub(in crate::handler) fn has_read_none(&self, unread: u64) -> bool {
        unread >= self.fed
    }

    /// The handler showed that it is alive.
    pub(in crate::handler) fn is_alive(&mut self, now: Instant) {
        self.alive = now;
        self.half_said = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_the_limit_is_said_once_and_a_sign_of_life_starts_it_again() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let limit = second * 10;
        let mut attempt = Attempt::new(now);
        assert_eq!(attempt.limit(limit, now + limit), Due::Never);
        attempt.give(0, now);
        let at = |seconds| now + second * seconds;
        assert_eq!(attempt.limit(limit, now), Due::At(at(5)));
        assert_eq!(attempt.limit(limit, at(5)), Due::Now(Limit::Half));
        attempt.said_half();
        assert_eq!(attempt.limit(limit, at(9)), Due::At(at(10)));
        attempt.is_alive(at(9));
        assert_eq!(attempt.limit(limit, at(14)), Due::Now(Limit::Half));
        assert_eq!(attempt.limit(limit, at(19)), Due::Now(Limit::Over));
    }

    #[test]
    fn a_number_covers_the_records_up_to_it_that_are_unanswered() {
        let now = Instant::now();
        let mut attempt = Attempt::new(now);
        assert_eq!(
            [10, 11, 12].map(|index| attempt.give(index, now)),
            [1, 2, 3]
        );
        assert_eq!(
            (attempt.through(0), attempt.through(2), attempt.through(4)),
            (None, Some(2), None)
        );
        assert_eq!(attempt.answer(), Some(10));
        assert_eq!(
            (attempt.through(1), attempt.through(2), attempt.through(3)),
            (None, Some(1), Some(2))
        );
    }

    #[test]
    fn a_record_that_is_taken_back_was_never_given() {
        let now = Instant::now();
        let mut attempt = Attempt::new(now);
        assert_eq!([10, 11].map(|index| attempt.give(index, now)), [1, 2]);
        attempt.take_back();
        assert_eq!((attempt.given, attempt.batch), (1, 1));
        assert_eq!(attempt.unanswered, [10]);
        assert_eq!(attempt.give(12, now), 2);
    }

    #[test]
    fn every_token_is_another() {
        assert_ne!(token(), token());
        assert_eq!(token().len(), 32);
    }
}
