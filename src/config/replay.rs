//! What was typed behind `replay`, turned into what a replay needs.

use std::io::{self, IsTerminal};

use anyhow::{Result, bail};

use crate::cli::{EndingName, InputFormatName, ReplayOptions};
use crate::replay::faults::rng::any_seed;
use crate::replay::input::InputFormat;
use crate::replay::shard::{Ending, Rules};
use crate::replay::{Child, Injection, Settings};

pub(super) fn settings(mut options: ReplayOptions) -> Result<Settings> {
    if options.inputs.is_empty() {
        if io::stdin().is_terminal() {
            bail!(
                "no input: name a file with records, or '-' for stdin (see kclpipe replay --help)"
            );
        }
        options.inputs.push("-".into());
    }
    Ok(Settings {
        format: options.input_format.map(input_format),
        shards: options.shards as usize,
        rules: Rules {
            batch_size: options.batch_size as usize,
            ending: ending(options.shutdown),
            restarts: options.restarts,
            quiet: options.empty_reads.0.unwrap_or_default(),
        },
        injection: options.inject.take().map(|faults| Injection {
            faults,
            seed: options.seed.unwrap_or_else(any_seed),
        }),
        timeout: options.timeout.0,
        json: options.json,
        child: child(&mut options)?,
        inputs: options.inputs,
    })
}

fn child(options: &mut ReplayOptions) -> Result<Child> {
    match (options.properties.take(), options.child.is_empty()) {
        (Some(file), true) => Ok(Child::Properties(file)),
        (None, false) => Ok(Child::Words(std::mem::take(&mut options.child))),
        (Some(_), false) => {
            bail!("--properties says what to run, and so does CHILD after '--': remove one of them")
        }
        (None, true) => bail!(
            "no child: write its command after '--', for example kclpipe replay records.txt -- kclpipe -- ./handler.sh, or name a file with --properties"
        ),
    }
}

fn input_format(name: InputFormatName) -> InputFormat {
    match name {
        InputFormatName::Lines => InputFormat::Lines,
        InputFormatName::Jsonl => InputFormat::Jsonl,
        InputFormatName::Aws => InputFormat::Aws,
        InputFormatName::Lambda => InputFormat::Lambda,
        InputFormatName::Capture => InputFormat::Capture,
    }
}

fn ending(name: EndingName) -> Ending {
    match name {
        EndingName::ShardEnd => Ending::ShardEnd,
        EndingName::Graceful => Ending::Graceful,
        EndingName::LeaseLost => Ending::LeaseLost,
        EndingName::Kill => Ending::Kill,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::time::Duration;

    use super::*;
    use crate::config::{Task, read};
    use crate::replay::faults::Faults;

    fn replay(line: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        let words = line.split(' ').map(OsString::from);
        match read(
            words,
            variables.iter().map(|(n, v)| ((*n).into(), (*v).into())),
        )? {
            Task::Replay(settings) => Ok(*settings),
            Task::Show(text) => bail!("shown: {text}"),
            Task::Bridge(_) => bail!("the bridge"),
            Task::Check(_)
            | Task::Init(_)
            | Task::Lambda(_)
            | Task::Launch(_)
            | Task::Redrive(_)
            | Task::Status(_) => bail!("a check"),
        }
    }

    #[test]
    fn the_child_is_everything_behind_the_first_dashes() {
        let settings = replay(
            "replay a b -- kclpipe --checkpoint-records 2 -- ./h.sh",
            &[],
        )
        .expect("sound");
        let expected = ["kclpipe", "--checkpoint-records", "2", "--", "./h.sh"];
        assert_eq!(
            settings.child,
            Child::Words(expected.map(OsString::from).to_vec())
        );
        assert_eq!(settings.inputs.len(), 2);
        assert_eq!(
            (
                settings.shards,
                settings.rules.batch_size,
                settings.rules.restarts
            ),
            (1, 100, 3)
        );
        assert_eq!(
            (settings.rules.ending, settings.json),
            (Ending::ShardEnd, false)
        );
        assert_eq!(settings.rules.quiet, Duration::ZERO);
        assert_eq!(
            (settings.timeout, settings.format),
            (Some(Duration::from_secs(600)), None)
        );
        let settings = replay(
            "replay - --timeout 0 --properties p --shutdown kill --json --empty-reads 3s",
            &[],
        );
        let settings = settings.expect("sound");
        assert_eq!(settings.child, Child::Properties("p".into()));
        assert_eq!(
            (settings.timeout, settings.rules.ending, settings.json),
            (None, Ending::Kill, true)
        );
        assert_eq!(settings.rules.quiet, Duration::from_secs(3));
    }

    #[test]
    fn faults_have_a_seed_chosen_or_not() {
        let injection = |line| replay(line, &[]).expect(line).injection;
        assert_eq!(injection("replay a -- x"), None);
        let chosen = injection("replay --inject kill --seed 7 a -- x").expect("one");
        assert_eq!(
            (chosen.seed, chosen.faults),
            (7, Faults::parse("kill").expect("sound"))
        );
        assert!(injection("replay --inject all a -- x").is_some_and(|any| any.seed < 1_000_000));
    }

    #[test]
    fn the_environment_has_no_say() {
        let variables = [
            ("KCLPIPE_CHECKPOINT_BATCH", "maybe"),
            ("KCLPIPE_TIMEOUT", "1s"),
            ("KCLPIPE_BATCH_SIZE", "7"),
        ];
        let settings = replay("replay a -- kclpipe -- cat", &variables).expect("sound");
        assert_eq!(
            (settings.timeout, settings.rules.batch_size),
            (Some(Duration::from_secs(600)), 100)
        );
    }

    #[test]
    fn a_mistake_is_one_line_that_names_the_operand() {
        for (line, said) in [
            ("replay a", "after '--'"),
            ("replay a --properties p -- kclpipe", "--properties"),
            ("replay --shards 0 a -- x", "--shards"),
            ("replay --batch-size 0 a -- x", "--batch-size"),
            ("replay --shutdown soon a -- x", "graceful"),
            ("replay --timeout 5 a -- x", "60s"),
            (
                "replay --checkpoint-every 5s a -- x",
                "kclpipe replay --help",
            ),
            ("--checkpoint-every 5s replay a -- x", "replay"),
        ] {
            let error = format!("{:#}", replay(line, &[]).expect_err(line));
            assert!(
                error.contains(said) && !error.contains('\n'),
                "{line}: {error}"
            );
        }
        assert!(
            format!("{:#}", replay("-- replay", &[]).expect_err("no replay"))
                .contains("the bridge")
        );
    }
}
