//! Which records come again together, and in what parts.

use kclpipe::testing::handler::Per;

use super::Hand;
use crate::world::World;

impl World {
    /// How many records and how many bytes of payload one handler gets, of this run.
    pub(super) fn limits(&self, run: Option<u64>) -> (usize, u64) {
        let (Per::Batch { size, bytes } | Per::Event { size, bytes, .. }) = self.life.per else {
            return (1, u64::MAX);
        };
        let suspects = run.and_then(|run| self.judge.suspects.get(&run));
        let half = suspects.map_or(usize::MAX, |suspects| suspects.div_ceil(2));
        (
            half.min(size.unwrap_or(usize::MAX)),
            bytes.unwrap_or(u64::MAX),
        )
    }

    /// These came back together.
    pub(super) fn same_run(&mut self, places: &[usize]) {
        self.judge.last_run += 1;
        for place in places {
            self.judge.batch[*place].run = Some(self.judge.last_run);
        }
    }

    /// One of the records that came back last failed, and nobody knows which.
    pub(super) fn suspect_last(&mut self, places: usize) {
        self.judge.suspects.insert(self.judge.last_run, places);
    }

    /// Records of a handler's run are done, so the others are suspects.
    pub(super) fn cleared_by(&mut self, hand: &Hand, records: usize) {
        if let Some(run) = hand.run
            && let Some(suspects) = self.judge.suspects.get_mut(&run)
        {
            *suspects = suspects.saturating_sub(records);
            if *suspects == 0 {
                self.judge.suspects.remove(&run);
            }
        }
    }

    /// What failed in a handler's run was found.
    pub(super) fn found(&mut self, hand: &Hand) {
        if let Some(run) = hand.run {
            self.judge.suspects.remove(&run);
        }
    }
}
