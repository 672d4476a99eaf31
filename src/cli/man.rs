//! The manual page, made from the command line's own types.

use std::io::{self, Write};

use anyhow::Result;
use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::{Cli, EXAMPLES};
use crate::outcome::{CLASSES, Class, Ended, OnExit};

/// A term and what it means; a paragraph, where the term is empty.
type Entry = (&'static str, &'static str);

const ABOUT: [Entry; 4] = [
    (
        "",
        "kclpipe runs a command, the handler, for each record of an Amazon Kinesis stream. It is the child process of \
         Amazon's KCL MultiLangDaemon, a Java program that leases the shards of the stream and starts one kclpipe for \
         each: name kclpipe in executableName of the daemon's configuration.",
    ),
    (
        "",
        "A record is done once the handler has accepted it or the options below have dealt with it. A checkpoint never moves past a record that is not done. Each record is delivered at least once.",
    ),
    (
        "",
        "The daemon splits executableName at spaces and does not understand quotes. kclpipe @FILE reads the rest of the command line from FILE, split as a POSIX shell would, with quotes, backslashes and comments, and without expansion.",
    ),
    (
        "",
        "The handler is started directly, without a shell. For a pipeline, write bash -o pipefail -c '...' into an @FILE: under sh, only a failure of the last command counts.",
    ),
];

const OWN_EXITS: [Entry; 7] = [
    (
        "0",
        "The lease was lost, the shard ended, or the daemon closed the input. Of replay: the protocol was kept. Of \
         check and init: nothing was found.",
    ),
    (
        "1",
        "The handler or --on-failure halt stopped the worker. Of replay: the protocol was broken, or a shard did not \
         reach its end. Of check and init: there are warnings only.",
    ),
    ("2", "Of check and init: there are errors."),
    (
        "64",
        "A mistake on the command line, in an @FILE or in the environment.",
    ),
    (
        "70",
        "The daemon broke the protocol, or kclpipe has a fault.",
    ),
    (
        "73",
        "Of init: a file is there already, or cannot be written.",
    ),
    (
        "78",
        "The handler cannot be found or run, the log file cannot be opened, or --host-jobs has no place. Of launch: the daemon was not started; otherwise the exit status is Java's.",
    ),
];

const ENVIRONMENT: [Entry; 20] = [
    (
        "KCLPIPE_<OPTION>",
        "Each option of the bridge may come from the environment: KCLPIPE_CHECKPOINT_EVERY=60s is --checkpoint-every 60s. The command line takes precedence. A flag takes 1, true or yes, and 0, false or no; empty is unset.",
    ),
    (
        "",
        "None of these reaches the handler. Its environment has these instead, where they apply:",
    ),
    ("KCLPIPE_SHARD_ID", "The shard."),
    (
        "KCLPIPE_STREAM, KCLPIPE_APPLICATION",
        "The stream and the applicationName, under kclpipe launch.",
    ),
    (
        "KCLPIPE_SEQUENCE_NUMBER, KCLPIPE_SUB_SEQUENCE_NUMBER",
        "The record's position; the pair is its key.",
    ),
    (
        "KCLPIPE_PARTITION_KEY, KCLPIPE_PARTITION_KEY_BASE64",
        "Its partition key; the second if the key contains a NUL.",
    ),
    (
        "KCLPIPE_ARRIVAL_TIMESTAMP",
        "When it arrived in the stream, in milliseconds since 1970.",
    ),
    (
        "KCLPIPE_MILLIS_BEHIND_LATEST",
        "How far the batch was behind the stream's end.",
    ),
    ("KCLPIPE_ATTEMPT", "The number of this attempt, from 1."),
    (
        "KCLPIPE_ID",
        "Shard and position of the (first) record: a name that is the same when the same records come again.",
    ),
    (
        "KCLPIPE_BATCH_COUNT, KCLPIPE_BATCH_BYTES",
        "Per batch: how many records this batch has, and how many bytes of payload.",
    ),
    (
        "KCLPIPE_FIRST_SEQUENCE_NUMBER, KCLPIPE_FIRST_SUB_SEQUENCE_NUMBER, KCLPIPE_FIRST_ARRIVAL_TIMESTAMP",
        "Per batch: of its first record.",
    ),
    (
        "KCLPIPE_LAST_SEQUENCE_NUMBER, KCLPIPE_LAST_SUB_SEQUENCE_NUMBER, KCLPIPE_LAST_ARRIVAL_TIMESTAMP",
        "Per batch: of its last record.",
    ),
    (
        "KCLPIPE_LANE, KCLPIPE_INFLIGHT",
        "Per shard: the number of this handler, and how many records may be unanswered.",
    ),
    (
        "KCLPIPE_TOKEN",
        "The word before each answer on stdout; new for every process.",
    ),
    (
        "KCLPIPE_EXIT_REJECT, KCLPIPE_EXIT_RETRY",
        "65 and 75, for exit.",
    ),
    (
        "KCLPIPE_EXIT_CHECKPOINT, KCLPIPE_EXIT_HALT",
        "The codes that --on-exit names for these classes.",
    ),
    (
        "KCLPIPE_EVENT",
        "For the command of --hook alone: what it is run for.",
    ),
    (
        "KCLPIPE_JARS",
        "Of launch: the directory with the daemon's jars.",
    ),
    (
        "KCLPIPE_PROPERTY_<name>",
        "Of launch: a property of the daemon, which overrides that of its file.",
    ),
];

const FILES: [Entry; 3] = [
    (
        "@FILE",
        "The command line; relative to the directory the daemon starts in.",
    ),
    (
        "--dead-letter FILE",
        "One JSON object for each record that kclpipe gave up on, with its data. It is opened for each, so it may be rotated.",
    ),
    ("--log-file FILE", "The log. It may be rotated."),
];

const SIGNALS: [Entry; 2] = [
    (
        "SIGTERM, SIGINT, SIGHUP",
        "kclpipe checkpoints what is done, starts no new attempt for the time of --stop-timeout, and carries on: the daemon decides when it ends. With a terminal as stdin they end it.",
    ),
    (
        "",
        "The handler is in a process group of its own, so that a signal to the daemon's group does not reach it.",
    ),
];

/// The manual page of the program and all its subcommands, in roff.
///
/// # Errors
/// None that is known: it is written to memory.
pub(crate) fn man() -> Result<String> {
    let mut command = Cli::command().disable_help_flag(true);
    command.build();
    let mut page = Vec::new();
    // The generator leaves an empty date out, and what follows would move into its place.
    let version = command.get_version().unwrap_or_default();
    writeln!(
        page,
        ".TH KCLPIPE 1 \"\" \"kclpipe {version}\" \"User Commands\""
    )?;
    let man = Man::new(command.clone());
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    section("DESCRIPTION", &ABOUT).to_writer(&mut page)?;
    man.render_options_section(&mut page)?;
    for subcommand in command
        .get_subcommands()
        .filter(|other| !other.is_hide_set())
    {
        of_subcommand(subcommand, &mut page)?;
    }
    exit_codes_of_handlers().to_writer(&mut page)?;
    section("EXIT STATUS", &OWN_EXITS).to_writer(&mut page)?;
    section("ENVIRONMENT", &ENVIRONMENT).to_writer(&mut page)?;
    section("FILES", &FILES).to_writer(&mut page)?;
    section("SIGNALS", &SIGNALS).to_writer(&mut page)?;
    let mut examples = Roff::new();
    examples.control("SH", ["EXAMPLES"]);
    as_it_stands(&mut examples, EXAMPLES.trim_start_matches("Examples:\n"));
    examples.to_writer(&mut page)?;
    Ok(String::from_utf8(page)?)
}

/// A section for a subcommand; what has a section in a page of its own has a subsection here.
fn of_subcommand(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let mut head = Roff::new();
    let title = format!("KCLPIPE {}", command.get_name().to_uppercase());
    head.control("SH", [title.as_str()]);
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        head.text([roman(about.to_string())]);
    }
    head.to_writer(page)?;
    let man = Man::new(command.clone().disable_help_flag(true));
    let mut parts = Vec::new();
    man.render_synopsis_section(&mut parts)?;
    man.render_options_section(&mut parts)?;
    let parts = String::from_utf8_lossy(&parts).replace("\n.SH ", "\n.SS ");
    page.extend_from_slice(parts.as_bytes());
    let mut more = Roff::new();
    if let Some(text) = command.get_after_long_help() {
        more.control("PP", []);
        as_it_stands(&mut more, &text.to_string());
    }
    more.to_writer(page)
}

/// The classes with their exit codes, from the table that judges a handler.
fn exit_codes_of_handlers() -> Roff {
    let told = |class| match class {
        Class::Done => "the next record follows",
        Class::Reject => "never tried again: --on-failure, at once",
        Class::Retry => "tried again later, not counted",
        Class::Broken => "the handler is at fault: tried again later, forever, not counted",
        Class::Checkpoint => "the next record follows, and a checkpoint is stored here",
        Class::Halt => "the worker stops",
        Class::Fail => "tried again later, and after --max-attempts --on-failure",
    };
    let mut page = Roff::new();
    page.control("SH", ["EXIT CODES OF A HANDLER"]);
    for (name, class) in CLASSES {
        let codes = (0..=255).filter(|code| OnExit::default().class(Ended::Code(*code)) == class);
        let codes: Vec<String> = codes.map(|code| code.to_string()).collect();
        let codes = match codes.len() {
            0 => continue,
            1..=9 => codes.join(", "),
            _ => "any other".to_owned(),
        };
        page.control("TP", []);
        page.text([bold(codes)]);
        page.text([roman(format!("{name}: {}", told(class)))]);
    }
    page.control("PP", []);
    page.text([roman(
        "--on-exit changes this. A line 'checkpoint' on stdout asks for a checkpoint.",
    )]);
    page
}

fn section(heading: &str, entries: &[Entry]) -> Roff {
    let mut page = Roff::new();
    page.control("SH", [heading]);
    for (number, (term, text)) in entries.iter().enumerate() {
        if !term.is_empty() {
            page.control("TP", []);
            page.text([bold(*term)]);
        } else if number > 0 {
            // A section begins with a paragraph as it is, so the first needs no request.
            page.control("PP", []);
        }
        page.text([roman(*text)]);
    }
    page
}

/// Text whose lines are kept.
fn as_it_stands(page: &mut Roff, text: &str) {
    page.control("nf", []);
    for line in text.lines() {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}
