//! Words in braces in the handler's arguments, which stand for what it gets.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::Given;
use super::environment::id;
use crate::process::Command;

/// What each word stands for.
pub(in crate::handler) type Values = Vec<(&'static str, String)>;

/// What the words stand for where a handler gets certain records; of one that lives on only the shard and the
/// name of the application are known. Payloads and keys are for no command line: others can see it.
pub(in crate::handler) fn values(given: &Given<'_>, name: &str, lives_on: bool) -> Values {
    let mut values = vec![
        ("{shard}", given.shard_id.to_owned()),
        ("{name}", name.to_owned()),
    ];
    if !lives_on {
        let [first, last] = [given.first, given.last].map(|index| given.queue.position(index));
        values.push(("{id}", id(given)));
        values.push(("{sequence}", first.to_string()));
        values.push(("{first}", first.to_string()));
        values.push(("{last}", last.to_string()));
    }
    values
}

/// The words that stand for the records of one attempt.
const OF_RECORDS: [&str; 4] = ["{id}", "{sequence}", "{first}", "{last}"];

/// The first of these words in a handler's arguments.
pub(crate) fn placeholder_of_records(arguments: &[OsString]) -> Option<&'static str> {
    let has = |word: &str| {
        let mut arguments = arguments.iter();
        arguments.any(|text| text.to_string_lossy().contains(word))
    };
    OF_RECORDS.into_iter().find(|word| has(word))
}

/// The command with what the words in its arguments stand for; other words in braces stay as they are.
pub(in crate::handler) fn fill(command: &Command, values: &Values) -> Command {
    Command {
        arguments: command
            .arguments
            .iter()
            .map(|text| replaced(text, values))
            .collect(),
        ..command.clone()
    }
}

fn replaced(text: &OsStr, values: &Values) -> OsString {
    let (mut rest, mut out) = (text.as_bytes(), Vec::new());
    while let Some(first) = rest.first() {
        let found = values
            .iter()
            .find(|(word, _)| rest.starts_with(word.as_bytes()));
        match found {
            Some((word, value)) => {
                out.extend_from_slice(value.as_bytes());
                rest = &rest[word.len()..];
            }
            None => {
                out.push(*first);
                rest = &rest[1..];
            }
        }
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_words_are_replaced_once_and_others_stay() {
        let values = vec![("{shard}", "{id}".to_owned()), ("{id}", "s-1.0".to_owned())];
        for (text, expected) in [
            ("s3://bucket/{shard}/{id}.txt", "s3://bucket/{id}/s-1.0.txt"),
            ("{print $1} {x} {", "{print $1} {x} {"),
            ("{{id}}", "{s-1.0}"),
            ("", ""),
        ] {
            assert_eq!(replaced(text.as_ref(), &values), expected, "{text}");
        }
        let odd = OsStr::from_bytes(b"\xff{id}");
        assert_eq!(replaced(odd, &values), OsStr::from_bytes(b"\xffs-1.0"));
    }
}
