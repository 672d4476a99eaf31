//! The conversation with the MultiLangDaemon: its messages, and how they stand on a line.

mod message;
mod source;
mod wire;

pub use message::{Message, WireRecord};
pub(crate) use message::{Reply, Shutdown, Text};
pub use source::Source;
pub(crate) use wire::Tap;
pub use wire::Wire;
