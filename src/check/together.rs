//! What is wrong between the daemon's properties and kclpipe's own options.

use std::time::Duration;

use super::report::{Finding, Severity};
use super::{Child, Scope};

/// The daemon calls for batches without records only if this is true (`ProcessTask`), and a child may checkpoint
/// only while it has a batch.
const EMPTY: &str = "callProcessRecordsEvenForEmptyRecordList";

/// How long KCL 3.x waits for a child that has to hand its lease over, unless it is set
/// (`LeaseManagementConfig.GracefulLeaseHandoffConfig`).
const HAND_OFF: i64 = 30_000;

/// What does not go together; `child` is what kclpipe was started with, if it is the child.
pub(super) fn examine(scope: &Scope, child: Option<&Child>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(time_limit(scope, child));
    findings.extend(grace(scope, child));
    if let Some(child) = child {
        findings.extend(empty_batches(scope, child));
        findings.extend(hand_off(scope, child));
        findings.extend(latest(scope, child));
    }
    findings
}

impl Child {
    /// How long it may take from a request to shut down to its answer, apart from a checkpoint.
    fn time_to_stop(&self) -> Duration {
        // A handler that lives as long as the lease sees the end of its input first, and a signal after that.
        let times = if self.per_shard { 2 } else { 1 };
        self.drain.unwrap_or_default() + self.stop_timeout * times
    }

    /// The options that shorten it.
    fn options_to_stop(&self) -> &'static str {
        match self.drain {
            Some(_) => "--drain-timeout or --stop-timeout",
            None => "--stop-timeout",
        }
    }
}

/// About the line that sets a key, or that should.
fn about(key: &'static str, scope: &Scope, severity: Severity) -> Finding {
    match scope.get(key) {
        Some(property) => Finding::about(property, severity),
        None => Finding::missing(key, severity),
    }
}

/// The daemon's own limit: `MultiLangProtocol` halts Java when a child has said nothing for so long.
fn time_limit(scope: &Scope, child: Option<&Child>) -> Option<Finding> {
    let property = scope.get("timeoutInSeconds")?;
    let seconds = property.value.trim().parse::<i32>().ok()?;
    let why = "When this time is over the daemon does not stop the child: it stops itself, at once, with all shards of the worker.";
    let Ok(limit @ 1..) = u64::try_from(seconds) else {
        return Some(Finding::about(property, Severity::Error).says(
            "timeout-too-short",
            format!("{seconds} seconds are over before a child can answer"),
            why,
            "Delete the line, or write a time far above --timeout.",
        ));
    };
    let (child, limit) = (child?, Duration::from_secs(limit));
    let kept = child.keepalive.is_some_and(|keepalive| keepalive < limit);
    // Either is enough: kclpipe speaks up in time, or its handler is stopped before the daemon's time is over.
    let stopped = child.timeout.is_some_and(|timeout| timeout < limit);
    let timeout = match child.timeout {
        Some(timeout) => format!("the {} of", humantime::format_duration(timeout)),
        None => "no limit by".to_owned(),
    };
    (!kept && !stopped).then(|| {
        Finding::about(property, Severity::Warning).says(
            "timeout-too-short",
            format!("{seconds} seconds is not longer than {timeout} kclpipe's --timeout"),
            why,
            "Write a time far above --timeout, or let kclpipe keep the daemon waiting with --keepalive.",
        )
    })
}

/// What the daemon grants its children at SIGTERM (`MultiLangDaemon`): 0 unless it is set, from 2.1.0 on;
/// 5 seconds in 1.15.3.
fn grace(scope: &Scope, child: Option<&Child>) -> Option<Finding> {
    const KEY: &str = "shutdownGraceMillis";
    let default = match scope.kcl().generation() {
        1 => 5000,
        _ => 0,
    };
    let set = scope.get(KEY).map(|_| scope.number(KEY));
    // 1.x refuses what is not positive.
    let unset = |grace: i64| grace == 0 || grace < 0 && default > 0;
    let grace = set.filter(|grace| !unset(*grace)).unwrap_or(default);
    let finding = about(KEY, scope, Severity::Warning);
    if grace <= 0 {
        return Some(finding.says(
            "grace-missing",
            "at SIGTERM the daemon asks no child to finish",
            "The grace is 0 unless you set it: there is no last checkpoint, and everything since the previous one is redelivered.",
            "Write shutdownGraceMillis = 60000, or more if your longest batch takes longer.",
        ));
    }
    let child = child?;
    let stop = child.time_to_stop();
    is_shorter(grace, stop).then(|| {
        finding.says(
            "grace-too-short",
            format!("{grace} ms is less than kclpipe may need to stop its handler"),
            "The daemon ends before that, and there is no last checkpoint.",
            format!(
                "Write at least {}, or shorten {}.",
                stop.as_millis(),
                child.options_to_stop()
            ),
        )
    })
}

fn is_shorter(millis: i64, time: Duration) -> bool {
    Duration::from_millis(millis.unsigned_abs()) < time
}

/// A lease that another worker asks for is taken when this time is over, whatever its child still does
/// (`LeaseGracefulShutdownHandler`). Without a read-ahead no handler is at work at that moment.
fn hand_off(scope: &Scope, child: &Child) -> Option<Finding> {
    const KEY: &str = "gracefulLeaseHandoffTimeoutMillis";
    const SWITCH: &str = "isGracefulLeaseHandoffEnabled";
    // It is on unless it is set.
    let is_off = scope.get(SWITCH).is_some() && !scope.is_true(SWITCH);
    if child.drain.is_none() || scope.kcl().generation() < 3 || is_off {
        return None;
    }
    let millis = match scope.get(KEY) {
        Some(_) => scope.number(KEY),
        None => HAND_OFF,
    };
    let stop = child.time_to_stop();
    is_shorter(millis, stop).then(|| {
        about(KEY, scope, Severity::Warning).says(
            "hand-off-too-short",
            format!("{millis} ms is less than kclpipe may need to stop its handler"),
            "When another worker takes the lease over, the daemon waits this long: what handlers finish after that is done twice.",
            format!(
                "Write at least {}, or shorten {}.",
                stop.as_millis(),
                child.options_to_stop()
            ),
        )
    })
}

/// What is due waits for a batch, be it empty. Handlers that work between two batches depend on that.
fn empty_batches(scope: &Scope, child: &Child) -> Option<Finding> {
    if scope.is_true(EMPTY) {
        return None;
    }
    let (severity, why) = match child.drain {
        Some(_) => (
            Severity::Error,
            "With --read-ahead or --batch-window handlers finish between two batches, and kclpipe may checkpoint only during one; without this key a shard without records gets none, so nothing is checkpointed until new records arrive.",
        ),
        None if child.timed => (
            Severity::Warning,
            "kclpipe may checkpoint only during a batch, and without this key a shard without records gets no batches; after a restart its last records are redelivered.",
        ),
        None => return None,
    };
    Some(about(EMPTY, scope, severity).says(
        "empty-batches-missing",
        "on a quiet shard checkpoints are late",
        why,
        format!("Write {EMPTY} = true."),
    ))
}

/// Until its first checkpoint a lease that begins at `LATEST` begins at the tip again with each restart.
fn latest(scope: &Scope, child: &Child) -> Option<Finding> {
    const KEY: &str = "initialPositionInStream";
    let position = scope.get(KEY).map(|p| p.value.trim().to_uppercase());
    let is_latest = matches!(position.as_deref(), None | Some("LATEST"));
    let by_time = scope.get("initialPositionInStreamExtended").is_some();
    (child.windowed && is_latest && !by_time).then(|| {
        about(KEY, scope, Severity::Warning).says(
            "latest-with-window",
            "LATEST, the default, skips records when a window is lost before the first checkpoint",
            "Without a checkpoint a restart begins at the new tip of the shard, and what waited in the window is not delivered again.",
            "Write initialPositionInStream = TRIM_HORIZON.",
        )
    })
}
