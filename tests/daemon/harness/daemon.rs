//! The MultiLangDaemon itself: a Java process.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitIdStatus, kill_process, kill_process_group, waitid,
};

use super::leases::Leases;
use super::stack::{Stack, installed};
use super::{Case, Held, Kcl, Retrieval, wait};

/// The arguments of kclpipe stand in this file of the daemon's directory.
pub(crate) const HANDLER_ARGS: &str = "handler.args";

/// A running daemon. It leads a process group, in which its kclpipes are but not their handlers.
pub(crate) struct Daemon {
    java: Child,
    log: PathBuf,
    guard: Child,
    leases: Leases,
}

impl Daemon {
    /// Starts a daemon in a directory that holds [`HANDLER_ARGS`], with these options of `launch`.
    pub(crate) fn start(
        case: Case,
        stack: &Stack,
        directory: &Path,
        stream: &str,
        leases: &Leases,
        options: &[&str],
    ) -> Self {
        let properties = properties(case, stack, stream, &leases.application);
        fs::write(directory.join("kcl.properties"), properties)
            .expect("the properties can be written");
        let log = (1..)
            .map(|life| directory.join(format!("daemon-{life}.log")))
            .find(|log| !log.exists())
            .expect("there are fewer lives than numbers");
        let output = File::create(&log).expect("a log can be made");
        let mut command = command(case.kcl, options);
        command.current_dir(directory).process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("a log can be shared"))
            .stderr(output);
        let java = command.spawn().expect("java can be started");
        let guard = guard(&java);
        Self {
            java,
            log,
            guard,
            leases: leases.clone(),
        }
    }

    /// Looks until it is so, and gives up at once when the daemon ends.
    #[track_caller]
    pub(crate) fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        let look = || {
            let ended = self.ended();
            // What was awaited may have been the last that it did.
            (is_so() || ended.is_some_and(|how| panic!("the daemon ended before {what}: {how:?}")))
                .then_some(())
        };
        wait::until_some_or(what, look, || self.show());
    }

    /// Waits for a text in its log. What its kclpipes print on stderr is there too.
    #[track_caller]
    pub(crate) fn until_logged(&self, text: &str) {
        self.until(text, || self.logged().contains(text));
    }

    /// All that it and its kclpipes have printed.
    pub(crate) fn logged(&self) -> String {
        let logged = fs::read(&self.log).expect("the log can be read");
        String::from_utf8_lossy(&logged).into_owned()
    }

    /// Asks Java to end, as an init system does that looks after the main process only.
    pub(crate) fn terminate(&self) {
        kill_process(self.pid(), Signal::TERM).expect("the daemon can be signalled");
    }

    /// Asks the whole process group to end, as a terminal does.
    pub(crate) fn terminate_group(&self) {
        kill_process_group(self.pid(), Signal::TERM).expect("the daemon's group can be signalled");
    }

    /// Kills Java, which cannot prevent it or even notice.
    pub(crate) fn kill(&self) {
        kill_process(self.pid(), Signal::KILL).expect("the daemon can be killed");
    }

    /// Waits for its end. The exit code is none after a signal.
    #[track_caller]
    pub(crate) fn wait(&self) -> Option<i32> {
        wait::until_some_or("the daemon's end", || self.ended(), || self.show()).exit_status()
    }

    /// Shows what no log has: what its threads wait for, and who has which lease.
    #[expect(clippy::print_stderr, reason = "libtest shows it with the failure")]
    fn show(&self) {
        let threads = Command::new("jstack")
            .arg(self.java.id().to_string())
            .output();
        match threads {
            Ok(output) => {
                let threads = String::from_utf8_lossy(&output.stdout);
                super::kcl_fault::look(&threads);
                let errors = String::from_utf8_lossy(&output.stderr);
                eprintln!("--- the daemon's threads\n{threads}{errors}");
            }
            Err(error) => eprintln!("--- no jstack: {error}"),
        }
        eprintln!("--- the daemon's tables\n{}", self.leases.rows());
    }

    /// How it ended, if it did. It is not reaped before the drop, so that its number stays its own.
    fn ended(&self) -> Option<WaitIdStatus> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        waitid(WaitId::Pid(self.pid()), options).expect("the daemon can be asked")
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.java)
    }
}

impl Drop for Daemon {
    /// Ends the whole group: if Java ended by itself, a kclpipe may be left that should not be.
    fn drop(&mut self) {
        self.guard.kill().expect("the guard can be killed");
        self.guard.wait().expect("the guard can be awaited");
        kill_process_group(self.pid(), Signal::KILL).expect("the daemon's group can be killed");
        self.java.wait().expect("the daemon can be awaited");
    }
}

/// A process that kills the daemon's group when the tests are killed, seeing the end of its stdin.
fn guard(java: &Child) -> Child {
    let mut guard = Command::new("sh");
    guard.args([
        "-c",
        "read -r never; kill -s KILL -- \"-$1\"",
        "guard",
        &java.id().to_string(),
    ]);
    guard
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    guard.spawn().expect("sh can be started")
}

/// `kclpipe launch`, which becomes Java.
fn command(kcl: Kcl, options: &[&str]) -> Command {
    let jars = match kcl {
        Kcl::V3 => "kcl-3.1.3",
        Kcl::V2 => "kcl-2.5.4",
        Kcl::V1 => "kcl-1.15.3",
    };
    let mut launch = Command::new(env!("CARGO_BIN_EXE_kclpipe"));
    launch.arg("launch").arg("--jars").arg(installed(jars));
    // It lives for seconds: what the second compiler would win it never gets back.
    launch.args(["-Xmx1g", "-XX:TieredStopAtLevel=1"]);
    // kinesalite cannot write large replies in CBOR.
    launch.args([
        "-Daws.cborEnabled=false",
        "-Dcom.amazonaws.sdk.disableCbor=true",
    ]);
    launch.args(options).arg("kcl.properties");
    without_kclpipe_options(&mut launch);
    launch
        .env("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    launch
}

/// kclpipe takes options from the environment, and the tests give their own.
fn without_kclpipe_options(command: &mut Command) {
    for (name, _) in
        std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KCLPIPE_"))
    {
        command.env_remove(name);
    }
}

/// Intervals far below the defaults, so that leases and shards move within seconds.
pub(super) fn properties(case: Case, stack: &Stack, stream: &str, application: &str) -> String {
    let executable = format!("{} @{HANDLER_ARGS}", env!("CARGO_BIN_EXE_kclpipe"));
    let kinesis = match case.kcl {
        Kcl::V3 | Kcl::V2 => &stack.kinesis_http2,
        Kcl::V1 => &stack.kinesis.url,
    };
    let credentials = match case.kcl {
        Kcl::V3 => "DefaultCredentialsProvider",
        Kcl::V2 | Kcl::V1 => "DefaultAWSCredentialsProviderChain",
    };
    let settings = [
        ("executableName", executable.as_str()),
        ("streamName", stream),
        ("applicationName", application),
        ("AWSCredentialsProvider", credentials),
        ("processingLanguage", "rust"),
        ("initialPositionInStream", "TRIM_HORIZON"),
        ("regionName", "us-east-1"),
        ("kinesisEndpoint", kinesis),
        ("dynamoDBEndpoint", &stack.dynamodb.url),
        ("metricsLevel", "NONE"),
        ("callProcessRecordsEvenForEmptyRecordList", "true"),
        ("failoverTimeMillis", "2000"),
        ("leaseAssignmentIntervalMillis", "1000"),
        ("shardSyncIntervalMillis", "2000"),
        ("parentShardPollIntervalMillis", "500"),
        // 0 by default: without this, a daemon that is told to end says nothing to its children.
        ("shutdownGraceMillis", grace(case.held)),
        // The same in every life, so that a new one takes up its old leases.
        ("workerId", "worker"),
    ];
    settings.iter().chain(retrieval(case.retrieval)).fold(
        String::new(),
        |mut text, (key, value)| {
            writeln!(text, "{key} = {value}").expect("a string takes everything");
            text
        },
    )
}

/// Where records are held, handlers may go on with what they have for this time, less what it takes to stop them.
fn grace(held: Held) -> &'static str {
    match held {
        Held::Nothing => "10000",
        Held::ReadAhead | Held::Window => "30000",
    }
}

/// Polling comes with settings that have no say in fan-out.
fn retrieval(retrieval: Retrieval) -> &'static [(&'static str, &'static str)] {
    match retrieval {
        Retrieval::Polling => &[
            ("retrievalMode", "POLLING"),
            ("maxRecords", "10000"),
            ("idleTimeBetweenReadsInMillis", "200"),
        ],
        Retrieval::FanOut => &[("retrievalMode", "FANOUT")],
    }
}
