//! What the user sees while a replay runs: on a terminal a progress bar below all lines, after a while.
//!
//! The children's stderr goes to the terminal by way of a pipe of ours: a line that they wrote over the
//! bar would leave a piece of it behind.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IsTerminal, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use rustix::io::ioctl_fionbio;

/// How long a replay takes before the bar is of use.
const PATIENCE: Duration = Duration::from_secs(2);

/// How much is read of the children's stderr at a time, and how much of a line is waited for.
const CHUNK: usize = 16 * 1024;

/// How many such reads there are before the children's other output has its turn.
const TURN: usize = 16;

/// Where lines and the bar are shown.
pub(crate) struct Screen {
    /// The command whose screen it is.
    command: &'static str,
    bar: ProgressBar,
    /// When the bar is to appear; `None` where there is none.
    bar_at: Option<Instant>,
    relay: Option<Relay>,
}

/// What the children write on stderr.
struct Relay {
    reader: PipeReader,
    writer: PipeWriter,
    /// The beginning of a line: the bar would take the place of its rest.
    begun: RefCell<Vec<u8>>,
}

impl Screen {
    /// The screen of this process, which runs this command, at `now`.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub(crate) fn new(command: &'static str, now: Instant) -> io::Result<Screen> {
        let is_terminal = io::stderr().is_terminal();
        let relay = is_terminal.then(Relay::new).transpose()?;
        let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::hidden());
        Ok(Screen {
            command,
            bar: bar.with_style(style()),
            bar_at: is_terminal.then(|| now + PATIENCE),
            relay,
        })
    }

    /// Where the children's stderr goes; `None` where it is our own.
    pub(super) fn children_stderr(&self) -> Option<BorrowedFd<'_>> {
        self.relay.as_ref().map(|relay| relay.writer.as_fd())
    }

    /// What can be read if a child has written something there.
    pub(super) fn relayed(&self) -> Option<BorrowedFd<'_>> {
        self.relay.as_ref().map(|relay| relay.reader.as_fd())
    }

    /// Shows the lines that the children have written by now.
    pub(super) fn pass_on(&self) {
        let lines = self.relay.as_ref().map(Relay::lines);
        self.show(&lines.unwrap_or_default());
    }

    fn show(&self, text: &[u8]) {
        if !text.is_empty() {
            self.bar.suspend(|| {
                let _ = io::stderr().write_all(text);
            });
        }
    }

    /// Shows a line of ours.
    pub(super) fn say(&self, text: &str) {
        self.pass_on();
        self.bar.suspend(|| say_as(self.command, text));
    }

    /// How far the work is, at `now`.
    pub(super) fn progress(&self, done: usize, of: usize, now: Instant) {
        if self.is_due(now) && self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_length(of as u64);
        self.bar.set_position(done as u64);
    }

    /// When the bar is to appear, if that is still to come.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.bar_at.filter(|_| !self.is_due(now))
    }

    /// Takes the bar away, after all that the children have written.
    pub(super) fn clear(&self) {
        self.pass_on();
        let rest = self.relay.as_ref().map(|relay| relay.begun.take());
        self.bar.finish_and_clear();
        self.show(&rest.unwrap_or_default());
    }

    fn is_due(&self, now: Instant) -> bool {
        self.bar_at.is_some_and(|at| now >= at)
    }
}

impl Relay {
    fn new() -> io::Result<Relay> {
        let (reader, writer) = io::pipe()?;
        ioctl_fionbio(&reader, true)?;
        Ok(Relay {
            reader,
            writer,
            begun: RefCell::default(),
        })
    }

    /// The whole lines that can be read, and of one that is too long what there is.
    fn lines(&self) -> Vec<u8> {
        let (mut text, mut chunk) = (self.begun.take(), [0; CHUNK]);
        for _ in 0..TURN {
            match (&self.reader).read(&mut chunk) {
                Ok(length @ 1..) => text.extend_from_slice(&chunk[..length]),
                _ => break,
            }
        }
        let whole = text
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |at| at + 1);
        if text.len() - whole < CHUNK {
            self.begun.replace(text.split_off(whole));
        }
        text
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{pos} of {len} records {wide_bar} {rate}/s")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = write!(out, "{:.0}", state.per_sec());
        })
}

/// Writes a line for the user on stderr; nobody may be there to read it.
pub(super) fn say(text: &str) {
    say_as("replay", text);
}

fn say_as(command: &str, text: &str) {
    let _ = writeln!(io::stderr(), "kclpipe {command}: {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lines_are_passed_on_until_the_end() {
        let relay = Relay::new().expect("a pipe");
        let lines = |text: &[u8]| {
            (&relay.writer).write_all(text).expect("room");
            relay.lines()
        };
        assert_eq!(lines(b"one\ntwo\nthr"), b"one\ntwo\n");
        assert_eq!(lines(b"e"), b"");
        assert_eq!(lines(b"e\n"), b"three\n");
        assert_eq!(lines(b"\n"), b"\n");
        assert_eq!(relay.lines(), b"");
        let long = vec![b'x'; CHUNK];
        assert_eq!(lines(&long), long, "it is not waited for without end");
        assert_eq!(lines(b"rest"), b"");
        assert_eq!(relay.begun.take(), b"rest");
    }
}
