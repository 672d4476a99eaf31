//! What was typed, turned into what is needed. Every rule between two options is here.

mod check;
mod init;
mod launch;
mod replay;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, anyhow};
use rustix::process::Signal;

use crate::backoff::Delays;
use crate::capture::To;
use crate::checkpoint::Strategy;
use crate::cli::{
    self, DataName, DecompressName, FormatName, Limit, LogFormatName, OnFailureName, Options,
    Parsed, PerName, Typed, Variables, Words,
};
use crate::format::{Data, Decompress, Decompression, Format};
use crate::handler::Limits;
use crate::handler::{OnFailure, Per, Settings, Window};
use crate::logging::{LogFormat, Logging};
use crate::outcome::OnExit;
use crate::process::{Command, Stop};
use crate::reporting;
pub(crate) use check::{child, region_is_known};

/// The most bytes of decompressed payloads in a run per batch.
const DECOMPRESSED: u64 = 256 * 1024 * 1024;

const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
const MAX_ATTEMPTS: u32 = 5;
const RETRY_DELAY: Duration = Duration::from_secs(1);
const RETRY_MAX_DELAY: Duration = Duration::from_secs(60);
const MAX_CONSECUTIVE_FAILURES: u32 = 10;
const TIMEOUT: Duration = Duration::from_secs(5 * 60);
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// What may be read ahead with a window, where the user does not say; batches of the size that the user asked for
/// need more.
const READ_AHEAD: u64 = 64 * 1024 * 1024;

/// What a run of the bridge needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// How records are handed over.
    pub settings: Settings,
    /// When a checkpoint is due.
    pub strategy: Strategy,
    /// How long handlers may go on after a request to shut down.
    pub drain_timeout: Duration,
    /// How often the daemon's time limit is restarted during work; `None` for never.
    pub keepalive: Option<Duration>,
    /// Where the log goes.
    pub logging: Logging,
    /// What else is told.
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
    /// To print this and be done.
    Show(String),
}

/// Two options that do not go together.
#[derive(Debug)]
struct Conflict {
    options: [&'static str; 2],
    why: String,
}

/// Reads the command line and the environment.
///
/// # Errors
/// One line that names what is wrong.
pub fn read(
    arguments: impl Iterator<Item = OsString>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Task> {
    let arguments: Vec<OsString> = arguments.collect();
    match cli::other(&arguments)? {
        Some(Ok(cli::Other::Replay(options))) => {
            return Ok(Task::Replay(Box::new(replay::settings(*options)?)));
        }
        Some(Ok(cli::Other::Check(options))) => {
            return Ok(Task::Check(Box::new(check::settings(*options)?)));
        }
        Some(Ok(cli::Other::Init(options))) => {
            return Ok(Task::Init(Box::new(init::settings(*options)?)));
        }
        Some(Ok(cli::Other::Launch(options))) => {
            return Ok(Task::Launch(Box::new(launch::settings(
                *options,
                environment,
            )?)));
        }
        Some(Ok(cli::Other::Man)) => return Ok(Task::Show(cli::man()?)),
        Some(Ok(cli::Other::Completions { shell })) => {
            return Ok(Task::Show(cli::completions(shell)?));
        }
        Some(Err(shown)) => return Ok(Task::Show(shown)),
        None => {}
    }
    let arguments = cli::arguments(arguments.into_iter())?;
    let (mut variables, mut remarks) = cli::variables(environment)?;
    loop {
        let (parsed, given) = cli::parse(&arguments, &variables)?;
        let typed = match parsed {
            Parsed::Show(text) => return Ok(Task::Show(text)),
            Parsed::Bridge(typed) => typed,
        };
        match Config::new(&typed)? {
            Ok(config) => {
                let arguments = &config.settings.command.arguments;
                remarks.extend(cli::misplaced(arguments).map(|word| {
                    format!(
                        "{word} comes after '--', so it is the handler's: kclpipe's own options come before '--'"
                    )
                }));
                return Ok(Task::Bridge(Box::new(Config { remarks, ..config })));
            }
            // Read again without it: the next conflict may be another, or none.
            Err(conflict) => remarks.push(drop_variable(&conflict, &mut variables, &given)?),
        }
    }
}

/// Drops the variable that contradicts the command line, and says so.
fn drop_variable(
    conflict: &Conflict,
    variables: &mut Variables,
    given: &BTreeSet<String>,
) -> Result<String> {
    let typed = conflict
        .options
        .iter()
        .any(|option| given.contains(*option));
    let dropped = conflict
        .options
        .iter()
        .find(|option| !given.contains(**option) && variables.contains_key(**option));
    match dropped.filter(|_| typed) {
        Some(option) => {
            variables.remove(*option);
            Ok(format!(
                "ignoring the variable {}: {}",
                cli::variable(option),
                conflict.why
            ))
        }
        // Both were typed, or neither: nobody can say which was meant.
        None => Err(anyhow!("{}", conflict.told(variables, given))),
    }
}

impl Conflict {
    /// What is wrong, with the variables that options came from.
    fn told(&self, variables: &Variables, given: &BTreeSet<String>) -> String {
        let from = self
            .options
            .iter()
            .filter(|option| !given.contains(**option) && variables.contains_key(**option));
        let from: Vec<String> = from
            .map(|option| format!("--{option} is {}", cli::variable(option)))
            .collect();
        if from.is_empty() {
            self.why.clone()
        } else {
            format!("{} ({})", self.why, from.join(", "))
        }
    }
}

impl Config {
    fn new(typed: &Typed) -> Result<Result<Config, Conflict>> {
        let options = &typed.options;
        let Some((program, arguments)) = typed.command.split_first() else {
            return Err(anyhow!(
                "no handler: write its command after '--', for example kclpipe -- ./handler.sh"
            ));
        };
        if let Some(conflict) = conflict(options) {
            return Ok(Err(conflict));
        }
        let command = Command {
            program: program.clone(),
            arguments: arguments.to_vec(),
            directory: options.chdir.clone(),
        };
        Ok(Ok(Config {
            settings: settings(options, command),
            strategy: strategy(options),
            drain_timeout: off_or(options.drain_timeout, Some(DRAIN_TIMEOUT)).unwrap_or_default(),
            keepalive: off_or(options.keepalive, None),
            logging: logging(options),
            reporting: reporting(options),
            capture: capture(options),
            remarks: Vec::new(),
        }))
    }
}

/// The first pair of options that contradict each other.
fn conflict(options: &Options) -> Option<Conflict> {
    let rules = checkpoint_rules(options)
        .into_iter()
        .chain(failure_rules(options))
        .chain(way_rules(options))
        .chain(window_rules(options))
        .chain([(
            options.capture_data && options.capture.is_none(),
            ["capture-data", "capture"],
            "--capture-data needs a file, named by --capture",
        )]);
    let (_, options, why) = rules.into_iter().find(|(broken, ..)| *broken)?;
    Some(Conflict {
        options,
        why: why.to_owned(),
    })
}

/// Whether a rule is broken, the two options, and what is wrong with them.
type Rule = (bool, [&'static str; 2], &'static str);

fn checkpoint_rules(options: &Options) -> [Rule; 3] {
    // A 0 turns one off, and so contradicts nothing.
    let manual = options.checkpoint_manual;
    let every = options
        .checkpoint_every
        .is_some_and(|every| every.0.is_some());
    let records = options
        .checkpoint_records
        .is_some_and(|records| records > 0);
    [
        (
            manual && every,
            ["checkpoint-manual", "checkpoint-every"],
            "--checkpoint-manual leaves checkpoints to the handler and excludes --checkpoint-every",
        ),
        (
            manual && records,
            ["checkpoint-manual", "checkpoint-records"],
            "--checkpoint-manual leaves checkpoints to the handler and excludes --checkpoint-records",
        ),
        (
            manual && options.checkpoint_batch,
            ["checkpoint-manual", "checkpoint-batch"],
            "--checkpoint-manual leaves checkpoints to the handler and excludes --checkpoint-batch",
        ),
    ]
}

fn failure_rules(options: &Options) -> [Rule; 5] {
    let (file, policy) = (options.dead_letter.is_some(), options.on_failure);
    let command = options.dead_letter_command.is_some();
    // A file or a command for letters is as good as --on-failure dead-letter.
    let other = !matches!(policy, None | Some(OnFailureName::DeadLetter));
    let missing = policy == Some(OnFailureName::DeadLetter) && !file && !command;
    let first = options.retry_delay.unwrap_or(RETRY_DELAY);
    let shorter = options
        .retry_max_delay
        .is_some_and(|longest| longest < first);
    let [file_excluded, command_excluded] = match policy {
        Some(OnFailureName::Skip) => [
            "--on-failure skip and --dead-letter exclude each other: remove one of them",
            "--on-failure skip and --dead-letter-command exclude each other: remove one of them",
        ],
        Some(OnFailureName::Halt) => [
            "--on-failure halt and --dead-letter exclude each other: remove one of them",
            "--on-failure halt and --dead-letter-command exclude each other: remove one of them",
        ],
        _ => [
            "--on-failure block and --dead-letter exclude each other: remove one of them",
            "--on-failure block and --dead-letter-command exclude each other: remove one of them",
        ],
    };
    [
        (
            file && command,
            ["dead-letter", "dead-letter-command"],
            "--dead-letter and --dead-letter-command exclude each other: remove one of them",
        ),
        (file && other, ["on-failure", "dead-letter"], file_excluded),
        (
            command && other,
            ["on-failure", "dead-letter-command"],
            command_excluded,
        ),
        (
            missing,
            ["on-failure", "dead-letter"],
            "--on-failure dead-letter needs --dead-letter-command, or a file, named by --dead-letter",
        ),
        (
            shorter,
            ["retry-delay", "retry-max-delay"],
            "--retry-delay is longer than --retry-max-delay",
        ),
    ]
}

fn way_rules(options: &Options) -> [Rule; 9] {
    let per = options.per.unwrap_or(PerName::Record);
    let (batch, shard) = (per == PerName::Batch, per == PerName::Shard);
    let lambda = options.format == Some(FormatName::Lambda);
    let jsonl = match options.format {
        // The default of the format depends on the way, and a rule must know it.
        None => per != PerName::Record,
        Some(format) => format == FormatName::Jsonl,
    };
    let raw = options.format == Some(FormatName::Raw);
    [
        (
            raw && shard,
            ["per", "format"],
            "--per shard cannot tell one record from the next with --format raw",
        ),
        (
            lambda && !batch,
            ["per", "format"],
            "--format lambda needs --per batch",
        ),
        (
            options.data.is_some() && !jsonl,
            ["format", "data"],
            "--data needs --format jsonl",
        ),
        (
            options.stream_arn.is_some() && !lambda,
            ["format", "stream-arn"],
            "--stream-arn needs --format lambda",
        ),
        (
            options.batch_size.is_some() && !batch,
            ["per", "batch-size"],
            "--batch-size needs --per batch",
        ),
        (
            options.batch_bytes.is_some() && !batch,
            ["per", "batch-bytes"],
            "--batch-bytes needs --per batch",
        ),
        (
            options.inflight.is_some() && !shard,
            ["per", "inflight"],
            "--inflight needs --per shard",
        ),
        (
            options.plain_answers && !shard,
            ["per", "plain-answers"],
            "--plain-answers needs --per shard",
        ),
        (
            options.max_records_per_handler.is_some() && !shard,
            ["per", "max-records-per-handler"],
            "--max-records-per-handler needs --per shard",
        ),
    ]
}

fn window_rules(options: &Options) -> [Rule; 6] {
    let per_batch = options.per == Some(PerName::Batch);
    let window = window(options);
    let reads_ahead = read_ahead(options) > 0;
    [
        (
            window.is_some() && !per_batch,
            ["per", "batch-window"],
            "--batch-window needs --per batch",
        ),
        (
            window.is_some() && !reads_ahead,
            ["read-ahead", "batch-window"],
            "--batch-window collects records over several reads, and --read-ahead 0 allows one: remove one of them",
        ),
        (
            options.batch_align && window.is_none(),
            ["batch-align", "batch-window"],
            "--batch-align needs --batch-window",
        ),
        (
            options.batch_align && options.jobs.unwrap_or(1) > 1,
            ["batch-align", "jobs"],
            "--batch-align makes batches of records that follow each other, and excludes --jobs",
        ),
        (
            options.spool_dir.is_some() && !reads_ahead,
            ["spool-dir", "read-ahead"],
            "--spool-dir needs --read-ahead or --batch-window: without them no records wait",
        ),
        (
            options.drain_timeout.is_some() && !reads_ahead,
            ["drain-timeout", "read-ahead"],
            "--drain-timeout needs --read-ahead or --batch-window: without them no handler is at work when the daemon asks for a shutdown",
        ),
    ]
}

fn window(options: &Options) -> Option<Window> {
    let length = off_or(options.batch_window, None)?;
    Some(Window {
        length,
        aligned: options.batch_align,
    })
}

/// A batch that runs, one that waits and what comes meanwhile fit into what is read ahead, if the user does not
/// say how much that is. The daemon's lines are a third longer than what they hold.
fn read_ahead(options: &Options) -> u64 {
    let batch = options.batch_bytes.unwrap_or(0);
    let default = window(options).map_or(0, |_| READ_AHEAD.max(batch.saturating_mul(3)));
    options.read_ahead.unwrap_or(default)
}

fn settings(options: &Options, command: Command) -> Settings {
    let first = options.retry_delay.unwrap_or(RETRY_DELAY);
    let on_failure = on_failure(options);
    Settings {
        hook: options.hook.as_ref().map(|hook| beside(hook, options)),
        command,
        decompress: decompression(options),
        per: per(options),
        format: format(options),
        jobs: options.jobs.unwrap_or(1),
        // The last one that was typed for a code wins, and the first that fits is taken.
        on_exit: OnExit(options.on_exit.iter().rev().copied().collect()),
        limits: limits(options, &on_failure),
        delays: Delays {
            first,
            longest: options
                .retry_max_delay
                .unwrap_or(RETRY_MAX_DELAY.max(first)),
            jitter: true,
        },
        on_failure,
        timeout: off_or(options.timeout, Some(TIMEOUT)),
        stop: Stop {
            signal: options.stop_signal.unwrap_or(Signal::TERM),
            timeout: off_or(options.stop_timeout, Some(STOP_TIMEOUT)).unwrap_or_default(),
        },
        read_ahead: read_ahead(options),
        window: window(options),
        spool_dir: options.spool_dir.clone(),
        placeholders: options.placeholders.then(|| reporting(options).name),
    }
}

/// Without a word of the user, what is decompressed is limited: a megabyte of gzip may become a gigabyte.
fn batch_bytes(options: &Options) -> Option<u64> {
    let usual = decompression(options).map(|_| DECOMPRESSED);
    match options.batch_bytes {
        None => usual,
        Some(bytes) => Some(bytes).filter(|bytes| *bytes > 0),
    }
}

fn decompression(options: &Options) -> Option<Decompression> {
    let which = match options.decompress? {
        DecompressName::Off => return None,
        DecompressName::Gzip => Decompress::Gzip,
        DecompressName::Auto => Decompress::Auto,
    };
    let largest = match options.max_decompressed {
        None => Decompression::LARGEST,
        Some(0) => u64::MAX,
        Some(largest) => largest,
    };
    Some(Decompression { which, largest })
}

fn per(options: &Options) -> Per {
    match options.per.unwrap_or(PerName::Record) {
        PerName::Record => Per::Record,
        PerName::Batch => Per::Batch {
            size: options.batch_size.filter(|size| *size > 0),
            bytes: batch_bytes(options),
        },
        PerName::Shard => Per::Shard {
            inflight: options.inflight.unwrap_or(1),
            plain: options.plain_answers,
            max_records: options.max_records_per_handler.filter(|max| *max > 0),
        },
    }
}

fn format(options: &Options) -> Format {
    let usual = match options.per {
        None | Some(PerName::Record) => FormatName::Raw,
        Some(PerName::Batch | PerName::Shard) => FormatName::Jsonl,
    };
    match options.format.unwrap_or(usual) {
        FormatName::Raw => Format::Raw,
        FormatName::Lines => Format::Lines,
        FormatName::Nul => Format::Nul,
        FormatName::Netstring => Format::Netstring,
        FormatName::Lambda => Format::Lambda {
            stream_arn: options.stream_arn.clone().unwrap_or_default(),
        },
        FormatName::Jsonl => Format::Jsonl(match options.data {
            None | Some(DataName::Text) => Data::Text,
            Some(DataName::Base64) => Data::Base64,
        }),
    }
}

fn on_failure(options: &Options) -> OnFailure {
    if let Some(words) = &options.dead_letter_command {
        return OnFailure::DeadLetterCommand(beside(words, options));
    }
    match (&options.dead_letter, options.on_failure) {
        (Some(file), _) => OnFailure::DeadLetter(with_name(file, options)),
        (None, Some(OnFailureName::Skip)) => OnFailure::Skip,
        (None, Some(OnFailureName::Halt)) => OnFailure::Halt,
        (None, None | Some(OnFailureName::Block | OnFailureName::DeadLetter)) => OnFailure::Block,
    }
}

/// A command that runs beside the handler, in the same directory.
fn beside(Words(program, arguments): &Words, options: &Options) -> Command {
    Command {
        program: program.clone(),
        arguments: arguments.clone(),
        directory: options.chdir.clone(),
    }
}

fn limits(options: &Options, on_failure: &OnFailure) -> Limits {
    let usual = (*on_failure != OnFailure::Block).then_some(MAX_ATTEMPTS);
    Limits {
        max_attempts: options
            .max_attempts
            .map_or(usual, |max| Some(max).filter(|max| *max > 0)),
        max_age: off_or(options.max_record_age, None),
        max_consecutive_failures: options
            .max_consecutive_failures
            .unwrap_or(MAX_CONSECUTIVE_FAILURES),
    }
}

fn strategy(options: &Options) -> Strategy {
    let usual = Some(CHECKPOINT_EVERY).filter(|_| !options.checkpoint_manual);
    Strategy {
        every: off_or(options.checkpoint_every, usual),
        records: options.checkpoint_records.filter(|records| *records > 0),
        batch: options.checkpoint_batch,
        manual: options.checkpoint_manual,
    }
}

fn logging(options: &Options) -> Logging {
    Logging {
        level: options
            .log_level
            .clone()
            .unwrap_or_else(|| "info".to_owned()),
        format: match options.log_format {
            None | Some(LogFormatName::Text) => LogFormat::Text,
            Some(LogFormatName::Json) => LogFormat::Json,
        },
        file: options
            .log_file
            .as_deref()
            .map(|file| with_name(file, options)),
    }
}

fn reporting(options: &Options) -> reporting::Settings {
    reporting::Settings {
        stats_every: off_or(options.stats_every, None),
        metrics_dir: options
            .metrics_dir
            .as_deref()
            .map(|directory| with_name(directory, options)),
        name: name(options),
    }
}

fn capture(options: &Options) -> Option<To> {
    let file = options.capture.as_deref()?;
    Some(To {
        file: with_name(file, options),
        data: options.capture_data,
    })
}

/// A duration that was typed, which may be off, or the usual one.
fn off_or(typed: Option<Limit>, usual: Option<Duration>) -> Option<Duration> {
    typed.map_or(usual, |limit| limit.0)
}

/// `{name}` in a file's name, replaced.
fn with_name(file: &Path, options: &Options) -> PathBuf {
    let Some(text) = file.to_str().filter(|text| text.contains("{name}")) else {
        return file.to_path_buf();
    };
    text.replace("{name}", &name(options)).into()
}

/// The application's name.
fn name(options: &Options) -> String {
    let of_directory = || {
        let directory = std::env::current_dir().unwrap_or_default();
        let last = directory.file_name().unwrap_or_default();
        last.to_string_lossy().into_owned()
    };
    options.name.clone().unwrap_or_else(of_directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str, variables: &[(&str, &str)]) -> Result<Box<Config>> {
        let arguments = cli::split(line.as_bytes()).expect(line).into_iter();
        match super::read(
            arguments,
            variables.iter().map(|(n, v)| ((*n).into(), (*v).into())),
        )? {
            Task::Bridge(config) => Ok(config),
            Task::Show(text) => Err(anyhow!("shown: {text}")),
            other @ (Task::Replay(_) | Task::Check(_) | Task::Init(_) | Task::Launch(_)) => {
                Err(anyhow!("{other:?}"))
            }
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
            (Format::Raw, 1, Some(TIMEOUT))
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
        let manual = read("--checkpoint-manual -- x", &[]).expect("the usual 60s is no conflict");
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
            ("--per shard --format raw -- x", "--per", "--format"),
            ("--format lambda -- x", "--per", "--format"),
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
