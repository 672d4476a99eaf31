//! What came out of a replay.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

pub(super) use crate::plural::plural as count;

/// The whole replay.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// The protocol was kept and every shard reached its end.
    pub ok: bool,
    /// Records in the input.
    pub records: usize,
    /// Records handed over, those handed over again included.
    pub delivered: usize,
    /// Records handed over again after a child was started again.
    pub redelivered: usize,
    /// Records that the stored checkpoints cover; none where a recording was played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpointed: Option<usize>,
    /// Checkpoints stored.
    pub checkpoints: usize,
    /// How long it took.
    pub seconds: f64,
    /// Deliveries a second.
    pub records_per_second: f64,
    /// Gives this run again, where faults were injected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Each shard.
    pub shards: Vec<ShardReport>,
}

/// One shard of a replay.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShardReport {
    /// For example `shardId-000000000000`.
    pub shard_id: String,
    /// Records in the shard.
    pub records: usize,
    /// Records handed over, those handed over again included.
    pub delivered: usize,
    /// Records handed over again.
    pub redelivered: usize,
    /// Records that the stored checkpoint covers; none where a recording was played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpointed: Option<usize>,
    /// Records of answered batches that no checkpoint covered when the next batch came, at most; none where a
    /// recording was played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_at_most: Option<usize>,
    /// Checkpoints stored.
    pub checkpoints: usize,
    /// Checkpoints refused.
    pub refused_checkpoints: usize,
    /// Checkpoints that named what was stored already.
    pub repeated_checkpoints: usize,
    /// Checkpoints that failed on purpose.
    pub injected_errors: usize,
    /// Lines of the child that the daemon would log and pass over.
    pub skipped_lines: usize,
    /// How often a child was started again because it had died.
    pub restarts: u32,
    /// How often it was because its lease, its input or its life was ended on purpose.
    pub interruptions: u32,
    /// Where the lease stands: a sequence number, or `TRIM_HORIZON` or `SHARD_END`.
    pub sequence_number: String,
    /// The place within an aggregate.
    pub sub_sequence_number: u64,
    /// Whether everything came that the way of ending asked for.
    pub reached_end: bool,
    /// What the child did wrong, in words, and at which message with which child.
    pub faults: Vec<String>,
    /// What the child did that is allowed but seldom right.
    pub notes: Vec<String>,
}

impl Report {
    /// The report of these shards, played in `took`.
    pub(crate) fn new(shards: Vec<ShardReport>, took: Duration) -> Report {
        let sum = |of: fn(&ShardReport) -> usize| shards.iter().map(of).sum::<usize>();
        let delivered = sum(|shard| shard.delivered);
        let seconds = took.as_secs_f64();
        Report {
            ok: shards
                .iter()
                .all(|shard| shard.reached_end && shard.faults.is_empty()),
            records: sum(|shard| shard.records),
            delivered,
            redelivered: sum(|shard| shard.redelivered),
            checkpointed: shards.iter().map(|shard| shard.checkpointed).sum(),
            checkpoints: sum(|shard| shard.checkpoints),
            seconds: (seconds * 1000.0).round() / 1000.0,
            records_per_second: (delivered as f64 / seconds.max(0.001)).round(),
            seed: None,
            shards,
        }
    }

    /// As one line of JSON.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a report is plain data")
    }

    fn verdict(&self) -> &'static str {
        if self.ok {
            "the protocol was kept, and every shard reached its end"
        } else if self.shards.iter().all(|shard| shard.faults.is_empty()) {
            "FAILED: not every shard reached its end"
        } else {
            "FAILED: a child broke the protocol or ended too soon"
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shard in &self.shards {
            writeln!(f, "{shard}")?;
        }
        writeln!(
            f,
            "{} of {} handed to the child, {} again; {}; {} records/s",
            self.delivered - self.redelivered,
            count(self.records, "record"),
            self.redelivered,
            checkpoints(self.checkpointed, self.checkpoints),
            self.records_per_second,
        )?;
        if let Some(seed) = self.seed {
            writeln!(f, "to repeat this run: --seed {seed}")?;
        }
        write!(f, "{}", self.verdict())
    }
}

impl fmt::Display for ShardReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} of {} handed to the child, {} again; {}, now at {}",
            self.shard_id,
            self.delivered - self.redelivered,
            count(self.records, "record"),
            self.redelivered,
            checkpoints(self.checkpointed, self.checkpoints),
            self.sequence_number,
        )?;
        if self.sub_sequence_number > 0 {
            write!(f, ".{}", self.sub_sequence_number)?;
        }
        if let Some(held) = self.held_at_most.filter(|held| *held > 0) {
            write!(f, ", at most {held} answered and not checkpointed")?;
        }
        for (number, of) in [
            (self.refused_checkpoints, "refused checkpoint"),
            (self.skipped_lines, "skipped line"),
            (self.restarts as usize, "restart"),
            (self.injected_errors, "injected error"),
            (self.interruptions as usize, "injected end"),
        ] {
            if number > 0 {
                write!(f, ", {}", count(number, of))?;
            }
        }
        if !self.reached_end {
            write!(f, ", NOT at its end")?;
        }
        for (at, fault) in self.faults.iter().enumerate() {
            let kind = if at == 0 { "wrong" } else { "then" };
            write!(f, "\n  {kind}: {fault}")?;
        }
        self.notes
            .iter()
            .try_for_each(|note| write!(f, "\n  note: {note}"))
    }
}

/// How many records are safe, where that is known, and what it took.
fn checkpoints(records: Option<usize>, stored: usize) -> String {
    let stored = count(stored, "checkpoint");
    match records {
        Some(records) => format!("{records} checkpointed in {stored}"),
        None => stored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(faults: &[&str]) -> ShardReport {
        ShardReport {
            shard_id: "shardId-000000000000".to_owned(),
            records: 3,
            delivered: 4,
            redelivered: 1,
            checkpointed: Some(3),
            checkpoints: 1,
            restarts: 1,
            sequence_number: "SHARD_END".to_owned(),
            reached_end: true,
            faults: faults.iter().map(|fault| (*fault).to_owned()).collect(),
            ..ShardReport::default()
        }
    }

    #[test]
    fn the_text_says_what_happened_and_whether_it_was_right() {
        let report = Report::new(vec![shard(&[])], Duration::from_secs(2));
        let expected = "\
shardId-000000000000: 3 of 3 records handed to the child, 1 again; 3 checkpointed in 1 checkpoint, now at SHARD_END, 1 restart
3 of 3 records handed to the child, 1 again; 3 checkpointed in 1 checkpoint; 2 records/s
the protocol was kept, and every shard reached its end";
        assert_eq!((report.to_string().as_str(), report.ok), (expected, true));
        let report = Report::new(vec![shard(&["answer that action twice"])], Duration::ZERO);
        assert!(
            report
                .to_string()
                .contains("\n  wrong: answer that action twice\n")
        );
        assert!(
            report
                .to_string()
                .ends_with("FAILED: a child broke the protocol or ended too soon")
        );
        let short = ShardReport {
            reached_end: false,
            ..shard(&[])
        };
        let report = Report::new(vec![short], Duration::ZERO);
        assert!(!report.ok && report.to_string().contains("NOT at its end"));
    }

    #[test]
    fn the_json_is_one_line_of_the_same() {
        let json = Report::new(vec![shard(&[])], Duration::from_secs(2)).to_json();
        assert!(json.starts_with(r#"{"ok":true,"records":3,"delivered":4,"redelivered":1,"checkpointed":3,"checkpoints":1,"seconds":2.0,"recordsPerSecond":2.0,"shards":[{"shardId":"shardId-000000000000","#), "{json}");
        assert!(
            json.ends_with(r#""reachedEnd":true,"faults":[],"notes":[]}]}"#),
            "{json}"
        );
    }
}
