//! A command of the user's beside the handlers: the hook, and what takes dead letters.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use humantime::format_duration;

use super::attempt::ExitReport;
use super::{Children, Role};
use crate::backoff::Delays;
use crate::due::Due;
use crate::handler::mode::environment::Environment;
use crate::outcome::Ended;
use crate::plural::plural;
use crate::process::{self, Command, Feed, Spawn, Stderr, Stop};

/// One such command, with a place of its own among the children. One of it runs at a time, and only exit
/// code 0 is success.
#[derive(Debug)]
pub(super) struct Sidecar {
    role: Role,
    pub(super) command: Command,
    delays: Delays,
    stop: Stop,
    run: Option<Run>,
    /// Failures in a row.
    failures: u32,
    /// It does not run before.
    not_before: Option<Instant>,
}

/// What the command is given, and for how long.
pub(super) struct Job<'a> {
    pub(super) environment: &'a Environment,
    pub(super) without: &'a [OsString],
    pub(super) input: Vec<u8>,
    pub(super) patience: Patience,
}

/// How long the command may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// The time limit of handlers, if there is one.
    Limit(Option<Duration>),
    /// The time that handlers have to end by themselves.
    Short(Stop),
}

#[derive(Debug)]
struct Run {
    patience: Patience,
    started: Instant,
    /// What comes of it does not matter any more.
    withdrawn: bool,
    timed_out: bool,
}

impl Sidecar {
    pub(super) fn new(role: Role, command: Command, delays: Delays, stop: Stop) -> Sidecar {
        Sidecar {
            role,
            command,
            delays,
            stop,
            run: None,
            failures: 0,
            not_before: None,
        }
    }

    /// Whether it may run now.
    pub(super) fn is_free(&self, now: Instant) -> bool {
        self.run.is_none() && self.not_before.is_none_or(|at| now >= at)
    }

    /// Whether it failed the last time.
    pub(super) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Runs the command; why not, in words.
    pub(super) fn start(
        &mut self,
        children: &mut dyn Children,
        job: Job<'_>,
        now: Instant,
    ) -> Result<(), String> {
        let spawn = Spawn {
            environment: job.environment,
            without: job.without,
            watch_input: true,
            feed: Feed::Whole,
            line_limit: process::LINE,
            stderr: Stderr::Log,
        };
        children
            .start(self.role, &self.command, &spawn, job.input.into())
            .map_err(|why| format!("it cannot be started: {why}"))?;
        // A hook that need not succeed has no longer than a handler has to end by itself.
        match job.patience {
            Patience::Limit(_) => children.close_input(self.role),
            Patience::Short(stop) => children.finish(self.role, stop),
        }
        self.run = Some(Run {
            patience: job.patience,
            started: now,
            withdrawn: false,
            timed_out: false,
        });
        Ok(())
    }

    /// Stops the command if it has used up its time; everything readable has been read before.
    pub(super) fn judge_time(&mut self, children: &mut dyn Children, now: Instant) {
        if self.run.is_none() || self.due(children, now).now().is_none() {
            return;
        }
        children.stop(self.role, self.stop);
        if let Some(run) = &mut self.run {
            run.timed_out = true;
        }
    }

    /// How the command ended, in words if not well; `None` where that does not matter any more.
    pub(super) fn ended(&mut self, end: &ExitReport) -> Option<Result<(), String>> {
        let run = self.run.take().filter(|run| !run.withdrawn)?;
        Some(match (run.patience, end.ended) {
            (Patience::Limit(Some(limit)), _) if run.timed_out => Err(format!(
                "it reached its time limit of {} (--timeout) and was stopped",
                format_duration(limit)
            )),
            (Patience::Short(stop), _) if end.stopped => Err(format!(
                "it was still running after {} and was stopped (--stop-timeout)",
                format_duration(stop.timeout)
            )),
            (_, Ended::Code(0)) if end.unread > 0 => Err(format!(
                "exit code 0, with {} of its input unread",
                plural(end.unread, "byte")
            )),
            (_, Ended::Code(0)) => Ok(()),
            (_, ended) => Err(ended.to_string()),
        })
    }

    /// It has done its work.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// It has not: the time until it may run again.
    pub(super) fn failed(&mut self, now: Instant) -> Duration {
        self.failures += 1;
        let delay = self.delays.after(self.failures);
        self.not_before = Some(now + delay);
        delay
    }

    /// Stops what runs: nobody needs it any more.
    pub(super) fn withdraw(&mut self, children: &mut dyn Children) {
        (self.failures, self.not_before) = (0, None);
        if let Some(run) = &mut self.run {
            run.withdrawn = true;
            children.stop(self.role, self.stop);
        }
    }

    /// What is due by time: while it runs, that it is stopped; else that it may run again.
    pub(super) fn due(&self, children: &dyn Children, now: Instant) -> Due<()> {
        match &self.run {
            Some(_) if children.has_ended(self.role) => Due::Never,
            Some(run) => Due::from(run.limit_at(), now, ()),
            None => Due::from(self.not_before.filter(|at| *at > now), now, ()),
        }
    }
}

impl Run {
    fn limit_at(&self) -> Option<Instant> {
        match self.patience {
            _ if self.timed_out || self.withdrawn => None,
            Patience::Limit(limit) => Some(self.started + limit?),
            Patience::Short(_) => None,
        }
    }
}
