//! When a checkpoint is due.

use std::time::{Duration, Instant};

use super::ledger::Ledger;
use crate::due::Due;

/// The pause after a round that failed, where `--checkpoint-every` is off.
const PAUSE: Duration = Duration::from_secs(60);

/// The checkpoint flags. What is due first counts; a handler's checkpoint request is due at once under any of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strategy {
    /// So long after the last checkpoint; `None` for never.
    pub every: Option<Duration>,
    /// After this many records done since the last checkpoint; `None` for never.
    pub records: Option<u64>,
    /// At the end of every batch.
    pub batch: bool,
    /// Only where the handler asks; excludes the three above.
    pub manual: bool,
}

impl Strategy {
    /// When a checkpoint at the run's end is due; `last` is the time of the last one.
    pub fn due(&self, ledger: &Ledger, last: Instant, now: Instant, batch_ended: bool) -> Due<()> {
        let enough = |records| ledger.unsaved() >= records;
        if (self.batch && batch_ended) || self.records.is_some_and(enough) {
            return Due::Now(());
        }
        Due::from(self.every.map(|every| last + every), now, ())
    }

    /// How long to leave the lease table alone after a round that failed.
    pub fn pause(&self) -> Duration {
        self.every.unwrap_or(PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Position;

    fn due(strategy: Strategy, records: u64, seconds: u64, batch_ended: bool) -> bool {
        let mut ledger = Ledger::new(None);
        ledger.advance(Position::new("1", 0).expect("digits"), records);
        let start = Instant::now();
        let due = strategy.due(
            &ledger,
            start,
            start + Duration::from_secs(seconds),
            batch_ended,
        );
        due == Due::Now(())
    }

    #[test]
    fn whichever_is_due_first_counts() {
        let every = Strategy {
            every: Some(Duration::from_secs(60)),
            ..Strategy::default()
        };
        let both = Strategy {
            records: Some(3),
            ..every
        };
        let batch = Strategy {
            batch: true,
            ..Strategy::default()
        };
        for (strategy, records, seconds, batch_ended, expected) in [
            (every, 9, 59, true, false),
            (every, 1, 60, false, true),
            (both, 2, 59, true, false),
            (both, 3, 0, false, true),
            (both, 1, 60, false, true),
            (batch, 1, 99, false, false),
            (batch, 1, 0, true, true),
            (
                Strategy {
                    manual: true,
                    ..Strategy::default()
                },
                9,
                999,
                true,
                false,
            ),
        ] {
            assert_eq!(
                due(strategy, records, seconds, batch_ended),
                expected,
                "{strategy:?} {records} {seconds}"
            );
        }
    }
}
