//! `@FILE`: a command line in a file, for the daemon splits `executableName` at spaces and knows no quotes.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use anyhow::{Context, Result, bail};

/// The arguments after the program's name, with `@FILE` replaced by what the file holds.
///
/// # Errors
/// The file cannot be read, or its quotes do not match; `@FILE` is not the sole argument.
pub(crate) fn arguments(typed: impl Iterator<Item = OsString>) -> Result<Vec<OsString>> {
    let typed: Vec<OsString> = typed.collect();
    let Some(file) = typed
        .first()
        .and_then(|first| first.as_bytes().strip_prefix(b"@"))
    else {
        return Ok(typed);
    };
    let file = OsStr::from_bytes(file);
    let name = file.display();
    if typed.len() > 1 {
        bail!("'@{name}' must be the only argument: put the options and the command into the file");
    }
    // The name is relative to the daemon's directory, which is ours.
    let text = std::fs::read(file).with_context(|| format!("cannot read '@{name}'"))?;
    let words = split(&text).with_context(|| format!("in '@{name}': a quote is not closed"))?;
    if let Some(nested) = words
        .first()
        .filter(|word| word.as_bytes().starts_with(b"@"))
    {
        bail!(
            "in '@{name}': '{}' would be a second file; only one is read",
            nested.display()
        );
    }
    Ok(words)
}

/// Splits as a POSIX shell would, without expansion; `None` if a quote is not closed.
pub(crate) fn split(text: &[u8]) -> Option<Vec<OsString>> {
    let text: Vec<u8> = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).to_vec();
    let text = text
        .split(|b| *b == b'\r')
        .collect::<Vec<_>>()
        .join(&b"\n"[..]);
    let words = shlex::bytes::split(&text)?;
    Some(words.into_iter().map(OsString::from_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        split(text.as_bytes()).expect(text)
    }

    #[test]
    fn a_file_is_split_as_a_shell_would_without_expansion() {
        let text = "# a comment\r\n--on-exit 9=done # another\n-- sh -c 'jq . |\n x' \"a \\\" $HOME\" b\\ c a#b ''";
        let expected = [
            "--on-exit",
            "9=done",
            "--",
            "sh",
            "-c",
            "jq . |\n x",
            "a \" $HOME",
            "b c",
            "a#b",
            "",
        ];
        assert_eq!(words(text), expected);
        assert_eq!(split(b"'open"), None);
    }

    #[test]
    fn a_file_is_the_sole_argument_and_not_nested() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            OsString::from(format!("@{}", path.display()))
        };
        let read = |words: &[OsString]| arguments(words.iter().cloned());
        let good = at("good", "--per record -- cat");
        assert_eq!(
            read(std::slice::from_ref(&good)).expect("read"),
            ["--per", "record", "--", "cat"]
        );
        for (words, said) in [
            (vec![good, "x".into()], "only argument"),
            (vec![at("nested", "@other")], "second file"),
            (vec![at("open", "-- 'x")], "quote"),
            (
                vec!["@/no/such/file".into()],
                "cannot read '@/no/such/file'",
            ),
        ] {
            let error = format!("{:#}", read(&words).expect_err(said));
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(
            read(&["--".into(), "@x".into()]).expect("an argument"),
            ["--", "@x"]
        );
    }
}
