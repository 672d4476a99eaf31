//! Payloads as their producer meant them, for whoever looks at them before a handler does.

use anyhow::Result;

use super::KEEP;
use super::decompress::{Decompression, Unpacker};
use crate::record::Record;

/// Reads payloads, as they are or decompressed, into its memory.
#[derive(Debug)]
pub(crate) struct Payloads {
    unpacker: Option<Unpacker>,
    payload: Vec<u8>,
}

impl Payloads {
    /// A reader with these rules, and no memory yet.
    pub(crate) fn new(decompress: Option<Decompression>) -> Payloads {
        Payloads {
            unpacker: decompress.map(Unpacker::new),
            payload: Vec::new(),
        }
    }

    /// The payload of a record, or why it cannot be decompressed.
    ///
    /// # Errors
    /// The record's data is not base64: the daemon broke the protocol.
    pub(crate) fn payload(&mut self, record: &Record<'_>) -> Result<Result<&[u8], &'static str>> {
        if let Some(unpacker) = &mut self.unpacker {
            return unpacker.payload(record);
        }
        if self.payload.capacity() > KEEP {
            self.payload = Vec::new();
        }
        self.payload.clear();
        record.decode_into(&mut self.payload)?;
        Ok(Ok(&self.payload))
    }

    /// How many bytes the last payload has, or has become until it could not be decompressed any further.
    pub(crate) fn size(&self) -> u64 {
        let plain = self.payload.len() as u64;
        self.unpacker.as_ref().map_or(plain, Unpacker::size)
    }
}
