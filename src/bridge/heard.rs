//! What the daemon said, with a batch taken out of its line.

use anyhow::Result;

use crate::checkpoint::Start;
use crate::plural::plural;
use crate::protocol::{Message, Shutdown};
use crate::record::{Batch, Layout, Position};

/// A message of the daemon.
pub(super) enum Heard {
    /// Records, perhaps none.
    Batch(Batch),
    /// The lease begins.
    Initialize {
        /// The shard.
        shard_id: String,
        /// Where in it.
        start: Start,
    },
    /// One of those that say nothing more.
    Other {
        /// Its name.
        action: &'static str,
        /// Which.
        what: Other,
    },
}

/// A message that says nothing more than what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// The answer to a checkpoint.
    Ack,
    LeaseLost,
    ShardEnded,
    ShutdownRequested,
}

/// Reads a line.
///
/// # Errors
/// It is no message of the daemon.
pub(super) fn parse(line: &str) -> Result<Message<'_>> {
    let message = Message::parse(line)?;
    let action = message.action();
    log::debug!(
        "from the daemon: {action}, {}",
        plural(line.len() as u64, "byte")
    );
    Ok(message)
}

/// Takes from a line what it says.
///
/// # Errors
/// It is no message of the daemon, or no checkpoint could name its records.
pub(super) fn hear(line: String) -> Result<Heard> {
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

/// Where the lease begins; KCL before 1.7.2 does not say.
fn start(sequence_number: Option<&str>, sub_sequence_number: Option<u64>) -> Start {
    let name = sequence_number.unwrap_or("a position that this KCL does not report");
    let stored = Position::new(name, sub_sequence_number.unwrap_or(0));
    stored.map_or_else(|| Start::Sentinel(name.to_owned()), Start::After)
}
