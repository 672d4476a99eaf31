//! Names that were others once: who uses an old one is shown the new one.

/// Whose option it is (`None` is the bridge), what was written, and what to write.
const OPTIONS: [(Option<&str>, &str, &str); 5] = [
    (None, "--record", "--capture"),
    (None, "--record-data", "--capture-data"),
    (Some("check"), "--format", "--json; text is the default"),
    (Some("replay"), "--report", "--json; text is the default"),
    (Some("launch"), "--version", "--kcl"),
];

/// Values that have another name: the option, the value, and what to write.
const VALUES: [(&str, &str, &str); 1] = [("--input-format", "recording", "capture")];

/// Variables that stood for an option or for an exit code.
const VARIABLES: [(&str, &str); 6] = [
    ("KCLPIPE_RECORD", "KCLPIPE_CAPTURE"),
    ("KCLPIPE_RECORD_DATA", "KCLPIPE_CAPTURE_DATA"),
    ("KCLPIPE_RETRY", "KCLPIPE_EXIT_RETRY"),
    ("KCLPIPE_REJECT", "KCLPIPE_EXIT_REJECT"),
    ("KCLPIPE_CHECKPOINT", "KCLPIPE_EXIT_CHECKPOINT"),
    ("KCLPIPE_HALT", "KCLPIPE_EXIT_HALT"),
];

/// What to write instead of an option of this subcommand (`None` is the bridge), if it had that name.
pub(super) fn option(subcommand: Option<&str>, old: &str) -> Option<String> {
    let known = OPTIONS.iter();
    let mut found = known.filter(|(of, name, _)| (*of, *name) == (subcommand, old));
    let (_, _, new) = found.next()?;
    Some(format!("{old} is now {new}"))
}

/// What to write instead of a value, if it had that name; `option` as clap shows it, with its value's name.
pub(super) fn value(option: &str, old: &str) -> Option<String> {
    let option = option.split(' ').next()?;
    let known = VALUES.iter();
    let mut found = known.filter(|(of, name, _)| (*of, *name) == (option, old));
    let (_, _, new) = found.next()?;
    Some(format!("{option} {old} is now {option} {new}"))
}

/// The new name of a variable, if it had another one.
pub(super) fn variable(name: &str) -> Option<&'static str> {
    let mut known = VARIABLES.iter();
    known.find(|(old, _)| *old == name).map(|(_, new)| *new)
}
