//! How much a record is, or several of them.

use std::ops::{Add, AddAssign, SubAssign};

/// How much a record, or several of them, is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::handler) struct Size {
    /// Records.
    pub(in crate::handler) records: u64,
    /// Bytes of payload, as far as they are known.
    pub(in crate::handler) payload: u64,
    /// Bytes of the daemon's lines.
    pub(in crate::handler) line: u64,
}

impl Add for Size {
    type Output = Size;

    fn add(mut self, other: Size) -> Size {
        self += other;
        self
    }
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Size) {
        self.records += other.records;
        self.payload += other.payload;
        self.line += other.line;
    }
}

impl SubAssign for Size {
    fn sub_assign(&mut self, other: Size) {
        self.records -= other.records;
        self.payload -= other.payload;
        self.line -= other.line;
    }
}
