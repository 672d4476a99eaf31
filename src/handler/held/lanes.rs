//! Which record may start now.
//!
//! Records of one partition key go one after the other, and stay with one lane (a handler) while any of
//! them is unanswered there. With a single lane all records are taken as of one key, so they go strictly
//! in order and one that waits holds up the rest. A key that has no record is forgotten.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};
use std::time::Instant;

use super::lists::{Listed, Lists};
use super::size::Size;
use crate::due::Due;

/// The records that are held, by their numbers, on their way to being done.
#[derive(Debug)]
pub(in crate::handler) struct Lanes {
    /// The records from the first on that is not done.
    records: VecDeque<Entry>,
    /// Every record before this one is done.
    done_through: usize,
    keys: Vec<Key>,
    /// Places in `keys` that no key has.
    unused: Vec<u32>,
    /// Keys by the hash of their name. Two that share one are taken for one, which does no harm.
    by_name: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    hasher: RandomState,
    lists: Lists,
}

/// The hash of what is a hash already: to make another one would be felt at each record.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("names are numbers")
    }
}

/// A record, small: a million may be held.
#[derive(Debug)]
struct Entry {
    key: u32,
    /// How far on the next record of the key is; 0 while there is none.
    step: u32,
    done: bool,
}

#[derive(Debug, Default)]
struct Key {
    /// The next record to take.
    next: Option<usize>,
    /// The last record that came.
    last: usize,
    /// Records that are not done.
    left: usize,
    /// Records taken and neither done nor put back.
    out: usize,
    /// Those from `next` on.
    rest: Size,
    /// The lane that has those that are out.
    lane: usize,
    wait_until: Option<Instant>,
    /// Where it is listed, so that it can be taken off.
    listed: Option<Listed>,
    /// The hash of its name.
    name: u64,
}

impl Lanes {
    /// No records, for this many lanes.
    pub(in crate::handler) fn new(lanes: usize) -> Lanes {
        Lanes {
            records: VecDeque::new(),
            done_through: 0,
            keys: Vec::new(),
            unused: Vec::new(),
            by_name: HashMap::default(),
            hasher: RandomState::new(),
            lists: Lists::new(lanes),
        }
    }

    /// Forgets all records; the next one has this number.
    pub(in crate::handler) fn clear(&mut self, next: usize) {
        *self = Lanes {
            done_through: next,
            ..Lanes::new(self.lists.lanes())
        };
    }

    /// Takes in the next record, of this partition key.
    pub(in crate::handler) fn push(&mut self, partition_key: &str, size: Size) {
        let index = self.end();
        let id = self.key(partition_key);
        self.records.push_back(Entry {
            key: id,
            step: 0,
            done: false,
        });
        let key = &mut self.keys[id as usize];
        if key.left > 0 {
            self.records[key.last - self.done_through].step = (index - key.last) as u32;
        }
        key.last = index;
        key.left += 1;
        if key.next.is_some() {
            key.rest += size;
            self.lists.grow(key.listed, &size);
        } else {
            self.change(id, |key| {
                key.next = Some(index);
                key.rest = size;
            });
        }
    }

    /// Takes in the next record, which is done already.
    pub(in crate::handler) fn push_done(&mut self) {
        self.records.push_back(Entry {
            key: 0,
            step: 0,
            done: true,
        });
        self.pass_done();
    }

    /// Lets go of the records that are done with all before them.
    fn pass_done(&mut self) {
        while self.records.front().is_some_and(|entry| entry.done) {
            self.records.pop_front();
            self.done_through += 1;
        }
    }

    /// The key of this name; with one lane there is but one.
    fn key(&mut self, name: &str) -> u32 {
        let name = match self.lists.lanes() {
            1 => 0,
            _ => self.hasher.hash_one(name),
        };
        if let Some(id) = self.by_name.get(&name) {
            return *id;
        }
        let key = Key {
            name,
            ..Key::default()
        };
        let id = self.unused.pop().unwrap_or(self.keys.len() as u32);
        match self.keys.get_mut(id as usize) {
            Some(place) => *place = key,
            None => self.keys.push(key),
        }
        self.by_name.insert(name, id);
        id
    }

    /// The number after the last record's.
    fn end(&self) -> usize {
        self.done_through + self.records.len()
    }

    /// Every record before this one is done.
    pub(in crate::handler) fn done_through(&self) -> usize {
        self.done_through
    }

    /// Whether every record is done.
    pub(in crate::handler) fn all_done(&self) -> bool {
        self.records.is_empty()
    }

    /// How much `lane` may take now, if it may take all at once.
    pub(in crate::handler) fn startable(&self, lane: usize) -> Size {
        self.lists.size(lane)
    }

    /// The record that `lane` may take now.
    pub(in crate::handler) fn peek(&mut self, lane: usize, now: Instant) -> Option<usize> {
        self.wake_keys(now);
        self.lists.first(lane)
    }

    /// The first record that `lane` may take now and that passes `test`.
    pub(in crate::handler) fn peek_where(
        &mut self,
        lane: usize,
        now: Instant,
        test: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        self.wake_keys(now);
        self.lists.all(lane).filter(|index| test(*index)).min()
    }

    /// `lane` takes the record that [`Lanes::peek`] returned, which is of this size.
    pub(in crate::handler) fn take(&mut self, lane: usize, index: usize, size: Size) {
        let (id, next) = (self.entry(index).key, self.after(index));
        self.change(id, |key| {
            debug_assert_eq!(key.next, Some(index));
            key.next = next;
            key.out += 1;
            key.lane = lane;
            key.rest -= size;
        });
    }

    /// A record that was taken is done.
    pub(in crate::handler) fn done(&mut self, index: usize) {
        let entry = &mut self.records[index - self.done_through];
        entry.done = true;
        let id = entry.key;
        self.pass_done();
        let key = &mut self.keys[id as usize];
        key.left -= 1;
        key.out -= 1;
        // While others are out, it stays where it is listed.
        if key.out == 0 {
            self.change(id, |_| {});
            self.forget(id);
        }
    }

    /// Forgets a key that has no record.
    fn forget(&mut self, id: u32) {
        let key = &mut self.keys[id as usize];
        if key.left == 0 {
            self.by_name.remove(&key.name);
            *key = Key::default();
            self.unused.push(id);
        }
    }

    /// A record that was taken goes back to its place; its key waits until `until`, if that is given.
    /// Every later record of the key that is taken must be put back, too. `size` is that of each record.
    pub(in crate::handler) fn put_back(
        &mut self,
        index: usize,
        until: Option<Instant>,
        size: impl Fn(usize) -> Size,
    ) {
        let id = self.entry(index).key;
        let next = self.keys[id as usize].next;
        let back = std::iter::successors(Some(index), |index| self.after(*index))
            .take_while(|index| next.is_none_or(|next| *index < next))
            .fold(Size::default(), |sum, index| sum + size(index));
        self.change(id, |key| {
            key.out -= 1;
            key.next = Some(next.map_or(index, |next| next.min(index)));
            key.rest += back;
            key.wait_until = key.wait_until.max(until);
        });
    }

    /// What a key that waits is due for: to be taken by any lane.
    pub(in crate::handler) fn due(&self, now: Instant) -> Due<()> {
        Due::from(self.lists.wakes(), now, ())
    }

    fn wake_keys(&mut self, now: Instant) {
        while let Some(id) = self.lists.waking(now) {
            self.change(id, |key| key.wait_until = None);
        }
    }

    fn entry(&self, index: usize) -> &Entry {
        &self.records[index - self.done_through]
    }

    /// The next record of the same key.
    fn after(&self, index: usize) -> Option<usize> {
        let step = self.entry(index).step as usize;
        (step > 0).then_some(index + step)
    }

    /// Changes a key, and puts it on the list where it belongs then.
    fn change(&mut self, id: u32, change: impl FnOnce(&mut Key)) {
        let key = &mut self.keys[id as usize];
        let (listed, rest) = (key.listed, key.rest);
        change(key);
        key.listed = key.place();
        self.lists.remove(listed, id, &rest);
        self.lists.insert(key.listed, id, &key.rest);
    }
}

impl Key {
    /// The list where it belongs now, if it has a record to take.
    fn place(&self) -> Option<Listed> {
        let index = self.next?;
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

    /// Records of these keys, of a byte each.
    fn lanes(keys: &[&str], count: usize) -> Lanes {
        let mut lanes = Lanes::new(count);
        push(&mut lanes, keys);
        lanes
    }

    const SIZE: Size = Size {
        records: 1,
        payload: 1,
        line: 10,
    };

    fn push(lanes: &mut Lanes, keys: &[&str]) {
        keys.iter().for_each(|key| lanes.push(key, SIZE));
    }

    fn put_back(lanes: &mut Lanes, index: usize, until: Option<Instant>) {
        lanes.put_back(index, until, |_| SIZE);
    }

    fn take(lanes: &mut Lanes, lane: usize, now: Instant) -> Option<usize> {
        let index = lanes.peek(lane, now)?;
        lanes.take(lane, index, SIZE);
        Some(index)
    }

    #[test]
    fn one_lane_goes_strictly_in_order_and_a_record_that_waits_holds_up_the_rest() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut lanes = lanes(&["a", "b", "c"], 1);
        assert_eq!(take(&mut lanes, 0, now), Some(0));
        put_back(&mut lanes, 0, Some(later));
        assert_eq!(
            (take(&mut lanes, 0, now), lanes.due(now)),
            (None, Due::At(later))
        );
        assert_eq!(
            (take(&mut lanes, 0, later), lanes.due(later)),
            (Some(0), Due::Never)
        );
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
        let mut lanes = lanes(&["a", "a", "b", "a", "b"], 2);
        assert_eq!(take(&mut lanes, 0, now), Some(0));
        assert_eq!(
            take(&mut lanes, 1, now),
            Some(2),
            "not 1: its key is in lane 0"
        );
        put_back(&mut lanes, 0, Some(later));
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
        let mut lanes = lanes(&["a", "a", "b", "a"], 2);
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
        put_back(&mut lanes, 1, None);
        assert_eq!(
            take(&mut lanes, 1, now),
            Some(1),
            "lane 0 has nothing of the key any more"
        );
        assert_eq!(take(&mut lanes, 0, now), None);
        assert_eq!(take(&mut lanes, 1, now), Some(3));
    }

    #[test]
    fn a_key_waits_only_when_none_of_its_records_is_out() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut lanes = lanes(&["a", "a"], 2);
        take(&mut lanes, 0, now);
        take(&mut lanes, 0, now);
        put_back(&mut lanes, 0, Some(later));
        assert_eq!(lanes.due(now), Due::Never, "1 comes back first");
        assert_eq!(take(&mut lanes, 0, later), None);
        put_back(&mut lanes, 1, None);
        assert_eq!(lanes.due(now), Due::At(later));
        assert_eq!(take(&mut lanes, 0, later), Some(0));
    }

    #[test]
    fn an_empty_batch_is_done() {
        assert!(lanes(&[], 3).all_done());
    }

    #[test]
    fn keys_go_on_over_the_borders_of_batches_and_leave_nothing_when_they_are_done() {
        let now = Instant::now();
        let mut lanes = lanes(&["a", "b"], 2);
        assert_eq!(take(&mut lanes, 0, now), Some(0));
        push(&mut lanes, &["a", "c"]);
        assert_eq!(take(&mut lanes, 1, now), Some(1));
        lanes.done(1);
        assert_eq!(
            take(&mut lanes, 1, now),
            Some(3),
            "not 2: its key is in lane 0"
        );
        lanes.done(3);
        lanes.done(0);
        assert_eq!(
            (lanes.done_through(), take(&mut lanes, 1, now)),
            (2, Some(2))
        );
        lanes.done(2);
        assert!(lanes.all_done() && lanes.done_through() == 4);
        assert!(lanes.by_name.is_empty() && lanes.records.is_empty());
        assert_eq!(lanes.unused.len(), lanes.keys.len());
        push(&mut lanes, &["d"]);
        assert_eq!(take(&mut lanes, 0, now), Some(4));
    }

    #[test]
    fn what_a_lane_may_take_is_known_without_looking_at_each_record() {
        let now = Instant::now();
        let mut lanes = lanes(&["a", "b", "a", "b", "c"], 2);
        let may = |lanes: &Lanes| [0, 1].map(|lane| lanes.startable(lane).records);
        assert_eq!(may(&lanes), [5, 5]);
        assert_eq!(take(&mut lanes, 0, now), Some(0));
        assert_eq!(may(&lanes), [4, 3]);
        put_back(&mut lanes, 0, Some(now + Duration::from_secs(1)));
        assert_eq!(may(&lanes), [3, 3], "its key waits");
        assert_eq!(take(&mut lanes, 1, now + Duration::from_secs(1)), Some(0));
        assert_eq!(may(&lanes), [3, 4]);
        lanes.done(0);
        let all = Size {
            records: 4,
            payload: 4,
            line: 40,
        };
        assert_eq!((lanes.startable(0), may(&lanes)), (all, [4, 4]));
    }
}
