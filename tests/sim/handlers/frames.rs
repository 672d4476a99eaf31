//! Records as they stand on a handler's stdin.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use kclpipe::testing::format::Format;

use crate::daemon::{Pos, SHARD, short};

/// A record as it stands on a handler's stdin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) rec: usize,
    pub(crate) n: Option<u64>,
    pub(crate) attempt: Option<u32>,
    pub(crate) last: Option<bool>,
    /// What its `eventID` says, in a Lambda event.
    pub(crate) id: Option<Pos>,
    pub(crate) bytes: u64,
}

/// Takes the whole records off the front of what a handler has read.
pub(crate) fn frames(format: &Format, bytes: &mut Vec<u8>) -> Vec<Frame> {
    let mut frames = Vec::new();
    if *format == Format::Raw {
        let text = String::from_utf8_lossy(bytes).into_owned();
        frames.extend(plain(&text));
        return frames;
    }
    while let Some(end) = memchr::memchr(b'\n', bytes) {
        let line: Vec<u8> = bytes.drain(..=end).collect();
        let text = String::from_utf8_lossy(&line);
        frames.extend(match format {
            Format::Jsonl(_) => object(&text).into_iter().collect(),
            Format::Lambda { .. } => event(&text),
            _ => plain(&text).into_iter().collect::<Vec<_>>(),
        });
    }
    frames
}

/// The records of a Lambda event, of which only the payloads and the ids are looked at: to parse them all took longer
/// than the lives. What stands around them is counted with the first one.
fn event(text: &str) -> Vec<Frame> {
    let payloads = text.split("\"data\":\"").skip(1);
    let record = |rest: &str| {
        let data = STANDARD.decode(rest.split('"').next()?).ok()?;
        let frame = plain(std::str::from_utf8(&data).ok()?)?;
        let id = event_id(rest);
        Some(Frame { id, ..frame })
    };
    let mut frames: Vec<Frame> = payloads.filter_map(record).collect();
    for (place, frame) in frames.iter_mut().enumerate() {
        frame.bytes = if place == 0 { text.len() as u64 } else { 0 };
    }
    frames
}

/// The position that the next `eventID` of a text names, as `SHARD:SEQUENCE` or `SHARD:SEQUENCE:SUB`.
fn event_id(text: &str) -> Option<Pos> {
    let (_, id) = text.split_once(r#""eventID":""#)?;
    let (id, _) = id.split_once('"')?;
    let id = id.strip_prefix(SHARD)?.strip_prefix(':')?;
    let (sequence_number, place) = id.split_once(':').unwrap_or((id, "0"));
    Some((short(sequence_number)?, place.parse().ok()?))
}

fn plain(text: &str) -> Option<Frame> {
    // One that is filtered must not come, but is known.
    let name = text.strip_prefix(r#"{"drop":""#).unwrap_or(text);
    let (number, _) = name.strip_prefix('r')?.split_once('.')?;
    Some(Frame {
        rec: number.parse().ok()?,
        n: None,
        attempt: None,
        last: None,
        id: None,
        bytes: text.len() as u64,
    })
}

fn object(text: &str) -> Option<Frame> {
    let object: Value = serde_json::from_str(text).ok()?;
    let frame = plain(object["data"].as_str()?)?;
    Some(Frame {
        n: object["n"].as_u64(),
        attempt: object["attempt"].as_u64().map(|attempt| attempt as u32),
        last: object["last"].as_bool(),
        bytes: text.len() as u64,
        ..frame
    })
}
