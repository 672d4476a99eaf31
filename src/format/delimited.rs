//! `lines` and `nul`: a payload and its terminator.

use anyhow::Result;

use super::Framed;
use crate::record::Record;

/// Appends the payload and `terminator`, or nothing where the payload holds it before its end: split, it
/// would be two records for the handler.
pub(super) fn frame(
    record: &Record<'_>,
    terminator: u8,
    unfit: &'static str,
    out: &mut Vec<u8>,
) -> Result<Framed> {
    let start = out.len();
    record.decode_into(out)?;
    match memchr::memchr(terminator, &out[start..]) {
        None => out.push(terminator),
        Some(at) if start + at + 1 == out.len() => {}
        Some(_) => {
            out.truncate(start);
            return Ok(Framed::Unfit(unfit));
        }
    }
    Ok(Framed::Written)
}
