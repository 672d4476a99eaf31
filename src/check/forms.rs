//! Texts that must have a form: names, regions, addresses, ARNs, durations.
//!
//! Some the daemon refuses itself. Others it takes, and AWS refuses them at the first request.

use super::keys::{Key, Kind, Names};
use super::regions::{self, Region};
use super::report::{Severity, Trouble, refused, shown, trailing_blanks};
use super::{Scope, Version};

/// What is wrong with a text that must have a form.
pub(super) fn examine(text: &str, key: &Key, scope: &Scope) -> Option<Trouble> {
    let version = scope.kcl();
    match key.kind {
        Kind::Period => period(text),
        Kind::Address => address(text, version),
        Kind::Region => region(text, scope),
        Kind::Name(Names::Stream | Names::Table) if is_required(key) && text.trim().is_empty() => {
            None
        }
        _ if text.trim_end() != text && !text.trim().is_empty() => trailing_blanks(text),
        Kind::Name(Names::Table) if key.name == "applicationName" && names_no_table(scope) => None,
        // The stream of a table, for the daemon of the adapter that reads those.
        Kind::Name(Names::Stream) if text.starts_with("arn:") && text.contains(":dynamodb:") => {
            None
        }
        Kind::Name(of) => name(text, of, version).or_else(|| of_the_sample(text, key)),
        Kind::Worker => worker(text, version),
        Kind::Arn => arn(text),
        Kind::ConsumerArn => consumer(text),
        Kind::Text
        | Kind::Dimensions
        | Kind::Whole { .. }
        | Kind::Fraction
        | Kind::Flag(_)
        | Kind::BoxedFlag
        | Kind::Word(_)
        | Kind::Seconds
        | Kind::Providers
        | Kind::Command
        | Kind::Threads
        | Kind::Refused
        | Kind::Unused => None,
    }
}

/// Whether another rule says already that it is missing.
fn is_required(key: &Key) -> bool {
    ["streamName", "applicationName"].contains(&key.name)
}

/// Whether all tables have names of their own; 3.x has two more than the leases'.
fn names_no_table(scope: &Scope) -> bool {
    let tables: &[&str] = match scope.kcl().generation() {
        3 => &[
            "tableName",
            "workerMetricsTableName",
            "coordinatorStateTableName",
        ],
        _ => &["tableName"],
    };
    tables.iter().all(|table| scope.get(table).is_some())
}

fn name(text: &str, of: Names, version: Version) -> Option<Trouble> {
    let (what, least, most) = match of {
        Names::Stream => ("a stream", 1, 128),
        Names::Table => ("a table of DynamoDB", 3, 255),
        Names::Consumer => ("a consumer", 1, 128),
    };
    let is_fine = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    if text.chars().all(is_fine) && (least..=most).contains(&text.len()) {
        return None;
    }
    let fix = match text {
        // streamArn came with 2.5.1; before, an ARN has no place anywhere.
        _ if text.starts_with("arn:") && of == Names::Stream && version >= Version(2, 5, 1) => {
            "Write it as streamArn, or only what comes after its last '/'.".to_owned()
        }
        _ if text.starts_with("arn:") => {
            "Write only the name, which comes after its last '/'.".to_owned()
        }
        _ if text.contains(['"', '\'']) => {
            "Remove the quotes: the daemon takes them as part of the name.".to_owned()
        }
        _ => "Write a name that AWS accepts.".to_owned(),
    };
    Some((
        "name-invalid",
        Severity::Error,
        format!("'{}' cannot be the name of {what}", shown(text)),
        match least {
            1 => {
                "Such a name has 1 to 128 letters, digits and _ . - and AWS refuses anything else."
            }
            _ => {
                "Such a name has 3 to 255 letters, digits and _ . - and AWS refuses anything else."
            }
        },
        fix,
    ))
}

/// The values of `properties/kclpipe.properties` that everybody has to replace.
fn of_the_sample(text: &str, key: &Key) -> Option<Trouble> {
    let sample = [
        ("streamName", "my-stream"),
        ("applicationName", "my-application"),
    ];
    sample.contains(&(key.name, text)).then(|| {
        (
            "sample-value",
            Severity::Warning,
            format!("'{text}' is still the value of the sample file"),
            "The daemon would look for something of exactly this name.",
            "Write your own name.".to_owned(),
        )
    })
}

fn worker(text: &str, version: Version) -> Option<Trouble> {
    let empty = text.trim().is_empty() && version.generation() > 1;
    empty.then(|| {
        (
            "worker-id-empty",
            Severity::Error,
            "it is empty".to_owned(),
            "The daemon ends at once, with a Java exception.",
            "Write a name that no other worker has, or delete the line.".to_owned(),
        )
    })
}

/// The SDK puts it into the addresses of the services, and signs with it. A local service takes any.
fn region(text: &str, scope: &Scope) -> Option<Trouble> {
    let is_local = scope.get("kinesisEndpoint").is_some()
        || scope.get("kinesisClient.endpointOverride").is_some();
    let (id, severity, what) = match Region::of(text) {
        Region::Known => return None,
        Region::Unknown | Region::Odd if is_local => return None,
        Region::Unknown => (
            "region-unknown",
            Severity::Warning,
            "is not a region that kclpipe knows",
        ),
        Region::Odd | Region::Impossible => {
            ("region-invalid", Severity::Error, "cannot be a region")
        }
    };
    let fix = match regions::nearest(text) {
        Some(near) => format!("Write {near}."),
        None => "Write it like eu-central-1, in lower case, without blanks or quotes.".to_owned(),
    };
    Some((
        id,
        severity,
        format!("'{}' {what}", shown(text)),
        "The daemon builds service addresses from it, so it ends at once, or none of its requests arrives.",
        fix,
    ))
}

/// 2.x and 3.x make a `URI` of it, whose scheme must be there (`endpointOverride` of the SDK), and its host
/// at the first request; 1.x puts `https://` before one without a scheme.
fn address(text: &str, version: Version) -> Option<Trouble> {
    let lower = text.to_lowercase();
    let behind = ["http://", "https://"]
        .iter()
        .find_map(|scheme| lower.strip_prefix(scheme));
    let fits = match behind {
        Some(rest) => is_rest_of_address(rest),
        None => version.generation() == 1 && !text.contains("://") && is_rest_of_address(text),
    };
    let scheme = match version.generation() {
        1 => "",
        _ => ", with its scheme and without blanks",
    };
    (!fits).then(|| {
        refused(
            "address-invalid",
            text,
            &format!("an address such as http://localhost:4567{scheme}"),
        )
    })
}

/// A host, perhaps with a port, and what `java.net.URI` takes after it.
fn is_rest_of_address(rest: &str) -> bool {
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (_, place) = authority.rsplit_once('@').unwrap_or(("", authority));
    // The colons of an address of IP 6 stand in brackets.
    let port_at = place.rfind(':').filter(|at| !place[*at..].contains(']'));
    let (host, port) = place.split_at(port_at.unwrap_or(place.len()));
    let is_host = match host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => matches!(
            Region::of(host),
            Region::Known | Region::Unknown | Region::Odd
        ),
    };
    let port = port.strip_prefix(':').unwrap_or_default();
    let is_port = port.is_empty() || port.parse::<u16>().is_ok();
    let illegal = |c: char| c.is_whitespace() || c.is_control() || "\"<>\\^`{|}".contains(c);
    let mut escapes = path.split('%').skip(1);
    let is_escaped = escapes.all(|rest| {
        let digits = rest.bytes().take(2).filter(u8::is_ascii_hexdigit);
        digits.count() == 2
    });
    is_host && is_port && is_escaped && !rest.contains(illegal)
}

/// What `StreamIdentifier.validateArn` wants; and the name in it, which Kinesis looks for.
fn arn(text: &str) -> Option<Trouble> {
    if text.trim().is_empty() {
        return None;
    }
    match in_arn(text).and_then(|resource| resource.strip_prefix("stream/")) {
        Some(stream) => name(stream, Names::Stream, Version(1, 0, 0)),
        None => Some(refused(
            "arn-invalid",
            text,
            "arn:aws:kinesis:REGION:ACCOUNT:stream/NAME",
        )),
    }
}

/// Kinesis' own pattern of a consumer's ARN.
fn consumer(text: &str) -> Option<Trouble> {
    let parts = in_arn(text).map(|resource| resource.split('/').collect::<Vec<_>>());
    let fits = match parts.as_deref() {
        Some(["stream", stream, "consumer", consumer]) => {
            let (name, time) = consumer.split_once(':').unwrap_or_default();
            let full = !stream.is_empty() && !name.is_empty() && !time.is_empty();
            full && time.bytes().all(|b| b.is_ascii_digit())
        }
        _ => false,
    };
    (!fits).then(|| {
        (
            "arn-invalid",
            Severity::Error,
            format!("'{}' is not the ARN of a consumer", shown(text)),
            "Kinesis refuses it, and no record is read.",
            "Write arn:aws:kinesis:REGION:ACCOUNT:stream/NAME/consumer/NAME:TIME, or fanoutConfig.consumerName."
                .to_owned(),
        )
    })
}

/// What an ARN of Kinesis is about.
fn in_arn(text: &str) -> Option<&str> {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, "kinesis", region, account, resource] = parts[..] else {
        return None;
    };
    let is_account = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    (partition.starts_with("aws") && !region.is_empty() && is_account).then_some(resource)
}

fn period(text: &str) -> Option<Trouble> {
    let wrong = |what: &str, fix: &str| {
        Some((
            "duration-invalid",
            Severity::Error,
            format!("'{}' {what}", shown(text)),
            "The daemon ends at once, with a Java exception.",
            fix.to_owned(),
        ))
    };
    match nanoseconds(text.trim()) {
        None => wrong(
            "is not a duration",
            "Write it like PT12H, PT30M or P1D, with days, hours, minutes and seconds only.",
        ),
        Some(..0) => wrong("is negative", "Write it without the sign, like PT12H."),
        Some(_) => None,
    }
}

/// A duration as `java.time.Duration.parse` reads it: no years, months and weeks, each unit once and in its
/// order, a fraction only of seconds, and a sign for each and for all.
fn nanoseconds(text: &str) -> Option<i128> {
    const UNITS: [(char, i128, bool); 4] = [
        ('D', 86_400, false),
        ('H', 3600, true),
        ('M', 60, true),
        ('S', 1, true),
    ];
    let upper = text.to_ascii_uppercase();
    let (sign, rest) = match upper.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, upper.strip_prefix('+').unwrap_or(&upper)),
    };
    let (mut rest, mut sum, mut units) = (rest.strip_prefix('P')?, 0, &UNITS[..]);
    let mut in_time = false;
    while !rest.is_empty() {
        // M is months before T and minutes behind it; the first are refused, as Java does.
        if let Some(time) = rest.strip_prefix('T').filter(|_| !in_time) {
            (rest, in_time) = (time, true);
        }
        let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, unit) = rest.split_at(end);
        let at = units
            .iter()
            .position(|(letter, _, of_time)| unit.starts_with(*letter) && *of_time == in_time)?;
        sum += amount(number, units[at].0 == 'S')? * units[at].1;
        (rest, units) = (&unit[1..], &units[at + 1..]);
    }
    (units.len() < UNITS.len()).then_some(sign * sum)
}

/// A whole number with a sign, perhaps with a fraction of nine digits, in billionths.
fn amount(text: &str, may_be_broken: bool) -> Option<i128> {
    let (whole, fraction) = match text.split_once(['.', ',']).filter(|_| may_be_broken) {
        Some((whole, fraction)) => (whole, fraction),
        None => (text, ""),
    };
    let digits = fraction.len() <= 9 && fraction.bytes().all(|b| b.is_ascii_digit());
    let fraction: i128 = format!("{fraction:0<9}").parse().ok().filter(|_| digits)?;
    let number = i128::from(whole.parse::<i64>().ok()?);
    let sign = if whole.starts_with('-') { -1 } else { 1 };
    Some(number * 1_000_000_000 + sign * fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_java_does() {
        const SECOND: i128 = 1_000_000_000;
        for (text, seconds) in [
            ("P1D", Some(86_400)),
            ("P1DT2H", Some(93_600)),
            ("pt1h30m", Some(5400)),
            ("+PT12H", Some(43_200)),
            ("-PT12H", Some(-43_200)),
            ("PT-12H", Some(-43_200)),
            ("PT1H-30M", Some(1800)),
            ("PT0S", Some(0)),
            ("P", None),
            ("PT", None),
            ("P1DT", None),
            ("P1M", None),
            ("P1W", None),
            ("P1H", None),
            ("PT1D", None),
            ("PT1M1H", None),
            ("PT1.5H", None),
            ("PT1H ", None),
            ("12H", None),
            ("1d", None),
            ("", None),
        ] {
            assert_eq!(
                nanoseconds(text),
                seconds.map(|s: i128| s * SECOND),
                "{text}"
            );
        }
        assert_eq!(nanoseconds("PT1.5S"), Some(SECOND * 3 / 2));
        assert_eq!(nanoseconds("PT-0.5S"), Some(-SECOND / 2));
    }

    #[test]
    fn an_address_has_a_scheme_and_a_host() {
        for (text, three, one) in [
            ("http://localhost:4567", true, true),
            ("HTTPS://kinesis.eu-west-1.amazonaws.com/", true, true),
            ("http://[::1]:4567", true, true),
            ("http://user@host", true, true),
            ("http://host/a%20b?c=d", true, true),
            ("kinesis.us-east-1.amazonaws.com", false, true),
            ("localhost:4567", false, true),
            ("//localhost:4567", false, false),
            ("http:localhost", false, false),
            ("http://", false, false),
            ("http://:80", false, false),
            ("http://local_host:4567", false, false),
            ("http://localhost:x", false, false),
            ("http://localhost:99999", false, false),
            ("http://localhost/a|b", false, false),
            ("http://localhost/a%zz", false, false),
            ("http://local host", false, false),
            ("ftp://localhost", false, false),
            ("\"http://localhost\"", false, false),
            ("", false, false),
        ] {
            let fits = |version| address(text, version).is_none();
            assert_eq!(
                (fits(Version(3, 1, 3)), fits(Version(1, 15, 3))),
                (three, one),
                "{text}"
            );
        }
    }

    #[test]
    fn names_are_those_that_aws_takes() {
        let fits = |text: &str, of| name(text, of, Version(3, 1, 3)).is_none();
        for (text, stream, table) in [
            ("orders", true, true),
            ("Orders_2.x-y", true, true),
            ("a", true, false),
            ("my app/1", false, false),
            ("\"orders\"", false, false),
            (
                "arn:aws:kinesis:us-east-1:123456789012:stream/o",
                false,
                false,
            ),
            ("café", false, false),
        ] {
            assert_eq!(
                (fits(text, Names::Stream), fits(text, Names::Table)),
                (stream, table),
                "{text}"
            );
        }
        assert!(!fits(&"x".repeat(129), Names::Stream) && fits(&"x".repeat(129), Names::Table));
    }
}
