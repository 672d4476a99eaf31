//! What was typed behind `launch`, turned into what a launch needs.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};

use crate::cli::{JARS, LaunchOptions};
use crate::launch::{PROPERTY, Settings};

pub(super) fn settings(
    options: LaunchOptions,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Settings> {
    let (mut jars, mut overrides) = (options.jars, Vec::new());
    for (name, value) in environment {
        if name == JARS {
            let value = value.into_string();
            let value = value.map_err(|_| anyhow!("{JARS} is not UTF-8"))?;
            jars = jars.or_else(|| Some(PathBuf::from(value)).filter(|path| path != Path::new("")));
        } else if let Some(key) = name.to_str().and_then(|name| name.strip_prefix(PROPERTY)) {
            let value = value
                .into_string()
                .map_err(|_| anyhow!("{PROPERTY}{key} is not UTF-8"))?;
            overrides.push((key.to_owned(), value));
        }
    }
    overrides.sort();
    overrides.extend(options.set);
    let java_options = with("-D", options.define).chain(with("-X", options.extra));
    Ok(Settings {
        file: options.file.or(options.properties_file),
        java: options.java,
        jars,
        version: options.kcl,
        fetch: options.fetch,
        overrides,
        backfill: options.backfill,
        java_options: java_options.collect(),
        log_configuration: options.log_configuration,
        check: !options.no_check,
        print: options.print,
    })
}

/// Java's own way to write an option.
fn with(letter: &'static str, options: Vec<OsString>) -> impl Iterator<Item = OsString> {
    options.into_iter().map(move |option| {
        let mut whole = OsString::from(letter);
        whole.push(option);
        whole
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Task, read};

    fn typed(line: &str, environment: &[(&str, &str)]) -> Result<Settings> {
        let arguments = line.split(' ').map(OsString::from);
        let environment = environment
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        match read(arguments, environment)? {
            Task::Launch(settings) => Ok(*settings),
            other @ (Task::Bridge(_)
            | Task::Replay(_)
            | Task::Check(_)
            | Task::Init(_)
            | Task::Lambda(_)
            | Task::Redrive(_)
            | Task::Status(_)
            | Task::Show(_)) => Err(anyhow!("{other:?}")),
        }
    }

    #[test]
    fn options_of_java_go_through_as_they_are() {
        let settings = typed(
            "launch -Xmx1g -Da.b=-1 my.properties -XX:+UseSerialGC -Dc",
            &[],
        )
        .expect("sound");
        assert_eq!(
            settings.java_options,
            ["-Da.b=-1", "-Dc", "-Xmx1g", "-XX:+UseSerialGC"]
        );
        assert!(settings.check && !settings.fetch && settings.version.is_none());
    }

    #[test]
    fn what_is_typed_wins_over_the_environment() {
        let environment = [
            ("KCLPIPE_PROPERTY_streamName", "orders"),
            ("KCLPIPE_PROPERTY_a", "1"),
            ("KCLPIPE_JARS", "/jars"),
            ("STREAM", "x"),
        ];
        let settings = typed("launch --set a=2=3 p", &environment).expect("sound");
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            settings.overrides,
            [
                pair("a", "1"),
                pair("streamName", "orders"),
                pair("a", "2=3")
            ]
        );
        assert_eq!(settings.jars, Some("/jars".into()));
        let settings = typed("launch --jars here p", &environment).expect("sound");
        assert_eq!(settings.jars, Some("here".into()));
    }

    #[test]
    fn mistakes_name_the_option() {
        for (line, said) in [
            ("launch", "FILE"),
            ("launch --set a p", "NAME=VALUE"),
            ("launch --kcl 9 p", "--kcl"),
            ("launch p q", "kclpipe launch --help"),
        ] {
            let error = format!("{:#}", typed(line, &[]).expect_err(line));
            assert!(error.contains(said) && !error.contains('\n'), "{error}");
        }
        assert_eq!(typed("launch --fetch", &[]).expect("sound").file, None);
        for line in ["launch -p k", "launch --properties-file k", "launch k"] {
            let settings = typed(line, &[]).expect(line);
            assert_eq!(settings.file, Some("k".into()), "{line}");
        }
    }
}
