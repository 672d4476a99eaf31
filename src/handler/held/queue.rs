//! The records that the daemon sent and that are not done yet: batches behind each other, and their records
//! numbered through the lease.

use std::collections::VecDeque;
use std::fs::File;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::record::{Batch, Header, Position};

/// Batches, oldest first. A batch leaves when all its records are done and that is reported.
#[derive(Debug, Default)]
pub(in crate::handler) struct Queue {
    batches: VecDeque<Held>,
    /// The number of the next record that comes.
    next: usize,
    /// The lengths of all lines that were taken in.
    bytes: u64,
    /// For how long limits have held up handlers by now.
    pub(super) held_up: Duration,
}

/// A batch, with the number of its first record.
#[derive(Debug)]
struct Held {
    first: usize,
    batch: Batch,
    taken_in: Instant,
    /// The lengths of all lines before its own.
    offset: u64,
    /// For how long limits had held up handlers when it was taken in.
    held_up_before: Duration,
}

impl Queue {
    /// Takes a batch in, which has records; the number of the first.
    pub(in crate::handler) fn push(&mut self, batch: Batch, taken_in: Instant) -> usize {
        let (first, offset) = (self.next, self.bytes);
        self.next += batch.len();
        self.bytes += batch.line_len();
        self.batches.push_back(Held {
            first,
            batch,
            taken_in,
            offset,
            held_up_before: self.held_up,
        });
        first
    }

    /// The number of the next record that comes.
    pub(in crate::handler) fn end(&self) -> usize {
        self.next
    }

    /// How many bytes the daemon's lines have from the record at `index` on.
    pub(in crate::handler) fn bytes_from(&self, index: usize) -> u64 {
        self.bytes - self.offset(index)
    }

    /// The lengths of all lines before the record at `index`.
    fn offset(&self, index: usize) -> u64 {
        if index >= self.next {
            return self.bytes;
        }
        let held = self.held(index);
        held.offset + held.batch.begins(index - held.first)
    }

    /// What is known of the record at `index`, where `memory` may have a part of it.
    pub(in crate::handler) fn header<'a>(
        &'a self,
        index: usize,
        memory: &'a mut String,
    ) -> Header<'a> {
        let held = self.held(index);
        held.batch.header(index - held.first, memory)
    }

    /// When the record at `index` arrived in the stream, in milliseconds since the epoch.
    pub(in crate::handler) fn arrived(&self, index: usize) -> Option<i64> {
        let held = self.held(index);
        held.batch.arrived(index - held.first)
    }

    /// The position of the record at `index`.
    pub(in crate::handler) fn position(&self, index: usize) -> Position {
        let held = self.held(index);
        held.batch.position(index - held.first)
    }

    /// About what the record at `index` takes in the daemon's line.
    pub(in crate::handler) fn length(&self, index: usize) -> u64 {
        let held = self.held(index);
        held.batch.length(index - held.first)
    }

    /// How many bytes the payload at `index` has.
    pub(in crate::handler) fn payload(&self, index: usize) -> u64 {
        let held = self.held(index);
        held.batch.payload(index - held.first)
    }

    /// How far behind the tip the batch of this record was read, in milliseconds.
    pub(in crate::handler) fn millis_behind_latest(&self, index: usize) -> Option<i64> {
        self.held(index).batch.millis_behind_latest
    }

    /// When the record at `index` was taken in.
    pub(in crate::handler) fn taken_in(&self, index: usize) -> Instant {
        self.held(index).taken_in
    }

    /// For how long limits have held up handlers since the record at `index` was taken in.
    pub(in crate::handler) fn held_up(&self, index: usize) -> Duration {
        self.held_up - self.held(index).held_up_before
    }

    /// The batch that has the record at `index`, and the record's place in it.
    pub(in crate::handler) fn batch(&self, index: usize) -> (&Batch, usize) {
        let held = self.held(index);
        (&held.batch, index - held.first)
    }

    /// The payload at `index` stands in `file` now, at this place.
    pub(in crate::handler) fn moved(&mut self, index: usize, file: &Rc<File>, at: Range<u64>) {
        let place = self.place(index);
        let held = &mut self.batches[place];
        held.batch.moved(index - held.first, file, at);
    }

    /// Whether the oldest batch is done, where every record before `done_through` is.
    pub(in crate::handler) fn ends_by(&self, done_through: usize) -> bool {
        let oldest = self.batches.front();
        oldest.is_some_and(|held| held.end() <= done_through)
    }

    /// The furthest position of these records. A batch is in order, but an older position may come again in a
    /// later one.
    pub(in crate::handler) fn furthest(&self, records: Range<usize>) -> Option<Position> {
        let ends = self.batches.iter().map(Held::end);
        let last = records.clone().next_back()?;
        let within = ends.map(|end| end - 1).filter(|end| records.contains(end));
        let furthest = within.chain([last]).map(|index| self.position(index));
        furthest.max()
    }

    /// Frees the batches that are done through here.
    pub(in crate::handler) fn free(&mut self, done_through: usize) {
        while self.ends_by(done_through) {
            self.batches.pop_front();
        }
    }

    /// Forgets all that is held.
    pub(in crate::handler) fn clear(&mut self) {
        self.batches.clear();
    }

    fn held(&self, index: usize) -> &Held {
        &self.batches[self.place(index)]
    }

    fn place(&self, index: usize) -> usize {
        // Each record is asked for many times, and nearly always it is one of the oldest batch.
        if self
            .batches
            .get(1)
            .is_none_or(|second| index < second.first)
        {
            return 0;
        }
        let after = self.batches.partition_point(|held| held.first <= index);
        after
            .checked_sub(1)
            .expect("no record before the oldest is asked for")
    }
}

impl Held {
    /// The number after its last record's.
    fn end(&self) -> usize {
        self.first + self.batch.len()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A batch of records with these sequence numbers.
    fn batch(numbers: &[u32]) -> Batch {
        let record = |number: &u32| {
            format!(r#"{{"data":"YWJj","partitionKey":"k","sequenceNumber":"{number}"}}"#)
        };
        let records: Vec<String> = numbers.iter().map(record).collect();
        let line = format!(
            r#"{{"action":"processRecords","millisBehindLatest":7,"records":[{}]}}"#,
            records.join(",")
        );
        Batch::of(&line)
    }

    #[test]
    fn records_are_numbered_through_and_batches_leave_when_they_are_done() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        assert_eq!(
            (
                queue.push(batch(&[11, 12]), now),
                queue.push(batch(&[13]), now)
            ),
            (0, 2)
        );
        assert_eq!(queue.position(2).to_string(), "13.0");
        assert!(!queue.ends_by(1) && queue.ends_by(2));
        queue.free(1);
        assert_eq!(queue.position(1).to_string(), "12.0");
        queue.free(2);
        assert_eq!(
            (queue.end(), queue.position(2).to_string()),
            (3, "13.0".to_owned())
        );
        assert!(!queue.ends_by(2), "the one that is done has left");
        queue.free(3);
        assert_eq!((queue.bytes_from(3), queue.push(batch(&[14]), now)), (0, 3));
    }

    #[test]
    fn a_record_is_held_up_for_what_a_limit_took_since_it_was_taken_in() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push(batch(&[11]), now);
        queue.held_up = Duration::from_secs(10);
        queue.push(batch(&[12]), now);
        queue.held_up = Duration::from_secs(15);
        let held_up = [0, 1].map(|index| queue.held_up(index).as_secs());
        assert_eq!(held_up, [15, 5]);
        assert_eq!(queue.millis_behind_latest(1), Some(7));
    }

    #[test]
    fn an_older_position_that_comes_again_is_not_the_furthest() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for numbers in [&[11, 12][..], &[11], &[11, 12, 13]] {
            queue.push(batch(numbers), now);
        }
        let furthest = |records| queue.furthest(records).expect("records").to_string();
        assert_eq!(
            [furthest(0..3), furthest(2..3), furthest(2..6)],
            ["12.0", "11.0", "13.0"]
        );
    }

    #[test]
    fn a_payload_that_moved_is_read_from_its_place() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.push(batch(&[11, 12]), now);
        queue.push(batch(&[13, 14]), now);
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(b"..xyz").expect("written");
        queue.moved(3, &Rc::new(file), 2..5);
        let data = [2, 3].map(|index| {
            let (batch, place) = queue.batch(index);
            let mut memory = String::new();
            let record = batch.record(place, &mut memory).expect("a record");
            record.data_base64.to_string()
        });
        assert_eq!(data, ["YWJj", "eHl6"]);
    }

    #[test]
    fn held_is_counted_from_the_first_record_that_is_not_done() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        let (one, two) = (batch(&[11, 12]), batch(&[13]));
        let (begins, lines) = (one.begins(1), [one.line_len(), two.line_len()]);
        queue.push(one, now);
        queue.push(two, now);
        assert_eq!(queue.bytes_from(1), lines[0] - begins + lines[1]);
        assert_eq!(queue.bytes_from(3), 0);
        queue.free(2);
        assert!(queue.bytes_from(2) < lines[1]);
        queue.clear();
        assert!(queue.batches.is_empty());
    }
}
