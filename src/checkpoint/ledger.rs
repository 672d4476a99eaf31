//! How far the run of done records goes, what of it is stored, and what a handler requested for.

use crate::record::Position;

/// The run: the unbroken run of done records from the lease's start.
#[derive(Debug, Default)]
pub struct Ledger {
    stored: Option<Position>,
    done_through: Option<Position>,
    unsaved: u64,
    /// This many of them are in the checkpoint that was asked for last.
    asked: u64,
    requested: Option<Position>,
    beyond: Vec<Position>,
}

impl Ledger {
    /// A ledger of a lease whose checkpoint is `stored`; `None` for a sentinel such as `TRIM_HORIZON`.
    pub fn new(stored: Option<Position>) -> Ledger {
        Ledger {
            stored,
            ..Ledger::default()
        }
    }

    /// The run now ends at `end`, `records` further than before. An older position changes nothing: a
    /// subscription that KCL restarts may deliver a record again.
    pub fn advance(&mut self, end: Position, records: u64) {
        self.unsaved += records;
        let reached = self
            .beyond
            .extract_if(.., |checkpoint_request| *checkpoint_request <= end)
            .max();
        self.requested = self.requested.take().max(reached);
        self.done_through = self.done_through.take().max(Some(end));
    }

    /// The handler asks for a checkpoint at `position`; beyond the run, the checkpoint_request is kept.
    pub fn checkpoint_request(&mut self, position: Position) {
        if self
            .done_through
            .as_ref()
            .is_some_and(|run| position <= *run)
        {
            self.requested = self.requested.take().max(Some(position));
        } else {
            self.beyond.push(position);
        }
    }

    /// The end of the run, if anything is done in this lease.
    pub fn done_through(&self) -> Option<&Position> {
        self.done_through.as_ref()
    }

    /// What the lease table holds, as far as is known.
    pub fn stored_position(&self) -> Option<&Position> {
        self.stored.as_ref()
    }

    /// Records done since the last checkpoint.
    pub fn unsaved(&self) -> u64 {
        self.unsaved
    }

    /// The newest checkpoint request that the run has reached and that is not stored yet.
    pub fn requested(&self) -> Option<&Position> {
        self.requested
            .as_ref()
            .filter(|checkpoint_request| Some(*checkpoint_request) > self.stored.as_ref())
    }

    /// The end of the run, if a checkpoint there would advance.
    pub fn unsaved_end(&self) -> Option<&Position> {
        self.done_through
            .as_ref()
            .filter(|run| Some(*run) > self.stored.as_ref())
    }

    /// A checkpoint at `position` is asked for. The run may go on before it is stored.
    pub fn ask(&mut self, position: &Position) {
        let whole_run = self.done_through.as_ref().is_none_or(|run| position >= run);
        self.asked = if whole_run { self.unsaved } else { 0 };
    }

    /// The lease table now holds `position`, which was asked for last.
    pub fn stored(&mut self, position: Position) {
        self.unsaved -= std::mem::take(&mut self.asked);
        self.stored = Some(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(number: u32) -> Position {
        Position::new(&number.to_string(), 0).expect("digits")
    }

    #[test]
    fn only_what_advances_is_worth_a_checkpoint() {
        let mut ledger = Ledger::new(Some(at(5)));
        assert_eq!(ledger.unsaved_end(), None);
        ledger.advance(at(5), 1);
        assert_eq!(
            ledger.unsaved_end(),
            None,
            "what the lease table holds already"
        );
        ledger.advance(at(6), 1);
        assert_eq!((ledger.unsaved_end(), ledger.unsaved()), (Some(&at(6)), 2));
        ledger.ask(&at(6));
        ledger.stored(at(6));
        assert_eq!((ledger.unsaved_end(), ledger.unsaved()), (None, 0));
    }

    #[test]
    fn records_done_while_a_checkpoint_is_on_its_way_count_for_the_next_one_only() {
        let mut ledger = Ledger::new(None);
        ledger.advance(at(20), 20);
        ledger.ask(&at(20));
        ledger.advance(at(27), 7);
        ledger.stored(at(20));
        assert_eq!(ledger.unsaved(), 7);
    }

    #[test]
    fn a_wish_beyond_the_run_is_kept_until_the_run_gets_there() {
        let mut ledger = Ledger::new(None);
        ledger.advance(at(1), 1);
        ledger.checkpoint_request(at(3));
        ledger.checkpoint_request(at(7));
        assert_eq!(ledger.requested(), None);
        ledger.advance(at(4), 3);
        assert_eq!(ledger.requested(), Some(&at(3)), "the run has passed it");
        ledger.checkpoint_request(at(2));
        assert_eq!(
            ledger.requested(),
            Some(&at(3)),
            "an older request changes nothing"
        );
        ledger.ask(&at(3));
        ledger.stored(at(3));
        assert_eq!((ledger.requested(), ledger.unsaved()), (None, 4));
        ledger.advance(at(9), 5);
        assert_eq!(ledger.requested(), Some(&at(7)));
    }

    /// Records done in a seeded random order: no checkpoint beyond the first one that is not done.
    #[test]
    fn a_position_offered_is_never_beyond_the_run_and_never_goes_back() {
        let (mut seed, mut last) = (7u64, None);
        let mut ledger = Ledger::new(None);
        let mut run = 0u32;
        for _ in 0..2000 {
            seed = seed
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            match seed >> 62 {
                0 => ledger.checkpoint_request(at(run + (seed >> 33) as u32 % 9)),
                1 => {
                    run += 1;
                    ledger.advance(at(run), 1);
                }
                _ => {
                    let Some(offered) = ledger.requested().or(ledger.unsaved_end()).cloned() else {
                        continue;
                    };
                    assert!(offered <= at(run) && Some(&offered) > last.as_ref());
                    ledger.ask(&offered);
                    ledger.stored(offered.clone());
                    last = Some(offered);
                }
            }
        }
    }
}
