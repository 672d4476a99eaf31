//! Numbers as JSON writes them, of any size and compared exactly: a float would take two of them for one, and
//! then `anything-but` drops what it should pass.

use std::cmp::Ordering;

/// A number: `0.DIGITS` times ten to the power of its exponent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    negative: bool,
    exponent: i64,
    /// Without zeros at either end; nothing for zero.
    digits: String,
}

/// Exponents beyond this are all the same to us, and can still be added to.
const LARGEST: i64 = i64::MAX / 4;

impl Decimal {
    /// The number that this text is in JSON.
    pub(super) fn of(text: &str) -> Decimal {
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = [whole, fraction].concat();
        let digits = all.trim_start_matches('0');
        let zeros = all.len() - digits.len();
        if digits.is_empty() {
            return Decimal::zero();
        }
        Decimal {
            negative: unsigned.len() < text.len(),
            exponent: power(exponent) + whole.len() as i64 - zeros as i64,
            digits: digits.trim_end_matches('0').to_owned(),
        }
    }

    fn zero() -> Decimal {
        Decimal {
            negative: false,
            exponent: i64::MIN,
            digits: String::new(),
        }
    }

    /// As numbers are ordered without their signs.
    fn magnitude(&self) -> (i64, &str) {
        (self.exponent, &self.digits)
    }
}

fn power(exponent: &str) -> i64 {
    let furthest = if exponent.starts_with('-') {
        -LARGEST
    } else {
        LARGEST
    };
    let power = exponent.parse().unwrap_or(furthest);
    power.clamp(-LARGEST, LARGEST)
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Decimal) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Decimal) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude().cmp(&other.magnitude()),
            (true, true) => other.magnitude().cmp(&self.magnitude()),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_the_same_however_it_is_written() {
        for same in [
            &["1", "1.0", "1e0", "10e-1", "0.1E+1", "100e-2"][..],
            &["0", "-0", "0.0", "0e99999999999999999999", "-0.00E-5"],
            &["-1.5", "-1.50", "-15e-1"],
            &["1e400", "10e399", "0.1e401"],
        ] {
            for text in same {
                assert_eq!(Decimal::of(text), Decimal::of(same[0]), "{text}");
            }
        }
    }

    #[test]
    fn numbers_are_ordered_exactly() {
        let ordered = [
            "-1e99999999999999999999",
            "-1e400",
            "-9007199254740993",
            "-9007199254740992",
            "-0.5",
            "-1e-99999999999999999999",
            "0",
            "1e-7",
            "0.1",
            "0.1000000000000000055",
            "1.5",
            "2",
            "15",
            "15.1",
            "12345678901234567890",
            "12345678901234567891",
            "1e300",
            "1e400",
            "1e99999999999999999999",
        ];
        for pair in ordered.windows(2) {
            assert!(Decimal::of(pair[0]) < Decimal::of(pair[1]), "{pair:?}");
        }
    }
}
