//! The bridge: what the daemon says, to the handlers; what comes of it, to the ledger; and an answer.
//!
//! There is one loop, whether the daemon awaits an answer or not: handlers may be at work in between. In each
//! turn:
//!
//! 1. the daemon's next message is taken, if none is open;
//! 2. what is due is sent, which the daemon takes only while it awaits an answer;
//! 3. the open action is answered, if all is over that it waits for. That is looked at after sending: what falls
//!    due with the last record is on its way by then, and awaited;
//! 4. the loop sleeps until something happens.

mod heard;
mod overdue;
mod pending;
mod until;
mod worker;

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};

use crate::checkpoint::{Answered, BlockedRecord, Checkpoints, Request, Start, ToSay};
use crate::clock::Clock;
use crate::due::Due;
use crate::exit;
use crate::handler::{Event, Finish, First, Handlers, Read};
use crate::plural::plural;
use crate::protocol::{Message, Reply, Wire};
use crate::record::Batch;
use crate::reporting::{Reporting, Snapshot, age};
use heard::{Heard, Other, hear, parse};
use overdue::Overdue;
use pending::{Answer, Kind, LOOK_AGAIN, PendingAction, Search, Stage};
use until::Until;
use worker::Worker;

/// The time between two looks for a command that cannot be run.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How long a halt waits for the daemon's next message, in which what is done can be stored.
const HALT: Duration = Duration::from_secs(60);

/// What the daemon sends sooner than this after our answer may have been read long before.
const FRESH: Duration = Duration::from_millis(100);

/// How long handlers may go on after a request to shut down, if nobody says.
const DRAIN: Duration = Duration::from_secs(15);

/// One shard's conversation with the daemon.
pub struct Bridge<'a> {
    wire: Wire<'a>,
    handlers: &'a mut dyn Handlers,
    checkpoints: Checkpoints,
    clock: &'a dyn Clock,
    /// After a signal, what is done is stored step by step for this long.
    storing: Duration,
    /// How long handlers may go on with what they have after a request to shut down.
    drain: Duration,
    reporting: Reporting,
    initialized: bool,
    pending: Option<PendingAction>,
    /// When the daemon was answered last.
    answered: Option<Instant>,
    /// A handler asked to stop the worker; when we leave if nothing comes.
    halted: Option<Instant>,
    /// Records were dropped at a request to shut down: those after them are not taken in.
    dropped: bool,
    overdue: Overdue,
    until: Until,
    worker: Worker<'a>,
}

/// How the conversation goes on.
enum Step {
    /// There may be more to do at once.
    Again,
    /// Nothing is to be done before something happens.
    Sleep,
    /// Not at all.
    Leave(exit::Bridge),
}

impl<'a> Bridge<'a> {
    /// A bridge between the daemon and `handlers`; `storing` is for how long what is done is stored step by
    /// step after a signal.
    pub fn new(
        wire: Wire<'a>,
        handlers: &'a mut dyn Handlers,
        checkpoints: Checkpoints,
        clock: &'a dyn Clock,
        storing: Duration,
    ) -> Bridge<'a> {
        Bridge {
            wire,
            handlers,
            checkpoints,
            clock,
            storing,
            drain: DRAIN,
            reporting: Reporting::default(),
            initialized: false,
            pending: None,
            answered: None,
            halted: None,
            dropped: false,
            overdue: Overdue::default(),
            until: Until::default(),
            worker: Worker::default(),
        }
    }

    /// The same; handlers may go on for this long after a request to shut down.
    pub fn drained_for(self, drain: Duration) -> Bridge<'a> {
        Bridge { drain, ..self }
    }

    /// The same; a halt asks the daemon to stop by `ask`, which says whether it could, and then waits this long for
    /// what it sends.
    pub fn stops_worker(self, ask: &'a dyn Fn() -> bool, patience: Option<Duration>) -> Bridge<'a> {
        let worker = Worker::new(ask, patience.unwrap_or(HALT));
        Bridge { worker, ..self }
    }

    /// The same; records that arrived at this time or later are not handed over.
    pub fn until(self, end: Option<SystemTime>) -> Bridge<'a> {
        let until = end.map(Until::new).unwrap_or_default();
        Bridge { until, ..self }
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
        loop {
            self.look();
            let now = self.clock.now();
            if let Step::Leave(exit) = self.listen(now)? {
                return Ok(exit);
            }
            let wake = self.send(now);
            match self.proceed(now) {
                Step::Leave(exit) => return Ok(exit),
                Step::Again => continue,
                Step::Sleep => {}
            }
            if let Some(exit) = self.cut_off() {
                return Ok(exit);
            }
            let watch_input = self.checkpoints.awaiting() || !self.wire.has_line();
            let until = wake.into_iter().chain(self.reporting.wake()).min();
            let event = self.handlers.wait(watch_input, until)?;
            self.take_in(event);
        }
    }

    /// Takes what the daemon said: its next message if none is open, or the answer to a checkpoint. Any other
    /// line waits.
    fn listen(&mut self, now: Instant) -> Result<Step> {
        if self.pending.is_some() {
            if self.checkpoints.awaiting()
                && let Some(line) = self.wire.take_line()
            {
                return self.ack(&line);
            }
            return Ok(Step::Again);
        }
        if let Some(line) = self.wire.take_line() {
            self.open(line, now)?;
        } else if self.wire.ended() {
            log::info!("the daemon closed stdin");
            return Ok(Step::Leave(match self.halted {
                Some(_) => exit::Bridge::Halted,
                None => exit::Bridge::Done,
            }));
        } else if self.halted.is_some_and(|leave_at| now >= leave_at) {
            log::error!(
                "the daemon has sent nothing for {} s since the halt: leaving; records since the last checkpoint will be redelivered",
                self.worker.patience.as_secs()
            );
            return Ok(Step::Leave(exit::Bridge::Halted));
        }
        Ok(Step::Again)
    }

    /// The exit, where the daemon's input ended while it awaited an answer.
    fn cut_off(&self) -> Option<exit::Bridge> {
        let pending = self.pending.as_ref().filter(|_| self.wire.ended())?;
        // Nothing was taken in before the handler is found.
        if !matches!(
            (&pending.kind, pending.stage),
            (Kind::Initialize(_), Stage::Work)
        ) {
            log::warn!(
                "stdin closed while the daemon awaited an answer; records since the last checkpoint will be redelivered"
            );
        }
        Some(
            // Whatever the daemon sends after a halt is one, too.
            if matches!(pending.kind, Kind::Halt(_)) {
                exit::Bridge::Halted
            } else {
                exit::Bridge::Done
            },
        )
    }

    /// Takes up a message.
    fn open(&mut self, line: String, now: Instant) -> Result<()> {
        let heard = hear(line)?;
        self.checkpoints.heard(now);
        self.overdue.heard();
        match heard {
            Heard::Initialize { shard_id, start } => self.initialize(shard_id, start, now)?,
            _ if !self.initialized => bail!("the daemon sent work before 'initialize'"),
            Heard::Other {
                action,
                what: Other::Ack,
            } => bail!("the daemon sent a '{action}' that nothing asked for"),
            Heard::Batch(_) if self.halted.is_some() => {
                self.halt("processRecords", Answer::Possible, now)
            }
            Heard::Batch(batch) => self.process_records(batch, now),
            Heard::Other { action, what } => self.end(action, what, now),
        }
        Ok(())
    }

    fn pend(&mut self, name: &'static str, kind: Kind, stage: Stage, now: Instant) {
        self.pending = Some(PendingAction::new(name, kind, stage, now));
    }

    fn initialize(&mut self, shard_id: String, start: Start, now: Instant) -> Result<()> {
        if self.initialized {
            bail!("the daemon sent 'initialize' a second time");
        }
        self.initialized = true;
        crate::logging::set_shard(&shard_id);
        match &start {
            Start::After(position) => log::info!("lease acquired; resuming after {position}"),
            Start::Sentinel(name) => log::info!("lease acquired; starting at {name}"),
        }
        self.until.announce();
        self.reporting.begin(&shard_id, now);
        let search = Search::new(shard_id, start, now);
        self.pend("initialize", Kind::Initialize(search), Stage::Work, now);
        Ok(())
    }

    fn process_records(&mut self, batch: Batch, now: Instant) {
        let kind = if self.checkpoints.lease_gone() {
            Kind::Stopped
        } else {
            Kind::Records
        };
        if !self.checkpoints.lease_gone() {
            self.take_batch(batch, now);
        }
        self.pend("processRecords", kind, Stage::Last, now);
    }

    fn take_batch(&mut self, mut batch: Batch, now: Instant) {
        self.until.cut(&mut batch);
        self.reporting.read_behind(batch.millis_behind_latest);
        let behind = batch
            .millis_behind_latest
            .map_or("?".to_owned(), |millis| millis.to_string());
        let records = plural(batch.len() as u64, "record");
        log::debug!("{records}, {behind} ms behind the tip");
        if let Some(last) = batch.last() {
            self.checkpoints.delivered(last);
        }
        // Behind what was dropped there would be a gap.
        if !self.dropped {
            let answered = self.answered;
            self.handlers.offer(Read {
                batch,
                first: if self.checkpoints.is_unprotected() {
                    First::Alone
                } else {
                    First::WithOthers
                },
                fresh: answered.is_none_or(|answered| now >= answered + FRESH),
            });
        }
    }

    /// The lease, the shard or the worker comes to its end. A handler may have asked to halt before: then
    /// what is done is stored, if the lease still is ours, and the worker is stopped.
    fn end(&mut self, action: &'static str, what: Other, now: Instant) {
        let halted = self.halted.is_some();
        match what {
            Other::LeaseLost => self.checkpoints.lose_lease(),
            Other::ShardEnded => self.checkpoints.shard_ended(),
            Other::ShutdownRequested | Other::Ack => {}
        }
        match what {
            Other::ShardEnded if halted => self.halt(action, Answer::Wrong, now),
            _ if halted => self.halt(action, Answer::Possible, now),
            Other::LeaseLost => self.lease_lost(action, now),
            Other::ShardEnded if self.checkpoints.lease_gone() => {
                // Handlers were stopped when that was found.
                let mut pending = PendingAction::new(action, Kind::LeaseLost, Stage::Work, now);
                self.run_hook(&mut pending);
                self.pending = Some(pending);
            }
            Other::ShardEnded => {
                log::info!("the shard has ended");
                self.handlers.shard_ended();
                self.pend(action, Kind::ShardEnd, Stage::Work, now);
            }
            Other::ShutdownRequested | Other::Ack => self.shutdown_requested(action, now),
        }
    }

    fn halt(&mut self, action: &'static str, answer: Answer, now: Instant) {
        self.checkpoints.last_chance();
        self.pend(action, Kind::Halt(answer), Stage::Last, now);
    }

    fn lease_lost(&mut self, action: &'static str, now: Instant) {
        log::info!("lease lost");
        self.handlers.finish(Finish::Stop);
        self.pend(action, Kind::LeaseLost, Stage::Finishing, now);
    }

    fn shutdown_requested(&mut self, action: &'static str, now: Instant) {
        if self.checkpoints.lease_gone() {
            return self.pend(action, Kind::Stopped, Stage::Last, now);
        }
        log::info!("the daemon asks for an orderly shutdown");
        self.handlers.finish(Finish::Drain(now + self.drain));
        self.checkpoints.last_chance();
        self.pend(action, Kind::Shutdown, Stage::Finishing, now);
    }

    /// Brings the open action a step further, if what it waits for is over.
    fn proceed(&mut self, now: Instant) -> Step {
        let Some(mut pending) = self.pending.take() else {
            return Step::Sleep;
        };
        if pending.stage == Stage::Last && self.is_over(&pending.kind) {
            return self.answer(pending, now);
        }
        let before = pending.stage;
        let left = self.advance(&mut pending, now);
        let moved = pending.stage != before;
        self.pending = Some(pending);
        match left {
            Some(exit) => Step::Leave(exit),
            None if moved => Step::Again,
            None => Step::Sleep,
        }
    }

    /// Goes on from a stage whose end nothing tells of; an exit, where it cannot.
    fn advance(&mut self, pending: &mut PendingAction, now: Instant) -> Option<exit::Bridge> {
        match (pending.stage, &mut pending.kind) {
            (Stage::Work, Kind::Initialize(search)) if now >= search.look_at => {
                match find(self.handlers, search, now) {
                    Find::There => self.run_hook(pending),
                    Find::Later => {}
                    Find::Never => return Some(exit::Bridge::Config),
                }
            }
            (Stage::Work, Kind::ShardEnd) if !self.handlers.holds_any() => {
                self.checkpoints.last_chance();
                if self.until.is_complete() == Some(true) {
                    log::info!(
                        "the shard has ended, and is complete (--until): leaving the daemon without an answer, for the shards after it have nothing before that time"
                    );
                    pending.kind = Kind::Complete;
                } else if self.checkpoints.is_all_done() {
                    self.handlers.finish(Finish::Orderly);
                    pending.stage = Stage::Finishing;
                } else {
                    // What was dropped is not done, and would never be read again.
                    log::error!(
                        "the shard has ended, but records of it were dropped: leaving without an answer, so that it is read again"
                    );
                    (pending.kind, pending.stage) = (Kind::Halt(Answer::Wrong), Stage::Last);
                }
            }
            _ => {}
        }
        None
    }

    /// Whether everything is over that an action waits for in its last stage.
    fn is_over(&self, kind: &Kind) -> bool {
        let checkpoints = &self.checkpoints;
        match kind {
            // Until something is stored a restart would skip what was sent, so no more is asked for.
            Kind::Records if checkpoints.is_unprotected() && self.handlers.holds_any() => false,
            Kind::Records if self.handlers.reads_ahead() => {
                (self.dropped || self.handlers.has_room()) && !checkpoints.awaiting()
            }
            Kind::Records => !self.handlers.holds_any() && !checkpoints.in_round(),
            Kind::ShardEnd => checkpoints.shard_end_stored(),
            Kind::Complete => false,
            Kind::Initialize(_)
            | Kind::Shutdown
            | Kind::LeaseLost
            | Kind::Stopped
            | Kind::Halt(_) => !checkpoints.in_round(),
        }
    }

    /// Answers an action, or leaves without.
    fn answer(&mut self, pending: PendingAction, now: Instant) -> Step {
        match &pending.kind {
            Kind::Halt(Answer::Wrong) => return Step::Leave(exit::Bridge::Halted),
            Kind::Halt(Answer::Possible) if !self.worker.stops() => {
                return Step::Leave(exit::Bridge::Halted);
            }
            // It asks each of its children to finish now, and ends by itself. One that goes on all the same is
            // left without an answer in the end: its records are not taken in.
            Kind::Halt(Answer::Possible) => {
                let leave_at = *self.halted.get_or_insert(now + self.worker.patience);
                if now >= leave_at {
                    log::error!(
                        "the daemon goes on, though it was asked to stop: leaving without an answer, which ends it; records since the last checkpoint will be redelivered"
                    );
                    return Step::Leave(exit::Bridge::Halted);
                }
            }
            // Not before: the daemon takes no checkpoint in answer to `initialize`.
            Kind::Initialize(search) => self.checkpoints.begin(&search.start, now),
            Kind::Shutdown => self.dropped = !self.checkpoints.is_all_done(),
            Kind::Records | Kind::ShardEnd | Kind::Complete | Kind::LeaseLost | Kind::Stopped => {}
        }
        self.wire.write(&Reply::Status {
            response_for: pending.name,
        });
        self.answered = Some(now);
        if matches!(pending.kind, Kind::ShardEnd | Kind::LeaseLost) {
            Step::Leave(exit::Bridge::Done)
        } else {
            Step::Again
        }
    }

    /// Runs the hook of the open action; without one, only checkpoints are awaited.
    fn run_hook(&mut self, pending: &mut PendingAction) {
        let hook = pending.hook();
        pending.stage = match hook.is_some_and(|hook_event| self.handlers.hook(hook_event)) {
            true => Stage::Hooking,
            false => Stage::Last,
        };
    }

    fn take_in(&mut self, event: Event) {
        match event {
            Event::Input => self.wire.fill(),
            Event::Done {
                end,
                records,
                batch_ended,
            } => {
                self.checkpoints.advance(end, records);
                if batch_ended {
                    self.checkpoints.batch_ended();
                }
            }
            Event::CheckpointRequested(position) => self.checkpoints.checkpoint_request(position),
            Event::Halted(why) => self.halted(&why),
            Event::Signal(signal) => self.signalled(signal),
            Event::Finished => self.stage_is_over(Stage::Finishing),
            Event::Hooked => self.stage_is_over(Stage::Hooking),
            Event::Blocked | Event::Room | Event::Deadline => {}
        }
    }

    /// What the open action waited for in this stage is over.
    fn stage_is_over(&mut self, stage: Stage) {
        if let Some(mut pending) = self.pending.take_if(|pending| pending.stage == stage) {
            match stage {
                Stage::Finishing => self.run_hook(&mut pending),
                Stage::Work | Stage::Hooking | Stage::Last => pending.stage = Stage::Last,
            }
            self.pending = Some(pending);
        }
    }

    /// A handler asks to stop the worker. What is done can be stored only while an action is open.
    fn halted(&mut self, why: &str) {
        if let Some(pending) = &mut self.pending {
            log::error!("{why}: stopping the worker");
            pending.halt();
            self.checkpoints.last_chance();
        } else {
            log::error!("{why}: stopping the worker at the daemon's next message");
            // Where it cannot be asked, its next message is left without an answer.
            self.worker.stops();
            self.halted = Some(self.clock.now() + self.worker.patience);
        }
    }

    /// Tells those who watch how things stand, if that is due.
    fn look(&mut self) {
        let now = self.clock.now();
        if !self.reporting.is_due(now) {
            return;
        }
        let time = self.clock.time_of_day();
        let oldest = self.handlers.oldest();
        let oldest = oldest.and_then(|arrived| age(arrived, time));
        let snapshot = Snapshot {
            time,
            counters: self.handlers.counters(),
            checkpoints: self.checkpoints.results(),
            unsaved: self.checkpoints.ledger().unsaved(),
            since_checkpoint: now.saturating_duration_since(self.checkpoints.last()),
            blocked: self.handlers.blocked().map(|blocked| {
                let time = now.saturating_duration_since(blocked.since);
                (blocked.next, time)
            }),
            behind: self.reporting.behind(oldest),
            oldest,
            complete: self.until.is_complete(),
        };
        self.reporting.tell(&snapshot, now);
    }

    /// Says whatever is due; when there may be more by time alone. Without an open action nothing can be said.
    fn send(&mut self, now: Instant) -> Option<Instant> {
        let Some(pending) = &self.pending else {
            let overdue = self.overdue.judge(self.checkpoints.awaits_action(now), now);
            return overdue.into_iter().chain(self.halted).min();
        };
        let phase = pending.phase();
        let search = pending.look_at();
        let blocked = self.blocked(pending);
        loop {
            let wake = match self.checkpoints.poll(now, phase, blocked.as_ref()) {
                Due::Now(ToSay::Ask(request)) => {
                    self.ask(&request);
                    continue;
                }
                Due::Now(ToSay::KeepAlive) => {
                    self.wire.write(&Reply::KeepAlive);
                    continue;
                }
                Due::At(at) => Some(at),
                Due::Never => None,
            };
            return wake.into_iter().chain(search).min();
        }
    }

    /// The record that the open action waits for. While actions are answered KCL tells by itself that a lease
    /// is lost.
    fn blocked(&self, pending: &PendingAction) -> Option<BlockedRecord> {
        let blocked = self.handlers.blocked()?;
        Some(BlockedRecord {
            since: blocked.since.max(pending.opened),
            ..blocked
        })
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

    fn ack(&mut self, line: &str) -> Result<Step> {
        let message = parse(line)?;
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
                if let Some(pending) = &mut self.pending {
                    pending.lease_gone();
                }
            }
        }
        Ok(Step::Again)
    }

    fn signalled(&mut self, signal: i32) {
        log::info!(
            "signal {signal}: finishing the work in progress; the daemon decides what follows"
        );
        self.checkpoints.drain(self.clock.now() + self.storing);
    }

    fn stop_handlers(&mut self) -> Result<()> {
        self.handlers.finish(Finish::Stop);
        while self.handlers.wait(false, None)? != Event::Finished {}
        Ok(())
    }
}

/// What came of a look for the handler's command.
enum Find {
    There,
    Later,
    Never,
}

/// Looks for the handler's command.
fn find(handlers: &mut dyn Handlers, search: &mut Search, now: Instant) -> Find {
    let Err(e) = handlers.begin(&search.shard_id) else {
        return Find::There;
    };
    if now >= search.give_up_at {
        log::error!("{e:#}; giving up");
        return Find::Never;
    }
    if !std::mem::replace(&mut search.said, true) {
        log::error!("{e:#}; looking again for {} s", LOOK_AGAIN.as_secs());
    }
    search.look_at = now + LOOK_EVERY;
    Find::Later
}
