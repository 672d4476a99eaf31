//! Lines in, lines out.
//!
//! [`Wire`] never sleeps: the caller says when the input is readable, and one call is one read.

use std::io::{self, Write};

use super::{Reply, Source};

/// How much one read asks for. The pipe is locked while it is read, so the daemon waits for the end of a larger one.
const READ: usize = 256 * 1024;

/// Somebody who listens to a conversation, and must neither hold it up nor fail it.
pub trait Tap {
    /// The daemon wrote this line.
    fn heard(&mut self, line: &str);
    /// We wrote this one.
    fn said(&mut self, line: &str);
    /// The input has ended.
    fn ended(&mut self);
}

/// The two streams between the daemon and this child, with the bytes of lines not yet complete.
pub struct Wire<'io> {
    input: &'io mut dyn Source,
    output: &'io mut dyn Write,
    /// What one read has brought.
    chunk: Vec<u8>,
    buffer: Vec<u8>,
    /// How much room a line is likely to need.
    likely: usize,
    /// Bytes at the buffer's start that are known to hold no line end.
    scanned: usize,
    ended: bool,
    tap: Option<Box<dyn Tap>>,
}

impl<'io> Wire<'io> {
    /// Reads from `input`, writes to `output`.
    pub fn new(input: &'io mut dyn Source, output: &'io mut dyn Write) -> Self {
        Wire {
            input,
            output,
            chunk: Vec::with_capacity(READ),
            buffer: Vec::new(),
            likely: 0,
            scanned: 0,
            ended: false,
            tap: None,
        }
    }

    /// The same, with somebody who listens.
    pub fn tapped(self, tap: Option<Box<dyn Tap>>) -> Self {
        Wire { tap, ..self }
    }

    /// Reads once. A read of nothing, or one that fails, is the end of input: nothing that the daemon
    /// may still send can reach us.
    pub fn fill(&mut self) {
        self.chunk.clear();
        match self.input.read(&mut self.chunk) {
            Ok(0) => self.end(),
            Ok(_) => self.keep_chunk(),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) => {}
            Err(e) => {
                log::error!("cannot read from the daemon: {e}; treating it as the end of input");
                self.end();
            }
        }
    }

    /// Room is made when the first bytes of a line are there: by then the line before it is done with as a rule, and
    /// the same memory serves, which is still in the processor's cache.
    fn keep_chunk(&mut self) {
        if self.buffer.is_empty() {
            self.buffer.reserve(self.likely);
        }
        self.buffer.extend_from_slice(&self.chunk);
    }

    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true)
            && let Some(tap) = &mut self.tap
        {
            tap.ended();
        }
    }

    /// The next line that is complete, without its end; blank ones are passed over. Text that is not
    /// UTF-8 is mended with replacement characters: the daemon writes in its platform's charset, and a
    /// partition key is all that can suffer.
    pub fn take_line(&mut self) -> Option<String> {
        while let Some(end) = self.line_end() {
            let line = self.take(end);
            if !line.trim_ascii().is_empty() {
                let line = String::from_utf8(line)
                    .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned());
                if let Some(tap) = &mut self.tap {
                    tap.heard(&line);
                }
                return Some(line);
            }
        }
        None
    }

    /// Takes the bytes before the line end that is there. Many of them are not copied; few must not keep memory for
    /// many.
    fn take(&mut self, end: usize) -> Vec<u8> {
        self.scanned = 0;
        if end < READ {
            let line = self.buffer[..end].to_vec();
            self.buffer.drain(..=end);
            return line;
        }
        // The next one is likely to be as long: room that grows step by step would be copied at each.
        self.likely = self.buffer.len() + READ;
        let rest = self.buffer[end + 1..].to_vec();
        let mut line = std::mem::replace(&mut self.buffer, rest);
        line.truncate(end);
        line
    }

    /// Whether a line is complete, so that more input need not be read yet. Blank ones are dropped: while
    /// one of them counted, nobody would notice the end of input behind it.
    pub fn has_line(&mut self) -> bool {
        while let Some(end) = self.line_end() {
            if !self.buffer[..end].trim_ascii().is_empty() {
                return true;
            }
            self.buffer.drain(..=end);
            self.scanned = 0;
        }
        false
    }

    /// Whether the input has ended. What is left in the buffer then is a torn line, which counts for
    /// nothing.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Writes one message in one write: between two line ends, so that nothing printed by mistake can
    /// stick to it (the daemon passes over blank lines). A failure is the end of input as well.
    pub fn write(&mut self, reply: &Reply<'_>) {
        let text = format!(
            "\n{}\n",
            serde_json::to_string(reply).expect("a reply is plain data")
        );
        log::debug!("to the daemon: {}", text.trim());
        if let Some(tap) = &mut self.tap {
            tap.said(text.trim());
        }
        if let Err(e) = self
            .output
            .write_all(text.as_bytes())
            .and_then(|()| self.output.flush())
        {
            log::error!("cannot write to the daemon: {e}; treating it as the end of input");
            self.end();
        }
    }

    fn line_end(&mut self) -> Option<usize> {
        match memchr::memchr(b'\n', &self.buffer[self.scanned..]) {
            Some(at) => Some(self.scanned + at),
            None => {
                self.scanned = self.buffer.len();
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An input that gives so many bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Source for Slow<'_> {
        fn read(&mut self, to: &mut Vec<u8>) -> io::Result<usize> {
            let (now, later) = self.0.split_at(self.1.min(self.0.len()));
            to.extend_from_slice(now);
            self.0 = later;
            Ok(now.len())
        }
    }

    /// Reads all of `input`, `step` bytes at a time, and returns its lines.
    fn lines(input: &[u8], step: usize) -> Vec<String> {
        let mut output = Vec::new();
        let mut slow = Slow(input, step);
        let mut wire = Wire::new(&mut slow, &mut output);
        let mut lines = Vec::new();
        while !wire.ended() {
            wire.fill();
            while wire.has_line() {
                lines.extend(wire.take_line());
            }
        }
        lines
    }

    #[test]
    fn lines_come_whole_however_the_reads_cut_them() {
        for step in [1, 2, 5, 1000] {
            assert_eq!(
                lines(b"one\n\ntwo\r\n  \nthree\ntorn", step),
                ["one", "two\r", "three"],
                "step {step}"
            );
        }
    }

    #[test]
    fn a_long_line_comes_whole_and_so_does_what_stands_behind_it() {
        let long = "x".repeat(READ + 5);
        let input = format!("one\n{long}\ntwo\n");
        for step in [1000, READ, 3 * READ] {
            assert_eq!(lines(input.as_bytes(), step), ["one", &long, "two"]);
        }
    }

    #[test]
    fn a_blank_line_is_no_line_in_hand() {
        let (mut input, mut output) = (Slow(b"\n  \r\n\none\n", READ), Vec::new());
        let mut wire = Wire::new(&mut input, &mut output);
        wire.fill();
        assert!(wire.has_line());
        assert_eq!(wire.take_line().as_deref(), Some("one"));
        assert!(!wire.has_line());
    }

    #[test]
    fn bytes_that_are_not_utf8_are_mended_not_refused() {
        assert_eq!(lines(b"a\xffb\n", 9), ["a\u{fffd}b"]);
    }

    #[test]
    fn a_message_is_one_write_between_line_ends() {
        struct Writes(Vec<Vec<u8>>);
        impl Write for Writes {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.push(bytes.to_vec());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writes = Writes(Vec::new());
        Wire::new(&mut Slow(b"", 1), &mut writes).write(&Reply::Status {
            response_for: "initialize",
        });
        assert_eq!(
            writes.0,
            [b"\n{\"action\":\"status\",\"responseFor\":\"initialize\"}\n"]
        );
    }

    #[test]
    fn a_daemon_that_is_gone_is_the_end_of_input() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut input = Slow(b"", 1);
        let mut gone = Gone;
        let mut wire = Wire::new(&mut input, &mut gone);
        wire.write(&Reply::Status {
            response_for: "initialize",
        });
        assert!(wire.ended());
    }
}
