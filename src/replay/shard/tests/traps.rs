//! What KCL does that surprises a child.

use super::faults::{Model, faulty};
use super::*;
use crate::replay::faults::Faults;
use crate::replay::lease::Stored;

/// Records with these numbers, each of which arrives a second after the one before.
fn arriving(numbers: &[&str]) -> Vec<Record> {
    let mut records = records(numbers);
    for (record, second) in records.iter_mut().zip(1..) {
        record.arrival = second * 1000;
    }
    records
}

fn live(numbers: &[&str]) -> Shard {
    Shard::live("shardId-0".to_owned(), arriving(numbers), RULES, true)
}

/// What the batches in these steps say of how far they are behind.
fn behind(steps: &[Step]) -> Vec<Option<i64>> {
    let of = |step: &Step| {
        let Step::Send(line) = step else {
            return None;
        };
        let message = Message::parse(line.trim_end()).expect(line);
        let Message::ProcessRecords {
            millis_behind_latest,
            ..
        } = message
        else {
            return None;
        };
        Some(millis_behind_latest)
    };
    steps.iter().filter_map(of).collect()
}

fn answer(shard: &mut Shard, action: &str) -> Vec<Step> {
    shard.begin_reading();
    shard.take(written(&format!("status {action}")).as_bytes())
}

#[test]
fn at_latest_a_restart_skips_what_was_delivered_and_not_checkpointed() {
    let mut shard = shard(&["1", "2", "3", "4"], RULES).at(LeasePosition::Latest);
    let report = converse(
        &mut shard,
        "* start
         > initialize LATEST.0
         < status initialize
         > processRecords 1.0 2.0
         ^ exit code 1
         # restarting from LATEST
         * start
         > initialize LATEST.0
         < status initialize
         > processRecords 3.0 4.0
         < checkpoint 3
         > ack 3.- ok",
    );
    assert_eq!((report.delivered, report.redelivered), (4, 0));
    assert_eq!(*shard.lease(), LeasePosition::parse("3", None).expect("3"));
}

#[test]
fn the_tip_is_where_the_first_read_finds_it() {
    let mut shard = live(&["1", "2", "3", "4"]).at(LeasePosition::Latest);
    let report = converse(
        &mut shard,
        "* start
         > initialize LATEST.0
         @ 1500
         < status initialize
         > processRecords
         @ 2000
         < status processRecords
         > processRecords 2.0
         ^ exit code 1
         # restarting from LATEST
         * start
         > initialize LATEST.0
         < status initialize
         @ 3000
         > processRecords
         @ 4000
         < status processRecords
         > processRecords 4.0
         < status processRecords
         > shardEnded",
    );
    assert_eq!(report.delivered, 2, "1 and 3 were before the tip");
}

#[test]
fn a_read_is_as_old_as_it_is_and_waits_its_turn() {
    let mut shard = live(&["1", "2", "3", "4", "5"]);
    shard.start();
    // Four reads wait, and the fifth is not made: what it would find is found later.
    for now in [0, 1000, 1500, 3000, 4000] {
        assert!(shard.fetch(now).is_empty());
    }
    let mut seen = Vec::new();
    let mut steps = answer(&mut shard, "initialize");
    for _ in 0..4 {
        seen.push((shown(&steps[0]), behind(&steps)[0]));
        steps = answer(&mut shard, "processRecords");
    }
    let caught_up = Some(0);
    let expected = [
        ("> processRecords ", caught_up),
        ("> processRecords 1.0", caught_up),
        // Stale: it says that nothing is left, though 2 and 3 have arrived since.
        ("> processRecords ", caught_up),
        ("> processRecords 2.0 3.0", caught_up),
    ];
    assert_eq!(
        seen,
        expected.map(|(line, behind)| (line.to_owned(), behind))
    );
    assert!(steps.is_empty(), "nothing was read: {steps:?}");
    let steps = shard.fetch(5500);
    assert_eq!(shown(&steps[0]), "> processRecords 4.0 5.0");
}

#[test]
fn a_read_that_leaves_records_says_how_long_they_have_been_there() {
    let mut shard = live(&["1", "2", "3", "4"]);
    shard.start();
    shard.fetch(4500);
    let steps = answer(&mut shard, "initialize");
    assert_eq!(shown(&steps[0]), "> processRecords 1.0 2.0");
    assert_eq!(behind(&steps), [Some(1500)], "3 arrived at 3000");
}

#[test]
fn a_record_is_read_after_the_previous_one_whenever_it_says_it_arrived() {
    let mut records = arriving(&["1", "2", "3"]);
    records[1].arrival = 5000;
    let mut shard = Shard::live("shardId-0".to_owned(), records, RULES, true);
    shard.start();
    shard.fetch(4000);
    shard.fetch(5000);
    let steps = answer(&mut shard, "initialize");
    assert_eq!(shown(&steps[0]), "> processRecords 1.0");
    assert_eq!(behind(&steps), [Some(0)], "3 cannot be read yet");
    let steps = answer(&mut shard, "processRecords");
    assert_eq!(shown(&steps[0]), "> processRecords 2.0 3.0");
}

#[test]
fn a_shard_that_has_nothing_to_read_may_end_by_its_child() {
    let mut shard = live(&["1"]);
    let report = converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         ^ exit code 1
         # before its input did
         * start
         > initialize TRIM_HORIZON.0
         @ 1000
         < status initialize
         > processRecords 1.0",
    );
    assert_eq!(report.restarts, 1);
}

#[test]
fn records_after_the_checkpoint_may_be_delivered_again_and_allow_no_less() {
    let mut shard = faulty(4, "redeliver=1", 1, RULES);
    let report = converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0 2.0
         < checkpoint 1
         > ack 1.- ok
         < status processRecords
         > processRecords 2.0
         < checkpoint 2
         > ack 2.- ok
         < status processRecords
         > processRecords 3.0 4.0
         < checkpoint 4
         > ack 4.- ok
         < status processRecords
         > shardEnded",
    );
    assert_eq!((report.delivered, report.redelivered), (5, 1));
    assert!(report.faults.is_empty(), "{report:?}");
}

#[test]
fn an_older_batch_does_not_take_back_what_a_checkpoint_may_name() {
    let mut lease = Lease::new(LeasePosition::TrimHorizon);
    let at = |number| LeasePosition::parse(number, None);
    assert_eq!(lease.deliver(0..4, at("4")), 0);
    assert_eq!(lease.deliver(1..3, at("3")), 2);
    assert_eq!(Some(&lease.assignment.largest), at("4").as_ref());
    assert_eq!((lease.fresh, lease.assignment.next), (4, 3));
    assert!(!lease.assignment.is_new);
}

#[test]
fn what_the_tip_skipped_does_not_come_again() {
    let mut lease = Lease::new(LeasePosition::Latest);
    lease.assign(0);
    lease.deliver(2..3, LeasePosition::parse("3", None));
    lease.deliver(3..4, LeasePosition::parse("4", None));
    assert_eq!((lease.assignment.first, lease.assignment.next), (2, 4));
}

#[test]
fn the_last_position_is_the_end_also_if_it_was_delivered_before_an_older_one() {
    let mut lease = Lease::new(LeasePosition::TrimHorizon);
    let at = |number| LeasePosition::parse(number, None).expect(number);
    lease.deliver(0..4, Some(at("4")));
    lease.deliver(1..3, Some(at("3")));
    lease.end_shard();
    assert_eq!(lease.store(at("3")), Stored::New);
    assert_eq!(lease.stored, at("3"));
    assert_eq!(lease.store(at("4")), Stored::New);
    assert_eq!(lease.stored, LeasePosition::ShardEnd);
    assert_eq!(lease.store(LeasePosition::ShardEnd), Stored::Repeated);
}

#[test]
fn another_daemon_may_have_a_batch_after_shutdown_was_requested() {
    let rules = Rules {
        ending: Ending::Graceful,
        ..RULES
    };
    let mut shard = faulty(2, "shutdown=1,late-batch=1", 1, rules);
    let report = converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         # injected: shutdownRequested
         > shutdownRequested
         < status shutdownRequested
         > processRecords 1.0
         < status processRecords
         > leaseLost
         < status leaseLost
         * close
         ^ exit code 0
         * start
         > initialize TRIM_HORIZON.0
         < status initialize
         # injected: shutdownRequested
         > shutdownRequested
         < status shutdownRequested
         > processRecords 1.0
         < status processRecords
         > leaseLost",
    );
    assert_eq!((report.interruptions, report.redelivered), (1, 1));
    let all = Faults::parse("all").expect("sound");
    let rate = all.rate(crate::replay::faults::Fault::LateBatch);
    assert!(rate == 0.0, "KCL does not do it");
}

#[test]
fn a_border_may_lie_in_an_aggregate_and_a_restart_begins_there() {
    let mut shard = shard(&["1.0", "1.1", "1.2"], RULES);
    converse(
        &mut shard,
        "* start
         > initialize TRIM_HORIZON.0
         < status initialize
         > processRecords 1.0 1.1
         < checkpoint 1.1
         > ack 1.1 ok
         < status processRecords
         > processRecords 1.2
         ^ exit code 1
         # restarting from 1.1
         * start
         > initialize 1.1
         < status initialize
         > processRecords 1.2",
    );
}

#[test]
fn a_live_shard_reaches_its_end_with_every_record_whatever_befalls_it() {
    let numbers: Vec<String> = (1..=30).map(|n| n.to_string()).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    for seed in 0..100 {
        let faults = Faults::parse("all,late-batch").expect("sound");
        let mut shard = live(&numbers).with(Schedule::new(faults, seed, 0));
        let model = Model::play_live(&mut shard);
        let report = shard.report();
        assert!(
            report.reached_end && report.faults.is_empty(),
            "seed {seed}: {report:?}\n{:#?}",
            model.trace
        );
        assert_eq!(model.handled.len(), 30, "seed {seed}: {:#?}", model.trace);
    }
}
