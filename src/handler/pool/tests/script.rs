//! Plays a transcript: children, letters and a clock that do what it says.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;

use crate::backoff::Delays;
use crate::clock::Clock;
use crate::dead_letter::Appended;
use crate::format::Format;
use crate::handler::pool::{Children, ExitReport, Happening, Pool, Role};
use crate::handler::{
    Event, Finish, First, Handlers, HookEvent, Limits, OnFailure, Per, Read, Settings,
};
use crate::outcome::{Ended, OnExit};
use crate::process::{Command, Input, Spawn, Stop};
use crate::protocol::Message;
use crate::record::{Batch, Layout};

/// Settings with round numbers: delays of 1 s to 60 s, 10 s to stop.
pub(in crate::handler) fn settings(per: Per) -> Settings {
    Settings {
        command: Command::default(),
        per,
        format: Format::Lines,
        decompress: None,
        filter: None,
        jobs: 1,
        host_jobs: None,
        rate: None,
        on_exit: OnExit::default(),
        limits: Limits {
            max_attempts: None,
            max_age: None,
            max_consecutive_failures: 10,
        },
        delays: Delays {
            first: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            jitter: false,
        },
        on_failure: OnFailure::Block,
        timeout: None,
        stop: Stop {
            signal: Signal::TERM,
            timeout: Duration::from_secs(10),
        },
        hook: None,
        read_ahead: 0,
        window: None,
        spool_dir: None,
        stream: None,
        application: None,
        placeholders: None,
    }
}

/// Plays `transcript`, and compares it with what comes of it.
#[track_caller]
pub(super) fn play(settings: Settings, transcript: &str) {
    let lines: Vec<String> = transcript
        .lines()
        .map(|line| line.trim().to_owned())
        .collect();
    let given = |line: &&String| line.starts_with(['>', '*']);
    let stage = Stage::new();
    // The first thing that the bridge says is said before the first wait.
    let script = lines.iter().filter(given).skip(1).cloned().collect();
    let mut children = Scripted::new(&stage, script);
    let steps: Vec<String> = lines
        .iter()
        .filter(|line| line.starts_with('>'))
        .cloned()
        .collect();
    let windowed = settings.window.is_some();
    let mut pool = Pool::new(settings, &mut children, &stage);
    pool.begin("shardId-0").expect("a shard");
    let mut numbers = 0;
    for step in steps {
        stage.told.borrow_mut().push(step.clone());
        tell(&mut pool, &step, &mut numbers, stage.now());
        loop {
            let event = pool.wait(true, None).expect("nothing fails");
            if event == Event::Input {
                break;
            }
            if event == Event::Blocked {
                continue;
            }
            stage.told.borrow_mut().push(in_words(event, windowed));
        }
    }
    drop(pool);
    assert_eq!(stage.told.into_inner().join("\n"), lines.join("\n"));
}

/// What `look` finds in a pool that was offered these records.
pub(super) fn offered<T>(
    settings: Settings,
    records: &[&str],
    look: impl FnOnce(&mut Pool<'_>) -> T,
) -> T {
    let stage = Stage::new();
    let mut children = Scripted::new(&stage, VecDeque::new());
    let mut pool = Pool::new(settings, &mut children, &stage);
    pool.offer(read(batch(records, &mut 0), First::WithOthers));
    look(&mut pool)
}

/// What all share: the time, and the transcript so far.
struct Stage {
    began: Instant,
    now: RefCell<Instant>,
    told: RefCell<Vec<String>>,
}

impl Stage {
    fn new() -> Stage {
        let began = Instant::now();
        Stage {
            began,
            now: RefCell::new(began),
            told: RefCell::new(Vec::new()),
        }
    }
}

impl Clock for Stage {
    fn now(&self) -> Instant {
        *self.now.borrow()
    }

    fn time_of_day(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + (self.now() - self.began)
    }
}

fn tell(pool: &mut Pool<'_>, step: &str, numbers: &mut u32, now: Instant) {
    let words: Vec<&str> = step.split_whitespace().skip(1).collect();
    match words.as_slice() {
        ["offer", "alone", records @ ..] => pool.offer(read(batch(records, numbers), First::Alone)),
        ["offer", "again", from, records @ ..] => {
            let mut older = from.parse::<u32>().expect("a number") - 1;
            pool.offer(read(batch(records, &mut older), First::WithOthers));
        }
        ["offer", records @ ..] => pool.offer(read(batch(records, numbers), First::WithOthers)),
        ["finish", "orderly"] => pool.finish(Finish::Orderly),
        ["finish", "stop"] => pool.finish(Finish::Stop),
        ["finish", "in", time] => pool.finish(Finish::Drain(now + duration(time))),
        ["hook", "shard-end"] => assert!(pool.hook(HookEvent::ShardEnd)),
        ["hook", "lease-lost"] => assert!(pool.hook(HookEvent::LeaseLost)),
        _ => panic!("no such thing: {step}"),
    }
}

fn duration(text: &str) -> Duration {
    humantime::parse_duration(text).expect("a duration")
}

/// An event; where records are collected, also whether a handler's batch has ended with it.
fn in_words(event: Event, windowed: bool) -> String {
    match event {
        Event::Done {
            end,
            batch_ended: true,
            ..
        } if windowed => format!("= done {}, a batch", end.sequence_number),
        Event::Done { end, .. } => format!("= done {}", end.sequence_number),
        Event::Room => "= room".to_owned(),
        Event::CheckpointRequested(at) => format!("= checkpoint {}", at.sequence_number),
        Event::Halted(_) => "= halted".to_owned(),
        Event::Signal(_) => "= signal".to_owned(),
        Event::Finished => "= finished".to_owned(),
        Event::Hooked => "= hooked".to_owned(),
        Event::Input | Event::Blocked | Event::Deadline => {
            panic!("{event:?} is not reported here")
        }
    }
}

/// The payload that a word stands for: with a star at its end it has 200 KB of them, and `torn` is no whole gzip. A
/// tilde stands for a line feed.
fn payload(word: &str) -> Vec<u8> {
    match (word, word.strip_suffix('*')) {
        ("torn", _) => vec![0x1f, 0x8b, 8],
        (_, Some(begin)) => (begin.to_owned() + &"*".repeat(200 * 1024)).into_bytes(),
        (_, None) => word.replace('~', "\n").into_bytes(),
    }
}

/// The word that stands for a payload.
fn word(payload: &str) -> String {
    match payload.split_once('*') {
        Some((begin, _)) => format!("{begin}*"),
        None => payload.to_owned(),
    }
}

/// Records by their payloads, each perhaps with a key before it, and after it the second in which it arrived, or `-`
/// if that is not known; sequence numbers go on from batch to batch.
fn batch(records: &[&str], numbers: &mut u32) -> Batch {
    let records: Vec<String> = records
        .iter()
        .map(|record| {
            *numbers += 1;
            let (key, record) = record.split_once(':').unwrap_or(("k", record));
            let (payload, arrived) = record.split_once('@').unwrap_or((record, "1"));
            let arrived = match arrived {
                "-" => "null".to_owned(),
                seconds => format!("{seconds}000"),
            };
            let data = STANDARD.encode(self::payload(payload));
            format!(r#"{{"data":"{data}","partitionKey":"{key}","sequenceNumber":"{numbers}","subSequenceNumber":0,"approximateArrivalTimestamp":{arrived}}}"#)
        })
        .collect();
    let line = format!(
        r#"{{"action":"processRecords","records":[{}],"millisBehindLatest":0}}"#,
        records.join(",")
    );
    let Ok(Message::ProcessRecords { records, .. }) = Message::parse(&line) else {
        panic!("no batch: {line}")
    };
    let layout = Layout::find(&line, &records).expect("records");
    Batch::new(line.clone(), layout, Some(0))
}

/// Children that do what the transcript says.
struct Scripted<'a> {
    steps: VecDeque<String>,
    stage: &'a Stage,
    /// The tokens of those that run.
    running: BTreeMap<Role, String>,
    /// Those of them that have ended, and whose output is still read.
    ended: BTreeSet<Role>,
    /// How many bytes those have still to read that have not read all that they were given.
    behind: BTreeMap<Role, u64>,
    disk_is_full: bool,
    /// What has been printed since the last look.
    printed: Vec<(Role, Vec<u8>)>,
    host_slot: HostSlot,
    /// How often letters were offered.
    letters: u32,
}

/// What the pool has of the machine, where that is limited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HostSlot {
    None,
    AskedFor,
    Kept,
}

fn name(role: Role) -> String {
    match role {
        Role::Handler(slot) => slot.to_string(),
        Role::DeadLetter => "letter".to_owned(),
        Role::Hook => "hook".to_owned(),
    }
}

fn role(name: &str) -> Role {
    match name {
        "letter" => Role::DeadLetter,
        "hook" => Role::Hook,
        slot => Role::Handler(slot.parse().expect("a slot")),
    }
}

/// The payloads in an input: its lines, or those of the dead letters or the Lambda event in it. A point stands after a record that says
/// that it is the last one.
fn payloads(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let payload = |line: &str| match serde_json::from_str::<serde_json::Value>(line) {
        Ok(serde_json::Value::Object(record)) if record.contains_key("last") => {
            let last = if record["last"] == true { "." } else { "" };
            word(record["data"].as_str().expect("text")) + last
        }
        Ok(serde_json::Value::Object(event)) if event.contains_key("Records") => {
            let records = event["Records"].as_array().expect("records");
            let data = records.iter().map(|record| &record["kinesis"]["data"]);
            data.map(decoded).collect::<Vec<_>>().join(" ")
        }
        Ok(serde_json::Value::Object(letter)) => decoded(&letter["dataBase64"]),
        _ => word(line),
    };
    text.lines().map(payload).collect::<Vec<_>>().join(" ")
}

/// What a text in base64 stands for.
fn decoded(data: &serde_json::Value) -> String {
    let data = data.as_str().expect("a payload");
    String::from_utf8(STANDARD.decode(data).expect("base64")).expect("text")
}

impl<'a> Scripted<'a> {
    fn new(stage: &'a Stage, steps: VecDeque<String>) -> Scripted<'a> {
        Scripted {
            steps,
            stage,
            running: BTreeMap::new(),
            ended: BTreeSet::new(),
            behind: BTreeMap::new(),
            disk_is_full: false,
            printed: Vec::new(),
            host_slot: HostSlot::None,
            letters: 0,
        }
    }

    fn note(&self, line: impl Into<String>) {
        self.stage.told.borrow_mut().push(line.into());
    }

    /// What a step says; where it has several parts, all of them are seen at one look.
    fn happen(&mut self, step: &str, until: Option<Instant>) -> Vec<Happening> {
        let parts = step.trim_start_matches("* ").split(", ");
        parts
            .flat_map(|part| self.happen_one(part, until))
            .collect()
    }

    fn happen_one(&mut self, part: &str, until: Option<Instant>) -> Vec<Happening> {
        let words: Vec<&str> = part.split_whitespace().collect();
        match words.as_slice() {
            ["exit", who, code] => vec![self.exit(role(who), code, 0)],
            ["ends", who] => {
                self.ended.insert(role(who));
                Vec::new()
            }
            ["unread", who, bytes] => {
                let bytes = bytes.parse().expect("a number");
                self.behind.insert(role(who), bytes);
                Vec::new()
            }
            ["exit", who, code, "unread"] => vec![self.exit(role(who), code, u64::MAX)],
            ["says", who, answer @ ..] => vec![Happening::Line {
                role: role(who),
                line: self.line(role(who), answer),
            }],
            // Without its token.
            ["prints", who, line @ ..] => vec![Happening::Line {
                role: role(who),
                line: line.join(" ").into_bytes(),
            }],
            // Just after that look.
            ["then", "says", who, answer @ ..] => {
                let line = self.line(role(who), answer);
                self.printed.push((role(who), line));
                Vec::new()
            }
            // The pool looks at what has happened, and would not sleep.
            ["a", "look"] => Vec::new(),
            // What the bridge says next comes of it.
            ["input"] => {
                self.steps.pop_front();
                vec![Happening::Input]
            }
            ["signal"] => vec![Happening::Signal(15)],
            ["a", "slot"] => {
                assert_eq!(self.host_slot, HostSlot::AskedFor);
                self.host_slot = HostSlot::Kept;
                vec![Happening::HostSlot]
            }
            ["the", "disk", "is", "full"] => {
                self.disk_is_full = true;
                Vec::new()
            }
            [time, "later"] => {
                self.pass(duration(time), until);
                Vec::new()
            }
            // Something else wakes the pool then.
            [time, "pass"] => {
                *self.stage.now.borrow_mut() += duration(time);
                Vec::new()
            }
            _ => panic!("no such thing: {part}"),
        }
    }

    fn line(&self, role: Role, answer: &[&str]) -> Vec<u8> {
        let token = &self.running[&role];
        format!("{token} {}", answer.join(" ")).into_bytes()
    }

    /// Time passes, and the pool must have asked to be woken just then.
    fn pass(&self, time: Duration, until: Option<Instant>) {
        let mut now = self.stage.now.borrow_mut();
        *now += time;
        assert_eq!(until, Some(*now), "it sleeps until then");
    }

    fn exit(&mut self, role: Role, code: &str, unread: u64) -> Happening {
        self.running.remove(&role).expect("it runs");
        self.ended.remove(&role);
        self.behind.remove(&role);
        Happening::Ended {
            role,
            report: ExitReport {
                pid: 1,
                ended: Ended::Code(code.parse().expect("a code")),
                unread,
                stderr: Vec::new(),
                stopped: false,
            },
        }
    }
}

impl Children for Scripted<'_> {
    fn find(&self, _what: &str, _command: &Command) -> Result<()> {
        Ok(())
    }

    fn has_host_slot(&mut self) -> bool {
        if self.host_slot == HostSlot::None {
            self.note("< ask for a slot");
            self.host_slot = HostSlot::AskedFor;
        }
        self.host_slot == HostSlot::Kept
    }

    fn leave_host_slot(&mut self) {
        if self.host_slot == HostSlot::Kept {
            self.note("< leave the slot");
            self.host_slot = HostSlot::None;
        }
    }

    fn start(
        &mut self,
        role: Role,
        _command: &Command,
        spawn: &Spawn<'_>,
        input: Input,
    ) -> Result<(), String> {
        let token = spawn
            .environment
            .iter()
            .find(|(name, _)| *name == "KCLPIPE_TOKEN");
        let token = token.map(|(_, token)| token.to_string_lossy().into_owned());
        let was = self.running.insert(role, token.unwrap_or_default());
        assert!(was.is_none(), "{role:?} runs already");
        if self.host_slot == HostSlot::Kept {
            self.host_slot = HostSlot::None;
        }
        let given = payloads(&input.into_bytes().map_err(|e| e.to_string())?);
        self.note(format!("< start {}: {given}", name(role)).trim().to_owned());
        Ok(())
    }

    fn pid(&self, _role: Role) -> Option<i32> {
        Some(1)
    }

    fn has_ended(&self, role: Role) -> bool {
        !self.running.contains_key(&role) || self.ended.contains(&role)
    }

    fn is_fed(&self, _role: Role) -> bool {
        true
    }

    fn unread(&self, role: Role) -> u64 {
        self.behind.get(&role).copied().unwrap_or_default()
    }

    fn any_running(&self) -> bool {
        !self.running.is_empty()
    }

    fn feed(&mut self, role: Role, bytes: &mut Vec<u8>) {
        if !bytes.is_empty() {
            self.note(format!("< feed {}: {}", name(role), payloads(bytes)));
            bytes.clear();
        }
    }

    fn printed(&mut self, role: Role) -> Vec<Vec<u8>> {
        let of_role = self.printed.extract_if(.., |(of, _)| *of == role);
        of_role.map(|(_, line)| line).collect()
    }

    fn close_input(&mut self, role: Role) {
        self.note(format!("< close {}", name(role)));
    }

    fn finish(&mut self, role: Role, _stop: Stop) {
        if self.running.contains_key(&role) {
            self.note(format!("< finish {}", name(role)));
        }
    }

    fn stop(&mut self, role: Role, _stop: Stop) {
        if self.running.contains_key(&role) {
            self.note(format!("< stop {}", name(role)));
        }
    }

    fn keep_letters(&mut self, _file: &Path, letters: &[u8]) -> Result<Appended> {
        self.letters += 1;
        let letter = payloads(letters);
        match (self.disk_is_full, self.letters) {
            (true, 1) => {
                self.note(format!("< letter {letter}: refused"));
                bail!("no room")
            }
            (true, 2) => {
                self.note(format!("< letter {letter}: locked"));
                Ok(Appended::Locked(None))
            }
            _ => {
                self.note(format!("< letter {letter}: kept"));
                Ok(Appended::Kept)
            }
        }
    }

    fn spool(&mut self, _directory: &Path, batch: &mut Batch) -> io::Result<()> {
        self.note(format!("< spool {}", batch.len()));
        Ok(())
    }

    /// The next step; before the next thing that the bridge says, the pool hears that there is input.
    fn wait(&mut self, _watch_input: bool, until: Option<Instant>) -> Result<Vec<Happening>> {
        match self.steps.front() {
            Some(step) if step.starts_with('*') => {
                let step = self.steps.pop_front().unwrap_or_default();
                self.note(step.clone());
                Ok(self.happen(&step, until))
            }
            _ => {
                self.steps.pop_front();
                Ok(vec![Happening::Input])
            }
        }
    }
}

/// What the daemon read just now.
fn read(batch: Batch, first: First) -> Read {
    Read {
        batch,
        first,
        fresh: true,
    }
}
