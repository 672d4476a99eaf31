//! What the daemon makes of one line: whether it knows the key, and whether it applies the value.

use super::keys::{self, Found, Key, Kind};
use super::report::{Finding, Severity, Trouble, refused, shown, trailing_blanks};
use super::{Scope, Version, command, forms, providers};
use crate::properties::Property;

/// A byte order mark of UTF-8, as Java reads it.
pub(super) const MARK: &str = "\u{ef}\u{bb}\u{bf}";

/// A version that cannot hand the dimensions of metrics on (`ConfigurationSettableUtils` looks for a
/// setter of its own type).
const NO_DIMENSIONS: Version = Version(2, 5, 4);

/// What is wrong with a line by itself.
pub(super) fn examine(property: &Property, scope: &Scope) -> Vec<Finding> {
    let of_key = match keys::find(&property.key, scope.kcl()) {
        Found::Key(key) if key.kind == Kind::Command => None,
        Found::Key(key) => expanded(property, Some(key)).or_else(|| value(property, key, scope)),
        Found::Elsewhere(key) => Some(elsewhere(property, key, scope.kcl())),
        Found::Nested => expanded(property, None),
        Found::Unknown => Some(unknown(property, scope.kcl())),
    };
    of_key.into_iter().chain(credentials(property)).collect()
}

fn unknown(property: &Property, version: Version) -> Finding {
    if property.key.starts_with(MARK) {
        return marked(property, version);
    }
    let what = "the daemon does not know this key";
    match keys::nearest(&property.key, version) {
        Some(near) => Finding::about(property, Severity::Error).says(
            "key-unknown",
            what,
            "The daemon silently skips it, so this line sets nothing; keys are case-sensitive.",
            format!("Write '{near}'."),
        ),
        None => Finding::about(property, Severity::Warning).says(
            "key-unknown",
            what,
            "The daemon silently skips it, so this line sets nothing.",
            match keys::begun(&property.key, version) {
                Some(begun) => format!("Write '{begun}'."),
                None => "Delete it, or look up its name.".to_owned(),
            },
        ),
    }
}

/// A byte order mark, which to Java is three letters of the first key.
fn marked(property: &Property, version: Version) -> Finding {
    let behind = &property.key[MARK.len()..];
    let severity = match keys::find(behind, version) {
        Found::Key(_) | Found::Elsewhere(_) | Found::Nested => Severity::Error,
        Found::Unknown => Severity::Warning,
    };
    let mut finding = Finding::about(property, severity).says(
        "byte-order-mark",
"a byte order mark comes before it",
        "To Java the mark is part of the first key, so the daemon does not know it, and this line sets nothing.",
        "Save the file without a byte order mark.",
    );
    finding.key = shown(behind);
    finding
}

fn elsewhere(property: &Property, key: &Key, version: Version) -> Finding {
    let renamed = keys::RENAMED.iter().find(|(old, _)| *old == key.name);
    let fix = match renamed {
        Some((_, new)) => format!("Write '{new}'."),
        None => "Delete it, or use --kcl to say which version the daemon has.".to_owned(),
    };
    Finding::about(property, Severity::Warning).says(
        "key-of-another-version",
        format!("only {} has this key, not {version}", key.span),
        "The daemon silently skips it, so this line sets nothing.",
        fix,
    )
}

/// Keys of AWS in a value: the daemon logs all values.
fn credentials(property: &Property) -> Option<Finding> {
    let is_key = |word: &str| {
        let start = ["AKIA", "ASIA"].iter().any(|start| word.starts_with(start));
        start
            && word.len() == 20
            && word
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
    };
    let mut words = property.value.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(is_key).then(|| {
        Finding::about(property, Severity::Warning).says(
            "access-key-in-value",
            "the value contains an AWS access key",
            "The daemon logs every value of this file.",
            "Use the environment, a profile or a role, with DefaultCredentialsProvider.",
        )
    })
}

/// What is wrong with a known key's value, if anything.
fn value(property: &Property, key: &Key, scope: &Scope) -> Option<Finding> {
    let (text, version) = (property.value.as_str(), scope.kcl());
    let trouble = match key.kind {
        Kind::Command => None,
        // Before all others: with a comment behind it, every value looks wrong in its own way.
        _ if has_comment(text) => Some(comment()),
        Kind::Whole { bits, .. } => whole(text, bits, key, version),
        Kind::Fraction => fraction(text),
        Kind::Flag(default) => boolean(text, default, version),
        Kind::BoxedFlag => boolean(text, false, version),
        Kind::Word(words) => word(text, words, version),
        Kind::Seconds => seconds(text, version),
        Kind::Threads => threads(text),
        Kind::Text | Kind::Dimensions if text.trim_end() != text => trailing_blanks(text),
        Kind::Text => None,
        Kind::Dimensions if version == NO_DIMENSIONS => Some(unusable()),
        Kind::Dimensions => None,
        Kind::Refused => Some(unusable()),
        Kind::Unused if version.generation() > 1 => Some(unused()),
        Kind::Unused => None,
        Kind::Providers => providers::examine(text, version),
        Kind::Name(_)
        | Kind::Worker
        | Kind::Region
        | Kind::Period
        | Kind::Arn
        | Kind::ConsumerArn
        | Kind::Address => forms::examine(text, key, scope),
    };
    let (id, severity, what, why, fix) = trouble?;
    Some(Finding::about(property, severity).says(id, what, why, fix))
}

/// What a shell would replace in a value, and the daemon does not.
fn expanded(property: &Property, key: Option<&Key>) -> Option<Finding> {
    let what = command::variable(&property.value)?;
    let why = match key.map(|key| key.kind) {
        Some(Kind::Worker) => {
            "The daemon does not expand variables, so all workers would share this id and take each other's leases."
        }
        _ => "The daemon does not expand variables; there is no shell.",
    };
    Some(Finding::about(property, Severity::Error).says(
        "variable-not-expanded",
        format!("{} is passed on as it is", shown(&what)),
        why,
        format!(
            "Write the value itself, or let kclpipe launch set it: --set {}=VALUE.",
            shown(&property.key)
        ),
    ))
}

fn has_comment(text: &str) -> bool {
    text.contains(" #") || text.contains("\t#")
}

fn comment() -> Trouble {
    (
        "comment-in-value",
        Severity::Error,
        "what looks like a comment is part of the value".to_owned(),
        "A comment must start at the beginning of a line.",
        "Put the comment on a line of its own.".to_owned(),
    )
}

/// A whole number as the daemon reads it; 1.x does not pass over blanks around it.
pub(super) fn number(text: &str, bits: u32, version: Version) -> Option<i64> {
    let text = match version.generation() {
        1 => text,
        _ => text.trim(),
    };
    match bits {
        32 => text.parse::<i32>().ok().map(i64::from),
        _ => text.parse().ok(),
    }
}

/// Numbers of beans are converted by commons-beanutils, which makes 0 of what it cannot read
/// (`ConvertUtilsBean`); a primitive 0 is then taken as not set (`ConfigurationSettableUtils`).
fn whole(text: &str, bits: u32, key: &Key, version: Version) -> Option<Trouble> {
    let Kind::Whole {
        boxed, zero, least, ..
    } = key.kind
    else {
        return None;
    };
    let one = version.generation() == 1;
    match number(text, bits, version) {
        Some(0) if !zero && (one || !boxed) => Some(not_applied(version)),
        Some(number) if number < least => Some(too_small(number, least, version)),
        Some(_) => None,
        None => Some(no_number(text, boxed, version)),
    }
}

fn not_applied(version: Version) -> Trouble {
    (
        "number-zero",
        Severity::Warning,
        "0 is not applied; the default is used".to_owned(),
        match version.generation() {
            1 => "KCL 1.x refuses 0 here, logs a warning and goes on.",
            _ => "The daemon treats 0 as unset.",
        },
        "Delete the line, or write the number that you want.".to_owned(),
    )
}

fn too_small(number: i64, least: i64, version: Version) -> Trouble {
    (
        "number-too-small",
        Severity::Error,
        match number {
            ..0 => format!("{number} is negative"),
            _ => format!("{number} is not enough"),
        },
        match version.generation() {
            1 => "KCL 1.x refuses it, logs a warning and uses the default.",
            _ => "The daemon accepts it and then ends with a Java exception, or misbehaves.",
        },
        format!("Write {} or more, or delete the line.", least.max(1)),
    )
}

fn no_number(text: &str, boxed: bool, version: Version) -> Trouble {
    let (used, why) = match version.generation() {
        1 => (
            "the default",
            "KCL 1.x logs a warning and goes on; it does not accept blanks after a number, either.",
        ),
        // A boxed number that is 0 is set, and is used as it is.
        _ if boxed => ("0", "The daemon silently reads an invalid number as 0."),
        _ => (
            "the default",
            "The daemon silently reads an invalid number as 0, and treats 0 as unset.",
        ),
    };
    (
        "number-invalid",
        Severity::Error,
        format!("'{}' is not an integer, so {used} is used", shown(text)),
        why,
        "Write only the number, without a unit, separators or quotes.".to_owned(),
    )
}

fn fraction(text: &str) -> Option<Trouble> {
    let (id, what, why, fix) = match text.trim().parse::<f64>() {
        Ok(number) if number < 0.0 => (
            "number-too-small",
            format!("{number} is negative"),
            "The daemon accepts it and then misbehaves.",
            "Write a positive number, or delete the line.",
        ),
        Ok(number) if number.is_finite() => return None,
        _ => (
            "number-invalid",
            format!("'{}' is not a number, so the default is used", shown(text)),
            "The daemon silently reads an invalid number as 0, and treats 0 as unset.",
            "Write only the number, with a point before the fraction.",
        ),
    };
    Some((id, Severity::Error, what, why, fix.to_owned()))
}

/// A flag as the daemon reads it: `BooleanConverter` of commons-beanutils knows some words, of any case
/// but without blanks around them; 1.x knows `true`. `None` for anything else, which is taken as false.
pub(super) fn flag(text: &str, version: Version) -> Option<bool> {
    let words: [&[&str]; 2] = match version.generation() {
        1 => [&["false"], &["true"]],
        _ => [
            &["false", "no", "n", "off", "0"],
            &["true", "yes", "y", "on", "1"],
        ],
    };
    let text = text.to_lowercase();
    let is = |words: &[&str]| words.contains(&text.as_str());
    (is(words[0]) || is(words[1])).then(|| is(words[1]))
}

fn boolean(text: &str, default: bool, version: Version) -> Option<Trouble> {
    match flag(text, version) {
        Some(false) if default && version.generation() > 1 => Some((
            "flag-not-applied",
            Severity::Error,
            format!("'{}' is not applied; true is used", shown(text)),
            "The daemon treats false as unset, and the default of this flag is true.",
            "Delete the line: it cannot be switched off in this file.".to_owned(),
        )),
        Some(_) => None,
        None => Some((
            "flag-invalid",
            Severity::Error,
            format!(
                "'{}' is neither true nor false, so false is used",
                shown(text)
            ),
            "The daemon silently reads any other word as false, even true with a blank after it.",
            "Write true or false, with nothing after it.".to_owned(),
        )),
    }
}

fn word(text: &str, words: &[&str], version: Version) -> Option<Trouble> {
    let one = version.generation() == 1;
    let upper = text.to_uppercase();
    // 1.x has a word more for its timestampAtInitialPositionInStream.
    let known = words.contains(&upper.as_str()) || one && upper == "AT_TIMESTAMP";
    let form = format!("one of {}", words.join(", "));
    match (known, one) {
        (true, _) => None,
        (false, false) => Some(refused("word-invalid", text, &form)),
        (false, true) => Some((
            "word-invalid",
            Severity::Error,
            format!(
                "'{}' is not a valid value, so the default is used",
                shown(text)
            ),
            "KCL 1.x logs a warning and goes on.",
            format!("Write {form}."),
        )),
    }
}

/// `InitialPositionInStreamExtended` is made of seconds; a date in milliseconds is far in the future.
fn seconds(text: &str, version: Version) -> Option<Trouble> {
    /// The year 2286. Nobody starts there, and milliseconds of today are beyond it.
    const LATEST: i64 = 9_999_999_999;
    match text.parse::<i64>() {
        Ok(seconds) if seconds > LATEST => Some((
            "position-in-milliseconds",
            Severity::Error,
            format!("{seconds} seconds after 1970 is centuries away"),
            "The daemon expects seconds; these look like milliseconds.",
            format!("Write {}.", seconds / 1000),
        )),
        Ok(seconds @ ..0) => Some((
            "position-before-1970",
            Severity::Error,
            format!("{seconds} is negative, which is before 1970"),
            "No stream has records of that time.",
            "Write the seconds since 1970.".to_owned(),
        )),
        Err(_) if version.generation() > 1 => Some(refused(
            "position-invalid",
            text,
            "a number of seconds since 1970, without blanks",
        )),
        _ => None,
    }
}

/// `MultiLangDaemonConfig` calls `Integer.parseInt`.
fn threads(text: &str) -> Option<Trouble> {
    let number = text.parse::<i32>();
    number
        .is_err()
        .then(|| refused("number-invalid", text, "a whole number, without blanks"))
}

/// Of `shardPrioritization`, an interface, no text can be made.
fn unusable() -> Trouble {
    (
        "key-unusable",
        Severity::Error,
        "it cannot be set in a properties file".to_owned(),
        "The daemon ends at once, with a Java exception.",
        "Delete it.".to_owned(),
    )
}

/// The field is there since 2.1.0, and nothing reads it.
fn unused() -> Trouble {
    (
        "key-unused",
        Severity::Warning,
        "nothing reads it".to_owned(),
        "KCL 2.x and 3.x do not validate sequence numbers, whatever this says.",
        "Delete it.".to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const V3: Version = Version::TAKEN_FROM[0];
    const V1: Version = Version::TAKEN_FROM[2];

    #[test]
    fn numbers_and_flags_are_read_as_java_does() {
        for (text, three, one) in [
            ("10000", Some(10_000), Some(10_000)),
            ("10000 ", Some(10_000), None),
            ("+5", Some(5), Some(5)),
            ("-5", Some(-5), Some(-5)),
            ("10s", None, None),
            ("10_000", None, None),
            ("1.5", None, None),
            ("", None, None),
            ("3000000000", None, None),
        ] {
            assert_eq!(
                (number(text, 32, V3), number(text, 32, V1)),
                (three, one),
                "{text:?}"
            );
        }
        assert_eq!(number("3000000000", 64, V3), Some(3_000_000_000));
        for (text, three, one) in [
            ("true", Some(true), Some(true)),
            ("TRUE", Some(true), Some(true)),
            ("yes", Some(true), None),
            ("0", Some(false), None),
            ("true ", None, None),
            ("ture", None, None),
        ] {
            assert_eq!((flag(text, V3), flag(text, V1)), (three, one), "{text:?}");
        }
    }
}
