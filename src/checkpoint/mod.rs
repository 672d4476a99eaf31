//! Checkpoints: what to ask the daemon to store, and when. Pure: no I/O, and the clock is an argument.
//!
//! What must not change, for a record would be lost, and why:
//!
//! - Nothing is sent beyond the run that [`Ledger`] keeps, but for the lease probe, which passes no record: it lies
//!   between the run's end and the next record.
//! - A position is always named. Without one, KCL stores the last that it delivered, done or not. Only
//!   [`Request::ShardEnd`] is without, and is made here alone, at [`Phase::ShardEnd`].
//! - Once the shard has ended, KCL stores the last delivered position as the shard's end, so it is not sent.
//! - One request at a time, and it counts as stored when its ack says so, never when it is sent: the daemon may die
//!   in between.
//! - What is due and what wakes us are one answer, [`Checkpoints::poll`]: else something is slept through.
//!
//! A round is one request until it is stored or has failed for good; the action stays open meanwhile, for KCL takes
//! checkpoints only while it awaits an answer.

mod ledger;
mod response;
mod strategy;

use std::time::{Duration, Instant};

pub(crate) use ledger::Ledger;
pub(crate) use response::Response;
pub use strategy::Strategy;

use crate::backoff::Delays;
use crate::due::Due;
use crate::record::Position;

/// Attempts at one checkpoint before the lease table is left alone for a while.
const ATTEMPTS: u32 = 5;

/// How long a record must have been retried before the lease is probed, and the time between probes.
const PROBE_AFTER: Duration = Duration::from_secs(30);

/// Where a lease begins, as `initialize` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// After the record at this position, which the lease table holds.
    After(Position),
    /// At a sentinel, by its name in KCL (`InitialPositionInStream`, `SentinelCheckpoint.java`).
    Sentinel(String),
}

impl Start {
    /// The stored position, if there is one.
    pub fn stored(&self) -> Option<&Position> {
        match self {
            Start::After(position) => Some(position),
            Start::Sentinel(_) => None,
        }
    }

    /// Whether a restart would begin at the tip of that time: what came before it would be skipped.
    fn is_latest(&self) -> bool {
        *self == Start::Sentinel("LATEST".to_owned())
    }
}

/// What the bridge is doing, as far as checkpoints care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Records are being worked on.
    Working,
    /// The daemon asked for an orderly shutdown.
    Shutdown,
    /// The shard has ended and every record of it is done.
    ShardEnd,
}

/// A record that is being tried again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockedRecord {
    /// When its first attempt failed.
    pub since: Instant,
    /// The record.
    pub next: Position,
    /// The first record after all that may be stored: this one, or the first of its batch where only ends of
    /// batches are stored.
    pub after: Position,
}

/// Something to send to the daemon that it answers with an ack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Store this position.
    Store(Position),
    /// Store `SHARD_END`.
    ShardEnd,
    /// The stored position once more, which writes nothing but restarts the daemon's timer
    /// (`ShardRecordProcessorCheckpointer.java:304`).
    Repeat(Position),
}

/// What to say to the daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToSay {
    /// This, which it answers with an ack.
    Ask(Request),
    /// Something that only restarts its timer.
    KeepAlive,
}

/// What an answer leaves to do for the bridge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answered {
    /// Go on; also after a failure, which is tried again by itself.
    GoOn,
    /// The lease is gone: stop all work.
    LeaseGone,
    /// `SHARD_END` will never be stored: leave without an answer.
    ShardEndRefused,
}

/// How often the daemon gave each answer to a checkpoint; what the keep-alive repeats is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// It is stored.
    pub stored: u64,
    /// It failed, and is tried again.
    pub failed: u64,
    /// It will never be stored.
    pub refused: u64,
    /// The lease is gone.
    pub lease_lost: u64,
}

/// The checkpoints of one lease.
pub struct Checkpoints {
    strategy: Strategy,
    delays: Delays,
    keepalive: Option<Duration>,
    ledger: Ledger,
    /// The lease has the sentinel `LATEST` in place of a position.
    at_latest: bool,
    /// The last record that the daemon sent.
    delivered: Option<Position>,
    /// The daemon said that the shard has ended.
    shard_ended: bool,
    /// When the last one was stored, or the lease began.
    last: Instant,
    /// When the daemon last heard of us, for the keep-alive.
    heard: Instant,
    in_flight: Option<Request>,
    /// A round has begun: the same again until it is stored, or has failed for good.
    in_round: bool,
    failures: u32,
    not_before: Option<Instant>,
    /// A value that the daemon will never take.
    refused: Option<Position>,
    /// Until then every step of the run is stored at once: a stop may be near.
    draining: Option<Instant>,
    lease_gone: bool,
    shard_end_stored: bool,
    /// The end of the last batch that is done.
    batch_end: Option<Position>,
    results: Results,
}

impl Checkpoints {
    /// No lease yet; `delays` are those between the attempts of a round.
    pub fn new(
        strategy: Strategy,
        delays: Delays,
        keepalive: Option<Duration>,
        now: Instant,
    ) -> Checkpoints {
        Checkpoints {
            strategy,
            delays,
            keepalive,
            ledger: Ledger::default(),
            // Until `begin` there is no lease, and so no sentinel of one.
            at_latest: false,
            delivered: None,
            shard_ended: false,
            last: now,
            heard: now,
            in_flight: None,
            in_round: false,
            failures: 0,
            not_before: None,
            refused: None,
            draining: None,
            lease_gone: false,
            shard_end_stored: false,
            batch_end: None,
            results: Results::default(),
        }
    }

    /// A lease begins.
    pub fn begin(&mut self, start: &Start, now: Instant) {
        self.ledger = Ledger::new(start.stored().cloned());
        self.at_latest = start.is_latest();
        self.last = now;
    }

    /// The daemon sent records up to this one.
    pub fn delivered(&mut self, last: Position) {
        self.delivered = self.delivered.take().max(Some(last));
    }

    /// The daemon says that the shard has ended. From now on KCL stores the position that it delivered
    /// last as `SHARD_END` (`ShardRecordProcessorCheckpointer.java`, `sequenceNumberAtShardEnd`), so that
    /// one is not sent any more: the end of the shard is earned by its hook, too.
    pub fn shard_ended(&mut self) {
        self.shard_ended = true;
    }

    /// Whether a restart would skip what was delivered: the lease is at `LATEST`, and nothing is stored.
    pub fn is_unprotected(&self) -> bool {
        self.at_latest && !self.strategy.manual && self.ledger.stored_position().is_none()
    }

    /// The run now ends at `end`, `records` further than before.
    pub fn advance(&mut self, end: Position, records: u64) {
        self.ledger.advance(end, records);
    }

    /// A batch is done, with the last record that [`Checkpoints::advance`] was told of.
    pub fn batch_ended(&mut self) {
        self.batch_end = self.ledger.done_through().cloned();
    }

    /// Whether every record that the daemon sent is done.
    pub fn is_all_done(&self) -> bool {
        self.delivered.is_none() || self.delivered.as_ref() <= self.ledger.done_through()
    }

    /// Whether something is to be stored, once the daemon calls: it takes checkpoints only while it awaits an
    /// answer.
    pub fn awaits_action(&self, now: Instant) -> Due<()> {
        if self.lease_gone || self.in_flight.is_some() {
            return Due::Never;
        }
        self.request(now, Phase::Working, None).map(|_| ())
    }

    /// The handler asks for a checkpoint at `position`.
    pub fn checkpoint_request(&mut self, position: Position) {
        self.ledger.checkpoint_request(position);
    }

    /// Until `until` the run is stored as far as it goes, whatever the strategy says (but
    /// `--checkpoint-manual`).
    pub fn drain(&mut self, until: Instant) {
        self.draining = Some(until);
    }

    /// The last chance to checkpoint begins: a pause after a failed round does not count any more.
    pub fn last_chance(&mut self) {
        self.not_before = None;
        self.failures = 0;
    }

    /// The lease is gone: nothing is sent any more.
    pub fn lose_lease(&mut self) {
        self.lease_gone = true;
        self.in_round = false;
    }

    /// Whether the lease was found gone.
    pub fn lease_gone(&self) -> bool {
        self.lease_gone
    }

    /// Whether `SHARD_END` is stored.
    pub fn shard_end_stored(&self) -> bool {
        self.shard_end_stored
    }

    /// Whether an ack is awaited.
    pub fn awaiting(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether a round is under way, so that the action may not be answered yet.
    pub fn in_round(&self) -> bool {
        self.in_round || self.in_flight.is_some()
    }

    /// The end of the run and the last stored position, for a log line.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// How often the daemon gave each answer.
    pub fn results(&self) -> Results {
        self.results
    }

    /// When the last one was stored, or the lease began.
    pub fn last(&self) -> Instant {
        self.last
    }

    /// The daemon is given work, or was sent something: the keep-alive starts again.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// What to say to the daemon now, or when there may be something by time alone. What is due now counts as
    /// said: for a request [`Checkpoints::answered`] must follow.
    pub fn poll(
        &mut self,
        now: Instant,
        phase: Phase,
        blocked: Option<&BlockedRecord>,
    ) -> Due<ToSay> {
        if self.in_flight.is_none() && self.request(now, phase, blocked) == Due::Never {
            // A probe that failed is not wanted any more once its record is out of the way, or we leave.
            self.in_round = false;
        }
        let due = self.due(now, phase, blocked);
        if let Due::Now(what) = &due {
            self.heard = now;
            if let ToSay::Ask(request) = what {
                self.asked(request);
            }
        }
        due
    }

    fn asked(&mut self, request: &Request) {
        if let Request::Store(position) = request {
            self.ledger.ask(position);
        }
        // A keep-alive is no round: nobody waits for it, and it is not tried again.
        self.in_round |= !matches!(request, Request::Repeat(_));
        self.in_flight = Some(request.clone());
    }

    /// What is due, and when: the one place that knows.
    fn due(&self, now: Instant, phase: Phase, blocked: Option<&BlockedRecord>) -> Due<ToSay> {
        if self.in_flight.is_some() {
            return Due::Never;
        }
        let keepalive = Due::from(self.keepalive.map(|every| self.heard + every), now, ());
        // While the lease table is left alone, nothing is asked of it.
        let paused = self.not_before.is_some_and(|pause| now < pause);
        let keepalive = keepalive.map(|()| {
            if paused {
                ToSay::KeepAlive
            } else {
                self.repeat()
            }
        });
        if self.lease_gone || self.shard_end_stored {
            return keepalive.map(|_| ToSay::KeepAlive);
        }
        let request = self.request(now, phase, blocked);
        let request = request.not_before(self.not_before, now);
        request.map(ToSay::Ask).or(keepalive)
    }

    /// What is to be asked of the lease table, but for a pause.
    fn request(&self, now: Instant, phase: Phase, blocked: Option<&BlockedRecord>) -> Due<Request> {
        match phase {
            // Whatever led here: what is not done would never be read again.
            Phase::ShardEnd if self.is_all_done() => Due::Now(Request::ShardEnd),
            Phase::Working | Phase::Shutdown | Phase::ShardEnd => self
                .position_due(now, phase)
                .or(self.probe(now, blocked))
                .map(Request::Store),
        }
    }

    /// The daemon answered what [`Checkpoints::poll`] returned.
    pub fn answered(&mut self, now: Instant, error: Option<&str>) -> Answered {
        let Some(request) = self.in_flight.take() else {
            return Answered::GoOn;
        };
        let response = Response::of(error);
        if !matches!(request, Request::Repeat(_)) {
            self.results.count(response);
        }
        match (response, request) {
            (Response::Stored, request) => self.stored(now, request),
            (Response::TryAgain, request) => self.failed(now, &request, error),
            (Response::LeaseGone, _) => {
                self.lose_lease();
                Answered::LeaseGone
            }
            // Any other value may be left unsaved, for the run goes further; behind the end comes nothing.
            (Response::Never, Request::ShardEnd) => Answered::ShardEndRefused,
            (Response::Never, Request::Store(position) | Request::Repeat(position)) => {
                log::error!(
                    "the daemon refused the checkpoint at {position}: {}; the last stored one is {}",
                    error.unwrap_or_default(),
                    shown(self.ledger.stored_position())
                );
                self.refused = Some(position);
                self.end_round();
                Answered::GoOn
            }
        }
    }

    fn position_due(&self, now: Instant, phase: Phase) -> Due<Position> {
        let sendable = |position: &&Position| self.may_send(position);
        let end = self.ledger.unsaved_end().filter(|_| !self.strategy.manual);
        if let Some(requested) = self.ledger.requested() {
            let position = Some(end.unwrap_or(requested)).filter(sendable);
            return position.cloned().map_or(Due::Never, Due::Now);
        }
        let Some(end) = end.filter(sendable) else {
            return Due::Never;
        };
        let at_once = self.in_round
            || phase == Phase::Shutdown
            || self.is_unprotected()
            || self.draining.is_some_and(|until| now < until);
        let due = if at_once {
            Due::Now(())
        } else {
            let batch_ended = self.batch_end.as_ref() > self.ledger.stored_position();
            self.strategy.due(&self.ledger, self.last, now, batch_ended)
        };
        due.map(|()| end.clone())
    }

    /// Whether the daemon would take this position, and for what it is.
    fn may_send(&self, position: &Position) -> bool {
        let is_end = self.shard_ended && Some(position) == self.delivered.as_ref();
        !is_end && Some(position) != self.refused.as_ref()
    }

    /// A checkpoint just behind the run's end, which KCL must write: a lease that was lost without a word
    /// shows as `ShutdownException`.
    fn probe(&self, now: Instant, blocked: Option<&BlockedRecord>) -> Due<Position> {
        let probe = blocked.and_then(|blocked| Some((blocked, self.probe_position(blocked)?)));
        match probe {
            Some((blocked, position)) => {
                let at = blocked.since.max(self.last) + PROBE_AFTER;
                Due::from(Some(at), now, position)
            }
            None => Due::Never,
        }
    }

    fn probe_position(&self, blocked: &BlockedRecord) -> Option<Position> {
        let run = self.ledger.done_through()?;
        let stored = self
            .ledger
            .stored_position()
            .filter(|stored| stored.sequence_number == run.sequence_number);
        if self.strategy.manual && stored.is_none_or(|stored| stored < run) {
            return None;
        }
        let last = stored.max(Some(run))?;
        let probe = Position {
            sub_sequence_number: last.sub_sequence_number.checked_add(1)?,
            ..last.clone()
        };
        let next = &blocked.after;
        let clear = *next > probe && next.sequence_number != run.sequence_number;
        (clear && self.may_send(&probe)).then_some(probe)
    }

    /// What restarts the daemon's timer: the stored position once more, if there is one that may be sent.
    fn repeat(&self) -> ToSay {
        let stored = self.ledger.stored_position();
        match stored.filter(|stored| self.may_send(stored)) {
            Some(stored) => ToSay::Ask(Request::Repeat(stored.clone())),
            None => ToSay::KeepAlive,
        }
    }

    fn stored(&mut self, now: Instant, request: Request) -> Answered {
        match request {
            Request::ShardEnd => {
                self.shard_end_stored = true;
                self.end_round();
            }
            Request::Repeat(_) => {}
            Request::Store(position) => {
                log::debug!("stored the checkpoint at {position}");
                self.ledger.stored(position);
                self.last = now;
                self.end_round();
            }
        }
        Answered::GoOn
    }

    fn failed(&mut self, now: Instant, request: &Request, error: Option<&str>) -> Answered {
        if matches!(request, Request::Repeat(_)) {
            return Answered::GoOn;
        }
        self.failures += 1;
        let forever = *request == Request::ShardEnd;
        let pause = if forever || self.failures < ATTEMPTS {
            self.delays.after(self.failures)
        } else {
            self.in_round = false;
            self.failures = 0;
            self.strategy.pause()
        };
        log::warn!(
            "the checkpoint failed: {}; retrying in {}",
            error.unwrap_or_default(),
            humantime::format_duration(Duration::from_millis(pause.as_millis() as u64))
        );
        self.not_before = Some(now + pause);
        Answered::GoOn
    }

    fn end_round(&mut self) {
        self.in_round = false;
        self.failures = 0;
        self.not_before = None;
    }
}

impl Results {
    fn count(&mut self, response: Response) {
        *match response {
            Response::Stored => &mut self.stored,
            Response::TryAgain => &mut self.failed,
            Response::Never => &mut self.refused,
            Response::LeaseGone => &mut self.lease_lost,
        } += 1;
    }
}

fn shown(position: Option<&Position>) -> String {
    position.map_or_else(|| "nothing".to_owned(), Position::to_string)
}

#[cfg(test)]
mod tests;
