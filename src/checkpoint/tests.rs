//! When a checkpoint is asked for, and what its answers lead to.

use super::*;

impl Checkpoints {
    /// What is asked of the daemon now.
    fn next(
        &mut self,
        now: Instant,
        phase: Phase,
        blocked: Option<&BlockedRecord>,
    ) -> Option<Request> {
        match self.poll(now, phase, blocked).now()? {
            ToSay::Ask(request) => Some(request),
            ToSay::KeepAlive => None,
        }
    }

    fn wake(&self, now: Instant, blocked: Option<&BlockedRecord>) -> Option<Instant> {
        self.due(now, Phase::Working, blocked).wake(now)
    }

    fn must_be_heard(&self, now: Instant) -> bool {
        self.due(now, Phase::Working, None) == Due::Now(ToSay::KeepAlive)
    }
}

const SECOND: Duration = Duration::from_secs(1);
const DELAYS: Delays = Delays {
    first: SECOND,
    longest: SECOND,
    jitter: true,
};

fn at(number: u32, sub: u64) -> Position {
    Position::new(&number.to_string(), sub).expect("digits")
}

fn blocked_by(since: Instant, next: Position) -> BlockedRecord {
    BlockedRecord {
        since,
        after: next.clone(),
        next,
    }
}

fn store(number: u32, sub: u64) -> Option<Request> {
    Some(Request::Store(at(number, sub)))
}

/// A lease with nothing stored, and a strategy changed by `edit` from one that never is due.
fn lease(edit: impl FnOnce(&mut Strategy)) -> (Checkpoints, Instant) {
    let (mut strategy, now) = (Strategy::default(), Instant::now());
    edit(&mut strategy);
    (Checkpoints::new(strategy, DELAYS, None, now), now)
}

#[test]
fn one_at_a_time_and_only_what_advances() {
    let (mut it, now) = lease(|s| s.records = Some(1));
    assert_eq!(it.next(now, Phase::Working, None), None);
    it.advance(at(1, 0), 1);
    assert_eq!(it.next(now, Phase::Working, None), store(1, 0));
    it.advance(at(2, 0), 1);
    assert_eq!(
        it.next(now, Phase::Working, None),
        None,
        "its ack is awaited"
    );
    assert_eq!(it.answered(now, None), Answered::GoOn);
    assert_eq!(it.next(now, Phase::Working, None), store(2, 0));
    it.answered(now, None);
    assert_eq!(it.next(now, Phase::Working, None), None);
}

#[test]
fn the_time_since_the_last_stored_one_counts() {
    let (mut it, now) = lease(|s| s.every = Some(SECOND));
    it.advance(at(1, 0), 1);
    assert_eq!(
        (it.next(now, Phase::Working, None), it.wake(now, None)),
        (None, Some(now + SECOND))
    );
    assert_eq!(it.next(now + SECOND, Phase::Working, None), store(1, 0));
    it.answered(now + SECOND * 3, None);
    it.advance(at(2, 0), 1);
    assert_eq!(it.wake(now + SECOND * 3, None), Some(now + SECOND * 4));
}

#[test]
fn a_failure_is_tried_again_with_the_newest_end_then_left_alone() {
    let (mut it, mut now) = lease(|s| s.batch = true);
    it.advance(at(1, 0), 1);
    it.batch_ended();
    for attempt in 1..=5 {
        it.advance(at(attempt, 0), 1);
        assert_eq!(
            it.next(now, Phase::Working, None),
            store(attempt, 0),
            "attempt {attempt}"
        );
        it.answered(now, Some("ThrottlingException"));
        assert_eq!(it.next(now, Phase::Working, None), None, "never at once");
        assert_eq!(it.in_round(), attempt < 5);
        let due = it.due(now, Phase::Working, None);
        let wake = due.wake(now).expect("a next attempt");
        assert!(wake > now && (attempt == 5 || wake <= now + SECOND));
        now = wake;
    }
    let last = now - Duration::from_secs(60);
    it.checkpoint_request(at(5, 0));
    assert_eq!(
        it.next(last + SECOND * 59, Phase::Working, None),
        None,
        "a request waits, too"
    );
    assert_eq!(it.next(now, Phase::Working, None), store(5, 0));
}

#[test]
fn the_last_chance_does_not_wait_for_a_pause() {
    let (mut it, mut now) = lease(|s| s.batch = true);
    it.advance(at(1, 0), 1);
    it.batch_ended();
    for _ in 0..5 {
        assert!(it.next(now, Phase::Working, None).is_some());
        it.answered(now, Some("RuntimeException"));
        now += SECOND;
    }
    assert_eq!(it.next(now, Phase::Shutdown, None), None);
    it.last_chance();
    assert_eq!(it.next(now, Phase::Shutdown, None), store(1, 0));
}

#[test]
fn a_refused_value_is_not_repeated_but_the_next_one_is_asked_for() {
    let (mut it, now) = lease(|s| s.records = Some(1));
    it.advance(at(1, 0), 1);
    it.next(now, Phase::Working, None);
    assert_eq!(
        it.answered(now, Some("IllegalArgumentException")),
        Answered::GoOn
    );
    assert_eq!(
        (it.next(now, Phase::Working, None), it.in_round()),
        (None, false)
    );
    it.advance(at(2, 0), 1);
    assert_eq!(it.next(now, Phase::Working, None), store(2, 0));
}

#[test]
fn after_the_lease_is_gone_nothing_is_sent() {
    let (mut it, now) = lease(|s| s.records = Some(1));
    it.advance(at(1, 0), 1);
    it.next(now, Phase::Working, None);
    assert_eq!(
        it.answered(now, Some("ShutdownException")),
        Answered::LeaseGone
    );
    it.advance(at(2, 0), 1);
    assert_eq!(
        (it.next(now, Phase::ShardEnd, None), it.wake(now, None)),
        (None, None)
    );
}

#[test]
fn the_end_of_a_shard_is_not_asked_for_before_all_is_done() {
    let (mut it, now) = lease(|s| s.manual = true);
    it.delivered(at(2, 0));
    it.advance(at(1, 0), 1);
    assert!(!it.is_all_done());
    assert_eq!(it.next(now, Phase::ShardEnd, None), None);
    it.advance(at(2, 0), 1);
    assert!(it.is_all_done());
    assert_eq!(it.next(now, Phase::ShardEnd, None), Some(Request::ShardEnd));
}

#[test]
fn nothing_awaits_an_action_while_an_ack_is_awaited_or_when_the_lease_is_gone() {
    let (mut it, now) = lease(|s| s.records = Some(1));
    assert_eq!(it.awaits_action(now), Due::Never);
    it.advance(at(1, 0), 1);
    assert_eq!(it.awaits_action(now), Due::Now(()));
    it.next(now, Phase::Working, None);
    it.advance(at(2, 0), 1);
    assert_eq!(it.awaits_action(now), Due::Never);
    it.answered(now, None);
    assert_eq!(it.awaits_action(now), Due::Now(()));
    it.lose_lease();
    assert_eq!(it.awaits_action(now), Due::Never);
}

#[test]
fn each_answer_is_counted_but_those_to_what_only_keeps_alive() {
    let now = Instant::now();
    let strategy = Strategy {
        records: Some(1),
        ..Strategy::default()
    };
    let mut it = Checkpoints::new(strategy, DELAYS, Some(SECOND), now);
    it.begin(&Start::After(at(4, 2)), now);
    let mut at_time = now + SECOND;
    let repeat = Some(Request::Repeat(at(4, 2)));
    assert_eq!(it.next(at_time, Phase::Working, None), repeat);
    it.answered(at_time, None);
    let refusals = [
        None,
        Some("ThrottlingException"),
        None,
        Some("IllegalArgumentException"),
        None,
    ];
    for (number, error) in (5..).zip(refusals) {
        at_time += SECOND;
        it.advance(at(number, 0), 1);
        assert!(it.next(at_time, Phase::Working, None).is_some());
        it.answered(at_time, error);
    }
    it.advance(at(20, 0), 1);
    it.next(at_time, Phase::Working, None);
    it.answered(at_time, Some("ShutdownException"));
    let counted = Results {
        stored: 3,
        failed: 1,
        refused: 1,
        lease_lost: 1,
    };
    assert_eq!(it.results(), counted);
}

#[test]
fn shard_end_is_tried_for_ever_unless_it_is_refused() {
    let (mut it, mut now) = lease(|s| s.manual = true);
    for _ in 0..20 {
        assert_eq!(it.next(now, Phase::ShardEnd, None), Some(Request::ShardEnd));
        assert_eq!(
            it.answered(now, Some("KinesisClientLibDependencyException")),
            Answered::GoOn
        );
        let due = it.due(now, Phase::ShardEnd, None);
        now = due.wake(now).expect("a next attempt");
    }
    it.next(now, Phase::ShardEnd, None);
    assert_eq!(
        it.answered(now, Some("InvalidStateException")),
        Answered::ShardEndRefused
    );
    it.next(now, Phase::ShardEnd, None);
    assert_eq!(
        (it.answered(now, None), it.shard_end_stored()),
        (Answered::GoOn, true)
    );
    assert_eq!(it.next(now, Phase::ShardEnd, None), None);
}

#[test]
fn manual_stores_what_was_wished_for_and_no_more() {
    let (mut it, now) = lease(|s| s.manual = true);
    it.advance(at(3, 0), 3);
    assert_eq!(it.next(now, Phase::Working, None), None);
    it.drain(now + SECOND);
    assert_eq!(
        it.next(now, Phase::Shutdown, None),
        None,
        "shutdown adds nothing"
    );
    it.checkpoint_request(at(2, 0));
    assert_eq!(it.next(now, Phase::Working, None), store(2, 0));
    it.answered(now, None);
    assert_eq!(it.next(now, Phase::Shutdown, None), None);
}

#[test]
fn a_wish_under_another_strategy_stores_all_of_the_run() {
    let (mut it, now) = lease(|_| ());
    it.advance(at(3, 0), 3);
    it.checkpoint_request(at(2, 0));
    assert_eq!(it.next(now, Phase::Working, None), store(3, 0));
}

#[test]
fn while_draining_every_step_is_stored() {
    let (mut it, now) = lease(|_| ());
    it.advance(at(1, 0), 1);
    it.drain(now + SECOND);
    assert_eq!(it.next(now, Phase::Working, None), store(1, 0));
    it.answered(now, None);
    it.advance(at(2, 0), 1);
    assert_eq!(it.next(now, Phase::Working, None), store(2, 0));
    it.answered(now, None);
    it.advance(at(3, 0), 1);
    assert_eq!(it.next(now + SECOND, Phase::Working, None), None);
}

#[test]
fn a_blocked_shard_probes_its_lease_just_behind_the_run() {
    let (mut it, now) = lease(|_| ());
    let blocked = blocked_by(now, at(9, 0));
    assert_eq!(
        it.next(now + PROBE_AFTER, Phase::Working, Some(&blocked)),
        None,
        "nothing done yet"
    );
    it.advance(at(5, 3), 1);
    assert_eq!(it.wake(now, Some(&blocked)), Some(now + PROBE_AFTER));
    assert_eq!(
        it.next(now + PROBE_AFTER - SECOND, Phase::Working, Some(&blocked)),
        None
    );
    let mut at_time = now;
    for k in 1..4 {
        at_time += PROBE_AFTER;
        assert_eq!(
            it.next(at_time, Phase::Working, Some(&blocked)),
            store(5, 3 + k)
        );
        it.answered(at_time, None);
    }
    it.advance(at(9, 0), 1);
    it.checkpoint_request(at(9, 0));
    assert_eq!(
        it.next(at_time, Phase::Working, None),
        store(9, 0),
        "the run goes on behind the probe"
    );
}

#[test]
fn there_is_no_probe_into_an_aggregate_or_beyond_what_was_wished_for() {
    let (mut it, now) = lease(|_| ());
    it.advance(at(5, 0), 1);
    let blocked = blocked_by(now, at(5, 1));
    assert_eq!(
        it.next(now + PROBE_AFTER, Phase::Working, Some(&blocked)),
        None
    );
    assert_eq!(it.wake(now, Some(&blocked)), None);
    let again = blocked_by(now, at(4, 0));
    assert_eq!(
        it.wake(now, Some(&again)),
        None,
        "a record that was delivered again"
    );

    let (mut manual, now) = lease(|s| s.manual = true);
    let blocked = blocked_by(now, at(9, 0));
    manual.advance(at(5, 0), 1);
    assert_eq!(
        manual.next(now + PROBE_AFTER, Phase::Working, Some(&blocked)),
        None
    );
    manual.checkpoint_request(at(5, 0));
    assert_eq!(
        manual.next(now, Phase::Working, Some(&blocked)),
        store(5, 0)
    );
    manual.answered(now, None);
    assert_eq!(
        manual.next(now + PROBE_AFTER, Phase::Working, Some(&blocked)),
        store(5, 1)
    );
}

#[test]
fn there_is_no_probe_into_a_batch_whose_end_alone_is_stored() {
    let (mut it, now) = lease(|_| ());
    it.advance(at(5, 0), 1);
    let within = BlockedRecord {
        after: at(5, 1),
        ..blocked_by(now, at(9, 0))
    };
    let later = now + PROBE_AFTER;
    assert_eq!(it.next(later, Phase::Working, Some(&within)), None);
}

#[test]
fn the_keep_alive_repeats_what_is_stored_or_says_that_something_must_be_sent() {
    let now = Instant::now();
    let mut it = Checkpoints::new(Strategy::default(), DELAYS, Some(SECOND), now);
    assert_eq!(
        (it.wake(now, None), it.must_be_heard(now)),
        (Some(now + SECOND), false)
    );
    assert!(it.must_be_heard(now + SECOND));
    let said = it.poll(now + SECOND, Phase::Working, None);
    assert_eq!(said, Due::Now(ToSay::KeepAlive));
    it.begin(&Start::After(at(4, 2)), now);
    let later = now + SECOND * 2;
    assert_eq!(it.wake(now + SECOND, None), Some(later));
    assert_eq!(
        it.next(later, Phase::Working, None),
        Some(Request::Repeat(at(4, 2)))
    );
    assert!(!it.must_be_heard(later), "one is on its way");
    it.answered(later, None);
    assert_eq!(it.wake(later, None), Some(later + SECOND));
}

#[test]
fn the_keep_alive_disturbs_no_round() {
    let now = Instant::now();
    let strategy = Strategy {
        batch: true,
        ..Strategy::default()
    };
    let mut it = Checkpoints::new(strategy, DELAYS, Some(SECOND / 4), now);
    it.begin(&Start::After(at(4, 2)), now);
    it.advance(at(5, 0), 1);
    it.batch_ended();
    assert_eq!(it.next(now, Phase::Working, None), store(5, 0));
    it.answered(now, Some("ThrottlingException"));
    let pause = now + SECOND / 4;
    let said = it.poll(pause, Phase::Working, None);
    assert_eq!(
        said,
        Due::Now(ToSay::KeepAlive),
        "nothing is asked in a pause"
    );
    assert!(it.in_round(), "and the round goes on");
    assert_eq!(it.next(now + SECOND, Phase::Working, None), store(5, 0));
}

#[test]
fn when_a_pause_is_over_the_keep_alive_asks_the_lease_table_again() {
    let now = Instant::now();
    let mut it = Checkpoints::new(Strategy::default(), DELAYS, Some(SECOND / 4), now);
    it.begin(&Start::After(at(5, 0)), now);
    it.advance(at(5, 0), 1);
    let blocked = blocked_by(now, at(6, 0));
    let probe = now + PROBE_AFTER;
    assert_eq!(it.next(probe, Phase::Working, Some(&blocked)), store(5, 1));
    it.answered(probe, Some("ThrottlingException"));
    let over = it.not_before.expect("a pause");
    let repeat = Some(Request::Repeat(at(5, 0)));
    assert_eq!(it.next(over, Phase::Working, None), repeat);
}

#[test]
fn a_probe_that_failed_holds_up_no_halt() {
    let (mut it, now) = lease(|_| ());
    it.begin(&Start::After(at(5, 0)), now);
    it.advance(at(5, 0), 1);
    let blocked = blocked_by(now, at(6, 0));
    let probe = now + PROBE_AFTER;
    assert_eq!(it.next(probe, Phase::Working, Some(&blocked)), store(5, 1));
    it.answered(probe, Some("ThrottlingException"));
    assert!(it.in_round());
    it.last_chance();
    assert_eq!(it.next(probe, Phase::Shutdown, None), None);
    assert!(!it.in_round(), "nothing is left to be asked");
}
