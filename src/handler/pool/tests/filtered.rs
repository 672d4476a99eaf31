//! Records that a filter keeps from the handler: they are done, hold nothing, and start nothing.

use super::held::windowed;
use super::*;
use crate::filter::{Filter, NonJson, patterns};

/// Hands over odd numbers under ten, and what is no JSON.
fn odd(edit: impl FnOnce(&mut Settings)) -> impl FnOnce(&mut Settings) {
    |settings| {
        let odd = patterns("F", r#"{"data": [1, 3, 5, 7, 9]}"#).expect("a pattern");
        settings.filter = Some(Filter::new(odd, NonJson::Pass));
        edit(settings);
    }
}

#[test]
fn a_filtered_record_is_done_at_once_and_no_handler_gets_it() {
    play(
        with(RECORD, odd(|_| ())),
        "> offer 2 1 4 3 6
         < start 0: 1
         < close 0
         = done 1
         * exit 0 0
         < start 0: 3
         < close 0
         = done 3
         * exit 0 0
         = done 5",
    );
}

#[test]
fn a_read_of_which_nothing_passes_is_done() {
    play(
        with(RECORD, odd(|_| ())),
        "> offer 2 4 6
         = done 3
         > offer 8
         = done 4",
    );
}

#[test]
fn what_is_no_json_passes_and_may_be_unfit_then() {
    play(
        with(RECORD, odd(|s| s.on_failure = OnFailure::Skip)),
        "> offer 2 x~y x 4
         < start 0: x
         < close 0
         * exit 0 0
         = done 2
         = done 4",
    );
}

#[test]
fn payloads_are_decompressed_before_they_are_judged() {
    let decompress = Some(Decompression {
        which: Decompress::Auto,
        largest: Decompression::LARGEST,
    });
    play(
        with(
            RECORD,
            odd(|s| (s.decompress, s.on_failure) = (decompress, OnFailure::Skip)),
        ),
        "> offer torn 2 3
         < start 0: 3
         < close 0
         * exit 0 0
         = done 2
         = done 3",
    );
}

#[test]
fn filtered_records_have_no_place_in_a_batch() {
    let two = Per::Batch {
        size: Some(2),
        bytes: None,
    };
    play(
        with(two, odd(|_| ())),
        "> offer 1 2 2 3 2 5
         < start 0: 1 3
         < close 0
         * exit 0 0
         < start 0: 5
         < close 0
         = done 5
         * exit 0 0
         = done 6",
    );
}

#[test]
fn filtered_records_are_not_in_flight() {
    play(
        with(shard(2), odd(|_| ())),
        "> offer 2 1 2 3 2
         < start 0: 1 3
         = done 1
         * says 0 ok 1
         = done 3
         * says 0 ok 2
         = done 5",
    );
}

#[test]
fn keys_go_on_over_filtered_records() {
    play(
        with(RECORD, odd(|s| s.jobs = 2)),
        "> offer a:1 a:2 b:2 b:5 a:3
         < start 0: 1
         < close 0
         < start 1: 5
         < close 1
         * exit 1 0
         * exit 0 0
         < start 0: 3
         < close 0
         = done 4
         * exit 0 0
         = done 5",
    );
}

#[test]
fn the_first_record_of_an_unprotected_lease_is_done_at_once_if_it_is_filtered() {
    play(
        with(BATCH, odd(|_| ())),
        "> offer alone 2 1 3
         < start 0: 1 3
         < close 0
         = done 1
         * exit 0 0
         = done 3",
    );
}

#[test]
fn the_first_record_goes_alone_though_others_are_filtered() {
    play(
        with(BATCH, odd(|_| ())),
        "> offer alone 1 2 3 5
         < start 0: 1
         < close 0
         * exit 0 0
         < start 0: 3 5
         < close 0
         = done 2
         * exit 0 0
         = done 4",
    );
}

#[test]
fn a_window_of_which_nothing_passes_starts_no_handler_and_ends_a_batch() {
    play(
        windowed(false, odd(|_| ())),
        "> offer 2 4
         = done 2, a batch
         > offer 1 2
         > offer 2 3 4 5
         < start 0: 1 3 5
         < close 0
         * exit 0 0
         = done 8, a batch",
    );
}

#[test]
fn a_filtered_record_ends_an_aligned_window() {
    play(
        windowed(true, odd(|_| ())),
        "> offer 1@10 2@20 3@30 2@70
         < start 0: 1 3
         < close 0
         * exit 0 0
         = done 4, a batch",
    );
}

#[test]
fn a_batch_that_failed_is_halved_without_filtered_records() {
    play(
        with(BATCH, odd(|_| ())),
        "> offer 1 2 3 4
         < start 0: 1 3
         < close 0
         * exit 0 1
         * 1s later
         < start 0: 1
         < close 0
         * exit 0 0
         < start 0: 3
         < close 0
         = done 2
         * exit 0 0
         = done 4",
    );
}

#[test]
fn filtered_records_are_counted_and_hold_nothing() {
    let settings = with(RECORD, odd(|_| ()));
    offered(settings, &["2", "1", "4", "3"], |pool| {
        let counters = pool.counters();
        assert_eq!((counters.filtered, counters.passed()), (2, 2));
        assert_eq!(counters.held_records, 3, "from the first that is not done");
    });
}
