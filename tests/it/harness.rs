//! The built program between a scripted daemon and handlers that are shell scripts.
//!
//! A [`Bridge`] says how to run it, a [`Daemon`] is the running conversation. Everything happens in a
//! folder of its own, which is the current directory of kclpipe and of its handlers; there a script
//! notes what it did. Every wait ends with a deadline and then, as every failure, with the whole story.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long anything may take. Only a failure ever waits so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// The pause between two looks at what cannot be awaited, such as a file.
const LOOK: Duration = Duration::from_millis(2);

/// Delays between attempts that do not slow a test down.
pub(crate) const QUICK: &str = "--retry-delay 10ms --retry-max-delay 20ms";

/// The program with its options, its handler and its surroundings.
pub(crate) struct Bridge {
    folder: TempDir,
    options: Vec<String>,
    command: Vec<String>,
    variables: Vec<(String, String)>,
    /// The program that starts kclpipe, with its first arguments; none if it is the test itself.
    under: Vec<String>,
    /// Nobody reads its stdout.
    deaf: bool,
}

impl Bridge {
    /// A bridge whose handler is this text, run by `sh`.
    pub(crate) fn new(script: &str) -> Bridge {
        let bridge = Bridge::running(&["./handler"]);
        write_script(&bridge.path("handler"), script);
        bridge
    }

    /// A bridge whose handler is this command.
    pub(crate) fn running(command: &[&str]) -> Bridge {
        Bridge {
            folder: tempfile::tempdir().expect("a folder"),
            options: Vec::new(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            variables: Vec::new(),
            under: Vec::new(),
            deaf: false,
        }
    }

    /// Lets the daemon close kclpipe's stdout at once.
    pub(crate) fn deaf(mut self) -> Bridge {
        self.deaf = true;
        self
    }

    /// Lets this program start kclpipe, which is its last arguments.
    pub(crate) fn under(mut self, program: &[&str]) -> Bridge {
        self.under = program.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Adds options, separated by spaces.
    pub(crate) fn options(mut self, options: &str) -> Bridge {
        self.options
            .extend(options.split_whitespace().map(str::to_owned));
        self
    }

    /// Sets a variable in kclpipe's environment, which has only `PATH` otherwise.
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Bridge {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// Puts a file into the folder.
    pub(crate) fn file(self, name: &str, text: &str) -> Bridge {
        fs::write(self.path(name), text).expect("written");
        self
    }

    /// A place in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts it.
    pub(crate) fn start(self) -> Daemon {
        let mut arguments = self.options.clone();
        arguments.push("--".into());
        arguments.extend(self.command.clone());
        self.start_with(&arguments)
    }

    /// Starts it with these arguments instead of its options and its command.
    pub(crate) fn start_with(self, arguments: &[impl AsRef<str>]) -> Daemon {
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        let mut words = self.under.iter().map(String::as_str).collect::<Vec<_>>();
        words.push(env!("CARGO_BIN_EXE_kclpipe"));
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .args(&arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env(MARK, self.folder.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(if self.deaf { unread() } else { Stdio::piped() })
            .stderr(Stdio::piped())
            .process_group(0);
        Daemon::new(command.spawn().expect("kclpipe starts"), self, &arguments)
    }
}

/// A stdout that nobody reads. A pipe whose reader is closed here may have another for a moment: each process that
/// another test starts has a copy of it until it runs its program.
fn unread() -> Stdio {
    let (reader, writer) = UnixStream::pair().expect("a pair of sockets");
    reader.shutdown(Shutdown::Both).expect("shut down");
    OwnedFd::from(writer).into()
}

/// What kclpipe says under `--keepalive`, which the daemon skips.
pub(crate) const KEEPALIVE: &str = r#"{"action":"shutdownRequested"}"#;

fn status(action: &str) -> String {
    format!(r#"{{"action":"status","responseFor":"{action}"}}"#)
}

/// Whether these programs are here. If not, the test is skipped, and a line says so where it is seen.
pub(crate) fn are_here(test: &str, programs: &[&str]) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_here =
        |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing: Vec<&str> = programs.iter().copied().filter(|p| !is_here(p)).collect();
    if !missing.is_empty() {
        skipped(test, &missing.join(", "));
    }
    missing.is_empty()
}

/// Says that a test was skipped, and what it needs.
pub(crate) fn skipped(test: &str, missing: &str) {
    let note = format!("SKIPPED: {test}, for want of {missing}\n");
    // Not captured, as println! would be.
    let _ = std::io::stderr().write_all(note.as_bytes());
}

/// Marks every process of a test: a variable with the test's folder.
const MARK: &str = "TEST_FOLDER";

/// Writes an executable script. Not from this process: one of its other threads might be starting a
/// program at that moment, which would have the file open for writing, and then it could not be run.
pub(crate) fn write_script(path: &Path, text: &str) {
    write_program(path, &format!("#!/bin/sh\n{text}\n"));
}

/// Writes an executable file, in the same way.
pub(crate) fn write_program(path: &Path, text: &str) {
    let mut writer = Command::new("install")
        .args(["-m", "755", "/dev/stdin"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("install starts");
    let mut input = writer.stdin.take().expect("a pipe");
    input.write_all(text.as_bytes()).expect("written");
    drop(input);
    assert!(writer.wait().expect("install ends").success());
}

/// One record of a batch.
#[derive(Clone)]
pub(crate) struct Record(Value);

impl Record {
    /// A record with this sequence number and payload, of partition key `k`.
    pub(crate) fn new(sequence_number: u32, payload: impl AsRef<[u8]>) -> Record {
        Record(json!({
            "data": STANDARD.encode(payload),
            "partitionKey": "k",
            "sequenceNumber": sequence_number.to_string(),
            "approximateArrivalTimestamp": 1_700_000_000_123_i64,
            "subSequenceNumber": 0,
            "action": "record",
        }))
    }

    /// Changes a field.
    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Record {
        self.0[field] = value.into();
        self
    }
}

/// What was heard of kclpipe so far.
#[derive(Default)]
struct Heard {
    /// Its stdout, whole.
    stdout: Vec<u8>,
    /// Lines of it, blank ones left out, that were not expected yet.
    lines: VecDeque<String>,
    stderr: String,
    /// Both directions, for the report.
    transcript: Vec<String>,
    closed: bool,
    stderr_closed: bool,
}

#[derive(Default)]
struct Ear {
    heard: Mutex<Heard>,
    news: Condvar,
}

impl Ear {
    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn note(&self, change: impl FnOnce(&mut Heard)) {
        change(&mut self.heard());
        self.news.notify_all();
    }
}

/// The daemon's side of a running kclpipe.
pub(crate) struct Daemon {
    child: Child,
    status: Option<ExitStatus>,
    to_child: Option<Sender<Vec<u8>>>,
    ear: Arc<Ear>,
    bridge: Bridge,
    arguments: String,
}

impl Daemon {
    fn new(mut child: Child, bridge: Bridge, arguments: &[&str]) -> Daemon {
        let ear = Arc::new(Ear::default());
        let stdin = child.stdin.take().expect("a pipe");
        let stderr = child.stderr.take().expect("a pipe");
        let end = |heard: &mut Heard| heard.closed = true;
        match child.stdout.take() {
            Some(stdout) => listen(stdout, Arc::clone(&ear), take_stdout, end),
            None => ear.note(end),
        }
        listen(stderr, Arc::clone(&ear), take_stderr, |heard| {
            heard.stderr_closed = true
        });
        Daemon {
            child,
            status: None,
            to_child: Some(write_in_background(stdin)),
            ear,
            bridge,
            arguments: arguments.join(" "),
        }
    }

    /// Says a line.
    pub(crate) fn say(&mut self, line: impl AsRef<str>) {
        self.say_bytes(format!("{}\n", line.as_ref()).as_bytes());
    }

    /// Writes these bytes.
    pub(crate) fn say_bytes(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        self.ear
            .note(|heard| heard.transcript.push(format!("> {}", text.trim_end())));
        let to_child = self.to_child.as_ref().expect("the input is open");
        let _ = to_child.send(bytes.to_vec());
    }

    /// Gives kclpipe its shard, `shardId-0`. On a busy machine a keep-alive may be due before the answer.
    #[track_caller]
    pub(crate) fn initialize(&mut self) {
        self.say_initialize();
        self.expect_after_keepalives(&status("initialize"));
    }

    /// The same, without waiting for the answer.
    pub(crate) fn say_initialize(&mut self) {
        self.say(r#"{"action":"initialize","shardId":"shardId-0","sequenceNumber":"TRIM_HORIZON","subSequenceNumber":0}"#);
    }

    /// Gives it a batch.
    pub(crate) fn records(&mut self, records: &[Record]) {
        self.records_behind(records, Some(7).into());
    }

    /// Gives it a batch that was read so many milliseconds behind the tip.
    pub(crate) fn records_behind(&mut self, records: &[Record], millis: Value) {
        let records: Vec<&Value> = records.iter().map(|record| &record.0).collect();
        let message =
            json!({"action": "processRecords", "records": records, "millisBehindLatest": millis});
        self.say(message.to_string());
    }

    /// Gives it records with these payloads and the sequence numbers from 1.
    pub(crate) fn payloads(&mut self, payloads: &[&str]) {
        let records = payloads.iter().zip(1..);
        let records: Vec<Record> = records
            .map(|(payload, number)| Record::new(number, payload))
            .collect();
        self.records(&records);
    }

    /// Gives it so many records, in one batch, with their sequence numbers as payloads.
    pub(crate) fn numbers(&mut self, numbers: std::ops::RangeInclusive<u32>) {
        let records: Vec<Record> = numbers
            .map(|number| Record::new(number, number.to_string()))
            .collect();
        self.records(&records);
    }

    /// Answers a checkpoint.
    pub(crate) fn ack(&mut self, error: Option<&str>) {
        let message = json!({"action": "checkpoint", "sequenceNumber": "1", "subSequenceNumber": 0, "error": error});
        self.say(message.to_string());
    }

    /// Ends kclpipe's input, once everything that was said is written.
    pub(crate) fn end_input(&mut self) {
        self.ear
            .note(|heard| heard.transcript.push("> (end of input)".into()));
        self.to_child = None;
    }

    /// Sends a signal to kclpipe.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.ear
            .note(|heard| heard.transcript.push(format!("> ({signal:?})")));
        kill_process(Pid::from_child(&self.child), signal).expect("kclpipe is there");
    }

    /// The next line must be the answer to `action`.
    #[track_caller]
    pub(crate) fn expect_status(&mut self, action: &str) {
        self.expect(&status(action));
    }

    /// The next line must ask for a checkpoint there.
    #[track_caller]
    pub(crate) fn expect_checkpoint(&mut self, sequence_number: &str, sub_sequence_number: u64) {
        self.expect(&format!(
            r#"{{"action":"checkpoint","sequenceNumber":"{sequence_number}","subSequenceNumber":{sub_sequence_number}}}"#
        ));
    }

    /// The next line must be the answer to `action`, behind any number of checkpoints, all of which are
    /// stored.
    #[track_caller]
    pub(crate) fn expect_status_behind_checkpoints(&mut self, action: &str) {
        let mut line = self.next_line("a status");
        while line.contains(r#""action":"checkpoint""#) {
            self.ack(None);
            line = self.next_line("a status");
        }
        if !line.contains(&format!("\"{action}\"")) {
            self.fail(&format!(
                "kclpipe said {line} instead of the status of {action}"
            ));
        }
    }

    /// The next line must be this.
    #[track_caller]
    pub(crate) fn expect(&mut self, line: &str) {
        let got = self.next_line(line);
        self.check(&got, line);
    }

    /// The next line but keep-alives must be this.
    #[track_caller]
    fn expect_after_keepalives(&mut self, line: &str) {
        let mut got = self.next_line(line);
        while got == KEEPALIVE {
            got = self.next_line(line);
        }
        self.check(&got, line);
    }

    #[track_caller]
    fn check(&self, got: &str, expected: &str) {
        if got != expected {
            self.fail(&format!(
                "kclpipe said\n  {got}\nbut should say\n  {expected}"
            ));
        }
    }

    /// The next line, whatever it is.
    #[track_caller]
    pub(crate) fn next_line(&mut self, expected: &str) -> String {
        let line = self.wait(&format!("of kclpipe's line {expected}"), |heard| {
            let next = heard.lines.pop_front();
            next.or_else(|| heard.closed.then(String::new))
        });
        if line.is_empty() {
            self.fail(&format!("kclpipe's stdout ended, without {expected}"));
        }
        line
    }

    /// Waits until the log has `text`, and returns the log so far.
    #[track_caller]
    pub(crate) fn expect_log(&mut self, text: &str) -> String {
        self.wait(&format!("of '{text}' in the log"), |heard| {
            heard.stderr.contains(text).then(|| heard.stderr.clone())
        })
    }

    /// The log so far; all of it after [`Daemon::wait_exit`].
    pub(crate) fn log(&self) -> String {
        self.ear.heard().stderr.clone()
    }

    /// Everything on stdout so far.
    pub(crate) fn stdout(&self) -> Vec<u8> {
        self.ear.heard().stdout.clone()
    }

    /// Ends the input and waits for kclpipe's end, which must be a good one.
    #[track_caller]
    pub(crate) fn finish(&mut self) {
        self.end_input();
        let code = self.wait_exit();
        if code != 0 {
            self.fail(&format!("kclpipe exits {code}"));
        }
    }

    /// Waits for kclpipe's end, which must leave nothing unexpected on its stdout and no process behind.
    #[track_caller]
    pub(crate) fn wait_exit(&mut self) -> i32 {
        let code = self.wait_exit_leaving();
        self.until("the last process of the test is gone", |daemon| {
            daemon.processes().is_empty()
        });
        code
    }

    /// The same, where the last lines do not matter.
    #[track_caller]
    pub(crate) fn wait_exit_whatever_it_said(&mut self) -> i32 {
        self.wait("of the end of kclpipe's stdout", |heard| {
            heard.closed.then_some(())
        });
        self.ear.heard().lines.clear();
        self.wait_exit()
    }

    /// The same, where processes may be left behind.
    #[track_caller]
    pub(crate) fn wait_exit_leaving(&mut self) -> i32 {
        self.until("kclpipe has ended", |daemon| {
            daemon.status = daemon.child.try_wait().expect("a child");
            daemon.status.is_some()
        });
        self.wait("of the end of kclpipe's outputs", |heard| {
            (heard.closed && heard.stderr_closed).then_some(())
        });
        self.check_stdout();
        let code = self.status.and_then(|status| status.code());
        code.unwrap_or(-1)
    }

    /// Nothing but the messages that were expected, each between two line ends.
    #[track_caller]
    fn check_stdout(&self) {
        let stdout = String::from_utf8(self.stdout()).expect("ASCII");
        let framed = stdout
            .lines()
            .filter(|line| !line.is_empty())
            .fold(String::new(), |all, line| all + "\n" + line + "\n");
        if framed != stdout || !stdout.is_ascii() {
            self.fail(&format!(
                "stdout is not in the form of the protocol: {stdout:?}"
            ));
        }
        if let Some(line) = self.ear.heard().lines.front().cloned() {
            self.fail(&format!("kclpipe also said\n  {line}"));
        }
    }

    /// The program's process number.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Where a file of the test is.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.bridge.path(name)
    }

    /// What is in a file that a handler wrote; nothing if it is missing.
    pub(crate) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// Waits until a file has so many complete lines, and returns them.
    #[track_caller]
    pub(crate) fn expect_lines(&mut self, name: &str, count: usize) -> Vec<String> {
        let what = format!("'{name}' has {count} lines");
        self.until(&what, |daemon| {
            daemon.read(name).matches('\n').count() >= count
        });
        self.lines(name)
    }

    /// The lines of a file.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        self.read(name).lines().map(str::to_owned).collect()
    }

    /// The processes of this test other than kclpipe: handlers and whatever they started.
    pub(crate) fn processes(&self) -> Vec<Pid> {
        let mark = format!("{MARK}={}", self.bridge.folder.path().display());
        let mine = |pid: &Pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        };
        let others = all_processes().filter(|pid| *pid != Pid::from_child(&self.child));
        others.filter(mine).collect()
    }

    /// Waits until `is_so`, looking again and again.
    #[track_caller]
    pub(crate) fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Daemon) -> bool) {
        let give_up_at = Instant::now() + DEADLINE;
        while !is_so(self) {
            if Instant::now() > give_up_at {
                self.fail(&format!("it never comes that {what}"));
            }
            thread::sleep(LOOK);
        }
    }

    #[track_caller]
    fn wait<T>(&self, what: &str, mut find: impl FnMut(&mut Heard) -> Option<T>) -> T {
        let give_up_at = Instant::now() + DEADLINE;
        let mut heard = self.ear.heard();
        loop {
            if let Some(found) = find(&mut heard) {
                return found;
            }
            let left = give_up_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(heard);
                self.fail(&format!("no sign {what}"));
            }
            let waited = self.ear.news.wait_timeout(heard, left);
            heard = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
        }
    }

    /// Fails the test; the story is told when `self` is dropped.
    #[track_caller]
    pub(crate) fn fail(&self, why: &str) -> ! {
        panic!("{why}")
    }

    fn report(&self) -> String {
        let heard = self.ear.heard();
        let mut report = format!("kclpipe {}\n", self.arguments);
        let script = fs::read_to_string(self.path("handler")).unwrap_or_default();
        let _ = write!(report, "--- handler\n{script}\n--- conversation\n");
        for line in &heard.transcript {
            let _ = writeln!(report, "{}", start_of(line, 300));
        }
        let stderr = start_of(&heard.stderr, 6_000);
        let _ = writeln!(report, "--- stderr\n{stderr}\n--- files");
        for entry in fs::read_dir(self.bridge.folder.path())
            .into_iter()
            .flatten()
            .flatten()
        {
            let text = self.read(&entry.file_name().to_string_lossy());
            let text = start_of(&text, 300);
            let _ = writeln!(report, "{:?}: {text:?}", entry.file_name());
        }
        let _ = writeln!(report, "--- end: {:?}", self.status);
        report
    }
}

impl Drop for Daemon {
    /// Tells the story of a test that failed, and ends all its processes.
    #[expect(clippy::print_stderr, reason = "a failed test is told on stderr")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{}", self.report());
        }
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        for pid in self.processes() {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

/// A field of `/proc/PID/status`.
pub(crate) fn status_of(pid: impl std::fmt::Display, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// The children of a process, zombies among them.
pub(crate) fn children_of(pid: u32) -> Vec<Pid> {
    let parent = pid.to_string();
    all_processes()
        .filter(|child| status_of(child, "PPid").as_ref() == Some(&parent))
        .collect()
}

fn all_processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

fn start_of(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

fn write_in_background(mut stdin: ChildStdin) -> Sender<Vec<u8>> {
    let (sender, receiver) = channel::<Vec<u8>>();
    thread::spawn(move || {
        for bytes in receiver {
            // That the reader is gone is for the test to find out.
            let _ = stdin.write_all(&bytes);
        }
    });
    sender
}

/// Reads a stream to its end.
fn listen(
    mut stream: impl Read + Send + 'static,
    ear: Arc<Ear>,
    take: fn(&mut Heard, &[u8]),
    end: fn(&mut Heard),
) {
    thread::spawn(move || {
        let mut chunk = [0; 64 * 1024];
        while let Ok(n @ 1..) = stream.read(&mut chunk) {
            ear.note(|heard| take(heard, &chunk[..n]));
        }
        ear.note(end);
    });
}

fn take_stdout(heard: &mut Heard, bytes: &[u8]) {
    let before = heard.stdout.iter().rposition(|byte| *byte == b'\n');
    heard.stdout.extend_from_slice(bytes);
    let fresh = String::from_utf8_lossy(&heard.stdout[before.map_or(0, |end| end + 1)..]);
    let complete = &fresh[..fresh.rfind('\n').map_or(0, |end| end + 1)];
    for line in complete.lines().filter(|line| !line.is_empty()) {
        heard.transcript.push(format!("< {line}"));
        heard.lines.push_back(line.to_owned());
    }
}

fn take_stderr(heard: &mut Heard, bytes: &[u8]) {
    heard.stderr.push_str(&String::from_utf8_lossy(bytes));
}
