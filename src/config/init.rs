//! What was typed behind `init`, turned into what a new worker needs.

use anyhow::{Result, bail};

use crate::check::{self, Severity};
use crate::cli::InitOptions;
use crate::init::{KCL, Settings};
use crate::properties::{Properties, Property};

pub(super) fn settings(options: InitOptions) -> Result<Settings> {
    let settings = Settings {
        directory: options.dir,
        stream: options.stream,
        application: options.application,
        region: options.region,
        command: options.command,
    };
    for (option, (key, value)) in OPTIONS.iter().zip(settings.values()) {
        refuse(option, key, value)?;
    }
    Ok(settings)
}

/// The options for [`Settings::values`], in the same order.
const OPTIONS: [&str; 3] = ["stream", "application", "region"];

/// Refuses what the daemon or AWS would, before anything is written.
fn refuse(option: &str, key: &str, value: &str) -> Result<()> {
    if value.is_empty() {
        bail!("--{option} is empty");
    }
    let line = Properties(vec![Property {
        line: 0,
        key: key.to_owned(),
        value: value.to_owned(),
    }]);
    let findings = check::examine_lines(&line, KCL).into_iter();
    let mut errors = findings.filter(|finding| finding.severity == Severity::Error);
    match errors.next() {
        Some(error) => bail!("--{option}: {}. {} {}", error.what, error.why, error.fix),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::config::{Task, read};

    fn typed(line: &str) -> Result<Settings> {
        match read(line.split(' ').map(OsString::from), std::iter::empty())? {
            Task::Init(settings) => Ok(*settings),
            other @ (Task::Bridge(_)
            | Task::Replay(_)
            | Task::Check(_)
            | Task::Lambda(_)
            | Task::Launch(_)
            | Task::Redrive(_)
            | Task::Status(_)
            | Task::Show(_)) => bail!("{other:?}"),
        }
    }

    #[test]
    fn all_but_the_directory_is_needed() {
        let settings = typed("init --stream s --application abc --region us-east-1 -- cat -u");
        let expected = Settings {
            directory: None,
            stream: "s".into(),
            application: "abc".into(),
            region: "us-east-1".into(),
            command: vec!["cat".into(), "-u".into()],
        };
        assert_eq!(settings.expect("sound"), expected);
        for (line, said) in [
            ("init", "--stream <NAME>"),
            (
                "init --stream s --application abc --region r -- ",
                "COMMAND",
            ),
            ("init --stream s --application abc -- cat", "--region"),
            (
                "init --stream a/b --application abc --region us-east-1 -- cat",
                "--stream: 'a/b' cannot be",
            ),
            (
                "init --stream s --application a --region us-east-1 -- cat",
                "--application: 'a' cannot be",
            ),
            (
                "init --stream s --application abc --region US -- cat",
                "--region: ",
            ),
            (
                "init --stream= --application abc --region us-east-1 -- cat",
                "--stream is empty",
            ),
        ] {
            let error = format!("{:#}", typed(line.trim_end()).expect_err(line));
            assert!(error.contains(said) && !error.contains('\n'), "{error}");
        }
    }
}
