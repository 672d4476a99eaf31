//! The way of a child to its end.

use std::time::{Duration, Instant};

use super::Stop;
use crate::due::Due;

/// How long the output pipes are read after the process has ended, if something keeps them open.
const DRAIN: Duration = Duration::from_millis(100);

/// How long a process may take to die once it was killed. Only one that waits for a sick device takes longer,
/// or one that we may not signal.
pub(super) const DYING: Duration = Duration::from_secs(5);

/// Where a child is on the way to its end. Each state but the first has a time at which it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// Its input is closed; at this time it is stopped.
    Finishing {
        stop_at: Instant,
        stop: Stop,
    },
    /// It was sent the stop signal; at this time it is killed.
    Stopping {
        kill_at: Instant,
    },
    /// It was sent KILL; at this time nobody waits for it any more.
    Killed {
        give_up_at: Instant,
    },
    /// It has ended but is not reaped, so its group's number still is its own.
    Ended {
        read_until: Instant,
    },
    /// It lives on, and we do without it.
    Lost,
}

/// What a child's way to its end asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It has not ended by itself.
    Stop(Stop),
    /// It has not ended though it was asked to.
    Kill,
    /// It has not ended though it was killed.
    GiveUp,
    /// Its outputs were waited for long enough.
    Reap,
}

impl Phase {
    pub(super) fn finishing(stop: Stop, now: Instant) -> Phase {
        Phase::Finishing {
            stop_at: now + stop.timeout,
            stop,
        }
    }

    pub(super) fn stopping(stop: Stop, now: Instant) -> Phase {
        Phase::Stopping {
            kill_at: now + stop.timeout,
        }
    }

    pub(super) fn killed(now: Instant) -> Phase {
        Phase::Killed {
            give_up_at: now + DYING,
        }
    }

    pub(super) fn ended(now: Instant) -> Phase {
        Phase::Ended {
            read_until: now + DRAIN,
        }
    }

    /// What is due by time. No phase but the first and the last is without an end.
    pub(super) fn due(&self, now: Instant) -> Due<Step> {
        let (at, step) = match *self {
            Phase::Running | Phase::Lost => return Due::Never,
            Phase::Finishing { stop_at, stop } => (stop_at, Step::Stop(stop)),
            Phase::Stopping { kill_at } => (kill_at, Step::Kill),
            Phase::Killed { give_up_at } => (give_up_at, Step::GiveUp),
            Phase::Ended { read_until } => (read_until, Step::Reap),
        };
        Due::from(Some(at), now, step)
    }

    /// Whether it was sent a signal, and its end is awaited.
    pub(super) fn is_signalled(&self) -> bool {
        matches!(self, Phase::Stopping { .. } | Phase::Killed { .. })
    }
}

/// When a child is looked at without a signal that one has ended: the signal may be blocked or lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Looks {
    last: Instant,
    /// The next pause where both outputs are closed: an end follows soon.
    pause: Duration,
}

impl Looks {
    const SHORTEST: Duration = Duration::from_millis(10);
    const WHILE_STOPPED: Duration = Duration::from_secs(1);
    const WHILE_RUNNING: Duration = Duration::from_secs(60);

    pub(super) fn new(now: Instant) -> Looks {
        Looks {
            last: now,
            pause: Looks::SHORTEST,
        }
    }

    /// The time of the next look at a child, of which an end is expected soon or is not.
    pub(super) fn next(&self, phase: Phase, closed: bool) -> Option<Instant> {
        match phase {
            Phase::Ended { .. } | Phase::Lost => None,
            _ if closed => Some(self.last + self.pause),
            _ if phase.is_signalled() => Some(self.last + Looks::WHILE_STOPPED),
            Phase::Running
            | Phase::Finishing { .. }
            | Phase::Stopping { .. }
            | Phase::Killed { .. } => Some(self.last + Looks::WHILE_RUNNING),
        }
    }

    /// It was looked at.
    pub(super) fn looked(&mut self, now: Instant, closed: bool) {
        self.last = now;
        if closed {
            self.pause = (self.pause * 2).min(Looks::WHILE_STOPPED);
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::Signal;

    use super::*;

    #[test]
    fn no_state_but_the_first_is_without_an_end() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let stop = Stop {
            signal: Signal::TERM,
            timeout: second * 3,
        };
        let mut now = start;
        let mut phase = Phase::finishing(stop, now);
        for (after, step) in [
            (3, Step::Stop(stop)),
            (3, Step::Kill),
            (DYING.as_secs(), Step::GiveUp),
        ] {
            let before = now;
            now += Duration::from_secs(after);
            assert_eq!(phase.due(before), Due::At(now));
            assert_eq!(phase.due(now), Due::Now(step));
            phase = match step {
                Step::Stop(stop) => Phase::stopping(stop, now),
                Step::Kill => Phase::killed(now),
                Step::GiveUp | Step::Reap => Phase::Lost,
            };
        }
        assert_eq!((phase, phase.due(now)), (Phase::Lost, Due::Never));
        let ended = Phase::ended(now);
        assert_eq!(ended.due(now + DRAIN), Due::Now(Step::Reap));
    }

    #[test]
    fn a_child_is_looked_at_without_a_signal_soon_where_an_end_is_likely() {
        let now = Instant::now();
        let (mut looks, at) = (Looks::new(now), |millis| {
            Some(now + Duration::from_millis(millis))
        });
        let killed = Phase::killed(now);
        assert_eq!(looks.next(Phase::Running, false), at(60_000));
        assert_eq!(looks.next(killed, false), at(1_000));
        for pause in [10, 20, 40, 80, 160, 320, 640, 1_000, 1_000] {
            assert_eq!(looks.next(Phase::Running, true), at(pause));
            looks.looked(now, true);
        }
        assert_eq!(looks.next(Phase::ended(now), true), None);
    }
}
