//! Which record may start now.
//!
//! Records of one partition key go one after the other, and stay with one lane (a handler) while any of
//! them is unanswered there. With a single lane all records are taken as of one key, so they go strictly
//! in order and one that waits holds up the rest.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

/// The records of a batch, by their index, on their way to being done.
#[derive(Debug, Default)]
pub(in crate::handler) struct Lanes {
    keys: Vec<Key>,
    /// Each record's key.
    key_of: Vec<u32>,
    done: Vec<bool>,
    /// This many records at the batch's start are done.
    done_through: usize,
    /// The next record of each key that any lane may take.
    free: BTreeSet<(u32, u32)>,
    /// The next record of each key that only this lane may take.
    owned: Vec<BTreeSet<(u32, u32)>>,
    waiting: BTreeSet<(Instant, u32)>,
}

#[derive(Debug, Default)]
struct Key {
    records: Vec<u32>,
    /// Where in `records` the next one to take is.
    next: usize,
    /// Records taken and neither done nor put back.
    out: u32,
    /// The lane that has them.
    lane: usize,
    wait_until: Option<Instant>,
    /// Where it is listed, so that it can be taken off.
    listed: Option<Listed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Free(u32),
    Owned(usize, u32),
    Waiting(Instant),
}

impl Lanes {
    /// The records with these partition keys, for this many lanes.
    pub(in crate::handler) fn new<'a>(
        partition_keys: impl Iterator<Item = &'a str>,
        lanes: usize,
    ) -> Lanes {
        let mut by_name = HashMap::new();
        let mut these = Lanes {
            owned: vec![BTreeSet::new(); lanes],
            ..Lanes::default()
        };
        for (index, name) in partition_keys.enumerate() {
            let key = if lanes == 1 {
                0
            } else {
                *by_name.entry(name).or_insert(these.keys.len())
            };
            if key == these.keys.len() {
                these.keys.push(Key::default());
            }
            these.keys[key].records.push(index as u32);
            these.key_of.push(key as u32);
        }
        these.done = vec![false; these.key_of.len()];
        (0..these.keys.len()).for_each(|key| these.list(key));
        these
    }

    /// This many records at the batch's start are done: the run.
    pub(in crate::handler) fn done_through(&self) -> usize {
        self.done_through
    }

    /// Whether every record is done.
    pub(in crate::handler) fn all_done(&self) -> bool {
        self.done_through == self.done.len()
    }

    /// The record that `lane` may take now.
    pub(in crate::handler) fn peek(&mut self, lane: usize, now: Instant) -> Option<usize> {
        self.wake_keys(now);
        let (owned, free) = (self.owned.get(lane)?.first(), self.free.first());
        let first = match (owned, free) {
            (Some(owned), Some(free)) => owned.min(free),
            (owned, free) => owned.or(free)?,
        };
        Some(first.0 as usize)
    }

    /// The first record that `lane` may take now and that passes `test`.
    pub(in crate::handler) fn peek_where(
        &mut self,
        lane: usize,
        now: Instant,
        test: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        self.wake_keys(now);
        let listed = self.owned.get(lane)?.iter().chain(&self.free);
        let indexes = listed.map(|(index, _)| *index as usize);
        indexes.filter(|index| test(*index)).min()
    }

    /// `lane` takes the record that [`Lanes::peek`] returned.
    pub(in crate::handler) fn take(&mut self, lane: usize, index: usize) {
        let key = self.key_of[index] as usize;
        let state = &mut self.keys[key];
        debug_assert_eq!(state.records[state.next] as usize, index);
        state.next += 1;
        state.out += 1;
        state.lane = lane;
        self.list(key);
    }

    /// A record that was taken is done.
    pub(in crate::handler) fn done(&mut self, index: usize) {
        let key = self.key_of[index] as usize;
        self.keys[key].out -= 1;
        self.done[index] = true;
        while self.done.get(self.done_through).is_some_and(|done| *done) {
            self.done_through += 1;
        }
        self.list(key);
    }

    /// A record that was taken goes back to its place; its key waits until `until`, if that is given.
    /// Every later record of the key that is taken must be put back, too.
    pub(in crate::handler) fn put_back(&mut self, index: usize, until: Option<Instant>) {
        let key = self.key_of[index] as usize;
        let state = &mut self.keys[key];
        state.out -= 1;
        state.next = state.next.min(
            state
                .records
                .partition_point(|record| (*record as usize) < index),
        );
        state.wait_until = state.wait_until.max(until);
        self.list(key);
    }

    /// When a key that waits may go on.
    pub(in crate::handler) fn wake(&self) -> Option<Instant> {
        self.waiting.first().map(|(until, _)| *until)
    }

    fn wake_keys(&mut self, now: Instant) {
        while let Some((_, key)) = self
            .waiting
            .first()
            .copied()
            .filter(|(until, _)| *until <= now)
        {
            self.keys[key as usize].wait_until = None;
            self.list(key as usize);
        }
    }

    /// Puts a key on the list where it belongs now.
    fn list(&mut self, key: usize) {
        let id = key as u32;
        let state = &mut self.keys[key];
        let listed = state.place();
        if listed == state.listed {
            return;
        }
        match state.listed {
            Some(Listed::Free(index)) => self.free.remove(&(index, id)),
            Some(Listed::Owned(lane, index)) => self.owned[lane].remove(&(index, id)),
            Some(Listed::Waiting(until)) => self.waiting.remove(&(until, id)),
            None => false,
        };
        match listed {
            Some(Listed::Free(index)) => self.free.insert((index, id)),
            Some(Listed::Owned(lane, index)) => self.owned[lane].insert((index, id)),
            Some(Listed::Waiting(until)) => self.waiting.insert((until, id)),
            None => false,
        };
        state.listed = listed;
    }
}

impl Key {
    /// The list where it belongs now, if it has a record to take.
    fn place(&self) -> Option<Listed> {
        let index = *self.records.get(self.next)?;
        match self.wait_until {
            Some(until) if self.out == 0 => Some(Listed::Waiting(until)),
            // A record goes back among others that are out: they come back first.
            Some(_) => None,
            None if self.out > 0 => Some(Listed::Owned(self.lane, index)),
            None => Some(Listed::Free(index)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn take(lanes: &mut Lanes, lane: usize, now: Instant) -> Option<usize> {
        let index = lanes.peek(lane, now)?;
        lanes.take(lane, index);
        Some(index)
    }

    #[test]
    fn one_lane_goes_strictly_in_order_and_a_record_that_waits_holds_up_the_rest() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut lanes = Lanes::new(["a", "b", "c"].into_iter(), 1);
        assert_eq!(take(&mut lanes, 0, now), Some(0));
        lanes.put_back(0, Some(later));
        assert_eq!(
            (take(&mut lanes, 0, now), lanes.wake()),
            (None, Some(later))
        );
        assert_eq!((take(&mut lanes, 0, later), lanes.wake()), (Some(0), None));
        lanes.done(0);
        assert_eq!(
            (lanes.done_through(), take(&mut lanes, 0, later)),
            (1, Some(1))
        );
    }

    #[test]
    fn a_key_that_is_busy_or_waits_holds_up_only_itself() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut lanes = Lanes::new(["a", "a", "b", "a", "b"].into_iter(), 2);
        assert_eq!(take(&mut lanes, 0, now), Some(0));
        assert_eq!(
            take(&mut lanes, 1, now),
            Some(2),
            "not 1: its key is in lane 0"
        );
        lanes.put_back(0, Some(later));
        lanes.done(2);
        assert_eq!(lanes.done_through(), 0, "the run stops at what is not done");
        assert_eq!(take(&mut lanes, 0, now), Some(4));
        assert_eq!(take(&mut lanes, 1, now), None);
        lanes.done(4);
        for expected in [0, 1, 3] {
            assert_eq!(take(&mut lanes, 1, later), Some(expected));
            lanes.done(expected);
        }
        assert!(lanes.all_done());
    }

    #[test]
    fn a_lane_may_take_more_of_a_key_it_has_and_puts_back_in_order() {
        let now = Instant::now();
        let mut lanes = Lanes::new(["a", "a", "b", "a"].into_iter(), 2);
        assert_eq!(
            [0, 1, 2].map(|_| take(&mut lanes, 0, now)),
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(
            take(&mut lanes, 1, now),
            None,
            "3 belongs to lane 0 while 0 and 1 are there"
        );
        lanes.done(0);
        lanes.put_back(1, None);
        assert_eq!(
            take(&mut lanes, 1, now),
            Some(1),
            "lane 0 has nothing of the key any more"
        );
        assert_eq!(take(&mut lanes, 0, now), None);
        assert_eq!(take(&mut lanes, 1, now), Some(3));
    }

    #[test]
    fn an_empty_batch_is_done() {
        assert!(Lanes::new([].into_iter(), 3).all_done());
    }
}
