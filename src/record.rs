//! Records as they come in batches, and positions in a shard.

use std::cmp::Ordering;
use std::fmt;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::protocol::WireRecord;

/// A place in a shard: what a checkpoint names.
///
/// Ordered as KCL orders it (`ExtendedSequenceNumber.java`): by number, then by place within the
/// aggregate. The number has up to 56 digits, so it is kept as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Decimal digits.
    pub sequence_number: String,
    /// The place within a KPL aggregate; 0 for a plain record.
    pub sub_sequence_number: u64,
}

impl Position {
    /// The position of these two numbers, or `None` where the first is not decimal digits, as a lease's
    /// `TRIM_HORIZON`.
    pub fn new(sequence_number: &str, sub_sequence_number: u64) -> Option<Position> {
        is_number(sequence_number).then(|| Position {
            sequence_number: sequence_number.to_owned(),
            sub_sequence_number,
        })
    }
}

/// Whether these are decimal digits, and not a sentinel. Without a way out at the first other byte, for then
/// the compiler looks at many at a time: every record of every batch passes here.
fn is_number(sequence_number: &str) -> bool {
    let bytes = sequence_number.bytes();
    !sequence_number.is_empty() && bytes.fold(true, |digits, b| digits & b.is_ascii_digit())
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> Ordering {
        let (a, b) = (
            self.sequence_number.trim_start_matches('0'),
            other.sequence_number.trim_start_matches('0'),
        );
        (a.len(), a, self.sub_sequence_number).cmp(&(b.len(), b, other.sub_sequence_number))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.sequence_number, self.sub_sequence_number)
    }
}

/// The records of one `processRecords`.
///
/// They stay in the line they came in, for a batch may have 16 MB and more: a record here is a few
/// numbers, and its payload is decoded when a handler is given it.
#[derive(Debug, Default)]
pub struct Batch {
    /// The daemon's line, and behind it the texts that stood in the line with escapes.
    text: String,
    records: Vec<Place>,
    /// How far behind the tip the batch was read, in milliseconds.
    pub millis_behind_latest: Option<i64>,
}

/// Where the records of a line stand in it.
///
/// Made while the line is borrowed by its parsed form, so that [`Batch::new`] can then take the line.
#[derive(Debug, Default)]
pub struct Layout {
    records: Vec<Place>,
    /// The texts that the line has with escapes; they are counted as if they stood behind it.
    escaped: String,
}

/// Where one record's texts are in [`Batch::text`].
#[derive(Debug)]
struct Place {
    data: Span,
    partition_key: Span,
    sequence_number: Span,
    approximate_arrival_timestamp: Option<i64>,
    sub_sequence_number: u64,
}

/// A range of bytes, small: a batch may have a million records.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

/// One record, as a view into its [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The payload as the daemon sent it, in base64.
    pub data_base64: &'a str,
    /// The partition key of the record, or of the user record within an aggregate.
    pub partition_key: &'a str,
    /// Decimal digits, shared by the records of an aggregate.
    pub sequence_number: &'a str,
    /// The place within the aggregate; 0 for a plain record.
    pub sub_sequence_number: u64,
    /// When Kinesis took the record in, in milliseconds since the epoch.
    pub approximate_arrival_timestamp: Option<i64>,
}

impl Batch {
    /// The records that `layout` found in `line`.
    pub fn new(mut line: String, layout: Layout, millis_behind_latest: Option<i64>) -> Batch {
        line.push_str(&layout.escaped);
        Batch {
            text: line,
            records: layout.records,
            millis_behind_latest,
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// The position of the last record.
    pub fn last(&self) -> Option<Position> {
        let last = self.len().checked_sub(1)?;
        Some(self.record(last).position())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// The record at `index`, counted from 0.
    pub fn record(&self, index: usize) -> Record<'_> {
        let place = &self.records[index];
        Record {
            data_base64: self.text(place.data),
            partition_key: self.text(place.partition_key),
            sequence_number: self.text(place.sequence_number),
            sub_sequence_number: place.sub_sequence_number,
            approximate_arrival_timestamp: place.approximate_arrival_timestamp,
        }
    }

    /// About how many bytes the payload at `index` has: three for four of base64.
    pub fn payload(&self, index: usize) -> u64 {
        let Span { start, end } = self.records[index].data;
        u64::from(end - start) / 4 * 3
    }

    fn text(&self, span: Span) -> &str {
        &self.text[span.start as usize..span.end as usize]
    }
}

impl Record<'_> {
    /// What a checkpoint at this record names.
    pub fn position(&self) -> Position {
        Position {
            sequence_number: self.sequence_number.to_owned(),
            sub_sequence_number: self.sub_sequence_number,
        }
    }

    /// Appends the payload to `out`.
    ///
    /// # Errors
    /// The data is not base64: the daemon broke the protocol.
    pub fn decode_into(&self, out: &mut Vec<u8>) -> Result<()> {
        STANDARD
            .decode_vec(self.data_base64, out)
            .with_context(|| format!("the data of record {} is not base64", self.position()))
    }
}

impl Layout {
    /// Finds in `line` the records that were parsed from it.
    ///
    /// # Errors
    /// A sequence number that is not decimal digits, for no checkpoint could name it; or a line of 4 GiB.
    pub fn find(line: &str, records: &[WireRecord<'_>]) -> Result<Layout> {
        let mut layout = Layout {
            records: Vec::with_capacity(records.len()),
            escaped: String::new(),
        };
        for record in records {
            let place = layout.place(line, record)?;
            layout.records.push(place);
        }
        Ok(layout)
    }

    fn place(&mut self, line: &str, record: &WireRecord<'_>) -> Result<Place> {
        let sequence_number: &str = &record.sequence_number;
        if !is_number(sequence_number) {
            let shown: String = sequence_number.chars().take(60).collect();
            bail!("the sequence number '{shown}' is not decimal digits");
        }
        Ok(Place {
            data: self.span(line, record.data.as_deref().unwrap_or_default())?,
            partition_key: self.span(line, &record.partition_key)?,
            sequence_number: self.span(line, sequence_number)?,
            approximate_arrival_timestamp: record.approximate_arrival_timestamp,
            sub_sequence_number: record.sub_sequence_number.unwrap_or(0),
        })
    }

    fn span(&mut self, line: &str, text: &str) -> Result<Span> {
        let start = if line.as_bytes().as_ptr_range().contains(&text.as_ptr()) {
            text.as_ptr() as usize - line.as_ptr() as usize
        } else {
            self.escaped.push_str(text);
            line.len() + self.escaped.len() - text.len()
        };
        let number = |n: usize| u32::try_from(n).context("a message of more than 4 GiB");
        Ok(Span {
            start: number(start)?,
            end: number(start + text.len())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Message;

    fn batch(line: &str) -> Batch {
        let Message::ProcessRecords { records, .. } = Message::parse(line).expect(line) else {
            panic!("no batch")
        };
        let layout = Layout::find(line, &records).expect(line);
        Batch::new(line.to_owned(), layout, None)
    }

    #[test]
    fn positions_are_ordered_as_numbers_then_by_place_in_the_aggregate() {
        let position = |number: &str, sub| Position::new(number, sub).expect(number);
        assert!(position("9", 5) < position("10", 0));
        assert!(position("0010", 1) > position("10", 0));
        assert!(
            position(
                "49590338271490256608559692538361571095921575989136588898",
                0
            ) > position("7", u64::MAX)
        );
        assert_eq!(Position::new("TRIM_HORIZON", 0), None);
        assert_eq!(Position::new("", 0), None);
    }

    #[test]
    fn a_record_is_what_the_line_says_of_it_also_with_escapes() {
        let batch = batch(
            r#"{"action":"processRecords","millisBehindLatest":3,"records":[{"data":"aGk=","partitionKey":"a\"b","sequenceNumber":"12","approximateArrivalTimestamp":5,"subSequenceNumber":2},{"data":null,"partitionKey":"","sequenceNumber":"1\u0033"}]}"#,
        );
        let first = batch.record(0);
        let mut payload = b"> ".to_vec();
        first.decode_into(&mut payload).expect("base64");
        assert_eq!(
            (payload.as_slice(), first.partition_key),
            (b"> hi".as_slice(), "a\"b")
        );
        assert_eq!(first.position().to_string(), "12.2");
        let second = batch.record(1);
        assert_eq!(
            (
                second.data_base64,
                second.partition_key,
                second.sequence_number
            ),
            ("", "", "13")
        );
        assert_eq!(
            (
                second.sub_sequence_number,
                second.approximate_arrival_timestamp
            ),
            (0, None)
        );
    }

    #[test]
    fn what_is_not_base64_or_not_a_number_is_an_error_without_the_payload() {
        let bad = batch(
            r#"{"action":"processRecords","records":[{"data":"s*cret","partitionKey":"k","sequenceNumber":"12"}]}"#,
        );
        let error = format!(
            "{:#}",
            bad.record(0)
                .decode_into(&mut Vec::new())
                .expect_err("bad base64")
        );
        assert!(
            error.contains("record 12.0 is not base64") && !error.contains("cret"),
            "{error}"
        );
        let line = r#"{"action":"processRecords","records":[{"sequenceNumber":"LATEST","data":"","partitionKey":""}]}"#;
        let Message::ProcessRecords { records, .. } = Message::parse(line).expect(line) else {
            panic!("no batch")
        };
        assert!(
            Layout::find(line, &records)
                .expect_err(line)
                .to_string()
                .contains("'LATEST'")
        );
    }
}
