//! The bridge: what the daemon says, to the handlers; what comes of it, to the ledger; and an answer.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::checkpoint::{Answered, BlockedRecord, Checkpoints, Phase, Request, Start, ToSay};
use crate::clock::Clock;
use crate::due::Due;
use crate::exit;
use crate::handler::{Event, Finish, First, Handlers, HookEvent};
use crate::plural::plural;
use crate::protocol::{Message, Reply, Shutdown, Wire};
use crate::record::{Batch, Layout, Position};
use crate::reporting::{Reporting, Snapshot};

/// How long a command that cannot be run is looked for again: a deployment may be under way.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The time between two such looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// One shard's conversation with the daemon.
pub struct Bridge<'a> {
    wire: Wire<'a>,
    handlers: &'a mut dyn Handlers,
    checkpoints: Checkpoints,
    clock: &'a dyn Clock,
    /// After a signal, the run is stored step by step for so long.
    drain: Duration,
    reporting: Reporting,
    initialized: bool,
    /// A handler asked to stop the worker while no action was under way.
    halted: bool,
}

/// What the daemon said, with a batch taken out of its line.
enum Heard {
    Batch(Batch),
    Initialize { shard_id: String, start: Start },
    Other { action: &'static str, what: Other },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Other {
    Ack,
    LeaseLost,
    ShardEnded,
    ShutdownRequested,
}

/// Whether the conversation goes on.
enum Step {
    GoOn,
    Leave(exit::Bridge),
}

/// What has to be over before an action is answered.
struct PendingAction {
    /// Records of the batch that are not in the run yet.
    left: u64,
    /// Handlers are on their way to their end.
    finishing: bool,
    /// The user's hook is run for this then.
    hook: Option<HookEvent>,
    /// The hook is running.
    hooking: bool,
    /// What it is about, once those above are over.
    last: Phase,
    halted: bool,
}

impl<'a> Bridge<'a> {
    /// A bridge between the daemon and `handlers`; `drain` is how long handlers have to end after a
    /// signal.
    pub fn new(
        wire: Wire<'a>,
        handlers: &'a mut dyn Handlers,
        checkpoints: Checkpoints,
        clock: &'a dyn Clock,
        drain: Duration,
    ) -> Bridge<'a> {
        Bridge {
            wire,
            handlers,
            checkpoints,
            clock,
            drain,
            reporting: Reporting::default(),
            initialized: false,
            halted: false,
        }
    }

    /// The same, watched.
    pub fn reported_by(self, reporting: Reporting) -> Bridge<'a> {
        Bridge { reporting, ..self }
    }

    /// Talks until there is nothing more to say; every handler is stopped when this returns.
    ///
    /// # Errors
    /// The daemon broke the protocol, or the system failed us.
    pub fn run(mut self) -> Result<exit::Bridge> {
        let exit = self.converse();
        self.stop_handlers()?;
        exit
    }

    fn converse(&mut self) -> Result<exit::Bridge> {
        while let Some(line) = self.next_line()? {
            if let Step::Leave(exit) = self.answer(line)? {
                return Ok(exit);
            }
        }
        log::info!("the daemon closed stdin");
        Ok(if self.halted {
            exit::Bridge::Halted
        } else {
            exit::Bridge::Done
        })
    }

    /// The next message; `None` at the end of input.
    fn next_line(&mut self) -> Result<Option<String>> {
        loop {
            self.look();
            if let Some(line) = self.wire.take_line() {
                return Ok(Some(line));
            }
            if self.wire.ended() {
                return Ok(None);
            }
            match self.handlers.wait(true, self.reporting.wake())? {
                Event::Input => self.wire.fill(),
                Event::Signal(signal) => self.signalled(signal),
                Event::Halted(why) => {
                    log::error!("{why}: stopping the worker at the daemon's next message");
                    self.halted = true;
                }
                Event::Blocked | Event::Deadline => {}
                event @ (Event::Done { .. }
                | Event::CheckpointRequested(_)
                | Event::Finished
                | Event::Hooked) => {
                    log::debug!("{event:?} while idle");
                }
            }
        }
    }

    fn answer(&mut self, line: String) -> Result<Step> {
        let heard = hear(line)?;
        self.checkpoints.heard(self.clock.now());
        match heard {
            Heard::Initialize { shard_id, start } => self.initialize(&shard_id, start),
            _ if !self.initialized => bail!("the daemon sent work before 'initialize'"),
            Heard::Batch(_)
            | Heard::Other {
                what: Other::ShardEnded | Other::LeaseLost | Other::ShutdownRequested,
                ..
            // Not an ack and not 'initialize': those say nothing that a halt could wait for.
            } if self.halted => self.leave_halted(&heard),
            Heard::Batch(batch) => self.process_records(batch),
            Heard::Other {
                action,
                what: Other::Ack,
            } => {
                bail!("the daemon sent a '{action}' that nothing asked for")
            }
            Heard::Other {
                action,
                what: Other::LeaseLost,
            } => self.lease_lost(action),
            Heard::Other {
                action,
                what: Other::ShardEnded,
            } => self.shard_ended(action),
            Heard::Other {
                action,
                what: Other::ShutdownRequested,
            } => self.shutdown_requested(action),
        }
    }

    /// A handler asked to halt while no action was under way: whatever comes next, what is done is stored
    /// if the lease still is ours, and the worker is stopped.
    fn leave_halted(&mut self, heard: &Heard) -> Result<Step> {
        match heard {
            Heard::Other {
                what: Other::LeaseLost,
                ..
            } => self.checkpoints.lose_lease(),
            Heard::Other {
                what: Other::ShardEnded,
                ..
            } => self.checkpoints.shard_ended(),
            Heard::Batch(_) | Heard::Initialize { .. } | Heard::Other { .. } => {}
        }
        self.checkpoints.last_chance();
        let mut pending = PendingAction::new(0, false, Phase::Shutdown);
        pending.halted = true;
        self.work(pending)
    }

    fn initialize(&mut self, shard_id: &str, start: Start) -> Result<Step> {
        if self.initialized {
            bail!("the daemon sent 'initialize' a second time");
        }
        self.initialized = true;
        crate::logging::set_shard(shard_id);
        match &start {
            Start::After(position) => log::info!("lease acquired; resuming after {position}"),
            Start::Sentinel(name) => log::info!("lease acquired; starting at {name}"),
        }
        self.reporting.begin(shard_id, self.clock.now());
        if let leave @ Step::Leave(_) = self.find_handler(shard_id)? {
            return Ok(leave);
        }
        // Before the lease is known to the checkpoints: the daemon takes none in answer to `initialize`.
        let pending = PendingAction::new(0, false, Phase::Working)
            .then(HookEvent::Initialize(start.stored().cloned()));
        if let leave @ Step::Leave(_) = self.work(pending)? {
            return Ok(leave);
        }
        self.checkpoints.begin(&start, self.clock.now());
        Ok(self.status("initialize"))
    }

    /// Looks for the handler's command, and again for a while.
    fn find_handler(&mut self, shard_id: &str) -> Result<Step> {
        let give_up_at = self.clock.now() + LOOK_AGAIN;
        let mut said = false;
        while let Err(e) = self.handlers.begin(shard_id) {
            let now = self.clock.now();
            if now >= give_up_at {
                log::error!("{e:#}; giving up");
                return Ok(Step::Leave(exit::Bridge::Config));
            }
            if !said {
                log::error!("{e:#}; looking again for {} s", LOOK_AGAIN.as_secs());
            }
            said = true;
            // The input is watched meanwhile: the daemon may have gone.
            let until = now + LOOK_EVERY;
            while self.clock.now() < until && !self.wire.ended() {
                if self.handlers.wait(!self.wire.has_line(), Some(until))? == Event::Input {
                    self.wire.fill();
                }
            }
            if self.wire.ended() {
                return Ok(Step::Leave(exit::Bridge::Done));
            }
        }
        Ok(Step::GoOn)
    }

    fn process_records(&mut self, batch: Batch) -> Result<Step> {
        if self.checkpoints.lease_gone() {
            return Ok(self.status("processRecords"));
        }
        self.reporting.read_behind(batch.millis_behind_latest);
        let left = batch.len() as u64;
        let behind = batch
            .millis_behind_latest
            .map_or("?".to_owned(), |millis| millis.to_string());
        log::debug!("{}, {behind} ms behind the tip", plural(left, "record"));
        if let Some(last) = batch.last() {
            self.checkpoints.delivered(last);
            let first = if self.checkpoints.is_unprotected() {
                First::Alone
            } else {
                First::WithOthers
            };
            self.handlers.offer(batch, first);
        }
        self.reach(
            PendingAction::new(left, false, Phase::BatchEnd),
            "processRecords",
        )
    }

    fn lease_lost(&mut self, action: &'static str) -> Result<Step> {
        log::info!("lease lost");
        self.stop_handlers()?;
        self.checkpoints.lose_lease();
        self.leave_lost(action)
    }

    /// The last answer of a lease that is gone.
    fn leave_lost(&mut self, action: &'static str) -> Result<Step> {
        let pending = PendingAction::new(0, false, Phase::Shutdown).then(HookEvent::LeaseLost);
        if let leave @ Step::Leave(_) = self.work(pending)? {
            return Ok(leave);
        }
        self.status(action);
        Ok(Step::Leave(exit::Bridge::Done))
    }

    fn shutdown_requested(&mut self, action: &'static str) -> Result<Step> {
        if self.checkpoints.lease_gone() {
            return Ok(self.status(action));
        }
        log::info!("the daemon asks for an orderly shutdown");
        self.handlers.finish(Finish::Orderly);
        self.checkpoints.last_chance();
        let pending = PendingAction::new(0, true, Phase::Shutdown).then(HookEvent::Shutdown);
        self.reach(pending, action)
    }

    fn shard_ended(&mut self, action: &'static str) -> Result<Step> {
        if !self.checkpoints.lease_gone() {
            log::info!("the shard has ended");
            self.checkpoints.shard_ended();
            self.handlers.finish(Finish::Orderly);
            self.checkpoints.last_chance();
            let pending = PendingAction::new(0, true, Phase::ShardEnd).then(HookEvent::ShardEnd);
            if let leave @ Step::Leave(_) = self.work(pending)? {
                return Ok(leave);
            }
        }
        if self.checkpoints.lease_gone() {
            return self.leave_lost(action);
        }
        self.status(action);
        Ok(Step::Leave(exit::Bridge::Done))
    }

    fn reach(&mut self, pending: PendingAction, action: &'static str) -> Result<Step> {
        match self.work(pending)? {
            Step::GoOn => Ok(self.status(action)),
            leave => Ok(leave),
        }
    }

    /// Works, and judges checkpoints, until the pending is reached: the one loop in which an action is
    /// under way.
    fn work(&mut self, mut pending: PendingAction) -> Result<Step> {
        loop {
            self.look();
            let now = self.clock.now();
            self.run_hook(&mut pending);
            let blocked = self.handlers.blocked().filter(|_| pending.left > 0);
            let wake = self.send(pending.phase(), blocked.as_ref(), now);
            // Looked at after sending: what falls due with the last record is on its way by now, and awaited.
            if pending.is_reached(&self.checkpoints) {
                return Ok(if pending.halted {
                    Step::Leave(exit::Bridge::Halted)
                } else {
                    Step::GoOn
                });
            }
            if self.wire.ended() {
                log::warn!(
                    "stdin closed while the daemon awaited an answer; records since the last checkpoint will be redelivered"
                );
                return Ok(Step::Leave(exit::Bridge::Done));
            }
            let watch_input = self.checkpoints.awaiting() || !self.wire.has_line();
            let until = wake.into_iter().chain(self.reporting.wake()).min();
            let event = self.handlers.wait(watch_input, until)?;
            if let Step::Leave(exit) = self.take_in(event, &mut pending)? {
                return Ok(Step::Leave(exit));
            }
        }
    }

    /// Runs the pending's hook, once the handlers have ended.
    fn run_hook(&mut self, pending: &mut PendingAction) {
        if !pending.finishing
            && let Some(hook_event) = pending.hook.take()
        {
            pending.hooking = self.handlers.hook(hook_event);
        }
    }

    fn take_in(&mut self, event: Event, pending: &mut PendingAction) -> Result<Step> {
        match event {
            Event::Input => {
                self.wire.fill();
                // Only the ack is taken while an action is open; any other line waits for its answer.
                if self.checkpoints.awaiting()
                    && let Some(line) = self.wire.take_line()
                {
                    return self.ack(line, pending);
                }
            }
            Event::Done { end, records } => {
                pending.left = pending.left.saturating_sub(records);
                self.checkpoints.advance(end, records);
            }
            Event::CheckpointRequested(position) => self.checkpoints.checkpoint_request(position),
            Event::Halted(why) => {
                log::error!("{why}: stopping the worker");
                pending.halt();
                self.checkpoints.last_chance();
            }
            Event::Signal(signal) => self.signalled(signal),
            Event::Finished => pending.finishing = false,
            Event::Hooked => pending.hooking = false,
            Event::Blocked | Event::Deadline => {}
        }
        Ok(Step::GoOn)
    }

    /// Tells those who watch how things stand, if that is due.
    fn look(&mut self) {
        let Some(due) = self.reporting.wake() else {
            return;
        };
        let now = self.clock.now();
        if now < due {
            return;
        }
        let snapshot = Snapshot {
            time: self.clock.time_of_day(),
            counters: self.handlers.counters(),
            checkpoints: self.checkpoints.results(),
            unsaved: self.checkpoints.ledger().unsaved(),
            since_checkpoint: now.saturating_duration_since(self.checkpoints.last()),
            blocked: self.handlers.blocked().map(|blocked| {
                let time = now.saturating_duration_since(blocked.since);
                (blocked.next, time)
            }),
            behind: self
                .reporting
                .behind(self.handlers.oldest(), self.clock.time_of_day()),
        };
        self.reporting.tell(&snapshot, now);
    }

    /// Says whatever is due; when there may be more by time alone.
    fn send(
        &mut self,
        phase: Phase,
        blocked: Option<&BlockedRecord>,
        now: Instant,
    ) -> Option<Instant> {
        loop {
            match self.checkpoints.poll(now, phase, blocked) {
                Due::Now(ToSay::Ask(request)) => self.ask(&request),
                Due::Now(ToSay::KeepAlive) => self.wire.write(&Reply::KeepAlive),
                Due::At(at) => return Some(at),
                Due::Never => return None,
            }
        }
    }

    fn ask(&mut self, request: &Request) {
        let at = match request {
            Request::Store(at) | Request::Repeat(at) => Some(at),
            Request::ShardEnd => None,
        };
        self.wire.write(&Reply::Checkpoint {
            sequence_number: at.map(|at| at.sequence_number.as_str()),
            sub_sequence_number: at.map(|at| at.sub_sequence_number),
        });
    }

    fn ack(&mut self, line: String, pending: &mut PendingAction) -> Result<Step> {
        let message = parse(&line)?;
        let Message::Checkpoint { error, .. } = message else {
            bail!(
                "the daemon sent '{}' instead of the answer to a checkpoint",
                message.action()
            );
        };
        match self
            .checkpoints
            .answered(self.clock.now(), error.as_deref())
        {
            Answered::GoOn => {}
            // Answering would say that the shard is done with; without an answer it is read again.
            Answered::ShardEndRefused => {
                log::error!(
                    "cannot checkpoint the end of the shard: {}",
                    error.as_deref().unwrap_or_default()
                );
                return Ok(Step::Leave(exit::Bridge::Protocol));
            }
            Answered::LeaseGone => {
                log::warn!("another worker has the lease: this shard's work stops here");
                self.handlers.finish(Finish::Stop);
                pending.lease_gone();
            }
        }
        Ok(Step::GoOn)
    }

    fn signalled(&mut self, signal: i32) {
        log::info!(
            "signal {signal}: finishing the work in progress; the daemon decides what follows"
        );
        self.checkpoints.drain(self.clock.now() + self.drain);
    }

    fn status(&mut self, action: &'static str) -> Step {
        self.wire.write(&Reply::Status {
            response_for: action,
        });
        Step::GoOn
    }

    fn stop_handlers(&mut self) -> Result<()> {
        self.handlers.finish(Finish::Stop);
        while self.handlers.wait(false, None)? != Event::Finished {}
        Ok(())
    }
}

impl PendingAction {
    fn new(left: u64, finishing: bool, last: Phase) -> PendingAction {
        PendingAction {
            left,
            finishing,
            hook: None,
            hooking: false,
            last,
            halted: false,
        }
    }

    /// With the user's hook behind the end of the handlers.
    fn then(self, hook_event: HookEvent) -> PendingAction {
        PendingAction {
            hook: Some(hook_event),
            ..self
        }
    }

    /// What the work is about now. The end of a shard is stored when its handlers have ended, and its hook
    /// has succeeded.
    fn phase(&self) -> Phase {
        match self.last {
            Phase::BatchEnd if self.left > 0 => Phase::Working,
            Phase::ShardEnd if self.finishing || self.hooking => Phase::Working,
            last @ (Phase::Working | Phase::BatchEnd | Phase::Shutdown | Phase::ShardEnd) => last,
        }
    }

    fn is_reached(&self, checkpoints: &Checkpoints) -> bool {
        let stored = self.last != Phase::ShardEnd
            || checkpoints.shard_end_stored()
            || checkpoints.lease_gone();
        let over = self.left == 0 && !self.finishing && !self.hooking;
        over && stored && !checkpoints.in_round()
    }

    /// No more records; what is done is stored, and then we leave.
    fn halt(&mut self) {
        *self = PendingAction {
            halted: true,
            ..PendingAction::new(0, true, Phase::Shutdown)
        };
    }

    /// Handlers are being stopped; then the action is answered.
    fn lease_gone(&mut self) {
        self.left = 0;
        self.finishing = true;
        (self.hook, self.hooking) = (None, false);
    }
}

fn parse(line: &str) -> Result<Message<'_>> {
    let message = Message::parse(line)?;
    let action = message.action();
    log::debug!(
        "from the daemon: {action}, {}",
        plural(line.len() as u64, "byte")
    );
    Ok(message)
}

/// Where the lease begins; KCL before 1.7.2 does not say.
fn start(sequence_number: Option<&str>, sub_sequence_number: Option<u64>) -> Start {
    let name = sequence_number.unwrap_or("a position that this KCL does not report");
    let stored = Position::new(name, sub_sequence_number.unwrap_or(0));
    stored.map_or_else(|| Start::Sentinel(name.to_owned()), Start::After)
}

fn hear(line: String) -> Result<Heard> {
    let message = parse(&line)?;
    let action = message.action();
    let other = |what| Ok(Heard::Other { action, what });
    match message {
        Message::ProcessRecords {
            records,
            millis_behind_latest,
        } => {
            // The records borrow the line; the layout has their places, so that the batch can own it.
            let layout = Layout::find(&line, &records)?;
            drop(records);
            Ok(Heard::Batch(Batch::new(line, layout, millis_behind_latest)))
        }
        Message::Initialize {
            shard_id,
            sequence_number,
            sub_sequence_number,
        } => Ok(Heard::Initialize {
            shard_id: shard_id.to_string(),
            start: start(sequence_number.as_deref(), sub_sequence_number),
        }),
        Message::Checkpoint { .. } => other(Other::Ack),
        Message::LeaseLost
        | Message::Shutdown {
            reason: Shutdown::Zombie,
        } => other(Other::LeaseLost),
        Message::ShardEnded
        | Message::Shutdown {
            reason: Shutdown::Terminate,
        } => other(Other::ShardEnded),
        Message::ShutdownRequested => other(Other::ShutdownRequested),
    }
}
