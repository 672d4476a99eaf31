//! An option of kclpipe's after `--`, where it is the handler's.

use std::cell::LazyCell;
use std::ffi::OsString;

use super::OfBridge;

/// The first option of kclpipe's own among a handler's arguments. Names that other programs have, too, are
/// left alone, as curl's --retry-delay.
pub(crate) fn misplaced(arguments: &[OsString]) -> Option<String> {
    const OWN: [&str; 10] = [
        "checkpoint-",
        "dead-letter",
        "keepalive",
        "max-attempts",
        "max-consecutive-failures",
        "max-record",
        "on-exit",
        "on-failure",
        "retry-max-delay",
        "stats-every",
    ];
    let options = LazyCell::new(OfBridge::command);
    let name = |word: &OsString| {
        let name = word.to_str()?.strip_prefix("--")?.split('=').next()?;
        // A name of kclpipe's that other programs have, too, may well be meant for the handler.
        let own = OWN.iter().any(|own| name.starts_with(own));
        let is_known = |name| {
            options
                .get_arguments()
                .any(|of| of.get_long() == Some(name))
        };
        (own && is_known(name)).then(|| format!("--{name}"))
    };
    arguments.iter().find_map(name)
}
