//! The fields of a protobuf message, as far as an aggregate needs them.
//!
//! Own code, for nothing light fits: `prost` is made to be used by its derive macro, which brings five more
//! crates and a second version of `syn`; and what the daemon passes over, such as a known field of another
//! type, is an error there.

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Wire type 0.
    Number(u64),
    /// Wire type 2: a text, bytes or a message.
    Bytes(&'a [u8]),
    /// Eight or four bytes, or a group, which no field of ours has.
    Other,
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// How deep groups may lie in each other, as for Java's reader.
const DEPTH: u32 = 100;

/// What a group ends with, in a key's place.
const END_OF_GROUP: u32 = 4;

/// The fields of `message`, each with its number, in their order.
pub(super) fn fields(mut message: &[u8]) -> Result<Vec<(u32, Value<'_>)>, Malformed> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = key(&mut message)?;
        fields.push((key.number, value(key, &mut message, 0)?));
    }
    Ok(fields)
}

#[derive(Clone, Copy)]
struct Key {
    number: u32,
    wire_type: u32,
}

fn key(rest: &mut &[u8]) -> Result<Key, Malformed> {
    // Java's reader takes the lower 32 bits, here and for a length.
    let key = varint(rest)? as u32;
    match key >> 3 {
        0 => Err(Malformed),
        number => Ok(Key {
            number,
            wire_type: key & 7,
        }),
    }
}

fn value<'a>(key: Key, rest: &mut &'a [u8], depth: u32) -> Result<Value<'a>, Malformed> {
    match key.wire_type {
        0 => varint(rest).map(Value::Number),
        1 => take(rest, 8).map(|_| Value::Other),
        2 => {
            let length = i32::try_from(varint(rest)? as u32).map_err(|_| Malformed)?;
            take(rest, length as usize).map(Value::Bytes)
        }
        3 if depth < DEPTH => skip_group(key.number, rest, depth + 1),
        5 => take(rest, 4).map(|_| Value::Other),
        _ => Err(Malformed),
    }
}

fn skip_group<'a>(number: u32, rest: &mut &'a [u8], depth: u32) -> Result<Value<'a>, Malformed> {
    loop {
        match key(rest)? {
            end if end.wire_type == END_OF_GROUP && end.number == number => {
                return Ok(Value::Other);
            }
            inner => value(inner, rest, depth)?,
        };
    }
}

/// Seven bits a byte, the lowest first; the top bit says that more follow.
fn varint(rest: &mut &[u8]) -> Result<u64, Malformed> {
    let mut number = 0;
    for place in 0..10 {
        let byte = take(rest, 1)?[0];
        // What does not fit into 64 bits is cut off, as Java's reader does.
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Malformed)
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], Malformed> {
    let (taken, after) = rest.split_at_checked(length).ok_or(Malformed)?;
    *rest = after;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_have_their_numbers_and_values() {
        let message = b"\x08\x96\x01\x12\x02hi\x1d1234\x21 12345678\x2a\x00";
        let message: Vec<u8> = message.iter().copied().filter(|b| *b != b' ').collect();
        assert_eq!(
            fields(&message).expect("sound"),
            [
                (1, Value::Number(150)),
                (2, Value::Bytes(b"hi")),
                (3, Value::Other),
                (4, Value::Other),
                (5, Value::Bytes(b"")),
            ]
        );
        let group = fields(b"\x0b\x13\x08\x01\x14\x0c\x08\x07");
        assert_eq!(group, Ok(vec![(1, Value::Other), (1, Value::Number(7))]));
        let most = fields(b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01");
        assert_eq!(most, Ok(vec![(1, Value::Number(u64::MAX))]));
        assert_eq!(fields(b""), Ok(vec![]));
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        for message in [
            &b"\x08"[..],
            b"\x08\x96",
            b"\x12\x05hi",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x1d123",
            b"\x21123",
            b"\x00\x00",
            b"\x0b",
            b"\x0b\x14",
            b"\x0c",
            b"\x0f\x01",
            &b"\x0b".repeat(1_000_000),
            &[b"\x0b".repeat(101), b"\x0c".repeat(101)].concat(),
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(
                fields(message),
                Err(Malformed),
                "{:?}",
                &message[..message.len().min(20)]
            );
        }
    }
}
