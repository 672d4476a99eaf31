//! The fields of a protobuf message, as far as an aggregate needs them.
//!
//! Own code, for what could be used instead is heavier than the thirty lines it saves: `prost` decodes only
//! by its derive macro, which brings five more crates and a second version of `syn`.

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Wire type 0.
    Number(u64),
    /// Wire type 2: a text, bytes or a message.
    Bytes(&'a [u8]),
    /// Eight or four bytes, which no field of ours has.
    Fixed,
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The fields of `message`, each with its number, in their order.
pub(super) fn fields(mut message: &[u8]) -> Result<Vec<(u64, Value<'_>)>, Malformed> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let key = varint(&mut message)?;
        let (number, wire_type) = (key >> 3, key & 7);
        if number == 0 {
            return Err(Malformed);
        }
        fields.push((number, value(wire_type, &mut message)?));
    }
    Ok(fields)
}

fn value<'a>(wire_type: u64, rest: &mut &'a [u8]) -> Result<Value<'a>, Malformed> {
    match wire_type {
        0 => varint(rest).map(Value::Number),
        1 => take(rest, 8).map(|_| Value::Fixed),
        2 => {
            let length = varint(rest)?;
            take(rest, length).map(Value::Bytes)
        }
        5 => take(rest, 4).map(|_| Value::Fixed),
        // Groups were given up before there were aggregates.
        _ => Err(Malformed),
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

fn take<'a>(rest: &mut &'a [u8], length: u64) -> Result<&'a [u8], Malformed> {
    let length = usize::try_from(length).map_err(|_| Malformed)?;
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
                (3, Value::Fixed),
                (4, Value::Fixed),
                (5, Value::Bytes(b"")),
            ]
        );
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
            b"\x0f\x01",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            assert_eq!(fields(message), Err(Malformed), "{message:?}");
        }
    }
}
