//! What the daemon does next, once an action is answered.

use std::time::Duration;

use super::{Ending, Read};
use crate::world::{Rng, World};

impl World {
    /// What the daemon does when an action was answered.
    pub(super) fn go_on(&mut self) {
        self.daemon.step += 1;
        let mut rng = self.daemon.rng(self.dice, "go on");
        let session = u64::from(self.daemon.session);
        let reads_on = self.dice.rng("after", &[session]).chance(45);
        let daemon = &self.daemon;
        let due = daemon.step >= daemon.ending_step;
        match daemon.ending {
            _ if daemon.lost => self.lose_lease(),
            // Another worker may take its time, and reads go on meanwhile, perhaps to the shard's end.
            _ if daemon.shutdown_requested && reads_on && rng.chance(90) => self.read_stream(),
            _ if daemon.shutdown_requested => self.lose_lease(),
            Ending::LeaseLost if due => self.lose_lease(),
            Ending::Shutdown if due => self.request_shutdown(&mut rng),
            Ending::EndOfInput if due => {
                self.seen.hit("end of input between actions");
                self.end_input(Duration::from_millis(10) + rng.up_to(&[0, 100, 5_000]));
            }
            Ending::SilentLoss if due => {
                self.daemon.lost = true;
                self.seen.hit("lease lost without a word");
                self.read_stream();
            }
            _ => self.read_stream(),
        }
    }

    fn request_shutdown(&mut self, rng: &mut Rng) {
        self.daemon.shutdown_requested = true;
        self.seen.hit("orderly shutdown");
        let delay = rng.up_to(&[0, 0, 100, 3_000]);
        self.send_bare("shutdownRequested", delay);
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
        let delay = rng.up_to(&[0, 100, 3_000]);
        if self.life.old {
            let reason = rng.pick(&["ZOMBIE", "LEASE_LOST", "REQUESTED"]);
            return self.send_old(reason, delay);
        }
        self.send_bare("leaseLost", delay);
    }

    pub(super) fn end_shard(&mut self, rng: &mut Rng) {
        self.daemon.shard_ended = true;
        let delay = rng.millis(0, 1_000);
        if self.life.old {
            let reason = rng.pick(&["TERMINATE", "SHARD_END"]);
            return self.send_old(reason, delay);
        }
        self.send_bare("shardEnded", delay);
    }

    /// The message of KCL 1.x for the end of a lease or a shard.
    fn send_old(&mut self, reason: &str, delay: Duration) {
        self.seen.hit("shutdown of 1.x");
        let line = format!(r#"{{"action":"shutdown","reason":"{reason}"}}"#);
        self.send("shutdown", line, delay, Read::default());
    }

    /// A message that is no more than its name.
    fn send_bare(&mut self, name: &'static str, delay: Duration) {
        let line = format!(r#"{{"action":"{name}"}}"#);
        self.send(name, line, delay, Read::default());
    }
}
