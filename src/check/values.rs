//! What the daemon makes of one line: whether it knows the key, and whether it applies the value.

use super::keys::{self, Found, Key, Kind};
use super::report::{Finding, Severity, Trouble, shown};
use super::{Scope, Version, providers};
use crate::properties::Property;

/// What is wrong with a line by itself.
pub(super) fn examine(property: &Property, scope: &Scope) -> Vec<Finding> {
    let of_key = match keys::find(&property.key, scope.kcl()) {
        Found::Key(key) => value(property, key, scope.kcl()),
        Found::Elsewhere(key) => Some(elsewhere(property, key, scope.kcl())),
        Found::Nested => None,
        Found::Unknown => Some(unknown(property, scope.kcl())),
    };
    of_key.into_iter().chain(credentials(property)).collect()
}

fn unknown(property: &Property, version: Version) -> Finding {
    let what = "the daemon does not know this key";
    match keys::nearest(&property.key, version) {
        Some(near) => Finding::about(property, Severity::Error).says(
            what,
            "It passes over it without a word, so this line sets nothing; upper and lower case count.",
            format!("Write '{near}'."),
        ),
        None => Finding::about(property, Severity::Warning).says(
            what,
            "It passes over it without a word, so this line sets nothing.",
            "Take it out, or look its name up.",
        ),
    }
}

fn elsewhere(property: &Property, key: &Key, version: Version) -> Finding {
    let renamed = keys::RENAMED.iter().find(|(old, _)| *old == key.name);
    let mend = match renamed {
        Some((_, new)) => format!("Write '{new}'."),
        None => "Take it out, or say with --kcl which version the daemon has.".to_owned(),
    };
    Finding::about(property, Severity::Warning).says(
        format!("only {} has this key, not {version}", key.span),
        "The daemon passes over it without a word, so this line sets nothing.",
        mend,
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
            "an access key of AWS stands in the value",
            "The daemon logs every value of this file.",
            "Leave it to the environment, a profile or a role, with DefaultCredentialsProvider.",
        )
    })
}

/// What is wrong with a known key's value, if anything.
fn value(property: &Property, key: &Key, version: Version) -> Option<Finding> {
    let text = property.value.as_str();
    let trouble = match key.kind {
        Kind::Command => None,
        _ if has_comment(text) => Some(comment()),
        Kind::Whole { bits, boxed, zero } => whole(text, bits, (boxed, zero), version),
        Kind::Fraction => fraction(text),
        Kind::Flag(default) => boolean(text, default, version),
        Kind::BoxedFlag => boolean(text, false, version),
        Kind::Word(words) => word(text, words, version),
        Kind::Seconds => seconds(text, version),
        Kind::Threads => threads(text),
        Kind::Period => period(text),
        Kind::Arn => arn(text),
        Kind::Address => address(text, version),
        Kind::Providers => providers::examine(text, version),
        Kind::Text => blanks_behind(text),
        Kind::Refused => Some(unusable()),
        Kind::Unused if version.generation() > 1 => Some(unused()),
        Kind::Unused => None,
    };
    let (severity, what, why, mend) = trouble?;
    Some(Finding::about(property, severity).says(what, why, mend))
}

fn has_comment(text: &str) -> bool {
    text.contains(" #") || text.contains("\t#")
}

fn comment() -> Trouble {
    (
        Severity::Error,
        "what looks like a comment is a part of the value".to_owned(),
        "A comment begins at the start of a line and nowhere else.",
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
fn whole(text: &str, bits: u32, (boxed, zero): (bool, bool), version: Version) -> Option<Trouble> {
    let (read, one) = (number(text, bits, version), version.generation() == 1);
    let mend = || "Write the number alone, without a unit, a separator or quotes.".to_owned();
    match read {
        Some(0) if !boxed && !zero && !one => Some((
            Severity::Warning,
            "0 is not applied, the default is".to_owned(),
            "To the daemon a number of 0 is a key that is not set.",
            "Take the line out, or write the number that you want.".to_owned(),
        )),
        Some(_) => None,
        None if one => Some((
            Severity::Error,
            format!(
                "'{}' is not a whole number, and the default is used",
                shown(text)
            ),
            "KCL 1.x logs a warning and goes on; it takes no blanks behind a number, either.",
            mend(),
        )),
        None if boxed => Some((
            Severity::Error,
            format!("'{}' is not a whole number, and 0 is used", shown(text)),
            "The daemon makes 0 of what it cannot read, without a word.",
            mend(),
        )),
        None => Some((
            Severity::Error,
            format!(
                "'{}' is not a whole number, and the default is used",
                shown(text)
            ),
            "The daemon makes 0 of what it cannot read, without a word, and 0 is a key that is not set.",
            mend(),
        )),
    }
}

fn fraction(text: &str) -> Option<Trouble> {
    let number = text.trim().parse::<f64>();
    number.is_err().then(|| {
        (
            Severity::Error,
            format!("'{}' is not a number, and the default is used", shown(text)),
            "The daemon makes 0 of what it cannot read, without a word, and 0 is a key that is not set.",
            "Write the number alone, with a point before the fraction.".to_owned(),
        )
    })
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
            Severity::Error,
            format!("'{}' is not applied, and true is used", shown(text)),
            "To the daemon a flag that is false is a key that is not set, and this one's default is true.",
            "Take the line out: it cannot be switched off in this file.".to_owned(),
        )),
        Some(_) => None,
        None => Some((
            Severity::Error,
            format!(
                "'{}' is neither true nor false, and false is used",
                shown(text)
            ),
            "The daemon makes false of every word that it does not know, also of one with a blank behind it.",
            "Write true or false, with nothing behind it.".to_owned(),
        )),
    }
}

fn word(text: &str, words: &[&str], version: Version) -> Option<Trouble> {
    let one = version.generation() == 1;
    let known = words.contains(&text.to_uppercase().as_str());
    (!known && !one).then(|| refused(text, &format!("one of {}", words.join(", "))))
}

/// `InitialPositionInStreamExtended` is made of seconds; a date in milliseconds is far in the future.
fn seconds(text: &str, version: Version) -> Option<Trouble> {
    /// The year 2286. Nobody starts there, and milliseconds of today are beyond it.
    const LATEST: i64 = 9_999_999_999;
    match text.parse::<i64>() {
        Ok(seconds) if seconds > LATEST => Some((
            Severity::Error,
            format!("{seconds} seconds after 1970 is centuries away"),
            "The daemon takes seconds; these look like milliseconds.",
            format!("Write {}.", seconds / 1000),
        )),
        Err(_) if version.generation() > 1 => Some(refused(
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
        .then(|| refused(text, "a whole number, without blanks"))
}

fn period(text: &str) -> Option<Trouble> {
    let begins = text.starts_with(['P', 'p', '+', '-']);
    (!begins).then(|| refused(text, "a duration as P1D or PT12H"))
}

/// `StreamIdentifier.validateArn` has this form; region and account of it are not used.
fn arn(text: &str) -> Option<Trouble> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let fits = match parts[..] {
        ["arn", partition, "kinesis", region, account, stream] => {
            partition.starts_with("aws")
                && !region.is_empty()
                && account.len() == 12
                && account.bytes().all(|b| b.is_ascii_digit())
                && stream
                    .strip_prefix("stream/")
                    .is_some_and(|name| !name.is_empty())
        }
        _ => text.trim().is_empty(),
    };
    match fits {
        true => blanks_behind(text).filter(|_| !text.trim().is_empty()),
        false => Some(refused(text, "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME")),
    }
}

/// 2.x and 3.x make a `URI` of it.
fn address(text: &str, version: Version) -> Option<Trouble> {
    let bad = version.generation() > 1 && text.contains(char::is_whitespace);
    bad.then(|| refused(text, "an address as http://localhost:4567, without blanks"))
}

fn blanks_behind(text: &str) -> Option<Trouble> {
    let name = text.trim_end();
    (name != text).then(|| {
        (
            Severity::Error,
            "there are blanks behind the value".to_owned(),
            "Java's properties keep them, and to the daemon they are a part of it.",
            "Take them away.".to_owned(),
        )
    })
}

fn refused(text: &str, form: &str) -> Trouble {
    (
        Severity::Error,
        format!("'{}' is not what it must be", shown(text)),
        "The daemon ends at once, with a Java exception.",
        format!("Write {form}."),
    )
}

/// `shardPrioritization` is an interface, of which no text can be made.
fn unusable() -> Trouble {
    (
        Severity::Error,
        "no value can be given to it".to_owned(),
        "The daemon ends at once, with a Java exception.",
        "Take it out.".to_owned(),
    )
}

/// The field is there since 2.1.0, and nothing reads it.
fn unused() -> Trouble {
    (
        Severity::Warning,
        "it is taken, and nothing reads it".to_owned(),
        "Sequence numbers are not validated in KCL 2.x and 3.x, whatever it says.",
        "Take it out.".to_owned(),
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
