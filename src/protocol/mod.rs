//! The conversation with the MultiLangDaemon: its messages, and how they stand on a line.

mod message;
mod wire;

pub use message::{Message, Reply, Shutdown, Text, WireRecord};
pub use wire::{Tap, Wire};
