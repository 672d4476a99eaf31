//! A handler's output, cut into lines.

/// Bytes on their way to becoming lines. A line longer than the limit is cut there; what follows up to
/// its end is read and dropped, so that a handler can never fill our memory nor block on us.
#[derive(Debug)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    limit: usize,
    /// The line under way has reached the limit.
    cut: bool,
}

impl Lines {
    pub(super) fn new(limit: usize) -> Lines {
        Lines {
            buffer: Vec::new(),
            limit,
            cut: false,
        }
    }

    /// Takes in `bytes` and hands each line that is complete to `line`, without its line feed.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            if self.buffer.is_empty() && !self.cut && end <= self.limit {
                line(&bytes[..end]);
            } else {
                self.keep(&bytes[..end]);
                line(&self.buffer);
            }
            self.buffer.clear();
            super::give_back(&mut self.buffer);
            self.cut = false;
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// At the end of output: a last line without a line feed counts as well.
    pub(super) fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.buffer.is_empty() {
            line(&self.buffer);
            self.buffer.clear();
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.limit - self.buffer.len();
        self.cut |= bytes.len() > room;
        self.buffer
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// The last bytes of an output, for reports.
#[derive(Debug)]
pub(super) struct Tail {
    bytes: Vec<u8>,
    limit: usize,
}

impl Tail {
    pub(super) fn new(limit: usize) -> Tail {
        Tail {
            bytes: Vec::new(),
            limit,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes
            .extend_from_slice(&bytes[bytes.len().saturating_sub(self.limit)..]);
        // Moving the tail down on every push would be quadratic; twice the limit is little enough.
        if self.bytes.len() > 2 * self.limit {
            self.bytes.drain(..self.bytes.len() - self.limit);
        }
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes
            .drain(..self.bytes.len().saturating_sub(self.limit));
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(limit: usize, pieces: &[&str]) -> Vec<String> {
        let (mut lines, mut got) = (Lines::new(limit), Vec::new());
        for piece in pieces {
            lines.push(piece.as_bytes(), |line| {
                got.push(String::from_utf8_lossy(line).into_owned())
            });
        }
        lines.finish(|line| got.push(format!("{}$", String::from_utf8_lossy(line))));
        got
    }

    #[test]
    fn lines_come_whole_however_they_were_written() {
        assert_eq!(
            lines(99, &["one\ntw", "o\n", "\nla", "st"]),
            ["one", "two", "", "last$"]
        );
    }

    #[test]
    fn what_a_long_line_needed_is_given_back() {
        let mut lines = Lines::new(1 << 24);
        lines.push(&vec![b'x'; 1 << 23], |_| {});
        lines.push(b"\nab\n", |_| {});
        assert_eq!(lines.buffer.capacity(), 0);
    }

    #[test]
    fn a_line_too_long_is_cut_and_the_next_one_is_not() {
        assert_eq!(lines(4, &["123456\nab\n"]), ["1234", "ab"]);
        assert_eq!(
            lines(4, &["123", "456", "789\nab\n1234\n"]),
            ["1234", "ab", "1234"]
        );
        assert_eq!(lines(4, &["12345"]), ["1234$"]);
    }

    #[test]
    fn the_tail_is_the_last_bytes() {
        let mut tail = Tail::new(4);
        for piece in ["ab", "cdefghijkl", "m", "n"] {
            tail.push(piece.as_bytes());
        }
        assert_eq!(tail.into_bytes(), b"klmn");
    }
}
