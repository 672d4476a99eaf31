//! The daemon, with the traps that KCL's has. It judges the protocol and remembers what is in the lease table.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::draw::{Draw, Initial, Policy};
use crate::judge::Ack;
use crate::world::{Dice, Rng, Shared, World, stamp};

/// Sequence number and sub-sequence number.
pub(crate) type Pos = (u64, u64);

/// What a sequence number of this stream begins with: they have 56 digits.
const PREFIX: &str = "49590338271490256608559692538361571095921575989";

/// One record of the stream.
#[derive(Clone, Debug)]
pub(crate) struct Rec {
    pub(crate) pos: Pos,
    pub(crate) key: u64,
    pub(crate) arrives: Duration,
    pub(crate) payload: String,
    pub(crate) stamp: Option<i64>,
    json: String,
}

/// What the lease table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Sentinel(Initial),
    At(Pos),
    ShardEnd,
}

/// How a session ends, unless its shard ends before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Never,
    LeaseLost,
    SilentLoss,
    Shutdown,
    EndOfInput,
    EndInAction,
    Kill(u64),
}

/// An action that awaits its status.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    pub(crate) name: &'static str,
    /// kclpipe has read all of it.
    pub(crate) read: bool,
}

/// What happens when kclpipe has read the last byte of a message.
#[derive(Clone, Debug)]
enum Then {
    Nothing,
    Open(Vec<usize>),
    Ack(Ack),
}

/// Bytes on their way to kclpipe.
struct Piece {
    at: Duration,
    bytes: Vec<u8>,
    then: Then,
}

pub(crate) struct Daemon {
    pub(crate) records: Vec<Rec>,
    pub(crate) stored: Stored,
    pub(crate) session: u32,
    ending: Ending,
    ending_step: u32,
    step: u32,
    /// kclpipe gets a signal then.
    pub(crate) signal_at: Option<Duration>,
    inbox: VecDeque<Piece>,
    eof_at: Option<Duration>,
    pub(crate) action: Option<Action>,
    /// A checkpoint awaits its answer.
    pub(crate) awaiting: bool,
    next: usize,
    pub(crate) start: usize,
    pub(crate) delivered: Option<usize>,
    pub(crate) shard_ended: bool,
    /// Another worker has the lease.
    lost: bool,
    shutdown_requested: bool,
    pub(crate) heard_at: Duration,
    acks: u64,
    empties: u32,
}

impl Daemon {
    pub(crate) fn new(life: &Draw, dice: Dice) -> Daemon {
        Daemon {
            records: stream(life, dice),
            stored: Stored::Sentinel(life.initial),
            session: 0,
            ending: Ending::Never,
            ending_step: 0,
            step: 0,
            signal_at: None,
            inbox: VecDeque::new(),
            eof_at: None,
            action: None,
            awaiting: false,
            next: 0,
            start: 0,
            delivered: None,
            shard_ended: false,
            lost: false,
            shutdown_requested: false,
            heard_at: Duration::ZERO,
            acks: 0,
            empties: 0,
        }
    }

    /// The effect of kclpipe's that it dies of.
    pub(crate) fn kills_at(&self) -> Option<u64> {
        match self.ending {
            Ending::Kill(effect) => Some(effect),
            _ => None,
        }
    }

    /// When kclpipe's input has something new.
    pub(crate) fn next_input(&self) -> Option<Duration> {
        let piece = self.inbox.front().map(|piece| piece.at);
        piece.into_iter().chain(self.eof_at).min()
    }

    /// Whether the daemon is gone.
    pub(crate) fn is_gone(&self, now: Duration) -> bool {
        self.eof_at.is_some_and(|at| now >= at)
    }

    /// How many records lie at or before this position.
    pub(crate) fn through(&self, pos: Pos) -> usize {
        self.records.partition_point(|rec| rec.pos <= pos)
    }

    fn rng(&self, dice: Dice, name: &str) -> Rng {
        dice.rng(name, &[u64::from(self.session), u64::from(self.step)])
    }

    fn last_delivered(&self) -> Option<Pos> {
        self.delivered.map(|index| self.records[index].pos)
    }
}

/// The records of the stream, in order, aggregates among them.
fn stream(life: &Draw, dice: Dice) -> Vec<Rec> {
    let mut rng = dice.rng("stream", &[]);
    let (mut records, mut seq, mut arrives) = (Vec::new(), 1_000, Duration::ZERO);
    while records.len() < life.records {
        seq += rng.within(1, 90);
        if rng.chance(40) {
            arrives += rng.pick(&[
                Duration::from_millis(5),
                Duration::from_secs(1),
                Duration::from_secs(9),
            ]);
        }
        let subs = if rng.chance(25) { rng.within(2, 5) } else { 1 };
        let stamp = rng
            .chance(95)
            .then(|| stamp(arrives) - rng.pick(&[0, 0, 0, 3_000]));
        for sub in 0..subs.min((life.records - records.len()) as u64) {
            records.push(rec(
                (seq, sub),
                records.len(),
                arrives,
                stamp,
                life,
                &mut rng,
            ));
        }
    }
    records
}

fn rec(
    pos: Pos,
    index: usize,
    arrives: Duration,
    stamp: Option<i64>,
    life: &Draw,
    rng: &mut Rng,
) -> Rec {
    let key = rng.below(life.keys);
    let padding = if rng.chance(20) {
        "x".repeat(rng.below(30) as usize)
    } else {
        String::new()
    };
    let takes_letters = matches!(life.policy, Policy::File | Policy::Command);
    let inner = if rng.chance(3) && takes_letters {
        "\n"
    } else {
        ""
    };
    let payload = format!("r{index}.{inner}{padding}.");
    let json = json!({
        "action": "record",
        "data": STANDARD.encode(&payload),
        "partitionKey": format!("k{key}"),
        "sequenceNumber": digits(pos.0),
        "subSequenceNumber": pos.1,
        "approximateArrivalTimestamp": stamp,
    });
    Rec {
        pos,
        key,
        arrives,
        payload,
        stamp,
        json: json.to_string(),
    }
}

/// A sequence number in full.
pub(crate) fn digits(seq: u64) -> String {
    format!("{PREFIX}{seq:09}")
}

/// A sequence number in short.
pub(crate) fn short(digits: &str) -> Option<u64> {
    digits.strip_prefix(PREFIX)?.parse().ok()
}

/// kclpipe's stdin, and its stdout.
pub(crate) struct Pipes(pub Shared);

impl Read for Pipes {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.0.with(|world| {
            let now = world.now;
            let until = world.daemon.eof_at.map_or(now, |eof| eof.min(now));
            let inbox = &mut world.daemon.inbox;
            let Some(piece) = inbox
                .front_mut()
                .filter(|piece| piece.at <= until && !world.killed)
            else {
                return world.read_nothing();
            };
            let n = piece.bytes.len().min(to.len());
            to[..n].copy_from_slice(&piece.bytes[..n]);
            piece.bytes.drain(..n);
            if piece.bytes.is_empty()
                && let Some(piece) = inbox.pop_front()
            {
                world.was_read(piece.then);
            }
            Ok(n)
        })
    }
}

impl Write for Pipes {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.with(|world| {
            if world.daemon.is_gone(world.now) {
                world.judge.input_ended = true;
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if !world.killed {
                world.hear(bytes);
                world.effect();
            }
            Ok(bytes.len())
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl World {
    fn read_nothing(&mut self) -> io::Result<usize> {
        if self.daemon.is_gone(self.now) || self.killed {
            self.judge.input_ended = true;
            return Ok(0);
        }
        self.breaks("kclpipe reads where there is nothing to read, and would sleep there for ever");
        Ok(0)
    }

    fn was_read(&mut self, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Open(batch) => {
                if let Some(action) = &mut self.daemon.action {
                    action.read = true;
                    let name = action.name;
                    self.judge_action(name, batch);
                }
            }
            Then::Ack(ack) => {
                self.daemon.awaiting = false;
                self.judge_ack(ack);
            }
        }
    }

    /// A new kclpipe is started for the lease.
    pub(crate) fn begin_session(&mut self) {
        let (now, dice) = (self.now, self.dice);
        let daemon = &mut self.daemon;
        daemon.session += 1;
        let mut rng = dice.rng("session", &[u64::from(daemon.session)]);
        let calm = daemon.session > self.life.sessions;
        (daemon.ending, daemon.ending_step) = if calm {
            (Ending::Never, 0)
        } else {
            ending(&mut rng)
        };
        daemon.signal_at = (!calm && rng.chance(12)).then(|| now + rng.millis(0, 20_000));
        daemon.start = match daemon.stored {
            Stored::Sentinel(Initial::Latest) => {
                daemon.records.partition_point(|rec| rec.arrives <= now)
            }
            Stored::Sentinel(_) => 0,
            Stored::At(pos) => daemon.through(pos),
            Stored::ShardEnd => daemon.records.len(),
        };
        (daemon.step, daemon.next, daemon.delivered) = (0, daemon.start, None);
        (daemon.inbox, daemon.eof_at, daemon.action) = (VecDeque::new(), None, None);
        (daemon.awaiting, daemon.shard_ended, daemon.lost) = (false, false, false);
        (daemon.shutdown_requested, daemon.empties) = (false, 0);
        self.effects = 0;
        self.killed = false;
        self.begin_judging();
        self.send_initialize();
    }

    fn send_initialize(&mut self) {
        let (sequence_number, sub) = match self.daemon.stored {
            Stored::Sentinel(Initial::Latest) => ("LATEST".to_owned(), 0),
            Stored::Sentinel(Initial::TrimHorizon) => ("TRIM_HORIZON".to_owned(), 0),
            Stored::Sentinel(Initial::AtTimestamp) => ("AT_TIMESTAMP".to_owned(), 0),
            Stored::At((seq, sub)) => (digits(seq), sub),
            Stored::ShardEnd => ("SHARD_END".to_owned(), 0),
        };
        if sub > 0 {
            self.seen
                .hit("restart from a checkpoint within an aggregate");
        }
        if self.daemon.session > 1 && sequence_number == "LATEST" {
            self.seen.hit("LATEST restart");
        }
        let message = json!({"action": "initialize", "shardId": "shardId-000000000000",
            "sequenceNumber": sequence_number, "subSequenceNumber": sub});
        self.send(
            "initialize",
            message.to_string(),
            Duration::ZERO,
            Vec::new(),
        );
    }

    /// Sends an action, perhaps in pieces.
    fn send(&mut self, name: &'static str, mut line: String, delay: Duration, batch: Vec<usize>) {
        line.push('\n');
        let at = self.now + delay;
        let daemon = &mut self.daemon;
        let mut rng = daemon.rng(self.dice, "pieces");
        daemon.action = Some(Action { name, read: false });
        let mut bytes = line.into_bytes();
        if rng.chance(15) {
            let rest = bytes.split_off(rng.below(bytes.len() as u64) as usize);
            let torn = std::mem::replace(&mut bytes, rest);
            if !torn.is_empty() {
                daemon.inbox.push_back(Piece {
                    at,
                    bytes: torn,
                    then: Then::Nothing,
                });
            }
        }
        let at = at
            + if rng.chance(10) {
                rng.millis(0, 50)
            } else {
                Duration::ZERO
            };
        daemon.inbox.push_back(Piece {
            at,
            bytes,
            then: Then::Open(batch),
        });
        if daemon.ending == Ending::EndInAction && daemon.step >= daemon.ending_step {
            daemon.eof_at = Some(at + rng.up_to(&[0, 200, 20_000]));
            self.seen.hit("end of input in an action");
        }
    }

    /// What the daemon does when an action was answered.
    fn go_on(&mut self) {
        self.daemon.step += 1;
        let daemon = &self.daemon;
        let due = daemon.step >= daemon.ending_step;
        match daemon.ending {
            _ if daemon.lost || daemon.shutdown_requested => self.lose_lease(),
            Ending::LeaseLost if due => self.lose_lease(),
            Ending::Shutdown if due => {
                self.daemon.shutdown_requested = true;
                self.seen.hit("orderly shutdown");
                self.send(
                    "shutdownRequested",
                    r#"{"action":"shutdownRequested"}"#.to_owned(),
                    Duration::ZERO,
                    Vec::new(),
                );
            }
            Ending::EndOfInput if due => {
                self.seen.hit("end of input between actions");
                self.end_input(Duration::from_millis(10));
            }
            Ending::SilentLoss if due => {
                self.daemon.lost = true;
                self.seen.hit("lease lost without a word");
                self.read_stream();
            }
            _ => self.read_stream(),
        }
    }

    fn end_input(&mut self, delay: Duration) {
        self.daemon.eof_at = Some(self.now + delay);
        self.daemon.action = None;
    }

    fn lose_lease(&mut self) {
        let mut rng = self.daemon.rng(self.dice, "lost");
        if self.daemon.shutdown_requested && rng.chance(20) {
            return self.end_input(rng.millis(0, 500));
        }
        self.daemon.lost = true;
        let delay = rng.millis(0, 3_000);
        if self.life.old {
            self.seen.hit("shutdown of 1.x");
            let reason = rng.pick(&["ZOMBIE", "LEASE_LOST", "REQUESTED"]);
            let line = format!(r#"{{"action":"shutdown","reason":"{reason}"}}"#);
            return self.send("shutdown", line, delay, Vec::new());
        }
        self.send(
            "leaseLost",
            r#"{"action":"leaseLost"}"#.to_owned(),
            delay,
            Vec::new(),
        );
    }

    /// The next read of the stream goes to kclpipe.
    fn read_stream(&mut self) {
        let mut rng = self.daemon.rng(self.dice, "read");
        let daemon = &self.daemon;
        let arrived = daemon
            .records
            .partition_point(|rec| rec.arrives <= self.now);
        let stale = daemon.next < arrived && self.life.empty_reads && rng.chance(6);
        if stale {
            self.seen.hit("stale empty read");
        }
        if daemon.next < arrived && !stale {
            return self.send_records(&mut rng);
        }
        let at_end = daemon.next == daemon.records.len();
        let wait_for_more = at_end && daemon.empties < 3 && rng.chance(40);
        if at_end && !(wait_for_more && self.life.empty_reads) {
            return self.end_shard(&mut rng);
        }
        if self.life.empty_reads {
            self.daemon.empties += 1;
            let delay = if stale {
                rng.millis(0, 20)
            } else {
                Duration::from_secs(1)
            };
            return self.send_batch(Vec::new(), delay);
        }
        let wait = self.daemon.records[self.daemon.next].arrives - self.now;
        self.send_batch(vec![self.daemon.next], wait + Duration::from_millis(200));
    }

    fn send_records(&mut self, rng: &mut Rng) {
        let daemon = &self.daemon;
        let (records, mut from) = (&daemon.records, daemon.next);
        if rng.chance(8) && from > daemon.start {
            from = from
                .saturating_sub(rng.within(1, 4) as usize)
                .max(daemon.start);
            self.seen.hit("older positions again");
        }
        let count = rng.pick(&[1, 2, 5, 12, 40]);
        let mut to = (daemon.next + count).min(records.len());
        to = to.min(records.partition_point(|rec| rec.arrives <= self.now));
        // One record of Kinesis is never read in two pieces.
        while to < records.len() && records[to].pos.0 == records[to - 1].pos.0 {
            to += 1;
        }
        let delay = rng.up_to(&[0, 30, 1_000]);
        self.send_batch((from..to).collect(), delay);
    }

    fn send_batch(&mut self, batch: Vec<usize>, delay: Duration) {
        if let Some(last) = batch.last() {
            self.daemon.next = self.daemon.next.max(last + 1);
            self.daemon.delivered = self.daemon.delivered.max(Some(*last));
        }
        let arrived = self
            .daemon
            .records
            .partition_point(|rec| rec.arrives <= self.now);
        let behind = if arrived > self.daemon.next { 1_000 } else { 0 };
        let records: Vec<&str> = batch
            .iter()
            .map(|index| self.daemon.records[*index].json.as_str())
            .collect();
        let line = format!(
            r#"{{"action":"processRecords","records":[{}],"millisBehindLatest":{behind}}}"#,
            records.join(",")
        );
        self.send("processRecords", line, delay, batch);
    }

    fn end_shard(&mut self, rng: &mut Rng) {
        self.daemon.shard_ended = true;
        let delay = rng.millis(0, 1_000);
        if self.life.old {
            self.seen.hit("shutdown of 1.x");
            let reason = rng.pick(&["TERMINATE", "SHARD_END"]);
            let line = format!(r#"{{"action":"shutdown","reason":"{reason}"}}"#);
            return self.send("shutdown", line, delay, Vec::new());
        }
        self.send(
            "shardEnded",
            r#"{"action":"shardEnded"}"#.to_owned(),
            delay,
            Vec::new(),
        );
    }

    /// kclpipe says something.
    fn hear(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.tell('<', || text.trim().replace(PREFIX, ""));
        let whole = text.is_ascii() && text.starts_with('\n') && text.ends_with('\n');
        let message: Value = match serde_json::from_str(&text) {
            Ok(message) if whole && text.trim().lines().count() == 1 => message,
            _ => return self.breaks(format!("no message: {text:?}")),
        };
        let keys: Vec<&str> = message
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, _)| key.as_str())
            .collect();
        if !self
            .daemon
            .action
            .as_ref()
            .is_some_and(|action| action.read)
        {
            return self.breaks("kclpipe speaks while no action is open");
        }
        self.daemon.heard_at = self.now;
        match (message["action"].as_str(), keys.as_slice()) {
            (Some("status"), ["action", "responseFor"]) => self.hear_status(&message),
            (Some("checkpoint"), ["action", "sequenceNumber", "subSequenceNumber"]) => {
                self.hear_checkpoint(&message)
            }
            (Some("shutdownRequested"), ["action"]) if self.life.keepalive.is_some() => {
                self.hear_keep_alive()
            }
            _ => self.breaks(format!(
                "a message that the daemon does not take: {message}"
            )),
        }
    }

    fn hear_keep_alive(&mut self) {
        self.seen.hit("keep-alive");
        if matches!(self.daemon.stored, Stored::Sentinel(_)) {
            self.seen.hit("keep-alive before the first checkpoint");
        }
    }

    fn hear_status(&mut self, message: &Value) {
        let Some(action) = self.daemon.action.take() else {
            return;
        };
        if message["responseFor"].as_str() != Some(action.name) || self.daemon.awaiting {
            return self.breaks(format!(
                "{message} in answer to {}, or before a checkpoint's answer",
                action.name
            ));
        }
        self.judge_status(action.name);
        match action.name {
            "leaseLost" | "shardEnded" | "shutdown" => {
                self.daemon.eof_at = Some(self.now + Duration::from_secs(5))
            }
            _ => self.go_on(),
        }
    }

    fn hear_checkpoint(&mut self, message: &Value) {
        let name = self.daemon.action.as_ref().map_or("", |action| action.name);
        if self.daemon.awaiting || name == "initialize" {
            return self.breaks(format!(
                "a checkpoint during {name}, or while another one is awaited"
            ));
        }
        let seq = message["sequenceNumber"].as_str();
        let sub = message["subSequenceNumber"].as_u64();
        let asked = match (seq, sub) {
            (None, None) => None,
            (Some(seq), Some(sub)) => match short(seq) {
                Some(seq) => Some((seq, sub)),
                None => return self.breaks(format!("a checkpoint at {seq}, which was never sent")),
            },
            _ => return self.breaks(format!("half a position: {message}")),
        };
        let ends =
            self.daemon.shard_ended && (asked.is_none() || asked == self.daemon.last_delivered());
        if asked.is_none() && !self.daemon.shard_ended {
            return self.breaks("a checkpoint without a position before the shard's end");
        }
        self.judge_checkpoint(asked, ends);
        self.answer_checkpoint(asked, ends);
    }

    /// Decides what comes of a checkpoint, and when that is said.
    fn answer_checkpoint(&mut self, asked: Option<Pos>, ends: bool) {
        let daemon = &mut self.daemon;
        daemon.acks += 1;
        let mut rng = self.dice.rng("ack", &[daemon.acks]);
        let calm = daemon.session > self.life.sessions;
        let faulty = !calm && rng.chance(self.life.ack_faults);
        let error = match faulty {
            _ if daemon.lost => Some("ShutdownException"),
            false => None,
            true if self.life.throttled => Some("ThrottlingException"),
            true => Some(rng.pick(&[
                "ThrottlingException",
                "ThrottlingException",
                "KinesisClientLibDependencyException",
                "RuntimeException",
                "RuntimeException",
                "ShutdownException",
                "InvalidStateException",
                "IllegalArgumentException",
            ])),
        };
        daemon.lost |= error == Some("ShutdownException");
        let lies = error == Some("ThrottlingException") && rng.chance(15);
        if error.is_none() || lies {
            daemon.stored = if ends {
                Stored::ShardEnd
            } else {
                asked.map_or(daemon.stored, Stored::At)
            };
        }
        daemon.awaiting = true;
        let delay = rng.up_to(&[0, 20, 20, 1_500]);
        let delay = if faulty && rng.chance(20) {
            rng.millis(10_000, 90_000)
        } else {
            delay
        };
        let line = json!({"action": "checkpoint", "sequenceNumber": asked.map(|(seq, _)| digits(seq)),
            "subSequenceNumber": asked.map(|(_, sub)| sub), "error": error});
        let ack = Ack { asked, error };
        let bytes = format!("{line}\n").into_bytes();
        let at = self.now + delay;
        daemon.inbox.push_back(Piece {
            at,
            bytes,
            then: Then::Ack(ack),
        });
    }
}

fn ending(rng: &mut Rng) -> (Ending, u32) {
    let step = rng.within(1, 9) as u32;
    let ending = match rng.below(9) {
        0 => Ending::Never,
        1 => Ending::LeaseLost,
        2 => Ending::SilentLoss,
        3 | 4 => Ending::Shutdown,
        5 => Ending::EndOfInput,
        6 => Ending::EndInAction,
        _ => {
            let most = rng.pick(&[12, 60]);
            Ending::Kill(rng.within(1, most))
        }
    };
    (ending, step)
}
