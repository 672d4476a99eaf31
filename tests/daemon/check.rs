//! `kclpipe check` against the daemon's own reading: the classes that read its properties are asked about
//! the same files (`support/Configuration.java`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kclpipe::testing::check::{Context, Finding, Severity, Version, examine};
use kclpipe::testing::properties::Properties;

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
        java.args(["-XX:TieredStopAtLevel=1", "-Dfile.encoding=UTF-8"]);
        // Without one the clients of 2.x and 3.x look for a region on this machine.
        java.args(["-Daws.region=us-east-1", "-cp"]);
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
            region_is_known: true,
            child: &|_| anyhow::bail!("no child is asked for"),
        };
        let findings = examine(&properties, &context).findings;
        findings.into_iter().filter(|f| f.line > 0).collect()
    }

    /// Lets the daemon and check read each line in a file of its own.
    fn agree(&self, lines: &[&str]) {
        let (_folder, files) = files_of(lines);
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

    /// The daemon takes these lines, and AWS or the network does not, so that check has an error.
    fn is_too_kind_to(&self, lines: &[&str]) {
        let (_folder, files) = files_of(lines);
        let told = self.ask(&files);
        for ((at, _), verdict) in &told.verdicts {
            let findings = self.findings(lines[*at]);
            let error = findings.iter().any(|f| f.severity == Severity::Error);
            assert!(
                verdict == "applied" && error,
                "{}: '{}' is {verdict}: {findings:#?}",
                self.jars,
                lines[*at]
            );
        }
        assert_eq!(told.verdicts.len(), lines.len(), "{told:?}");
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

/// A file for each line.
fn files_of(lines: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a folder");
    let files = lines.iter().enumerate().map(|(at, line)| {
        let file = folder.path().join(at.to_string());
        fs::write(&file, line).expect("written");
        file
    });
    let files = files.collect();
    (folder, files)
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

/// Regions, addresses, names and numbers of 2.x and 3.x, of which workers can be made or cannot.
const OF_WORKERS: [&str; 53] = [
    "regionName = us-gov-west-1",
    "regionName = fips-us-east-1",
    "regionName =",
    "regionName = eu central 1",
    "regionName = eu_west_1",
    "regionName = \"eu-west-1\"",
    "regionName = eu-west-1 ",
    "regionName = -eu",
    "kinesisClient.region = eu-west-1",
    "kinesisClient.region = eu west 1",
    "kinesisEndpoint = https://kinesis.eu-west-1.amazonaws.com",
    "kinesisEndpoint = HTTP://localhost:80",
    "kinesisEndpoint = http://[::1]:4567",
    "kinesisEndpoint = http://user@host/a%20b",
    "kinesisEndpoint = kinesis.us-east-1.amazonaws.com",
    "kinesisEndpoint = //localhost:4567",
    "kinesisEndpoint = http://",
    "kinesisEndpoint =",
    "kinesisEndpoint = /x",
    "kinesisEndpoint = http://localhost:4567/a|b",
    "kinesisEndpoint = http://localhost/a%zz",
    "kinesisEndpoint = \"http://localhost:4567\"",
    "kinesisEndpoint = http://${HOST}:4567",
    "dynamoDBEndpoint = localhost",
    "kinesisClient.endpointOverride = http://localhost:4567",
    "kinesisClient.endpointOverride = localhost",
    "streamArn = arn:aws-us-gov:kinesis:us-gov-west-1:123456789012:stream/orders",
    "streamArn = arn:aws-cn:kinesis:cn-north-1:123456789012:stream/orders",
    "streamArn = arn:aws:kinesis:us-east-1:123456789012:stream/",
    "streamArn = arn:aws:kinesis:us-east-1:123456789012:stream:orders",
    "streamArn = arn:aws:kinesis::123456789012:stream/orders",
    "streamArn = arn:aws:dynamodb:us-east-1:123456789012:stream/orders",
    "streamArn = arn:foo:kinesis:us-east-1:123456789012:stream/orders",
    "fanoutConfig.consumerArn = arn:aws:kinesis:us-east-1:123456789012:stream/orders/consumer/me:1700000000",
    "workerId =",
    "workerIdentifier =",
    "maxLeasesForWorker = -1",
    "maxLeasesToStealAtOneTime = -1",
    "initialLeaseTableReadCapacity = -1",
    "initialLeaseTableWriteCapacity = -1",
    "maxLeaseRenewalThreads = 1",
    "maxLeaseRenewalThreads = 2",
    "metricsMaxQueueSize = -1",
    "metricsMaxQueueSize = 0",
    "retryGetRecordsInSeconds = 0",
    "maxActiveThreads = -1",
    "initialPositionInStreamExtended = +5",
    "initialPositionInStreamExtended = 0",
    "initialPositionInStreamExtended =",
    "gracefulLeaseHandoffConfigBean.nonsense = 77",
    "maxRecords = 0x10",
    "maxRecords = 010",
    "retrievalMode = fanout",
];

/// What 2.x and 3.x take, and no request or no reader can do anything with.
const TAKEN_OF_WORKERS: [&str; 24] = [
    "regionName = EU-WEST-1",
    "regionName = eu.west",
    "kinesisEndpoint = localhost:4567",
    "kinesisEndpoint = http:localhost",
    "kinesisEndpoint = http://local_host:4567",
    "kinesisEndpoint = http://localhost:x",
    "kinesisEndpoint = http://localhost:99999",
    "kinesisEndpoint = ftp://localhost",
    "dynamoDBEndpoint = dynamodb:8000",
    "streamArn = arn:aws:kinesis:us-east-1:123456789012:stream/a/b",
    "streamArn = arn:aws:kinesis:us-east-1:123456789012:stream/or ders",
    "fanoutConfig.consumerArn = nonsense",
    "fanoutConfig.consumerName = my consumer",
    "maxRecords = -5",
    "idleTimeBetweenReadsInMillis = -5",
    "failoverTimeMillis = -5",
    "taskBackoffTimeMillis = -1",
    "logWarningForTaskAfterMillis = -1",
    "retryGetRecordsInSeconds = -1",
    "maxGetRecordsThreadPool = -1",
    "fanoutConfig.retryBackoffMillis = -1",
    "initialPositionInStreamExtended = -5",
    "timeoutInSeconds = -1",
    "workerId = ${HOSTNAME}",
];

/// What every generation takes, and AWS does not.
const TAKEN: [&str; 8] = [
    "streamName = \"my-stream\"",
    "streamName = arn:aws:kinesis:us-east-1:123456789012:stream/orders",
    "streamName = ${STREAM}",
    "applicationName = my app/1",
    "applicationName = a",
    "tableName = my table",
    "workerId = $HOSTNAME",
    "timeoutInSeconds = 0",
];

/// Durations, and what else 3.x alone has.
const DURATIONS_OF_3: [&str; 18] = [
    "staleWorkerMetricsEntryCleanupDuration = P1D",
    "staleWorkerMetricsEntryCleanupDuration = P1DT2H",
    "staleWorkerMetricsEntryCleanupDuration = pt1h30m",
    "staleWorkerMetricsEntryCleanupDuration = PT1.5S",
    "staleWorkerMetricsEntryCleanupDuration = +PT12H",
    "staleWorkerMetricsEntryCleanupDuration = PT1H-30M",
    "staleWorkerMetricsEntryCleanupDuration = PT0S",
    "staleWorkerMetricsEntryCleanupDuration = PT12H ",
    "staleWorkerMetricsEntryCleanupDuration = -PT12H",
    "staleWorkerMetricsEntryCleanupDuration = PT-12H",
    "staleWorkerMetricsEntryCleanupDuration = P1M",
    "staleWorkerMetricsEntryCleanupDuration = P1W",
    "staleWorkerMetricsEntryCleanupDuration = PT",
    "staleWorkerMetricsEntryCleanupDuration = PT1.5H",
    "staleWorkerMetricsEntryCleanupDuration = PT1M1H",
    "staleWorkerMetricsEntryCleanupDuration =",
    "metricsEnabledDimensions = Operation,ShardId",
    "coordinatorStateTableConfigBean.coordinatorStateTableName = states",
];

/// What 3.x alone takes, and does nothing good with.
const TAKEN_OF_3: [&str; 7] = [
    "leaseAssignmentIntervalMillis = -1",
    "gracefulLeaseHandoffTimeoutMillis = -1",
    "gracefulLeaseHandoffConfigBean.gracefulLeaseHandoffTimeoutMillis = -1",
    "dampeningPercentage = -1",
    "workerMetricsEMAAlpha = -1",
    "maxThroughputPerHostKBps = Infinity",
    "workerMetricsReadCapacity = -7",
];

/// Numbers and words that 1.x refuses without an end.
const NUMBERS_OF_1: [&str; 9] = [
    "failoverTimeMillis = 0",
    "failoverTimeMillis = -5",
    "maxRecords = -5",
    "retryGetRecordsInSeconds = 0",
    "maxCacheByteSize = -1",
    "logWarningForTaskAfterMillis = 0",
    "initialPositionInStream = sometime",
    "initialPositionInStream = AT_TIMESTAMP",
    "metricsLevel = loud",
];

/// Providers of version 2 of the AWS SDK, with the arguments that they can be made from.
const PROVIDERS_OF_3: [&str; 27] = [
    "EnvironmentVariableCredentialsProvider",
    "SystemPropertyCredentialsProvider",
    "ProfileCredentialsProvider",
    "ProfileCredentialsProvider|reader",
    "InstanceProfileCredentialsProvider",
    "ContainerCredentialsProvider",
    "WebIdentityTokenFileCredentialsProvider",
    "AnonymousCredentialsProvider",
    "DefaultCredentialsProvider|x",
    ",DefaultCredentialsProvider",
    "Mine,DefaultCredentialsProvider",
    "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider",
    "StsAssumeRoleCredentialsProvider|arn:aws:iam::123456789012:role/r|s",
    "KclStsAssumeRoleCredentialsProvider|arn:r|s|endpointRegion=eu-west-1",
    "software.amazon.awssdk.services.sts.auth.StsAssumeRoleCredentialsProvider|arn:r|s|externalId=e",
    "StsAssumeRoleCredentialsProvider|arn:r|s|endpoint=https://x^eu-west-1",
    "StsAssumeRoleCredentialsProvider|arn:r|s|endpoint=https://x",
    "StsAssumeRoleCredentialsProvider|arn:r|s|endpointRegion=nowhere",
    "StsAssumeRoleCredentialsProvider|arn:r",
    "StsAssumeRoleCredentialsProvider|arn:r|",
    "StsAssumeRoleCredentialsProvider |arn:r|s",
    "ProcessCredentialsProvider|x",
    "StaticCredentialsProvider|a|b",
    "KclStaticCredentialsProvider|a|b",
    "HttpCredentialsProvider",
    "com.amazonaws.auth.profile.ProfileCredentialsProvider|reader",
    "software.amazon.awssdk.services.sts.auth.StsGetSessionTokenCredentialsProvider",
];

/// Providers of version 1 of the AWS SDK.
const PROVIDERS_OF_2: [&str; 22] = [
    "EnvironmentVariableCredentialsProvider",
    "SystemPropertiesCredentialsProvider",
    "InstanceProfileCredentialsProvider",
    "ContainerCredentialsProvider",
    "EC2ContainerCredentialsProviderWrapper",
    "WebIdentityTokenCredentialsProvider",
    "ClasspathPropertiesFileCredentialsProvider",
    "PropertiesFileCredentialsProvider|f",
    "PropertiesFileCredentialsProvider",
    "profile.ProfileCredentialsProvider",
    "com.amazonaws.auth.profile.ProfileCredentialsProvider|reader",
    "ProfileCredentialsProvider",
    "Mine,DefaultAWSCredentialsProviderChain",
    "DefaultAWSCredentialsProviderChain |x",
    "ProcessCredentialsProvider|x",
    "AWSStaticCredentialsProvider|a|b",
    "STSSessionCredentialsProvider|a|b",
    "software.amazon.awssdk.auth.credentials.DefaultCredentialsProvider",
    "KclSTSAssumeRoleSessionCredentialsProvider",
    "KclSTSAssumeRoleSessionCredentialsProvider|arn:r",
    "KclSTSAssumeRoleSessionCredentialsProvider||",
    "STSAssumeRoleSessionCredentialsProvider",
];

/// Those of them that 2.x alone can make, or makes otherwise than 1.x.
const PROVIDERS_OF_2_ALONE: [&str; 8] = [
    "DefaultAWSCredentialsProviderChain|x",
    "STSAssumeRoleSessionCredentialsProvider|arn:r|s",
    "STSAssumeRoleSessionCredentialsProvider|arn:r|s|x",
    "KclSTSAssumeRoleSessionCredentialsProvider|arn:r|s",
    "KclSTSAssumeRoleSessionCredentialsProvider|arn:r|s|endpointRegion=eu-west-1",
    "KclSTSAssumeRoleSessionCredentialsProvider|arn:r|s|endpointRegion=nowhere",
    "KclSTSAssumeRoleSessionCredentialsProvider|arn:r|s|endpoint=https://x",
    "WebIdentityFederationSessionCredentialsProvider|a|b|c",
];

/// Lines that name these providers.
fn providers(names: &[&str]) -> Vec<String> {
    names
        .iter()
        .map(|name| format!("AWSCredentialsProvider = {name}"))
        .collect()
}

fn texts(lines: &[String]) -> Vec<&str> {
    lines.iter().map(String::as_str).collect()
}

#[test]
#[ignore = "needs tests/daemon/setup and Java"]
fn a_worker_can_be_made_of_what_check_has_no_error_for() {
    KCL_3.agree(&[&OF_WORKERS[..], &DURATIONS_OF_3].concat());
    KCL_3.is_too_kind_to(&[&TAKEN_OF_WORKERS[..], &TAKEN_OF_3, &TAKEN].concat());
    KCL_2.agree(&[&OF_WORKERS[..], &["metricsEnabledDimensions = Operation"]].concat());
    KCL_2.is_too_kind_to(&[&TAKEN_OF_WORKERS[..], &TAKEN].concat());
    KCL_1.agree(&NUMBERS_OF_1);
    KCL_1.is_too_kind_to(&TAKEN);
}

#[test]
#[ignore = "needs tests/daemon/setup and Java"]
fn a_provider_is_known_by_whether_the_daemon_can_make_it() {
    KCL_3.agree(&texts(&providers(&PROVIDERS_OF_3)));
    KCL_2.agree(&texts(&providers(&PROVIDERS_OF_2)));
    KCL_2.agree(&texts(&providers(&PROVIDERS_OF_2_ALONE)));
    KCL_1.agree(&texts(&providers(&PROVIDERS_OF_2)));
}

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
