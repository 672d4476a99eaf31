//! Runs that came back: which records were given together, and how far a run is narrowed down.

use std::collections::HashMap;

/// The number of a run that came back.
pub(in crate::handler) type RunId = u64;

/// The runs whose records are to be given again.
#[derive(Debug, Default)]
pub(in crate::handler) struct Runs {
    /// The number of the one that came back last.
    last: RunId,
    /// Runs of which one record failed and it is not known which: how many are suspects.
    suspects: HashMap<RunId, usize>,
}

impl Runs {
    /// A run comes back; its number.
    pub(in crate::handler) fn came_back(&mut self) -> RunId {
        self.last += 1;
        self.last
    }

    /// One of the records of the run that came back last failed, of this many.
    pub(in crate::handler) fn suspect_last(&mut self, records: usize) {
        self.suspects.insert(self.last, records);
    }

    /// How many records of a run may be given together; `None` for all.
    pub(in crate::handler) fn most(&self, run: RunId) -> Option<usize> {
        self.suspects.get(&run).map(|suspects| suspects.div_ceil(2))
    }

    /// Records of a run are done, so the others are suspects.
    pub(in crate::handler) fn cleared(&mut self, run: RunId, records: usize) {
        if let Some(suspects) = self.suspects.get_mut(&run) {
            *suspects = suspects.saturating_sub(records);
            if *suspects == 0 {
                self.suspects.remove(&run);
            }
        }
    }

    /// What failed in a run was found, or is among the records that were given last.
    pub(in crate::handler) fn found(&mut self, run: RunId) {
        self.suspects.remove(&run);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_suspects_are_given_until_none_is_left() {
        let mut runs = Runs::default();
        let run = runs.came_back();
        assert_eq!(runs.most(run), None);
        runs.suspect_last(5);
        assert_eq!(runs.most(run), Some(3));
        runs.cleared(run, 3);
        assert_eq!(runs.most(run), Some(1));
        runs.cleared(run, 2);
        assert_eq!(runs.most(run), None);
        runs.suspect_last(4);
        runs.found(run);
        assert!(runs.suspects.is_empty());
    }
}
