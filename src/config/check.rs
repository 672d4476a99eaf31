//! What was typed behind `check`, turned into what a check needs; and what a check needs of kclpipe's own
//! options.

use std::ffi::OsString;

use anyhow::{Result, bail};

use super::Task;
use crate::check::{Child, Settings};
use crate::cli::{CheckOptions, FindingsName};
use crate::handler::Per;

pub(super) fn settings(options: CheckOptions) -> Result<Settings> {
    if let Some(directory) = options
        .directory
        .as_ref()
        .filter(|directory| !directory.is_dir())
    {
        bail!("--directory '{}' is no directory", directory.display());
    }
    Ok(Settings {
        file: options.file,
        kcl: options.kcl,
        directory: options.directory,
        json: options.format == FindingsName::Json,
    })
}

/// What kclpipe would be to the daemon with these arguments, and with the options in our environment.
///
/// # Errors
/// One line: what it would complain of, or that it would do something else than be the daemon's child.
pub fn child(arguments: Vec<OsString>) -> Result<Child> {
    let Task::Bridge(config) = super::read(arguments.into_iter(), std::env::vars_os())? else {
        bail!("these arguments do not make it the daemon's child");
    };
    let settings = config.settings;
    Ok(Child {
        commands: settings
            .commands()
            .map(|(what, command)| (what, command.clone()))
            .collect(),
        per_shard: matches!(settings.per, Per::Shard { .. }),
        timed: config.strategy.every.is_some(),
        timeout: settings.timeout,
        stop_timeout: settings.stop.timeout,
        keepalive: config.keepalive,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::check::Version;
    use crate::config::read;

    fn typed(line: &str) -> Result<Settings> {
        match read(line.split(' ').map(OsString::from), std::iter::empty())? {
            Task::Check(settings) => Ok(*settings),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let expected = Settings {
            file: "p".into(),
            kcl: Version(3, 5, 1),
            directory: None,
            json: false,
        };
        assert_eq!(typed("check p").expect("sound"), expected);
        let settings = typed("check --kcl 2.5.4 --format json --directory src p").expect("sound");
        assert_eq!((settings.kcl, settings.json), (Version(2, 5, 4), true));
        for (line, said) in [
            ("check", "FILE"),
            ("check --kcl 4 p", "3.1.3"),
            ("check --directory no/such p", "--directory 'no/such'"),
            ("check p q", "kclpipe check --help"),
        ] {
            let error = format!("{:#}", typed(line).expect_err(line));
            assert!(error.contains(said) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn a_check_has_what_it_needs_of_the_options() {
        let of = |line: &str| child(crate::cli::split(line.as_bytes()).expect(line));
        let usual = of("-- cat").expect("sound");
        assert_eq!(
            (usual.timed, usual.timeout, usual.stop_timeout),
            (
                true,
                Some(Duration::from_secs(300)),
                Duration::from_secs(10)
            )
        );
        let other =
            of("--per shard --checkpoint-manual --timeout 0 --keepalive 1m -- cat").expect("sound");
        assert_eq!(
            (other.per_shard, other.timed, other.timeout, other.keepalive),
            (true, false, None, Some(Duration::from_secs(60)))
        );
        for (line, said) in [
            ("--chekpoint-every 5s -- x", "--chekpoint-every"),
            ("--help", "daemon's child"),
            ("replay x -- y", "daemon's child"),
            ("@no/such/file", "no/such/file"),
        ] {
            let error = format!("{:#}", of(line).expect_err(line));
            assert!(error.contains(said), "{error}");
        }
    }
}
