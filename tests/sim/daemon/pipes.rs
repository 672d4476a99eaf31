//! kclpipe's stdin and stdout.

use std::io::{self, Write};

use kclpipe::testing::protocol::Source;

use super::Then;
use crate::world::{Shared, World};

/// kclpipe's stdin, and its stdout.
pub(crate) struct Pipes(pub Shared);

impl Source for Pipes {
    fn read(&mut self, to: &mut Vec<u8>) -> io::Result<usize> {
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
            let n = piece.bytes.len().min(to.capacity() - to.len());
            to.extend(piece.bytes.drain(..n));
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
            self.judge_end_of_input();
            return Ok(0);
        }
        self.breaks("kclpipe reads where there is nothing to read, and would sleep there for ever");
        Ok(0)
    }

    fn was_read(&mut self, then: Then) {
        match then {
            Then::Nothing => {}
            Then::Open(read) => {
                if let Some(action) = &mut self.daemon.action {
                    action.read = true;
                    let name = action.name;
                    self.judge_action(name, read);
                }
            }
            Then::Ack(ack) => {
                self.daemon.awaiting = false;
                self.judge_ack(ack);
            }
        }
    }
}
