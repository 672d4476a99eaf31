//! What handlers print, as log lines.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use log::Level;

use crate::clean;

/// One for all handlers and both of their outputs, as there is one log.
static THROTTLE: Mutex<Throttle> = Mutex::new(Throttle {
    second: None,
    lines: 0,
});

/// Lines of handler output that are logged in one second.
const LINES_A_SECOND: u32 = 100;

/// This many bytes of a line are shown in a message about it.
const EXCERPT: usize = 200;

/// Holds back handler output beyond a rate: the daemon logs each of our lines twice, and a handler in a
/// loop would fill its disk.
#[derive(Debug, Default)]
struct Throttle {
    second: Option<Instant>,
    lines: u32,
}

impl Throttle {
    /// Whether one more line may be logged; `held_back` is told of those that were not, once a second.
    fn allows(&mut self, now: Instant, held_back: impl FnOnce(u32)) -> bool {
        if self
            .second
            .is_none_or(|second| now >= second + Duration::from_secs(1))
        {
            if let over @ 1.. = self.take_over() {
                held_back(over);
            }
            self.second = Some(now);
        }
        self.lines = self.lines.saturating_add(1);
        self.lines <= LINES_A_SECOND
    }

    /// How many lines were too many; the count starts again.
    fn take_over(&mut self) -> u32 {
        std::mem::take(&mut self.lines).saturating_sub(LINES_A_SECOND)
    }
}

/// Reports at the end how many lines were suppressed in the last second.
pub(super) fn report_suppressed() {
    let over = THROTTLE.lock().map(|mut throttle| throttle.take_over());
    if let Ok(over @ 1..) = over {
        log::warn!(target: "handler", "lines of handler output suppressed: {over} (limit: {LINES_A_SECOND} lines/s)");
    }
}

/// Logs a line of a handler's stderr, at the level that it begins with.
pub(super) fn log_stderr(line: &[u8]) {
    let (level, text) = level_of(line);
    log_line(level, text);
}

/// The level that a line of stderr names in its first three bytes, and the text after them. A line that names
/// none is information: most of what programs print there is no trouble.
fn level_of(line: &[u8]) -> (Level, &[u8]) {
    match line {
        [b'E', b'!', b' ', text @ ..] => (Level::Error, text),
        [b'W', b'!', b' ', text @ ..] => (Level::Warn, text),
        [b'I', b'!', b' ', text @ ..] => (Level::Info, text),
        [b'D', b'!', b' ', text @ ..] => (Level::Debug, text),
        text => (Level::Info, text),
    }
}

/// Logs a line of a handler's stdout that is no answer.
pub(crate) fn log_stdout(line: &[u8]) {
    log_line(Level::Debug, line);
}

fn log_line(level: Level, line: &[u8]) {
    if !log::log_enabled!(target: "handler", level) {
        return;
    }
    let held_back = |lines| log::log!(target: "handler", level, "lines of handler output suppressed: {lines} (limit: {LINES_A_SECOND} lines/s)");
    let allowed = THROTTLE
        .lock()
        .is_ok_and(|mut throttle| throttle.allows(Instant::now(), held_back));
    if allowed {
        log::log!(target: "handler", level, "{}", printable(line));
    }
}

/// The beginning of a line, for a message about it.
pub(crate) fn excerpt(line: &[u8]) -> String {
    printable(&line[..line.len().min(EXCERPT)])
}

/// Text that cannot disturb a terminal or forge a log line.
fn printable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
    clean::line(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_rate_is_counted_and_told() {
        let (mut throttle, now, mut told) = (Throttle::default(), Instant::now(), Vec::new());
        let logged = (0..250)
            .filter(|_| throttle.allows(now, |over| told.push(over)))
            .count();
        assert_eq!((logged, told.as_slice()), (100, &[][..]));
        assert!(throttle.allows(now + Duration::from_secs(1), |over| told.push(over)));
        assert!(throttle.allows(now + Duration::from_secs(2), |over| told.push(over)));
        assert_eq!(told, [150]);
        assert_eq!(throttle.take_over(), 0);
    }

    #[test]
    fn a_line_may_name_its_level() {
        for (line, level, text) in [
            ("E! lost", Level::Error, "lost"),
            ("W! late", Level::Warn, "late"),
            ("I! here", Level::Info, "here"),
            ("D!  two spaces", Level::Debug, " two spaces"),
            ("E!", Level::Info, "E!"),
            ("E!lost", Level::Info, "E!lost"),
            (" E! lost", Level::Info, " E! lost"),
            ("T! lost", Level::Info, "T! lost"),
            ("", Level::Info, ""),
        ] {
            assert_eq!(
                level_of(line.as_bytes()),
                (level, text.as_bytes()),
                "{line}"
            );
        }
    }

    #[test]
    fn control_characters_do_not_reach_the_log() {
        assert_eq!(printable(b"a\x1b[31m\tb\xff\r"), "a\u{fffd}[31m\tb\u{fffd}");
    }
}
