//! What is due, and when: one answer to both questions, so that what wakes us and what is done then cannot disagree.

use std::time::Instant;

/// Something that is to be done, now or later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due<T> {
    /// Now.
    Now(T),
    /// Nothing before this time, if nothing else happens.
    At(Instant),
    /// Nothing, until something else happens.
    Never,
}

impl<T> Due<T> {
    /// `what`, from `at` on; never without a time.
    pub fn from(at: Option<Instant>, now: Instant, what: T) -> Due<T> {
        match at {
            Some(at) if now >= at => Due::Now(what),
            Some(at) => Due::At(at),
            None => Due::Never,
        }
    }

    /// The same, but not before `pause` is over.
    pub fn not_before(self, pause: Option<Instant>, now: Instant) -> Due<T> {
        match (pause.filter(|pause| *pause > now), self) {
            (Some(pause), Due::Now(_)) => Due::At(pause),
            (Some(pause), Due::At(at)) => Due::At(at.max(pause)),
            (_, due) => due,
        }
    }

    /// This or the other, whichever is sooner; this, where both are due now.
    pub fn or(self, other: Due<T>) -> Due<T> {
        match (self, other) {
            (Due::Now(what), _) => Due::Now(what),
            (_, Due::Now(what)) => Due::Now(what),
            (Due::At(one), Due::At(other)) => Due::At(one.min(other)),
            (Due::Never, due) | (due, Due::Never) => due,
        }
    }

    /// The same with something else to be done.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Due<U> {
        match self {
            Due::Now(what) => Due::Now(change(what)),
            Due::At(at) => Due::At(at),
            Due::Never => Due::Never,
        }
    }

    /// What is due now.
    pub fn now(self) -> Option<T> {
        match self {
            Due::Now(what) => Some(what),
            Due::At(_) | Due::Never => None,
        }
    }

    /// When to look again, at `now` for what is due.
    pub fn wake(&self, now: Instant) -> Option<Instant> {
        match self {
            Due::Now(_) => Some(now),
            Due::At(at) => Some(*at),
            Due::Never => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_sooner_of_two_is_due_and_a_pause_holds_up_both() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let never: Due<u8> = Due::Never;
        assert_eq!(never.or(Due::At(later)), Due::At(later));
        assert_eq!(Due::At(later).or(Due::Now(1)), Due::Now(1));
        assert_eq!(Due::Now(1).or(Due::Now(2)), Due::Now(1));
        assert_eq!(Due::<u8>::At(later).or(Due::At(now)), Due::At(now));
        assert_eq!(Due::Now(1).not_before(Some(later), now), Due::At(later));
        assert_eq!(Due::Now(1).not_before(Some(now), now), Due::Now(1));
        assert_eq!(never.not_before(Some(later), now), Due::Never);
    }

    #[test]
    fn a_time_that_has_come_is_now() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        assert_eq!(Due::from(Some(now), now, 'x'), Due::Now('x'));
        assert_eq!(Due::from(Some(later), now, 'x').wake(now), Some(later));
        assert_eq!(Due::from(None, now, 'x').now(), None);
    }
}
