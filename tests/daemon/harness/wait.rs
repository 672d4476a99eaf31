//! Waiting for things to happen.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take. Far longer than it ever does: it bounds a failure and measures
/// nothing.
const DEADLINE: Duration = Duration::from_secs(180);
const PAUSE: Duration = Duration::from_millis(50);

/// Looks until there is something to see, and returns it.
#[track_caller]
pub(crate) fn until_some<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_some_or(what, look, || ())
}

/// The same, but calls `give_up` before it fails: to show what may say why.
#[track_caller]
pub(crate) fn until_some_or<T>(
    what: &str,
    mut look: impl FnMut() -> Option<T>,
    give_up: impl FnOnce(),
) -> T {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        if let Some(seen) = look() {
            return seen;
        }
        thread::sleep(PAUSE);
    }
    give_up();
    panic!("waited {DEADLINE:?} for {what}");
}

/// Looks until it is so.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    until_some(what, || is_so().then_some(()));
}
