//! `kclpipe redrive`: dead letters are handed over again, none is lost on any death, and workers go on writing.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const KCLPIPE: &str = env!("CARGO_BIN_EXE_kclpipe");

/// A folder with letters in `dead`, of two shards that take turns.
struct Letters(TempDir);

fn letter(number: u32) -> String {
    let shard = number % 2;
    format!(
        r#"{{"shardId":"shardId-{shard}","sequenceNumber":"{number}","subSequenceNumber":0,"partitionKey":"key-{number}","approximateArrivalTimestamp":1700000000000,"millisBehindLatest":0,"attempts":5,"failures":5,"outcome":"exit code 1","stderr":"","dataBase64":"aGk="}}"#
    ) + "\n"
}

impl Letters {
    fn new(letters: u32) -> Letters {
        let folder = Letters(tempfile::tempdir().expect("a folder"));
        let text: String = (1..=letters).map(letter).collect();
        fs::write(folder.path("dead"), text).expect("written");
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The numbers that the handler wrote down, in its order.
    fn seen(&self) -> Vec<u32> {
        let text = self.text("seen");
        text.lines().map(|line| line.parse().expect(line)).collect()
    }

    fn command(&self, options: &str, handler: &str) -> Command {
        let mut command = Command::new(KCLPIPE);
        command
            .args(["redrive", "dead"])
            .args(options.split_whitespace())
            .args(["--retry-delay", "1ms", "--", "sh", "-c", handler])
            .current_dir(self.0.path());
        command
    }

    fn run(&self, options: &str, handler: &str) -> Output {
        self.command(options, handler).output().expect("started")
    }

    /// The names in the folder besides what handlers write down.
    fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.0.path()).expect("readable").flatten();
        let mut names: Vec<String> = names
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name != "seen")
            .collect();
        names.sort();
        names
    }
}

/// Waits until it is so.
#[track_caller]
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "waited for: {what}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Writes down which record it got; those whose number ends in 5 fail.
const HANDLER: &str =
    "case $KCLPIPE_SEQUENCE_NUMBER in *5) exit 65;; esac; echo $KCLPIPE_SEQUENCE_NUMBER >> seen";

#[test]
fn letters_are_handed_over_in_the_order_of_their_shards_and_what_fails_again_goes_back() {
    let letters = Letters::new(20);
    let output = letters.run("", HANDLER);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "20 letters handed over; 2 failed again, now in 'dead'\n"
    );
    let seen = letters.seen();
    for shard in 0..2 {
        let of_shard: Vec<u32> = seen.iter().copied().filter(|of| of % 2 == shard).collect();
        let expected: Vec<u32> = (1..=20)
            .filter(|of| of % 2 == shard && of % 10 != 5)
            .collect();
        assert_eq!(of_shard, expected);
    }
    let dead = letters.text("dead");
    assert_eq!(dead.lines().count(), 2, "{dead}");
    assert!(dead.contains(r#""sequenceNumber":"15""#) && dead.contains("exit code 65"));
    assert_eq!(letters.left(), ["dead"]);
    let output = letters.run("", "echo $KCLPIPE_SEQUENCE_NUMBER >> seen");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(letters.seen().len(), 20);
    assert!(letters.left().is_empty(), "all are done");
    assert_eq!(letters.run("", "true").status.code(), Some(66));
}

#[test]
fn what_failed_again_is_counted_in_the_file_of_each_shard() {
    let letters = Letters::new(20);
    let output = letters.run("--dead-letter of-{shard}", HANDLER);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stdout(&output).contains("; 2 failed again, now in 'of-{shard}'"));
    assert_eq!(letters.left(), ["of-shardId-1"]);
}

#[test]
fn a_letter_that_deaths_have_doubled_is_handed_over_once() {
    let letters = Letters::new(2);
    let text = letters.text("dead");
    fs::write(letters.path("dead"), text.repeat(3)).expect("written");
    let output = letters.run("", "echo $KCLPIPE_SEQUENCE_NUMBER >> seen; exit 65");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(letters.seen().len(), 2);
    assert_eq!(letters.text("dead").lines().count(), 2);
}

#[test]
fn a_link_to_the_file_stays_one() {
    let letters = Letters::new(20);
    fs::rename(letters.path("dead"), letters.path("target")).expect("moved");
    std::os::unix::fs::symlink("target", letters.path("dead")).expect("linked");
    let output = letters.run("", HANDLER);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(letters.path("dead").is_symlink());
    assert_eq!(letters.text("target").lines().count(), 2);
    assert_eq!(letters.left(), ["dead", "target"]);
}

#[test]
fn where_the_rest_is_is_said_when_the_disk_fails() {
    let letters = Letters::new(2);
    fs::create_dir(letters.path("dead.redrive.offset.new")).expect("made");
    let output = letters.run("", HANDLER);
    assert_eq!(output.status.code(), Some(70));
    assert!(stderr(&output).contains("the rest is in 'dead.redrive'"));
    fs::remove_dir(letters.path("dead.redrive.offset.new")).expect("removed");
    let output = letters.run("", HANDLER);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(letters.seen().len(), 2);
}

#[test]
fn what_was_killed_goes_on_where_it_was_and_hands_no_part_over_twice() {
    let letters = Letters::new(40);
    let stops =
        "echo $KCLPIPE_SEQUENCE_NUMBER >> seen; [ $KCLPIPE_SEQUENCE_NUMBER -lt 21 ] || sleep 60";
    let mut first = letters
        .command("--checkpoint-records 1 --stop-timeout 0", stops)
        .stderr(Stdio::null())
        .spawn()
        .expect("started");
    wait_until("both shards stand", || {
        letters.seen().iter().filter(|of| **of >= 21).count() == 2
    });
    wait_until("what is done is kept", || {
        let offset = letters.text("dead.redrive.offset");
        offset.contains(r#"["20",0]"#) && offset.contains(r#"["19",0]"#)
    });
    kill(&mut first);
    // A worker that lives on writes a letter meanwhile.
    fs::write(letters.path("dead"), letter(99)).expect("written");
    let output = letters.run("", "echo $KCLPIPE_SEQUENCE_NUMBER >> seen");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("which an earlier redrive left"));
    let mut seen = letters.seen();
    seen.sort_unstable();
    let expected: Vec<u32> = (1..=20).chain([21, 21, 22, 22]).chain(23..=40).collect();
    assert_eq!(seen, expected);
    assert_eq!(letters.text("dead"), letter(99), "left for the next time");
    assert_eq!(letters.left(), ["dead"]);
}

fn kill(child: &mut Child) {
    child.kill().expect("killed");
    child.wait().expect("awaited");
}

#[test]
fn at_any_death_each_letter_is_done_or_still_in_a_file() {
    let letters = Letters::new(60);
    for round in 0..12 {
        let seen_before = letters.seen().len();
        let mut child = letters
            .command("--checkpoint-records 2 --stop-timeout 0", HANDLER)
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("started");
        // At another moment each time: right away, or after some records.
        wait_until("it comes so far, or ends", || {
            letters.seen().len() >= seen_before + round % 5
                || child.try_wait().expect("its state").is_some()
        });
        kill(&mut child);
    }
    // What was left of the last one, and what is in the file now.
    for _ in 0..2 {
        letters.run("", HANDLER);
    }
    assert_eq!(letters.left(), ["dead"]);
    let mut seen = letters.seen();
    seen.sort_unstable();
    seen.dedup();
    let dead = letters.text("dead");
    for number in 1..=60 {
        let is_dead = dead.contains(&format!(r#""sequenceNumber":"{number}""#));
        assert_eq!(is_dead, number % 10 == 5, "{number} in the file");
        assert_ne!(seen.contains(&number), is_dead, "{number} was done");
    }
}

#[test]
fn a_line_that_is_no_letter_is_put_back_and_two_do_not_share_a_file() {
    let letters = Letters::new(2);
    let mut dead = OpenOptions::new()
        .append(true)
        .open(letters.path("dead"))
        .expect("there");
    dead.write_all(b"{\"half\":").expect("written");
    let output = letters.run("", "true");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(
        stdout(&output),
        "2 letters handed over; no letters, and put back into 'dead': 1 line\n"
    );
    assert_eq!(letters.text("dead"), "{\"half\":\n");
    // Another one is at work.
    let aside = File::create(letters.path("dead.redrive")).expect("made");
    flock(&aside, FlockOperation::LockExclusive).expect("locked");
    let output = letters.run("", "true");
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(stderr(&output).contains("another redrive is at work"));
    assert_eq!(letters.text("dead"), "{\"half\":\n", "it was left alone");
}

#[test]
fn a_handler_that_halts_leaves_the_rest_for_the_next_time() {
    let letters = Letters::new(6);
    let output = letters.run(
        "--on-exit 9=halt",
        "[ $KCLPIPE_SEQUENCE_NUMBER != 4 ] || exit 9; echo $KCLPIPE_SEQUENCE_NUMBER >> seen",
    );
    assert_eq!(output.status.code(), Some(75), "{}", stderr(&output));
    assert!(stderr(&output).contains("the same command goes on with it"));
    let output = letters.run("", "echo $KCLPIPE_SEQUENCE_NUMBER >> seen");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let mut seen = letters.seen();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [1, 2, 3, 4, 5, 6]);
    let file: &Path = &letters.path("dead");
    assert!(!file.exists());
}

#[test]
fn a_filter_keeps_no_letter_back() {
    let letters = Letters::new(4);
    fs::write(letters.path("patterns"), r#"{"partitionKey":["other"]}"#).expect("written");
    let handler = "echo $KCLPIPE_SEQUENCE_NUMBER >>seen";
    let output = letters.run("--filter-file patterns --filter-non-json skip", handler);
    assert!(output.status.success(), "{output:?}");
    let mut seen = letters.seen();
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3, 4]);
}
