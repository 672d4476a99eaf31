//! Which records go together, and which of them come again together.

use std::collections::BTreeSet;

use kclpipe::testing::handler::Per;

use super::Hand;
use crate::draw::Policy;
use crate::handlers::Frame;
use crate::world::World;

/// A batch as it is to be made: its places in order, of which it has at least `least`. Where what a record takes
/// in the daemon's line counts, the end is not known to the byte.
struct Expected {
    places: Vec<usize>,
    least: usize,
    /// Its end is a function of the records.
    by_records: bool,
}

impl World {
    /// Whether it is known which records may start. Letters that are under way keep their keys in their slots.
    fn knows_runs(&self) -> bool {
        let letters = self.life.jobs > 1 && self.life.policy == Policy::Command;
        matches!(self.life.per, Per::Batch { .. }) && !letters
    }

    /// The places that a handler may be given that is about to start, if it may have all of them.
    pub(super) fn startable(&self) -> Vec<usize> {
        // Whoever has one record of a key has all of it.
        let places = self.judge.batch.iter().enumerate();
        let out = places.clone().filter(|(_, place)| place.out.is_some());
        let mut blocked: BTreeSet<u64> = out.map(|(index, _)| self.key(index)).collect();
        let may = |(index, place): &(usize, &super::Place)| {
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
        let fit = startable
            .iter()
            .position(|place| !self.is_unfit(self.judge.batch[*place].rec));
        let Some(expected) = fit.map(|fit| self.expected(&startable[fit..])) else {
            return;
        };
        let recs: Vec<usize> = expected
            .places
            .iter()
            .map(|place| self.judge.batch[*place].rec)
            .collect();
        let given: Vec<usize> = frames.iter().map(|frame| frame.rec).collect();
        if !recs.starts_with(&given) || given.len() < expected.least {
            let (least, most) = (&recs[..expected.least.min(recs.len())], &recs[..]);
            return self.breaks(format!(
                "a batch of {given:?}, where {least:?} to {most:?} go together"
            ));
        }
        self.note_batch(&expected, given.len());
    }

    fn judge_trigger(&mut self, startable: &[usize], frames: &[Frame]) {
        // One that does not fit is got rid of before those after it, which have a window of their own.
        let Some(first) = frames.first() else { return };
        let from = startable
            .iter()
            .position(|place| self.judge.batch[*place].rec == first.rec);
        let from = from.unwrap_or_default();
        let unfit = startable[..from]
            .iter()
            .rev()
            .take_while(|place| !self.is_crossed(**place, startable[from]))
            .count();
        match self.trigger(&startable[from - unfit..]) {
            Some((trigger, _)) => self.seen.hit(trigger.state()),
            None => self.breaks(format!(
                "a batch from record {} on starts before its time",
                first.rec
            )),
        }
    }

    /// The batch that begins with the first of these.
    fn expected(&self, startable: &[usize]) -> Expected {
        let first = startable[0];
        let run = self.judge.batch[first].run;
        let (size, bytes) = self.limits(run);
        let mut expected = Expected {
            places: Vec::new(),
            least: 0,
            by_records: false,
        };
        let (mut payload, mut others) = (0, BTreeSet::new());
        for place in startable.iter().copied() {
            let this = &self.judge.batch[place];
            let has = expected.places.len();
            payload += self.payload(place);
            let fresh = self.judge.batch[first].handed == 0;
            let key = self.key(place);
            if has > 0 && self.life.jobs > 1 && (this.run != run || others.contains(&key)) {
                // Its key waits for a run of its own; others may go.
                others.insert(key);
                payload -= self.payload(place);
                continue;
            }
            let alone = this.goes_alone() || self.judge.batch[first].goes_alone();
            let ends = this.run != run
                || has >= size
                || payload > bytes
                || alone
                || self.is_unfit(this.rec);
            let (least, most) = self.line_bytes(expected.places.iter().copied().chain([place]));
            let half = match self.life.read_ahead {
                0 => u64::MAX,
                ahead => ahead / 2,
            };
            if has > 0 && (ends || (fresh && (self.is_crossed(first, place) || least > half))) {
                expected.by_records = true;
                break;
            }
            if has > 0 && fresh && most > half && expected.least == 0 {
                expected.least = has;
            }
            expected.places.push(place);
        }
        if expected.least == 0 {
            expected.least = expected.places.len();
        }
        expected
    }

    /// How many records and how many bytes of payload one handler gets, of this run.
    fn limits(&self, run: Option<u64>) -> (usize, u64) {
        let Per::Batch { size, bytes } = self.life.per else {
            return (1, u64::MAX);
        };
        let suspects = run.and_then(|run| self.judge.suspects.get(&run));
        let half = suspects.map_or(usize::MAX, |suspects| suspects.div_ceil(2));
        (
            half.min(size.unwrap_or(usize::MAX)),
            bytes.unwrap_or(u64::MAX),
        )
    }

    /// Where borders are a function of the records, another life made the same batch.
    fn note_batch(&mut self, expected: &Expected, given: usize) {
        let places = &expected.places[..given];
        let fresh = places
            .iter()
            .all(|place| self.judge.batch[*place].handed == 0);
        if !fresh {
            return;
        }
        if self.life.is_aligned() {
            self.judge.aligned.push(places[0]..places[given - 1] + 1);
        }
        let recs: Vec<usize> = places
            .iter()
            .map(|place| self.judge.batch[*place].rec)
            .collect();
        let (first, last) = (recs[0], recs[given - 1]);
        let consecutive = recs.iter().copied().eq(first..=last);
        let next = self.judge.batch.get(places[given - 1] + 1);
        let next_is_next = next.is_some_and(|next| next.rec == last + 1);
        let ends = expected.by_records || given < expected.places.len();
        if self.life.is_aligned() && consecutive && Some(first) > self.judge.end {
            self.judge.borders.push(first..last);
        }
        let is_first = self.judge.batch[places[0]].first;
        if self.life.jobs > 1 || !ends || !consecutive || !next_is_next || is_first {
            return;
        }
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
