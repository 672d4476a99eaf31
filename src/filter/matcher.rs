//! What a pattern asks of one value.

use super::case::AnyCase;
use super::decimal::Decimal;
use super::network::Network;
use super::scalar::Scalar;
use super::wildcard::Wildcard;

/// A test of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Matcher {
    /// Exactly this text.
    Text(String),
    /// `true`, `false` or `null`.
    Word(String),
    /// This number, however it is written.
    Number(Decimal),
    /// Text that begins like this.
    Prefix(String),
    /// Text that ends like this.
    Suffix(String),
    /// This text, in capitals or small letters.
    AnyCase(AnyCase),
    /// Text that begins like this, likewise.
    PrefixAnyCase(AnyCase),
    /// Text that ends like this, likewise.
    SuffixAnyCase(AnyCase),
    /// Text with stars.
    Wildcard(Wildcard),
    /// A number between two others.
    Range(Range),
    /// An address of this network.
    Network(Network),
    /// Any value at all.
    Present,
    /// No value: no value is that, so whoever sees all of them judges it.
    Absent,
    /// Any value that none of these takes.
    But(Vec<Matcher>),
}

/// Numbers between two others, each if given, and whether that itself is one of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    /// The lower end.
    pub(super) from: Option<(Decimal, bool)>,
    /// The upper end.
    pub(super) to: Option<(Decimal, bool)>,
}

impl Matcher {
    /// Whether it takes this value.
    pub(super) fn takes(&self, value: &Scalar<'_>) -> bool {
        let is_text = |test: &dyn Fn(&[u8]) -> bool| value.text().is_some_and(test);
        match self {
            Matcher::Text(wanted) => is_text(&|text| text == wanted.as_bytes()),
            Matcher::Word(wanted) => matches!(value, Scalar::Word(word) if word == wanted),
            Matcher::Number(wanted) => number(value).is_some_and(|number| number == *wanted),
            Matcher::Prefix(prefix) => is_text(&|text| text.starts_with(prefix.as_bytes())),
            Matcher::Suffix(suffix) => is_text(&|text| text.ends_with(suffix.as_bytes())),
            Matcher::AnyCase(wanted) => is_text(&|text| wanted.is(text)),
            Matcher::PrefixAnyCase(prefix) => is_text(&|text| prefix.begins(text)),
            Matcher::SuffixAnyCase(suffix) => is_text(&|text| suffix.ends(text)),
            Matcher::Wildcard(wildcard) => is_text(&|text| wildcard.matches(text)),
            Matcher::Range(range) => number(value).is_some_and(|number| range.has(&number)),
            Matcher::Network(network) => is_text(&|text| network.has(text)),
            Matcher::Present => true,
            Matcher::Absent => false,
            Matcher::But(others) => !others.iter().any(|other| other.takes(value)),
        }
    }
}

fn number(value: &Scalar<'_>) -> Option<Decimal> {
    match value {
        Scalar::Number(number) => Some(Decimal::of(number)),
        Scalar::Text(_) | Scalar::Word(_) => None,
    }
}

impl Range {
    /// Whether the number lies between.
    pub(super) fn has(&self, number: &Decimal) -> bool {
        let above = |(end, itself): &(Decimal, bool)| number > end || (*itself && number == end);
        let below = |(end, itself): &(Decimal, bool)| number < end || (*itself && number == end);
        self.from.as_ref().is_none_or(above) && self.to.as_ref().is_none_or(below)
    }
}
