//! Numbers with what they count.

use std::fmt::Display;

/// As `1 record`, or `3 records`.
pub(crate) fn plural<N: Display + PartialEq + From<u8>>(number: N, of: &str) -> String {
    let s = if number == N::from(1) { "" } else { "s" };
    format!("{number} {of}{s}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_the_only_one_without_an_s() {
        let told = [0u64, 1, 2].map(|number| plural(number, "record"));
        assert_eq!(told, ["0 records", "1 record", "2 records"]);
    }
}
