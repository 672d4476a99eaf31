//! What the held records keep in mind, and what they forget.

use super::*;
use crate::handler::Per;
use crate::handler::pool::tests::settings;
use crate::record::Batch;

/// A batch of records that arrived at these seconds.
fn batch(arrived: &[u32]) -> Batch {
    let record = |(arrived, number): (&u32, u32)| {
        format!(
            r#"{{"data":"YQ==","partitionKey":"k","sequenceNumber":"{number}","approximateArrivalTimestamp":{arrived}000}}"#
        )
    };
    let records: Vec<String> = arrived.iter().zip(1..).map(record).collect();
    Batch::of(&format!(
        r#"{{"action":"processRecords","millisBehindLatest":0,"records":[{}]}}"#,
        records.join(",")
    ))
}

fn holding(settings: Settings, batch: Batch) -> Records {
    let now = Instant::now();
    let mut records = Records::new(Rc::new(settings), now);
    let read = Read {
        batch,
        first: First::WithOthers,
        fresh: true,
    };
    records.offer(read, &[], "", now);
    records
}

#[test]
fn only_a_read_that_is_more_than_what_may_be_read_ahead_is_remarked_on() {
    let length = batch(&[1]).line_len();
    for (read_ahead, remarked) in [
        (0, false),
        (1, true),
        (length - 1, true),
        (length, false),
        (length + 1, false),
    ] {
        let settings = Settings {
            read_ahead,
            ..settings(Per::Record)
        };
        let records = holding(settings, batch(&[1]));
        assert_eq!(records.said_small, remarked, "{read_ahead} of {length}");
    }
}

#[test]
fn a_handler_that_has_had_a_record_all_the_time_cannot_keep_up() {
    for busy in [true, false] {
        let mut records = holding(settings(Per::Record), batch(&[1]));
        let now = Instant::now();
        records.note_busy(busy, now);
        let later = now + Duration::from_secs(100);
        assert_eq!(records.lag.judge(later, Some(1000)), busy);
    }
}

#[test]
fn a_later_window_is_looked_for_anew_when_another_record_is_the_first() {
    let window = Window {
        length: Duration::from_secs(60),
        aligned: true,
    };
    // The second arrived in the window before that of the others.
    let mut records = holding(settings(Per::Record), batch(&[70, 10, 70]));
    assert!(!records.is_crossed_after(0, window));
    assert!(records.is_crossed_after(1, window));
}

#[test]
fn batches_that_are_reported_or_not_ours_any_more_are_forgotten() {
    let mut collecting = Collecting::new(Instant::now());
    collecting.batches.extend([0..2, 2..4]);
    collecting.reported(2);
    assert_eq!(
        collecting.batches.make_contiguous(),
        std::slice::from_ref(&(2..4))
    );
    (collecting.looked, collecting.batch_done) = ((2, 3), true);
    collecting.withdraw();
    assert!(collecting.batches.is_empty());
    assert_eq!((collecting.looked, collecting.batch_done), ((0, 0), false));
}
