//! What was typed behind `check`, turned into what a check needs; and what a check needs of kclpipe's own
//! options.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::{Config, Task};
use crate::check::{Child, Place, Settings};
use crate::cli::{self, CheckOptions};
use crate::handler::Per;
use crate::outcome::REJECT;

pub(super) fn settings(options: CheckOptions) -> Result<Settings> {
    if let Some(directory) = options
        .directory
        .as_ref()
        .filter(|directory| !directory.is_dir())
    {
        bail!("--directory '{}' is not a directory", directory.display());
    }
    Ok(Settings {
        file: options.file,
        kcl: options.kcl,
        directory: options.directory,
        json: options.json,
    })
}

/// Whether our surroundings say which region of AWS it is, as the SDK asks them: the environment, or a
/// profile. What a machine of EC2 says of itself is not asked.
pub(crate) fn region_is_known(environment: impl Iterator<Item = (OsString, OsString)>) -> bool {
    let environment: BTreeMap<OsString, OsString> = environment.collect();
    let set = |name: &str| {
        environment
            .get(OsStr::new(name))
            .filter(|value| !value.is_empty())
    };
    let profiles = match set("AWS_CONFIG_FILE") {
        Some(file) => Some(PathBuf::from(file)),
        None => set("HOME").map(|home| Path::new(home).join(".aws/config")),
    };
    let text = profiles
        .and_then(|file| fs::read_to_string(file).ok())
        .unwrap_or_default();
    set("AWS_REGION").is_some()
        || text
            .lines()
            .any(|line| line.trim_start().starts_with("region"))
}

/// What kclpipe would be to the daemon with these arguments, and with the options in our environment;
/// `directory` is the one that the daemon is started in, where that is not our own.
///
/// # Errors
/// One line: what it would complain of, or that it would do something else than be the daemon's child.
pub(crate) fn child(arguments: Vec<OsString>, directory: Option<&Path>) -> Result<Child> {
    // Its last part is what {name} stands for, if nothing else is set.
    let name = directory.and_then(|directory| directory.canonicalize().ok());
    let name = name.and_then(|directory| Some(directory.file_name()?.to_owned()));
    let environment = name.map(|name| ("KCLPIPE_NAME".into(), name)).into_iter();
    let environment = environment.chain(std::env::vars_os());
    let looked_up = directory.unwrap_or(Path::new(""));
    let task = super::read_in(looked_up, arguments.into_iter(), environment)?;
    let Task::Bridge(config) = task else {
        bail!("these arguments do not run it as the daemon's child");
    };
    let places = places(&config);
    let settings = config.settings;
    let own_code = settings.on_exit.0.iter().any(|(code, _)| *code == REJECT);
    let program = Path::new(&settings.command.program).file_name();
    Ok(Child {
        places,
        misplaced: cli::misplaced(&settings.command.arguments),
        curl: program == Some(OsStr::new("curl")) && !own_code,
        commands: settings
            .commands()
            .map(|(what, command)| (what, command.clone()))
            .collect(),
        per_shard: matches!(settings.per, Per::Shard { .. } | Per::Event { .. }),
        timed: config.strategy.every.is_some(),
        timeout: settings.timeout,
        stop_timeout: settings.stop.timeout,
        drain: (settings.read_ahead > 0).then_some(config.drain_timeout),
        windowed: settings.window.is_some(),
        keepalive: config.keepalive,
    })
}

/// Where kclpipe would write files.
fn places(config: &Config) -> Vec<Place> {
    let place = |option, path: Option<&Path>, without| {
        path.map(|path| Place {
            option,
            path: path.to_owned(),
            is_directory: option == "metrics-dir",
            without,
        })
    };
    let all = [
        place(
            "dead-letter",
            config.settings.letter_file(),
            "A record that kclpipe gives up on cannot be written, and blocks its shard.",
        ),
        place(
            "log-file",
            config.logging.file.as_deref(),
            "kclpipe exits with 78 at its start, and the daemon ends, too.",
        ),
        place(
            "metrics-dir",
            config.reporting.metrics_dir.as_deref(),
            "No metrics are written.",
        ),
        place(
            "capture",
            config.capture.as_ref().map(|to| to.file.as_path()),
            "Nothing is captured.",
        ),
    ];
    all.into_iter().flatten().collect()
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
            other @ (Task::Bridge(_)
            | Task::Replay(_)
            | Task::Init(_)
            | Task::Lambda(_)
            | Task::Launch(_)
            | Task::Redrive(_)
            | Task::Status(_)
            | Task::Show(_)) => {
                bail!("{other:?}")
            }
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let expected = Settings {
            file: "p".into(),
            kcl: Version(3, 1, 3),
            directory: None,
            json: false,
        };
        assert_eq!(typed("check p").expect("sound"), expected);
        let settings = typed("check --kcl 2.5.4 --json --directory src p").expect("sound");
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
        let of = |line: &str| child(crate::cli::split(line.as_bytes()).expect(line), None);
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
        assert_eq!((usual.drain, usual.windowed), (None, false));
        let collecting = of("--per batch --batch-window 1m -- cat").expect("sound");
        assert_eq!(
            (collecting.drain, collecting.windowed),
            (Some(Duration::from_secs(15)), true)
        );
        assert!(of("-- curl -d @- x").expect("sound").curl);
        assert!(!of("--on-exit 65=fail -- curl x").expect("sound").curl);
        let paths = |line: &str| {
            let places = of(line).expect(line).places.into_iter();
            places
                .map(|place| (place.option, place.path))
                .collect::<Vec<_>>()
        };
        let expected = [
            ("dead-letter", "d/{shard}".into()),
            ("log-file", "l".into()),
            ("metrics-dir", "m".into()),
            ("capture", "r".into()),
        ];
        let line = "--dead-letter d/{shard} --log-file l --metrics-dir m --capture r -- x";
        assert_eq!(paths(line), expected);
        let elsewhere = child(
            crate::cli::split(b"--log-file {name}/l -- x").expect("sound"),
            Some(Path::new("/usr")),
        );
        assert_eq!(elsewhere.expect("sound").places[0].path, Path::new("usr/l"));
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

    #[test]
    fn a_region_is_named_by_the_environment_or_by_a_profile() {
        let folder = tempfile::tempdir().expect("a folder");
        let known = |variables: &[(&str, &Path)]| {
            let pairs = variables.iter();
            region_is_known(pairs.map(|(name, value)| (name.into(), value.as_os_str().into())))
        };
        assert!(!known(&[]) && !known(&[("AWS_REGION", Path::new(""))]));
        assert!(known(&[("AWS_REGION", Path::new("eu-west-1"))]));
        assert!(!known(&[("HOME", folder.path())]));
        let file = folder.path().join(".aws/config");
        fs::create_dir(folder.path().join(".aws")).expect("made");
        fs::write(&file, "[default]\nregion = eu-west-1\n").expect("written");
        assert!(known(&[("HOME", folder.path())]) && known(&[("AWS_CONFIG_FILE", &file)]));
    }
}
