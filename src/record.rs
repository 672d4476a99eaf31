//! Records as they come in batches, and positions in a shard.

use std::cmp::Ordering;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

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
/// numbers, and its payload is decoded when a handler is given it. A payload that stands in a file, too, need
/// not stay in memory: once that is so of all of them, only keys are left here, and of numbers what is not the same
/// in all of them.
#[derive(Debug, Default)]
pub struct Batch {
    /// The daemon's line, and after it the texts that stood in the line with escapes; or only those texts
    /// that are no payloads.
    text: String,
    /// What all sequence numbers begin with, where the text has only the rest of them.
    prefix: String,
    records: Vec<Place>,
    /// The files that have payloads.
    files: Vec<Filed>,
    /// How many payloads are in files.
    filed: usize,
    /// The length of the daemon's line, in bytes.
    line: u32,
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

/// Where one record's texts are.
#[derive(Debug)]
struct Place {
    /// In [`Batch::text`], or in a file.
    data: Span,
    partition_key: Span,
    sequence_number: Span,
    /// [`UNKNOWN`] for none: an option would take twice the room.
    approximate_arrival_timestamp: i64,
    sub_sequence_number: u64,
    /// How many bytes the payload has.
    payload: u32,
    /// Where the record begins in the daemon's line.
    begins: u32,
    /// The file that has its payload, counted from 1; 0 for none.
    file: u32,
}

/// What stands around a record's texts in the daemon's line: names, quotes, and two numbers.
const AROUND: u64 = 140;

/// No time of arrival.
const UNKNOWN: i64 = i64::MIN;

/// A file that has payloads.
#[derive(Debug)]
struct Filed {
    file: Rc<File>,
    /// Places in it are counted from here.
    base: u64,
    stands: Stands,
}

/// How payloads stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    /// In base64, as the daemon sent them.
    Encoded,
    /// As they are.
    Plain,
}

/// How many bytes this base64 stands for: three for four, without what its end only fills up.
fn decoded_len(base64: &str) -> u32 {
    let end = base64.bytes().rev().take(2);
    let filling = end.filter(|byte| *byte == b'=').count();
    (base64.len() / 4 * 3).saturating_sub(filling) as u32
}

/// A range of bytes, small: a batch may have a million records.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

/// What is known of a record besides its payload, as a view into its [`Batch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The partition key of the record, or of the user record within an aggregate.
    pub partition_key: &'a str,
    /// Decimal digits, shared by the records of an aggregate.
    pub sequence_number: &'a str,
    /// The place within the aggregate; 0 for a plain record.
    pub sub_sequence_number: u64,
    /// When Kinesis took the record in, in milliseconds since the epoch.
    pub approximate_arrival_timestamp: Option<i64>,
}

/// One record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Which it is.
    pub header: Header<'a>,
    /// The payload as the daemon sent it, in base64.
    pub data_base64: &'a str,
}

impl Batch {
    /// The records that `layout` found in `line`.
    pub fn new(mut line: String, layout: Layout, millis_behind_latest: Option<i64>) -> Batch {
        let length = u32::try_from(line.len()).unwrap_or(u32::MAX);
        line.push_str(&layout.escaped);
        Batch {
            text: line,
            prefix: String::new(),
            records: layout.records,
            files: Vec::new(),
            filed: 0,
            line: length,
            millis_behind_latest,
        }
    }

    /// Leaves out the records for whose time of arrival this is `false`.
    pub fn retain(&mut self, mut keep: impl FnMut(Option<i64>) -> bool) {
        self.records.retain(|place| keep(place.arrived()));
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// The length of the daemon's line, in bytes.
    pub fn line_len(&self) -> u64 {
        u64::from(self.line)
    }

    /// Where the record at `index` begins in the daemon's line, and the end of the line after the last.
    pub fn begins(&self, index: usize) -> u64 {
        let begins = self.records.get(index).map(|place| place.begins);
        u64::from(begins.unwrap_or(self.line))
    }

    /// The position of the last record.
    pub fn last(&self) -> Option<Position> {
        let last = self.len().checked_sub(1)?;
        Some(self.position(last))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// What is known of the record at `index`, counted from 0. A number that is not whole in memory is put together
    /// in `memory`.
    pub fn header<'a>(&'a self, index: usize, memory: &'a mut String) -> Header<'a> {
        let place = &self.records[index];
        memory.clear();
        self.put_together(place, memory);
        self.header_of(place, memory)
    }

    /// The same; `number` is what was put together.
    #[inline(always)]
    fn header_of<'a>(&'a self, place: &Place, number: &'a str) -> Header<'a> {
        Header {
            partition_key: self.text(place.partition_key),
            sequence_number: match self.prefix.is_empty() {
                true => self.text(place.sequence_number),
                false => number,
            },
            sub_sequence_number: place.sub_sequence_number,
            approximate_arrival_timestamp: place.arrived(),
        }
    }

    /// Appends the sequence number to `memory`, if it is not whole already.
    fn put_together(&self, place: &Place, memory: &mut String) {
        if !self.prefix.is_empty() {
            memory.push_str(&self.prefix);
            memory.push_str(self.text(place.sequence_number));
        }
    }

    /// The position of the record at `index`.
    pub fn position(&self, index: usize) -> Position {
        self.header(index, &mut String::new()).position()
    }

    /// When the record at `index` arrived in the stream, in milliseconds since the epoch.
    pub fn arrived(&self, index: usize) -> Option<i64> {
        self.records[index].arrived()
    }

    /// The partition key of the record at `index`.
    pub fn partition_key(&self, index: usize) -> &str {
        self.text(self.records[index].partition_key)
    }

    /// The record at `index`, counted from 0. A payload that is in a file alone is read into `memory`.
    ///
    /// # Errors
    /// The file cannot be read.
    // In line where it is called: to copy what was just stored, field by field, would be felt at each record.
    #[inline(always)]
    pub fn record<'a>(&'a self, index: usize, memory: &'a mut String) -> Result<Record<'a>> {
        let place = &self.records[index];
        if place.file > 0 || !self.prefix.is_empty() {
            return self.read(place, index, memory);
        }
        Ok(Record {
            header: self.header_of(place, ""),
            data_base64: self.text(place.data),
        })
    }

    /// The same where not all of it is in memory.
    fn read<'a>(
        &'a self,
        place: &Place,
        index: usize,
        memory: &'a mut String,
    ) -> Result<Record<'a>> {
        memory.clear();
        self.put_together(place, memory);
        let number = memory.len();
        let filed = self.file(place);
        if let Some(filed) = filed {
            filed.read(place.data, memory).with_context(|| {
                let position = self.position(index);
                format!("cannot read record {position} from the file where it waits")
            })?;
        }
        let (number, data) = memory.split_at(number);
        Ok(Record {
            header: self.header_of(place, number),
            data_base64: match filed {
                None => self.text(place.data),
                Some(_) => data,
            },
        })
    }

    /// About what the record at `index` takes in the daemon's line: the same wherever it stands, so that
    /// borders which depend on it are a function of the records.
    pub fn length(&self, index: usize) -> u64 {
        let place = &self.records[index];
        let data = place.payload.div_ceil(3) * 4;
        let number = self.prefix.len() + place.sequence_number.len();
        let texts = place.partition_key.len() + number;
        u64::from(data) + texts as u64 + AROUND
    }

    /// How many bytes the payload at `index` has.
    pub fn payload(&self, index: usize) -> u64 {
        u64::from(self.records[index].payload)
    }

    /// Appends the payloads, as they came, to what `file` holds, and keeps them there alone.
    ///
    /// # Errors
    /// The file cannot be written; the payloads are still in memory.
    pub fn move_to(&mut self, file: &Rc<File>) -> io::Result<()> {
        let base = file.metadata()?.len();
        file.write_all_at(self.text.as_bytes(), base)?;
        self.files = vec![Filed {
            file: Rc::clone(file),
            base,
            stands: Stands::Encoded,
        }];
        self.records.iter_mut().for_each(|place| place.file = 1);
        self.filed = self.len();
        self.forget_payloads();
        Ok(())
    }

    /// The payload at `index` stands in `file` now, as it is, at `at`. Memory is freed once this is so of all.
    pub fn moved(&mut self, index: usize, file: &Rc<File>, at: Range<u64>) {
        if self.records[index].file > 0 {
            return;
        }
        let of = |filed: &Filed| Rc::ptr_eq(&filed.file, file) && filed.stands == Stands::Plain;
        let known = self.files.last().is_some_and(of);
        if !known {
            self.files.push(Filed {
                file: Rc::clone(file),
                base: at.start,
                stands: Stands::Plain,
            });
        }
        let base = self.files.last().map_or(0, |filed| filed.base);
        let offset = |at: u64| at.checked_sub(base).and_then(|at| u32::try_from(at).ok());
        // What is too far away stays in memory.
        if let (Some(start), Some(end)) = (offset(at.start), offset(at.end)) {
            let place = &mut self.records[index];
            place.data = Span { start, end };
            place.file = self.files.len() as u32;
            self.filed += 1;
            if self.filed == self.len() {
                self.forget_payloads();
            }
        }
    }

    /// Keeps nothing in memory but what headers need.
    fn forget_payloads(&mut self) {
        self.prefix = self.common_prefix();
        for place in &mut self.records {
            place.sequence_number.start += self.prefix.len() as u32;
        }
        let texts = |place: &Place| place.partition_key.len() + place.sequence_number.len();
        let length = self.records.iter().map(texts).sum();
        let line = std::mem::replace(&mut self.text, String::with_capacity(length));
        for place in &mut self.records {
            for span in [&mut place.partition_key, &mut place.sequence_number] {
                let start = self.text.len() as u32;
                self.text.push_str(&line[span.range()]);
                let end = self.text.len() as u32;
                *span = Span { start, end };
            }
        }
    }

    /// What all sequence numbers begin with: most of each, for they differ by when and where a record came.
    fn common_prefix(&self) -> String {
        let mut numbers = self
            .records
            .iter()
            .map(|place| self.text(place.sequence_number));
        let mut common = numbers.next().unwrap_or_default();
        for number in numbers {
            while !number.starts_with(common) {
                common = &common[..common.len() - 1];
            }
        }
        common.to_owned()
    }

    fn file(&self, place: &Place) -> Option<&Filed> {
        let number = (place.file as usize).checked_sub(1)?;
        self.files.get(number)
    }

    fn text(&self, span: Span) -> &str {
        &self.text[span.range()]
    }
}

#[cfg(test)]
impl Batch {
    /// How many bytes of payloads, keys and numbers are in memory.
    pub(crate) fn in_memory(&self) -> usize {
        self.text.len() + self.prefix.len()
    }

    /// The records of a line.
    pub(crate) fn of(line: &str) -> Batch {
        let message = crate::protocol::Message::parse(line).expect(line);
        let crate::protocol::Message::ProcessRecords {
            records,
            millis_behind_latest,
        } = message
        else {
            panic!("no records: {line}")
        };
        let layout = Layout::find(line, &records).expect(line);
        Batch::new(line.to_owned(), layout, millis_behind_latest)
    }
}

impl Place {
    fn arrived(&self) -> Option<i64> {
        Some(self.approximate_arrival_timestamp).filter(|arrived| *arrived != UNKNOWN)
    }
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn len(self) -> usize {
        (self.end - self.start) as usize
    }
}

impl Filed {
    /// Reads a payload, as base64, and appends it to `memory`.
    fn read(&self, span: Span, memory: &mut String) -> io::Result<()> {
        let mut bytes = vec![0; span.len()];
        let at = self.base + u64::from(span.start);
        self.file.read_exact_at(&mut bytes, at)?;
        match self.stands {
            Stands::Plain => STANDARD.encode_string(&bytes, memory),
            Stands::Encoded => {
                memory.push_str(str::from_utf8(&bytes).map_err(io::Error::other)?);
            }
        }
        Ok(())
    }
}

impl Header<'_> {
    /// What a checkpoint at this record names.
    pub fn position(&self) -> Position {
        Position {
            sequence_number: self.sequence_number.to_owned(),
            sub_sequence_number: self.sub_sequence_number,
        }
    }
}

impl Record<'_> {
    /// Appends the payload to `out`.
    ///
    /// # Errors
    /// The data is not base64: the daemon broke the protocol.
    pub fn decode_into(&self, out: &mut Vec<u8>) -> Result<()> {
        STANDARD.decode_vec(self.data_base64, out).with_context(|| {
            format!(
                "the data of record {} is not base64",
                self.header.position()
            )
        })
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
        let data = self.span(line, record.data.as_deref().unwrap_or_default())?;
        let partition_key = self.span(line, &record.partition_key)?;
        let sequence_number = self.span(line, sequence_number)?;
        // What stands in the line with escapes says nothing of where the record begins.
        let spans = [data, partition_key, sequence_number].map(|span| span.start);
        let first = spans[0].min(spans[1]).min(spans[2]);
        let before = self.records.last().map_or(0, |place| place.begins);
        Ok(Place {
            data,
            partition_key,
            sequence_number,
            approximate_arrival_timestamp: record.approximate_arrival_timestamp.unwrap_or(UNKNOWN),
            payload: decoded_len(record.data.as_deref().unwrap_or_default()),
            sub_sequence_number: record.sub_sequence_number.unwrap_or(0),
            begins: match (first as usize) < line.len() {
                true => first.max(before),
                false => before,
            },
            file: 0,
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
        let batch = Batch::of(
            r#"{"action":"processRecords","millisBehindLatest":3,"records":[{"data":"aGk=","partitionKey":"a\"b","sequenceNumber":"12","approximateArrivalTimestamp":5,"subSequenceNumber":2},{"data":null,"partitionKey":"","sequenceNumber":"1\u0033"}]}"#,
        );
        let mut memory = String::new();
        let first = batch.record(0, &mut memory).expect("in memory");
        let mut payload = b"> ".to_vec();
        first.decode_into(&mut payload).expect("base64");
        assert_eq!(
            (payload.as_slice(), first.header.partition_key),
            (b"> hi".as_slice(), "a\"b")
        );
        assert_eq!(first.header.position().to_string(), "12.2");
        let mut memory = String::new();
        let second = batch.record(1, &mut memory).expect("in memory");
        assert_eq!(
            (
                second.data_base64,
                second.header.partition_key,
                second.header.sequence_number
            ),
            ("", "", "13")
        );
        assert_eq!(
            (
                second.header.sub_sequence_number,
                second.header.approximate_arrival_timestamp
            ),
            (0, None)
        );
    }

    #[test]
    fn what_is_not_base64_or_not_a_number_is_an_error_without_the_payload() {
        let bad = Batch::of(
            r#"{"action":"processRecords","records":[{"data":"s*cret","partitionKey":"k","sequenceNumber":"12"}]}"#,
        );
        let error = format!(
            "{:#}",
            bad.record(0, &mut String::new())
                .expect("in memory")
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

    /// All payloads of `batch`.
    fn payloads(batch: &Batch) -> Vec<Vec<u8>> {
        let payload = |index| {
            let (mut memory, mut out) = (String::new(), Vec::new());
            let record = batch.record(index, &mut memory).expect("it is there");
            record.decode_into(&mut out).expect("base64");
            out
        };
        (0..batch.len()).map(payload).collect()
    }

    /// A file without a name.
    fn file() -> Rc<File> {
        Rc::new(tempfile::tempfile().expect("a file"))
    }

    const LINE: &str = r#"{"action":"processRecords","records":[{"data":"aGk=","partitionKey":"a\"b","sequenceNumber":"12"},{"data":"YQ==","partitionKey":"c","sequenceNumber":"13","subSequenceNumber":1}]}"#;

    #[test]
    fn payloads_that_were_moved_to_a_file_are_the_same_and_no_longer_in_memory() {
        let mut batch = Batch::of(LINE);
        let headers = |batch: &Batch| {
            let shown = |index| format!("{:?}", batch.header(index, &mut String::new()));
            (0..batch.len()).map(shown).collect::<Vec<String>>()
        };
        let (before, line) = (headers(&batch), batch.line_len());
        let file = file();
        file.write_all_at(b"what another batch left", 0)
            .expect("written");
        batch.move_to(&file).expect("written");
        assert_eq!((headers(&batch), batch.line_len()), (before, line));
        assert_eq!(payloads(&batch), [b"hi".to_vec(), b"a".to_vec()]);
        assert_eq!(
            (batch.prefix.as_str(), batch.text.as_str()),
            ("1", "a\"b2c3")
        );
    }

    #[test]
    fn a_payload_that_stands_in_an_input_leaves_memory_when_all_do() {
        let mut batch = Batch::of(LINE);
        let file = file();
        file.write_all_at(b"hi\na\n", 0).expect("written");
        batch.moved(1, &file, 3..4);
        assert!(batch.text.contains("YQ=="), "the other one is still needed");
        assert_eq!(payloads(&batch), [b"hi".to_vec(), b"a".to_vec()]);
        assert_eq!((batch.payload(0), batch.payload(1)), (2, 1));
        batch.moved(0, &file, 0..2);
        assert!(
            batch.text.contains("aGk="),
            "before the place that others are counted from"
        );
    }

    #[test]
    fn a_record_is_as_long_wherever_it_stands() {
        let record = |key: &str| {
            format!(r#"{{"data":"aGk=","partitionKey":"{key}","sequenceNumber":"12"}}"#)
        };
        let of = |records: &[String]| {
            Batch::of(&format!(
                r#"{{"action":"processRecords","records":[{}]}}"#,
                records.join(",")
            ))
        };
        let (one, two) = (of(&[record("a")]), of(&[record("abc"), record("a")]));
        assert_eq!(
            (one.length(0), two.length(1)),
            (4 + 1 + 2 + AROUND, one.length(0))
        );
        assert_eq!(two.length(0), one.length(0) + 2);
    }

    #[test]
    fn a_record_begins_where_its_text_does_in_the_line() {
        let batch = Batch::of(LINE);
        let text = |index: usize| &LINE[batch.begins(index) as usize..];
        assert!(text(0).starts_with("aGk="), "{}", text(0));
        assert!(text(1).starts_with("YQ=="), "{}", text(1));
        assert_eq!(batch.begins(2), LINE.len() as u64);
    }
}
