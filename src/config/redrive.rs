//! What was typed after `redrive`, turned into what is handed over with.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, bail};

use super::{Task, bridge};
use crate::cli::{self, Options, Parsed, RedriveOptions};
use crate::redrive::Settings;

/// `arguments` are all words after the program's name: of those after FILE, one may be `--`, which only they have.
pub(super) fn task(
    options: RedriveOptions,
    arguments: &[OsString],
    environment: &[(OsString, OsString)],
) -> Result<Task> {
    let Some((file, words)) = arguments.get(1..).and_then(<[_]>::split_first) else {
        bail!("no file with dead letters (see kclpipe redrive --help)");
    };
    if *file != *options.file.as_os_str() {
        bail!("'{}' must come right after redrive", options.file.display());
    }
    let words = cli::arguments(words.iter().cloned())?;
    let (variables, _) = cli::variables(environment.iter().cloned())?;
    let typed = match cli::parse(&words, &variables)?.0 {
        Parsed::Bridge(typed) => typed,
        Parsed::Show(text) => return Ok(Task::Show(text)),
    };
    let mut child = defaults(&typed.options, &options);
    child.extend(words);
    // What it says of a mistake is best said now.
    let checked = bridge(Path::new(""), child.clone(), environment.iter().cloned())?;
    let Task::Bridge(config) = &checked else {
        return Ok(checked);
    };
    let failures = config.settings.letter_file().map(Path::to_path_buf);
    Ok(Task::Redrive(Box::new(Settings {
        file: options.file,
        child,
        failures,
    })))
}

/// Whether nothing is said of what becomes of a record that fails.
fn goes_back(options: &Options) -> bool {
    let of = &options.failures;
    of.dead_letter.is_none() && of.dead_letter_command.is_none() && of.on_failure.is_none()
}

/// Options for which others are a better default here than for a worker.
fn defaults(options: &Options, own: &RedriveOptions) -> Vec<OsString> {
    // A letter passed the filter of its time, and one that does not pass now would be gone unseen.
    let mut words = vec![OsString::from("--filter=off")];
    if goes_back(options) {
        let mut word = OsString::from("--dead-letter=");
        word.push(&own.file);
        words.push(word);
    }
    let checkpoints = &options.checkpoints;
    let is_said = checkpoints.checkpoint_every.is_some()
        || checkpoints.checkpoint_records.is_some()
        || checkpoints.checkpoint_batch
        || checkpoints.checkpoint_manual;
    if !is_said {
        words.push("--checkpoint-every=1s".into());
    }
    // Letters that all fail again are as safe as before, and whoever waits wants to know.
    if options.failures.max_consecutive_failures.is_none() {
        words.push("--max-consecutive-failures=0".into());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::read;

    fn redrive(line: &str) -> Result<Settings> {
        let words = line.split(' ').map(OsString::from);
        match read(words, std::iter::empty())? {
            Task::Redrive(settings) => Ok(*settings),
            other @ (Task::Bridge(_)
            | Task::Replay(_)
            | Task::Check(_)
            | Task::Init(_)
            | Task::Lambda(_)
            | Task::Launch(_)
            | Task::Status(_)
            | Task::Show(_)) => bail!("{other:?}"),
        }
    }

    #[test]
    fn what_fails_again_goes_back_unless_an_option_says_otherwise() {
        let settings = redrive("redrive dead -- ./h.sh").expect("sound");
        assert_eq!(settings.failures, Some("dead".into()));
        let expected = [
            "--filter=off",
            "--dead-letter=dead",
            "--checkpoint-every=1s",
            "--max-consecutive-failures=0",
            "--",
            "./h.sh",
        ];
        assert_eq!(settings.child, expected.map(OsString::from));
        let line = "redrive dead --on-failure skip --max-attempts 1 --checkpoint-batch --max-consecutive-failures 3 -- cat";
        let settings = redrive(line).expect("sound");
        assert_eq!((settings.failures, settings.child.len()), (None, 10));
        let settings = redrive("redrive dead --dead-letter other -- cat").expect("sound");
        assert_eq!(settings.failures, Some("other".into()));
        let line = "redrive dead --name app --dead-letter {name}-{shard} -- cat";
        let settings = redrive(line).expect("sound");
        assert_eq!(settings.failures, Some("app-{shard}".into()));
    }

    #[test]
    fn a_mistake_is_one_line_before_anything_is_moved() {
        for (line, said) in [
            ("redrive", "FILE"),
            ("redrive dead", "no handler"),
            ("redrive dead --jobs 0 -- cat", "--jobs"),
            ("redrive dead cat", "'cat'"),
            (
                "redrive dead --checkpoint-manual --checkpoint-batch -- cat",
                "--checkpoint-batch",
            ),
        ] {
            let error = format!("{:#}", redrive(line).expect_err(line));
            assert!(
                error.contains(said) && !error.contains('\n'),
                "{line}: {error}"
            );
        }
    }
}
