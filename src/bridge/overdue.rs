//! A checkpoint that is due while the daemon awaits no answer: it cannot be sent, and after a while that is said.

use std::time::{Duration, Instant};

use crate::due::Due;

/// A checkpoint that has been due for this long without a message from the daemon is worth a warning.
const OVERDUE: Duration = Duration::from_secs(60);

/// Whether a checkpoint cannot be sent, and since when.
#[derive(Debug, Default)]
pub(super) struct Overdue {
    since: Option<Instant>,
    said: bool,
}

impl Overdue {
    /// The daemon has sent a message, in which what is due can be sent.
    pub(super) fn heard(&mut self) {
        self.since = None;
    }

    /// Warns once where a checkpoint is `due` and the daemon does not call; when to look again.
    pub(super) fn judge(&mut self, due: Due<()>, now: Instant) -> Option<Instant> {
        if self.said {
            return None;
        }
        match due {
            Due::Never => {
                self.since = None;
                None
            }
            Due::At(at) => Some(at),
            Due::Now(()) => {
                let warn_at = *self.since.get_or_insert(now) + OVERDUE;
                if now < warn_at {
                    return Some(warn_at);
                }
                self.said = true;
                log::warn!(
                    "a checkpoint has been due for {} s, but the daemon takes one only when it calls, and has not: set callProcessRecordsEvenForEmptyRecordList = true in its properties",
                    OVERDUE.as_secs()
                );
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUE: Due<()> = Due::Now(());
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_is_said_once_and_only_when_the_daemon_has_not_called_for_a_minute() {
        let (mut overdue, now) = (Overdue::default(), Instant::now());
        let later = now + SECOND * 30;
        assert_eq!(overdue.judge(Due::At(later), now), Some(later));
        assert_eq!(overdue.judge(DUE, later), Some(later + OVERDUE));
        assert_eq!(overdue.judge(DUE, later + SECOND), Some(later + OVERDUE));
        assert!(!overdue.said);
        assert_eq!(overdue.judge(DUE, later + OVERDUE), None);
        assert!(overdue.said);
        assert_eq!(overdue.judge(Due::At(later + OVERDUE * 2), later), None);
    }

    #[test]
    fn the_minute_begins_anew_with_a_message_and_when_nothing_is_due_any_more() {
        let (mut overdue, now) = (Overdue::default(), Instant::now());
        overdue.judge(DUE, now);
        overdue.heard();
        let later = now + OVERDUE;
        assert_eq!(overdue.judge(DUE, later), Some(later + OVERDUE));
        assert_eq!(overdue.judge(Due::Never, later), None);
        assert_eq!(
            overdue.judge(DUE, later + SECOND),
            Some(later + SECOND + OVERDUE)
        );
    }
}
