//! Words of others, made fit for a line of ours and for the name of a file.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Text in which no character can disturb a terminal, forge a line or turn its order round.
pub(crate) fn line(text: &str) -> Cow<'_, str> {
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
pub(crate) fn file_name(text: &str) -> String {
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

/// The file that `path` stands for, where `{shard}` in it is the shard. What is not UTF-8 stays as it is.
pub(crate) fn with_shard(path: &Path, shard_id: &str) -> PathBuf {
    match path.to_str() {
        Some(text) => text.replace("{shard}", &file_name(shard_id)).into(),
        None => path.to_path_buf(),
    }
}

/// What is wrong with JSON, and where, without anything of what stands in it: that may be a payload. The names
/// of missing fields are our own.
pub(crate) fn redacted(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let words = text.split(" at line ").next().unwrap_or_default();
    let is_about_a_field = ["missing field", "duplicate field"];
    let words = if is_about_a_field
        .iter()
        .any(|start| words.starts_with(start))
    {
        words
    } else {
        words
            .split(['"', '`'])
            .next()
            .unwrap_or_default()
            .trim_end()
    };
    format!("{words} (line {}, column {})", error.line(), error.column())
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
    fn the_shard_is_put_into_a_path() {
        let path = with_shard("/x/{shard}/{shard}.jsonl".as_ref(), "../y");
        assert_eq!(path, PathBuf::from("/x/.._y/.._y.jsonl"));
        assert_eq!(with_shard("/x/y".as_ref(), "s"), PathBuf::from("/x/y"));
    }

    #[test]
    fn an_error_about_json_says_nothing_of_what_is_in_it() {
        #[derive(Debug, serde::Deserialize)]
        #[expect(dead_code, reason = "only what cannot be read matters")]
        struct Pair {
            key: u8,
        }
        for (text, expected) in [
            (
                r#"{"key":"secret at line 7"}"#,
                "invalid type: string (line 1, column 25)",
            ),
            (
                "{\"key\":\n777}",
                "invalid value: integer (line 2, column 3)",
            ),
            ("{}", "missing field `key` (line 1, column 2)"),
            ("{\"key\"", "EOF while parsing an object (line 1, column 6)"),
        ] {
            let error = serde_json::from_str::<Pair>(text).expect_err(text);
            assert_eq!(redacted(&error), expected);
        }
    }
}
