//! Words of others, made fit for a line of ours and for the name of a file.

use std::borrow::Cow;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Text in which no character can disturb a terminal, forge a line or turn its order round.
pub fn line(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_harmless) {
        return Cow::Borrowed(text);
    }
    let fit = text.chars().map(|c| {
        if is_harmless(c) {
            c
        } else {
            char::REPLACEMENT_CHARACTER
        }
    });
    Cow::Owned(fit.collect())
}

fn is_harmless(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let breaks = matches!(c, '\u{2028}' | '\u{2029}');
    c == '\t' || !(c.is_control() || turns || breaks)
}

/// A text as a part of a file's name: it leads to no other directory.
pub fn file_name(text: &str) -> String {
    let is_fit = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    let fit: String = text
        .chars()
        .map(|c| if is_fit(c) { c } else { '_' })
        .collect();
    match fit.as_str() {
        "." | ".." => fit.replace('.', "_"),
        _ => fit,
    }
}

/// The file that `path` stands for, where `{shard}` in it is the shard.
pub fn with_shard(path: &Path, shard_id: &str) -> PathBuf {
    const WORD: &[u8] = b"{shard}";
    let shard = file_name(shard_id);
    let (mut rest, mut name) = (path.as_os_str().as_bytes(), Vec::new());
    while let Some(at) = memchr::memmem::find(rest, WORD) {
        name.extend_from_slice(&rest[..at]);
        name.extend_from_slice(shard.as_bytes());
        rest = &rest[at + WORD.len()..];
    }
    name.extend_from_slice(rest);
    OsString::from_vec(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_a_line() {
        assert!(matches!(line("plain é\t!"), Cow::Borrowed(_)));
        assert_eq!(
            line("a\x1b[31m\nb\u{85}\u{7f}"),
            "a\u{fffd}[31m\u{fffd}b\u{fffd}\u{fffd}"
        );
        assert_eq!(
            line("a\u{202e}b\u{2066}c\u{2028}d"),
            "a\u{fffd}b\u{fffd}c\u{fffd}d"
        );
    }

    #[test]
    fn a_name_leads_nowhere_else() {
        for (text, name) in [
            ("shardId-000000000001", "shardId-000000000001"),
            ("../x", ".._x"),
            ("..", "__"),
            (".", "_"),
            ("a/b\n", "a_b_"),
        ] {
            assert_eq!(file_name(text), name);
        }
    }

    #[test]
    fn the_shard_is_put_into_any_path() {
        let path = OsString::from_vec(b"/x\xff/{shard}/{shard}.jsonl".to_vec());
        let expected = OsString::from_vec(b"/x\xff/.._y/.._y.jsonl".to_vec());
        assert_eq!(with_shard(path.as_ref(), "../y"), PathBuf::from(expected));
        assert_eq!(with_shard("/x/y".as_ref(), "s"), PathBuf::from("/x/y"));
    }
}
