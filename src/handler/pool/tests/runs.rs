//! Runs that come again: as they were, in halves, or a record alone.

use super::*;

#[test]
fn a_record_that_was_rejected_and_blocks_comes_again_alone() {
    play(
        with(BATCH, |s| s.read_ahead = 1_000_000),
        "> offer 1
         < start 0: 1
         < close 0
         * exit 0 65
         > offer 2
         * 60s later
         < start 0: 1
         < close 0
         * exit 0 0
         < start 0: 2
         < close 0
         = done 1
         * exit 0 0
         = done 2",
    );
}

#[test]
fn a_rejected_record_that_blocks_comes_again_alone_though_others_of_its_run_wait() {
    play(
        with(BATCH, |s| s.jobs = 2),
        "> offer a:1 b:2 c:3 d:4
         < start 0: 1 2 3 4
         < close 0
         * exit 0 1
         > offer e:5
         < start 0: 5
         < close 0
         * 1s later
         < start 1: 1 2
         < close 1
         * says 1 reject 1
         < stop 1
         * exit 1 15
         < start 1: 2
         < close 1
         * 60s later, exit 1 0
         < start 1: 1
         < close 1
         * exit 1 0
         < start 1: 3 4
         < close 1
         = done 2
         * exit 1 0
         = done 4
         * exit 0 0
         = done 5",
    );
}

#[test]
fn once_a_culprit_is_named_the_rest_of_its_run_goes_together() {
    play(
        settings(BATCH),
        "> offer 1 2 3 4 5 6
         < start 0: 1 2 3 4 5 6
         < close 0
         * exit 0 1
         * 1s later
         < start 0: 1 2 3
         < close 0
         * says 0 upto 2
         = done 2
         * says 0 retry 3
         < finish 0
         * exit 0 0
         * 1s later
         < start 0: 3
         < close 0
         * exit 0 0
         < start 0: 4 5 6
         < close 0
         = done 3
         * exit 0 0
         = done 6",
    );
}

#[test]
fn once_an_exit_has_named_the_culprit_the_rest_of_its_run_goes_together() {
    play(
        settings(BATCH),
        "> offer 1 2 3 4 5 6
         < start 0: 1 2 3 4 5 6
         < close 0
         * exit 0 1
         * 1s later
         < start 0: 1 2 3
         < close 0
         * says 0 upto 2
         = done 2
         * exit 0 1
         * 1s later
         < start 0: 3
         < close 0
         * exit 0 0
         < start 0: 4 5 6
         < close 0
         = done 3
         * exit 0 0
         = done 6",
    );
}

#[test]
fn once_a_part_of_a_run_has_failed_the_rest_of_it_goes_together() {
    play(
        settings(BATCH),
        "> offer 1 2 3 4 5 6 7 8
         < start 0: 1 2 3 4 5 6 7 8
         < close 0
         * exit 0 1
         * 1s later
         < start 0: 1 2 3 4
         < close 0
         * says 0 upto 2
         = done 2
         * exit 0 0 unread
         * 1s later
         < start 0: 3
         < close 0
         * exit 0 0
         < start 0: 4
         < close 0
         = done 3
         * exit 0 0
         < start 0: 5 6 7 8
         < close 0
         = done 4
         * exit 0 0
         = done 8",
    );
}

#[test]
fn a_suspect_of_another_key_does_not_cut_a_run_that_comes_again() {
    play(
        with(BATCH, |s| {
            s.jobs = 2;
            s.limits.max_attempts = Some(2);
            s.on_failure = OnFailure::Skip;
        }),
        "> offer a:1 a:2 b:3 a:4
         < start 0: 1 2 3 4
         < close 0
         * says 0 upto 0
         * exit 0 1
         < start 0: 3
         < close 0
         * exit 0 1
         > offer c:5
         < start 0: 5
         < close 0
         * 1s later
         < start 1: 1
         < close 1
         * exit 1 1
         < start 1: 2 4
         < close 1
         = done 1
         * exit 1 0
         < start 1: 3
         < close 1
         = done 2
         * exit 1 0
         = done 4
         * exit 0 0
         = done 5",
    );
}

#[test]
fn what_is_narrowed_down_stays_so_behind_a_record_that_cannot_be_handed_over() {
    play(
        with(BATCH, |s| {
            s.jobs = 2;
            s.on_failure = OnFailure::Skip;
        }),
        "> offer a:1 a:2~2 b:3 b:4
         < start 0: 1
         < close 0
         < start 1: 3 4
         < close 1
         * exit 1 1
         * 1s later, exit 0 0
         < start 0: 3
         < close 0
         * a look
         = done 2
         * exit 0 0
         < start 0: 4
         < close 0
         = done 3
         * exit 0 0
         = done 4",
    );
}
