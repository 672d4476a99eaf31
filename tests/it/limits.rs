//! Limits for a machine: slots that several kclpipes share, and the rate of a shard.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, FlockOperation, Mode, flock, mknodat};
use rustix::process::Signal;
use tempfile::TempDir;

use kclpipe::testing::replay::Rng;

use crate::harness::{Bridge, Daemon, KEEPALIVE};

/// Notes its beginning and its end in a file that all handlers share.
const NOTED: &str = r#"echo "+ $0" >>"$ALL"; sleep 0.05; echo "- $0" >>"$ALL""#;

/// Says that it has begun, and goes on until it is killed.
const ENDLESS: &str = "echo begun >&2; exec sleep 600";

/// A machine: where its slots are, and the file that all handlers share.
struct Machine(TempDir);

impl Machine {
    fn new() -> Machine {
        Machine(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A kclpipe on this machine whose handlers run this text.
    fn bridge(&self, slots: usize, script: &str) -> Bridge {
        let text = |path: &Path| path.to_str().expect("text").to_owned();
        Bridge::running(&["sh", "-c", script])
            .options(&format!("--name app --host-jobs {slots}"))
            .variable("XDG_RUNTIME_DIR", &text(self.path()))
            .variable("ALL", &text(&self.path().join("all")))
    }

    /// Starts one with this many records.
    fn start(&self, slots: usize, script: &str, records: u32) -> Daemon {
        let mut daemon = self.bridge(slots, script).start();
        daemon.say_initialize();
        daemon.numbers(1..=records);
        daemon
    }

    /// What handlers have noted.
    fn noted(&self) -> String {
        fs::read_to_string(self.path().join("all")).unwrap_or_default()
    }

    /// How many slots are free.
    fn free(&self, slots: usize) -> usize {
        let is_free = |slot: &usize| {
            let path = self.path().join(format!("kclpipe/app/slot-{slot}"));
            let file = File::options().read(true).write(true).open(path);
            let file = file.expect("the slot was used");
            flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
        };
        (0..slots).filter(is_free).count()
    }
}

/// The most handlers that ran at a time.
fn most_at_a_time(noted: &str) -> i32 {
    let steps = noted
        .lines()
        .map(|line| if line.starts_with('+') { 1 } else { -1 });
    let running = steps.scan(0, |running, step| {
        *running += step;
        Some(*running)
    });
    running.max().unwrap_or_default()
}

#[test]
fn no_more_handlers_run_than_there_are_slots_and_each_shard_has_its_share() {
    let machine = Machine::new();
    let scripts = ["a", "b", "c", "d", "e", "f"].map(|name| NOTED.replace("$0", name));
    let mut daemons: Vec<Daemon> = scripts
        .iter()
        .map(|script| machine.start(2, script, 1000))
        .collect();
    let begun = |noted: &str, name: &str| noted.matches(&format!("+ {name}\n")).count();
    // From here on all of them are there.
    let all = |machine: &Machine| {
        let noted = machine.noted();
        "abcdef"
            .chars()
            .all(|name| begun(&noted, &name.to_string()) > 0)
    };
    daemons[0].until("every shard has had a slot", |_| all(&machine));
    let before = machine.noted().len();
    daemons[0].until("sixty more handlers have run", |_| {
        machine.noted()[before..].matches('-').count() >= 60
    });
    let noted = machine.noted();
    assert_eq!(most_at_a_time(&noted), 2);
    for name in ["a", "b", "c", "d", "e", "f"] {
        let share = begun(&noted[before..], name);
        assert!(share >= 5, "{name} had {share} of 60");
    }
}

/// How long it takes until all handlers have run, each kclpipe having this many records.
fn time(kclpipes: usize, slots: usize, records: u32) -> Duration {
    let machine = Machine::new();
    let mut daemons: Vec<Daemon> = (0..kclpipes)
        .map(|_| machine.start(slots, NOTED, records))
        .collect();
    daemons[0].until("the handlers have begun", |_| !machine.noted().is_empty());
    let (began, all) = (Instant::now(), kclpipes * records as usize);
    daemons[0].until("all handlers have run", |_| {
        machine.noted().matches('-').count() >= all
    });
    began.elapsed()
}

#[test]
#[ignore = "it measures, and wants the machine for itself"]
fn slots_are_hardly_ever_idle_while_somebody_waits() {
    let one = time(1, 1, 100);
    let sixteen = time(16, 4, 25);
    let used = one.as_secs_f64() / sixteen.as_secs_f64();
    assert!(used >= 0.9, "{used:.2} of what four slots could do");
}

/// Kills kclpipes whose handlers run, at random; each slot is somebody else's then, though the handlers go on. In
/// the end all are free.
fn kill_holders(deaths: usize, seed: u64) {
    const SLOTS: usize = 4;
    let (machine, mut rng) = (Machine::new(), Rng::new(seed, 0));
    let start = || machine.start(SLOTS, ENDLESS, 1);
    let mut daemons: Vec<Daemon> = (0..SLOTS + 2).map(|_| start()).collect();
    let mut dead = None;
    for _ in 0..deaths {
        let victim = rng.one_of(&wait_for_holders(&daemons, SLOTS));
        let mut victim = std::mem::replace(&mut daemons[victim], start());
        victim.signal(Signal::KILL);
        // The one before it ends with its handler.
        drop(dead.replace(victim));
    }
    wait_for_holders(&daemons, SLOTS);
    assert_eq!(machine.free(SLOTS), 0);
    for daemon in &mut daemons {
        daemon.signal(Signal::KILL);
    }
    daemons[0].until("all slots are free", |_| machine.free(SLOTS) == SLOTS);
}

/// The kclpipes that have a slot, once they have all of them.
fn wait_for_holders(daemons: &[Daemon], slots: usize) -> Vec<usize> {
    let holders = |others: &[Daemon]| {
        let has = |daemon: &Daemon| daemon.log().contains("begun");
        let all = others.iter().enumerate();
        let found = all.filter(|(_, daemon)| has(daemon)).map(|(at, _)| at);
        found.collect::<Vec<_>>()
    };
    let give_up_at = Instant::now() + Duration::from_secs(30);
    loop {
        let found = holders(daemons);
        if found.len() == slots {
            return found;
        }
        assert!(found.len() < slots, "{found:?} have {slots} slots");
        assert!(Instant::now() < give_up_at, "only {found:?} have a slot");
        std::thread::yield_now();
    }
}

#[test]
fn a_slot_is_free_as_soon_as_its_kclpipe_is_dead() {
    kill_holders(12, 1);
}

#[test]
#[ignore = "a minute of deaths"]
fn no_slot_is_lost_in_a_thousand_deaths() {
    kill_holders(1000, 2);
}

#[test]
fn who_waits_for_a_slot_is_not_silent_and_says_what_for() {
    let machine = Machine::new();
    let end = machine.path().join("end");
    mknodat(CWD, &end, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
    let script = format!("echo begun >&2; read -r line <{}", end.display());
    let mut holder = machine.start(1, &script, 1);
    let mut waiter = machine
        .bridge(1, "echo mine >>done")
        .options("--keepalive 100ms --stats-every 20ms --metrics-dir .")
        .start();
    holder.expect_log("begun");
    waiter.initialize();
    waiter.numbers(1..=1);
    waiter.expect(KEEPALIVE);
    waiter.expect_log("s waiting for a slot");
    waiter.until("its status says what it waits for", |waiter| {
        let name = format!("kclpipe-app-shardId-0-{}", waiter.id());
        let status = waiter.read(&format!("{name}.json"));
        let metrics = waiter.read(&format!("{name}.prom"));
        status.contains(r#""throttled":{"limit":"host_jobs","since":"#)
            && metrics.contains(r#"kclpipe_throttled_seconds_total{name="app",shard="shardId-0",limit="host_jobs"} "#)
    });
    assert_eq!(waiter.read("done"), "");
    fs::write(&end, "now\n").expect("read");
    waiter.expect_lines("done", 1);
}

#[test]
fn a_rate_holds_up_records_and_says_so() {
    let mut daemon = Bridge::new("cat >>done; echo >>done")
        .options("--rate 2/s --stats-every 20ms")
        .start();
    daemon.initialize();
    daemon.numbers(1..=3);
    daemon.expect_log("s waiting for its rate");
    assert_eq!(daemon.expect_lines("done", 3), ["1", "2", "3"]);
    daemon.expect_status_behind_checkpoints("processRecords");
    daemon.finish();
}

#[test]
fn slots_that_others_could_take_away_are_refused() {
    let machine = Machine::new();
    fs::create_dir(machine.path().join("elsewhere")).expect("made");
    symlink("elsewhere", machine.path().join("kclpipe")).expect("made");
    let mut daemon = machine.bridge(1, "true").start();
    let code = daemon.wait_exit();
    assert_eq!(code, 78);
    let log = daemon.log();
    assert!(
        log.contains("there is no place for --host-jobs") && log.contains("is not a directory"),
        "{log}"
    );
}
