//! The keys that the daemon knows, as data.
//!
//! Taken from the setters of `MultiLangDaemonConfiguration`, `PollingConfigBean` and `FanoutConfigBean`
//! of KCL 3.5.1 and 2.5.4 (amazon-kinesis-client-multilang), from the methods `with...` of
//! `KinesisClientLibConfiguration` of KCL 1.15.3 as far as its `KinesisClientLibConfigurator` can decode
//! their types, and from `MultiLangDaemonConfig`. `tests/daemon/check.rs` holds the table against those
//! classes of 3.1.3, 2.5.4 and 1.15.3.

use super::Version;

/// A key of the daemon.
#[derive(Debug)]
pub(super) struct Key {
    /// How it is written.
    pub(super) name: &'static str,
    /// What its value is to the daemon.
    pub(super) kind: Kind,
    /// The versions that know it.
    pub(super) span: Span,
}

/// What a value is to the daemon. Beans' numbers and flags are converted by commons-beanutils, the other
/// kinds by converters that `MultiLangDaemonConfiguration` registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Taken as it stands.
    Text,
    /// Names something of AWS.
    Name(Names),
    /// Tells a worker from the others.
    Worker,
    /// A region of AWS.
    Region,
    /// The dimensions of metrics: a setter that KCL 2.x looks for and does not find.
    Dimensions,
    /// A whole number.
    Whole {
        /// The size of the Java type.
        bits: u32,
        /// Whether the Java type can be null, so that 0 is applied.
        boxed: bool,
        /// Whether 0 is as good as any other: it is the daemon's default, or has a rule of its own.
        zero: bool,
        /// The least that the daemon can work with.
        least: i64,
    },
    /// A number that may have a fraction.
    Fraction,
    /// A primitive boolean, with the daemon's default: false is not applied.
    Flag(bool),
    /// A Boolean that can be null: false is applied, too.
    BoxedFlag,
    /// One of some words, in any case.
    Word(&'static [&'static str]),
    /// A point in time, in seconds since 1970.
    Seconds,
    /// A duration as in ISO 8601.
    Period,
    /// Names of credentials providers, with a comma between.
    Providers,
    /// The ARN of a stream.
    Arn,
    /// The ARN of a consumer with enhanced fan-out.
    ConsumerArn,
    /// The address of a service.
    Address,
    /// The child's command.
    Command,
    /// A number that is read by `Integer.parseInt`, blanks and all.
    Threads,
    /// Known, but of a type that no text can be converted to: the daemon ends.
    Refused,
    /// Set, and read by nothing.
    Unused,
}

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// A stream of Kinesis.
    Stream,
    /// A table of DynamoDB.
    Table,
    /// A consumer with enhanced fan-out.
    Consumer,
}

/// The versions that know a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Whether 1.15.3 knows it.
    one: bool,
    /// The first version from 2.1.0 on that knows it; the multilang module began anew there.
    from: Option<Version>,
}

impl Span {
    pub(super) fn has(self, version: Version) -> bool {
        match version.generation() {
            1 => self.one,
            _ => self.from.is_some_and(|from| version >= from),
        }
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.one, self.from) {
            (_, None) => write!(out, "KCL 1.x"),
            (true, Some(_)) => write!(out, "KCL 1.x and later"),
            (false, Some(from)) => write!(out, "KCL {from} and later"),
        }
    }
}

const INT: Kind = whole(32, false);
const LONG: Kind = whole(64, false);
const BOXED_INT: Kind = whole(32, true);
const BOXED_LONG: Kind = whole(64, true);
const LONG_FROM_0: Kind = from_0(64, 0);
/// Of these two the rules between lines say what comes of a number below 1.
const GRACE: Kind = from_0(64, i64::MIN);
const SECONDS: Kind = Kind::Whole {
    bits: 32,
    boxed: true,
    zero: true,
    least: i64::MIN,
};

const fn whole(bits: u32, boxed: bool) -> Kind {
    Kind::Whole {
        bits,
        boxed,
        zero: false,
        least: 0,
    }
}

const fn from_0(bits: u32, least: i64) -> Kind {
    Kind::Whole {
        bits,
        boxed: false,
        zero: true,
        least,
    }
}

/// A primitive int with a least value (`LeaseManagementConfig`, `DynamoDBLeaseRenewer` and others).
const fn at_least(least: i64) -> Kind {
    Kind::Whole {
        bits: 32,
        boxed: false,
        zero: false,
        least,
    }
}

const EVERY: Span = from(true, 2, 1, 0);
const BEANS: Span = from(false, 2, 1, 0);
const THREE: Span = from(false, 3, 0, 0);
const ONE: Span = Span {
    one: true,
    from: None,
};

const fn from(one: bool, major: u16, minor: u16, patch: u16) -> Span {
    Span {
        one,
        from: Some(Version(major, minor, patch)),
    }
}

const POSITIONS: &[&str] = &["LATEST", "TRIM_HORIZON"];
const MODES: &[&str] = &["DEFAULT", "FANOUT", "POLLING"];
const METRICS: &[&str] = &["NONE", "SUMMARY", "DETAILED"];
const BILLING: &[&str] = &["PROVISIONED", "PAY_PER_REQUEST"];
const CLIENTS: &[&str] = &[
    "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X",
    "CLIENT_VERSION_CONFIG_3X",
];

const fn key(name: &'static str, kind: Kind, span: Span) -> Key {
    Key { name, kind, span }
}

/// The keys that `PollingConfigBean` has; each of them that is set makes `retrievalMode=DEFAULT` mean
/// polling (`RetrievalMode.decideForDefault`).
pub(super) const POLLING: [&str; 5] = [
    "maxRecords",
    "idleTimeBetweenReadsInMillis",
    "retryGetRecordsInSeconds",
    "maxGetRecordsThreadPool",
    "millisBehindLatestThresholdForReducedTps",
];

/// What other keys begin with: builders of the AWS SDK, whose properties
/// are too many for a table.
pub(super) const NESTED: [&str; 7] = [
    "kinesisClient",
    "dynamoDbClient",
    "cloudWatchClient",
    "kinesisCredentialsProvider",
    "dynamoDBCredentialsProvider",
    "cloudWatchCredentialsProvider",
    "awsCredentialsProvider",
];

/// The beans of 3.x whose keys are keys of the configuration, too, each with the beginnings of these.
const DELEGATED: [(&str, &[&str]); 4] = [
    (
        "gracefulLeaseHandoffConfigBean",
        &["isGracefulLease", "gracefulLease"],
    ),
    (
        "workerUtilizationAwareAssignmentConfigBean",
        &[
            "inMemoryWorkerMetrics",
            "workerMetricsReporter",
            "workerMetricsEMA",
            "noOfPersistedMetrics",
            "disableWorkerMetrics",
            "maxThroughputPerHost",
            "dampeningPercentage",
            "reBalanceThreshold",
            "allowThroughput",
            "varianceBalancing",
            "staleWorkerMetrics",
        ],
    ),
    (
        "workerMetricStatsTableConfigBean",
        &[
            "workerMetricsTable",
            "workerMetricsBilling",
            "workerMetricsRead",
            "workerMetricsWrite",
            "workerMetricsPoint",
            "workerMetricsDeletion",
            "workerMetricsTags",
        ],
    ),
    ("coordinatorStateTableConfigBean", &["coordinatorState"]),
];

/// Keys that set what another key sets, each with that key.
pub(super) const SAME_FIELD: [(&str, &str); 5] = [
    ("workerIdentifier", "workerId"),
    ("initialPositionInStreamExtended", "initialPositionInStream"),
    (
        "timestampAtInitialPositionInStream",
        "initialPositionInStream",
    ),
    ("kinesisClient.endpointOverride", "kinesisEndpoint"),
    ("dynamoDbClient.endpointOverride", "dynamoDBEndpoint"),
];

/// Keys of 1.x with another name since, and the new name.
pub(super) const RENAMED: [(&str, &str); 2] = [
    (
        "skipShardSyncAtStartupIfLeasesExist",
        "skipShardSyncAtWorkerInitializationIfLeasesExist",
    ),
    (
        "timestampAtInitialPositionInStream",
        "initialPositionInStreamExtended",
    ),
];

/// The table. From 2.7.0 on the letters of `AwsCredentialsProvider` may be of any case, before they are
/// `AWSCredentialsProvider` (`KinesisClientLibConfigurator.processKey`).
pub(super) const KEYS: &[Key] = &[
    // MultiLangDaemonConfig itself
    key("executableName", Kind::Command, EVERY),
    key("processingLanguage", Kind::Text, EVERY),
    key("maxActiveThreads", Kind::Threads, EVERY),
    key("timeoutInSeconds", SECONDS, EVERY),
    key("shutdownGraceMillis", GRACE, EVERY),
    // who reads what
    key("applicationName", Kind::Name(Names::Table), EVERY),
    key("streamName", Kind::Name(Names::Stream), EVERY),
    key("streamArn", Kind::Arn, from(false, 2, 5, 1)),
    key("tableName", Kind::Name(Names::Table), EVERY),
    key("workerId", Kind::Worker, EVERY),
    key("workerIdentifier", Kind::Worker, BEANS),
    key("regionName", Kind::Region, EVERY),
    key("kinesisClient.region", Kind::Region, BEANS),
    key("dynamoDbClient.region", Kind::Region, BEANS),
    key("cloudWatchClient.region", Kind::Region, BEANS),
    key("kinesisEndpoint", Kind::Address, EVERY),
    key("dynamoDBEndpoint", Kind::Address, EVERY),
    key("kinesisClient.endpointOverride", Kind::Address, BEANS),
    key("dynamoDbClient.endpointOverride", Kind::Address, BEANS),
    key("cloudWatchClient.endpointOverride", Kind::Address, BEANS),
    key("AwsCredentialsProvider", Kind::Providers, EVERY),
    key("AwsCredentialsProviderDynamoDB", Kind::Providers, EVERY),
    key("AwsCredentialsProviderCloudWatch", Kind::Providers, EVERY),
    key("userAgent", Kind::Text, ONE),
    // where a shard begins
    key("initialPositionInStream", Kind::Word(POSITIONS), EVERY),
    key(
        "initialPositionInStreamExtended",
        Kind::Seconds,
        from(false, 2, 3, 5),
    ),
    key("timestampAtInitialPositionInStream", Kind::Seconds, ONE),
    // reading
    key(
        "callProcessRecordsEvenForEmptyRecordList",
        Kind::Flag(false),
        EVERY,
    ),
    key("retrievalMode", Kind::Word(MODES), BEANS),
    key("maxRecords", INT, EVERY),
    key("idleTimeBetweenReadsInMillis", LONG, EVERY),
    key("retryGetRecordsInSeconds", BOXED_INT, EVERY),
    key("maxGetRecordsThreadPool", BOXED_INT, EVERY),
    key(
        "millisBehindLatestThresholdForReducedTps",
        LONG_FROM_0,
        from(false, 3, 1, 1),
    ),
    key("fanoutConfig.consumerArn", Kind::ConsumerArn, BEANS),
    key(
        "fanoutConfig.consumerName",
        Kind::Name(Names::Consumer),
        BEANS,
    ),
    key("fanoutConfig.maxDescribeStreamSummaryRetries", INT, BEANS),
    key("fanoutConfig.maxDescribeStreamConsumerRetries", INT, BEANS),
    key("fanoutConfig.registerStreamConsumerRetries", INT, BEANS),
    key("fanoutConfig.retryBackoffMillis", LONG, BEANS),
    key("idleMillisBetweenCalls", LONG, ONE),
    key("maxPendingProcessRecordsInput", INT, ONE),
    key("maxCacheByteSize", INT, ONE),
    key("maxRecordsCount", INT, ONE),
    key("dataFetchingStrategy", Kind::Text, ONE),
    // leases
    key("failoverTimeMillis", LONG, EVERY),
    key("leaseAssignmentIntervalMillis", LONG, from(false, 3, 1, 1)),
    key("shardSyncIntervalMillis", LONG, EVERY),
    key("cleanupLeasesUponShardCompletion", Kind::Flag(true), EVERY),
    key("ignoreUnexpectedChildShards", Kind::Flag(false), EVERY),
    key("maxLeasesForWorker", at_least(1), EVERY),
    key("maxLeasesToStealAtOneTime", at_least(1), EVERY),
    key("enablePriorityLeaseAssignment", Kind::BoxedFlag, THREE),
    key("initialLeaseTableReadCapacity", at_least(1), EVERY),
    key("initialLeaseTableWriteCapacity", at_least(1), EVERY),
    key(
        "leaseTableDeletionProtectionEnabled",
        Kind::BoxedFlag,
        THREE,
    ),
    key("leaseTablePitrEnabled", Kind::BoxedFlag, THREE),
    key(
        "leaseTableScanTotalSegments",
        from_0(32, 0),
        from(false, 3, 5, 0),
    ),
    key("maxLeaseRenewalThreads", at_least(2), EVERY),
    key("listShardsBackoffTimeInMillis", LONG, EVERY),
    key("maxListShardsRetryAttempts", INT, EVERY),
    key("isGracefulLeaseHandoffEnabled", Kind::BoxedFlag, THREE),
    key("gracefulLeaseHandoffTimeoutMillis", BOXED_LONG, THREE),
    key("leasesRecoveryAuditorExecutionFrequencyMillis", LONG, ONE),
    key(
        "leasesRecoveryAuditorInconsistencyConfidenceThreshold",
        INT,
        ONE,
    ),
    key("leaseCleanupIntervalMillis", LONG, ONE),
    key("completedLeaseCleanupThresholdMillis", LONG, ONE),
    key("garbageLeaseCleanupThresholdMillis", LONG, ONE),
    // balancing
    key("inMemoryWorkerMetricsCaptureFrequencyMillis", LONG, THREE),
    key("workerMetricsReporterFreqInMillis", LONG, THREE),
    key("noOfPersistedMetricsPerWorkerMetrics", INT, THREE),
    key("disableWorkerMetrics", Kind::BoxedFlag, THREE),
    key("maxThroughputPerHostKBps", Kind::Fraction, THREE),
    key("dampeningPercentage", INT, THREE),
    key("reBalanceThresholdPercentage", INT, THREE),
    key("allowThroughputOvershoot", Kind::BoxedFlag, THREE),
    key("varianceBalancingFrequency", INT, THREE),
    key("workerMetricsEMAAlpha", Kind::Fraction, THREE),
    key(
        "staleWorkerMetricsEntryCleanupDuration",
        Kind::Period,
        THREE,
    ),
    // tables
    key("workerMetricsTableName", Kind::Name(Names::Table), THREE),
    key("workerMetricsBillingMode", Kind::Word(BILLING), THREE),
    key("workerMetricsReadCapacity", LONG, THREE),
    key("workerMetricsWriteCapacity", LONG, THREE),
    key(
        "workerMetricsPointInTimeRecoveryEnabled",
        Kind::BoxedFlag,
        THREE,
    ),
    key(
        "workerMetricsDeletionProtectionEnabled",
        Kind::BoxedFlag,
        THREE,
    ),
    key("workerMetricsTags", Kind::Text, THREE),
    key("coordinatorStateTableName", Kind::Name(Names::Table), THREE),
    key("coordinatorStateBillingMode", Kind::Word(BILLING), THREE),
    key("coordinatorStateReadCapacity", LONG, THREE),
    key("coordinatorStateWriteCapacity", LONG, THREE),
    key(
        "coordinatorStatePointInTimeRecoveryEnabled",
        Kind::BoxedFlag,
        THREE,
    ),
    key(
        "coordinatorStateDeletionProtectionEnabled",
        Kind::BoxedFlag,
        THREE,
    ),
    key("coordinatorStateTags", Kind::Text, THREE),
    key("clientVersionConfig", Kind::Word(CLIENTS), THREE),
    key(
        "migrateAllEntitiesToLeaseTable",
        Kind::Flag(false),
        from(false, 3, 5, 0),
    ),
    key(
        "tableMigrationCompleteBakeTimeSeconds",
        LONG,
        from(false, 3, 5, 0),
    ),
    // the scheduler
    key("parentShardPollIntervalMillis", LONG, EVERY),
    key(
        "skipShardSyncAtWorkerInitializationIfLeasesExist",
        Kind::Flag(false),
        BEANS,
    ),
    key(
        "skipShardSyncAtStartupIfLeasesExist",
        Kind::Flag(false),
        ONE,
    ),
    key("schedulerInitializationBackoffTimeMillis", LONG, BEANS),
    key("maxInitializationAttempts", INT, ONE),
    key("taskBackoffTimeMillis", LONG, EVERY),
    key("logWarningForTaskAfterMillis", BOXED_LONG, EVERY),
    key("shardPrioritization", Kind::Refused, BEANS),
    key(
        "validateSequenceNumberBeforeCheckpointing",
        Kind::Unused,
        EVERY,
    ),
    // metrics
    key("metricsLevel", Kind::Word(METRICS), EVERY),
    key("metricsBufferTimeMillis", LONG, EVERY),
    key("metricsMaxQueueSize", at_least(1), EVERY),
    key("metricsEnabledDimensions", Kind::Dimensions, EVERY),
];

/// What the daemon makes of a key.
#[derive(Debug)]
pub(super) enum Found {
    /// It knows it.
    Key(&'static Key),
    /// Another version knows it.
    Elsewhere(&'static Key),
    /// A property of an SDK client or of another bean, which is not judged here.
    Nested,
    /// It passes over it.
    Unknown,
}

/// Looks a key up as the daemon does.
pub(super) fn find(name: &str, version: Version) -> Found {
    let name = match version.generation() {
        1 => name,
        _ => without_bean(name),
    };
    let nested = || {
        let bean = name.split_once('.').map(|(bean, _)| bean);
        version.generation() > 1 && bean.is_some_and(|bean| NESTED.contains(&bean))
    };
    match KEYS.iter().find(|key| key.is(name, version)) {
        Some(key) if key.span.has(version) => Found::Key(key),
        Some(key) => Found::Elsewhere(key),
        None if nested() => Found::Nested,
        None => Found::Unknown,
    }
}

/// A key without the name of its bean, where it can be written either way.
fn without_bean(name: &str) -> &str {
    let Some((bean, key)) = name.split_once('.') else {
        return name;
    };
    let polling = bean == "pollingConfig" && POLLING.contains(&key);
    let delegated = DELEGATED.iter().any(|(delegate, starts)| {
        *delegate == bean && starts.iter().any(|start| key.starts_with(start))
    });
    if polling || delegated { key } else { name }
}

/// The key that stands for all keys which set the same.
pub(super) fn field(key: &Key) -> &'static str {
    let same = SAME_FIELD.iter().find(|(other, _)| *other == key.name);
    same.map_or(key.name, |(_, field)| field)
}

impl Key {
    /// How it is written in a version.
    pub(super) fn written(&self, version: Version) -> String {
        if matches!(self.kind, Kind::Providers) && !version.has_sdk_2() {
            self.name.replacen("Aws", "AWS", 1)
        } else {
            self.name.to_owned()
        }
    }

    fn is(&self, name: &str, version: Version) -> bool {
        const ANY_CASE: usize = "AwsCredentialsProvider".len();
        let (start, rest) = self.name.split_at(ANY_CASE.min(self.name.len()));
        match (self.kind, version.has_sdk_2()) {
            (Kind::Providers, true) => name
                .split_at_checked(ANY_CASE)
                .is_some_and(|(other, more)| other.eq_ignore_ascii_case(start) && more == rest),
            _ => self.written(version) == name,
        }
    }
}

/// No key is as long as this.
const LONGEST: usize = 80;

/// The known key that looks most like an unknown one, if any is near.
///
/// A name far longer than any key is not compared: it is not text, perhaps.
pub(super) fn nearest(name: &str, version: Version) -> Option<String> {
    if name.len() > LONGEST {
        return None;
    }
    let lower = name.to_lowercase();
    let known = KEYS.iter().filter(|key| key.span.has(version));
    let near = known.map(|key| {
        let written = key.written(version);
        (
            strsim::osa_distance(&lower, &written.to_lowercase()),
            written,
        )
    });
    let (distance, written) = near.min_by_key(|(distance, _)| *distance)?;
    (distance <= 1 + name.chars().count() / 8).then_some(written)
}

/// The first known key that begins with an unknown one, as `regionName` with `region`.
pub(super) fn begun(name: &str, version: Version) -> Option<String> {
    const SHORTEST: usize = 4;
    let lower = name.to_lowercase();
    let mut known = KEYS.iter().filter(|key| key.span.has(version));
    let key = known.find(|key| key.name.to_lowercase().starts_with(&lower))?;
    (name.len() >= SHORTEST).then(|| key.written(version))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V3: Version = Version::TAKEN_FROM[0];
    const V2: Version = Version::TAKEN_FROM[1];
    const V1: Version = Version::TAKEN_FROM[2];

    fn known(name: &str, version: Version) -> bool {
        matches!(find(name, version), Found::Key(_) | Found::Nested)
    }

    #[test]
    fn keys_are_known_in_their_versions_and_their_case() {
        for (name, versions) in [
            ("maxRecords", [true, true, true]),
            ("MaxRecords", [false, false, false]),
            ("StreamName", [false, false, false]),
            ("AwsCredentialsProvider", [true, false, false]),
            ("AWSCredentialsProvider", [true, true, true]),
            ("awscredentialsproviderDynamoDB", [true, false, false]),
            ("awscredentialsproviderdynamodb", [false, false, false]),
            ("leaseTablePitrEnabled", [true, false, false]),
            ("skipShardSyncAtStartupIfLeasesExist", [false, false, true]),
            ("pollingConfig.maxRecords", [true, true, false]),
            ("pollingConfig.streamName", [false, false, false]),
            ("fanoutConfig.consumerName", [true, true, false]),
            ("kinesisClient.region", [true, true, false]),
            ("kinesisClient.retries", [true, true, false]),
            (
                "gracefulLeaseHandoffConfigBean.gracefulLeaseHandoffTimeoutMillis",
                [true, false, false],
            ),
            ("", [false, false, false]),
        ] {
            assert_eq!(
                [V3, V2, V1].map(|version| known(name, version)),
                versions,
                "{name}"
            );
        }
        assert!(!known("migrateAllEntitiesToLeaseTable", Version(3, 1, 3)));
        assert!(!known("streamArn", Version(2, 4, 0)));
        assert!(known("AwsCredentialsProvider", Version(2, 7, 0)));
    }

    #[test]
    fn a_misspelled_key_is_near_the_right_one() {
        for (wrong, right) in [
            ("shutdownGracemillis", Some("shutdownGraceMillis")),
            ("shutdownGraceMilis", Some("shutdownGraceMillis")),
            ("steamName", Some("streamName")),
            ("executable_name", Some("executableName")),
            ("maxRecord", Some("maxRecords")),
            ("comment", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, V3).as_deref(), right, "{wrong}");
        }
        let right = nearest("AwsCredentialsProvider", V1);
        assert_eq!(right.as_deref(), Some("AWSCredentialsProvider"));
    }

    #[test]
    fn the_beginning_of_a_key_is_enough_to_tell_it() {
        for (start, key) in [
            ("region", Some("regionName")),
            ("Stream", Some("streamName")),
            ("time", Some("timeoutInSeconds")),
            ("max", None),
            ("comment", None),
        ] {
            assert_eq!(begun(start, V3).as_deref(), key, "{start}");
        }
    }

    #[test]
    fn a_key_is_in_the_table_once_and_what_is_renamed_is_in_it() {
        for key in KEYS {
            let count = KEYS.iter().filter(|other| other.name == key.name).count();
            assert_eq!(count, 1, "{}", key.name);
        }
        for name in RENAMED
            .iter()
            .chain(&SAME_FIELD)
            .flat_map(|(old, new)| [*old, *new])
            .chain(POLLING)
        {
            assert!(KEYS.iter().any(|key| key.name == name), "{name}");
        }
    }
}
