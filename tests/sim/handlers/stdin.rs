//! A child's input: what kclpipe has written, and how far the child has read it.

/// A child's input.
#[derive(Debug, Default)]
pub(crate) struct Stdin {
    /// Bytes that the child has not read: those in the pipe, and behind them those that wait for room.
    pub(crate) pipe: Vec<u8>,
    /// A pipe holds so much.
    pub(crate) room: usize,
    /// So many bytes of it are in the pipe.
    pub(crate) sent: usize,
    /// The end of the input is written, or follows what waits.
    pub(crate) closed: bool,
    pub(crate) frozen: bool,
    /// kclpipe awaits that everything is in the pipe.
    pub(crate) owes: bool,
}

impl Stdin {
    /// kclpipe writes more.
    pub(crate) fn write(&mut self, bytes: Vec<u8>) {
        self.pipe.extend(bytes);
        self.fill();
        self.owes = !self.is_fed();
    }

    /// Moves into the pipe what there is room for.
    pub(crate) fn fill(&mut self) {
        if !self.frozen {
            self.sent = self.pipe.len().min(self.room.max(self.sent));
        }
    }

    pub(crate) fn is_fed(&self) -> bool {
        self.frozen || self.sent == self.pipe.len()
    }

    /// How much the child has not read.
    pub(crate) fn unread(&self) -> u64 {
        self.pipe.len() as u64
    }

    /// The child reads all that is in the pipe.
    pub(crate) fn read(&mut self) -> Vec<u8> {
        let read = self.pipe.drain(..self.sent).collect();
        self.sent = 0;
        self.fill();
        read
    }

    /// Whether the child sees the end once it has read what is there.
    pub(crate) fn ends(&self) -> bool {
        self.closed && self.sent == self.pipe.len()
    }
}
