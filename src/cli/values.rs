//! What the values of options may be: each says in its own words what to write instead.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::args_file::split;
use crate::handler::Rate;
use crate::outcome::{CLASSES, Class, SIGNALS};
use crate::suggest;

/// A duration that may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub Option<Duration>);

/// A command in one argument: its program, and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words(pub OsString, pub Vec<OsString>);

/// The longest duration that is understood: what a clock can be ahead of itself is bounded, too.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// The most handlers at a time: each has a place and three pipes, whether it runs or not.
const MOST_JOBS: usize = 10_000;

/// The most handlers of a machine: who waits has a descriptor for each.
const MOST_HOST_JOBS: usize = 500;

/// The longest window: records that wait are nobody's yet, and come again after a stop.
const LONGEST_WINDOW: Duration = Duration::from_secs(60 * 60);

/// A path of an option's. What is not UTF-8 could not be shown, nor written as JSON.
pub(super) fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|path| match path.to_str() {
        Some(text) => Ok(PathBuf::from(text)),
        None => Err("a path must be UTF-8"),
    })
}

/// A duration; 0 is off.
pub(super) fn limit(text: &str) -> Result<Limit, String> {
    if text == "0" {
        return Ok(Limit(None));
    }
    if text.starts_with('-') {
        return Err("durations are not negative; 0 is off".to_owned());
    }
    let duration =
        humantime::parse_duration(text).map_err(|e| format!("{e}; write it like 60s, 5m or 1h"))?;
    if duration > LONGEST {
        return Err("that is longer than 100 years; 0 is off".to_owned());
    }
    Ok(Limit(Some(duration).filter(|duration| !duration.is_zero())))
}

/// A duration that cannot be off.
pub(super) fn delay(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        return Err("durations are not negative".to_owned());
    }
    match limit(text)? {
        Limit(Some(delay)) => Ok(delay),
        Limit(None) => Err("a delay of 0 would try again without a pause".to_owned()),
    }
}

/// A window for batches.
pub(super) fn window(text: &str) -> Result<Limit, String> {
    let window = limit(text)?;
    if window.0.is_some_and(|window| window > LONGEST_WINDOW) {
        return Err("a window is at most 1h".to_owned());
    }
    Ok(window)
}

/// A point in time; without a zone it is UTC.
pub(super) fn time(text: &str) -> Result<SystemTime, String> {
    let time = humantime::parse_rfc3339_weak(text);
    time.map_err(|_| "write it like 2026-11-25T14:00:00Z".to_owned())
}

/// A command in one argument.
pub(super) fn words(text: &str) -> Result<Words, String> {
    let mut words = split(text.as_bytes())
        .ok_or("a quote is not closed")?
        .into_iter();
    let program = words.next().ok_or("it does not name a program")?;
    Ok(Words(program, words.collect()))
}

/// A number that cannot be 0.
pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| "write a number of at least 1".to_owned())
}

/// How many handlers run at a time.
pub(super) fn jobs(text: &str) -> Result<usize, String> {
    at_least_one(text)
        .ok()
        .filter(|jobs| *jobs <= MOST_JOBS)
        .ok_or_else(|| format!("write a number from 1 to {MOST_JOBS}"))
}

/// How many handlers of an application run on a machine.
pub(super) fn host_jobs(text: &str) -> Result<usize, String> {
    at_least_one(text)
        .ok()
        .filter(|jobs| *jobs <= MOST_HOST_JOBS)
        .ok_or_else(|| format!("write a number from 1 to {MOST_HOST_JOBS}"))
}

/// Records in a second or in a minute.
pub(super) fn rate(text: &str) -> Result<Rate, String> {
    let units = [("/s", 1), ("/m", 60)];
    let parse = |(unit, seconds): (&str, u64)| {
        let records: u64 = text.strip_suffix(unit)?.parse().ok()?;
        // Rounded up: rather too slow than too fast.
        let interval = (seconds * 1_000_000_000).div_ceil(Some(records).filter(|n| *n > 0)?);
        Some(Rate {
            interval: Duration::from_nanos(interval),
        })
    };
    let rate = units.into_iter().find_map(parse);
    rate.ok_or_else(|| "write it like 100/s or 30/m, at least 1/m".to_owned())
}

/// Bytes, with a unit of powers of 1000 or 1024.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: Option<u64> = match unit.trim().to_lowercase().as_str() {
        "" | "b" => Some(1),
        "kb" | "k" => Some(1000),
        "mb" | "m" => Some(1_000_000),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gb" | "g" => Some(1_000_000_000),
        "gib" => Some(1 << 30),
        _ => None,
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit));
    bytes.ok_or_else(|| "write it like 500000, 512KiB or 6MB".to_owned())
}

/// What an exit code means.
pub(super) fn on_exit(text: &str) -> Result<(u8, Class), String> {
    let (code, class) = text.split_once('=').ok_or("write it like 99=checkpoint")?;
    let code = code
        .trim()
        .parse()
        .map_err(|_| format!("'{code}' is not an exit code from 0 to 255"))?;
    let known = CLASSES.iter().find(|(name, _)| *name == class.trim());
    let unknown = || {
        let choice = suggest::choice(class, &CLASSES.map(|(name, _)| name));
        format!("'{class}' is not a class: {choice}")
    };
    let (_, class) = known.ok_or_else(unknown)?;
    Ok((code, *class))
}

/// A signal, by name or number.
pub(super) fn signal(text: &str) -> Result<rustix::process::Signal, String> {
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let known = SIGNALS
        .iter()
        .find(|(known, signal)| *known == name || signal.as_raw().to_string() == name);
    known
        .map(|(_, signal)| *signal)
        .ok_or_else(|| suggest::choice(name, &SIGNALS.map(|(name, _)| name)))
}

/// A level of the log, or several.
pub(super) fn log_level(text: &str) -> Result<String, String> {
    crate::logging::check_level(text).map_err(|e| format!("{e:#}"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_an_interval() {
        for (text, micros) in [("1/s", 1_000_000), ("100/s", 10_000), ("30/m", 2_000_000)] {
            let interval = Duration::from_micros(micros);
            assert_eq!(rate(text), Ok(Rate { interval }), "{text}");
        }
        let third = Duration::from_nanos(333_333_334);
        assert_eq!(rate("3/s"), Ok(Rate { interval: third }));
        for text in ["0/s", "5", "/s", "1.5/s", "-1/s", "5/h", "5 /s", ""] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("12", 12),
            ("6MB", 6_000_000),
            ("512KiB", 524_288),
            ("1 mib", 1_048_576),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert!(size("MB").is_err() && size("99999999999999MB").is_err());
    }
}
