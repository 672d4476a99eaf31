//! `--jobs N`: several handlers at a time, and order per partition key.

use kclpipe::testing::handler::{OnFailure, Per};

use crate::pool::{BATCH, Outcome, Play, SHARD, window};

/// The records of one key in the order in which they were handled.
fn of_key(play: &Outcome, key: &str) -> Vec<String> {
    play.log
        .iter()
        .filter(|record| record.starts_with(key))
        .cloned()
        .collect()
}

const RECORDS: &str = "a:a1 b:b1 a:a2 c:c1 b:b2 a:a3 c:c2 d:d1 a:a4";

#[test]
fn records_of_one_key_stay_in_order_in_every_way() {
    let whole = r#"r=$(cat); echo "$r" >> "$LOG""#;
    let live = r#"n=0; while read -r r; do n=$((n + 1)); echo "$r" >> "$LOG"; echo "$KCLPIPE_TOKEN ok $n"; done"#;
    for (per, script) in [
        (Per::Record, whole),
        (BATCH, whole),
        (SHARD, live),
        (window(2), live),
    ] {
        let play = Play::new(per, script).with(|s| s.jobs = 3).run(&[RECORDS]);
        assert_eq!(of_key(&play, "a"), ["a1", "a2", "a3", "a4"], "{per:?}");
        assert_eq!(of_key(&play, "b"), ["b1", "b2"], "{per:?}");
        assert_eq!(of_key(&play, "c"), ["c1", "c2"], "{per:?}");
        assert_eq!(
            (play.log.len(), play.events.last().map(String::as_str)),
            (9, Some("done 9")),
            "{per:?}"
        );
    }
}

#[test]
fn several_handlers_run_at_a_time() {
    // Each waits until the other has started, too.
    let script = r#"r=$(cat); : > "$LOG.$r"; while ! [ -e "$LOG.x" ] || ! [ -e "$LOG.y" ]; do sleep 0.01; done"#;
    let play = Play::new(Per::Record, script)
        .with(|s| s.jobs = 2)
        .run(&["a:x b:y"]);
    assert_eq!(play.events.last().map(String::as_str), Some("done 2"));
}

#[test]
fn a_blocked_key_holds_up_its_own_records_and_the_run_but_no_other_key() {
    // a1 fails until everything of the other keys is handled.
    let script = r#"r=$(cat)
        if [ "$r" = a1 ]; then [ "$(grep -c '^[bc]' "$LOG")" = 3 ] || exit 1; fi
        echo "$r" >> "$LOG""#;
    let play = Play::new(Per::Record, script).with(|s| {
        s.jobs = 2;
        s.on_failure = OnFailure::Block;
        s.limits.max_attempts = None;
    });
    let play = play.run(&["a:a1 b:b1 a:a2 c:c1 b:b2"]);
    assert_eq!(play.log[3..], ["a1", "a2"]);
    assert_eq!(
        play.events[0], "done 2",
        "the run begins when a1 is done, and then takes in what was done before"
    );
}

#[test]
fn a_wish_beyond_the_run_is_told_with_its_own_position() {
    let script = r#"r=$(cat); if [ "$r" = a1 ]; then until [ -e "$LOG.b" ]; do sleep 0.01; done; else echo checkpoint; : > "$LOG.b"; fi"#;
    let play = Play::new(Per::Record, script)
        .with(|s| s.jobs = 2)
        .run(&["a:a1 b:b1"]);
    assert!(
        play.events.contains(&"checkpoint 2".to_owned()),
        "{:?}",
        play.events
    );
}

#[test]
fn a_culprit_in_one_run_does_not_hold_up_the_other_handlers() {
    let script = r#"r=$(cat); case $r in *bad*) exit 1;; esac; echo "$r" >> "$LOG""#;
    let play = Play::new(BATCH, script)
        .with(|s| s.jobs = 3)
        .run(&["a:a1 b:bad c:c1 a:a2 d:d1 e:e1"]);
    let mut log = play.log.clone();
    log.sort();
    assert_eq!(
        (log.join(" "), play.letters),
        ("a1 a2 c1 d1 e1".into(), vec!["bad".into()])
    );
}
