//! An older kclpipe in the place of the floors: `BENCH_OLDER=PROGRAM cargo bench` compares each row's
//! first side with that side of the older program, in runs that take turns.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The program that is measured.
const KCLPIPE: &str = env!("CARGO_BIN_EXE_kclpipe");

static OLDER: LazyLock<Option<PathBuf>> =
    LazyLock::new(|| std::env::var_os("BENCH_OLDER").map(PathBuf::from));

thread_local! {
    static TURN: Cell<bool> = const { Cell::new(false) };
}

/// Whether there is one.
pub(crate) fn is_given() -> bool {
    OLDER.is_some()
}

/// The kclpipe whose turn it is.
pub(crate) fn program() -> &'static Path {
    match &*OLDER {
        Some(older) if TURN.get() => older,
        _ => Path::new(KCLPIPE),
    }
}

/// Runs a side with the older one.
pub(crate) fn run<T>(side: impl FnOnce() -> T) -> T {
    TURN.set(true);
    let ran = side();
    TURN.set(false);
    ran
}
