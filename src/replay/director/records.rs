//! The records of a shard, and how the daemon writes them.

use std::ops::Range;

use super::json;
use crate::protocol::{Message, WireRecord};
use crate::record::Position;
use crate::replay::lease::LeasePosition;
use crate::replay::stream::Record;

/// The most payload in one batch, as Kinesis limits what it gives at a time; base64 is a third longer.
const BATCH_BYTES: usize = 10 * 1024 * 1024 / 3 * 4;

/// Records in the order of their positions, which increase strictly.
#[derive(Debug, Default)]
pub(crate) struct ShardRecords {
    all: Vec<Record>,
    /// When the newest record came into the stream.
    newest: i64,
}

impl ShardRecords {
    /// These records.
    pub(crate) fn new(all: Vec<Record>) -> ShardRecords {
        let newest = all.iter().map(|record| record.arrival).max();
        ShardRecords {
            newest: newest.unwrap_or(0),
            all,
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many of them a checkpoint at this position covers.
    pub(crate) fn covered(&self, position: &LeasePosition) -> usize {
        let is_covered = |record: &Record| LeasePosition::At(record.position.clone()) <= *position;
        self.all.partition_point(is_covered)
    }

    /// How many of them can be read at `now`: a record may say that it arrived before the previous one,
    /// but it is read after that.
    pub(crate) fn arrived(&self, now: i64) -> usize {
        let late = self.all.iter().position(|record| record.arrival > now);
        late.unwrap_or(self.len())
    }

    /// When the record at this place arrived.
    pub(crate) fn arrival(&self, at: usize) -> Option<i64> {
        self.all.get(at).map(|record| record.arrival)
    }

    /// The end of the batch that begins at this place.
    pub(crate) fn batch_end(&self, begin: usize, most: usize) -> usize {
        let mut bytes = 0;
        let rest = self.all[begin..].iter().take(most);
        let fitting = rest.take_while(|record| {
            bytes += record.data.len();
            bytes <= BATCH_BYTES
        });
        begin + fitting.count().max(1)
    }

    /// Whether several records have this sequence number.
    pub(crate) fn is_aggregate(&self, sequence_number: &str) -> bool {
        let Some(second) = Position::new(sequence_number, 1) else {
            return false;
        };
        let at = self.all.partition_point(|record| record.position < second);
        let record = self.all.get(at);
        record.is_some_and(|record| record.position.sequence_number == sequence_number)
    }

    /// How far these records are behind the newest, in milliseconds.
    pub(crate) fn millis_behind_latest(&self, batch: Range<usize>) -> i64 {
        let last = self.all[batch].last();
        let arrival = last.map_or(self.newest, |record| record.arrival);
        (self.newest - arrival).max(0)
    }

    /// A batch of these records as the daemon writes it, and the last position in it. With `nulls`, what may
    /// be null in it is.
    pub(crate) fn batch(
        &self,
        batch: Range<usize>,
        behind: Option<i64>,
        nulls: bool,
    ) -> (String, Option<LeasePosition>) {
        let behind = behind.unwrap_or_else(|| self.millis_behind_latest(batch.clone()));
        let records = &self.all[batch];
        let wire = records.iter().map(|record| wire_record(record, nulls));
        let line = json(&Message::ProcessRecords {
            records: wire.collect(),
            millis_behind_latest: Some(behind).filter(|_| !nulls),
        });
        let last = records.last().map(|last| last.position.clone());
        (line, last.map(LeasePosition::At))
    }
}

fn wire_record(record: &Record, nulls: bool) -> WireRecord<'_> {
    WireRecord {
        data: Some(record.data.as_str().into()),
        partition_key: record.partition_key.as_str().into(),
        sequence_number: record.position.sequence_number.as_str().into(),
        approximate_arrival_timestamp: Some(record.arrival).filter(|_| !nulls),
        sub_sequence_number: Some(record.position.sub_sequence_number),
    }
}
