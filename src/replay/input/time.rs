//! When a record arrived, as the `aws` command and Lambda write it.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

/// In milliseconds since the epoch, from seconds since then or from ISO 8601, which version 2 of the `aws`
/// command writes.
pub(super) fn arrival_of(value: &Value) -> Option<i64> {
    let seconds = match value.as_str() {
        Some(text) => iso_seconds(text)?,
        None => value.as_f64()?,
    };
    Some((seconds * 1000.0).round() as i64)
}

fn iso_seconds(text: &str) -> Option<f64> {
    let (time, offset) = match text
        .rfind(['+', '-'])
        .filter(|at| text[..*at].contains(':'))
    {
        Some(at) => (&text[..at], offset_seconds(&text[at..])?),
        None => (text, 0.0),
    };
    let time = humantime::parse_rfc3339_weak(time).ok()?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Some(since.as_secs_f64() - offset)
}

/// `+02:00` or `+0200`.
fn offset_seconds(text: &str) -> Option<f64> {
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let number: u32 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    let seconds = f64::from((number / 100) * 3600 + (number % 100) * 60);
    Some(if text.starts_with('-') {
        -seconds
    } else {
        seconds
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_have_any_offset() {
        for (json, millis) in [
            ("\"1970-01-01T00:00:01Z\"", 1000),
            ("\"1970-01-01T02:00:01.5+02:00\"", 1500),
            ("\"1970-01-01 00:00:01-0130\"", 5_401_000),
            ("\"1970-01-01T00:00:01\"", 1000),
            ("1", 1000),
            ("1763973600.5", 1_763_973_600_500),
        ] {
            let value = serde_json::from_str(json).expect(json);
            assert_eq!(arrival_of(&value), Some(millis), "{json}");
        }
        for json in ["\"yesterday\"", "{}", "\"\"", "\"+\""] {
            let value = serde_json::from_str(json).expect(json);
            assert_eq!(arrival_of(&value), None, "{json}");
        }
    }
}
