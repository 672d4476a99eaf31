//! Events as they come on stdin, one a line.

use std::collections::VecDeque;
use std::io::{self, Read};

/// How much one read asks for: what a large pipe holds.
const CHUNK: usize = 256 * 1024;

/// Lines of an input, of any length.
#[derive(Debug)]
pub(super) struct Events<R> {
    input: R,
    lines: VecDeque<Vec<u8>>,
    /// The beginning of a line.
    begun: Vec<u8>,
    chunk: Box<[u8]>,
}

/// What a read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brought {
    More,
    /// The input has ended.
    End {
        /// Within a line. Whoever was to write the rest is dead, and a part of an event is no event.
        torn: bool,
    },
}

impl<R: Read> Events<R> {
    pub(super) fn new(input: R) -> Events<R> {
        Events {
            input,
            lines: VecDeque::new(),
            begun: Vec::new(),
            chunk: vec![0; CHUNK].into_boxed_slice(),
        }
    }

    /// The next event, if all of it was read.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        self.lines.pop_front()
    }

    /// Reads once.
    ///
    /// # Errors
    /// The input cannot be read.
    pub(super) fn read(&mut self) -> io::Result<Brought> {
        let read = match self.input.read(&mut self.chunk) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(Brought::More),
            read => read?,
        };
        if read == 0 {
            let torn = !self.begun.is_empty();
            return Ok(Brought::End { torn });
        }
        let mut bytes = &self.chunk[..read];
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            self.begun.extend_from_slice(&bytes[..end]);
            let line = std::mem::take(&mut self.begun);
            if !line.trim_ascii().is_empty() {
                self.lines.push_back(line);
            }
            bytes = &bytes[end + 1..];
        }
        self.begun.extend_from_slice(bytes);
        Ok(Brought::More)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &[u8]) -> (Vec<Vec<u8>>, Brought) {
        let mut events = Events::new(input);
        let mut lines = Vec::new();
        loop {
            let brought = events.read().expect("readable");
            lines.extend(std::iter::from_fn(|| events.take()));
            if brought != Brought::More {
                return (lines, brought);
            }
        }
    }

    #[test]
    fn lines_of_any_length_are_events() {
        let long = vec![b'x'; 3 * CHUNK];
        let input = [&b"{}\n\n"[..], &long, b"\n[]\n"].concat();
        let (lines, end) = read(&input);
        assert_eq!(lines, [b"{}".to_vec(), long, b"[]".to_vec()]);
        assert_eq!(end, Brought::End { torn: false });
    }

    /// An input that a signal interrupts once, and that is broken then.
    struct Broken(bool);

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            let was_interrupted = std::mem::replace(&mut self.0, true);
            Err(match was_interrupted {
                false => io::ErrorKind::Interrupted.into(),
                true => io::ErrorKind::ConnectionReset.into(),
            })
        }
    }

    #[test]
    fn only_an_interrupted_read_is_no_error() {
        let mut events = Events::new(Broken(false));
        assert_eq!(events.read().expect("no error"), Brought::More);
        let error = events.read().expect_err("it would come again for ever");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_part_of_an_event_is_none() {
        let (lines, end) = read(b"{}\n{\"Rec");
        assert_eq!(lines, [b"{}"]);
        assert_eq!(end, Brought::End { torn: true });
    }
}
