//! The records of the stream.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::draw::{Draw, Policy};
use crate::world::{Dice, Rng, stamp};

/// Sequence number and sub-sequence number.
pub(crate) type Pos = (u64, u64);

/// What a sequence number of this stream begins with: they have 56 digits.
pub(super) const PREFIX: &str = "49590338271490256608559692538361571095921575989";

/// One record of the stream.
#[derive(Clone, Debug)]
pub(crate) struct Rec {
    pub(crate) pos: Pos,
    pub(crate) key: u64,
    pub(crate) arrives: Duration,
    pub(crate) payload: String,
    /// The filter keeps it from the handler.
    pub(crate) filtered: bool,
    pub(crate) stamp: Option<i64>,
    /// How it stands in the daemon's line.
    pub(crate) json: String,
}

/// The records of the stream, in order, aggregates among them.
pub(super) fn stream(life: &Draw, dice: Dice) -> Vec<Rec> {
    let mut rng = dice.rng("stream", &[]);
    let mut filter = dice.rng("filtered", &[]);
    let (mut records, mut seq, mut arrives) = (Vec::new(), 1_000, Duration::ZERO);
    while records.len() < life.records {
        seq += rng.within(1, 90);
        if rng.chance(40) {
            arrives += rng.pick(&[
                Duration::from_millis(5),
                Duration::from_secs(1),
                Duration::from_secs(9),
            ]);
        }
        let subs = if rng.chance(25) { rng.within(2, 5) } else { 1 };
        let stamp = rng
            .chance(95)
            .then(|| stamp(arrives) - rng.pick(&[0, 0, 0, 3_000]));
        for sub in 0..subs.min((life.records - records.len()) as u64) {
            let filtered = filter.chance(life.filtered.unwrap_or_default());
            records.push(rec(
                (seq, sub),
                records.len(),
                (arrives, stamp),
                filtered,
                life,
                &mut rng,
            ));
        }
    }
    records
}

fn rec(
    pos: Pos,
    index: usize,
    (arrives, stamp): (Duration, Option<i64>),
    filtered: bool,
    life: &Draw,
    rng: &mut Rng,
) -> Rec {
    let key = rng.below(life.keys);
    let padding = if rng.chance(20) {
        "x".repeat(rng.below(30) as usize)
    } else {
        String::new()
    };
    let takes_letters = matches!(life.policy, Policy::File | Policy::Command);
    let inner = if rng.chance(6) && takes_letters && !filtered {
        "\n"
    } else {
        ""
    };
    let name = format!("r{index}.{inner}{padding}.");
    let payload = match filtered {
        true => format!(r#"{{"drop":"{name}"}}"#),
        false => name,
    };
    let json = json!({
        "action": "record",
        "data": STANDARD.encode(&payload),
        "partitionKey": format!("k{key}"),
        "sequenceNumber": digits(pos.0),
        "subSequenceNumber": pos.1,
        "approximateArrivalTimestamp": stamp,
    });
    Rec {
        pos,
        key,
        arrives,
        payload,
        filtered,
        stamp,
        json: json.to_string(),
    }
}

/// A sequence number in full.
pub(crate) fn digits(seq: u64) -> String {
    format!("{PREFIX}{seq:09}")
}

/// A sequence number in short.
pub(crate) fn short(digits: &str) -> Option<u64> {
    digits.strip_prefix(PREFIX)?.parse().ok()
}
