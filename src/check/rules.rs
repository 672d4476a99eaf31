//! What is wrong between lines: keys that are missing, and values that do not go together.

use std::collections::HashMap;

use super::Scope;
use super::keys::{self, POLLING};
use super::report::{Finding, Severity};
use super::values::MARK;
use crate::properties::{Properties, Property};

/// What is wrong with the file as a whole.
pub(super) fn examine(scope: &Scope) -> Vec<Finding> {
    let mut findings = required(scope);
    findings.extend(replaced(scope));
    findings.extend(spelled_twice(scope));
    findings.extend(stream_twice(scope));
    findings.extend(no_region(scope));
    findings.extend(threads(scope));
    findings.extend(reading(scope));
    findings.extend(retrieval(scope));
    findings
}

/// What `MultiLangDaemonConfig` and `KinesisClientLibConfigurator` insist on.
fn required(scope: &Scope) -> Vec<Finding> {
    let stream = match scope.kcl().generation() {
        1 => "streamName",
        _ => "streamName or streamArn",
    };
    let (written, provider) = if scope.kcl().has_sdk_2() {
        ("AwsCredentialsProvider", "DefaultCredentialsProvider")
    } else {
        (
            "AWSCredentialsProvider",
            "DefaultAWSCredentialsProviderChain",
        )
    };
    let needed = [
        (
            "executableName",
            "executableName",
            "executableName = kclpipe @handler.args".to_owned(),
        ),
        (
            "applicationName",
            "applicationName",
            "applicationName = NAME, which is the name of the lease table".to_owned(),
        ),
        ("streamName", stream, "streamName = NAME".to_owned()),
        (
            "AwsCredentialsProvider",
            written,
            format!("{written} = {provider}"),
        ),
    ];
    let has = |key: &str| {
        let property = scope.get(key);
        property.is_some_and(|property| !property.value.trim().is_empty())
    };
    let missing = needed
        .into_iter()
        .filter(|(key, ..)| !(has(key) || *key == "streamName" && has("streamArn")))
        // That it has a mark before it is said of the line.
        .filter(|(_, shown, _)| !is_marked(scope, shown));
    let findings = missing.map(|(key, shown, fix)| {
        let finding = match scope.get(key) {
            Some(empty) => Finding::about(empty, Severity::Error),
            None => Finding::missing(shown, Severity::Error),
        };
        finding.says(
            "key-missing",
            "it is not set",
            "The daemon ends at once without it.",
            format!("Write {fix}."),
        )
    });
    findings.collect()
}

fn is_marked(scope: &Scope, key: &str) -> bool {
    let mut marked = scope
        .in_force
        .iter()
        .filter_map(|p| p.key.strip_prefix(MARK));
    marked.any(|marked| marked == key)
}

/// `streamArn` names a stream, too, and the daemon takes that (`KinesisClientLibConfigurator`).
fn stream_twice(scope: &Scope) -> Option<Finding> {
    let (arn, name) = (scope.get("streamArn")?, scope.get("streamName")?);
    let (_, of_arn) = arn.value.trim().rsplit_once('/')?;
    (of_arn != name.value.trim()).then(|| {
        Finding::about(name, Severity::Error).says(
            "stream-arn-differs",
            "streamArn names another stream, and that one is read",
            "The daemon takes the name out of the ARN, and this line sets nothing.",
            "Delete one of the two.",
        )
    })
}

/// Where no region is named the SDK asks around, and 1.x takes us-east-1.
fn no_region(scope: &Scope) -> Option<Finding> {
    let named = ["regionName", "kinesisClient.region"];
    let is_named = named.iter().any(|key| scope.get(key).is_some());
    let is_silent = is_named || scope.context.region_is_known || scope.kcl().generation() == 1;
    (!is_silent).then(|| {
        Finding::missing("regionName", Severity::Warning).says(
            "region-missing",
            "no region is named here, in AWS_REGION or in ~/.aws/config",
            "On EC2 the daemon asks the instance; anywhere else it ends at once.",
            "Write regionName = REGION.",
        )
    })
}

/// Lines that a later line of the same key replaces.
fn replaced(scope: &Scope) -> Vec<Finding> {
    let in_force: HashMap<&str, usize> = scope
        .in_force
        .iter()
        .map(|p| (p.key.as_str(), p.line))
        .collect();
    let Properties(all) = scope.properties;
    let findings = all.iter().filter_map(|property| {
        let line = *in_force.get(property.key.as_str())?;
        // What was set otherwise than in the file was set on purpose.
        let replaced = line > 0 && line != property.line;
        replaced.then(|| {
            Finding::about(property, Severity::Warning).says(
                "key-repeated",
                format!("line {line} has this key again"),
                "The last one counts, and this line sets nothing.",
                "Delete one of them.",
            )
        })
    });
    findings.collect()
}

/// Keys that are set by two names. To Java's properties these are two keys: both are applied, in no order
/// that one could see, and a provider that is set a second time is refused (`BuilderDynaBean`).
fn spelled_twice(scope: &Scope) -> Vec<Finding> {
    let (mut seen, mut findings) = (HashMap::new(), Vec::new());
    for property in &scope.in_force {
        let Some(key) = scope.known(property) else {
            continue;
        };
        if is_right_together(key.name, scope) {
            continue;
        }
        let Some(first) = seen.insert(keys::field(key), property) else {
            continue;
        };
        findings.push(Finding::about(property, Severity::Error).says(
            "key-spelled-twice",
format!("line {} sets the same, as {}", first.line, first.key),
            "To the daemon these are two keys for one setting: it ends, or uses either of them at random.",
            "Delete one of them.",
        ));
    }
    findings
}

/// KCL 1.x wants both lines for a time to begin at.
fn is_right_together(key: &str, scope: &Scope) -> bool {
    let position = scope.get("initialPositionInStream");
    let by_time = position.is_some_and(|p| p.value.eq_ignore_ascii_case("AT_TIMESTAMP"));
    key == "timestampAtInitialPositionInStream" && by_time
}

/// A fixed pool is filled by the scheduler and by one reader of stderr for each shard; what is left reads
/// and writes (`MultiLangDaemonConfig.buildExecutorService`, `MultiLangShardRecordProcessor`).
fn threads(scope: &Scope) -> Option<Finding> {
    let property = scope.get("maxActiveThreads")?;
    let threads = property
        .value
        .parse::<i32>()
        .ok()
        .filter(|threads| *threads > 0)?;
    let fix = "Delete the line: without a limit there are always enough threads.";
    let why = "Each shard needs a thread for its child's stderr all the time and up to two for its messages, and the daemon one for itself; when they run out, shards silently stall.";
    Some(match threads {
        // One for the daemon and one for stderr: none is left to read a child's answer.
        1..=2 => Finding::about(property, Severity::Error).says(
            "threads-too-few",
format!("with {threads} threads no shard can make progress"),
            why,
            fix,
        ),
        _ => Finding::about(property, Severity::Warning).says(
            "threads-too-few",
format!(
                "with {threads} threads the worker stalls with {} shards or more, and is slow with {} or more",
                threads - 1,
                (threads - 1) / 3 + 1,
            ),
            why,
            fix,
        ),
    })
}

/// The bounds of `PollingConfig`.
fn reading(scope: &Scope) -> Vec<Finding> {
    let mut findings = Vec::new();
    let most = scope
        .get("maxRecords")
        .filter(|_| scope.number("maxRecords") > 10_000);
    findings.extend(most.map(|property| {
        Finding::about(property, Severity::Error).says(
            "records-too-many",
            "Kinesis returns at most 10000 records",
            "With more the daemon refuses to start, or Kinesis refuses each of its reads.",
            "Write 10000 or less.",
        )
    }));
    let idle = scope.number("idleTimeBetweenReadsInMillis");
    let property = scope.get("idleTimeBetweenReadsInMillis");
    let soon = property.filter(|_| (1..200).contains(&idle) && scope.kcl().generation() > 1);
    findings.extend(soon.map(|property| {
        Finding::about(property, Severity::Warning).says(
            "reads-too-often",
            format!("{idle} ms is less than the daemon accepts"),
            "It uses 200 instead: all readers of a shard together may read it five times a second.",
            "Write 200 or more.",
        )
    }));
    findings
}

/// What decides between polling and enhanced fan-out (`RetrievalMode`, `PollingConfigBean`).
fn retrieval(scope: &Scope) -> Vec<Finding> {
    if scope.kcl().generation() == 1 {
        return Vec::new();
    }
    let mode = scope.get("retrievalMode").map(|p| p.value.to_uppercase());
    let of_fan_out = |p: &Property| scope.known(p).is_some() && p.key.starts_with("fanoutConfig.");
    let is_undecided = matches!(mode.as_deref(), None | Some("DEFAULT"));
    let (id, what, why, fix) = match mode.as_deref() {
        _ if is_undecided => (
            "fan-out-disabled",
            "it switches enhanced fan-out off",
            "Without retrievalMode the daemon uses fan-out, unless any polling key is set: then it polls.",
            "Choose one: retrievalMode = POLLING, or FANOUT without such keys.",
        ),
        Some("FANOUT") => (
            "polling-key-ignored",
            "it has no effect with enhanced fan-out",
            "It applies to polling only, and retrievalMode is FANOUT.",
            "Delete it, or write retrievalMode = POLLING.",
        ),
        Some("POLLING") => (
            "fan-out-key-ignored",
            "it has no effect with polling",
            "It applies to enhanced fan-out only, and retrievalMode is POLLING.",
            "Delete it, or write retrievalMode = FANOUT.",
        ),
        _ => return Vec::new(),
    };
    let concerned = scope.in_force.iter().filter(|p| match mode.as_deref() {
        Some("POLLING") => of_fan_out(p),
        _ => sets_polling(p, scope),
    });
    let findings = concerned.map(|p| Finding::about(p, Severity::Warning).says(id, what, why, fix));
    // One key is enough to decide it, and saying so once is, too.
    findings
        .take(if is_undecided { 1 } else { usize::MAX })
        .collect()
}

/// Whether a line sets something of polling; a primitive of 0 is not set.
fn sets_polling(property: &Property, scope: &Scope) -> bool {
    let key = scope.known(property).map(|key| key.name);
    let boxed = ["retryGetRecordsInSeconds", "maxGetRecordsThreadPool"];
    key.is_some_and(|key| {
        POLLING.contains(&key) && (boxed.contains(&key) || scope.number(key) != 0)
    })
}
