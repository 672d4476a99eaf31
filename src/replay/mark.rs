//! What a lease's checkpoint can be.

use std::fmt;

use crate::record::Position;

/// The checkpoint of a lease, in KCL's order: `AT_TIMESTAMP` before `TRIM_HORIZON` before `LATEST` before
/// every number before `SHARD_END` (`ExtendedSequenceNumber.java`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Start at a time.
    AtTimestamp,
    /// Start at the oldest record.
    TrimHorizon,
    /// Start behind the newest record.
    Latest,
    /// Start behind this record.
    At(Position),
    /// Nothing is left to do.
    ShardEnd,
}

/// The sentinels with their names.
const SENTINELS: [(&str, Mark); 4] = [
    ("AT_TIMESTAMP", Mark::AtTimestamp),
    ("TRIM_HORIZON", Mark::TrimHorizon),
    ("LATEST", Mark::Latest),
    ("SHARD_END", Mark::ShardEnd),
];

impl Mark {
    /// The mark that a checkpoint names; an absent place in the aggregate is 0. `None` where the daemon
    /// would call it an illegal argument.
    pub fn parse(number: &str, sub: Option<i64>) -> Option<Mark> {
        let sub = u64::try_from(sub.unwrap_or(0)).ok()?;
        let sentinel = SENTINELS.iter().find(|(name, _)| *name == number);
        match sentinel {
            Some((_, mark)) => Some(mark.clone()),
            None => Position::new(number, sub).map(Mark::At),
        }
    }

    /// The two numbers that `initialize` has.
    pub fn numbers(&self) -> (&str, u64) {
        match self {
            Mark::At(position) => (&position.sequence_number, position.sub_sequence_number),
            sentinel => {
                let named = SENTINELS.iter().find(|(_, mark)| mark == sentinel);
                (named.map_or("", |(name, _)| name), 0)
            }
        }
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mark::At(position) => position.fmt(f),
            sentinel => f.pad(sentinel.numbers().0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentinels_stand_around_the_numbers() {
        let mark = |number, sub| Mark::parse(number, sub).expect(number);
        let order = [
            mark("AT_TIMESTAMP", None),
            mark("TRIM_HORIZON", None),
            mark("LATEST", None),
            mark("0", None),
            mark("9", Some(4)),
            mark("10", None),
            mark("10", Some(1)),
            mark("SHARD_END", None),
        ];
        assert!(order.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for (number, sub) in [
            ("", None),
            ("x", None),
            ("-1", None),
            ("shard_end", None),
            ("1", Some(-1)),
        ] {
            assert_eq!(Mark::parse(number, sub), None, "{number}");
        }
    }

    #[test]
    fn a_mark_is_written_as_the_daemon_writes_it() {
        let at = Mark::parse("49", Some(2)).expect("a position");
        assert_eq!((at.numbers(), at.to_string()), (("49", 2), "49.2".into()));
        let start = Mark::TrimHorizon;
        assert_eq!(
            (start.numbers(), start.to_string()),
            (("TRIM_HORIZON", 0), "TRIM_HORIZON".into())
        );
    }
}
