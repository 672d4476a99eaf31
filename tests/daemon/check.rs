//! `kclpipe check` against the daemon's own reading: the classes that read its properties are asked about
//! the same files (`support/Configuration.java`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kclpipe::check::{Context, Finding, Severity, Version, examine};
use kclpipe::properties::Properties;

use crate::harness::installed;

/// One generation of the daemon.
struct Generation {
    jars: &'static str,
    version: Version,
    provider: &'static str,
}

const KCL_3: Generation = Generation {
    jars: "kcl-3.1.3",
    version: Version(3, 1, 3),
    provider: "DefaultCredentialsProvider",
};
const KCL_2: Generation = Generation {
    jars: "kcl-2.5.4",
    version: Version(2, 5, 4),
    provider: "DefaultAWSCredentialsProviderChain",
};
const KCL_1: Generation = Generation {
    jars: "kcl-1.15.3",
    version: Version(1, 15, 3),
    provider: "DefaultAWSCredentialsProviderChain",
};

/// What the daemon's classes say of a file's keys, and the keys that they have.
#[derive(Debug, Default)]
struct Told {
    taken: Vec<bool>,
    verdicts: BTreeMap<(usize, String), String>,
    settable: BTreeSet<String>,
}

impl Generation {
    fn ask(&self, files: &[PathBuf]) -> Told {
        let program = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/daemon/support/Configuration.java"
        );
        let mut java = Command::new("java");
        java.args(["-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8", "-cp"]);
        java.arg(installed(self.jars).join("*"))
            .arg(program)
            .arg(self.provider)
            .args(files);
        let output = java.output().expect("java can be started");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let (mut told, mut file) = (Told::default(), 0);
        // The daemon's log is on stdout, too, and none of its lines has these words before a tab.
        for line in String::from_utf8(output.stdout).expect("UTF-8").lines() {
            match line.split_once('\t') {
                Some((verdict, "the whole file")) => {
                    told.taken.push(verdict == "taken");
                    file += 1;
                }
                Some(("settable", key)) => drop(told.settable.insert(key.to_owned())),
                Some((verdict @ ("applied" | "ignored" | "refused"), key)) => {
                    told.verdicts
                        .insert((file - 1, key.to_owned()), verdict.to_owned());
                }
                _ => {}
            }
        }
        told
    }

    /// What check finds about one line, as it stands alone.
    fn findings(&self, line: &str) -> Vec<Finding> {
        let properties = Properties::parse(line.as_bytes()).expect(line);
        let context = Context {
            file: Path::new("line"),
            kcl: self.version,
            last_in_path: None,
            directory: None,
            child: &|_| anyhow::bail!("no child is asked for"),
        };
        let findings = examine(&properties, &context).findings;
        findings.into_iter().filter(|f| f.line > 0).collect()
    }

    /// Lets the daemon and check read each line in a file of its own.
    fn agree(&self, lines: &[&str]) {
        let folder = tempfile::tempdir().expect("a folder");
        let files = lines.iter().enumerate().map(|(at, line)| {
            let file = folder.path().join(at.to_string());
            fs::write(&file, line).expect("written");
            file
        });
        let files: Vec<PathBuf> = files.collect();
        let told = self.ask(&files);
        assert_eq!(told.verdicts.len(), lines.len(), "{told:?}");
        let mut failed = Vec::new();
        for ((at, _), verdict) in &told.verdicts {
            let findings = self.findings(lines[*at]);
            let fits = match verdict.as_str() {
                "applied" => !findings.iter().any(not_taken),
                "refused" => findings.iter().any(|f| f.severity == Severity::Error),
                _ => findings.iter().any(not_taken),
            };
            if !fits {
                failed.push(format!(
                    "'{}' is {verdict}, and check finds {findings:#?}",
                    lines[*at]
                ));
            }
        }
        assert!(failed.is_empty(), "{}: {}", self.jars, failed.join("\n"));
    }

    /// Every key that the daemon has is known to check, but those that no text can be given to.
    fn knows_all(&self, but: &[&str]) {
        let told = self.ask(&[]);
        assert!(told.settable.len() > 40, "{told:?}");
        for key in told
            .settable
            .iter()
            .filter(|key| !but.contains(&key.as_str()))
        {
            let findings = self.findings(&format!("{key} = 1"));
            let unknown = findings.iter().find(|f| f.what.contains("this key"));
            assert!(unknown.is_none(), "{}: {unknown:#?}", self.jars);
        }
    }
}

/// Whether a finding says that the daemon does not take a line as it stands.
fn not_taken(finding: &Finding) -> bool {
    let said = ["this key", "not applied"];
    finding.severity == Severity::Error || said.iter().any(|said| finding.what.contains(said))
}

/// Lines that each generation takes as they stand.
const SOUND: [&str; 24] = [
    "executableName = cat",
    "processingLanguage = rust",
    "streamName = orders",
    "applicationName = reader",
    "tableName = leases",
    "workerId = w",
    "regionName = eu-west-1",
    "kinesisEndpoint = http://localhost:4567",
    "dynamoDBEndpoint = http://localhost:8000",
    "initialPositionInStream = trim_horizon",
    "callProcessRecordsEvenForEmptyRecordList = TRUE",
    "maxRecords = 77",
    "idleTimeBetweenReadsInMillis = 777",
    "failoverTimeMillis = +20000",
    "shardSyncIntervalMillis = 777",
    "maxLeasesForWorker = 7",
    "ignoreUnexpectedChildShards = true",
    "logWarningForTaskAfterMillis = 777",
    "timeoutInSeconds = 777",
    "shutdownGraceMillis = 77000",
    "metricsLevel = none",
    "metricsBufferTimeMillis = 777",
    "taskBackoffTimeMillis = 777",
    "parentShardPollIntervalMillis = 777",
];

/// Lines that each generation passes over or refuses.
const UNSOUND: [&str; 19] = [
    "streamname = orders",
    "applicationname = reader",
    "ExecutableName = kclpipe",
    "timeout = 3",
    "awscredentialsproviderdynamodb = DefaultCredentialsProvider",
    "failoverTimeMillis = 20s",
    "failoverTimeMillis = 20 000",
    "failoverTimeMillis = 20_000",
    "failoverTimeMillis = 20000 # twenty seconds",
    "failoverTimeMillis = 99999999999999999999",
    "failoverTimeMillis =",
    "maxRecords = 3000000000",
    "maxRecords = 77.0",
    "callProcessRecordsEvenForEmptyRecordList = ture",
    "callProcessRecordsEvenForEmptyRecordList = true ",
    "streamName =",
    "applicationName =  ",
    "maxActiveThreads = many",
    "AWSCredentialsProvider = Nonsense",
];

/// Lines of the beans of 2.x and 3.x that are applied, that are not, and that end the daemon.
const OF_BEANS: [&str; 33] = [
    "workerIdentifier = w",
    "retrievalMode = polling",
    "initialPositionInStreamExtended = 1700000000",
    "streamArn = arn:aws:kinesis:us-east-1:123456789012:stream/orders",
    "fanoutConfig.consumerName = me",
    "fanoutConfig.retryBackoffMillis = 77",
    "kinesisClient.region = eu-west-1",
    "callProcessRecordsEvenForEmptyRecordList = yes",
    "failoverTimeMillis = 20000  ",
    "skipShardSyncAtWorkerInitializationIfLeasesExist = on",
    "failoverTimeMillis = 0",
    "maxRecords = 0",
    "cleanupLeasesUponShardCompletion = false",
    "cleanupLeasesUponShardCompletion = no",
    "fanoutConfig.consumer = me",
    "fanoutConfig.retryBackoffMillis = soon",
    "pollingConfig.records = 7",
    "billingMode = PAY_PER_REQUEST",
    "skipShardSyncAtStartupIfLeasesExist = true",
    "timestampAtInitialPositionInStream = 1700000000",
    "class = x",
    "retrievalMode = PULL",
    "retrievalMode = POLLING ",
    "metricsLevel = NONE ",
    "initialPositionInStream = AT_TIMESTAMP",
    "initialPositionInStream = LATEST # new ones",
    "initialPositionInStreamExtended = 2026-01-01",
    "streamArn = orders",
    "streamArn = arn:aws:kinesis:us-east-1:123:stream/orders",
    "kinesisEndpoint = http://local host",
    "maxActiveThreads = 30 ",
    "shardPrioritization = NONE",
    "cleanupLeasesUponShardCompletion = true",
];

/// Lines of 3.x alone.
const OF_3: [&str; 26] = [
    "AwsCredentialsProviderDynamoDB = DefaultCredentialsProvider",
    "awsCREDENTIALSproviderCloudWatch = DefaultCredentialsProvider",
    "awscredentialsprovider = DefaultCredentialsProvider",
    "AwsCredentialsProvider = EnvironmentVariableCredentialsProvider",
    "leaseAssignmentIntervalMillis = 777",
    "isGracefulLeaseHandoffEnabled = false",
    "isGracefulLeaseHandoffEnabled = true",
    "enablePriorityLeaseAssignment = no",
    "gracefulLeaseHandoffTimeoutMillis = 0",
    "reBalanceThresholdPercentage = 7",
    "maxThroughputPerHostKBps = 5.5",
    "workerMetricsEMAAlpha = 1e-1",
    "staleWorkerMetricsEntryCleanupDuration = PT5H",
    "workerMetricsTags = a=b,c=d",
    "workerMetricsBillingMode = provisioned",
    "clientVersionConfig = CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X",
    "maxThroughputPerHostKBps = much",
    "dampeningPercentage = 70%",
    "dampeningPercentage = 0",
    "migrateAllEntitiesToLeaseTable = true",
    "AwsCredentialsProvider = DefaultAWSCredentialsProviderChain",
    "AwsCredentialsProvider = \"DefaultCredentialsProvider\"",
    "clientVersionConfig = 3",
    "workerMetricsBillingMode = CHEAP",
    "staleWorkerMetricsEntryCleanupDuration = 1d",
    "workerMetricsReadCapacity = 7",
];

/// Lines of 1.x alone, or that mean another thing to it.
const OF_1: [&str; 13] = [
    "cleanupLeasesUponShardCompletion = false",
    "skipShardSyncAtStartupIfLeasesExist = true",
    "timestampAtInitialPositionInStream = 1700000000",
    "maxPendingProcessRecordsInput = 7",
    "leasesRecoveryAuditorExecutionFrequencyMillis = 7",
    "maxLeasesForWorker = 7 ",
    "callProcessRecordsEvenForEmptyRecordList = yes",
    "retrievalMode = POLLING",
    "streamArn = arn:aws:kinesis:us-east-1:123456789012:stream/orders",
    "fanoutConfig.consumerName = me",
    "workerIdentifier = w",
    "billingMode = PAY_PER_REQUEST",
    "AWSCredentialsProvider = DefaultCredentialsProvider",
];

#[test]
#[ignore = "needs tests/daemon/setup and Java"]
fn check_reads_a_file_as_kcl_3_does() {
    KCL_3.agree(&[&SOUND[..], &UNSOUND, &OF_BEANS, &OF_3].concat());
    KCL_3.knows_all(&[]);
}

#[test]
#[ignore = "needs tests/daemon/setup and Java"]
fn what_the_daemon_refuses_has_an_error_and_what_is_right_it_takes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/check");
    let files = fs::read_dir(folder).expect("the files");
    let read =
        |file: &PathBuf| String::from_utf8_lossy(&fs::read(file).expect("readable")).into_owned();
    let files = files.map(|entry| entry.expect("an entry").path());
    // Those of other versions say so.
    let files: Vec<PathBuf> = files
        .filter(|file| !read(file).contains("#= --kcl"))
        .collect();
    let told = KCL_3.ask(&files);
    assert_eq!(told.taken.len(), files.len());
    for (file, taken) in files.iter().zip(&told.taken) {
        let (text, name) = (read(file), file.display());
        assert!(
            *taken || text.contains("#= error"),
            "{name} is refused, and no error is found"
        );
    }
    let refused = told.taken.iter().filter(|taken| !**taken).count();
    assert!(refused >= 15, "{refused} files are refused");
}

#[test]
#[ignore = "needs tests/daemon/setup and Java"]
fn check_reads_a_file_as_kcl_2_does() {
    KCL_2.agree(&[&SOUND[..], &UNSOUND, &OF_BEANS].concat());
    KCL_2.knows_all(&[]);
}

#[test]
#[ignore = "needs tests/daemon/setup and Java"]
fn check_reads_a_file_as_kcl_1_does() {
    KCL_1.agree(&[&SOUND[..], &UNSOUND, &OF_1].concat());
    // Of types that its configurator cannot decode.
    let undecodable = [
        "billingMode",
        "shardPrioritizationStrategy",
        "shardSyncStrategyType",
        "streamArn",
    ];
    // Set from a text, but to nothing that a file could name.
    let clients = [
        "commonClientConfig",
        "kinesisClientConfig",
        "dynamoDBClientConfig",
        "cloudWatchClientConfig",
    ];
    KCL_1.knows_all(&[undecodable, clients].concat());
}
