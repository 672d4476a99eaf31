//! The command line: its types, its help, and its other two sources, `@FILE` and `KCLPIPE_*`.

mod args_file;
mod check;
mod complete;
mod completions;
mod environment;
mod help;
mod init;
mod lambda;
mod launch;
mod man;
mod misplaced;
mod mistake;
mod options;
mod redrive;
mod renamed;
mod replay;
mod status;
mod unknown;
mod values;

use std::collections::BTreeSet;
use std::ffi::OsString;

use anyhow::{Result, anyhow, bail};
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

pub(crate) use args_file::arguments;
#[cfg(test)]
pub(crate) use args_file::split;
pub(crate) use check::CheckOptions;
pub(crate) use complete::complete;
pub(crate) use completions::{Shell, completions};
pub(crate) use environment::{Variables, variable, variables};
pub(crate) use help::help;
pub(crate) use init::InitOptions;
pub(crate) use lambda::LambdaOptions;
pub(crate) use launch::{JARS, LaunchOptions};
pub(crate) use man::man;
pub(crate) use misplaced::misplaced;
pub(crate) use options::{
    Checkpoints, DataName, DecompressName, Failures, Filtering, FormatName, LogFormatName,
    NonJsonName, OnFailureName, Options, PerName, StatsFormatName,
};
pub(crate) use redrive::RedriveOptions;
pub(crate) use replay::{EndingName, InputFormatName, ReplayOptions};
pub(crate) use status::StatusOptions;
pub(crate) use values::{Limit, Words};

const USAGE: &str = "\
kclpipe [OPTIONS] -- COMMAND [ARG...]
       kclpipe @FILE
       kclpipe replay [OPTIONS] [INPUT...] -- CHILD [ARG...]
       kclpipe init [OPTIONS] -- COMMAND [ARG...]
       kclpipe check [OPTIONS] FILE
       kclpipe launch [OPTIONS] FILE
       kclpipe status [OPTIONS] DIR
       kclpipe redrive FILE [OPTIONS] -- COMMAND [ARG...]
       kclpipe lambda [OPTIONS] -- BOOTSTRAP [ARG...]";

/// What `--help` shows after the options.
const EXAMPLES: &str = "\
Examples:
  Try a handler without AWS or Java, on a file with one record a line:
    kclpipe replay records.txt -- kclpipe --jobs 4 -- ./handler.sh
  In the daemon's .properties file, with a checkpoint every 10 seconds:
    executableName = kclpipe --checkpoint-every 10s -- ./handler.sh
  The daemon does not understand quotes. With spaces or a pipeline, put the
  rest of the line in a file:
    executableName = kclpipe @handler.args
    handler.args:  --max-attempts 5 --dead-letter /var/spool/dead.jsonl
                   -- bash -o pipefail -c 'jq -c .event | my-upload'

Every option may also come from the environment:
KCLPIPE_CHECKPOINT_EVERY=60s is --checkpoint-every 60s.
A handler's exit code decides: 0 done, 65 reject, 75 retry later, 126 and 127
the handler is broken, any other fail. A line 'checkpoint' on its stdout asks
for a checkpoint.";

#[derive(Debug, Parser)]
#[command(
    name = "kclpipe",
    version,
    about = "Run a command for each record of an Amazon Kinesis stream",
    long_about = "Runs a command for each record of an Amazon Kinesis stream, as the child of Amazon's KCL \
                  MultiLangDaemon: name it in the daemon's executableName.",
    after_long_help = EXAMPLES,
    override_usage = USAGE,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    max_term_width = 80,
)]
struct Cli {
    #[command(flatten)]
    bridge: OfBridge,
    #[command(subcommand)]
    other: Option<Other>,
}

/// What the daemon's child reads. There is a process for each shard, so what all the other words would take is not
/// made for it unless something is wrong.
#[derive(Args, Debug)]
struct OfBridge {
    #[command(flatten)]
    options: Options,
    /// The handler and its arguments
    #[arg(
        last = true,
        value_name = "COMMAND",
        help_heading = "Handing records over"
    )]
    command: Vec<OsString>,
}

/// The other things that kclpipe does, each under a word of its own.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Other {
    /// Play the daemon, to try a handler without AWS and Java
    Replay(Box<ReplayOptions>),
    /// Write the daemon's configuration for a stream and a handler
    Init(Box<InitOptions>),
    /// Find mistakes in a properties file before the daemon starts
    Check(Box<CheckOptions>),
    /// Start Amazon's MultiLangDaemon; --fetch downloads it first
    Launch(Box<LaunchOptions>),
    /// Show which shard of this machine is stuck, and why
    Status(Box<StatusOptions>),
    /// Hand the dead letters of a file over again
    Redrive(Box<RedriveOptions>),
    /// Run a function written for AWS Lambda as a handler
    Lambda(Box<LambdaOptions>),
    /// Print the manual page; read it with kclpipe man | man -l -
    Man,
    /// Print a shell's completion script for this command line
    #[command(after_help = completions::INSTALL)]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// What a completion script asks
    #[command(hide = true)]
    Complete {
        /// The command line after the program's name, up to the cursor
        #[arg(last = true)]
        words: Vec<OsString>,
    },
    /// Print this help, or that of a command: kclpipe help replay
    Help {
        /// The command
        command: Option<String>,
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

/// What a command line asks for.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// To be the daemon's child.
    Bridge(Box<Typed>),
    /// To print this, help or the version, and be done.
    Show(String),
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
    let matches = match command_line(arguments) {
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
    let Ok(matches) = of_bridge(arguments, Vec::new()) else {
        return Ok((Parsed::Show(no_bridge(arguments)?), BTreeSet::new()));
    };
    // The first reading is for what the command line has, which takes precedence.
    let given = given(&matches);
    let matches = match environment::arguments(variables, &given) {
        none if none.is_empty() => matches,
        more => of_bridge(arguments, more).map_err(|e| {
            let names: Vec<String> = variables.keys().map(|name| variable(name)).collect();
            let said = mistake::one_line(&e, arguments);
            anyhow!("in the environment ({}): {said}", names.join(", "))
        })?,
    };
    let bridge = OfBridge::from_arg_matches(&matches);
    let bridge = bridge.map_err(|e| anyhow!(mistake::one_line(&e, arguments)))?;
    let typed = Typed {
        options: bridge.options,
        command: bridge.command,
    };
    Ok((Parsed::Bridge(Box::new(typed)), given))
}

/// What to print for a command line that is not the bridge's: the help, or the version.
///
/// # Errors
/// One line on what is wrong with it.
fn no_bridge(arguments: &[OsString]) -> Result<String> {
    match command_line(arguments) {
        Err(e) if !e.use_stderr() => Ok(shown(&e, arguments)),
        Err(e) => bail!(mistake::one_line(&e, arguments)),
        // The other words are read before this.
        Ok(_) => bail!("no handler: write its command after '--'"),
    }
}

impl OfBridge {
    /// Without help and version: whoever asks for these is no daemon.
    fn command() -> Command {
        OfBridge::augment_args(Command::new("kclpipe").disable_help_flag(true))
    }
}

/// The version, or the help: the short one where nobody asked for the long one.
fn shown(shown: &clap::Error, arguments: &[OsString]) -> String {
    let mut options = arguments.iter().take_while(|word| *word != "--");
    if shown.kind() == ErrorKind::DisplayHelp && options.all(|word| word != "--help") {
        return help::page();
    }
    shown.render().to_string()
}

fn command_line(arguments: &[OsString]) -> Result<ArgMatches, clap::Error> {
    let own = OsString::from("kclpipe");
    Cli::command().try_get_matches_from([&own].into_iter().chain(arguments))
}

/// The bridge's own command line, with `more` options before it.
fn of_bridge(arguments: &[OsString], more: Vec<OsString>) -> Result<ArgMatches, clap::Error> {
    let own = OsString::from("kclpipe");
    let all = [&own].into_iter().chain(&more).chain(arguments);
    OfBridge::command().try_get_matches_from(all)
}

fn given(matches: &ArgMatches) -> BTreeSet<String> {
    let command = OfBridge::command();
    let arguments = command.get_arguments().filter(|argument| {
        matches.try_contains_id(argument.get_id().as_str()).is_ok()
            && matches.value_source(argument.get_id().as_str()) == Some(ValueSource::CommandLine)
    });
    arguments
        .filter_map(|argument| argument.get_long())
        .map(str::to_owned)
        .collect()
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
    fn the_command_line_comes_before_the_environment() {
        let variables = [
            ("KCLPIPE_CHECKPOINT_RECORDS", "7"),
            ("KCLPIPE_CHECKPOINT_BATCH", "yes"),
            ("KCLPIPE_DATA", ""),
        ];
        let options = typed("--checkpoint-records 3 -- cat", &variables).expect("sound");
        assert_eq!(
            (
                options.checkpoints.checkpoint_records,
                options.checkpoints.checkpoint_batch,
                options.handover.data
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
            (
                options.failures.on_exit.len(),
                options.checkpoints.checkpoint_batch
            ),
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
            (
                "--on-exit 3=fine -- cat",
                &[],
                "'fine' is not a class: write one of done",
            ),
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
}
