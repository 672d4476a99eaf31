//! Functions that stay warm: one event after the other, each with its reply.

use super::*;

const EVENTS: Per = Per::Event {
    size: None,
    bytes: None,
    plain: false,
    max_records: None,
};

/// Such a way of handing over, with at most this many records in an event.
fn events_of(size: usize) -> Per {
    Per::Event {
        size: Some(size),
        bytes: None,
        plain: false,
        max_records: None,
    }
}

fn events(per: Per, edit: impl FnOnce(&mut Settings)) -> Settings {
    with(per, |s| {
        s.format = Format::Lambda {
            stream_arn: String::new(),
        };
        edit(s);
    })
}

#[test]
fn a_process_gets_one_event_after_the_other() {
    play(
        events(events_of(2), |_| {}),
        "> offer 1 2 3 4 5
         < start 0: 1 2
         * says 0 null
         < feed 0: 3 4
         = done 2
         * says 0 {\"batchItemFailures\":[]}
         < feed 0: 5
         = done 4
         * says 0 ok
         = done 5
         > offer 6
         < feed 0: 6
         * says 0 checkpoint
         = checkpoint 6
         = done 6
         > finish orderly
         < finish 0
         * exit 0 0
         = finished",
    );
}

#[test]
fn what_comes_before_the_lowest_failed_record_is_done_and_the_process_stays() {
    play(
        events(EVENTS, |s| s.limits.max_attempts = Some(9)),
        "> offer 1 2 3 4
         < start 0: 1 2 3 4
         * says 0 {\"batchItemFailures\":[{\"itemIdentifier\":\"4\"},{\"itemIdentifier\":\"3\"}]}
         = done 2
         * 1s later
         < feed 0: 3
         * says 0 null
         < feed 0: 4
         = done 3
         * says 0 null
         = done 4",
    );
}

#[test]
fn an_event_that_fails_without_a_name_is_halved_and_the_process_stays() {
    for answer in [
        "fail",
        "reject",
        "Traceback",
        "",
        "{\"batchItemFailures\":[{\"itemIdentifier\":\"9\"}]}",
        "{\"batchItemFailures\":7}",
    ] {
        let transcript = "> offer 1 2 3 4
         < start 0: 1 2 3 4
         * says 0 ANSWER
         * 1s later
         < feed 0: 1 2
         * says 0 null
         < feed 0: 3
         = done 2
         * says 0 ANSWER
         < feed 0: 4
         = done 3
         * says 0 null
         = done 4";
        let settings = events(EVENTS, |s| {
            s.limits.max_attempts = Some(1);
            s.on_failure = OnFailure::Skip;
        });
        play(
            settings,
            &transcript.replace(" ANSWER", &format!(" {answer}")),
        );
    }
}

#[test]
fn a_retry_of_all_comes_again_as_it_was() {
    play(
        events(EVENTS, |_| {}),
        "> offer 1 2
         < start 0: 1 2
         * says 0 retry
         * 1s later
         < feed 0: 1 2
         * says 0 retry
         * 2s later
         < feed 0: 1 2
         * says 0 null
         = done 2",
    );
}

#[test]
fn a_death_is_halved_and_charged_only_to_a_suspect_alone_in_a_new_process() {
    play(
        events(EVENTS, |s| {
            s.limits.max_attempts = Some(1);
            s.on_failure = OnFailure::Skip;
        }),
        "> offer 1 2 3
         < start 0: 1 2 3
         * exit 0 1
         * 1s later
         < start 0: 1 2
         * says 0 null
         < feed 0: 3
         = done 2
         * exit 0 1
         * 1s later
         < start 0: 3
         * exit 0 1
         = done 3",
    );
}

#[test]
fn numbers_count_within_the_event() {
    play(
        events(events_of(3), |_| {}),
        "> offer 1 2 3 4 5 6
         < start 0: 1 2 3
         * says 0 upto 2
         = done 2
         * says 0 null
         < feed 0: 4 5 6
         = done 3
         * says 0 upto 1
         = done 4
         * says 0 checkpoint 3
         = checkpoint 6
         = done 6",
    );
}

/// Those after it are with the handler already, and it would go on to them.
#[test]
fn a_number_that_fails_with_others_after_it_ends_the_process() {
    play(
        events(EVENTS, |s| s.limits.max_attempts = Some(9)),
        "> offer 1 2
         < start 0: 1 2
         * says 0 fail 1
         < stop 0
         * exit 0 143
         * 1s later
         < start 0: 1
         * says 0 fail 1
         * 2s later
         < feed 0: 1
         * says 0 null
         < feed 0: 2
         = done 1
         * says 0 null
         = done 2",
    );
}

#[test]
fn an_answer_to_no_event_or_to_one_that_is_not_read_ends_the_process() {
    play(
        events(events_of(1), |_| {}),
        "> offer 1 2
         < start 0: 1
         * says 0 null, then says 0 null
         < stop 0
         = done 1
         * exit 0 143
         * 1s later
         < start 0: 2
         * unread 0 100, says 0 null
         < stop 0
         * exit 0 143
         * 1s later
         < start 0: 2
         * says 0 null
         = done 2",
    );
}

/// Who reads as it goes may well speak of the first records before it has read the last ones.
#[test]
fn an_answer_to_a_part_of_an_event_may_come_before_all_of_it_is_read() {
    play(
        events(EVENTS, |_| {}),
        "> offer 1 2
         < start 0: 1 2
         * unread 0 100, says 0 upto 1
         = done 1",
    );
}

#[test]
fn the_line_feed_after_an_event_need_not_be_read() {
    play(
        events(EVENTS, |_| {}),
        "> offer 1
         < start 0: 1
         * unread 0 1, says 0 null
         = done 1",
    );
}

/// Its number shows that it knows the record of which it speaks; a reply to an event shows nothing.
#[test]
fn who_is_given_no_events_may_answer_before_all_is_read() {
    play(
        settings(shard(2)),
        "> offer 1 2
         < start 0: 1 2
         * unread 0 100, says 0 upto 2
         = done 2",
    );
    play(
        settings(BATCH),
        "> offer 1 2
         < start 0: 1 2
         < close 0
         * unread 0 100, says 0 upto 2
         < finish 0
         = done 2",
    );
}

#[test]
fn a_process_that_has_had_its_records_ends_after_its_event() {
    let per = Per::Event {
        size: Some(2),
        bytes: None,
        plain: false,
        max_records: Some(3),
    };
    play(
        events(per, |_| {}),
        "> offer 1 2 3 4 5
         < start 0: 1 2
         * says 0 null
         < feed 0: 3 4
         < close 0
         = done 2
         * says 0 null
         < finish 0
         = done 4
         * exit 0 0
         < start 0: 5
         * says 0 null
         = done 5",
    );
}

#[test]
fn without_a_token_only_an_object_or_null_is_a_reply() {
    let per = Per::Event {
        size: Some(1),
        bytes: None,
        plain: true,
        max_records: None,
    };
    play(
        events(per, |_| {}),
        "> offer 1 2 3 4
         < start 0: 1
         * prints 0 {}
         < feed 0: 2
         = done 1
         * prints 0 null
         < feed 0: 3
         = done 2
         * prints 0 3
         * prints 0 {half
         * prints 0 ok
         < feed 0: 4
         = done 3
         * says 0 null
         = done 4",
    );
}

#[test]
fn events_are_collected_by_the_window_while_the_process_lives() {
    play(
        events(events_of(3), |s| {
            s.read_ahead = 1_000_000;
            s.window = Some(Window {
                length: Duration::from_secs(60),
                aligned: false,
            });
        }),
        "> offer 1 2
         * 1m later
         < start 0: 1 2
         * says 0 null
         = done 2, a batch
         > offer 3
         > offer 4 5
         < feed 0: 3 4 5
         * says 0 upto 3
         = done 5, a batch
         > offer 6
         * 1m later
         < feed 0: 6
         * says 0 {\"batchItemFailures\":[{\"itemIdentifier\":\"6\"}]}
         * 1s later
         < feed 0: 6
         * says 0 null
         = done 6, a batch",
    );
}

/// Borders that a restart finds again are those of whole batches: one that fails comes once more as it is.
#[test]
fn an_aligned_event_that_fails_is_tried_again_as_it_is_before_it_is_halved() {
    play(
        events(EVENTS, |s| {
            s.read_ahead = 1_000_000;
            s.window = Some(Window {
                length: Duration::from_secs(60),
                aligned: true,
            });
        }),
        "> offer 1@1 2@59 3@61
         < start 0: 1 2
         * says 0 fail
         * 1s later
         < feed 0: 1 2
         * says 0 fail
         * 1s later
         < feed 0: 1
         * says 0 null
         < feed 0: 2
         * says 0 null
         = done 2, a batch
         > finish stop
         < stop 0
         * exit 0 143
         = finished",
    );
}

#[test]
fn keys_stay_in_order_over_two_functions() {
    play(
        events(events_of(2), |s| s.jobs = 2),
        "> offer a:1 b:2 a:3 b:4 c:5
         < start 0: 1 2
         < start 1: 5
         * says 1 null
         * says 0 {\"batchItemFailures\":[{\"itemIdentifier\":\"1\"}]}
         < feed 0: 2
         * says 0 null
         < feed 0: 4
         * 1s later
         < feed 1: 1
         * says 1 null
         < feed 1: 3
         = done 2
         * says 1 null
         = done 3
         * says 0 null
         = done 5",
    );
}
