//! The aggregate format of the Kinesis Producer Library: several records in one, as a protobuf
//! message between a magic number and the message's MD5.
//!
//! ```proto
//! message AggregatedRecord {
//!     repeated string partition_key_table = 1;
//!     repeated string explicit_hash_key_table = 2;
//!     repeated Record records = 3;
//! }
//! message Record {
//!     required uint64 partition_key_index = 1;
//!     optional uint64 explicit_hash_key_index = 2;
//!     required bytes data = 3;
//! }
//! ```

use md5::{Digest, Md5};

use super::stream::Record;

const MAGIC: [u8; 4] = [0xF3, 0x89, 0x9A, 0xC2];

/// Encodes records, all with the same explicit hash key.
pub(crate) fn encode(records: &[Record], hash_key: u128) -> Vec<u8> {
    let mut message = Vec::new();
    for record in records {
        bytes_field(&mut message, 1, record.key.as_bytes());
    }
    bytes_field(&mut message, 2, hash_key.to_string().as_bytes());
    for (index, record) in (0..).zip(records) {
        let mut inner = Vec::new();
        number_field(&mut inner, 1, index);
        number_field(&mut inner, 2, 0);
        bytes_field(&mut inner, 3, &record.data);
        bytes_field(&mut message, 3, &inner);
    }
    [&MAGIC[..], &message, &Md5::digest(&message)].concat()
}

/// A field of wire type 2: its length, then its bytes.
fn bytes_field(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    varint(message, field << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// A field of wire type 0.
fn number_field(message: &mut Vec<u8>, field: u64, number: u64) {
    varint(message, field << 3);
    varint(message, number);
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn varint(message: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        message.push(number as u8 | 0x80);
        number >>= 7;
    }
    message.push(number as u8);
}
