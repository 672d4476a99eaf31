//! How long a child is waited for, and what becomes of one that keeps silent.

use std::time::Duration;

use super::session::Phase;
use super::{Shard, Step};
use crate::replay::action::Action;

/// How long a child is waited for that believes to have answered: longer makes nothing better.
pub(super) const AFTER_LOST_ANSWER: Duration = Duration::from_secs(10);

impl Shard {
    /// How long to wait for the child from its last sign of life on, where `limit` is what the user says.
    /// `None` where there is no limit, or nothing to wait for.
    pub fn patience(&self, limit: Option<Duration>) -> Option<Duration> {
        match self.session.phase {
            Phase::Doing(_) if self.session.lost_answer => {
                limit.map(|limit| limit.min(AFTER_LOST_ANSWER))
            }
            Phase::Doing(_) | Phase::Leaving { .. } => limit,
            Phase::New
            | Phase::Acking(_)
            | Phase::Idle
            | Phase::Killed
            | Phase::Stopping
            | Phase::Over => None,
        }
    }

    /// The child was waited for that long in vain.
    pub fn silent(&mut self, waited: Duration) -> Vec<Step> {
        let waited = humantime::format_duration(waited);
        let mut steps = Vec::new();
        self.no_child |= self.awaits_first_word();
        if let Phase::Doing(action) = self.session.phase {
            let lost = if self.session.lost_answer {
                ", because the daemon skipped its answer"
            } else {
                ""
            };
            let action = action.name();
            let text =
                format!("no answer to {action} for {waited}{lost}: the daemon would wait forever");
            self.fail(text, &mut steps);
        } else if let Phase::Leaving { .. } = self.session.phase {
            let text = format!(
                "its input ended {waited} ago and it still runs: the daemon would wait forever"
            );
            self.wrong(text, &mut steps);
            self.session.phase = Phase::Stopping;
            steps.push(Step::StopNow);
        }
        steps
    }

    /// The user wants no more.
    pub fn interrupt(&mut self) -> Vec<Step> {
        match self.session.phase {
            Phase::New | Phase::Stopping | Phase::Over => Vec::new(),
            Phase::Doing(_)
            | Phase::Acking(_)
            | Phase::Idle
            | Phase::Leaving { .. }
            | Phase::Killed => {
                self.session.phase = Phase::Stopping;
                vec![Step::Stop]
            }
        }
    }

    /// Whether the first child has not answered its first action yet.
    pub fn awaits_first_word(&self) -> bool {
        self.session.number == 1 && self.session.phase == Phase::Doing(Action::Initialize)
    }
}
