//! A value of an event that is neither an object nor an array.

use std::borrow::Cow;

/// Such a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    /// Text, without escapes. As bytes: JSON can have halves of letters, which UTF-8 cannot.
    Text(Cow<'a, [u8]>),
    /// A number, as it is written.
    Number(&'a str),
    /// `true`, `false` or `null`.
    Word(&'a str),
}

impl Scalar<'_> {
    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&[u8]> {
        match self {
            Scalar::Text(text) => Some(text),
            Scalar::Number(_) | Scalar::Word(_) => None,
        }
    }
}
