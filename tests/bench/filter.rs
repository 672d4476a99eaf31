//! The rows on filters: what they save where little passes, and what they cost where all does.

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::Row;
use crate::driver::{self, Daemon};
use crate::floor;
use crate::measure::interleaved;
use crate::report::{Bar, Figures, Unit};
use crate::rows::Bench;
use crate::ways::{Load, Ran};

/// The bars of filters.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "filter-little",
        what: "--per record, 500 bytes of JSON, --filter that passes 1 % / no filter",
        bar: Bar::AtLeast(50.0),
        measure: little,
    },
    Row {
        name: "filter-all-cpu",
        what: "--per shard, the same, its own CPU a record, --filter that passes all / no filter",
        bar: Bar::AtMost(2.5),
        measure: all,
    },
];

/// What passes.
const PATTERN: &str =
    r#"{"data": {"order": {"status": ["paid"], "total": [{"numeric": [">", 10]}]}}}"#;

/// An order of about 500 bytes.
pub(crate) fn order(status: &str) -> Vec<u8> {
    let items: Vec<Value> = (0..6)
        .map(|n| json!({"sku": format!("sku-{n:08}"), "count": n, "price": 12.5, "gift": false}))
        .collect();
    let order = json!({
        "id": "0b54c1de-3f0f-4c1f-9d67-12345678", "at": "2026-11-25T14:00:00Z",
        "order": {"status": status, "total": 75.0, "currency": "EUR", "items": items},
    });
    order.to_string().into_bytes()
}

/// A read of orders, of which one in a hundred is paid.
fn line(records: usize) -> String {
    let open = driver::batch(records, &order("open"));
    let mut message: Value = serde_json::from_str(&open).unwrap_or_default();
    let paid = STANDARD.encode(order("paid"));
    if let Some(records) = message["records"].as_array_mut() {
        let hundredths = records.iter_mut().step_by(100);
        hundredths.for_each(|record| record["data"] = json!(paid));
    }
    message.to_string()
}

fn little(bench: &Bench) -> Result<Figures> {
    let handler = bench.script("exec cat > /dev/null")?;
    let rate = |options: &[&str], records: usize| {
        let load = Load::of(bench, line(records), records, 4);
        Ok(load.give(Daemon::start(options, &[&handler])?)?.rate())
    };
    let filtered = || rate(&["--filter", PATTERN], 10_000);
    let whole = || rate(&[], 200);
    let [filtered, whole] = interleaved(bench.rounds(5), [&filtered, &whole])?;
    Ok(Figures::against(&filtered, &whole, Unit::Rate))
}

fn all(bench: &Bench) -> Result<Figures> {
    let load = Load::new(bench, 39 * 256, &order("paid"), 60);
    let helper = floor::helper(256)?;
    let helper: Vec<&str> = helper.iter().map(String::as_str).collect();
    let per_shard = ["--per", "shard", "--inflight", "1024", "--format", "jsonl"];
    let cost = |options: &[&str]| {
        let options = [&per_shard, options].concat();
        let ran = load.give(Daemon::start(&options, &helper)?)?;
        Ok(Ran::cpu_a_record(&ran))
    };
    let filtered = || cost(&["--filter", PATTERN]);
    let whole = || cost(&[]);
    let [filtered, whole] = interleaved(bench.rounds(5), [&filtered, &whole])?;
    Ok(Figures::against(&filtered, &whole, Unit::Seconds))
}
