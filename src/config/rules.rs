//! The rules between two options: which need each other, and which exclude each other.

use std::collections::BTreeSet;

use super::failures::RETRY_DELAY;
use super::off_or;
use super::records::{gives_batches, gives_events, read_ahead, window};
use crate::cli::{
    self, Checkpoints, Failures, Filtering, FormatName, OnFailureName, Options, PerName,
    StatsFormatName, Variables,
};

/// Two options that do not go together.
#[derive(Debug)]
pub(super) struct Conflict {
    /// Their names.
    pub options: [&'static str; 2],
    /// What is wrong with them.
    pub why: &'static str,
}

impl Conflict {
    /// What is wrong, with the variables that options came from.
    pub(super) fn message(&self, variables: &Variables, given: &BTreeSet<String>) -> String {
        let from = self
            .options
            .iter()
            .filter(|option| !given.contains(**option) && variables.contains_key(**option));
        let from: Vec<String> = from
            .map(|option| format!("--{option} is {}", cli::variable(option)))
            .collect();
        if from.is_empty() {
            self.why.to_owned()
        } else {
            format!("{} ({})", self.why, from.join(", "))
        }
    }
}

/// The first pair of options that contradict each other.
pub(super) fn broken(options: &Options) -> Option<Conflict> {
    let rules = checkpoint_rules(&options.checkpoints)
        .into_iter()
        .chain(failure_rules(&options.failures))
        .chain(format_rules(options))
        .chain(batch_rules(options))
        .chain(shard_rules(options))
        .chain(limit_rules(options))
        .chain(window_rules(options))
        .chain(filter_rules(&options.filtering))
        .chain([(
            options.watching.stats_format == Some(StatsFormatName::Emf)
                && off_or(options.watching.stats_every, None).is_none(),
            ["stats-format", "stats-every"],
            "--stats-format emf needs an interval, for example --stats-every 1m",
        )])
        .chain([(
            options.debugging.capture_data && options.debugging.capture.is_none(),
            ["capture-data", "capture"],
            "--capture-data needs a file, named by --capture",
        )]);
    let (_, options, why) = rules.into_iter().find(|(broken, ..)| *broken)?;
    Some(Conflict { options, why })
}

/// Whether a rule is broken, the two options, and what is wrong with them.
type Rule = (bool, [&'static str; 2], &'static str);

fn checkpoint_rules(options: &Checkpoints) -> [Rule; 3] {
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

fn failure_rules(options: &Failures) -> [Rule; 5] {
    let (file, policy) = (options.dead_letter.is_some(), options.on_failure);
    let command = options.dead_letter_command.is_some();
    // A file or a command for letters is as good as --on-failure dead-letter.
    let other = !matches!(policy, None | Some(OnFailureName::DeadLetter));
    let first = options.retry_delay.unwrap_or(RETRY_DELAY);
    let longest = options.retry_max_delay;
    let [file_excluded, command_excluded] = excluded(policy);
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
            policy == Some(OnFailureName::DeadLetter) && !file && !command,
            ["on-failure", "dead-letter"],
            "--on-failure dead-letter needs --dead-letter-command, or a file, named by --dead-letter",
        ),
        (
            longest.is_some_and(|longest| longest < first),
            ["retry-delay", "retry-max-delay"],
            "--retry-delay is longer than --retry-max-delay",
        ),
    ]
}

/// What is said where a policy excludes a file, or a command, for dead letters.
fn excluded(policy: Option<OnFailureName>) -> [&'static str; 2] {
    match policy {
        Some(OnFailureName::Skip) => [
            "--on-failure skip and --dead-letter exclude each other: remove one of them",
            "--on-failure skip and --dead-letter-command exclude each other: remove one of them",
        ],
        Some(OnFailureName::Halt) => [
            "--on-failure halt and --dead-letter exclude each other: remove one of them",
            "--on-failure halt and --dead-letter-command exclude each other: remove one of them",
        ],
        None | Some(OnFailureName::Block | OnFailureName::DeadLetter) => [
            "--on-failure block and --dead-letter exclude each other: remove one of them",
            "--on-failure block and --dead-letter-command exclude each other: remove one of them",
        ],
    }
}

fn format_rules(options: &Options) -> [Rule; 4] {
    let per = options.handover.per.unwrap_or(PerName::Record);
    let format = options.handover.format;
    let lambda = format == Some(FormatName::Lambda);
    let jsonl = match format {
        // The default of the format depends on the mode, and a rule must know it.
        None => per != PerName::Record,
        Some(format) => format == FormatName::Jsonl,
    };
    [
        (
            format == Some(FormatName::Raw) && per == PerName::Shard,
            ["per", "format"],
            "--per shard cannot tell one record from the next with --format raw",
        ),
        (
            lambda && per == PerName::Record,
            ["per", "format"],
            "--format lambda needs --per batch, or --per shard for a function that stays warm",
        ),
        (
            options.handover.data.is_some() && !jsonl,
            ["format", "data"],
            "--data needs --format jsonl",
        ),
        (
            options.lambda.stream_arn.is_some() && !lambda,
            ["format", "stream-arn"],
            "--stream-arn needs --format lambda",
        ),
    ]
}

fn batch_rules(options: &Options) -> [Rule; 2] {
    let other = !gives_batches(options);
    [
        (
            other && options.batch.batch_size.is_some(),
            ["per", "batch-size"],
            "--batch-size needs --per batch, or --per shard with --format lambda",
        ),
        (
            other && options.batch.batch_bytes.is_some(),
            ["per", "batch-bytes"],
            "--batch-bytes needs --per batch, or --per shard with --format lambda",
        ),
    ]
}

fn shard_rules(options: &Options) -> [Rule; 4] {
    let other = options.handover.per != Some(PerName::Shard);
    [
        (
            other && options.shard.inflight.is_some(),
            ["per", "inflight"],
            "--inflight needs --per shard",
        ),
        (
            gives_events(options) && options.shard.inflight.is_some(),
            ["format", "inflight"],
            "--inflight excludes --format lambda: a function has one event at a time, and --batch-size says how many records are in it",
        ),
        (
            other && options.shard.plain_answers,
            ["per", "plain-answers"],
            "--plain-answers needs --per shard",
        ),
        (
            other && options.shard.max_records_per_handler.is_some(),
            ["per", "max-records-per-handler"],
            "--max-records-per-handler needs --per shard",
        ),
    ]
}

/// A handler that lives as long as the lease would have its slot for as long, and nobody could wait for it.
fn limit_rules(options: &Options) -> [Rule; 2] {
    let per_shard = options.handover.per == Some(PerName::Shard);
    [
        (
            per_shard && options.handover.host_jobs.is_some(),
            ["per", "host-jobs"],
            "--host-jobs limits handlers that end, and excludes --per shard, whose handlers live as long as their lease",
        ),
        (
            per_shard && !gives_events(options) && options.handover.rate.is_some(),
            ["per", "rate"],
            "--rate spaces out the starts of handlers, and excludes --per shard, whose handlers start once, but for --format lambda",
        ),
    ]
}

fn filter_rules(options: &Filtering) -> [Rule; 1] {
    let filters = !options.filter.is_empty() || options.filter_file.is_some();
    [(
        options.filter_non_json.is_some() && !filters,
        ["filter-non-json", "filter"],
        "--filter-non-json needs a pattern, by --filter or --filter-file",
    )]
}

fn window_rules(options: &Options) -> [Rule; 6] {
    let window = window(options);
    // A window reads ahead by default, so only a 0 that was typed can contradict it.
    let reads_ahead = read_ahead(options) > 0;
    [
        (
            window.is_some() && !gives_batches(options),
            ["per", "batch-window"],
            "--batch-window needs --per batch, or --per shard with --format lambda",
        ),
        (
            window.is_some() && !reads_ahead,
            ["read-ahead", "batch-window"],
            "--batch-window collects records over several reads, and --read-ahead 0 allows one: remove one of them",
        ),
        (
            options.batch.batch_align && window.is_none(),
            ["batch-align", "batch-window"],
            "--batch-align needs --batch-window",
        ),
        (
            options.batch.batch_align && options.handover.jobs.unwrap_or(1) > 1,
            ["batch-align", "jobs"],
            "--batch-align makes batches of records that follow each other, and excludes --jobs",
        ),
        (
            options.handover.spool_dir.is_some() && !reads_ahead,
            ["spool-dir", "read-ahead"],
            "--spool-dir needs --read-ahead or --batch-window: without them no records wait",
        ),
        (
            options.stopping.drain_timeout.is_some() && !reads_ahead,
            ["drain-timeout", "read-ahead"],
            "--drain-timeout needs --read-ahead or --batch-window: without them no handler is at work when the daemon asks for a shutdown",
        ),
    ]
}
