//! What the daemon makes of what kclpipe says: statuses, and checkpoints with all that KCL answers to them.

use std::time::Duration;

use serde_json::{Value, json};

use super::stream::{PREFIX, digits, short};
use super::{Piece, Pos, Stored, Then};
use crate::judge::Ack;
use crate::world::World;

impl World {
    /// kclpipe says something.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
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
        self.daemon.heard_at = self.now;
    }

    fn hear_keep_alive(&mut self) {
        if !self.may_repeat() {
            return self.breaks("a keep-alive before its time");
        }
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
