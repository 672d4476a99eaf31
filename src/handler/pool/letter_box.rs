//! Dead letters on their way into a file: when they are offered to it, and what is said if it does not take
//! them. The handlers of their records are not run again for that.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::backoff::Delays;
use crate::dead_letter::Appended;
use crate::handler::held::shown;

/// The first pause before a locked file is looked at again, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(100));

/// A lock that is held for longer than a disk takes is worth a line.
const WORTH_A_LINE: Duration = Duration::from_millis(300);

/// For so long a disk may be busy; who holds a lock for longer is at fault.
const WORTH_AN_ERROR: Duration = Duration::from_secs(10);

/// The time between two such lines.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// The file, and when letters are offered to it again.
#[derive(Debug)]
pub(super) struct LetterBox {
    path: PathBuf,
    delays: Delays,
    /// Failures in a row.
    failures: u32,
    not_before: Option<Instant>,
    locked: Option<Locked>,
}

/// What became of letters.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Posted {
    /// They are kept.
    Kept,
    /// Somebody else writes; they are offered again soon.
    Later,
    /// They could not be written, for this reason; they are offered again after this time.
    Failed(String, Duration),
}

/// A wait for somebody else's lock.
#[derive(Clone, Copy, Debug)]
struct Locked {
    since: Instant,
    pause: Duration,
    said: Option<(Instant, log::Level)>,
}

impl LetterBox {
    pub(super) fn new(path: PathBuf, delays: Delays) -> LetterBox {
        LetterBox {
            path,
            delays,
            failures: 0,
            not_before: None,
            locked: None,
        }
    }

    /// Where the letters are.
    pub(super) fn place(&self) -> String {
        format!("'{}'", self.path.display())
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether letters may be offered now.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.not_before.is_none_or(|at| now >= at)
    }

    /// When they may.
    pub(super) fn free_at(&self, now: Instant) -> Instant {
        self.not_before.unwrap_or(now)
    }

    /// What came of letters that were offered to the file.
    pub(super) fn posted(&mut self, result: Result<Appended>, now: Instant) -> Posted {
        match result {
            Ok(Appended::Kept) => {
                (self.failures, self.not_before, self.locked) = (0, None, None);
                Posted::Kept
            }
            Ok(Appended::Locked(holder)) => {
                let locked = self.locked.get_or_insert_with(|| Locked::new(now));
                if let Some(level) = locked.judge(now) {
                    let waited = shown(now - locked.since);
                    log::log!(
                        level,
                        "{}",
                        lock_line(&self.place(), holder, &waited.to_string())
                    );
                }
                // A lock is nobody's fault: it is asked for again soon, and no failure is counted.
                self.not_before = self.locked.as_mut().map(|locked| now + locked.pause());
                Posted::Later
            }
            Err(e) => {
                self.failures += 1;
                let delay = self.delays.after(self.failures);
                (self.not_before, self.locked) = (Some(now + delay), None);
                Posted::Failed(format!("{e:#}"), delay)
            }
        }
    }
}

impl Locked {
    fn new(now: Instant) -> Locked {
        Locked {
            since: now,
            pause: PAUSES.0,
            said: None,
        }
    }

    /// The time until the next look.
    fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSES.1);
        pause
    }

    /// Whether to say that the lock is waited for, and how loudly.
    fn judge(&mut self, now: Instant) -> Option<log::Level> {
        let level = match now - self.since {
            waited if waited >= WORTH_AN_ERROR => log::Level::Error,
            waited if waited >= WORTH_A_LINE => log::Level::Warn,
            _ => return None,
        };
        let is_old = |(at, before): (Instant, log::Level)| level < before || now >= at + SAY_AGAIN;
        if !self.said.is_none_or(is_old) {
            return None;
        }
        self.said = Some((now, level));
        Some(level)
    }
}

fn lock_line(place: &str, holder: Option<u32>, waited: &str) -> String {
    let who = holder.map_or("another process".to_owned(), |pid| format!("process {pid}"));
    format!(
        "{who} has locked the dead-letter file {place} for {waited}; dead letters wait for it, and so does the checkpoint"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_looked_at_often_and_spoken_of_seldom() {
        let (start, mut said, mut looks) = (Instant::now(), Vec::new(), 0);
        let (mut locked, mut now) = (Locked::new(start), start);
        while now < start + Duration::from_secs(75) {
            said.extend(
                locked
                    .judge(now)
                    .map(|level| ((now - start).as_millis() / 100, level)),
            );
            now += locked.pause();
            looks += 1;
        }
        use log::Level::{Error, Warn};
        assert_eq!(said, [(3, Warn), (100, Error), (700, Error)], "tenths");
        assert!(looks > 700, "{looks} looks");
    }

    #[test]
    fn what_a_lock_is_held_by_is_in_the_line() {
        let line = lock_line("'dead'", Some(7), "1s");
        assert!(
            line.contains("process 7 has locked the dead-letter file 'dead' for 1s"),
            "{line}"
        );
        assert!(
            lock_line("'dead'", None, "1s")
                .contains("another process has locked the dead-letter file")
        );
    }
}
