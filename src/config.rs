//! What was typed, turned into what is needed.

mod beside;
mod check;
mod failures;
mod filtering;
mod init;
mod lambda;
mod launch;
mod records;
mod redrive;
mod replay;
mod rules;
mod settings;
mod status;
mod watching;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow, bail};

use crate::capture::To;
use crate::checkpoint::Strategy;
use crate::cli::{
    self, Checkpoints, FormatName, Limit, Options, Other, Parsed, PerName, Typed, Variables,
};
use crate::handler::{self, Settings};
use crate::launched::Launched;
use crate::logging::Logging;
use crate::process::Command;
use crate::reporting;
pub(crate) use check::{child, region_is_known};
use rules::Conflict;

const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// What a run of the bridge needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How records are handed over.
    pub settings: Settings,
    /// When a checkpoint is due.
    pub strategy: Strategy,
    /// How long handlers may go on after a request to shut down.
    pub drain_timeout: Duration,
    /// The daemon that `kclpipe launch` became, if it was that.
    pub worker: Option<u32>,
    /// How long that waits for its children when it is asked to stop, if that is known.
    pub grace: Option<Duration>,
    /// Records that arrived at this time or later are not handed over.
    pub until: Option<SystemTime>,
    /// How often the daemon's time limit is restarted during work; `None` for never.
    pub keepalive: Option<Duration>,
    /// Where the log goes.
    pub logging: Logging,
    /// What else is reported.
    pub reporting: reporting::Settings,
    /// Where the conversation is captured, if it is.
    pub capture: Option<To>,
    /// What is worth a line in the log once there is one.
    pub remarks: Vec<String>,
}

/// What a command line asks for.
#[derive(Debug)]
pub enum Task {
    /// To be the daemon's child.
    Bridge(Box<Config>),
    /// To play the daemon.
    Replay(Box<crate::replay::Settings>),
    /// To look at a properties file.
    Check(Box<crate::check::Settings>),
    /// To write the files of a new worker.
    Init(Box<crate::init::Settings>),
    /// To start the daemon.
    Launch(Box<crate::launch::Settings>),
    /// To hand dead letters over again.
    Redrive(Box<crate::redrive::Settings>),
    /// To serve a function of AWS Lambda's.
    Lambda(Box<crate::lambda::Settings>),
    /// To look at the shards of this machine.
    Status(Box<crate::status::Settings>),
    /// To print this and be done.
    Show(String),
}

/// Reads the command line and the environment.
///
/// # Errors
/// One line that names what is wrong.
pub fn read(
    arguments: impl Iterator<Item = OsString>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Task> {
    read_in(Path::new(""), arguments, environment)
}

/// The same, where files with relative names lie in `directory`.
fn read_in(
    directory: &Path,
    arguments: impl Iterator<Item = OsString>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Task> {
    let arguments: Vec<OsString> = arguments.collect();
    match cli::other(&arguments)? {
        Some(Ok(other)) => task(other, &arguments, environment),
        Some(Err(shown)) => Ok(Task::Show(shown)),
        None => bridge(directory, arguments, environment),
    }
}

/// What a subcommand asks for.
fn task(
    other: Other,
    arguments: &[OsString],
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Task> {
    Ok(match other {
        Other::Replay(options) => Task::Replay(Box::new(replay::settings(*options)?)),
        Other::Check(options) => Task::Check(Box::new(check::settings(*options)?)),
        Other::Init(options) => Task::Init(Box::new(init::settings(*options)?)),
        Other::Lambda(options) => Task::Lambda(Box::new(lambda::settings(*options, environment)?)),
        Other::Launch(options) => Task::Launch(Box::new(launch::settings(*options, environment)?)),
        Other::Complete { words } => Task::Show(cli::complete(&words)),
        Other::Redrive(options) => {
            let environment: Vec<_> = environment.collect();
            redrive::task(*options, arguments, &environment)?
        }
        Other::Status(options) => Task::Status(Box::new(status::settings(*options))),
        Other::Help { command } => Task::Show(cli::help(command.as_deref())?),
        Other::Man => Task::Show(cli::man()?),
        Other::Completions { shell } => Task::Show(cli::completions(shell).to_owned()),
    })
}

/// What asks for the daemon's child; variables that contradict the command line are dropped one by one.
fn bridge(
    directory: &Path,
    arguments: Vec<OsString>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Task> {
    let arguments = cli::arguments(arguments.into_iter())?;
    let environment: Vec<(OsString, OsString)> = environment.collect();
    let launched = Launched::read(&environment);
    let (mut variables, mut remarks) = cli::variables(environment.iter().cloned())?;
    loop {
        let (parsed, given) = cli::parse(&arguments, &variables)?;
        let typed = match parsed {
            Parsed::Show(text) => return Ok(Task::Show(text)),
            Parsed::Bridge(typed) => typed,
        };
        match Config::new(&typed, directory, &launched, &environment)? {
            Ok(config) => {
                lambda::has_its_mode(&config)?;
                remarks.extend(misplaced(&config));
                return Ok(Task::Bridge(Box::new(Config { remarks, ..config })));
            }
            // Read again without it: the next conflict may be another, or none.
            Err(conflict) => remarks.push(drop_variable(&conflict, &mut variables, &given)?),
        }
    }
}

/// What to say of an option of kclpipe's among the handler's arguments.
fn misplaced(config: &Config) -> Option<String> {
    let word = cli::misplaced(&config.settings.command.arguments)?;
    Some(format!(
        "{word} comes after '--', so it is the handler's: kclpipe's own options come before '--'"
    ))
}

/// Drops the variable that contradicts the command line, and says so.
fn drop_variable(
    conflict: &Conflict,
    variables: &mut Variables,
    given: &BTreeSet<String>,
) -> Result<String> {
    let mut options = conflict.options.iter();
    let typed = options.clone().any(|option| given.contains(*option));
    let dropped =
        options.find(|option| !given.contains(**option) && variables.contains_key(**option));
    let Some(option) = dropped.filter(|_| typed) else {
        // Both were typed, or neither: nobody can say which was meant.
        bail!(conflict.message(variables, given));
    };
    variables.remove(*option);
    let variable = cli::variable(option);
    Ok(format!(
        "ignoring the variable {variable}: {}",
        conflict.why
    ))
}

impl Config {
    fn new(
        typed: &Typed,
        directory: &Path,
        launched: &Launched,
        environment: &[(OsString, OsString)],
    ) -> Result<Result<Config, Conflict>> {
        let options = &typed.options.clone().with_defaults(launched);
        let Some((program, arguments)) = typed.command.split_first() else {
            return Err(anyhow!(
                "no handler: write its command after '--', for example kclpipe -- ./handler.sh"
            ));
        };
        if let Some(conflict) = rules::broken(options) {
            return Ok(Err(conflict));
        }
        let command = Command {
            program: program.clone(),
            arguments: arguments.to_vec(),
            directory: options.handover.chdir.clone(),
        };
        if let Some(word) = unknown_placeholder(options, &command) {
            bail!(
                "--placeholders: {word} stands for the records of one attempt, and a handler with --per shard starts before most of its records are there: only {{shard}} and {{name}} are known then"
            );
        }
        Ok(Ok(Config {
            settings: Settings {
                filter: filtering::filter(&options.filtering, directory)?,
                ..settings::settings(options, command, launched, environment)
            },
            strategy: strategy(&options.checkpoints),
            drain_timeout: drain_timeout(options, launched),
            worker: launched.pid,
            grace: launched.grace,
            until: options.lease.until,
            keepalive: off_or(options.daemon.keepalive, None),
            logging: watching::logging(options),
            reporting: watching::reporting(options, launched),
            capture: watching::capture(options),
            remarks: Vec::new(),
        }))
    }
}

/// A placeholder in the handler's arguments that stands for nothing when the handler starts.
fn unknown_placeholder(options: &Options, command: &Command) -> Option<&'static str> {
    let lives_on = options.handover.per == Some(PerName::Shard);
    let replaces = options.handover.placeholders && lives_on;
    replaces
        .then(|| handler::placeholder_of_records(&command.arguments))
        .flatten()
}

/// What was typed; or what the daemon waits for, if that is known.
fn drain_timeout(options: &Options, launched: &Launched) -> Duration {
    let stop = settings::stop(options).timeout;
    let default = launched.drain(stop).unwrap_or(DRAIN_TIMEOUT);
    off_or(options.stopping.drain_timeout, Some(default)).unwrap_or_default()
}

impl Options {
    /// With what a launched daemon's child knows, where nothing was typed.
    fn with_defaults(mut self, launched: &Launched) -> Options {
        let name = launched.application.clone();
        self.watching.name = self.watching.name.take().or(name);
        if self.handover.format == Some(FormatName::Lambda) {
            let arn = launched.stream_arn.clone();
            self.lambda.stream_arn = self.lambda.stream_arn.take().or(arn);
        }
        let keepalive = launched.keepalive().map(|keepalive| Limit(Some(keepalive)));
        self.daemon.keepalive = self.daemon.keepalive.or(keepalive);
        self
    }
}

fn strategy(options: &Checkpoints) -> Strategy {
    let default = Some(CHECKPOINT_EVERY).filter(|_| !options.checkpoint_manual);
    Strategy {
        every: off_or(options.checkpoint_every, default),
        records: options.checkpoint_records.filter(|records| *records > 0),
        batch: options.checkpoint_batch,
        manual: options.checkpoint_manual,
    }
}

/// A duration that was typed, which may be off, or the default.
fn off_or(typed: Option<Limit>, default: Option<Duration>) -> Option<Duration> {
    typed.map_or(default, |limit| limit.0)
}

#[cfg(test)]
mod tests {
    use rustix::process::Signal;

    use super::*;
    use crate::backoff::Delays;
    use crate::format::Format;
    use crate::handler::{OnFailure, Per};
    use crate::process::Stop;

    fn read(line: &str, variables: &[(&str, &str)]) -> Result<Box<Config>> {
        let arguments = cli::split(line.as_bytes()).expect(line).into_iter();
        match super::read(
            arguments,
            variables.iter().map(|(n, v)| ((*n).into(), (*v).into())),
        )? {
            Task::Bridge(config) => Ok(config),
            Task::Show(text) => Err(anyhow!("shown: {text}")),
            other @ (Task::Replay(_)
            | Task::Check(_)
            | Task::Init(_)
            | Task::Lambda(_)
            | Task::Launch(_)
            | Task::Redrive(_)
            | Task::Status(_)) => Err(anyhow!("{other:?}")),
        }
    }

    #[test]
    fn the_defaults_are_those_of_the_help() {
        let config = read("-- cat -n", &[]).expect("sound");
        let settings = &config.settings;
        assert_eq!(
            (&settings.command.program, settings.command.arguments.len()),
            (&"cat".into(), 1)
        );
        assert_eq!(
            (settings.format.clone(), settings.jobs, settings.timeout),
            (Format::Raw, 1, Some(Duration::from_secs(300)))
        );
        assert_eq!(
            (&settings.on_failure, settings.limits.max_attempts),
            (&OnFailure::Block, None)
        );
        assert_eq!(
            (
                settings.limits.max_consecutive_failures,
                settings.limits.max_age
            ),
            (10, None)
        );
        assert_eq!(
            settings.delays,
            Delays {
                first: Duration::from_secs(1),
                longest: Duration::from_secs(60),
                jitter: true
            }
        );
        assert_eq!(
            settings.stop,
            Stop {
                signal: Signal::TERM,
                timeout: Duration::from_secs(10)
            }
        );
        assert_eq!(
            config.strategy,
            Strategy {
                every: Some(Duration::from_secs(60)),
                ..Strategy::default()
            }
        );
        assert_eq!(
            (config.keepalive, config.logging.level.as_str()),
            (None, "info")
        );
    }

    #[test]
    fn zero_is_off_and_what_depends_on_another_option_follows_it() {
        let config = read(
            "--timeout 0 --checkpoint-every 0 --checkpoint-records 0 --max-attempts 3 -- x",
            &[],
        );
        let config = config.expect("sound");
        assert_eq!(
            (config.settings.timeout, config.strategy),
            (None, Strategy::default())
        );
        assert_eq!(config.settings.limits.max_attempts, Some(3));
        let skip = read("--on-failure skip -- x", &[]).expect("sound");
        assert_eq!(skip.settings.limits.max_attempts, Some(5));
        let manual = read("--checkpoint-manual -- x", &[]).expect("the default is no conflict");
        assert_eq!(
            manual.strategy,
            Strategy {
                manual: true,
                ..Strategy::default()
            }
        );
        let letters = read(
            "--dead-letter /x/{name}-{shard} --name app --retry-delay 5m -- x",
            &[],
        )
        .expect("sound");
        assert_eq!(
            letters.settings.on_failure,
            OnFailure::DeadLetter("/x/app-{shard}".into())
        );
        assert_eq!(letters.settings.delays.longest, Duration::from_secs(300));
        let captured = read("--capture {name}-{shard} --name app -- x", &[]).expect("sound");
        let capture = captured.capture.map(|to| (to.file, to.data));
        assert_eq!(capture, Some(("app-{shard}".into(), false)));
    }

    #[test]
    fn options_that_contradict_each_other_are_both_named() {
        for (line, one, other) in [
            (
                "--checkpoint-manual --checkpoint-every 5s -- x",
                "--checkpoint-manual",
                "--checkpoint-every",
            ),
            ("--capture-data -- x", "--capture-data", "--capture"),
            (
                "--checkpoint-manual --checkpoint-records 5 -- x",
                "--checkpoint-manual",
                "--checkpoint-records",
            ),
            (
                "--checkpoint-manual --checkpoint-batch -- x",
                "--checkpoint-manual",
                "--checkpoint-batch",
            ),
            (
                "--dead-letter f --on-failure skip -- x",
                "--on-failure",
                "--dead-letter",
            ),
            (
                "--dead-letter f --dead-letter-command g -- x",
                "--dead-letter ",
                "--dead-letter-command",
            ),
            (
                "--dead-letter-command f --on-failure block -- x",
                "--on-failure",
                "--dead-letter-command",
            ),
            (
                "--on-failure dead-letter -- x",
                "--on-failure",
                "--dead-letter",
            ),
            (
                "--filter-non-json skip -- x",
                "--filter-non-json",
                "--filter ",
            ),
            ("--per shard --format raw -- x", "--per", "--format"),
            ("--format lambda -- x", "--per", "--format"),
            (
                "--per shard --format lambda --inflight 2 -- x",
                "--format",
                "--inflight",
            ),
            (
                "--per shard --format lambda --host-jobs 2 -- x",
                "--per",
                "--host-jobs",
            ),
            (
                "--per shard --batch-window 1s -- x",
                "--per",
                "--batch-window",
            ),
            (
                "--per batch --format raw --data text -- x",
                "--format",
                "--data",
            ),
            (
                "--per batch --stream-arn a -- x",
                "--format",
                "--stream-arn",
            ),
            ("--batch-size 3 -- x", "--per", "--batch-size"),
            ("--per shard --batch-bytes 3 -- x", "--per", "--batch-bytes"),
            ("--inflight 3 -- x", "--per", "--inflight"),
            ("--per shard --host-jobs 3 -- x", "--per", "--host-jobs"),
            ("--per shard --rate 3/s -- x", "--per", "--rate"),
            (
                "--per batch --plain-answers -- x",
                "--per",
                "--plain-answers",
            ),
            (
                "--max-records-per-handler 3 -- x",
                "--per",
                "--max-records-per-handler",
            ),
            ("--data base64 -- x", "--format", "--data"),
            (
                "--retry-delay 2m --retry-max-delay 1m -- x",
                "--retry-delay",
                "--retry-max-delay",
            ),
        ] {
            let error = read(line, &[]).expect_err(line).to_string();
            assert!(error.contains(one) && error.contains(other), "{error}");
        }
        assert!(
            read("--checkpoint-every 5s", &[])
                .expect_err("no command")
                .to_string()
                .contains("after '--'")
        );
    }

    #[test]
    fn a_handler_that_lives_on_has_events_with_what_batches_have() {
        let line = "--per shard --format lambda --batch-size 5 --batch-bytes 6MB --batch-window 1m --batch-align --rate 9/s --plain-answers --max-records-per-handler 7 -- x";
        let settings = read(line, &[]).expect("sound").settings;
        let expected = Per::Event {
            size: Some(5),
            bytes: Some(6_000_000),
            plain: true,
            max_records: Some(7),
        };
        assert_eq!(settings.per, expected);
        assert!(settings.window.is_some() && settings.rate.is_some());
    }

    #[test]
    fn a_function_of_lambda_is_a_handler_for_events_alone() {
        for (line, sound) in [
            ("--per shard --format lambda -- kclpipe lambda -- f", true),
            (
                "--per shard --format lambda -- /usr/bin/kclpipe lambda -- f",
                true,
            ),
            ("--per batch --format lambda -- kclpipe lambda -- f", false),
            ("--per shard -- /usr/bin/kclpipe lambda -- f", false),
            ("-- kclpipe lambda -- f", false),
            ("-- lambda kclpipe", true),
        ] {
            assert_eq!(read(line, &[]).is_ok(), sound, "{line}");
        }
    }

    #[test]
    fn a_handler_that_lives_on_has_no_argument_for_the_records_of_an_attempt() {
        for per in ["shard", "shard --format lambda"] {
            let error = read(&format!("-I --per {per} -- x {{shard}}-{{id}}"), &[]);
            let error = error.expect_err(per).to_string();
            assert!(error.contains("{id}"), "{error}");
            read(&format!("-I --per {per} -- x {{shard}}-{{name}}"), &[]).expect(per);
            read(&format!("--per {per} -- x {{id}}"), &[]).expect(per);
        }
    }

    #[test]
    fn a_variable_that_contradicts_the_command_line_is_dropped_with_a_remark() {
        let config = read(
            "--checkpoint-manual -- x",
            &[("KCLPIPE_CHECKPOINT_EVERY", "5s")],
        )
        .expect("sound");
        assert!(config.strategy.manual && config.strategy.every.is_none());
        assert!(
            config.remarks[0].contains("ignoring the variable KCLPIPE_CHECKPOINT_EVERY"),
            "{:?}",
            config.remarks
        );
        let both = [
            ("KCLPIPE_CHECKPOINT_EVERY", "5s"),
            ("KCLPIPE_CHECKPOINT_MANUAL", "1"),
        ];
        let error = read("-- x", &both)
            .expect_err("neither is on the command line")
            .to_string();
        assert!(
            error.contains("--checkpoint-manual is KCLPIPE_CHECKPOINT_MANUAL")
                && error.contains("--checkpoint-every is KCLPIPE_CHECKPOINT_EVERY"),
            "{error}"
        );
        let unknown = read("-- x", &[("KCLPIPE_CHEKPOINT", "5s")]).expect("sound");
        assert!(unknown.remarks[0].contains("KCLPIPE_CHEKPOINT"));
    }
}
