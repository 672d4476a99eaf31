//! An option of kclpipe's after `--`, where it is the handler's.

use std::ffi::OsString;

use clap::CommandFactory;

use super::Cli;

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
    let options = Cli::command();
    let name = |word: &OsString| {
        let name = word.to_str()?.strip_prefix("--")?.split('=').next()?;
        // A name of kclpipe's that other programs have, too, may well be meant for the handler.
        let own = OWN.iter().any(|own| name.starts_with(own));
        let mut known = options
            .get_arguments()
            .filter_map(|argument| argument.get_long());
        known
            .any(|known| own && known == name)
            .then(|| format!("--{name}"))
    };
    arguments.iter().find_map(name)
}
