//! Conversations between the daemon and the bridge, as texts.
//!
//! `>` is what the daemon says, `<` what kclpipe says, `*` what happens to the handlers, `#` what the
//! bridge tells the handlers. A test is the whole conversation: what the daemon and the handlers do is
//! taken from it, and what the bridge does must come out exactly where it stands.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kclpipe::testing::backoff::Delays;
use kclpipe::testing::bridge::Bridge;
use kclpipe::testing::checkpoint::{BlockedRecord, Checkpoints, Strategy};
use kclpipe::testing::clock::Clock;
use kclpipe::testing::counters::Counters;
use kclpipe::testing::exit::Bridge as Exit;
use kclpipe::testing::handler::{self, Event, Finish, First, Handlers, HookEvent};
use kclpipe::testing::protocol::{Source, Wire};
use kclpipe::testing::record::Position;

/// The delay between attempts at a checkpoint; jitter makes it half a second to a second.
const DELAYS: Delays = Delays {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(1),
    jitter: true,
};

/// Everything that both ends of the conversation and the handlers share.
struct Stage {
    steps: VecDeque<String>,
    /// The hooks that are run.
    hooks: VecDeque<String>,
    transcript: Vec<String>,
    now: Instant,
    /// The bytes of a daemon line that were not read yet.
    line: Vec<u8>,
    /// Records that were delivered, and how many of them are in the run.
    records: Vec<Position>,
    run: usize,
    /// How many records may be held while the daemon reads on.
    read_ahead: usize,
    blocked: Option<Instant>,
}

#[derive(Clone)]
struct Play(Rc<RefCell<Stage>>);

impl Play {
    fn note(&self, line: impl Into<String>) {
        self.0.borrow_mut().transcript.push(line.into());
    }

    /// The next step, if it begins with `mark`.
    fn step(&self, mark: &str) -> Option<String> {
        let mut stage = self.0.borrow_mut();
        let step = stage.steps.front()?.strip_prefix(mark)?.trim().to_owned();
        let whole = stage.steps.pop_front()?;
        stage.transcript.push(whole);
        Some(step)
    }
}

impl Source for Play {
    fn read(&mut self, to: &mut Vec<u8>) -> io::Result<usize> {
        if self.0.borrow().line.is_empty() {
            match self.step(">") {
                Some(said) => self.0.borrow_mut().line = daemon_line(&said),
                None => return Ok(0),
            }
        }
        let mut stage = self.0.borrow_mut();
        let n = stage.line.len().min(to.capacity() - to.len());
        to.extend(stage.line.drain(..n));
        Ok(n)
    }
}

impl Clock for Play {
    fn now(&self) -> Instant {
        self.0.borrow().now
    }

    fn time_of_day(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

impl Write for Play {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).expect("ASCII");
        self.note(format!("< {}", short(text.trim())));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Handlers for Play {
    fn begin(&mut self, _: &str) -> anyhow::Result<()> {
        match self.step("* missing") {
            Some(_) => anyhow::bail!("the handler is missing"),
            None => Ok(()),
        }
    }

    fn offer(&mut self, read: handler::Read) {
        let handler::Read { batch, first, .. } = read;
        if batch.is_empty() {
            return;
        }
        if first == First::Alone {
            self.note("# the first record goes alone");
        }
        let mut stage = self.0.borrow_mut();
        let run = stage.run;
        stage.records.drain(..run);
        let records = (0..batch.len()).map(|index| batch.position(index));
        stage.records.extend(records);
        stage.run = 0;
    }

    fn shard_ended(&mut self) {}

    fn has_room(&self) -> bool {
        let stage = self.0.borrow();
        stage.records.len() - stage.run <= stage.read_ahead
    }

    fn holds_any(&self) -> bool {
        let stage = self.0.borrow();
        stage.run < stage.records.len()
    }

    fn reads_ahead(&self) -> bool {
        self.0.borrow().read_ahead > 0
    }

    fn wait(&mut self, watch_input: bool, until: Option<Instant>) -> anyhow::Result<Event> {
        if let Some(happened) = self.step("*") {
            return Ok(self.0.borrow_mut().happen(&happened, until));
        }
        let next = self.0.borrow().steps.front().cloned();
        match next {
            Some(step) if !step.starts_with('>') => {
                panic!("the bridge waits, but now should come: {step}")
            }
            _ if watch_input => Ok(Event::Input),
            Some(step) => panic!("the bridge does not read, but now the daemon should say: {step}"),
            None => Ok(Event::Finished),
        }
    }

    fn finish(&mut self, how: Finish) {
        let how = match how {
            Finish::Orderly => "orderly",
            Finish::Drain(_) => "drain",
            Finish::Stop => "stop",
        };
        self.note(format!("# finish {how}"));
        let mut stage = self.0.borrow_mut();
        if stage
            .steps
            .front()
            .is_some_and(|step| step.starts_with('#'))
        {
            stage.steps.pop_front();
        }
    }

    /// A hook is run where the conversation has one.
    fn hook(&mut self, hook_event: HookEvent) -> bool {
        let line = format!("# hook {}", hook_event.name());
        let mut stage = self.0.borrow_mut();
        let runs = stage.hooks.front() == Some(&line);
        if runs {
            stage.hooks.pop_front();
            stage.transcript.push(line);
        }
        runs
    }

    fn blocked(&self) -> Option<BlockedRecord> {
        let stage = self.0.borrow();
        let next = stage.records.get(stage.run)?.clone();
        Some(BlockedRecord {
            since: stage.blocked?,
            after: next.clone(),
            next,
        })
    }

    fn oldest(&self) -> Option<i64> {
        None
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }
}

impl Stage {
    fn happen(&mut self, happened: &str, until: Option<Instant>) -> Event {
        let words: Vec<&str> = happened.split(' ').collect();
        match words.as_slice() {
            ["done", at] => {
                let end = position(at);
                let run = self
                    .records
                    .iter()
                    .position(|p| *p == end)
                    .expect("a record of the batch")
                    + 1;
                let records = (run - self.run) as u64;
                (self.run, self.blocked) = (run, None);
                Event::Done {
                    end,
                    records,
                    batch_ended: run == self.records.len(),
                }
            }
            ["requested", at] => Event::CheckpointRequested(position(at)),
            ["halt"] => Event::Halted("a record".into()),
            ["signal"] => Event::Signal(15),
            ["finished"] => Event::Finished,
            ["hooked"] => Event::Hooked,
            ["blocked"] => {
                self.blocked = Some(self.now);
                Event::Deadline
            }
            [time, "later"] => {
                self.now += humantime::parse_duration(time).expect("a duration");
                assert!(
                    until.is_some_and(|until| until <= self.now),
                    "the bridge would sleep on"
                );
                Event::Deadline
            }
            // Something else wakes the bridge then.
            [time, "pass"] => {
                self.now += humantime::parse_duration(time).expect("a duration");
                Event::Deadline
            }
            _ => panic!("no such thing: {happened}"),
        }
    }
}

fn position(text: &str) -> Position {
    let (number, sub) = text.split_once('.').unwrap_or((text, "0"));
    Position::new(number, sub.parse().expect("a number")).expect("digits")
}

/// What the daemon writes for a short form.
fn daemon_line(said: &str) -> Vec<u8> {
    let words: Vec<&str> = said.split(' ').collect();
    let text = match words.as_slice() {
        ["initialize", at] => {
            let (number, sub) = at.split_once('.').unwrap_or((at, "0"));
            format!(
                r#"{{"action":"initialize","shardId":"shardId-0","sequenceNumber":"{number}","subSequenceNumber":{sub}}}"#
            )
        }
        ["records", records @ ..] => {
            // `1@5` arrived 5 s after the epoch.
            let record = |at: &&str| {
                let (at, arrived) = at.split_once('@').unwrap_or((at, "1"));
                let at = position(at);
                format!(
                    r#"{{"data":"aGk=","partitionKey":"k","sequenceNumber":"{}","approximateArrivalTimestamp":{arrived}000,"subSequenceNumber":{},"action":"record"}}"#,
                    at.sequence_number, at.sub_sequence_number
                )
            };
            let records: Vec<String> = records.iter().map(record).collect();
            format!(
                r#"{{"action":"processRecords","records":[{}],"millisBehindLatest":0}}"#,
                records.join(",")
            )
        }
        ["ack"] => {
            r#"{"action":"checkpoint","sequenceNumber":"1","subSequenceNumber":0,"error":null}"#
                .into()
        }
        ["ack", error] => {
            format!(
                r#"{{"action":"checkpoint","sequenceNumber":"1","subSequenceNumber":0,"error":"{error}"}}"#
            )
        }
        ["shutdown", reason] => format!(r#"{{"action":"shutdown","reason":"{reason}"}}"#),
        ["line", ..] => said["line ".len()..].to_owned(),
        [action] => format!(r#"{{"action":"{action}"}}"#),
        _ => panic!("no such message: {said}"),
    };
    format!("{text}\n").into_bytes()
}

/// A message of ours in its short form; only the exact text has one.
fn short(line: &str) -> String {
    let between = |start: &str, end: &str| line.strip_prefix(start)?.strip_suffix(end);
    if let Some(action) = between(r#"{"action":"status","responseFor":""#, r#""}"#) {
        return format!("status {action}");
    }
    if let Some(at) = between(r#"{"action":"checkpoint","sequenceNumber":""#, "}") {
        return format!(
            "checkpoint {}",
            at.replace(r#"","subSequenceNumber":"#, ".")
        );
    }
    match line {
        r#"{"action":"checkpoint","sequenceNumber":null,"subSequenceNumber":null}"# => {
            "checkpoint the end".into()
        }
        r#"{"action":"shutdownRequested"}"# => "something to ignore".into(),
        other => other.into(),
    }
}

/// What a run of the bridge is given besides the conversation.
#[derive(Default)]
struct Flags {
    strategy: Strategy,
    keepalive: Option<Duration>,
    /// The daemon can be asked to stop, and then has this long.
    launched: Option<Duration>,
    /// In records.
    read_ahead: usize,
    /// In seconds after the epoch.
    until: Option<u64>,
}

/// Plays a conversation and compares it; how the bridge left.
fn play(flags: Flags, conversation: &str) -> anyhow::Result<Exit> {
    let lines: Vec<String> = conversation
        .lines()
        .map(|l| l.trim().to_owned())
        .filter(|l| !l.is_empty())
        .collect();
    let stage = Stage {
        steps: lines
            .iter()
            .filter(|line| line.starts_with(['>', '*']))
            .cloned()
            .collect(),
        hooks: lines
            .iter()
            .filter(|line| line.starts_with("# hook "))
            .cloned()
            .collect(),
        transcript: Vec::new(),
        now: Instant::now(),
        line: Vec::new(),
        records: Vec::new(),
        run: 0,
        read_ahead: flags.read_ahead,
        blocked: None,
    };
    let play = Play(Rc::new(RefCell::new(stage)));
    let clock = play.clone();
    let (mut input, mut output, mut handlers) = (play.clone(), play.clone(), play.clone());
    let checkpoints = Checkpoints::new(flags.strategy, DELAYS, flags.keepalive, clock.now());
    let wire = Wire::new(&mut input, &mut output);
    let worker = play.clone();
    let ask = || {
        worker.note("# stop the worker".to_owned());
        true
    };
    let bridge = Bridge::new(
        wire,
        &mut handlers,
        checkpoints,
        &clock,
        Duration::from_secs(10),
    )
    .until(flags.until.map(|at| UNIX_EPOCH + Duration::from_secs(at)));
    let exit = match flags.launched {
        Some(grace) => bridge.stops_worker(&ask, Some(grace)).run(),
        None => bridge.run(),
    };
    let mut got = play.0.borrow().transcript.clone();
    // The one way out stops the handlers; it is the same everywhere.
    assert_eq!(
        got.pop().as_deref(),
        Some("# finish stop"),
        "every way out stops the handlers"
    );
    assert_eq!(got.join("\n"), lines.join("\n"));
    exit
}

fn strategy(edit: impl FnOnce(&mut Strategy)) -> Flags {
    let mut flags = Flags::default();
    edit(&mut flags.strategy);
    flags
}

fn every(seconds: u64) -> Flags {
    strategy(|s| s.every = Some(Duration::from_secs(seconds)))
}

#[track_caller]
fn leaves(flags: Flags, exit: Exit, conversation: &str) {
    assert_eq!(play(flags, conversation).expect("no error"), exit);
}

#[track_caller]
fn fails(said: &str, conversation: &str) {
    let error = format!(
        "{:#}",
        play(Flags::default(), conversation).expect_err("an error")
    );
    assert!(error.contains(said), "{error}");
}

#[test]
fn a_lease_from_its_start_to_its_loss() {
    leaves(
        strategy(|s| s.records = Some(2)),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2 3
         * done 1
         * done 2
         < checkpoint 2.0
         > ack
         * done 3
         < status processRecords
         > records 4
         * done 4
         < checkpoint 4.0
         > ack
         < status processRecords
         > leaseLost
         # finish stop
         * finished
         < status leaseLost",
    );
}

#[test]
fn a_checkpoint_carries_the_place_within_an_aggregate() {
    leaves(
        strategy(|s| s.records = Some(1)),
        Exit::Done,
        "> initialize 7.2
         < status initialize
         > records 7.3 7.4
         * done 7.3
         < checkpoint 7.3
         > ack
         * done 7.4
         < checkpoint 7.4
         > ack
         < status processRecords",
    );
}

#[test]
fn records_done_while_an_ack_is_awaited_are_in_the_next_checkpoint() {
    leaves(
        strategy(|s| s.records = Some(1)),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2 3
         * done 1
         < checkpoint 1.0
         * done 2
         * done 3
         > ack
         < checkpoint 3.0
         > ack
         < status processRecords",
    );
}

#[test]
fn records_done_while_an_ack_is_awaited_do_not_make_the_next_checkpoint_due_too_soon() {
    leaves(
        strategy(|s| s.records = Some(2)),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2 3 4
         * done 2
         < checkpoint 2.0
         * done 3
         > ack
         * done 4
         < checkpoint 4.0
         > ack
         < status processRecords",
    );
}

#[test]
fn time_alone_makes_a_checkpoint_due_while_a_handler_runs() {
    leaves(
        every(60),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2
         * done 1
         * 60s later
         < checkpoint 1.0
         > ack
         * done 2
         < status processRecords",
    );
}

#[test]
fn an_empty_batch_is_an_occasion_to_checkpoint() {
    leaves(
        strategy(|s| s.batch = true),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < checkpoint 1.0
         > ack ThrottlingException
         * 1s later
         < checkpoint 1.0
         > ack ThrottlingException
         * 1s later
         < checkpoint 1.0
         > ack KinesisClientLibDependencyException
         * 1s later
         < checkpoint 1.0
         > ack RuntimeException
         * 1s later
         < checkpoint 1.0
         > ack ThrottlingException
         < status processRecords
         > records
         < status processRecords",
    );
    leaves(
        every(60),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < status processRecords
         > records
         < status processRecords",
    );
}

#[test]
fn a_wish_is_granted_at_once_and_one_beyond_the_run_when_the_run_gets_there() {
    leaves(
        strategy(|s| s.manual = true),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2 3
         * requested 2
         * done 1
         * done 3
         < checkpoint 2.0
         > ack
         < status processRecords
         > shutdownRequested
         # finish drain
         * finished
         < status shutdownRequested
         > leaseLost
         # finish stop
         * finished
         < status leaseLost",
    );
}

#[test]
fn an_orderly_shutdown_checkpoints_and_stays() {
    leaves(
        every(60),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < status processRecords
         > shutdownRequested
         # finish drain
         < checkpoint 1.0
         > ack
         * finished
         < status shutdownRequested
         > leaseLost
         # finish stop
         * finished
         < status leaseLost",
    );
}

#[test]
fn a_shutdown_tries_its_checkpoint_again_before_it_answers() {
    leaves(
        every(60),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < status processRecords
         > shutdownRequested
         # finish drain
         < checkpoint 1.0
         * finished
         > ack ThrottlingException
         * 1s later
         < checkpoint 1.0
         > ack
         < status shutdownRequested",
    );
}

#[test]
fn a_shard_end_is_answered_only_when_it_is_stored() {
    leaves(
        every(60),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < status processRecords
         > shardEnded
         # finish orderly
         * finished
         < checkpoint the end
         > ack ThrottlingException
         * 1s later
         < checkpoint the end
         > ack
         < status shardEnded",
    );
}

/// A backfill that ends 100 s after the epoch.
fn backfill() -> Flags {
    Flags {
        until: Some(100),
        ..strategy(|s| s.batch = true)
    }
}

#[test]
fn what_arrived_at_the_end_of_a_backfill_or_later_is_left_out_and_no_checkpoint_is_beyond_it() {
    leaves(
        backfill(),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1@98 2@100 3@99 4@101
         * done 3
         < checkpoint 3.0
         > ack
         < status processRecords
         > records 5@111 6@120
         < status processRecords
         > leaseLost
         # finish stop
         * finished
         < status leaseLost",
    );
}

#[test]
fn the_end_of_a_shard_that_is_complete_is_left_open_so_that_the_shards_after_it_are_not_read() {
    leaves(
        backfill(),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1@98 2@111
         * done 1
         < checkpoint 1.0
         > ack
         < status processRecords
         > shardEnded",
    );
}

#[test]
fn the_end_of_a_shard_that_ended_before_is_stored_so_that_the_shards_after_it_are_read() {
    for records in ["1@98", "1@98 2@101"] {
        let conversation = format!(
            "> initialize TRIM_HORIZON
             < status initialize
             > records {records}
             * done 1
             < checkpoint 1.0
             > ack
             < status processRecords
             > shardEnded
             # finish orderly
             * finished
             < checkpoint the end
             > ack
             < status shardEnded"
        );
        leaves(backfill(), Exit::Done, &conversation);
    }
}

#[test]
fn a_shard_end_that_can_never_be_stored_is_not_answered() {
    for error in [
        "InvalidStateException",
        "IllegalArgumentException",
        "NullPointerException",
    ] {
        leaves(
            Flags::default(),
            Exit::Protocol,
            &format!(
                "> initialize TRIM_HORIZON
                 < status initialize
                 > shardEnded
                 # finish orderly
                 * finished
                 < checkpoint the end
                 > ack {error}"
            ),
        );
    }
}

#[test]
fn a_shard_end_after_the_lease_was_lost_is_answered() {
    leaves(
        Flags::default(),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > shardEnded
         # finish orderly
         * finished
         < checkpoint the end
         > ack ShutdownException
         # finish stop
         * finished
         < status shardEnded",
    );
}

#[test]
fn a_lost_lease_stops_the_work_and_every_later_action_gets_its_status_alone() {
    leaves(
        strategy(|s| s.records = Some(1)),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2 3
         * done 1
         < checkpoint 1.0
         > ack ShutdownException
         # finish stop
         * finished
         < status processRecords
         > records 4
         < status processRecords
         > shutdownRequested
         < status shutdownRequested
         > shardEnded
         < status shardEnded",
    );
}

#[test]
fn a_refused_checkpoint_is_not_repeated() {
    leaves(
        strategy(|s| s.records = Some(1)),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2
         * done 1
         < checkpoint 1.0
         > ack IllegalArgumentException
         * done 2
         < checkpoint 2.0
         > ack
         < status processRecords",
    );
}

#[test]
fn the_first_generation_says_shutdown() {
    leaves(
        Flags::default(),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > shutdown TERMINATE
         # finish orderly
         * finished
         < checkpoint the end
         > ack
         < status shutdown",
    );
    for reason in ["ZOMBIE", "LEASE_LOST", "REQUESTED"] {
        leaves(
            Flags::default(),
            Exit::Done,
            &format!(
                "> initialize TRIM_HORIZON
                 < status initialize
                 > shutdown {reason}
                 # finish stop
                 * finished
                 < status shutdown"
            ),
        );
    }
}

#[test]
fn after_a_signal_every_step_is_stored_and_the_daemon_decides() {
    leaves(
        every(60),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2 3
         * done 1
         * signal
         < checkpoint 1.0
         > ack
         * done 2
         < checkpoint 2.0
         > ack
         * done 3
         < checkpoint 3.0
         > ack
         < status processRecords",
    );
}

#[test]
fn a_halt_stores_the_run_and_leaves_without_a_status() {
    leaves(
        every(60),
        Exit::Halted,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2
         * done 1
         * halt
         < checkpoint 1.0
         > ack
         * finished",
    );
}

#[test]
fn input_that_ends_while_a_halt_stores_the_run_changes_nothing_about_the_halt() {
    leaves(
        every(60),
        Exit::Halted,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2
         * done 1
         * halt
         < checkpoint 1.0",
    );
}

#[test]
fn a_halt_while_nothing_is_to_be_done_counts_at_the_next_batch() {
    leaves(
        every(60),
        Exit::Halted,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < status processRecords
         * halt
         * finished
         > records 2
         < checkpoint 1.0
         > ack",
    );
}

/// The pause after a round that failed is for a worker that goes on.
#[test]
fn a_halt_while_idle_stores_what_a_failed_round_left() {
    let attempt = "< checkpoint 1.0\n> ack ThrottlingException\n";
    let round = [attempt; 5].join("* 1s later\n");
    let conversation = format!(
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         {round}< status processRecords
         * halt
         > records 2
         < checkpoint 1.0
         > ack"
    );
    leaves(strategy(|s| s.batch = true), Exit::Halted, &conversation);
}

#[test]
fn input_that_ends_within_an_action_gets_no_checkpoint_and_no_status() {
    leaves(
        strategy(|s| s.batch = true),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2
         * done 1",
    );
    leaves(
        strategy(|s| s.records = Some(1)),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < checkpoint 1.0",
    );
}

#[test]
fn a_command_that_is_missing_is_looked_for_again_and_then_given_up() {
    leaves(
        Flags::default(),
        Exit::Done,
        "> initialize TRIM_HORIZON
         * missing
         * signal
         * 250ms later
         * missing
         * 250ms later
         < status initialize",
    );
    let looks = "* missing\n* 250ms later\n".repeat(20);
    leaves(
        Flags::default(),
        Exit::Config,
        &format!("> initialize TRIM_HORIZON\n{looks}* missing"),
    );
}

#[test]
fn a_blocked_shard_probes_its_lease_until_it_is_found_gone() {
    leaves(
        every(600),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 5.1 9
         * done 5.1
         * blocked
         * 30s later
         < checkpoint 5.2
         > ack
         * 30s later
         < checkpoint 5.3
         > ack ShutdownException
         # finish stop
         * finished
         < status processRecords",
    );
}

#[test]
fn a_read_is_answered_as_soon_as_there_is_room_and_what_is_due_meanwhile_goes_into_the_next() {
    let mut flags = strategy(|s| s.records = Some(1));
    flags.read_ahead = 1;
    leaves(
        flags,
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         < status processRecords
         * done 1
         > records 2 3
         < checkpoint 1.0
         * done 2
         > ack
         < checkpoint 2.0
         > ack
         < status processRecords
         * done 3
         > shardEnded
         # finish orderly
         * finished
         < checkpoint the end
         > ack
         < status shardEnded",
    );
}

#[test]
fn a_lease_is_probed_only_when_an_action_has_been_open_for_long() {
    let flags = Flags {
        read_ahead: 1,
        ..Flags::default()
    };
    leaves(
        flags,
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2
         * done 1
         < status processRecords
         * blocked
         * 40s pass
         > records 3
         * 30s later
         < checkpoint 1.1
         > ack
         * done 2
         < status processRecords",
    );
}

#[test]
fn the_keep_alive_begins_anew_with_each_message_of_the_daemon() {
    let flags = Flags {
        keepalive: Some(Duration::from_secs(10)),
        ..Flags::default()
    };
    leaves(
        flags,
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         * 8s pass
         > records 1
         * 9s pass
         * 1s later
         < something to ignore
         * done 1
         < status processRecords",
    );
}

#[test]
fn the_keep_alive_is_harmless_before_a_checkpoint_and_repeats_it_after() {
    let flags = Flags {
        keepalive: Some(Duration::from_secs(10)),
        ..strategy(|s| s.records = Some(1))
    };
    leaves(
        flags,
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2
         * 10s later
         < something to ignore
         * done 1
         < checkpoint 1.0
         > ack
         * 10s later
         < checkpoint 1.0
         > ack
         * done 2
         < checkpoint 2.0
         > ack
         < status processRecords",
    );
}

#[test]
fn what_breaks_the_protocol_ends_the_process() {
    let begun = "> initialize TRIM_HORIZON\n< status initialize\n";
    fails("unknown action", &format!("{begun}> dance"));
    fails("not a message", &format!("{begun}> line not json"));
    fails("before 'initialize'", "> records 1");
    fails("before 'initialize'", "> leaseLost");
    fails(
        "a second time",
        &format!("{begun}> initialize TRIM_HORIZON"),
    );
    fails("that nothing asked for", &format!("{begun}> ack"));
    fails(
        "'x' is not decimal digits",
        &format!(
            r#"{begun}> line {{"action":"processRecords","records":[{{"sequenceNumber":"x"}}]}}"#
        ),
    );
}

#[test]
fn another_message_in_place_of_an_ack_ends_the_process() {
    let play = play(
        strategy(|s| s.records = Some(1)),
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2
         * done 1
         < checkpoint 1.0
         > leaseLost",
    );
    assert!(
        play.expect_err("an error")
            .to_string()
            .contains("'leaseLost' instead of the answer")
    );
}

#[test]
fn the_hook_goes_before_the_first_record_and_behind_the_last() {
    leaves(
        Flags::default(),
        Exit::Done,
        "> initialize 4.1
         # hook initialize
         * hooked
         < status initialize
         > records 5
         * done 5
         < status processRecords
         > shardEnded
         # finish orderly
         * finished
         # hook shard-end
         * hooked
         < checkpoint the end
         > ack
         < status shardEnded",
    );
}

#[test]
fn a_hook_behind_an_orderly_shutdown_and_one_behind_the_loss_of_the_lease() {
    leaves(
        Flags::default(),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < status processRecords
         > shutdownRequested
         # finish drain
         < checkpoint 1.0
         > ack
         * finished
         # hook shutdown
         * hooked
         < status shutdownRequested
         > leaseLost
         # finish stop
         * finished
         # hook lease-lost
         * hooked
         < status leaseLost",
    );
}

#[test]
fn a_lease_that_was_lost_during_the_hook_of_a_shard_end_is_found_lost_at_its_end() {
    leaves(
        every(60),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < status processRecords
         > shardEnded
         # finish orderly
         * finished
         # hook shard-end
         * hooked
         < checkpoint the end
         > ack ShutdownException
         # finish stop
         * finished
         # hook lease-lost
         * hooked
         < status shardEnded",
    );
}

#[test]
fn the_keep_alive_goes_on_during_the_first_hook_without_a_checkpoint() {
    let flags = Flags {
        keepalive: Some(Duration::from_secs(5)),
        ..Flags::default()
    };
    leaves(
        flags,
        Exit::Done,
        "> initialize 4
         # hook initialize
         * 5s later
         < something to ignore
         * hooked
         < status initialize",
    );
}

#[test]
fn input_that_ends_during_the_first_hook_gets_no_status() {
    leaves(
        Flags::default(),
        Exit::Done,
        "> initialize TRIM_HORIZON
         # hook initialize",
    );
}

/// KCL stores the position that it delivered last as `SHARD_END` while it waits for the answer to `shardEnded`.
#[test]
fn the_end_of_a_shard_is_not_stored_before_its_hook_has_succeeded() {
    let flags = Flags {
        keepalive: Some(Duration::from_secs(5)),
        ..every(1)
    };
    leaves(
        flags,
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2
         * done 2
         < status processRecords
         > shardEnded
         # finish orderly
         * finished
         # hook shard-end
         * 5s later
         < something to ignore
         * signal
         * 5s later
         < something to ignore
         * hooked
         < checkpoint the end
         > ack
         < status shardEnded",
    );
}

#[test]
fn the_last_position_that_is_stored_already_is_not_repeated_at_the_end_of_a_shard() {
    let flags = Flags {
        keepalive: Some(Duration::from_secs(5)),
        ..strategy(|s| s.batch = true)
    };
    leaves(
        flags,
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < checkpoint 1.0
         > ack
         < status processRecords
         > shardEnded
         # finish orderly
         * finished
         # hook shard-end
         * 5s later
         < something to ignore
         * hooked
         < checkpoint the end
         > ack
         < status shardEnded",
    );
}

#[test]
fn a_halt_while_idle_stops_the_worker_whatever_comes_next() {
    for (next, exit) in [
        ("> records 2", "< checkpoint 1.0\n> ack"),
        ("> shutdownRequested", "< checkpoint 1.0\n> ack"),
        // The last position would be SHARD_END.
        ("> shardEnded", ""),
        ("> shutdown TERMINATE", ""),
        ("> leaseLost", ""),
        ("> shutdown ZOMBIE", ""),
        ("", ""),
    ] {
        let conversation = format!(
            "> initialize TRIM_HORIZON
             < status initialize
             > records 1
             * done 1
             < status processRecords
             * halt
             {next}
             {exit}"
        );
        leaves(Flags::default(), Exit::Halted, &conversation);
    }
}

fn launched() -> Flags {
    Flags {
        launched: Some(Duration::from_secs(60)),
        ..Flags::default()
    }
}

#[test]
fn a_halt_under_launch_stores_answers_and_takes_part_in_the_workers_stop() {
    leaves(
        launched(),
        Exit::Halted,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2
         * done 1
         * halt
         < checkpoint 1.0
         > ack
         * finished
         # stop the worker
         < status processRecords
         > records 3
         < status processRecords
         > shutdownRequested
         < status shutdownRequested
         > leaseLost
         < status leaseLost",
    );
}

/// An answer would say that the shard is done with.
#[test]
fn the_end_of_a_shard_after_a_halt_gets_no_answer_under_launch_either() {
    leaves(
        launched(),
        Exit::Halted,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < status processRecords
         * halt
         # stop the worker
         > shardEnded",
    );
}

#[test]
fn a_halt_while_idle_asks_the_worker_at_once_and_stores_what_is_done_when_it_calls() {
    leaves(
        launched(),
        Exit::Halted,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < status processRecords
         * halt
         # stop the worker
         > shutdownRequested
         < checkpoint 1.0
         > ack
         < status shutdownRequested",
    );
}

/// An answer would say that the shard is done with, or that the lease has begun.
#[test]
fn a_halt_leaves_the_end_of_a_shard_without_an_answer_also_under_launch() {
    leaves(
        launched(),
        Exit::Halted,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * done 1
         < status processRecords
         > shardEnded
         # finish orderly
         * halt
         * finished",
    );
}

/// Answered forever, its records would be taken for read, and nobody would have them.
#[test]
fn a_worker_that_was_asked_and_goes_on_is_left_without_an_answer_after_its_grace() {
    let attempt = "< checkpoint 1.0\n> ack ThrottlingException\n";
    let round = [attempt; 5].join("* 1s later\n");
    let conversation = format!(
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1 2
         * done 1
         * halt
         {round}* finished
         # stop the worker
         < status processRecords
         > records 3
         {round}"
    );
    let flags = Flags {
        launched: Some(Duration::from_secs(3)),
        ..Flags::default()
    };
    leaves(flags, Exit::Halted, &conversation);
}

#[test]
fn a_worker_that_was_asked_and_says_nothing_is_left_after_its_grace() {
    leaves(
        launched(),
        Exit::Halted,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 1
         * halt
         * finished
         # stop the worker
         < status processRecords
         * 60s later",
    );
}

#[test]
fn a_lease_at_latest_is_protected_as_soon_as_a_record_is_done() {
    leaves(
        every(60),
        Exit::Done,
        "> initialize LATEST
         < status initialize
         > records 5 6
         # the first record goes alone
         * done 5
         < checkpoint 5.0
         > ack ThrottlingException
         * 1s later
         < checkpoint 5.0
         > ack
         * done 6
         < status processRecords
         > records 7
         * done 7
         < status processRecords",
    );
}

#[test]
fn a_lease_at_latest_with_checkpoints_by_hand_stays_so() {
    leaves(
        strategy(|s| s.manual = true),
        Exit::Done,
        "> initialize LATEST
         < status initialize
         > records 5
         * done 5
         < status processRecords",
    );
}

#[test]
fn a_record_that_is_delivered_again_moves_no_checkpoint_back() {
    leaves(
        strategy(|s| s.records = Some(1)),
        Exit::Done,
        "> initialize TRIM_HORIZON
         < status initialize
         > records 5
         * done 5
         < checkpoint 5.0
         > ack
         < status processRecords
         > records 4
         * done 4
         < status processRecords
         > records 6
         * done 6
         < checkpoint 6.0
         > ack
         < status processRecords",
    );
}
