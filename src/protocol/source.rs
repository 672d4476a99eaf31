//! Where the daemon's lines come from.

use std::fs::File;
use std::io;

use rustix::buffer::spare_capacity;

/// Somebody who writes to us.
pub trait Source {
    /// Reads once, and appends to `to` what came: no more than there is room for, and nothing at the end.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&mut self, to: &mut Vec<u8>) -> io::Result<usize>;
}

impl Source for File {
    // Into memory that nobody has cleared: to clear it would cost about as much as the read.
    fn read(&mut self, to: &mut Vec<u8>) -> io::Result<usize> {
        Ok(rustix::io::read(self, spare_capacity(to))?)
    }
}
