//! `executableName`: how the daemon would run its child, and what kclpipe would make of its options.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::program::{self, Starter, Wrong};
use super::report::{Finding, Severity};
use super::{Child, Place, Scope};
use crate::process::{Command, find};
use crate::properties::{Property, split_command};

/// What a shell would take for more than text, as words of their own.
const OPERATORS: [&str; 8] = ["|", "||", "&", "&&", ">", ">>", "<", "2>&1"];

/// Names of arguments whose values nobody else should read.
const SECRETS: [&str; 8] = [
    "password",
    "passwd",
    "secret",
    "token",
    "apikey",
    "api-key",
    "api_key",
    "access-key",
];

/// What is wrong with the command; also kclpipe's options, if it is kclpipe and they are right.
pub(super) fn examine(scope: &Scope) -> (Vec<Finding>, Option<Child>) {
    let Some(property) = scope.get("executableName") else {
        return (Vec::new(), None);
    };
    let words = split_command(&property.value);
    let error = |id: &'static str, what: String, why: &str, fix: &str| {
        Finding::about(property, Severity::Error).says(id, what, why, fix)
    };
    let mut findings: Vec<Finding> = shell(&property.value, &words)
        .map(|(id, what, why, fix)| error(id, what, why, fix))
        .into_iter()
        .chain(secret(&words).map(|name| with_secret(property, &name)))
        .collect();
    // What is wrong so far makes nonsense of the words; one mistake is one finding.
    if findings.iter().any(|f| f.severity == Severity::Error) {
        return (findings, None);
    }
    let Some((program, arguments)) = words.split_first() else {
        return (findings, None);
    };
    findings.extend(the_program(program, property, scope));
    if Path::new(program).file_name() != Some(OsStr::new("kclpipe")) {
        return (findings, None);
    }
    match (scope.context.child)(in_directory(arguments, scope)) {
        Ok(child) => {
            let commands = child.commands.iter();
            findings.extend(
                commands.filter_map(|(what, command)| started(what, command, property, scope)),
            );
            findings.extend(
                child
                    .places
                    .iter()
                    .filter_map(|p| place(p, property, scope)),
            );
            findings.extend(
                child
                    .misplaced
                    .as_ref()
                    .map(|word| misplaced(word, property)),
            );
            findings.extend(child.curl.then(|| curl(property)));
            (findings, Some(child))
        }
        Err(e) => {
            findings.push(error(
                "options-invalid",
                format!("kclpipe would refuse it: {e:#}"),
                "A child that fails at its start ends the daemon, with all shards of this worker.",
                "Fix its options; kclpipe --help lists them.",
            ));
            (findings, None)
        }
    }
}

/// What only a shell would understand. The daemon splits at spaces
/// (`MultiLangRecordProcessorFactory`) and runs the words as they are.
fn shell(value: &str, words: &[String]) -> Option<Wrong> {
    let blank = value
        .chars()
        .find(|c| (c.is_whitespace() || c.is_control()) && *c != ' ');
    let operator = words.iter().find(|word| OPERATORS.contains(&word.as_str()));
    let said = |so: bool, what: &str| so.then(|| what.to_owned());
    // The first that is found is the one that is reported: one mistake often makes the others.
    let all = [
        (
            "command-leading-blank",
            said(
                words.first().is_some_and(String::is_empty),
                "it begins with a blank",
            ),
            "The daemon splits at spaces, so the program's name is empty.",
            "Remove the backslash before the blank.",
        ),
        (
            "command-blank",
            blank.map(|blank| format!("it contains {blank:?}, which is not a space")),
            "The daemon splits at spaces only, so this becomes part of a word.",
            "Write a space.",
        ),
        (
            "command-comment",
            said(
                words.iter().any(|word| word.starts_with('#')),
                "what looks like a comment is part of it",
            ),
            "A comment must start at the beginning of a line.",
            "Put the comment on a line of its own.",
        ),
        (
            "command-quotes",
            said(
                words.iter().any(|word| is_quoted(word)),
                "its quotes are passed on as they are",
            ),
            "The daemon splits at spaces and does not understand quotes, so quoted text breaks apart and keeps its quotes.",
            "Write kclpipe @FILE and put the rest into FILE, which is split as a shell would.",
        ),
        (
            "command-variable",
            words
                .iter()
                .find_map(|word| variable(word))
                .map(|name| format!("{name} is passed on as it is")),
            "The daemon does not expand variables or ~; there is no shell.",
            "Write the value itself, or name a script that finds it.",
        ),
        (
            "command-operator",
            operator.map(|word| format!("{word} is passed to the program as an argument")),
            "There is no shell to turn it into a pipeline or a redirection.",
            "Write kclpipe @FILE and put -- sh -c '...' into FILE.",
        ),
    ];
    all.into_iter()
        .find_map(|(id, what, why, fix)| Some((id, what?, why, fix)))
}

fn is_quoted(word: &str) -> bool {
    word.starts_with(['\'', '"']) || word.ends_with(['\'', '"'])
}

/// What a shell would replace in a word.
pub(super) fn variable(word: &str) -> Option<String> {
    let after = word.split('$').skip(1);
    let named =
        after.filter(|rest| rest.starts_with(|c: char| c.is_alphabetic() || "_{(".contains(c)));
    let name = |rest: &str| {
        let name = rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || "_{}()".contains(*c));
        format!("${}", name.collect::<String>())
    };
    let home = word.starts_with("~/").then(|| "~".to_owned());
    named.map(name).next().or(home)
}

/// The name of an argument with a secret in it.
fn secret(words: &[String]) -> Option<String> {
    let in_url = |word: &String| {
        let (_, rest) = word.split_once("://")?;
        let (user, _) = rest.split('/').next()?.rsplit_once('@')?;
        user.contains(':').then(|| "an address".to_owned())
    };
    let named = words.iter().enumerate().find_map(|(at, word)| {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, value),
            None if word.starts_with("--") => (word.as_str(), words.get(at + 1)?.as_str()),
            None => return None,
        };
        let lower = name.to_lowercase();
        let secret = SECRETS.iter().any(|secret| lower.contains(secret));
        let elsewhere = value.is_empty() || value.starts_with(['/', '.', '@', '-']);
        (secret && !elsewhere && !lower.ends_with("file")).then(|| name.to_owned())
    });
    named.or_else(|| words.iter().find_map(in_url))
}

fn with_secret(property: &Property, name: &str) -> Finding {
    Finding::about(property, Severity::Warning).says(
        "secret-in-command",
        format!("it seems to contain a secret, in {name}"),
        "The daemon logs every value of this file, and ps shows every argument.",
        "Pass it to the handler in the environment or a file.",
    )
}

/// The directory that relative names are looked up in: empty for our own.
fn directory(scope: &Scope) -> PathBuf {
    scope
        .context
        .directory
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// `@FILE` as seen from our own directory.
fn in_directory(arguments: &[String], scope: &Scope) -> Vec<OsString> {
    let words = arguments.iter().map(OsString::from);
    let mut words: Vec<OsString> = words.collect();
    if let Some(file) = arguments.first().and_then(|first| first.strip_prefix('@')) {
        let mut word = OsString::from("@");
        word.push(directory(scope).join(file));
        words[0] = word;
    }
    words
}

fn the_program(program: &str, property: &Property, scope: &Scope) -> Option<Finding> {
    let path = Path::new(program);
    let relative = program.contains('/') && path.is_relative();
    let last = scope.context.last_in_path.map(|last| last.join(program));
    let in_last = !program.contains('/')
        && last.is_some_and(|file| find(file.as_os_str(), Path::new("")).is_ok());
    match find(program.as_ref(), &directory(scope)) {
        // launch puts its own directory last in the daemon's PATH, so a name may be found there alone.
        Err(e) if !in_last => {
            return Some(Finding::about(property, Severity::Error).says(
                "program-missing",
                format!("'{program}' cannot be run: {e:#}"),
                "The daemon ends when its first child cannot be started.",
                where_to_look(relative, scope),
            ));
        }
        Ok(file) => {
            let wrong = program::examine(&file, &directory(scope), Starter::Java);
            if let Some((id, what, why, fix)) = wrong {
                let severity = if id == program::NO_LINE {
                    Severity::Warning
                } else {
                    Severity::Error
                };
                return Some(Finding::about(property, severity).says(
                    id,
                    format!("'{program}': {what}"),
                    why,
                    fix,
                ));
            }
        }
        Err(_) => {}
    }
    (relative && scope.context.directory.is_none()).then(|| {
        Finding::about(property, Severity::Warning).says(
            "program-relative",
            format!("'{program}' is relative to the directory the daemon starts in"),
            "From another directory, for example under a service manager, the daemon ends at its first child.",
            "Write the full path, or use --directory to say where the daemon starts.",
        )
    })
}

/// A command of kclpipe's that is missing when it starts.
fn started(what: &str, command: &Command, property: &Property, scope: &Scope) -> Option<Finding> {
    let own = command.directory.clone().unwrap_or_default();
    // kclpipe looks from the directory of the daemon, and its commands from --chdir below that.
    let seen = Command {
        directory: Some(directory(scope).join(&own)),
        ..command.clone()
    };
    let relative = command.program.as_bytes().contains(&b'/')
        && Path::new(&command.program).is_relative()
        && own.is_relative();
    let file = match seen.find(what) {
        Ok(file) => file,
        Err(error) => {
            return Some(Finding::about(property, Severity::Error).says(
                "program-missing",
                format!("{error:#}"),
                "If it is missing at the start, kclpipe exits with 78 and the daemon ends, too.",
                where_to_look(relative, scope),
            ));
        }
    };
    let started_in = seen.directory.unwrap_or_default();
    let (id, wrong, why, fix) = program::examine(&file, &started_in, Starter::Kclpipe)?;
    let program = command.program.display();
    Some(Finding::about(property, Severity::Error).says(
        id,
        format!("{what} '{program}': {wrong}"),
        why,
        fix,
    ))
}

/// A folder that a file option needs. One with a shard's name in it cannot be known here.
fn place(place: &Place, property: &Property, scope: &Scope) -> Option<Finding> {
    let folder = place.folder()?;
    let seen = directory(scope).join(folder);
    let shown = if folder.as_os_str().is_empty() {
        return None;
    } else {
        folder.display()
    };
    (!seen.is_dir()).then(|| {
        let relative = folder.is_relative() && scope.context.directory.is_none();
        Finding::about(property, Severity::Error).says(
            "directory-missing",
            format!(
                "the directory '{shown}' does not exist (--{})",
                place.option
            ),
            place.without,
            if relative {
                where_to_look(true, scope)
            } else {
                "Create it for the user that the daemon runs as: kclpipe does not create directories."
            },
        )
    })
}

/// An option of kclpipe's that the handler is given.
fn misplaced(word: &str, property: &Property) -> Finding {
    Finding::about(property, Severity::Warning).says(
        "option-after-dashes",
        format!("{word} comes after '--', so it is an argument of the handler"),
        "kclpipe has an option of this name, and this does not set it.",
        "Write it before the '--'.",
    )
}

/// curl has exit codes of its own.
fn curl(property: &Property) -> Finding {
    Finding::about(property, Severity::Warning).says(
        "curl-exit-code",
        "the handler is curl, and kclpipe takes its exit code 65 to mean that the record is bad",
        "curl exits with 65 when it could not send its data again after a redirect, and without -f it exits with 0 after any answer of the server, errors included.",
        "Write --on-exit 65=fail, and use curl -f; better, write a script that distinguishes 4xx from 5xx.",
    )
}

fn where_to_look(relative: bool, scope: &Scope) -> &'static str {
    if relative && scope.context.directory.is_none() {
        "It is relative: write the full path, or use --directory to say where the daemon starts."
    } else {
        "Install it, or write its full path."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        split_command(text)
    }

    #[test]
    fn what_only_a_shell_would_understand_is_found() {
        for (text, said) in [
            ("kclpipe -- sh -c 'cat -n'", Some("quotes")),
            ("kclpipe -- jq \".a\"", Some("quotes")),
            ("$HOME/bin/kclpipe @f", Some("$HOME")),
            ("kclpipe --chdir ${DIR} -- x", Some("${DIR}")),
            ("~/kclpipe @f", Some("~ is")),
            ("kclpipe\t@f", Some("'\\t'")),
            ("kclpipe\u{a0}@f", Some("'\\u{a0}'")),
            (" kclpipe @f", Some("blank")),
            ("kclpipe -- a | b", Some("| is passed")),
            ("kclpipe @f # mine", Some("comment")),
            (
                "kclpipe --on-exit 99=checkpoint -- ./cost$ {\"a\":1} it's",
                None,
            ),
        ] {
            let found = shell(text, &words(text)).map(|(_, what, ..)| what);
            let fits = found
                .as_deref()
                .zip(said)
                .map(|(what, said)| what.contains(said));
            assert_eq!(fits, said.map(|_| true), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn a_secret_is_found_and_never_repeated() {
        for (text, name) in [
            ("kclpipe -- up --password hunter2", Some("--password")),
            ("kclpipe -- up --api-token=hunter2", Some("--api-token")),
            ("kclpipe -- up DB_PASSWORD=hunter2", Some("DB_PASSWORD")),
            (
                "kclpipe -- psql postgres://me:hunter2@db/x",
                Some("an address"),
            ),
            ("kclpipe -- up --password-file /run/p", None),
            ("kclpipe -- up --token /run/token", None),
            ("kclpipe -- up http://me@host/x a=b", None),
        ] {
            assert_eq!(secret(&words(text)).as_deref(), name, "{text}");
        }
    }
}
