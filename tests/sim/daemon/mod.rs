//! The daemon, with the traps that KCL's has. It judges the protocol and remembers what is in the lease table.

mod actions;
mod hearing;
mod pipes;
mod reads;
mod stream;

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::json;

use crate::draw::{Draw, Initial};
use crate::judge::Ack;
use crate::world::{Dice, Rng, World};
pub(crate) use pipes::Pipes;
pub(crate) use stream::{Pos, digits, short};

/// The shard's name.
pub(crate) const SHARD: &str = "shardId-000000000000";
use stream::{Rec, stream};

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
    Open(Read),
    Ack(Ack),
}

/// What an action says besides its name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Read {
    pub(crate) records: Vec<usize>,
    /// How far behind the tip that was, in milliseconds.
    pub(crate) behind: u64,
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

impl World {
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
        let message = json!({"action": "initialize", "shardId": SHARD,
            "sequenceNumber": sequence_number, "subSequenceNumber": sub});
        self.send(
            "initialize",
            message.to_string(),
            Duration::ZERO,
            Read::default(),
        );
    }

    /// Sends an action, perhaps in pieces.
    fn send(&mut self, name: &'static str, mut line: String, delay: Duration, read: Read) {
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
            then: Then::Open(read),
        });
        if daemon.ending == Ending::EndInAction && daemon.step >= daemon.ending_step {
            daemon.eof_at = Some(at + rng.up_to(&[0, 200, 20_000]));
            self.seen.hit("end of input in an action");
        }
    }
}

fn ending(rng: &mut Rng) -> (Ending, u32) {
    let step = rng.within(1, 9) as u32;
    let ending = match rng.below(10) {
        0 => Ending::Never,
        1 => Ending::LeaseLost,
        2 => Ending::SilentLoss,
        3..=5 => Ending::Shutdown,
        6 => Ending::EndOfInput,
        7 => Ending::EndInAction,
        _ => {
            let most = rng.pick(&[12, 60]);
            Ending::Kill(rng.within(1, most))
        }
    };
    (ending, step)
}
