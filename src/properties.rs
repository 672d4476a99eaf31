//! Java's `.properties` format, as `java.util.Properties.load` reads it.
//!
//! The daemon reads its configuration so: bytes are ISO-8859-1, `\uXXXX` stands for a UTF-16 unit, a
//! backslash before a line's end continues it, and of a key that is there twice the later one holds.

use std::fmt::{self, Write};

use anyhow::{Context, Result, bail};

/// The characters that Java takes for blanks within a line.
const BLANKS: [u16; 3] = [b' ' as u16, b'\t' as u16, 0x0c];

const BACKSLASH: u16 = b'\\' as u16;

/// One key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// The number of the line it starts on, from 1.
    pub line: usize,
    /// The key, its escapes resolved.
    pub key: String,
    /// The value, its escapes resolved; blanks before it are gone, those behind it are not.
    pub value: String,
}

/// The properties of a file, in its order, with those that a later one of the same key replaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(pub Vec<Property>);

impl Properties {
    /// Reads a file's bytes.
    ///
    /// # Errors
    /// A `\u` without four hexadecimal digits: Java refuses the whole file, too.
    pub fn parse(bytes: &[u8]) -> Result<Properties> {
        let properties = logical_lines(bytes)
            .into_iter()
            .map(|(line, text)| {
                property(line, &text).with_context(|| format!("line {line} of the properties"))
            })
            .collect::<Result<_>>()?;
        Ok(Properties(properties))
    }

    /// The value that holds for `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        let last = self.0.iter().rfind(|property| property.key == key);
        last.map(|property| property.value.as_str())
    }
}

impl fmt::Display for Properties {
    /// As a file that [`Properties::parse`] and Java read the same from, in ASCII.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|property| {
            escape(f, &property.key, true)?;
            f.write_char('=')?;
            escape(f, &property.value, false)?;
            f.write_char('\n')
        })
    }
}

/// Writes what could be taken for something else with a backslash: of a value, only a blank at its start.
fn escape(f: &mut fmt::Formatter<'_>, text: &str, is_key: bool) -> fmt::Result {
    for (at, unit) in text.encode_utf16().enumerate() {
        match u8::try_from(unit) {
            Ok(b'\n') => f.write_str("\\n")?,
            Ok(b'\r') => f.write_str("\\r")?,
            Ok(b'\t') => f.write_str("\\t")?,
            Ok(b' ') if !is_key && at > 0 => f.write_char(' ')?,
            Ok(special @ (b' ' | b'\\' | b'=' | b':' | b'#' | b'!')) => {
                write!(f, "\\{}", char::from(special))?
            }
            Ok(plain @ b'!'..=b'~') => f.write_char(char::from(plain))?,
            _ => write!(f, "\\u{unit:04x}")?,
        }
    }
    Ok(())
}

/// The lines that say something, each with the number of its first one; continuations are joined,
/// comments and blank lines left out. Escapes are still in them.
fn logical_lines(bytes: &[u8]) -> Vec<(usize, Vec<u16>)> {
    let (mut lines, mut open) = (Vec::new(), None::<(usize, Vec<u16>)>);
    for (number, line) in natural_lines(bytes).enumerate() {
        let start = line.iter().position(|unit| !BLANKS.contains(unit));
        let mut line = line[start.unwrap_or(line.len())..].to_vec();
        let is_new = open.as_ref().is_none_or(|(_, text)| text.is_empty());
        let is_comment = matches!(line.first(), Some(c) if [b'#', b'!'].map(u16::from).contains(c));
        if is_new && (line.is_empty() || is_comment) {
            continue;
        }
        let continues = line.iter().rev().take_while(|c| **c == BACKSLASH).count() % 2 == 1;
        if continues {
            line.pop();
        }
        let (_, text) = open.get_or_insert_with(|| (number + 1, Vec::new()));
        text.extend(line);
        if !continues {
            lines.extend(open.take());
        }
    }
    lines.extend(open.filter(|(_, text)| !text.is_empty()));
    lines
}

/// Lines end with LF, CR or both.
fn natural_lines(bytes: &[u8]) -> impl Iterator<Item = Vec<u16>> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.iter().position(|b| matches!(b, b'\n' | b'\r'));
        rest = end.map(|end| match &text[end..] {
            [b'\r', b'\n', after @ ..] => after,
            after => &after[1..],
        });
        Some(
            text[..end.unwrap_or(text.len())]
                .iter()
                .map(|b| u16::from(*b))
                .collect(),
        )
    })
}

fn property(line: usize, text: &[u16]) -> Result<Property> {
    let (key, rest) = text.split_at(key_end(text));
    let blanks = |text: &[u16]| text.iter().take_while(|c| BLANKS.contains(c)).count();
    let mut value = &rest[blanks(rest)..];
    if let Some(separator) = value.first()
        && [b'=', b':'].map(u16::from).contains(separator)
    {
        value = &value[1..];
        value = &value[blanks(value)..];
    }
    Ok(Property {
        line,
        key: unescape(key)?,
        value: unescape(value)?,
    })
}

/// A key ends at the first `=`, `:` or blank that no backslash is before.
fn key_end(text: &[u16]) -> usize {
    let mut escaped = false;
    let ends = |c: u16| BLANKS.contains(&c) || [b'=', b':'].map(u16::from).contains(&c);
    let end = text.iter().position(|c| {
        let found = !escaped && ends(*c);
        escaped = *c == BACKSLASH && !escaped;
        found
    });
    end.unwrap_or(text.len())
}

fn unescape(text: &[u16]) -> Result<String> {
    let (mut out, mut units) = (Vec::with_capacity(text.len()), text);
    while let Some((&unit, rest)) = units.split_first() {
        units = rest;
        if unit != BACKSLASH {
            out.push(unit);
            continue;
        }
        // A backslash at the very end is dropped, as Java does.
        let Some((&escaped, rest)) = units.split_first() else {
            break;
        };
        units = rest;
        out.push(match u8::try_from(escaped) {
            Ok(b't') => u16::from(b'\t'),
            Ok(b'n') => u16::from(b'\n'),
            Ok(b'r') => u16::from(b'\r'),
            Ok(b'f') => 0x0c,
            Ok(b'u') => {
                let (unit, rest) = hexadecimal(units)?;
                units = rest;
                unit
            }
            _ => escaped,
        });
    }
    Ok(String::from_utf16_lossy(&out))
}

fn hexadecimal(units: &[u16]) -> Result<(u16, &[u16])> {
    let digits: String = char::decode_utf16(units.iter().copied().take(4))
        .flatten()
        .filter(char::is_ascii_hexdigit)
        .collect();
    if digits.len() < 4 {
        bail!("'\\u' needs four hexadecimal digits after it; for a backslash write '\\\\'");
    }
    Ok((u16::from_str_radix(&digits, 16)?, &units[4..]))
}

/// `executableName` as the daemon splits it: at runs of spaces and nothing else, without quotes; spaces
/// at the start give an empty first word.
pub fn split_command(value: &str) -> Vec<String> {
    let mut words: Vec<String> = value.split(' ').map(str::to_owned).collect();
    let mut first = true;
    words.retain(|word| std::mem::take(&mut first) || !word.is_empty());
    if words == [""] {
        words.clear();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &[u8]) -> Vec<(usize, String, String)> {
        let Properties(all) = Properties::parse(text).expect("sound");
        all.into_iter().map(|p| (p.line, p.key, p.value)).collect()
    }

    fn pair(text: &[u8]) -> (String, String) {
        let mut all = pairs(text);
        assert_eq!(all.len(), 1, "{all:?}");
        let (_, key, value) = all.remove(0);
        (key, value)
    }

    #[test]
    fn a_key_ends_at_an_equals_sign_a_colon_or_a_blank() {
        for text in [
            "key=a b",
            "key = a b",
            "key:a b",
            "key a b",
            " \t key \x0c: a b",
            "key\t=\ta b",
        ] {
            assert_eq!(
                pair(text.as_bytes()),
                ("key".into(), "a b".into()),
                "{text:?}"
            );
        }
        assert_eq!(pair(b"key==v"), ("key".into(), "=v".into()));
        assert_eq!(pair(b"key"), ("key".into(), String::new()));
        assert_eq!(pair(b"=v"), (String::new(), "v".into()));
        assert_eq!(pair(br"a\=b\ c\:d = v"), ("a=b c:d".into(), "v".into()));
        assert_eq!(pair(br"a\\=v"), (r"a\".into(), "v".into()));
        assert_eq!(pair(b"key=trailing  "), ("key".into(), "trailing  ".into()));
    }

    #[test]
    fn comments_and_blank_lines_count_only_at_the_start_of_a_line() {
        let text = b"# one\n\n  ! two \\\r\na=1 # not a comment\r\rb=2\\\n  # nor here";
        let expected = [
            (4, "a".into(), "1 # not a comment".into()),
            (6, "b".into(), "2# nor here".into()),
        ];
        assert_eq!(pairs(text), expected);
    }

    #[test]
    fn a_backslash_continues_a_line_and_otherwise_vanishes() {
        assert_eq!(
            pair(b"a = one \\\r\n   two\\\n\tthree"),
            ("a".into(), "one twothree".into())
        );
        assert_eq!(pair(br"a=C:\bin\k.exe"), ("a".into(), "C:bink.exe".into()));
        assert_eq!(pair(br"a=C:\\bin\\"), ("a".into(), r"C:\bin\".into()));
        assert_eq!(pair(br"a=\t\n\r\f\z"), ("a".into(), "\t\n\r\x0cz".into()));
        assert_eq!(pair(b"a=b\\"), ("a".into(), "b".into()));
        assert_eq!(
            pairs(b"a=1\\\n\nb=2").len(),
            2,
            "a blank line ends a continuation"
        );
    }

    #[test]
    fn bytes_are_latin_1_and_unicode_is_escaped() {
        assert_eq!(pair(b"a=\xe9"), ("a".into(), "é".into()));
        assert_eq!(pair("a=é".as_bytes()), ("a".into(), "Ã©".into()));
        assert_eq!(pair(br"a=\u00e9\uD83D\uDE00"), ("a".into(), "é😀".into()));
        for bad in [&b"a=\\u00g0"[..], b"a=\\u12"] {
            let error = format!("{:#}", Properties::parse(bad).expect_err("bad"));
            assert!(
                error.contains("line 1") && error.contains("four hexadecimal"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_later_of_two_holds() {
        let properties = Properties::parse(b"a=1\nb=2\na=3").expect("sound");
        assert_eq!(properties.get("a"), Some("3"));
        assert_eq!(properties.get("A"), None, "keys are case-sensitive");
        assert_eq!(properties.0.len(), 3);
    }

    #[test]
    fn a_command_is_split_at_spaces_and_knows_no_quotes() {
        for (value, words) in [
            ("a b", &["a", "b"][..]),
            ("a   b  ", &["a", "b"]),
            ("sh -c 'a b'", &["sh", "-c", "'a", "b'"]),
            ("a\tb c", &["a\tb", "c"]),
            ("  a", &["", "a"]),
            ("", &[]),
            ("  ", &[]),
        ] {
            assert_eq!(split_command(value), words, "{value:?}");
        }
    }

    #[test]
    fn what_is_written_is_read_the_same() {
        let texts = [
            "",
            " ",
            "  a b ",
            "k=v:w",
            "#!",
            "C:\\x",
            "a\tb\nc\r\x0c",
            "\u{e9}\u{1f600}\u{7f}",
            "\\",
        ];
        let property = |line: usize, key: &str, value: &str| Property {
            line,
            key: key.into(),
            value: value.into(),
        };
        let all = texts.iter().enumerate();
        let properties = Properties(
            all.map(|(at, text)| property(at + 1, &format!("{at}{text}"), text))
                .collect(),
        );
        let text = properties.to_string();
        assert!(text.is_ascii(), "{text}");
        assert_eq!(Properties::parse(text.as_bytes()).expect(&text), properties);
    }
}
