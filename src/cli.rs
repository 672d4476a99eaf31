//! The command line: its types, its help, and its other two sources, `@FILE` and `KCLPIPE_*`.

mod check;
mod init;
mod launch;
mod man;
mod mistake;
mod renamed;
mod replay;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::parser::ValueSource;
use clap::{
    ArgAction, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum,
};

pub(crate) use check::CheckOptions;
pub(crate) use clap_complete::Shell;
pub(crate) use init::InitOptions;
pub(crate) use launch::{JARS, LaunchOptions};
pub(crate) use man::{completions, man};
pub(crate) use replay::{EndingName, InputFormatName, ReplayOptions};

use crate::launch::PROPERTY;
use crate::outcome::{CLASSES, Class, SIGNALS};

/// What `--help` shows after the options.
const EXAMPLES: &str = "\
Examples:
  Try a handler without AWS or Java, on a file with one record a line:
    kclpipe replay records.txt -- kclpipe --checkpoint-records 100 -- ./handler.sh
  In the daemon's .properties file, with a checkpoint every minute:
    executableName = kclpipe --checkpoint-every 60s -- ./handler.sh
  The daemon does not understand quotes; with spaces or a pipeline, put the rest of the line in a file:
    executableName = kclpipe @handler.args
    handler.args:  --max-attempts 5 --dead-letter /var/spool/dead.jsonl
                   -- bash -o pipefail -c 'jq -c .event | my-upload --to \"the archive\"'

Every option may also come from the environment: KCLPIPE_CHECKPOINT_EVERY=60s is --checkpoint-every 60s.
A handler's exit code decides: 0 done, 65 reject, 75 retry later, 126 and 127 the handler is broken,
any other fail. A line 'checkpoint' on its stdout asks for a checkpoint.";

#[derive(Debug, Parser)]
#[command(
    name = "kclpipe",
    version,
    about = "Run a command for each record of an Amazon Kinesis stream",
    long_about = "Runs a command for each record of an Amazon Kinesis stream, as the child of Amazon's KCL \
                  MultiLangDaemon: name it in the daemon's executableName.",
    after_long_help = EXAMPLES,
    after_help = "These are the options that most users set. kclpipe --help shows all of them, and examples.",
    override_usage = "kclpipe [OPTIONS] -- COMMAND [ARG...]\n       kclpipe @FILE\n       \
                      kclpipe replay [OPTIONS] [INPUT...] -- CHILD [ARG...]\n       \
                      kclpipe init [OPTIONS] -- COMMAND [ARG...]\n       \
                      kclpipe check [OPTIONS] FILE\n       \
                      kclpipe launch [OPTIONS] FILE",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    max_term_width = 100,
)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// The handler and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
    #[command(subcommand)]
    other: Option<Other>,
}

/// The other things that kclpipe does, each under a word of its own.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Other {
    /// Play the daemon: try a child without AWS and Java, on real or made-up records
    Replay(Box<ReplayOptions>),
    /// Write the daemon's configuration for a stream and a handler
    Init(Box<InitOptions>),
    /// Find mistakes in a properties file before you start the daemon with it
    Check(Box<CheckOptions>),
    /// Start Amazon's MultiLangDaemon, and download it first with --fetch
    Launch(Box<LaunchOptions>),
    /// Print the manual page; read it with kclpipe man | man -l -
    Man,
    /// Print a shell's completion script for this command line
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// What was typed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typed {
    /// The options.
    pub options: Options,
    /// The handler's command.
    pub command: Vec<OsString>,
}

/// The options of the bridge, as they were typed. Those that most users never set are not in `-h`.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Handing records over")]
pub(crate) struct Options {
    /// What one handler process is given [default: record]
    #[arg(long, value_enum, value_name = "WAY")]
    pub per: Option<PerName>,
    /// How records are written to the handler's stdin [default: raw with --per record, otherwise jsonl]
    #[arg(long, value_enum)]
    pub format: Option<FormatName>,
    /// How many handlers run at a time; records of one partition key stay in order [default: 1]
    #[arg(long, value_parser = jobs, value_name = "N")]
    pub jobs: Option<usize>,
    /// With --format jsonl: text writes a payload as "data" if it is UTF-8 and as "dataBase64" if not;
    /// base64 always as "dataBase64" [default: text]
    #[arg(long, value_enum, hide_short_help = true)]
    pub data: Option<DataName>,
    /// Answer the daemon once no more than SIZE of its records wait or are at work, so that handlers go on
    /// while it reads; 0 answers when all are done [default: 0, or with --batch-window 64MiB or three
    /// times --batch-bytes, whichever is more]
    #[arg(long, value_parser = size, value_name = "SIZE", hide_short_help = true)]
    pub read_ahead: Option<u64>,
    /// Keep the records that wait in files in DIR, which have no names, instead of memory
    #[arg(long, value_parser = path(), value_name = "DIR", hide_short_help = true)]
    pub spool_dir: Option<PathBuf>,
    /// Replace {shard}, {id}, {sequence}, {first}, {last} and {name} in COMMAND's arguments
    #[arg(short = 'I', long, hide_short_help = true)]
    pub placeholders: bool,
    /// Decompress payloads: gzip all of them, and reject what is not gzip; auto only those that begin as
    /// gzip does [default: off]
    #[arg(long, value_enum, value_name = "WHICH", hide_short_help = true)]
    pub decompress: Option<DecompressName>,
    /// Reject a payload that is larger than this when decompressed; 0 for no limit [default: 64MiB]
    #[arg(long, value_parser = size, value_name = "SIZE", hide_short_help = true)]
    pub max_decompressed: Option<u64>,
    /// The directory the handler runs in [default: the daemon's]
    #[arg(long, value_parser = path(), value_name = "DIR", hide_short_help = true)]
    pub chdir: Option<PathBuf>,

    /// The most records in a handler's batch; 0 for no limit [default: 0]
    #[arg(long, value_name = "N", help_heading = "Per batch")]
    pub batch_size: Option<usize>,
    /// The most bytes of payload in a handler's batch, for example 512KiB or 6MB, counted when
    /// decompressed; 0 for no limit [default: 0, or 256MiB if payloads are decompressed]
    #[arg(long, value_parser = size, value_name = "SIZE", hide_short_help = true, help_heading = "Per batch")]
    pub batch_bytes: Option<u64>,

    /// Collect records over several reads before a handler is started, for this long at most; 0 disables
    /// [default: 0]
    #[arg(long, value_parser = window, value_name = "DURATION", hide_short_help = true, help_heading = "Per batch")]
    pub batch_window: Option<Limit>,
    /// With --batch-window: end a batch where the arrival time crosses a multiple of the window, so that a
    /// restart makes the same batches
    #[arg(long, hide_short_help = true, help_heading = "Per batch")]
    pub batch_align: bool,

    /// How many records a handler may have in flight [default: 1]
    #[arg(long, value_parser = at_least_one, value_name = "N", hide_short_help = true, help_heading = "Per shard")]
    pub inflight: Option<usize>,
    /// Accept answers without the token, too
    #[arg(long, hide_short_help = true, help_heading = "Per shard")]
    pub plain_answers: bool,
    /// End a handler's input after N records and start a new handler; 0 for never [default: 0]
    #[arg(
        long,
        value_name = "N",
        hide_short_help = true,
        help_heading = "Per shard"
    )]
    pub max_records_per_handler: Option<u64>,

    /// With --format lambda: the stream's ARN, for eventSourceARN and awsRegion
    #[arg(
        long,
        value_name = "ARN",
        hide_short_help = true,
        help_heading = "Lambda"
    )]
    pub stream_arn: Option<String>,

    /// Checkpoint when this long has passed since the last one; 0 disables [default: 60s]
    #[arg(long, value_parser = limit, value_name = "DURATION", help_heading = "Checkpoints, whichever is due first")]
    pub checkpoint_every: Option<Limit>,
    /// Checkpoint after N records
    #[arg(
        long,
        value_name = "N",
        help_heading = "Checkpoints, whichever is due first"
    )]
    pub checkpoint_records: Option<u64>,
    /// Checkpoint at the end of every batch
    #[arg(
        long,
        hide_short_help = true,
        help_heading = "Checkpoints, whichever is due first"
    )]
    pub checkpoint_batch: bool,
    /// Checkpoint only where the handler asks for it
    #[arg(long, help_heading = "Checkpoints, whichever is due first")]
    pub checkpoint_manual: bool,

    /// Give up on a record after N failed attempts; 0 for never [default: 0 with --on-failure block,
    /// otherwise 5]
    #[arg(long, value_name = "N", help_heading = "Failures")]
    pub max_attempts: Option<u32>,
    /// Give up on a failing record once it is older than this; 0 disables [default: 0]
    #[arg(long, value_parser = limit, value_name = "DURATION", help_heading = "Failures")]
    pub max_record_age: Option<Limit>,
    /// The delay before the second attempt; it doubles with each attempt [default: 1s]
    #[arg(long, value_parser = delay, value_name = "DURATION", hide_short_help = true, help_heading = "Failures")]
    pub retry_delay: Option<Duration>,
    /// The longest delay [default: 1m]
    #[arg(long, value_parser = delay, value_name = "DURATION", hide_short_help = true, help_heading = "Failures")]
    pub retry_max_delay: Option<Duration>,
    /// What an exit code means, for example 99=checkpoint; done, checkpoint, reject, retry, fail, broken
    /// or halt
    #[arg(long, value_parser = on_exit, value_name = "CODE=CLASS", value_delimiter = ',', action = ArgAction::Append,
          help_heading = "Failures")]
    pub on_exit: Vec<(u8, Class)>,
    /// What to do with a record that is rejected or out of attempts: block (retry; the shard waits),
    /// dead-letter, skip, or halt (stop the worker) [default: block, or dead-letter if a dead-letter
    /// option is given]
    #[arg(long, value_enum, value_name = "POLICY", help_heading = "Failures")]
    pub on_failure: Option<OnFailureName>,
    /// Append each such record to FILE, one JSON object per line; {shard} and {name} are replaced
    #[arg(long, value_parser = path(), value_name = "FILE", help_heading = "Failures")]
    pub dead_letter: Option<PathBuf>,
    /// Pipe each such record to COMMAND as the same JSON object; exit status 0 means the record is safe
    #[arg(long, value_parser = words, value_name = "COMMAND", hide_short_help = true, help_heading = "Failures")]
    pub dead_letter_command: Option<Words>,
    /// After giving up on N records in a row, assume the handler is broken and hold on to further records;
    /// 0 for never [default: 10]
    #[arg(
        long,
        value_name = "N",
        hide_short_help = true,
        help_heading = "Failures"
    )]
    pub max_consecutive_failures: Option<u32>,

    /// Stop a handler that has been silent for this long; 0 for never [default: 5m]
    #[arg(long, value_parser = limit, value_name = "DURATION", help_heading = "Stopping a handler")]
    pub timeout: Option<Limit>,
    /// The signal that stops a handler and its process group [default: TERM]
    #[arg(long, value_parser = signal, value_name = "SIGNAL", hide_short_help = true, help_heading = "Stopping a handler")]
    pub stop_signal: Option<rustix::process::Signal>,
    /// Kill it when this long has passed since the signal; 0 for at once [default: 10s]
    #[arg(long, value_parser = limit, value_name = "DURATION", hide_short_help = true, help_heading = "Stopping a handler")]
    pub stop_timeout: Option<Limit>,

    /// With --read-ahead or --batch-window: how long handlers may go on with what they have after the daemon
    /// asks for a shutdown [default: 15s]
    #[arg(long, value_parser = limit, value_name = "DURATION", hide_short_help = true, help_heading = "Stopping a handler")]
    pub drain_timeout: Option<Limit>,

    /// Run COMMAND with KCLPIPE_EVENT=initialize, lease-lost, shard-end or shutdown; the first record and
    /// the end of a shard wait until it exits with 0
    #[arg(long, value_parser = words, value_name = "COMMAND", hide_short_help = true, help_heading = "Start and end of a shard")]
    pub hook: Option<Words>,

    /// Which lines are logged: error, warn, info, debug, or for example warn,handler=debug
    /// [default: info]
    #[arg(long, value_parser = log_level, value_name = "LEVEL", help_heading = "Logs and metrics")]
    pub log_level: Option<String>,
    /// The form of a log line [default: text]
    #[arg(
        long,
        value_enum,
        hide_short_help = true,
        help_heading = "Logs and metrics"
    )]
    pub log_format: Option<LogFormatName>,
    /// Append the log to FILE instead of stderr; {name} is replaced
    #[arg(long, value_parser = path(), value_name = "FILE", help_heading = "Logs and metrics")]
    pub log_file: Option<PathBuf>,
    /// Log a summary line at this interval; 0 disables [default: 0]
    #[arg(long, value_parser = limit, value_name = "DURATION", help_heading = "Logs and metrics")]
    pub stats_every: Option<Limit>,
    /// Keep a file for Prometheus in DIR, for node_exporter's textfile collector; {name} is replaced
    #[arg(long, value_parser = path(), value_name = "DIR", help_heading = "Logs and metrics")]
    pub metrics_dir: Option<PathBuf>,
    /// Distinguishes the applications on one machine [default: the last part of the daemon's directory]
    #[arg(long, hide_short_help = true, help_heading = "Logs and metrics")]
    pub name: Option<String>,

    /// During long work, restart the daemon's timeoutInSeconds at this interval; 0 for never [default: 0]
    #[arg(long, value_parser = limit, value_name = "DURATION", hide_short_help = true, help_heading = "Talking to the daemon")]
    pub keepalive: Option<Limit>,

    /// Append the conversation with the daemon to FILE, for kclpipe replay; {shard} and {name} are
    /// replaced
    #[arg(long, value_parser = path(), value_name = "FILE", hide_short_help = true, help_heading = "Debugging")]
    pub capture: Option<PathBuf>,
    /// Capture payloads and partition keys, too
    #[arg(long, hide_short_help = true, help_heading = "Debugging")]
    pub capture_data: bool,
}

/// The values of `--per`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PerName {
    /// One record; its exit code is the answer
    Record,
    /// All records of a batch; answer lines and the exit code say how far it came
    Batch,
    /// Every record of the lease; it answers each with a line
    Shard,
}

/// The values of `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatName {
    /// Exactly the payload; back to back with --per batch; not with --per shard
    Raw,
    /// Payload and line feed; a payload with a line feed before its end is rejected
    Lines,
    /// Payload and NUL; a payload with a NUL before its end is rejected
    Nul,
    /// One JSON object with the payload, its numbers and its key
    Jsonl,
    /// The payload's length, a colon, the payload, a comma
    Netstring,
    /// With --per batch: the event of a Lambda function with a Kinesis trigger, whose reply is the
    /// last line of stdout
    Lambda,
}

/// The values of `--data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it, and --help shows no more")]
pub(crate) enum DataName {
    Text,
    Base64,
}

/// The values of `--decompress`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the option's own help says it")]
pub(crate) enum DecompressName {
    Off,
    Gzip,
    Auto,
}

/// The values of `--on-failure`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the option's own help says it")]
pub(crate) enum OnFailureName {
    Block,
    DeadLetter,
    Skip,
    Halt,
}

/// The values of `--log-format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it, and --help shows no more")]
pub(crate) enum LogFormatName {
    Text,
    Json,
}

/// A duration that may be off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit(pub Option<Duration>);

/// A command in one argument: its program, and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words(pub OsString, pub Vec<OsString>);

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// To be the daemon's child.
    Bridge(Box<Typed>),
    /// To print this, help or the version, and be done.
    Show(String),
}

/// Variables of the environment that stand for options: the option's name, and its value.
pub(crate) type Variables = BTreeMap<String, String>;

/// The arguments after the program's name, with `@FILE` replaced by what the file holds.
///
/// # Errors
/// The file cannot be read, or its quotes do not match; `@FILE` is not the sole argument.
pub(crate) fn arguments(typed: impl Iterator<Item = OsString>) -> Result<Vec<OsString>> {
    let typed: Vec<OsString> = typed.collect();
    let Some(file) = typed
        .first()
        .and_then(|first| first.as_bytes().strip_prefix(b"@"))
    else {
        return Ok(typed);
    };
    let file = OsStr::from_bytes(file);
    let name = file.display();
    if typed.len() > 1 {
        bail!("'@{name}' must be the only argument: put the options and the command into the file");
    }
    // The name is relative to the daemon's directory, which is ours.
    let text = std::fs::read(file).with_context(|| format!("cannot read '@{name}'"))?;
    let words = split(&text).with_context(|| format!("in '@{name}': a quote is not closed"))?;
    if let Some(nested) = words
        .first()
        .filter(|word| word.as_bytes().starts_with(b"@"))
    {
        bail!(
            "in '@{name}': '{}' would be a second file; only one is read",
            nested.display()
        );
    }
    Ok(words)
}

/// Splits as a POSIX shell would, without expansion; `None` if a quote is not closed.
pub(crate) fn split(text: &[u8]) -> Option<Vec<OsString>> {
    let text: Vec<u8> = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text).to_vec();
    let text = text
        .split(|b| *b == b'\r')
        .collect::<Vec<_>>()
        .join(&b"\n"[..]);
    let words = shlex::bytes::split(&text)?;
    Some(words.into_iter().map(OsString::from_vec).collect())
}

/// The variables `KCLPIPE_*` that stand for options, without empty ones; also what there is to say of the
/// others.
///
/// # Errors
/// One that stands for a flag is neither yes nor no, or one is not UTF-8.
pub(crate) fn variables(
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(Variables, Vec<String>)> {
    let options = Cli::command();
    let (mut known, mut others) = (Variables::new(), Vec::new());
    for (name, value) in environment {
        let Some(name) = name.to_str().filter(|name| name.starts_with("KCLPIPE_")) else {
            continue;
        };
        if is_of_launch(name) {
            continue;
        }
        let option = name["KCLPIPE_".len()..].to_lowercase().replace('_', "-");
        let Some(argument) = options
            .get_arguments()
            .find(|a| a.get_long() == Some(&option))
        else {
            others.push(renamed::variable(name));
            continue;
        };
        let value = value
            .into_string()
            .map_err(|_| anyhow!("{name} is not UTF-8"))?;
        // Empty is unset: a template that fills in variables cannot leave them out.
        if value.is_empty() {
            continue;
        }
        if !argument.get_action().takes_values() && !flag(name, &value)? {
            continue;
        }
        known.insert(option, value);
    }
    Ok((known, others))
}

/// Whether a variable is for `launch` alone.
fn is_of_launch(name: &str) -> bool {
    name == JARS || name.starts_with(PROPERTY)
}

/// What is asked for under another word than the bridge's, or `None`. The environment has no say in it.
///
/// # Errors
/// One line on what is wrong.
pub(crate) fn other(arguments: &[OsString]) -> Result<Option<Result<Other, String>>> {
    let first = arguments.first().and_then(|first| first.to_str());
    let Some(word) = first.filter(|word| Other::has_subcommand(word)) else {
        return Ok(None);
    };
    let matches = match command_line(arguments, []) {
        Ok(matches) => matches,
        Err(e) if !e.use_stderr() => return Ok(Some(Err(e.render().to_string()))),
        Err(e) => bail!(
            mistake::one_line(&e, arguments)
                .replace("kclpipe --help", &format!("kclpipe {word} --help"))
        ),
    };
    let cli = Cli::from_arg_matches(&matches);
    let cli = cli.map_err(|e| anyhow!(mistake::one_line(&e, arguments)))?;
    Ok(cli.other.map(Ok))
}

/// Parses; options that are not among the arguments come from `variables`. Also the names of the options
/// that are among them.
///
/// # Errors
/// One line on what is wrong, with the option's name.
pub(crate) fn parse(
    arguments: &[OsString],
    variables: &Variables,
) -> Result<(Parsed, BTreeSet<String>)> {
    let matches = match command_line(arguments, []) {
        Ok(matches) => matches,
        Err(e) if !e.use_stderr() => {
            return Ok((Parsed::Show(e.render().to_string()), BTreeSet::new()));
        }
        Err(e) => bail!(mistake::one_line(&e, arguments)),
    };
    // The first reading is for what stands on the command line, which goes before the environment.
    let given = given(&matches);
    let from_environment = variables
        .iter()
        .filter(|(name, _)| !given.contains(*name))
        .map(|(name, value)| {
            let takes_value = Cli::command()
                .get_arguments()
                .any(|a| a.get_long() == Some(name) && a.get_action().takes_values());
            if takes_value {
                format!("--{name}={value}")
            } else {
                format!("--{name}")
            }
        });
    let matches = command_line(arguments, from_environment.map(OsString::from)).map_err(|e| {
        let names = variables
            .keys()
            .map(|name| variable(name))
            .collect::<Vec<_>>()
            .join(", ");
        anyhow!(
            "in the environment ({names}): {}",
            mistake::one_line(&e, arguments)
        )
    })?;
    let cli =
        Cli::from_arg_matches(&matches).map_err(|e| anyhow!(mistake::one_line(&e, arguments)))?;
    Ok((
        Parsed::Bridge(Box::new(Typed {
            options: cli.options,
            command: cli.command,
        })),
        given,
    ))
}

/// The variable that stands for an option.
pub(crate) fn variable(option: &str) -> String {
    format!("KCLPIPE_{}", option.to_uppercase().replace('-', "_"))
}

fn command_line(
    arguments: &[OsString],
    more: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, clap::Error> {
    let all = [OsString::from("kclpipe")]
        .into_iter()
        .chain(more)
        .chain(arguments.iter().cloned());
    Cli::command().try_get_matches_from(all)
}

fn given(matches: &ArgMatches) -> BTreeSet<String> {
    let command = Cli::command();
    let arguments = command.get_arguments().filter(|argument| {
        matches.try_contains_id(argument.get_id().as_str()).is_ok()
            && matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine)
    });
    arguments
        .filter_map(|argument| argument.get_long())
        .map(str::to_owned)
        .collect()
}

fn flag(name: &str, value: &str) -> Result<bool> {
    match value.to_lowercase().as_str() {
        "1" | "true" | "yes" => Ok(true),
        "0" | "false" | "no" => Ok(false),
        _ => {
            bail!("{name}='{value}' is neither yes nor no: write 1, true or yes, or 0, false or no")
        }
    }
}

fn delay(text: &str) -> Result<Duration, String> {
    if text.starts_with('-') {
        return Err("durations are not negative".to_owned());
    }
    match limit(text)? {
        Limit(Some(delay)) => Ok(delay),
        Limit(None) => Err("a delay of 0 would try again without a pause".to_owned()),
    }
}

/// The first option of kclpipe's own among a handler's arguments. Names that other programs have, too, are
/// left alone, as curl's --retry-delay.
pub(crate) fn misplaced(arguments: &[OsString]) -> Option<String> {
    const OWN: [&str; 10] = [
        "checkpoint-",
        "dead-letter",
        "keepalive",
        "max-attempts",
        "max-consecutive-failures",
        "max-record",
        "on-exit",
        "on-failure",
        "retry-max-delay",
        "stats-every",
    ];
    let options = Cli::command();
    let name = |word: &OsString| {
        let name = word.to_str()?.strip_prefix("--")?.split('=').next()?;
        // A name of kclpipe's that other programs have, too, may well be meant for the handler.
        let own = OWN.iter().any(|own| name.starts_with(own));
        let mut known = options
            .get_arguments()
            .filter_map(|argument| argument.get_long());
        known
            .any(|known| own && known == name)
            .then(|| format!("--{name}"))
    };
    arguments.iter().find_map(name)
}

/// A path of an option's. What is not UTF-8 could not be shown, nor written as JSON.
fn path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().try_map(|path| match path.to_str() {
        Some(text) => Ok(PathBuf::from(text)),
        None => Err("a path must be UTF-8"),
    })
}

/// The longest duration that is understood: what a clock can be ahead of itself is bounded, too.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

/// The most handlers at a time: each has a place and three pipes, whether it runs or not.
const MOST_JOBS: usize = 10_000;

fn limit(text: &str) -> Result<Limit, String> {
    if text == "0" {
        return Ok(Limit(None));
    }
    if text.starts_with('-') {
        return Err("durations are not negative; 0 is off".to_owned());
    }
    let duration =
        humantime::parse_duration(text).map_err(|e| format!("{e}; write it like 60s, 5m or 1h"))?;
    if duration > LONGEST {
        return Err("that is longer than 100 years; 0 is off".to_owned());
    }
    Ok(Limit(Some(duration).filter(|duration| !duration.is_zero())))
}

/// The longest window: records that wait are nobody's yet, and come again after a stop.
const LONGEST_WINDOW: Duration = Duration::from_secs(60 * 60);

fn window(text: &str) -> Result<Limit, String> {
    let window = limit(text)?;
    if window.0.is_some_and(|window| window > LONGEST_WINDOW) {
        return Err("a window is at most 1h".to_owned());
    }
    Ok(window)
}

fn words(text: &str) -> Result<Words, String> {
    let mut words = split(text.as_bytes())
        .ok_or("a quote is not closed")?
        .into_iter();
    let program = words.next().ok_or("it does not name a program")?;
    Ok(Words(program, words.collect()))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| "write a number of at least 1".to_owned())
}

fn jobs(text: &str) -> Result<usize, String> {
    at_least_one(text)
        .ok()
        .filter(|jobs| *jobs <= MOST_JOBS)
        .ok_or_else(|| format!("write a number from 1 to {MOST_JOBS}"))
}

/// Bytes, with a unit of powers of 1000 or 1024.
fn size(text: &str) -> Result<u64, String> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: Option<u64> = match unit.trim().to_lowercase().as_str() {
        "" | "b" => Some(1),
        "kb" | "k" => Some(1000),
        "mb" | "m" => Some(1_000_000),
        "kib" => Some(1 << 10),
        "mib" => Some(1 << 20),
        "gb" | "g" => Some(1_000_000_000),
        "gib" => Some(1 << 30),
        _ => None,
    };
    let bytes = number
        .parse::<u64>()
        .ok()
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit));
    bytes.ok_or_else(|| "write it like 500000, 512KiB or 6MB".to_owned())
}

fn on_exit(text: &str) -> Result<(u8, Class), String> {
    let (code, class) = text.split_once('=').ok_or("write it like 99=checkpoint")?;
    let code = code
        .trim()
        .parse()
        .map_err(|_| format!("'{code}' is not an exit code from 0 to 255"))?;
    let known = CLASSES.iter().find(|(name, _)| *name == class.trim());
    let names = || CLASSES.map(|(name, _)| name).join(", ");
    let (_, class) = known.ok_or_else(|| format!("'{class}' is not one of {}", names()))?;
    Ok((code, *class))
}

fn signal(text: &str) -> Result<rustix::process::Signal, String> {
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let known = SIGNALS
        .iter()
        .find(|(known, signal)| *known == name || signal.as_raw().to_string() == name);
    let names = || SIGNALS.map(|(name, _)| name).join(", ");
    known
        .map(|(_, signal)| *signal)
        .ok_or_else(|| format!("write one of {}", names()))
}

fn log_level(text: &str) -> Result<String, String> {
    crate::logging::check_level(text).map_err(|e| format!("{e:#}"))?;
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        split(text.as_bytes()).expect(text)
    }

    fn typed(line: &str, variables: &[(&str, &str)]) -> Result<Options> {
        let pairs = variables
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        let (variables, _) = super::variables(pairs)?;
        match parse(&words(line), &variables)?.0 {
            Parsed::Bridge(typed) => Ok(typed.options),
            Parsed::Show(text) => bail!("shown: {text}"),
        }
    }

    fn error(line: &str, variables: &[(&str, &str)]) -> String {
        format!("{:#}", typed(line, variables).expect_err(line))
    }

    #[test]
    fn the_table_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_file_is_split_as_a_shell_would_without_expansion() {
        let text = "# a comment\r\n--on-exit 9=done # another\n-- sh -c 'jq . |\n x' \"a \\\" $HOME\" b\\ c a#b ''";
        let expected = [
            "--on-exit",
            "9=done",
            "--",
            "sh",
            "-c",
            "jq . |\n x",
            "a \" $HOME",
            "b c",
            "a#b",
            "",
        ];
        assert_eq!(words(text), expected);
        assert_eq!(split(b"'open"), None);
    }

    #[test]
    fn a_file_is_the_sole_argument_and_not_nested() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            OsString::from(format!("@{}", path.display()))
        };
        let read = |words: &[OsString]| arguments(words.iter().cloned());
        let good = at("good", "--per record -- cat");
        assert_eq!(
            read(std::slice::from_ref(&good)).expect("read"),
            ["--per", "record", "--", "cat"]
        );
        for (words, said) in [
            (vec![good, "x".into()], "only argument"),
            (vec![at("nested", "@other")], "second file"),
            (vec![at("open", "-- 'x")], "quote"),
            (
                vec!["@/no/such/file".into()],
                "cannot read '@/no/such/file'",
            ),
        ] {
            let error = format!("{:#}", read(&words).expect_err(said));
            assert!(error.contains(said), "{error}");
        }
        assert_eq!(
            read(&["--".into(), "@x".into()]).expect("an argument"),
            ["--", "@x"]
        );
    }

    #[test]
    fn the_command_line_comes_before_the_environment() {
        let variables = [
            ("KCLPIPE_CHECKPOINT_RECORDS", "7"),
            ("KCLPIPE_CHECKPOINT_BATCH", "yes"),
            ("KCLPIPE_DATA", ""),
        ];
        let options = typed("--checkpoint-records 3 -- cat", &variables).expect("sound");
        assert_eq!(
            (
                options.checkpoint_records,
                options.checkpoint_batch,
                options.data
            ),
            (Some(3), true, None)
        );
        let options = typed(
            "-- cat",
            &[
                ("KCLPIPE_ON_EXIT", "9=done,10=fail"),
                ("KCLPIPE_CHECKPOINT_BATCH", "0"),
            ],
        );
        let options = options.expect("sound");
        assert_eq!(
            (options.on_exit.len(), options.checkpoint_batch),
            (2, false)
        );
    }

    #[test]
    fn a_mistake_is_one_line_that_names_the_operand() {
        for (line, variables, said) in [
            (
                "--chekpoint-every 60s -- cat",
                &[][..],
                "'--chekpoint-every'",
            ),
            ("--checkpoint-every 60 -- cat", &[], "60s"),
            ("--retry-delay 0 -- cat", &[], "--retry-delay"),
            ("--jobs 0 -- cat", &[], "--jobs"),
            ("--inflight 0 -- cat", &[], "--inflight"),
            ("--batch-bytes 1parsec -- cat", &[], "512KiB"),
            (
                "--on-exit 300=done -- cat",
                &[],
                "'300' is not an exit code",
            ),
            ("--on-exit 3=fine -- cat", &[], "'fine' is not one of done"),
            ("--stop-signal BOO -- cat", &[], "TERM"),
            ("--log-level loud -- cat", &[], "loud"),
            ("--hook '' -- cat", &[], "it does not name a program"),
            (
                "--dead-letter-command \"sh -c 'x\" -- cat",
                &[],
                "a quote is not closed",
            ),
            ("-- cat", &[("KCLPIPE_TIMEOUT", "soon")], "KCLPIPE_TIMEOUT"),
            (
                "-- cat",
                &[("KCLPIPE_CHECKPOINT_BATCH", "maybe")],
                "KCLPIPE_CHECKPOINT_BATCH='maybe'",
            ),
            ("cat", &[], "'cat'"),
        ] {
            let error = error(line, variables);
            assert!(
                error.contains(said) && !error.contains('\n'),
                "{line}: {error}"
            );
        }
    }

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in [
            ("0", 0),
            ("12", 12),
            ("6MB", 6_000_000),
            ("512KiB", 524_288),
            ("1 mib", 1_048_576),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        assert!(size("MB").is_err() && size("99999999999999MB").is_err());
    }

    #[test]
    fn unknown_variables_are_reported() {
        let environment = [("KCLPIPE_CHECKPOINT_EVRY", "1s"), ("PATH", "/bin")];
        let (known, unknown) =
            variables(environment.map(|(n, v)| (n.into(), v.into())).into_iter()).expect("sound");
        assert_eq!(
            (known.len(), unknown),
            (
                0,
                vec!["KCLPIPE_CHECKPOINT_EVRY is set, but there is no such option".to_owned()]
            )
        );
    }
}
