//! Text with `*` for any other text.

use memchr::memmem;

/// The texts between the stars, of which there is one more than stars.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wildcard {
    parts: Vec<String>,
}

impl Wildcard {
    /// Reads a pattern in which `\*` is a star and `\\` a backslash.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(pattern: &str) -> Result<Wildcard, &'static str> {
        let mut parts = vec![String::new()];
        let mut letters = pattern.chars();
        let mut after_star = false;
        while let Some(letter) = letters.next() {
            if letter == '*' && after_star {
                return Err("two '*' follow each other, and one does the same");
            }
            after_star = letter == '*';
            match letter {
                '*' => parts.push(String::new()),
                '\\' => push(&mut parts, escaped(letters.next())?),
                _ => push(&mut parts, letter),
            }
        }
        Ok(Wildcard { parts })
    }

    /// Whether this text is like that.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        match self.parts.as_slice() {
            [] => false,
            [whole] => text == whole.as_bytes(),
            [first, middle @ .., last] => {
                let rest = text.strip_prefix(first.as_bytes());
                let rest = rest.and_then(|rest| rest.strip_suffix(last.as_bytes()));
                rest.is_some_and(|rest| follow_each_other(middle, rest))
            }
        }
    }
}

fn push(parts: &mut [String], letter: char) {
    if let Some(part) = parts.last_mut() {
        part.push(letter);
    }
}

fn escaped(letter: Option<char>) -> Result<char, &'static str> {
    letter
        .filter(|letter| matches!(letter, '*' | '\\'))
        .ok_or("a '\\' comes before '*' or another '\\' alone")
}

/// Whether the text has all these parts, in this order.
fn follow_each_other(parts: &[String], text: &[u8]) -> bool {
    let mut rest = text;
    parts.iter().all(|part| {
        let at = memmem::find(rest, part.as_bytes());
        rest = at.map_or(&[], |at| &rest[at + part.len()..]);
        at.is_some()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_any_text_and_nothing_is_read_twice() {
        for (pattern, text, matches) in [
            ("a*b*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "ac", false),
            ("ab*ba", "aba", false),
            ("*aa*aa*", "aaa", false),
            ("*aa*aa*", "aaaa", true),
            ("a*", "a", true),
            (r"\**\\", r"*x\", true),
        ] {
            let read = Wildcard::read(pattern).expect(pattern);
            assert_eq!(read.matches(text.as_bytes()), matches, "{pattern} {text}");
        }
        for bad in ["**", r"\", r"\x", "a***"] {
            assert!(Wildcard::read(bad).is_err(), "{bad}");
        }
    }
}
