//! A shard that is played from a recording.

use std::collections::VecDeque;

use super::{Action, Cut, Phase, Shard, Step, What};
use crate::replay::mark::Mark;
use crate::replay::recorded::{Conversation, Scene};
use crate::replay::report::ShardReport;

/// What is left to be played of a recording.
#[derive(Debug)]
pub(super) struct Staged {
    /// Those of the next children.
    conversations: VecDeque<Conversation>,
    /// What comes next in this child's.
    scenes: VecDeque<Scene>,
    /// How its next checkpoints are answered.
    acks: VecDeque<Option<String>>,
}

impl Shard {
    /// The shard of these conversations, which are played one after the other, each with a child of its
    /// own, from where its lease stood.
    pub fn staged(
        shard_id: String,
        conversations: Vec<Conversation>,
        rules: super::Rules,
    ) -> Shard {
        let scenes = conversations.iter().flat_map(|all| &all.scenes);
        let records = scenes.map(|scene| scene.records).sum();
        let shard = Shard::new(shard_id, Vec::new(), rules);
        Shard {
            staged: Some(Staged {
                conversations: conversations.into(),
                scenes: VecDeque::new(),
                acks: VecDeque::new(),
            }),
            report: ShardReport {
                records,
                ..shard.report
            },
            ..shard
        }
    }

    /// A child begins the next conversation.
    pub(super) fn raise_curtain(&mut self) {
        let Some(staged) = self.staged.as_mut() else {
            return;
        };
        let next = staged.conversations.pop_front();
        staged.scenes = next.map(|next| next.scenes).unwrap_or_default();
        staged.acks.clear();
        let first = staged.scenes.front();
        self.lease = first
            .and_then(|scene| scene.mark.clone())
            .unwrap_or(Mark::TrimHorizon);
    }

    pub(super) fn has_more_on_stage(&self) -> bool {
        let staged = self.staged.as_ref();
        staged.is_some_and(|staged| !staged.conversations.is_empty())
    }

    /// Sends the next action of the recording, or ends the child's input where there is none. Returns
    /// whether this shard is played from a recording.
    pub(super) fn play_scene(&mut self, steps: &mut Vec<Step>) -> bool {
        let Some(staged) = self.staged.as_mut() else {
            return false;
        };
        let Some(scene) = staged.scenes.pop_front() else {
            match self.answered {
                Some(Action::LeaseLost | Action::ShardEnded) => self.leave(steps),
                _ => self.cut_off(steps),
            }
            return true;
        };
        staged.acks = scene.acks;
        if scene.action == Action::ProcessRecords {
            self.batch = self.next..self.next + scene.records;
            self.next = self.batch.end;
            self.report.delivered += scene.records;
            self.largest = scene
                .mark
                .map_or(self.largest.clone(), |mark| mark.max(self.largest.clone()));
        }
        if scene.action == Action::ShardEnded {
            self.at_end = Some(std::mem::replace(&mut self.largest, Mark::ShardEnd));
        }
        self.act(scene.action, scene.line + "\n", steps);
        if let Some(after) = scene.cut {
            steps.push(self.later(after, What::Strike(Cut::Eof)));
        }
        true
    }

    /// The error that the recording has for the next checkpoint. One that says that the child was wrong is
    /// left to our own judgement of this child.
    pub(super) fn recorded_error(&mut self) -> Option<String> {
        let acks = &mut self.staged.as_mut()?.acks;
        acks.pop_front()?
            .filter(|error| error != "IllegalArgumentException")
    }

    /// The child died: the next conversation, if there is one.
    pub(super) fn died_on_stage(&mut self, text: String, steps: &mut Vec<Step>) {
        if !self.excused {
            self.wrong(format!("{text}: the daemon's whole worker stops"), steps);
        }
        if self.has_more_on_stage() {
            steps.push(Step::Start);
        } else {
            self.phase = Phase::Over;
            self.report.reached_end = self.excused;
        }
    }
}
