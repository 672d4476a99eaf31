//! A way through JSON, value by value, without keeping any of it.
//!
//! `serde_json` says first whether a payload is JSON at all, so nothing is checked here; what were wrong all the
//! same would be `None`, and never a panic.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr2};
use serde::Deserializer as _;
use serde::de::{Error, IgnoredAny, Visitor};

use super::scalar::Scalar;

/// The payload as text, if it is JSON.
pub(super) fn text(payload: &[u8]) -> Option<&str> {
    let text = str::from_utf8(payload).ok()?;
    // What is ignored may be nested as deep as it likes: it is read in a loop.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Some(text)
}

/// A place in the text of a value.
#[derive(Debug)]
pub(super) struct Json<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Json<'a> {
    /// The beginning of a text that [`text`] found to be JSON.
    pub(super) fn new(text: &'a str) -> Json<'a> {
        Json { text, at: 0 }
    }

    /// What comes next, after white space.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..)?;
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
        self.at += rest.iter().take_while(|byte| is_space(byte)).count();
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes into the object or array that comes next.
    pub(super) fn enter(&mut self) {
        self.at += 1;
    }

    /// Whether the object or array has one more value, and goes there, else behind it.
    pub(super) fn has_more(&mut self) -> Option<bool> {
        let next = self.peek()?;
        let ends = matches!(next, b'}' | b']');
        self.at += usize::from(ends || next == b',');
        Some(!ends)
    }

    /// The name that comes next in an object; its value comes then.
    pub(super) fn name(&mut self) -> Option<Cow<'a, [u8]>> {
        self.peek()?;
        let name = unescaped(self.string()?)?;
        (self.peek()? == b':').then(|| self.at += 1)?;
        Some(name)
    }

    /// The value that comes next, which is neither an object nor an array.
    pub(super) fn scalar(&mut self) -> Option<Scalar<'a>> {
        Some(match self.peek()? {
            b'"' => Scalar::Text(unescaped(self.string()?)?),
            b't' | b'f' | b'n' => Scalar::Word(self.word()?),
            _ => Scalar::Number(self.word()?),
        })
    }

    /// Goes behind the value that comes next.
    pub(super) fn skip(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' => drop(self.string()?),
            b'{' | b'[' => self.skip_all()?,
            _ => drop(self.word()?),
        }
        Some(())
    }

    /// Goes behind an object or array, however deep it is.
    fn skip_all(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.text.as_bytes().get(self.at)? {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth = depth.checked_sub(1)?,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// The string that begins here, with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let start = self.at;
        self.at += 1;
        loop {
            let rest = self.text.as_bytes().get(self.at..)?;
            let end = memchr2(b'"', b'\\', rest)?;
            self.at += end + 1;
            if rest[end] == b'"' {
                return self.text.get(start..self.at);
            }
            self.at += 1;
        }
    }

    /// The number or word that begins here.
    fn word(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.at..)?;
        let ends = |c: char| matches!(c, ',' | '}' | ']' | ' ' | '\t' | '\n' | '\r');
        let end = rest.find(ends).unwrap_or(rest.len());
        self.at += end;
        (end > 0).then(|| &rest[..end])
    }
}

/// What a string with its quotes says.
fn unescaped(string: &str) -> Option<Cow<'_, [u8]>> {
    let bytes = string.as_bytes();
    if memchr(b'\\', bytes).is_none() {
        return Some(Cow::Borrowed(bytes.get(1..bytes.len() - 1)?));
    }
    let mut reader = serde_json::Deserializer::from_str(string);
    Some(Cow::Owned(reader.deserialize_bytes(Bytes).ok()?))
}

/// Takes a string as bytes: half a letter, as `\ud800`, is no error then.
struct Bytes;

impl Visitor<'_> for Bytes {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}
