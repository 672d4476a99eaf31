//! Tests of what the loop does in one turn, and before it sleeps.

use std::cell::Cell;
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::tests::settings as usual;
use super::{Children, ExitReport, Happening, Pool, Role};
use crate::backoff::Delays;
use crate::clock::Clock;
use crate::dead_letter::Appended;
use crate::filter::{Filter, NonJson, patterns};
use crate::format::{Data, Decompress, Decompression, Format};
use crate::handler::{Event, Finish, First, Handlers, Limits, OnFailure, Per, Read, Settings};
use crate::outcome::{Class, Ended, OnExit};
use crate::process::{Command, Input, Spawn, Stop};
use crate::protocol::Message;
use crate::record::{Batch, Layout};

const SECOND: Duration = Duration::from_secs(1);

/// A time that goes on when a child takes it.
struct Time {
    base: Instant,
    passed: Cell<Duration>,
}

impl Time {
    fn new() -> Time {
        Time {
            base: Instant::now(),
            passed: Cell::default(),
        }
    }
}

impl Clock for Time {
    fn now(&self) -> Instant {
        self.base + self.passed.get()
    }

    fn time_of_day(&self) -> SystemTime {
        UNIX_EPOCH + self.passed.get()
    }
}

/// How long a sleep takes, and what ends meanwhile: the handler in which slot, and with which code.
type Sleep = (Duration, Vec<(usize, u8)>);

/// What happens in each sleep; one more sleep than that is a fault.
struct Script<'a> {
    time: &'a Time,
    sleeps: VecDeque<Sleep>,
    /// Inputs that cannot be started with.
    refused: BTreeSet<Vec<u8>>,
    started: Vec<Vec<u8>>,
    running: BTreeSet<Role>,
    /// The daemon has written something.
    readable: bool,
}

impl<'a> Script<'a> {
    fn new(time: &'a Time, sleeps: VecDeque<Sleep>) -> Script<'a> {
        Script {
            time,
            sleeps,
            refused: BTreeSet::new(),
            started: Vec::new(),
            running: BTreeSet::new(),
            readable: false,
        }
    }
}

impl Children for Script<'_> {
    fn find(&self, _what: &str, _command: &Command) -> Result<()> {
        Ok(())
    }

    fn has_host_slot(&mut self) -> bool {
        true
    }

    fn leave_host_slot(&mut self) {}

    fn start(
        &mut self,
        role: Role,
        _: &Command,
        _: &Spawn<'_>,
        input: Input,
    ) -> Result<(), String> {
        let input = input.into_bytes().map_err(|e| e.to_string())?;
        self.started.push(input.clone());
        if self.refused.remove(&input) {
            return Err("text file busy".to_owned());
        }
        self.running.insert(role);
        Ok(())
    }

    fn pid(&self, _role: Role) -> Option<i32> {
        Some(1)
    }

    fn has_ended(&self, _role: Role) -> bool {
        false
    }

    fn is_fed(&self, _role: Role) -> bool {
        true
    }

    fn unread(&self, _role: Role) -> u64 {
        0
    }

    fn any_running(&self) -> bool {
        !self.running.is_empty()
    }

    fn feed(&mut self, _role: Role, _bytes: &mut Vec<u8>) {}

    fn printed(&mut self, _role: Role) -> Vec<Vec<u8>> {
        Vec::new()
    }

    fn close_input(&mut self, _role: Role) {}

    fn finish(&mut self, _role: Role, _stop: Stop) {}

    fn stop(&mut self, _role: Role, _stop: Stop) {}

    fn keep_letters(&mut self, _file: &Path, _letters: &[u8]) -> Result<Appended> {
        Ok(Appended::Kept)
    }

    fn spool(&mut self, _directory: &Path, _batch: &mut Batch) -> io::Result<()> {
        Ok(())
    }

    fn wait(&mut self, watch_input: bool, until: Option<Instant>) -> Result<Vec<Happening>> {
        let (time, ends) = self
            .sleeps
            .pop_front()
            .expect("the pool sleeps once too often");
        if ends.is_empty() {
            let wakes = until.is_some_and(|until| until <= self.time.now() + time);
            assert!(wakes, "nothing else would wake it");
        }
        self.time.passed.set(self.time.passed.get() + time);
        let ended = |(slot, code): (usize, u8)| {
            self.running.remove(&Role::Handler(slot));
            Happening::Ended {
                role: Role::Handler(slot),
                report: ExitReport::of(Ended::Code(code)),
            }
        };
        let input = (watch_input && self.readable).then_some(Happening::Input);
        Ok(ends.into_iter().map(ended).chain(input).collect())
    }
}

/// Delays of a second, and what is given up is skipped.
fn settings(jobs: usize, max_age: Option<Duration>) -> Settings {
    Settings {
        jobs,
        limits: Limits {
            max_attempts: None,
            max_age,
            max_consecutive_failures: 0,
        },
        delays: Delays {
            first: SECOND,
            longest: SECOND,
            jitter: false,
        },
        on_failure: OnFailure::Skip,
        ..usual(Per::Record)
    }
}

/// Records of a key each with these payloads in base64, which arrived at the beginning of time.
fn batch(payloads: &[&str]) -> Batch {
    let record = |(index, data): (usize, &&str)| {
        format!(
            r#"{{"data":"{data}","partitionKey":"{index}","sequenceNumber":"{index}","approximateArrivalTimestamp":0}}"#
        )
    };
    let records: Vec<String> = payloads.iter().enumerate().map(record).collect();
    let line = format!(
        r#"{{"action":"processRecords","records":[{}]}}"#,
        records.join(",")
    );
    let Message::ProcessRecords { records, .. } = Message::parse(&line).expect("a message") else {
        panic!("no batch")
    };
    let layout = Layout::find(&line, &records).expect("records");
    drop(records);
    Batch::new(line, layout, None)
}

/// A read of these records.
fn read(payloads: &[&str]) -> Read {
    Read {
        batch: batch(payloads),
        first: First::WithOthers,
        fresh: true,
    }
}

/// How many records more are done at the next event, which may also be one of none.
fn records_done(pool: &mut Pool<'_>) -> u64 {
    let event = pool.wait(false, None).expect("it goes on");
    if let Event::Done { records, .. } = event {
        return records;
    }
    assert_eq!(event, Event::Blocked);
    0
}

/// Offers `payloads` to a pool whose children do as scripted; the records that are done, one number for each
/// event and 0 for one without any, and what was started.
fn play(
    settings: Settings,
    payloads: &[&str],
    sleeps: &[(u64, &[(usize, u8)])],
    refused: &[u8],
) -> (Vec<u64>, String) {
    let time = Time::new();
    let sleeps = sleeps
        .iter()
        .map(|(seconds, ends)| (SECOND * *seconds as u32, ends.to_vec()));
    let mut children = Script::new(&time, sleeps.collect());
    children.refused.insert(refused.to_vec());
    let mut pool = Pool::new(settings, &mut children, &time);
    pool.offer(read(payloads));
    let (mut done, mut left) = (Vec::new(), payloads.len() as u64);
    while left > 0 {
        let records = records_done(&mut pool);
        done.push(records);
        left -= records;
    }
    drop(pool);
    assert!(children.sleeps.is_empty(), "the pool sleeps too seldom");
    (
        done,
        String::from_utf8_lossy(&children.started.concat()).replace('\n', " "),
    )
}

#[test]
fn where_a_handler_cannot_be_started_its_place_is_free_for_what_need_not_wait() {
    // The first record goes on meanwhile, so nothing is reported that would lead to another turn.
    let sleeps: &[(u64, &[(usize, u8)])] = &[
        (0, &[(1, 0)]),
        (0, &[(0, 0), (1, 0)]),
        (1, &[]),
        (0, &[(0, 0)]),
    ];
    let payloads = ["YQ==", "Yg==", "Yw==", "ZA=="];
    let (done, started) = play(settings(2, None), &payloads, sleeps, b"c\n");
    assert_eq!(
        (done.as_slice(), started.as_str()),
        ([2, 2].as_slice(), "a b c d c ")
    );
}

#[test]
fn what_happens_while_unfit_records_are_passed_leads_to_something_before_the_next_sleep() {
    // The second payload holds a line feed.
    let sleeps: &[(u64, &[(usize, u8)])] = &[(0, &[(0, 0)]), (0, &[(1, 0)]), (0, &[(0, 0)])];
    let (done, started) = play(
        settings(2, None),
        &["YQ==", "YQpi", "Yw==", "ZA=="],
        sleeps,
        b"",
    );
    assert_eq!(
        (done.as_slice(), started.as_str()),
        ([2, 1, 1].as_slice(), "a c d ")
    );
}

#[test]
fn a_turn_passes_so_many_unfit_records_and_then_it_is_the_others_turn() {
    // The pool looks up before it reports each of the two events.
    let sleeps: &[(u64, &[(usize, u8)])] = &[(0, &[]), (0, &[])];
    let (done, started) = play(settings(1, None), &["YQpi"; 129], sleeps, b"");
    assert_eq!(
        (done.as_slice(), started.as_str()),
        ([128, 1].as_slice(), "")
    );
}

/// What the daemon wrote can be read until the bridge has read it, and a second read would wait.
#[test]
fn input_is_an_event_once_however_long_unfit_records_are_passed() {
    let time = Time::new();
    let mut children = Script::new(&time, [(SECOND, Vec::new()), (SECOND, Vec::new())].into());
    children.readable = true;
    let mut pool = Pool::new(settings(1, None), &mut children, &time);
    pool.offer(read(&["YQpi"; 129]));
    let mut event = || {
        let event = pool.wait(true, Some(time.now()));
        event.expect("it goes on")
    };
    assert!(matches!(event(), Event::Done { records: 128, .. }));
    assert_eq!(event(), Event::Input);
    assert!(matches!(event(), Event::Done { records: 1, .. }));
    assert_eq!(event(), Event::Deadline);
}

/// A payload as it comes where payloads are compressed.
fn compressed(text: &[u8]) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).expect("memory");
    STANDARD.encode(encoder.finish().expect("memory"))
}

fn decompressing(jobs: usize) -> Settings {
    Settings {
        decompress: Some(Decompression {
            which: Decompress::Gzip,
            largest: Decompression::LARGEST,
        }),
        ..settings(jobs, None)
    }
}

const MIB: usize = 1024 * 1024;

#[test]
fn a_turn_passes_so_many_bytes_of_unfit_records_when_they_have_to_be_decompressed() {
    let small = compressed(b"a\nb");
    for (size, turns) in [(16 * MIB, &[1, 1][..]), (16 * MIB - 1, &[2])] {
        let large = compressed(&vec![b'\n'; size]);
        let sleeps: &[(u64, &[(usize, u8)])] = &[(0, &[]), (0, &[])];
        let (done, _) = play(
            decompressing(1),
            &[&large, &small],
            &sleeps[..turns.len()],
            b"",
        );
        assert_eq!(done, turns);
    }
}

/// The same, and only what is 1 is handed over.
fn filtering(jobs: usize) -> Settings {
    let one = patterns("F", r#"{"data": [1]}"#).expect("a pattern");
    Settings {
        filter: Some(Filter::new(one, NonJson::Skip)),
        ..decompressing(jobs)
    }
}

#[test]
fn a_turn_filters_so_many_bytes_when_they_have_to_be_decompressed() {
    // The first is judged when it is offered, and each turn judges one more.
    for (size, turns) in [(16 * MIB, &[(0, &[][..])][..]), (5 * MIB, &[])] {
        let large = compressed(&vec![0xff; size]);
        let (done, _) = play(filtering(1), &[&large, &large, &large], turns, b"");
        assert_eq!(done, [3]);
    }
}

#[test]
fn a_turn_holds_so_many_bytes_against_a_pattern() {
    let patterns = patterns("F", &r#"{"data": [1]}"#.repeat(16)).expect("patterns");
    let settings = Settings {
        filter: Some(Filter::new(patterns, NonJson::Skip)),
        ..settings(1, None)
    };
    let payload = STANDARD.encode(vec![0xff; MIB]);
    let (done, _) = play(settings, &[&*payload; 3], &[(0, &[])], b"");
    assert_eq!(done, [3]);
}

#[test]
fn handlers_are_heard_while_a_read_is_filtered() {
    let time = Time::new();
    let ended = (Duration::ZERO, vec![(0, 0)]);
    let mut children = Script::new(&time, [ended.clone(), ended].into());
    let settings = Settings {
        read_ahead: 1_000_000,
        ..filtering(1)
    };
    let mut pool = Pool::new(settings, &mut children, &time);
    let (one, large) = (compressed(b"1"), compressed(&vec![0xff; 16 * MIB]));
    pool.offer(read(&[&one, &one]));
    assert_eq!(records_done(&mut pool), 1);
    pool.offer(read(&[&*large; 4]));
    // The second is done before all of the read is judged.
    assert_eq!([1, 4], [(); 2].map(|()| records_done(&mut pool)));
}

#[test]
fn a_read_that_is_being_filtered_is_dropped_with_all_others() {
    let time = Time::new();
    let mut children = Script::new(&time, VecDeque::new());
    let mut pool = Pool::new(filtering(1), &mut children, &time);
    let large = compressed(&vec![0xff; 16 * MIB]);
    pool.offer(read(&[&large, &large]));
    assert!(pool.holds_any() && !pool.has_room());
    pool.finish(Finish::Stop);
    assert!(!pool.holds_any() && pool.has_room());
    assert_eq!(pool.wait(false, None).expect("it goes on"), Event::Finished);
}

#[test]
fn a_turn_hands_over_as_many_large_records_as_there_are_handlers() {
    let large = compressed(&vec![b'a'; 16 * MIB]);
    // Both have been started before the first sleep.
    let sleeps: &[(u64, &[(usize, u8)])] = &[(0, &[(0, 0), (1, 0)])];
    let (done, _) = play(decompressing(2), &[&large, &large], sleeps, b"");
    assert_eq!(done, [2]);
}

#[test]
fn a_large_batch_is_given_again_as_it_was_though_it_is_only_in_the_file_of_its_first_input() {
    // The whole of it fails; then one half of it is done, and each of the others.
    let sleeps: &[(u64, &[(usize, u8)])] = &[
        (0, &[(0, 1)]),
        (1, &[]),
        (0, &[(0, 0)]),
        (0, &[(0, 0)]),
        (0, &[(0, 0)]),
    ];
    let payloads = ["a", "b", "c", "d"].map(|text| text.repeat(200 * 1024));
    let encoded = payloads.each_ref().map(|payload| STANDARD.encode(payload));
    let encoded = encoded.each_ref().map(String::as_str);
    for (format, length) in [(Format::Lines, ""), (Format::Netstring, "204800:")] {
        let mut settings = settings(1, None);
        settings.per = Per::Batch {
            size: None,
            bytes: None,
        };
        let end = if format == Format::Lines { " " } else { "," };
        settings.format = format;
        let (done, started) = play(settings, &encoded, sleeps, b"");
        let whole: String = payloads
            .iter()
            .map(|payload| format!("{length}{payload}{end}"))
            .collect();
        assert_eq!(done, [0, 2, 1, 1]);
        assert!(started == whole.repeat(2), "{} bytes", started.len());
    }
}

#[test]
fn the_last_record_of_a_large_batch_says_so_where_what_follows_it_proves_unfit_or_too_large() {
    let gzip = |payload: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(payload).expect("memory");
        STANDARD.encode(encoder.finish().expect("memory"))
    };
    let large = ["a", "b", "c"].map(|text| gzip(text.repeat(300 * 1024).as_bytes()));
    let unfit = STANDARD.encode("no gzip");
    let mut settings = settings(1, None);
    settings.per = Per::Batch {
        size: None,
        bytes: Some(700 * 1024),
    };
    settings.format = Format::Jsonl(Data::Text);
    settings.decompress = Some(Decompression {
        which: Decompress::Gzip,
        largest: Decompression::LARGEST,
    });
    let sleeps: &[(u64, &[(usize, u8)])] = &[(0, &[(0, 0)]), (0, &[(0, 0)]), (0, &[])];
    let payloads = [&*large[0], &large[1], &large[2], &unfit];
    let (done, started) = play(settings, &payloads, sleeps, b"");
    assert_eq!(done, [2, 2]);
    let lines = serde_json::Deserializer::from_str(&started).into_iter::<serde_json::Value>();
    let lines = lines.map(|line| {
        let line = line.expect("JSON");
        (line["sequenceNumber"].clone(), line["last"].clone())
    });
    let expected = [("0", false), ("1", true), ("2", true)];
    let expected = expected.map(|(number, last)| (number.into(), last.into()));
    assert_eq!(lines.collect::<Vec<_>>(), expected);
}

#[test]
fn the_age_of_a_record_is_that_at_the_end_of_its_attempt() {
    let sleeps: &[(u64, &[(usize, u8)])] = &[(5, &[(0, 1)])];
    let (done, started) = play(settings(1, Some(SECOND * 3)), &["YQ=="], sleeps, b"");
    assert_eq!((done.as_slice(), started.as_str()), ([1].as_slice(), "a "));
}

#[test]
fn who_waits_hears_of_a_record_that_begins_to_block_and_only_then() {
    let sleeps: &[(u64, &[(usize, u8)])] = &[
        (0, &[(0, 1)]),
        (1, &[]),
        (0, &[(0, 1)]),
        (2, &[]),
        (0, &[(0, 0)]),
    ];
    let (done, started) = play(settings(1, None), &["YQ=="], sleeps, b"");
    assert_eq!(
        (done.as_slice(), started.as_str()),
        ([0, 1].as_slice(), "a a a ")
    );
}

#[test]
fn there_is_no_room_before_it_is_told_what_is_done_for_a_checkpoint_may_be_due() {
    let time = Time::new();
    let mut children = Script::new(&time, [(SECOND, vec![(0, 99)])].into());
    let settings = Settings {
        on_exit: OnExit(vec![(99, Class::Checkpoint)]),
        read_ahead: 1_000_000,
        ..settings(1, None)
    };
    let mut pool = Pool::new(settings, &mut children, &time);
    pool.offer(read(&["YQ==", "Yg=="]));
    let mut next = || (pool.wait(false, None).expect("it goes on"), pool.has_room());
    assert!(matches!(next(), (Event::CheckpointRequested(_), false)));
    assert!(matches!(next(), (Event::Done { records: 1, .. }, true)));
}
