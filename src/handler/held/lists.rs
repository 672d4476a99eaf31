//! Keys that have a record to take: by that record, or by the time for which they wait.

use std::collections::BTreeSet;
use std::time::Instant;

use super::size::Size;

/// Where a key is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// Any lane may take this record of it.
    Free(usize),
    /// Only this lane may take this record of it.
    Owned(usize, usize),
    /// Nobody may take a record of it before.
    Waiting(Instant),
}

/// All keys that have a record to take.
#[derive(Debug)]
pub(super) struct Lists {
    free: Listing,
    /// For each lane.
    owned: Vec<Listing>,
    waiting: BTreeSet<(Instant, u32)>,
}

/// Keys by the next record of each, and how much all of them have to be taken.
#[derive(Clone, Debug, Default)]
struct Listing {
    /// The first one stands apart: most times it is the only one, and a tree would be felt at each record.
    first: Option<(usize, u32)>,
    others: BTreeSet<(usize, u32)>,
    size: Size,
}

impl Lists {
    /// No keys, for this many lanes.
    pub(super) fn new(lanes: usize) -> Lists {
        Lists {
            free: Listing::default(),
            owned: vec![Listing::default(); lanes],
            waiting: BTreeSet::new(),
        }
    }

    /// How many lanes there are.
    pub(super) fn lanes(&self) -> usize {
        self.owned.len()
    }

    /// How much `lane` may take.
    pub(super) fn size(&self, lane: usize) -> Size {
        self.free.size + self.owned[lane].size
    }

    /// The first record that `lane` may take.
    pub(super) fn first(&self, lane: usize) -> Option<usize> {
        let first = match (self.owned.get(lane)?.first, self.free.first) {
            (Some(owned), Some(free)) => owned.min(free),
            (owned, free) => owned.or(free)?,
        };
        Some(first.0)
    }

    /// The records that `lane` may take, one of each key.
    pub(super) fn all(&self, lane: usize) -> impl Iterator<Item = usize> {
        let owned = self.owned.get(lane).into_iter().flat_map(Listing::all);
        owned.chain(self.free.all())
    }

    /// When the first key wakes of those that wait.
    pub(super) fn wakes(&self) -> Option<Instant> {
        self.waiting.first().map(|(until, _)| *until)
    }

    /// A key that need not wait any longer.
    pub(super) fn waking(&self, now: Instant) -> Option<u32> {
        let (until, id) = self.waiting.first()?;
        (*until <= now).then_some(*id)
    }

    /// Lists a key there, which has so much.
    pub(super) fn insert(&mut self, at: Option<Listed>, id: u32, size: &Size) {
        match at {
            Some(Listed::Free(index)) => self.free.insert((index, id), size),
            Some(Listed::Owned(lane, index)) => self.owned[lane].insert((index, id), size),
            Some(Listed::Waiting(until)) => _ = self.waiting.insert((until, id)),
            None => {}
        }
    }

    /// Takes a key off that is listed there and has so much.
    pub(super) fn remove(&mut self, at: Option<Listed>, id: u32, size: &Size) {
        match at {
            Some(Listed::Free(index)) => self.free.remove((index, id), size),
            Some(Listed::Owned(lane, index)) => self.owned[lane].remove((index, id), size),
            Some(Listed::Waiting(until)) => _ = self.waiting.remove(&(until, id)),
            None => {}
        }
    }

    /// A key that is listed there has so much more.
    pub(super) fn grow(&mut self, at: Option<Listed>, size: &Size) {
        match at {
            Some(Listed::Free(_)) => self.free.size += *size,
            Some(Listed::Owned(lane, _)) => self.owned[lane].size += *size,
            Some(Listed::Waiting(_)) | None => {}
        }
    }
}

impl Listing {
    fn insert(&mut self, next: (usize, u32), size: &Size) {
        self.size += *size;
        match self.first {
            Some(first) if first < next => _ = self.others.insert(next),
            first => {
                // Most times there is none.
                if let Some(first) = first {
                    self.others.insert(first);
                }
                self.first = Some(next);
            }
        }
    }

    fn remove(&mut self, next: (usize, u32), size: &Size) {
        self.size -= *size;
        if self.first == Some(next) {
            self.first = self.others.pop_first();
        } else {
            self.others.remove(&next);
        }
    }

    fn all(&self) -> impl Iterator<Item = usize> {
        let all = self.first.iter().chain(&self.others);
        all.map(|(index, _)| *index)
    }
}
