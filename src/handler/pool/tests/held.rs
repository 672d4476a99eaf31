//! Records that are held over several reads, and batches that are collected from them.

use super::*;
use crate::handler::Window;

/// A handler for every three records, or for those of a minute.
pub(super) fn windowed(aligned: bool, edit: impl FnOnce(&mut Settings)) -> Settings {
    let three = Per::Batch {
        size: Some(3),
        bytes: None,
    };
    with(three, |s| {
        s.read_ahead = 1_000_000;
        s.window = Some(Window {
            length: Duration::from_secs(60),
            aligned,
        });
        edit(s);
    })
}

#[test]
fn borders_by_bytes_do_not_depend_on_how_the_daemon_read() {
    let bytes = || {
        windowed(false, |s| {
            s.per = BATCH;
            s.read_ahead = 900;
        })
    };
    play(
        bytes(),
        "> offer 1 2 3 4
         < start 0: 1 2 3
         < close 0
         * exit 0 0
         = done 3, a batch",
    );
    play(
        bytes(),
        "> offer 1
         > offer 2
         > offer 3 4
         < start 0: 1 2 3
         < close 0
         * exit 0 0
         = done 3, a batch",
    );
}

#[test]
fn an_older_position_that_comes_again_takes_nothing_back() {
    play(
        with(RECORD, |s| {
            s.jobs = 3;
            s.read_ahead = 1_000_000;
        }),
        "> offer a:1 b:2
         < start 0: 1
         < close 0
         < start 1: 2
         < close 1
         > offer again 1 c:1
         < start 2: 1
         < close 2
         * exit 1 0
         * exit 2 0
         * exit 0 0
         = done 2",
    );
}

#[test]
fn a_checkpoint_within_an_aligned_batch_is_not_asked_for() {
    play(
        windowed(true, |_| ()),
        "> offer 1 2 3
         < start 0: 1 2 3
         < close 0
         * says 0 checkpoint 2
         * says 0 checkpoint 3
         < finish 0
         = checkpoint 3
         = done 3
         * exit 0 0",
    );
}

#[test]
fn records_that_come_again_ask_for_no_checkpoint_within_an_aligned_batch_that_is_done() {
    play(
        windowed(true, |s| {
            s.per = Per::Batch {
                size: Some(2),
                bytes: None,
            };
        }),
        "> offer 1 2 3 4
         < start 0: 1 2
         < close 0
         * exit 0 0
         < start 0: 3 4
         < close 0
         = done 2, a batch
         * exit 0 0
         = done 4, a batch
         > offer again 2 2 3
         < start 0: 2 3
         < close 0
         * says 0 checkpoint 2
         < finish 0
         = done 3
         * exit 0 0",
    );
}

#[test]
fn an_aligned_batch_is_done_when_its_letter_is_taken_though_the_next_has_begun() {
    play(
        windowed(true, |s| {
            s.on_failure = OnFailure::DeadLetterCommand(Command::default())
        }),
        "> offer 1 2 3 4 5 6
         < start 0: 1 2 3
         < close 0
         * says 0 upto 2
         * exit 0 65
         < start 0: 4 5 6
         < close 0
         < start letter: 3
         < close letter
         * exit letter 0
         = done 3
         * exit 0 0
         = done 6, a batch",
    );
}

#[test]
fn room_within_an_aligned_batch_is_told_of_though_nothing_is_to_be_stored() {
    play(
        windowed(true, |s| {
            s.per = Per::Batch {
                size: Some(2),
                bytes: None,
            };
            s.read_ahead = 800;
        }),
        "> offer 1 2 3 4 5 6 7
         < start 0: 1 2
         < close 0
         * says 0 upto 1
         = room
         * exit 0 0
         < start 0: 3 4
         < close 0
         = done 2, a batch",
    );
}

#[test]
fn a_batch_that_is_answered_in_lines_has_ended_with_its_handler() {
    play(
        windowed(false, |_| ()),
        "> offer 1 2 3
         < start 0: 1 2 3
         < close 0
         * says 0 upto 3
         < finish 0
         = done 3
         > offer 4 5 6
         * exit 0 0
         < start 0: 4 5 6
         < close 0
         * says 0 upto 1
         = done 4, a batch",
    );
}

#[test]
fn what_cannot_be_handed_over_brings_no_later_window_forward() {
    play(
        windowed(true, |s| s.on_failure = OnFailure::Skip),
        "> offer 1~1@10 2@70
         * a look
         = done 1
         > offer 3@130
         < start 0: 2
         < close 0
         * exit 0 0
         = done 2, a batch",
    );
}

#[test]
fn a_window_is_not_brought_forward_over_a_record_of_which_it_is_not_known_when_it_arrived() {
    play(
        windowed(true, |s| s.on_failure = OnFailure::Skip),
        "> offer 1~1@10 2~2@- 3@70
         * a look
         = done 2
         > offer 4@130
         < start 0: 3
         < close 0
         * exit 0 0
         = done 3, a batch",
    );
}

#[test]
fn a_record_that_goes_alone_and_waits_closes_no_window() {
    play(
        windowed(false, |s| s.jobs = 2),
        "> offer alone a:1 b:2
         < start 0: 1
         < close 0
         * exit 0 1
         * 1s later
         < start 0: 1
         < close 0
         * exit 0 0
         = done 1, a batch
         * 59s later
         < start 0: 2
         < close 0
         * exit 0 0
         = done 2, a batch",
    );
}

#[test]
fn what_was_done_in_time_is_done_though_the_end_of_a_drain_is_seen_first() {
    play(
        with(BATCH, |s| s.read_ahead = 1_000_000),
        "> offer 1 2
         < start 0: 1 2
         < close 0
         > finish in 20s
         < close 0
         * 20s later, says 0 upto 1
         < stop 0
         = done 1
         * exit 0 0
         = finished",
    );
}
