//! When a run starts with records that were collected (windows.md).

use std::time::Duration;

use kclpipe::testing::handler::{Per, Window};

use crate::world::{World, stamp};

/// After the end of an aligned window its records may be on their way for so long.
const LATE: Duration = Duration::from_secs(10);

/// Without any read an aligned window ends so long after it is over.
const SILENT: Duration = Duration::from_secs(60);

/// What a record takes in the daemon's line is known to so many bytes.
pub(super) const ABOUT: u64 = 35;

/// Why a run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trigger {
    AtOnce,
    Size,
    Bytes,
    Window,
    CaughtUp,
    Aligned,
    Clock,
    Room,
    End,
}

impl Trigger {
    /// The state that a life has reached with it.
    pub(super) fn state(self) -> &'static str {
        match self {
            Trigger::AtOnce => "a run at once",
            Trigger::Size => "a window closed by size",
            Trigger::Bytes => "a window closed by bytes",
            Trigger::Window => "a window closed by age",
            Trigger::CaughtUp => "a window closed by age in the stream",
            Trigger::Aligned => "a window closed by the next one",
            Trigger::Clock => "a window closed by the clock",
            Trigger::Room => "a window closed for room",
            Trigger::End => "a window closed by the shard's end",
        }
    }
}

impl World {
    /// What starts a run with these places now, if anything may, and whether it must.
    pub(super) fn trigger(&self, places: &[usize]) -> Option<(Trigger, bool)> {
        let first = &self.judge.batch[*places.first()?];
        let Some(window) = self.life.window else {
            return Some((Trigger::AtOnce, true));
        };
        if first.handed > 0 || first.first {
            return Some((Trigger::AtOnce, true));
        }
        if self.judge.shard_over {
            return Some((Trigger::End, true));
        }
        let certain = self
            .full(places)
            .or_else(|| self.window_over(window, places[0]));
        certain.or_else(|| self.for_room())
    }

    /// Whether a handler's batch is full with these.
    fn full(&self, places: &[usize]) -> Option<(Trigger, bool)> {
        let (Per::Batch { size, bytes } | Per::Event { size, bytes, .. }) = self.life.per else {
            return None;
        };
        if self.is_next_window_there(places[0]) {
            return Some((Trigger::Aligned, true));
        }
        if size.is_some_and(|size| places.len() >= size) {
            return Some((Trigger::Size, true));
        }
        let payload: u64 = places.iter().map(|place| self.payload(*place)).sum();
        if bytes.is_some_and(|bytes| payload >= bytes) {
            return Some((Trigger::Bytes, true));
        }
        let (least, most) = self.line_bytes(places.iter().copied());
        let half = self.half_of_read_ahead();
        (most >= half).then_some((Trigger::Bytes, least >= half))
    }

    /// Whether the time of the window that begins with this place is over.
    fn window_over(&self, window: Window, first: usize) -> Option<(Trigger, bool)> {
        let place = &self.judge.batch[first];
        let arrived = self.daemon.records[place.rec].stamp;
        let (over, trigger) = match arrived {
            Some(arrived) if window.aligned => {
                (self.is_over_by_clock(window, arrived), Trigger::Clock)
            }
            _ if self.now >= place.taken_in + window.length => (true, Trigger::Window),
            _ => {
                let length = window.length.as_millis() as i64;
                let old = arrived.is_some_and(|arrived| stamp(self.now) >= arrived + length);
                (old && self.judge.caught_up.is_some(), Trigger::CaughtUp)
            }
        };
        over.then_some((trigger, true))
    }

    fn is_over_by_clock(&self, window: Window, arrived: i64) -> bool {
        let length = window.length.as_millis() as i64;
        let end = (arrived.div_euclid(length) + 1) * length;
        let late = |at: Duration| stamp(at) >= end + LATE.as_millis() as i64;
        let silent = end.max(stamp(self.judge.last_read)) + SILENT.as_millis() as i64;
        self.judge.caught_up.is_some_and(late) || stamp(self.now) >= silent
    }

    /// The daemon waits for room, and nobody makes any.
    fn for_room(&self) -> Option<(Trigger, bool)> {
        let works = self.judge.hands.iter().any(|hand| !hand.places.is_empty());
        let (may, must) = self.is_full();
        let action = self.daemon.action.as_ref();
        let waits = action.is_some_and(|action| action.read && action.name == "processRecords");
        (may && !works && waits).then_some((Trigger::Room, must))
    }

    /// Whether a record is there that belongs to a later window than this place.
    fn is_next_window_there(&self, first: usize) -> bool {
        (first..self.judge.batch.len()).any(|other| self.is_crossed(first, other))
    }

    /// Whether `other` belongs to a later aligned window than `first`.
    pub(super) fn is_crossed(&self, first: usize, other: usize) -> bool {
        let Some(window) = self.life.window.filter(|window| window.aligned) else {
            return false;
        };
        let length = window.length.as_millis() as i64;
        let stamp = |place: usize| self.daemon.records[self.judge.batch[place].rec].stamp;
        let number = |place| Some(stamp(place)?.div_euclid(length));
        number(first)
            .zip(number(other))
            .is_some_and(|(first, other)| other > first)
    }

    pub(super) fn payload(&self, place: usize) -> u64 {
        let rec = self.judge.batch[place].rec;
        self.daemon.records[rec].payload.len() as u64
    }

    /// What a batch takes of the read-ahead at most.
    pub(super) fn half_of_read_ahead(&self) -> u64 {
        match self.life.read_ahead {
            0 => u64::MAX,
            ahead => ahead / 2,
        }
    }

    /// What these places take in the daemon's lines: at least, and at most.
    pub(super) fn line_bytes(&self, places: impl Iterator<Item = usize>) -> (u64, u64) {
        places.fold((0, 0), |(least, most), place| {
            let json = &self.daemon.records[self.judge.batch[place].rec].json;
            let length = json.len() as u64;
            (least + length - ABOUT, most + length + ABOUT)
        })
    }
}
