//! What is said between kclpipe, which has events, and a function, which asks for them: what happens goes in, and what
//! follows comes out. It knows no socket, no process and no clock.
//!
//! One event is open at a time. Whatever a function does, each event that was taken in has one answer, or none and the
//! end: kclpipe then hands its records over again.

use std::time::{Duration, Instant};

use super::answer::Answer;
use crate::due::Due;
use crate::exit;

/// Who waits for a response, by a number of its own.
pub(super) type Caller = u64;

/// What follows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// The caller gets an event, under this id.
    Give {
        to: Caller,
        id: String,
        event: Vec<u8>,
    },
    /// The caller's call is taken.
    Accept(Caller),
    /// The caller's call is refused.
    Refuse(Caller, Refusal),
    /// The open event has its answer.
    Answer(Answer),
    /// A line for the log.
    Say(String),
    /// The function is to end, and then we.
    End(exit::Lambda),
}

/// Why a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another call of `next` waits.
    SecondNext,
    /// The function has not answered the open event.
    Unanswered,
    /// No event with this id is open.
    UnknownId,
}

/// The state of it.
pub(super) struct Conversation {
    timeout: Duration,
    new_id: Box<dyn FnMut() -> String>,
    /// The function has asked for an event.
    has_started: bool,
    /// The caller that waits for an event.
    waiting: Option<Caller>,
    /// An event that nobody asked for yet.
    event: Option<Vec<u8>>,
    /// The id of the event that the function has.
    open: Option<String>,
    /// The id of the event that was open last.
    last: Option<String>,
    /// Since when the function owes us something: to ask for an event, or to answer it.
    owes_since: Instant,
    has_input_ended: bool,
    /// How it ends.
    end: Option<exit::Lambda>,
}

impl Conversation {
    /// Nothing is said yet. The function has `timeout` for an event, and ids come from `new_id`.
    pub(super) fn new(
        timeout: Duration,
        new_id: impl FnMut() -> String + 'static,
        now: Instant,
    ) -> Conversation {
        Conversation {
            timeout,
            new_id: Box::new(new_id),
            has_started: false,
            waiting: None,
            event: None,
            open: None,
            last: None,
            owes_since: now,
            has_input_ended: false,
            end: None,
        }
    }

    /// Whether the next event is to be read. One is read while another is open, so that it is there at once.
    pub(super) fn wants_event(&self) -> bool {
        self.event.is_none() && !self.has_input_ended && self.end.is_none()
    }

    /// An event was read.
    pub(super) fn event(&mut self, event: Vec<u8>, now: Instant) -> Vec<Output> {
        if self.open.is_none() {
            self.owes_since = now;
        }
        self.event = Some(event);
        self.give(now)
    }

    /// No more events come.
    pub(super) fn input_ended(&mut self) -> Vec<Output> {
        self.has_input_ended = true;
        self.end_if_done()
    }

    /// The function asks for an event.
    pub(super) fn next(&mut self, caller: Caller, now: Instant) -> Vec<Output> {
        self.has_started = true;
        if self.open.is_some() {
            let why = "the function asked for an event before it answered the one it has: refused";
            return vec![refuse(caller, Refusal::Unanswered), Output::Say(why.into())];
        }
        if self.waiting.is_some() {
            return vec![refuse(caller, Refusal::SecondNext)];
        }
        self.waiting = Some(caller);
        let outputs = self.give(now);
        outputs.into_iter().chain(self.end_if_done()).collect()
    }

    /// The caller that waits for an event has gone.
    pub(super) fn left(&mut self) {
        self.waiting = None;
    }

    /// The function responds to an event.
    pub(super) fn respond(
        &mut self,
        caller: Caller,
        id: &str,
        body: Vec<u8>,
        now: Instant,
    ) -> Vec<Output> {
        let Some(answer) = Answer::of(body) else {
            let why = "the function's response is no JSON, so its event failed";
            return self.answer(caller, id, Answer::Fail, Some(why.into()), now);
        };
        self.answer(caller, id, answer, None, now)
    }

    /// The function reports an error with an event.
    pub(super) fn fail(
        &mut self,
        caller: Caller,
        id: &str,
        words: &str,
        now: Instant,
    ) -> Vec<Output> {
        let why = format!("the function reported an error: {words}");
        self.answer(caller, id, Answer::Fail, Some(why), now)
    }

    /// A response to an event that cannot be read; the caller is answered already.
    pub(super) fn unreadable(
        &mut self,
        caller: Caller,
        id: &str,
        why: &str,
        now: Instant,
    ) -> Vec<Output> {
        let why = format!("the function's response {why}, so its event failed");
        self.answer(caller, id, Answer::Fail, Some(why), now)
    }

    /// The function reports that it cannot start.
    pub(super) fn init_failed(&mut self, caller: Caller, words: &str) -> Vec<Output> {
        let why = format!("the function cannot start: {words}");
        let mut outputs = vec![Output::Accept(caller), Output::Say(why)];
        outputs.extend(self.end(exit::Lambda::Broken));
        outputs
    }

    /// The function's process has ended, as these words say.
    pub(super) fn died(&mut self, how: &str) -> Vec<Output> {
        if self.end.is_some() {
            return Vec::new();
        }
        if self.has_input_ended && !self.owes_an_answer() {
            return self.end(exit::Lambda::Done);
        }
        let (what, exit) = match (&self.open, self.has_started) {
            (Some(_), _) => ("while it had an event", exit::Lambda::Failed),
            (None, true) => ("while it had no event", exit::Lambda::Failed),
            (None, false) => ("before it asked for an event", exit::Lambda::Broken),
        };
        let why = format!("the function ended {what} ({how})");
        let say = Output::Say(why);
        [say].into_iter().chain(self.end(exit)).collect()
    }

    /// We are asked to stop.
    pub(super) fn stop(&mut self) -> Vec<Output> {
        self.end(match self.owes_an_answer() {
            true => exit::Lambda::Failed,
            false => exit::Lambda::Done,
        })
    }

    /// When the function has had its time.
    pub(super) fn due(&self, now: Instant) -> Due<()> {
        let owes = self.owes_an_answer() || self.has_input_ended;
        let at = (owes && self.end.is_none()).then(|| self.owes_since + self.timeout);
        Due::from(at, now, ())
    }

    /// The function has had its time.
    pub(super) fn time_is_up(&mut self) -> Vec<Output> {
        let limit = humantime::format_duration(self.timeout);
        let (why, exit) = match (&self.open, self.has_started) {
            (Some(_), _) => (
                format!("the function did not answer its event within {limit} (--timeout)"),
                exit::Lambda::Failed,
            ),
            (None, has_started) => (
                format!("the function did not ask for an event within {limit} (--timeout)"),
                match has_started {
                    true => exit::Lambda::Failed,
                    false => exit::Lambda::Broken,
                },
            ),
        };
        let say = Output::Say(why);
        [say].into_iter().chain(self.end(exit)).collect()
    }

    /// Gives the event that is there to the caller that waits.
    fn give(&mut self, now: Instant) -> Vec<Output> {
        if self.event.is_none() || self.end.is_some() {
            return Vec::new();
        }
        let Some(to) = self.waiting.take() else {
            return Vec::new();
        };
        let id = (self.new_id)();
        self.open = Some(id.clone());
        self.owes_since = now;
        let event = self.event.take().unwrap_or_default();
        vec![Output::Give { to, id, event }]
    }

    /// Answers the open event, if it is the one that is meant.
    fn answer(
        &mut self,
        caller: Caller,
        id: &str,
        answer: Answer,
        why: Option<String>,
        now: Instant,
    ) -> Vec<Output> {
        if self.open.as_deref() != Some(id) || self.end.is_some() {
            let why = match self.last.as_deref() == Some(id) {
                true => "the function answered an event twice: the second answer is refused",
                false => "the function answered an event that it was not given: refused",
            };
            return vec![refuse(caller, Refusal::UnknownId), Output::Say(why.into())];
        }
        self.last = self.open.take();
        self.owes_since = now;
        let answered = [Output::Answer(answer), Output::Accept(caller)];
        why.map(Output::Say).into_iter().chain(answered).collect()
    }

    /// Ends where no event will come and none is left. A function that has answered may have more to do, until it asks
    /// for the next one.
    fn end_if_done(&mut self) -> Vec<Output> {
        let is_idle = self.waiting.is_some() || !self.has_started;
        match self.has_input_ended && !self.owes_an_answer() && is_idle {
            true => self.end(exit::Lambda::Done),
            false => Vec::new(),
        }
    }

    fn owes_an_answer(&self) -> bool {
        self.open.is_some() || self.event.is_some()
    }

    fn end(&mut self, exit: exit::Lambda) -> Vec<Output> {
        if self.end.is_some() {
            return Vec::new();
        }
        self.end = Some(exit);
        vec![Output::End(exit)]
    }
}

fn refuse(caller: Caller, why: Refusal) -> Output {
    Output::Refuse(caller, why)
}

#[cfg(test)]
mod tests;
