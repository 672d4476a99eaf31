//! `netstring`: the payload's length in decimal, a colon, the payload, a comma.

use std::io::Write;

use anyhow::Result;

use crate::record::Record;

pub(super) fn frame(record: &Record<'_>, payload: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<()> {
    payload.clear();
    record.decode_into(payload)?;
    write!(out, "{}:", payload.len())?;
    out.extend_from_slice(payload);
    out.push(b',');
    Ok(())
}
