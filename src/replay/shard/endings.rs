//! How a child comes to its end, and what becomes of its shard then.

use super::session::Phase;
use super::{Shard, Step, What};
use crate::replay::action::Action;
use crate::replay::director::Successor;
use crate::replay::faults::{Cause, Cut, Termination, When};
use crate::replay::lease::LeasePosition;

impl Shard {
    /// The child is to end at that time.
    pub(super) fn schedule_termination(&mut self, end: Termination, steps: &mut Vec<Step>) {
        match end.when {
            When::AtOnce => self.terminate(end, steps),
            When::After(wait) => steps.push(self.later(wait, What::Terminate(end))),
            When::AtCheckpoint { .. } => self.session.pending = Some(end),
        }
    }

    /// The child's end comes.
    pub(super) fn terminate(&mut self, end: Termination, steps: &mut Vec<Step>) {
        if end.cause != Cause::Ending {
            self.session.resumes = true;
            steps.push(Step::Say(self.termination(end)));
        }
        match end.cut {
            Cut::Kill => {
                self.session.phase = Phase::Killed;
                steps.push(Step::Kill);
            }
            Cut::Eof => self.close(true, steps),
        }
    }

    fn termination(&self, end: Termination) -> String {
        let (child, messages) = (self.session.number, self.session.messages);
        let how = match end.cut {
            Cut::Kill => "SIGKILL",
            Cut::Eof => "end of input",
        };
        let cause = end.cause.name();
        format!("{cause}: {how} after message {messages} with child {child}")
    }

    /// The child's input ends, in the middle of its work if it is `cut`.
    pub(super) fn close(&mut self, cut: bool, steps: &mut Vec<Step>) {
        self.session.phase = Phase::Leaving { cut };
        self.session.signs += 1;
        steps.push(Step::Close);
    }

    /// The child has ended when it should.
    pub(super) fn left(&mut self, how: &str, well: bool) -> Vec<Step> {
        let mut steps = Vec::new();
        if !well {
            let note = format!("the child ended with {how}; the daemon only logs that here");
            steps.push(Step::Say(note));
        }
        let is_open = self.session.resumes && self.lease.stored != LeasePosition::ShardEnd;
        match self.director.successor() {
            Successor::OfAnotherConversation => steps.push(Step::Start),
            Successor::Resumes if is_open => {
                self.report.interruptions += 1;
                steps.push(Step::Start);
            }
            Successor::Resumes | Successor::Nobody => self.report.reached_end = true,
        }
        steps
    }

    /// The child has ended with `action` unanswered, or while it had nothing to do.
    pub(super) fn died(&mut self, action: Option<Action>, how: &str) -> Vec<Step> {
        let text = match action {
            Some(action) => format!(
                "the child ended with {how} and {} unanswered",
                action.name()
            ),
            None => format!("the child ended with {how} before its input did"),
        };
        let is_first_word = action == Some(Action::Initialize);
        self.no_child |= self.session.number == 1 && is_first_word;
        let mut steps = Vec::new();
        match self.director.successor() {
            Successor::Resumes => self.resume(&text, is_first_word, &mut steps),
            Successor::OfAnotherConversation => {
                self.blame_for_end(&text, &mut steps);
                steps.push(Step::Start);
            }
            Successor::Nobody => {
                self.blame_for_end(&text, &mut steps);
                self.report.reached_end = self.session.excused;
            }
        }
        steps
    }

    fn blame_for_end(&mut self, text: &str, steps: &mut Vec<Step>) {
        if !self.session.excused {
            self.wrong(format!("{text}: the daemon's whole worker stops"), steps);
        }
    }

    /// The child died, and its shard goes on if it may.
    fn resume(&mut self, text: &str, is_first_word: bool, steps: &mut Vec<Step>) {
        let again = format!(
            "{text}: the daemon's whole worker stops; restarting from {}",
            self.lease.stored
        );
        if self.session.excused {
            self.report.interruptions += 1;
            steps.extend([Step::Say(again), Step::Start]);
        } else if is_first_word {
            self.wrong(format!("{text}: the daemon stops its whole worker"), steps);
        } else if self.lease.stored == LeasePosition::ShardEnd {
            self.report.reached_end = true;
            let text = format!("{text}; the shard is finished all the same");
            steps.push(Step::Say(text));
        } else if self.report.restarts == self.restarts {
            let limit = self.restarts;
            let text = format!("{text}, with no restarts left (--restarts {limit})");
            self.wrong(text, steps);
        } else {
            self.report.restarts += 1;
            steps.extend([Step::Say(again), Step::Start]);
        }
    }
}
