//! What starts a handler with the records that it gets.

/// Why a handler was started with what it got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Nothing was to be waited for: no window, or an attempt that is made again.
    AtOnce,
    /// As many records as it may have.
    Size,
    /// As many bytes as it may have.
    Bytes,
    /// The window is over.
    Window,
    /// A record waits that belongs to the next aligned window.
    Aligned,
    /// The clock says that the aligned window is over, and nothing more came.
    Clock,
    /// The daemon waits for room, and no handler runs.
    Room,
    /// The shard has ended.
    End,
}

/// All of them, with the names that metrics have for them.
pub(crate) const TRIGGERS: [(Trigger, &str); 8] = [
    (Trigger::AtOnce, "at_once"),
    (Trigger::Size, "size"),
    (Trigger::Bytes, "bytes"),
    (Trigger::Window, "window"),
    (Trigger::Aligned, "aligned"),
    (Trigger::Clock, "clock"),
    (Trigger::Room, "room"),
    (Trigger::End, "end"),
];
