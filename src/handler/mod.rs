//! Handlers: how records get to the user's command, and what comes of them.

mod held;
mod lag;
mod mode;
mod pool;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

pub use held::{Limits, Window};
pub use mode::environment::VARIABLES;
pub(crate) use mode::placeholders::placeholder_of_records;
pub use pool::{Children, ExitReport, HandlerProcesses, Happening, Pool, Rate, Role};

use crate::backoff::Delays;
use crate::checkpoint::BlockedRecord;
use crate::counters::Counters;
use crate::filter::Filter;
use crate::format::{Decompression, Format};
use crate::host_slots;
use crate::outcome::OnExit;
use crate::process::{Command, Stop};
use crate::record::{Batch, Position};

/// What the bridge knows of handlers. [`Handlers::wait`] is where kclpipe sleeps: the daemon's input, its
/// acks and every delay are awaited there, together with whatever the handlers do.
pub trait Handlers {
    /// The lease of a shard begins. May be asked again after an error.
    ///
    /// # Errors
    /// The command cannot be found or run.
    fn begin(&mut self, shard_id: &str) -> Result<()>;

    /// Takes in what the daemon read.
    fn offer(&mut self, read: Read);

    /// The shard has ended: nothing is collected any more before a handler is started.
    fn shard_ended(&mut self);

    /// Whether the daemon may send more: what is held is no more than may be read ahead, or all is done.
    fn has_room(&self) -> bool;

    /// Whether records are held that are not done.
    fn holds_any(&self) -> bool;

    /// Whether the daemon may be answered before its records are done.
    fn reads_ahead(&self) -> bool;

    /// Works and sleeps until there is something to tell, or until `until`. The daemon's input is looked
    /// at only if `watch_input`.
    ///
    /// # Errors
    /// The daemon's data is not base64, or the system fails us.
    fn wait(&mut self, watch_input: bool, until: Option<Instant>) -> Result<Event>;

    /// Ends all work: [`Event::Finished`] follows.
    fn finish(&mut self, how: Finish);

    /// Runs the user's hook, if there is one; whether [`Event::Hooked`] follows.
    fn hook(&mut self, hook_event: HookEvent) -> bool;

    /// The record that has been tried without success for longest, if the run waits for it.
    fn blocked(&self) -> Option<BlockedRecord>;

    /// When the oldest record that is not done arrived in the stream, in milliseconds since the epoch, if
    /// there is one and that is known.
    fn oldest(&self) -> Option<i64>;

    /// What came of everything so far, in numbers.
    fn counters(&self) -> Counters;
}

/// What [`Handlers::wait`] tells.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The daemon's input can be read, or has ended.
    Input,
    /// Everything up to a position is done.
    Done {
        /// The last record that is done.
        end: Position,
        /// How many records further that is.
        records: u64,
        /// A batch has ended with it: a handler's where records are collected for it, else one that the
        /// daemon read.
        batch_ended: bool,
    },
    /// The handler asks for a checkpoint here.
    CheckpointRequested(Position),
    /// The worker is to stop, at the request of a handler or of the user's flags; why.
    Halted(String),
    /// We were asked to stop by this signal.
    Signal(i32),
    /// No handler runs any more, after [`Handlers::finish`].
    Finished,
    /// The hook has succeeded, or need not, after [`Handlers::hook`].
    Hooked,
    /// Another record blocks the shard than before, or none, as [`Handlers::blocked`] says.
    Blocked,
    /// There is room for more records, as [`Handlers::has_room`] says.
    Room,
    /// Nothing, until now.
    Deadline,
}

/// How the first record of a batch is handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    /// As all others are.
    WithOthers,
    /// To a handler of its own, so that it is done as soon as it can be: nothing is stored yet, and a
    /// restart would skip all that was delivered.
    Alone,
}

/// What the daemon read.
#[derive(Debug)]
pub struct Read {
    /// The records, perhaps none.
    pub batch: Batch,
    /// How the first is handed over.
    pub first: First,
    /// The daemon sent it at once: KCL keeps up to four reads ready while its child is at work, so what it
    /// sends right after an answer may be old (`PrefetchRecordsPublisher.java`).
    pub fresh: bool,
}

/// How work ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Handlers see the end of their input and may end by themselves, for a while.
    Orderly,
    /// Nothing more starts; what handlers have may be done until then, and what waits is dropped.
    Drain(Instant),
    /// Handlers are stopped; what they answer does not count any more.
    Stop,
}

/// What a hook is run for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookEvent {
    /// The lease begins, behind this position if one is stored.
    Initialize(Option<Position>),
    /// The lease is lost.
    LeaseLost,
    /// Every record of the shard is done.
    ShardEnd,
    /// The daemon asked for an orderly shutdown, or another worker for the lease.
    Shutdown,
}

impl HookEvent {
    /// What the hook finds in `KCLPIPE_EVENT`.
    pub fn name(&self) -> &'static str {
        match self {
            HookEvent::Initialize(_) => "initialize",
            HookEvent::LeaseLost => "lease-lost",
            HookEvent::ShardEnd => "shard-end",
            HookEvent::Shutdown => "shutdown",
        }
    }

    /// Whether the lease waits for the hook's success; else it is run once, for a short time.
    pub fn must_succeed(&self) -> bool {
        matches!(self, HookEvent::Initialize(_) | HookEvent::ShardEnd)
    }
}

/// What becomes of a record that is rejected or given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnFailure {
    /// It is tried again, at the longest delay.
    Block,
    /// It is appended to this file (`{shard}` stands for the shard), and then done.
    DeadLetter(PathBuf),
    /// It is handed to this command, and done once that has exited with 0.
    DeadLetterCommand(Command),
    /// It is done.
    Skip,
    /// The worker stops.
    Halt,
}

/// What one handler process is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Per {
    /// One record, and then the end of its input.
    Record,
    /// This many records and this many bytes of payload at most (`None` for no limit), and then the end of
    /// its input.
    Batch {
        /// Records.
        size: Option<usize>,
        /// Bytes.
        bytes: Option<u64>,
    },
    /// One batch of records after the other for as long as the lease lasts, each as one Lambda event that is
    /// answered with a line.
    Event {
        /// The most records of an event; `None` for no limit.
        size: Option<usize>,
        /// The most bytes of payload in an event; `None` for no limit.
        bytes: Option<u64>,
        /// Answers stand without the token.
        plain: bool,
        /// After this many records it gets the end of its input, and a new handler goes on; `None` for never.
        max_records: Option<u64>,
    },
    /// Every record of the lease, one line answered for each.
    Shard {
        /// This many may be unanswered.
        inflight: usize,
        /// Answers stand without the token.
        plain: bool,
        /// After this many it gets the end of its input, and a new handler goes on; `None` for never.
        max_records: Option<u64>,
    },
}

/// How records are handed over, and the rules for what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The user's command.
    pub command: Command,
    /// What one process of it is given.
    pub per: Per,
    /// How records stand on its stdin.
    pub format: Format,
    /// Which payloads are decompressed before that; `None` for none.
    pub decompress: Option<Decompression>,
    /// Which records are handed over; `None` for all. Others are done.
    pub filter: Option<Filter>,
    /// How many attempts may run at a time.
    pub jobs: usize,
    /// How many may run on this machine, of all shards; `None` for no limit. Not for handlers that live on.
    pub host_jobs: Option<host_slots::Settings>,
    /// How fast records are handed over at most; `None` for no limit. Not with [`Per::Shard`].
    pub rate: Option<Rate>,
    /// What exit codes mean.
    pub on_exit: OnExit,
    /// When a record is given up.
    pub limits: Limits,
    /// The delays between attempts.
    pub delays: Delays,
    /// What then becomes of it.
    pub on_failure: OnFailure,
    /// How long an attempt may be silent; `None` for no limit.
    pub timeout: Option<Duration>,
    /// How a handler is stopped.
    pub stop: Stop,
    /// What is run when the lease begins and ends.
    pub hook: Option<Command>,
    /// This many bytes of the daemon's lines may be held when it is answered; 0 to answer it when all of
    /// its records are done.
    pub read_ahead: u64,
    /// Records are collected before a handler is started; `None` for no window.
    pub window: Option<Window>,
    /// The directory of the files in which records wait; `None` for memory.
    pub spool_dir: Option<PathBuf>,
    /// The stream's name, for the handler, where it is known.
    pub stream: Option<String>,
    /// The daemon's `applicationName`, likewise.
    pub application: Option<String>,
    /// Placeholders in the command's arguments are replaced, and this is the name of the application; `None`
    /// to leave them as they are.
    pub placeholders: Option<String>,
}

/// How long a process may take that should end by itself, where `--stop-timeout` is 0, which means that
/// one that was told to stop is killed at once.
const ENDING: Duration = Duration::from_secs(10);

impl Settings {
    /// How a process is stopped that should end by itself, if it does not.
    pub(super) fn ending(&self) -> Stop {
        let timeout = self.stop.timeout;
        Stop {
            timeout: if timeout.is_zero() { ENDING } else { timeout },
            ..self.stop
        }
    }

    /// The file for dead letters, if they go into one.
    pub fn letter_file(&self) -> Option<&Path> {
        match &self.on_failure {
            OnFailure::DeadLetter(file) => Some(file),
            OnFailure::Block
            | OnFailure::DeadLetterCommand(_)
            | OnFailure::Skip
            | OnFailure::Halt => None,
        }
    }

    /// The command for dead letters, if they go to one.
    pub fn letter_command(&self) -> Option<&Command> {
        match &self.on_failure {
            OnFailure::DeadLetterCommand(command) => Some(command),
            OnFailure::Block | OnFailure::DeadLetter(_) | OnFailure::Skip | OnFailure::Halt => None,
        }
    }

    /// All commands that must be there when the lease begins, each with what it is to the user.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, &Command)> {
        let letters = self.letter_command();
        let letters = letters.map(|command| ("the --dead-letter-command", command));
        let hook = self.hook.as_ref().map(|hook| ("the --hook", hook));
        [("the handler", &self.command)]
            .into_iter()
            .chain(letters)
            .chain(hook)
    }
}

#[cfg(test)]
mod tests {
    use super::pool::tests::settings;
    use super::*;

    #[test]
    fn a_process_that_should_end_by_itself_has_time_though_a_stop_gives_none() {
        let mut settings = settings(Per::Record);
        assert_eq!(settings.ending(), settings.stop);
        settings.stop.timeout = Duration::ZERO;
        assert_eq!(settings.ending().timeout, ENDING);
    }
}
