//! The child's command: where it is from, how Java would start it, and what to say where it is no child.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::io::Errno;

use super::screen::say;
use crate::process::{Command, find};
use crate::properties::{Properties, split_command};

/// Where the child's command is from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Child {
    /// The command line.
    Words(Vec<OsString>),
    /// `executableName` in this file.
    Properties(PathBuf),
}

impl Child {
    /// What to start, and what to say if it turns out to be no child of the daemon.
    ///
    /// # Errors
    /// There is no command.
    pub(super) fn command(&self) -> Result<(Command, Option<String>)> {
        let words = match self {
            Child::Words(words) => words.clone(),
            Child::Properties(file) => executable_name(file)?,
        };
        let Some((program, arguments)) = words.split_first() else {
            bail!("no child: its command is empty");
        };
        let command = Command {
            program: own_if_kclpipe(program)?,
            arguments: arguments.to_vec(),
            directory: None,
        };
        Ok((command, self.hint(&words)))
    }

    /// A command that names kclpipe nowhere may be a handler, put where its child belongs.
    fn hint(&self, words: &[OsString]) -> Option<String> {
        let words: Vec<String> = words
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        if words.iter().any(|word| word.contains("kclpipe")) {
            return None;
        }
        let place = match self {
            Child::Words(_) => "-- ",
            Child::Properties(_) => "executableName = ",
        };
        let program = words.first()?;
        let handler = shlex::try_join(words.iter().map(String::as_str)).ok()?;
        Some(format!(
            "'{program}' is not kclpipe and does not speak the daemon's protocol; if it is a handler, write: {place}kclpipe -- {handler}"
        ))
    }
}

fn own_if_kclpipe(program: &OsStr) -> Result<OsString> {
    if program != "kclpipe" {
        return Ok(program.to_owned());
    }
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    say(&format!("'kclpipe' is this program, '{}'", own.display()));
    Ok(own.into_os_string())
}

/// The command that the daemon would make of a configuration.
fn executable_name(file: &Path) -> Result<Vec<OsString>> {
    let name = file.display();
    let bytes =
        std::fs::read(file).with_context(|| format!("cannot read the properties '{name}'"))?;
    let properties = Properties::parse(&bytes).with_context(|| format!("in '{name}'"))?;
    let Some(value) = properties.get("executableName") else {
        bail!("'{name}' has no executableName");
    };
    let words = split_command(value);
    match words.first().map(String::as_str) {
        None => bail!("executableName in '{name}' is empty"),
        Some("") => {
            bail!("executableName in '{name}' starts with a space, so the daemon would run ''")
        }
        Some(_) => say(&format!("'{name}' runs {words:?}")),
    }
    Ok(words.into_iter().map(OsString::from).collect())
}

/// What Java starts where the system says `error` of `command`: a script without `#!` is given to the shell
/// (`childproc.c`). `None` where Java fails, too.
pub(super) fn as_java_starts(command: &Command, error: &io::Error) -> Option<Command> {
    if error.raw_os_error() != Some(Errno::NOEXEC.raw_os_error()) {
        return None;
    }
    let script = find(&command.program, Path::new("")).ok()?;
    let arguments = command.arguments.iter().cloned();
    Some(Command {
        program: "/bin/sh".into(),
        arguments: std::iter::once(script.into_os_string())
            .chain(arguments)
            .collect(),
        directory: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_file(text: &str) -> Result<Vec<OsString>> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("my.properties");
        std::fs::write(&file, text).expect("written");
        executable_name(&file)
    }

    fn words(words: &[&str]) -> Child {
        Child::Words(words.iter().map(OsString::from).collect())
    }

    #[test]
    fn the_deployed_line_is_what_is_tried() {
        let words =
            in_file("executableName = old\nexecutableName = kclpipe  --name \\\n x -- sh -c 'a b'");
        let expected = ["kclpipe", "--name", "x", "--", "sh", "-c", "'a", "b'"];
        assert_eq!(words.expect("sound"), expected.map(OsString::from));
        for (text, said) in [
            ("streamName=x", "my.properties' has no executableName"),
            ("executablename=x", "no executableName"),
            ("executableName=", "is empty"),
            ("executableName=\\ x", "starts with a space"),
            ("executableName=\\u12", "line 1"),
        ] {
            let error = format!("{:#}", in_file(text).expect_err(text));
            assert!(
                error.contains(said) && error.contains("my.properties"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_bare_kclpipe_is_this_very_program() {
        let own = std::env::current_exe().expect("a path");
        let (bare, _) = words(&["kclpipe", "--", "cat"]).command().expect("sound");
        assert_eq!(
            (bare.program, bare.arguments.len()),
            (own.into_os_string(), 2)
        );
        let (other, _) = words(&["./kclpipe"]).command().expect("sound");
        assert_eq!(other.program, "./kclpipe");
        assert!(words(&[]).command().is_err());
    }

    #[test]
    fn a_handler_in_the_childs_place_is_given_its_place() {
        let hint = |child: &Child, all: &[&str]| {
            let all: Vec<OsString> = all.iter().map(OsString::from).collect();
            child.hint(&all)
        };
        let typed = words(&[]);
        let said = hint(&typed, &["./handler.sh", "a b"]).expect("a hint");
        assert!(
            said.starts_with("'./handler.sh' is not kclpipe")
                && said.ends_with("write: -- kclpipe -- ./handler.sh 'a b'"),
            "{said}"
        );
        let said = hint(&Child::Properties("p".into()), &["cat"]).expect("a hint");
        assert!(
            said.ends_with("write: executableName = kclpipe -- cat"),
            "{said}"
        );
        for child in [
            &["kclpipe", "--", "cat"][..],
            &["/usr/bin/kclpipe", "cat"],
            &["sh", "-c", "exec kclpipe -- cat"],
        ] {
            assert_eq!(hint(&typed, child), None);
        }
    }

    #[test]
    fn java_gives_a_script_without_its_first_line_to_the_shell() {
        let command = Command {
            program: "sh".into(),
            arguments: vec!["a".into()],
            directory: None,
        };
        let started = as_java_starts(&command, &Errno::NOEXEC.into()).expect("a script");
        assert_eq!(started.program, "/bin/sh");
        let arguments = started.arguments;
        assert!(arguments[0].to_string_lossy().ends_with("/sh"));
        assert_eq!(arguments[1..], ["a"]);
        assert_eq!(as_java_starts(&command, &Errno::NOENT.into()), None);
    }
}
