//! Payloads that their producer compressed, as CloudWatch Logs does.

use std::io::Read;

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::bufread::MultiGzDecoder;

use super::KEEP;
use crate::record::Record;

/// Which payloads are decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decompress {
    /// All of them.
    Gzip,
    /// Those that begin as gzip does.
    Auto,
}

/// What is decompressed, and how much it may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decompression {
    /// Which payloads.
    pub which: Decompress,
    /// The most bytes that one may become: of one mebibyte, as Kinesis takes it, gzip can make a gibibyte.
    pub largest: u64,
}

impl Decompression {
    /// The most bytes that a payload may become if the user does not say.
    pub const LARGEST: u64 = 64 * 1024 * 1024;
}

/// How gzip begins, with the one method of compression that there is (RFC 1952, section 2.3.1).
const MAGIC: &[u8] = &[0x1f, 0x8b, 8];

/// A decompressor with its working memory.
#[derive(Debug)]
pub(super) struct Unpacker {
    decompression: Decompression,
    packed: Vec<u8>,
    payload: Vec<u8>,
    /// Formats take a record as the daemon sends it.
    data_base64: String,
    /// Bytes of the last payload, as far as it was decompressed.
    size: u64,
}

/// How a payload came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Came {
    /// As it is.
    Plain,
    /// Compressed.
    Packed,
}

impl Unpacker {
    pub(super) fn new(decompression: Decompression) -> Unpacker {
        Unpacker {
            decompression,
            packed: Vec::new(),
            payload: Vec::new(),
            data_base64: String::new(),
            size: 0,
        }
    }

    /// How many bytes the last payload has, or has become until that was too much or turned out to be damaged.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The record with its payload decompressed, or what is the matter with that.
    ///
    /// # Errors
    /// The record's data is not base64: the daemon broke the protocol.
    pub(super) fn unpack<'a>(
        &'a mut self,
        record: &Record<'a>,
    ) -> Result<Result<Record<'a>, &'static str>> {
        match self.read(record)? {
            Err(why) => return Ok(Err(why)),
            Ok(Came::Plain) => return Ok(Ok(*record)),
            Ok(Came::Packed) => STANDARD.encode_string(&self.payload, &mut self.data_base64),
        }
        Ok(Ok(Record {
            data_base64: &self.data_base64,
            ..*record
        }))
    }

    /// The payload decompressed, or what is the matter with that.
    ///
    /// # Errors
    /// As [`Unpacker::unpack`].
    pub(super) fn payload(&mut self, record: &Record<'_>) -> Result<Result<&[u8], &'static str>> {
        let came = self.read(record)?;
        Ok(came.map(|came| match came {
            Came::Plain => self.packed.as_slice(),
            Came::Packed => &self.payload,
        }))
    }

    /// Reads the payload into memory, and decompresses it if it came so.
    fn read(&mut self, record: &Record<'_>) -> Result<Result<Came, &'static str>> {
        self.forget();
        record.decode_into(&mut self.packed)?;
        let Decompression { which, largest } = self.decompression;
        if which == Decompress::Auto && !self.packed.starts_with(MAGIC) {
            self.size = self.packed.len() as u64;
            return Ok(Ok(Came::Plain));
        }
        let unpacked = gunzip(&self.packed, largest, &mut self.payload);
        self.size = self.payload.len() as u64;
        Ok(unpacked.map(|()| Came::Packed))
    }

    /// Empties the working memory; what a large record needed is not kept.
    fn forget(&mut self) {
        if self.payload.capacity() > KEEP {
            *self = Unpacker::new(self.decompression);
        }
        self.packed.clear();
        self.payload.clear();
        self.data_base64.clear();
    }
}

/// Decompresses all members of a gzip file.
fn gunzip(packed: &[u8], largest: u64, payload: &mut Vec<u8>) -> Result<(), &'static str> {
    let mut decoder = MultiGzDecoder::new(packed).take(largest.saturating_add(1));
    match decoder.read_to_end(payload) {
        Ok(read) if read as u64 > largest => {
            Err("is larger when decompressed than --max-decompressed allows")
        }
        Ok(_) => Ok(()),
        Err(_) => Err("is not gzip, or is damaged or cut off (--decompress)"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::record::Header;

    fn gzip(payload: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(payload).expect("memory");
        encoder.finish().expect("memory")
    }

    fn unpacked(which: Decompress, packed: &[u8]) -> Result<Vec<u8>, &'static str> {
        let data = STANDARD.encode(packed);
        let record = Record {
            header: Header {
                partition_key: "k",
                sequence_number: "1",
                sub_sequence_number: 0,
                approximate_arrival_timestamp: None,
            },
            data_base64: &data,
        };
        let mut unpacker = Unpacker::new(Decompression {
            which,
            largest: Decompression::LARGEST,
        });
        let record = unpacker.unpack(&record).expect("base64")?;
        let mut payload = Vec::new();
        record.decode_into(&mut payload).expect("base64");
        Ok(payload)
    }

    const GZIP: Decompress = Decompress::Gzip;
    const AUTO: Decompress = Decompress::Auto;

    #[test]
    fn gzip_is_decompressed_with_all_its_members() {
        let two = [gzip(b"one "), gzip(b"two")].concat();
        assert_eq!(unpacked(GZIP, &two), Ok(b"one two".to_vec()));
        assert_eq!(unpacked(AUTO, &two), Ok(b"one two".to_vec()));
        assert_eq!(unpacked(GZIP, &gzip(b"")), Ok(Vec::new()));
    }

    #[test]
    fn what_does_not_begin_as_gzip_is_left_as_it_is_or_at_fault() {
        for payload in [&b"plain"[..], b"", b"\x1f", b"\x1f\x8b\x07"] {
            assert_eq!(unpacked(AUTO, payload), Ok(payload.to_vec()), "{payload:?}");
            assert!(unpacked(GZIP, payload).is_err(), "{payload:?}");
        }
    }

    #[test]
    fn damaged_gzip_is_at_fault_also_where_gzip_is_found_by_its_beginning() {
        let good = gzip(&b"some text ".repeat(100));
        let mut flipped = good.clone();
        let check = flipped.len() - 8;
        flipped[check] ^= 1;
        for which in [GZIP, AUTO] {
            for cut in [3, 12, good.len() / 2, good.len() - 1] {
                let why = unpacked(which, &good[..cut]).expect_err("cut off");
                assert!(why.contains("cut off"), "{cut}: {why}");
            }
            for bad in [&flipped[..], &[&good[..], b"junk"].concat()] {
                assert!(unpacked(which, bad).is_err(), "{bad:?}");
            }
        }
    }

    #[test]
    fn what_would_become_too_large_is_refused() {
        let mut payload = Vec::new();
        let packed = gzip(&[0; 100]);
        assert!(gunzip(&packed, 100, &mut payload).is_ok());
        payload.clear();
        let why = gunzip(&packed, 99, &mut payload).expect_err("too large");
        assert!(
            why.contains("--max-decompressed") && payload.len() == 100,
            "{why}"
        );
    }
}
