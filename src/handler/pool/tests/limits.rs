//! Handlers that a limit of the user's holds up: nobody is charged for it, and nothing is kept from others.

use super::*;
use crate::handler::Rate;
use crate::host_slots;

/// One slot on the machine for all.
fn with_slots(edit: impl FnOnce(&mut Settings)) -> Settings {
    with(RECORD, |s| {
        s.host_jobs = Some(host_slots::Settings {
            slots: 1,
            directory: "/run/slots".into(),
        });
        edit(s);
    })
}

/// A record each second.
fn with_rate(per: Per, edit: impl FnOnce(&mut Settings)) -> Settings {
    with(per, |s| {
        s.rate = Some(Rate {
            interval: Duration::from_secs(1),
        });
        edit(s);
    })
}

#[test]
fn each_attempt_waits_for_a_slot_and_one_that_waits_for_its_delay_asks_for_none() {
    play(
        with_slots(|_| ()),
        "> offer 1 2
         < ask for a slot
         * a slot
         < start 0: 1
         < close 0
         * exit 0 1
         * 1s later
         < ask for a slot
         * a slot
         < start 0: 1
         < close 0
         * exit 0 0
         < ask for a slot
         = done 1
         * a slot
         < start 0: 2
         < close 0
         * exit 0 0
         = done 2",
    );
}

#[test]
fn several_handlers_stand_in_the_queue_once() {
    play(
        with_slots(|s| s.jobs = 2),
        "> offer a:1 b:2
         < ask for a slot
         * a slot
         < start 0: 1
         < close 0
         < ask for a slot
         * exit 0 0
         = done 1
         * a slot
         < start 0: 2
         < close 0
         * exit 0 0
         = done 2",
    );
}

#[test]
fn a_slot_that_comes_when_nothing_starts_any_more_is_left_to_others() {
    play(
        with_slots(|_| ()),
        "> offer 1
         < ask for a slot
         > finish in 5s
         = finished
         * a slot
         < leave the slot",
    );
}

#[test]
fn a_long_wait_for_a_slot_is_said_once_and_wakes_nobody_again() {
    play(
        with_slots(|_| ()),
        "> offer 1
         < ask for a slot
         * 60s later
         * 100s pass
         * a slot
         < start 0: 1
         < close 0
         * exit 0 0
         = done 1",
    );
}

#[test]
fn the_time_that_a_record_waits_for_a_slot_does_not_make_it_too_old() {
    let half_a_minute = || {
        with_slots(|s| {
            s.limits.max_age = Some(Duration::from_secs(30));
            s.on_failure = OnFailure::Skip;
        })
    };
    play(
        half_a_minute(),
        "> offer 1
         < ask for a slot
         * 100s pass
         * a slot
         < start 0: 1
         < close 0
         * 20s pass
         * exit 0 1
         * 1s later
         < ask for a slot
         * 100s pass
         * a slot
         < start 0: 1
         < close 0
         * exit 0 0
         = done 1",
    );
    play(
        half_a_minute(),
        "> offer 1
         < ask for a slot
         * 100s pass
         * a slot
         < start 0: 1
         < close 0
         * 40s pass
         * exit 0 1
         = done 1",
    );
}

#[test]
fn a_rate_spaces_out_what_is_handed_over_for_the_first_time_or_again() {
    play(
        with_rate(RECORD, |s| s.jobs = 2),
        "> offer a:1 b:2 c:3
         < start 0: 1
         < close 0
         * exit 0 0
         = done 1
         * 1s later
         < start 0: 2
         < close 0
         * 1s later
         < start 1: 3
         < close 1
         * exit 0 1
         * 1s later
         < start 0: 2
         < close 0
         * exit 0 0
         = done 2
         * exit 1 0
         = done 3",
    );
}

#[test]
fn a_batch_takes_as_much_of_a_rate_as_it_has_records() {
    let three = Per::Batch {
        size: Some(3),
        bytes: None,
    };
    play(
        with_rate(three, |_| ()),
        "> offer 1 2 3 4
         < start 0: 1 2 3
         < close 0
         * exit 0 0
         = done 3
         * 3s later
         < start 0: 4
         < close 0
         * exit 0 0
         = done 4",
    );
}

#[test]
fn no_slot_is_asked_for_before_the_rate_allows_a_start() {
    play(
        with_slots(|s| {
            s.rate = Some(Rate {
                interval: Duration::from_secs(1),
            });
        }),
        "> offer 1 2
         < ask for a slot
         * a slot
         < start 0: 1
         < close 0
         * exit 0 0
         = done 1
         * 1s later
         < ask for a slot
         * a slot
         < start 0: 2
         < close 0
         * exit 0 0
         = done 2",
    );
}

#[test]
fn a_rate_holds_up_an_event_and_wakes_nobody_while_the_handler_is_busy() {
    let two = Per::Event {
        size: Some(2),
        bytes: None,
        plain: false,
        max_records: None,
    };
    play(
        with_rate(two, |s| s.timeout = Some(Duration::from_secs(60))),
        "> offer 1 2 3
         < start 0: 1 2
         * says 0 ok
         = done 2
         * 2s later
         < feed 0: 3
         > offer 4
         * 30s later
         * says 0 ok
         < feed 0: 4
         = done 3
         * says 0 ok
         = done 4",
    );
}
