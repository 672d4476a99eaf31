//! One test's world.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::process::{Pid, test_kill_process};
use tempfile::TempDir;

use super::daemon::{self, Daemon, HANDLER_ARGS};
use super::journal::{Entry, Journal};
use super::leases::{Checkpoint, Leases};
use super::stack::Stack;
use super::stream::{Record, Sent, Shard, Stream};
use super::{Case, Kcl, logs, wait};

/// A stream, the application that reads it through kclpipe, and all it leaves behind, kept after a
/// failure.
pub(crate) struct Application {
    pub(crate) stream: Stream,
    pub(crate) leases: Leases,
    pub(crate) journal: Journal,
    case: Case,
    directory: TempDir,
    stack: Arc<Stack>,
}

impl Application {
    /// Makes a stream of two shards, and has kclpipe run with these options, `handler.rs` being the
    /// handler.
    pub(crate) fn new(case: Case, options: &str) -> Self {
        let stack = Stack::shared();
        let name = unique_name();
        let stream = Stream::create(&stack.kinesis, &name, 2);
        let leases = Leases::create(&stack.dynamodb, &name, &stream.open_shards());
        let directory = TempDir::with_prefix_in(&name, env!("CARGO_TARGET_TMPDIR"))
            .expect("a directory can be made");
        write_args(case, options, directory.path());
        let journal = Journal::new(directory.path().join("journal"), case.per);
        Self {
            stream,
            leases,
            journal,
            case,
            directory,
            stack,
        }
    }

    /// Starts a daemon.
    pub(crate) fn start(&self) -> Daemon {
        self.start_with(&[])
    }

    /// Starts a daemon, with options of `kclpipe launch`.
    pub(crate) fn start_with(&self, options: &[&str]) -> Daemon {
        Daemon::start(
            self.case,
            &self.stack,
            self.directory.path(),
            &self.stream.name,
            &self.leases,
            options,
        )
    }

    /// Where its daemons and kclpipes run.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The properties that a daemon is started with.
    pub(crate) fn properties(&self) -> String {
        daemon::properties(
            self.case,
            &self.stack,
            &self.stream.name,
            &self.leases.application,
        )
    }

    /// Starts the next life of a daemon that ended, however it did.
    pub(crate) fn restart(&self) -> Daemon {
        if self.case.kcl == Kcl::V3 {
            self.leases.forget_leader();
        }
        self.start()
    }

    /// The two shards that the stream begins with.
    pub(crate) fn shards(&self) -> [Shard; 2] {
        self.stream
            .open_shards()
            .try_into()
            .expect("the stream has two shards")
    }

    /// Puts the same records into each of the two shards.
    pub(crate) fn put_on_both(&self, records: &[Record]) -> [Vec<Sent>; 2] {
        self.shards().map(|shard| self.stream.put(&shard, records))
    }

    /// Lets handlers go on that hold a record.
    pub(crate) fn release(&self) {
        self.tell("release");
    }

    /// Makes poison harmless.
    pub(crate) fn cure(&self) {
        self.tell("cure");
    }

    /// Where every shard stands.
    pub(crate) fn checkpoints(&self) -> HashMap<String, Checkpoint> {
        let checkpoint = |shard: Shard| (shard.id.clone(), self.leases.checkpoint(&shard.id));
        self.stream
            .open_shards()
            .into_iter()
            .map(checkpoint)
            .collect()
    }

    /// Whether a shard's checkpoint is at this record.
    pub(crate) fn is_checkpointed(&self, sent: &Sent) -> bool {
        self.leases.checkpoint(&sent.shard) == Checkpoint::At(sent.at.clone())
    }

    /// Whether a shard's checkpoint is further than this record, and the shard not at its end.
    pub(crate) fn is_checkpointed_past(&self, sent: &Sent) -> bool {
        match self.leases.checkpoint(&sent.shard) {
            Checkpoint::At(position) => position > sent.at,
            Checkpoint::TrimHorizon | Checkpoint::ShardEnd => false,
        }
    }

    /// The lines of a file that a command of kclpipe's wrote.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.directory.path().join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Asserts that a shard's checkpoint is at this record.
    #[track_caller]
    pub(crate) fn assert_checkpointed(&self, sent: &Sent) {
        assert_eq!(
            self.leases.checkpoint(&sent.shard),
            Checkpoint::At(sent.at.clone()),
            "of {}",
            sent.shard
        );
    }

    /// Watches a checkpoint until the daemon has renewed the lease three times.
    #[track_caller]
    pub(crate) fn assert_checkpoint_stays(&self, daemon: &Daemon, sent: &Sent) {
        let lease = || self.leases.get(&sent.shard).expect("the shard has a lease");
        let counter = lease().counter;
        daemon.until("three renewals of a lease", || {
            lease().counter >= counter + 3
        });
        self.assert_checkpointed(sent);
    }

    /// Waits until no kclpipe and no handler is left, which must need no help.
    pub(crate) fn wait_until_nothing_runs(&mut self) {
        let of = |entry: &Entry| [entry.kclpipe, entry.handler];
        let processes: Vec<Pid> = self.journal.entries().iter().flat_map(of).collect();
        wait::until("kclpipe and its handlers to end", || {
            !processes.iter().copied().any(is_alive)
        });
    }

    /// Gives the handlers an order: they look for files.
    fn tell(&self, word: &str) {
        fs::write(self.directory.path().join(word), "").expect("an order can be written");
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        logs::show_after_failure(&mut self.directory);
    }
}

/// Whether there is such a process.
pub(crate) fn is_alive(process: Pid) -> bool {
    test_kill_process(process).is_ok()
}

/// A name that no other test has: they share the services.
fn unique_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    format!(
        "test-{}-{}",
        process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    )
}

/// Writes the file that `executableName` refers to, since that knows no quotes.
fn write_args(case: Case, options: &str, directory: &Path) {
    let (way, held) = (case.per.word(), case.held.options());
    let quote = |path: &Path| {
        let path = path.to_str().expect("the path is UTF-8");
        shlex::try_quote(path)
            .expect("the path holds no NUL")
            .into_owned()
    };
    let [handler, own] = [quote(handler()), quote(directory)];
    let args = format!(
        "--per {way} {held} --log-level debug --log-file kclpipe.log\n\
         {options}\n\
         -- {handler} {way} {own}\n"
    );
    fs::write(directory.join(HANDLER_ARGS), args).expect("the arguments can be written");
}

/// `handler.rs` as a program, compiled once.
fn handler() -> &'static Path {
    static HANDLER: OnceLock<PathBuf> = OnceLock::new();
    HANDLER.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/daemon/handler.rs");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let program = folder.join("daemon-test-handler");
        // Other runs of these tests may compile it, or run it, at the same time.
        let compiled = folder.join(format!("daemon-test-handler-{}", process::id()));
        let mut rustc = Command::new("rustc");
        rustc
            .args(["--edition", "2024", "-O", "-o"])
            .arg(&compiled)
            .arg(&source);
        assert!(
            rustc.status().expect("rustc can be started").success(),
            "{} compiles",
            source.display()
        );
        fs::rename(&compiled, &program).expect("the handler can be put in its place");
        program
    })
}
