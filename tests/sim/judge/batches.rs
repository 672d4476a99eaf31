//! Which records go together in a handler's batch (windows.md).

use std::collections::BTreeSet;

use super::Place;
use crate::draw::Policy;
use crate::handlers::Frame;
use crate::world::World;

/// A batch as it is to be made: its places in order.
#[derive(Default)]
struct Expected {
    places: Vec<usize>,
    /// It may end after this many already: where what a record takes in the daemon's line counts, the end is not
    /// known to the byte.
    least: Option<usize>,
    /// Its end is a function of the records.
    by_records: bool,
}

/// Whether a batch ends before a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Border {
    No,
    Perhaps,
    Yes,
}

impl World {
    /// Whether it is known which records may start. Letters that are under way keep their keys in their slots.
    fn knows_runs(&self) -> bool {
        let letters = self.life.jobs > 1 && self.life.policy == Policy::Command;
        self.life.gives_batches() && !letters
    }

    /// The places that a handler may be given that is about to start, if it may have all of them.
    pub(super) fn startable(&self) -> Vec<usize> {
        // Whoever has one record of a key has all of it.
        let places = self.judge.batch.iter().enumerate();
        let out = places.clone().filter(|(_, place)| place.out.is_some());
        let mut blocked: BTreeSet<u64> = out.map(|(index, _)| self.key(index)).collect();
        let may = |(index, place): &(usize, &Place)| {
            let key = self.key(*index);
            let untried = self.now < self.judge.broken_until && place.handed == 0;
            let letter = place.letter.is_some() && self.life.jobs > 1;
            if !place.done && (place.retry_at > self.now || untried || letter) {
                blocked.insert(key);
            }
            !place.done && place.letter.is_none() && !blocked.contains(&key)
        };
        places.filter(may).map(|(index, _)| index).collect()
    }

    /// What its records follow each other by.
    pub(super) fn key(&self, place: usize) -> u64 {
        match self.life.jobs {
            1 => 0,
            _ => self.daemon.records[self.judge.batch[place].rec].key,
        }
    }

    /// A batch is about to start with these records.
    pub(super) fn judge_batch(&mut self, frames: &[Frame]) {
        if !self.knows_runs() {
            return;
        }
        let startable = self.startable();
        self.judge_trigger(&startable, frames);
        let is_fit = |place: &usize| !self.is_unfit(self.judge.batch[*place].rec);
        let Some(fit) = startable.iter().position(is_fit) else {
            return;
        };
        let expected = self.expected(&startable[fit..]);
        let recs = self.recs(&expected.places);
        let given: Vec<usize> = frames.iter().map(|frame| frame.rec).collect();
        let least = expected.least.unwrap_or(recs.len());
        if !recs.starts_with(&given) || given.len() < least {
            return self.breaks(format!(
                "a batch of {given:?}, where {least} to {} of {recs:?} go together",
                recs.len()
            ));
        }
        self.note_batch(&expected, given.len());
    }

    fn recs(&self, places: &[usize]) -> Vec<usize> {
        let rec = |place: &usize| self.judge.batch[*place].rec;
        places.iter().map(rec).collect()
    }

    /// Judges whether it is time. A record that does not fit is got rid of first; those after it in its window go
    /// on with what has started, and those of a later one have a time of their own.
    fn judge_trigger(&mut self, startable: &[usize], frames: &[Frame]) {
        let Some(first) = frames.first() else { return };
        let is_first = |place: &usize| self.judge.batch[*place].rec == first.rec;
        let from = startable.iter().position(is_first).unwrap_or_default();
        let comes_again = startable
            .get(from)
            .is_some_and(|place| self.judge.batch[*place].handed > 0);
        let before = if comes_again { from } else { 0 };
        let unfit = startable[before..from].iter().rev();
        let unfit = unfit.take_while(|place| !self.is_crossed(**place, startable[from]));
        let from = from - unfit.count();
        match self.trigger(&startable[from..]) {
            Some((trigger, _)) => self.seen.hit(trigger.state()),
            None => self.breaks(format!(
                "a batch from record {} on starts before its time",
                first.rec
            )),
        }
    }

    /// The batch that begins with the first of these.
    fn expected(&self, startable: &[usize]) -> Expected {
        let (mut expected, mut others) = (Expected::default(), BTreeSet::new());
        let run = self.judge.batch[startable[0]].run;
        for place in startable.iter().copied() {
            // A key waits for a run of its own; others may go.
            let key = self.key(place);
            if self.judge.batch[place].run != run || others.contains(&key) {
                others.insert(key);
                continue;
            }
            match self.border(&expected.places, place) {
                Border::Yes => {
                    expected.by_records = true;
                    break;
                }
                Border::Perhaps => {
                    expected.least.get_or_insert(expected.places.len());
                }
                Border::No => {}
            }
            expected.places.push(place);
        }
        expected
    }

    /// Whether a batch of these places ends before another.
    fn border(&self, batch: &[usize], place: usize) -> Border {
        let Some(first) = batch.first().map(|first| &self.judge.batch[*first]) else {
            return Border::No;
        };
        let this = &self.judge.batch[place];
        let (size, bytes) = self.limits(first.run);
        let all = batch.iter().copied().chain([place]);
        let payload: u64 = all.clone().map(|place| self.payload(place)).sum();
        let alone = first.goes_alone() || this.goes_alone();
        if batch.len() >= size || payload > bytes || alone || self.is_unfit(this.rec) {
            return Border::Yes;
        }
        let (least, most) = self.line_bytes(all);
        let half = self.half_of_read_ahead();
        match first.handed == 0 {
            true if self.is_crossed(batch[0], place) || least > half => Border::Yes,
            true if most > half => Border::Perhaps,
            _ => Border::No,
        }
    }

    /// A fresh batch has begun, of so many of the places that were expected.
    fn note_batch(&mut self, expected: &Expected, given: usize) {
        let places = &expected.places[..given];
        let (first, last) = (places[0], places[given - 1]);
        if self.judge.batch[first].handed > 0 {
            return;
        }
        let recs = self.recs(places);
        if self.life.is_aligned() {
            self.judge.aligned.push(first..last + 1);
            let mut before = self.judge.batch[..first].iter();
            if before.all(|place| place.rec < recs[0]) && Some(recs[0]) > self.judge.end {
                self.judge.borders.push(recs[0]..recs[given - 1]);
            }
        }
        let next = self.judge.batch.get(last + 1).map(|next| next.rec);
        let in_order = recs
            .iter()
            .copied()
            .chain(next)
            .eq(recs[0]..=recs[given - 1] + 1);
        let by_records = expected.by_records || given < expected.places.len();
        if in_order && by_records && self.life.jobs == 1 && !self.judge.batch[first].first {
            self.judge_border(recs[0], recs[given - 1]);
        }
    }

    /// Where borders are a function of the records, another life has made the same batch.
    fn judge_border(&mut self, first: usize, last: usize) {
        match self.batches.insert(first, last) {
            Some(before) if before != last => self.breaks(format!(
                "a batch of {first} to {last}, which ended with {before} in an earlier life"
            )),
            Some(_) => self.seen.hit("the same batch in another life"),
            None => {}
        }
    }

    /// The handler in a slot starts with records that came back, or with fresh ones.
    pub(super) fn is_batch_owed(&self) -> bool {
        let startable = if self.knows_runs() {
            self.startable()
        } else {
            Vec::new()
        };
        let is_fit = |place: &usize| !self.is_unfit(self.judge.batch[*place].rec);
        let Some(fit) = startable.iter().copied().find(is_fit) else {
            return false;
        };
        let due = self.trigger(&startable).is_some_and(|(_, must)| must);
        due && !self.is_crossed(startable[0], fit)
    }
}
