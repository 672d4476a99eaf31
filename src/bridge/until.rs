//! Where a backfill ends: records that arrived at a time or later are not handed over.
//!
//! Each record is judged by its own arrival, for arrivals go back now and then. So a record after the time does not say
//! that all before it have come; one that arrived a while later does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_rfc3339_millis;

use crate::record::Batch;

/// How far arrivals may go back, in milliseconds.
const SLACK: i64 = 10_000;

/// The time, and what has come of it.
#[derive(Debug, Default)]
pub(super) struct Until {
    /// In milliseconds since the epoch; `None` for no end.
    end: Option<i64>,
    left_out: u64,
    complete: bool,
}

impl Until {
    /// An end at this time.
    pub(super) fn new(end: SystemTime) -> Until {
        let since = end.duration_since(UNIX_EPOCH).unwrap_or_default();
        Until {
            end: Some(since.as_millis() as i64),
            ..Until::default()
        }
    }

    /// Says at the lease's start that there is an end: a worker that has one by mistake would stand still there.
    pub(super) fn announce(&self) {
        if let Some(end) = self.end {
            log::info!(
                "leaving out records that arrived at {} or later (--until)",
                shown(end)
            );
        }
    }

    /// Whether all records before the time have come; `None` without one.
    pub(super) fn is_complete(&self) -> Option<bool> {
        self.end.map(|_| self.complete)
    }

    /// Leaves out of a batch what arrived at the time or later. A record without a time of arrival is handed over.
    pub(super) fn cut(&mut self, batch: &mut Batch) {
        let Some(end) = self.end else {
            return;
        };
        let mut newest = i64::MIN;
        let before = batch.len();
        batch.retain(|arrived| {
            newest = newest.max(arrived.unwrap_or(i64::MIN));
            arrived.is_none_or(|arrived| arrived < end)
        });
        self.left_out += (before - batch.len()) as u64;
        if newest >= end.saturating_add(SLACK) && !self.complete {
            self.complete = true;
            log::info!(
                "complete: all records that arrived before {} (--until) have come; later ones are left out, {} so far",
                shown(end),
                self.left_out
            );
        }
    }
}

fn shown(end: i64) -> humantime::Rfc3339Timestamp {
    format_rfc3339_millis(UNIX_EPOCH + Duration::from_millis(end.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(arrivals: &[i64]) -> Batch {
        let record = |(at, arrived): (usize, &i64)| {
            format!(
                r#"{{"data":"eA==","partitionKey":"k","sequenceNumber":"{at}","subSequenceNumber":0,"approximateArrivalTimestamp":{arrived}}}"#
            )
        };
        let records: Vec<String> = arrivals.iter().enumerate().map(record).collect();
        Batch::of(&format!(
            r#"{{"action":"processRecords","records":[{}],"millisBehindLatest":0}}"#,
            records.join(",")
        ))
    }

    fn left(until: &mut Until, arrivals: &[i64]) -> Vec<String> {
        let mut batch = batch(arrivals);
        until.cut(&mut batch);
        (0..batch.len())
            .map(|at| batch.position(at).sequence_number)
            .collect()
    }

    #[test]
    fn each_record_is_judged_by_its_own_arrival() {
        let mut until = Until::new(UNIX_EPOCH + Duration::from_secs(100));
        assert_eq!(left(&mut until, &[99_999, 100_000, 99_000]), ["0", "2"]);
        assert_eq!(until.is_complete(), Some(false));
        assert_eq!(left(&mut until, &[109_999, 5]), ["1"]);
        assert_eq!(until.is_complete(), Some(false), "one may still come");
        assert_eq!(left(&mut until, &[110_000, 7]), ["1"]);
        assert_eq!((until.is_complete(), until.left_out), (Some(true), 3));
    }

    #[test]
    fn the_time_is_shown_as_it_is_written() {
        let shown = shown(1_500_000_000_250).to_string();
        assert_eq!(shown, "2017-07-14T02:40:00.250Z");
    }

    #[test]
    fn without_a_time_all_is_handed_over() {
        let mut until = Until::default();
        assert_eq!(left(&mut until, &[i64::MAX, 5]), ["0", "1"]);
        assert_eq!(until.is_complete(), None);
    }
}
