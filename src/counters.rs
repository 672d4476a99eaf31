//! What came of records and handlers, in numbers: counted where it happens, shown by `reporting`.

use std::time::Duration;

use crate::outcome::{CLASSES, Class, Ended};
use crate::shard_state::LastFailure;
use crate::throttle::{THROTTLES, Throttle};
use crate::trigger::{TRIGGERS, Trigger};

/// Upper ends of the spans that a handler's time falls into, in seconds.
const TIMES: &[f64] = &[
    0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// The same for a record's age: a second for a stream that is followed closely, a week for a backlog.
const AGES: &[f64] = &[
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0, 604800.0,
];

/// Upper ends of the spans for how many records a handler gets at its start.
const BATCH_RECORDS: &[f64] = &[1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];

/// The same for the bytes of their payloads.
const BATCH_BYTES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Counts since the start.
///
/// They are plain numbers and are always kept: an addition costs nothing next to a record. Times and ages
/// need a clock and are kept only where somebody looks at them.
#[derive(Clone, Debug)]
pub struct Counters {
    /// Records that the handler accepted.
    pub done: u64,
    /// Records that the user's filter kept from the handler.
    pub filtered: u64,
    /// Records that were passed over.
    pub skipped: u64,
    /// Records that are in the dead-letter file.
    pub dead_lettered: u64,
    /// Dead letters that could not be written.
    pub unwritten: u64,
    /// How often a record was rejected, by its handler or for its format.
    pub rejected: u64,
    /// How often a record had used up its attempts.
    pub attempts_exhausted: u64,
    /// How often a record that had failed was too old.
    pub expired: u64,
    /// How often a record or a run of them was put back, to be tried later.
    pub retries: u64,
    /// Handlers that live on and were started again after a bad end or a bad answer.
    pub respawns: u64,
    /// Records that a handler has and has not answered.
    pub in_flight: u64,
    /// Records that were taken in and are not known to be done, those in flight among them.
    pub held_records: u64,
    /// The length of the daemon's lines from the first of them on.
    pub held_bytes: u64,
    /// Attempts of the record that everything waits for, if there is one.
    pub blocking_attempts: u32,
    /// The limit that holds up a handler that could start, and for how long it has.
    pub throttled: Option<(Throttle, Duration)>,
    /// For how long each limit has held one up in all.
    pub throttled_times: [Duration; THROTTLES.len()],
    /// How the last handler ended that did not end well.
    pub last_failure: Option<LastFailure>,
    /// How many records handlers got at their start.
    pub batch_records: Histogram,
    /// The bytes of their payloads.
    pub batch_bytes: Histogram,
    /// What handlers took for an attempt.
    pub times: Histogram,
    /// How old records were when they became part of the run.
    pub ages: Histogram,
    /// Whether the histograms are kept.
    pub timed: bool,
    failed: [u64; CLASSES.len()],
    started: [u64; TRIGGERS.len()],
    exits: Vec<(Ended, Class, u64)>,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            done: 0,
            filtered: 0,
            skipped: 0,
            dead_lettered: 0,
            unwritten: 0,
            rejected: 0,
            attempts_exhausted: 0,
            expired: 0,
            retries: 0,
            respawns: 0,
            in_flight: 0,
            held_records: 0,
            held_bytes: 0,
            blocking_attempts: 0,
            throttled: None,
            throttled_times: [Duration::ZERO; THROTTLES.len()],
            last_failure: None,
            batch_records: Histogram::new(BATCH_RECORDS),
            batch_bytes: Histogram::new(BATCH_BYTES),
            times: Histogram::new(TIMES),
            ages: Histogram::new(AGES),
            timed: false,
            failed: [0; CLASSES.len()],
            started: [0; TRIGGERS.len()],
            exits: Vec::new(),
        }
    }
}

impl Counters {
    /// An attempt ended, and what was tried is not done.
    pub fn fail(&mut self, class: Class) {
        self.failed[class as usize] += 1;
    }

    /// The attempts that [`Counters::fail`] was told of, by their class; also the classes with none.
    pub fn failed(&self) -> impl Iterator<Item = (Class, u64)> {
        let bad = CLASSES.into_iter().map(|(_, class)| class);
        let bad = bad.filter(|class| !matches!(class, Class::Done | Class::Checkpoint));
        bad.map(|class| (class, self.failed[class as usize]))
    }

    /// A handler was started with what waited for it.
    pub fn started(&mut self, trigger: Trigger) {
        self.started[trigger as usize] += 1;
    }

    /// A handler was started with this many records, and bytes of payload in them.
    pub fn batch(&mut self, records: u64, bytes: u64) {
        if self.timed {
            self.batch_records.observe(records as f64, 1);
            self.batch_bytes.observe(bytes as f64, 1);
        }
    }

    /// How often handlers were started, by what started them; also what started none.
    pub fn starts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        TRIGGERS
            .into_iter()
            .map(|(trigger, name)| (name, self.started[trigger as usize]))
    }

    /// For how long limits have held up handlers that could start, by the limit; also those that held up none.
    pub fn throttled_times(&self) -> impl Iterator<Item = (&'static str, Duration)> {
        THROTTLES
            .into_iter()
            .map(|(throttle, name)| (name, self.throttled_times[throttle as usize]))
    }

    /// A handler process ended by itself, or for a fault of its own.
    pub fn exit(&mut self, ended: Ended, class: Class) {
        let same = |of: &&mut (Ended, Class, u64)| (of.0, of.1) == (ended, class);
        match self.exits.iter_mut().find(same) {
            Some((.., count)) => *count += 1,
            None => self.exits.push((ended, class, 1)),
        }
    }

    /// The ways in which handlers ended, their classes, and how often.
    pub fn exits(&self) -> &[(Ended, Class, u64)] {
        &self.exits
    }

    /// A handler took so long for what it was given.
    pub fn took(&mut self, time: Duration) {
        if self.timed {
            self.times.observe(time.as_secs_f64(), 1);
        }
    }

    /// The records that passed, of any outcome.
    pub fn passed(&self) -> u64 {
        self.done + self.filtered + self.skipped + self.dead_lettered
    }
}

/// Values counted by the span that each falls into.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is beyond the last.
    counts: Vec<u64>,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Histogram {
        Histogram {
            bounds,
            counts: vec![0; bounds.len() + 1],
            sum: 0.0,
        }
    }

    /// This many more of this value.
    pub fn observe(&mut self, value: f64, count: u64) {
        let span = self.bounds.partition_point(|bound| *bound < value);
        self.counts[span] += count;
        self.sum += value * count as f64;
    }

    /// How many values there were.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All values together.
    pub fn sum(&self) -> f64 {
        self.sum
    }

    /// The bounds, each with how many values are not above it.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let counts = self.counts.iter().scan(0, |below, count| {
            *below += count;
            Some(*below)
        });
        self.bounds.iter().copied().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_up_to_every_bound_that_it_is_not_above() {
        let mut histogram = Histogram::new(&[1.0, 2.0, 5.0]);
        [(0.5, 1), (1.0, 1), (1.5, 1), (5.0, 3), (9.0, 1)]
            .into_iter()
            .for_each(|(value, count)| histogram.observe(value, count));
        let cumulative: Vec<_> = histogram.cumulative().collect();
        assert_eq!(cumulative, [(1.0, 2), (2.0, 3), (5.0, 6)]);
        assert_eq!((histogram.count(), histogram.sum()), (7, 27.0));
    }

    #[test]
    fn the_same_end_of_the_same_class_is_counted_together() {
        let mut counters = Counters::default();
        counters.exit(Ended::Code(1), Class::Fail);
        counters.exit(Ended::Code(0), Class::Done);
        counters.exit(Ended::Code(1), Class::Fail);
        let expected = [
            (Ended::Code(1), Class::Fail, 2),
            (Ended::Code(0), Class::Done, 1),
        ];
        assert_eq!(counters.exits(), expected);
    }

    #[test]
    fn times_are_kept_only_on_request() {
        let mut counters = Counters::default();
        counters.took(Duration::from_secs(1));
        assert_eq!(counters.times.count(), 0);
        counters.timed = true;
        counters.took(Duration::from_secs(1));
        assert_eq!(counters.times.count(), 1);
    }
}
