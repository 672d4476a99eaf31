//! What the pool does, as transcripts over scripted children and a clock that a test sets.
//!
//! `>` is what the bridge tells the pool, `*` what happens to children and to time, `<` what the pool does to its
//! children, `=` what it reports to the bridge. A test is the whole transcript: `>` and `*` are taken from it, and
//! `<` and `=` must come out exactly where they stand. Handlers are numbered by their slots.

mod events;
mod filtered;
mod held;
mod inputs;
mod limits;
mod runs;
mod script;

use std::time::{Duration, Instant};

use super::super::{Event, Handlers, OnFailure, Per, Settings, Window};
use super::attempt::Stopped;
use super::{ExitReport, Happening, Role};
use crate::format::{Data, Decompress, Decompression, Format};
use crate::handler::held::Report;
use crate::outcome::{Class, Ended};
use crate::process::Command;
pub(in crate::handler) use script::settings;

use script::{offered, play};

const RECORD: Per = Per::Record;
const BATCH: Per = Per::Batch {
    size: None,
    bytes: None,
};

fn shard(inflight: usize) -> Per {
    Per::Shard {
        inflight,
        plain: false,
        max_records: None,
    }
}

fn with(per: Per, edit: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = settings(per);
    edit(&mut settings);
    settings
}

#[test]
fn records_of_one_lane_go_one_after_the_other() {
    play(
        settings(RECORD),
        "> offer 1 2
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
fn a_record_that_failed_waits_longer_each_time_and_holds_up_those_behind_it() {
    play(
        settings(RECORD),
        "> offer 1 2
         < start 0: 1
         < close 0
         * exit 0 1
         * 1s later
         < start 0: 1
         < close 0
         * exit 0 1
         * 2s later
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
fn a_key_that_waits_holds_up_no_other() {
    play(
        with(RECORD, |s| s.jobs = 2),
        "> offer a:1 b:2 a:3 b:4
         < start 0: 1
         < close 0
         < start 1: 2
         < close 1
         * exit 0 75
         * exit 1 0
         < start 0: 4
         < close 0
         * exit 0 0
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
fn a_batch_that_names_nobody_is_narrowed_down_and_only_the_culprit_is_charged() {
    play(
        with(BATCH, |s| {
            s.limits.max_attempts = Some(1);
            s.on_failure = OnFailure::Skip;
        }),
        "> offer 1 2 3 4
         < start 0: 1 2 3 4
         < close 0
         * exit 0 1
         * 1s later
         < start 0: 1 2
         < close 0
         * exit 0 1
         * 1s later
         < start 0: 1
         < close 0
         * exit 0 0
         < start 0: 2
         < close 0
         = done 1
         * exit 0 1
         < start 0: 3 4
         < close 0
         = done 2
         * exit 0 0
         = done 4",
    );
}

#[test]
fn an_idle_handlers_death_is_followed_by_a_delay_that_grows() {
    play(
        settings(shard(1)),
        "> offer 1
         < start 0: 1
         * exit 0 3 unread
         * 1s later
         < start 0: 1
         * exit 0 0 unread
         * 2s later
         < start 0: 1
         * says 0 ok
         = done 1
         * exit 0 4
         > offer 2
         * 1s later
         < start 0: 2
         * says 0 ok
         = done 2",
    );
}

#[test]
fn a_handler_that_ends_between_two_records_is_replaced_at_once() {
    play(
        settings(shard(1)),
        "> offer 1 2
         < start 0: 1
         * says 0 ok
         < feed 0: 2
         = done 1
         * exit 0 0 unread
         < start 0: 2
         * says 0 ok
         = done 2",
    );
}

#[test]
fn a_shard_handlers_death_has_one_delay_and_a_disposed_record_none() {
    play(
        with(shard(1), |s| {
            s.limits.max_attempts = Some(2);
            s.on_failure = OnFailure::Skip;
        }),
        "> offer 1 2
         < start 0: 1
         * exit 0 1
         * 1s later
         < start 0: 1
         * exit 0 1
         * 2s later
         < start 0: 1
         * exit 0 1
         < start 0: 2
         = done 1
         * says 0 ok
         = done 2",
    );
}

#[test]
fn a_bad_answer_with_more_in_flight_restarts_the_handler_at_that_record() {
    play(
        settings(shard(3)),
        "> offer 1 2 3
         < start 0: 1 2 3
         * says 0 retry 1
         < stop 0
         * exit 0 15
         * 1s later
         < start 0: 1
         * says 0 ok 1
         < feed 0: 2 3
         = done 1
         * says 0 upto 3
         = done 3",
    );
}

#[test]
fn a_broken_handler_holds_back_the_rest_until_a_record_is_done() {
    play(
        with(RECORD, |s| s.jobs = 2),
        "> offer a:1 b:2 c:3
         < start 0: 1
         < close 0
         < start 1: 2
         < close 1
         * exit 0 127
         * exit 1 0
         < start 0: 3
         < close 0
         * exit 0 127
         * 1s later
         < start 0: 1
         < close 0
         < start 1: 3
         < close 1
         * exit 0 0
         = done 2
         * exit 1 0
         = done 3",
    );
}

#[test]
fn the_breaker_gives_up_no_more_until_one_record_is_done() {
    play(
        with(RECORD, |s| {
            s.limits.max_attempts = Some(1);
            s.limits.max_consecutive_failures = 2;
            s.on_failure = OnFailure::Skip;
        }),
        "> offer 1 2 3
         < start 0: 1
         < close 0
         * exit 0 1
         < start 0: 2
         < close 0
         = done 1
         * exit 0 1
         < start 0: 3
         < close 0
         = done 2
         * exit 0 1
         * 60s later
         < start 0: 3
         < close 0
         * exit 0 0
         = done 3",
    );
}

#[test]
fn a_record_is_done_when_its_letter_is_kept_and_only_the_letter_is_tried_again() {
    play(
        with(RECORD, |s| {
            s.on_failure = OnFailure::DeadLetter("dead".into())
        }),
        "> offer 1 2
         < start 0: 1
         < close 0
         * the disk is full
         * exit 0 65
         < letter 1: refused
         * 1s later
         < letter 1: locked
         * 5ms later
         < letter 1: kept
         < start 0: 2
         < close 0
         = done 1
         * exit 0 0
         = done 2",
    );
}

#[test]
fn a_letter_to_a_command_is_offered_until_it_is_taken_whole() {
    play(
        with(RECORD, |s| {
            s.on_failure = OnFailure::DeadLetterCommand(Command::default())
        }),
        "> offer 1
         < start 0: 1
         < close 0
         * exit 0 65
         < start letter: 1
         < close letter
         * exit letter 0 unread
         * 1s later
         < start letter: 1
         < close letter
         * exit letter 0
         = done 1",
    );
}

#[test]
fn a_handler_that_is_silent_is_stopped_and_has_failed() {
    play(
        with(RECORD, |s| s.timeout = Some(Duration::from_secs(60))),
        "> offer 1
         < start 0: 1
         < close 0
         * 30s later
         * says 0 progress
         * 30s later
         * 30s later
         < stop 0
         * exit 0 0
         * 1s later
         < start 0: 1
         < close 0
         * exit 0 0
         = done 1",
    );
}

#[test]
fn a_batch_handler_that_has_answered_everything_is_to_end() {
    play(
        settings(BATCH),
        "> offer 1 2
         < start 0: 1 2
         < close 0
         * says 0 upto 2
         < finish 0
         = done 2
         > offer 3
         * exit 0 0
         < start 0: 3
         < close 0
         * exit 0 0
         = done 3",
    );
}

#[test]
fn a_halt_stops_everything_after_what_was_done_is_reported() {
    play(
        with(RECORD, |s| {
            s.jobs = 2;
            s.on_failure = OnFailure::Halt;
        }),
        "> offer a:1 b:2 c:3
         < start 0: 1
         < close 0
         < start 1: 2
         < close 1
         * exit 0 0
         < start 0: 3
         < close 0
         = done 1
         * exit 0 65
         < stop 1
         = halted
         * exit 1 15
         = finished",
    );
}

#[test]
fn a_halt_is_reported_after_what_is_done_at_the_same_look_and_before_what_the_daemon_sends() {
    play(
        with(
            Per::Batch {
                size: Some(1),
                bytes: None,
            },
            |s| s.jobs = 2,
        ),
        "> offer a:1 b:2
         < start 0: 1
         < close 0
         < start 1: 2
         < close 1
         * says 1 halt, says 0 ok 1, input
         < finish 0
         < stop 0
         < stop 1
         = done 1
         = halted
         > finish stop
         < stop 0
         < stop 1
         * exit 0 0
         * exit 1 15
         = finished",
    );
}

#[test]
fn who_halts_just_after_an_answer_is_given_no_more() {
    play(
        settings(shard(1)),
        "> offer 1 2
         < start 0: 1
         * says 0 ok 1, then says 0 halt
         < stop 0
         = done 1
         = halted
         * exit 0 15
         = finished",
    );
}

#[test]
fn after_a_signal_nothing_starts_for_the_time_of_a_stop() {
    play(
        settings(RECORD),
        "> offer 1 2
         < start 0: 1
         < close 0
         * signal
         = signal
         * exit 0 0
         = done 1
         * 10s later
         < start 0: 2
         < close 0
         * exit 0 0
         = done 2",
    );
}

#[test]
fn an_orderly_finish_ends_the_input_and_waits() {
    play(
        settings(shard(1)),
        "> offer 1
         < start 0: 1
         * says 0 ok
         = done 1
         > finish orderly
         < finish 0
         * exit 0 0
         = finished",
    );
}

#[test]
fn a_drain_lets_handlers_finish_what_they_have_and_starts_nothing() {
    play(
        with(RECORD, |s| s.jobs = 2),
        "> offer a:1 b:2 a:3
         < start 0: 1
         < close 0
         < start 1: 2
         < close 1
         > finish in 20s
         < close 0
         < close 1
         * exit 1 0
         * exit 0 0
         = done 2
         = finished",
    );
}

#[test]
fn at_the_end_of_a_drain_handlers_are_stopped_and_their_records_are_not_ours() {
    play(
        settings(shard(2)),
        "> offer 1 2
         < start 0: 1 2
         > finish in 20s
         < close 0
         * says 0 ok 1
         = done 1
         * 20s later
         < stop 0
         * exit 0 0
         = finished",
    );
}

#[test]
fn a_drain_ends_a_handler_that_has_no_record_as_an_orderly_finish_does() {
    play(
        settings(shard(1)),
        "> offer 1
         < start 0: 1
         * says 0 ok 1
         = done 1
         > finish in 20s
         < finish 0
         * exit 0 0
         = finished",
    );
}

#[test]
fn a_handler_that_prints_nothing_is_spoken_of_after_ten_seconds_or_half_its_limit() {
    play(
        settings(shard(1)),
        "> offer 1
         < start 0: 1
         * 10s later
         * says 0 ok 1
         = done 1",
    );
    play(
        with(shard(1), |s| s.timeout = Some(Duration::from_secs(12))),
        "> offer 1
         < start 0: 1
         * 6s later
         * 6s later
         < stop 0
         * exit 0 1
         * 1s later
         < start 0: 1
         * says 0 progress
         * 6s later
         * says 0 ok 1
         = done 1",
    );
    play(
        with(shard(1), |s| s.timeout = Some(Duration::from_secs(60))),
        "> offer 1
         < start 0: 1
         * says 0 progress
         * 30s later
         * says 0 ok 1
         = done 1",
    );
}

#[test]
fn an_aligned_batch_ends_where_a_record_arrived_in_a_later_window_than_its_first() {
    let per = Per::Batch {
        size: Some(2),
        bytes: None,
    };
    play(
        with(per, |s| {
            s.read_ahead = 1 << 20;
            s.window = Some(Window {
                length: Duration::from_secs(60),
                aligned: true,
            });
        }),
        "> offer 1@60 2@61 3@59 4@62
         < start 0: 1 2
         < close 0
         * exit 0 0
         < start 0: 3
         < close 0
         = done 2, a batch
         * exit 0 0
         = done 3, a batch
         > offer 5@120
         < start 0: 4
         < close 0
         * exit 0 0
         = done 4, a batch",
    );
}

#[test]
fn an_aligned_batch_of_one_record_is_charged_at_its_first_failure() {
    play(
        with(BATCH, |s| {
            s.limits.max_attempts = Some(1);
            s.on_failure = OnFailure::Skip;
            s.read_ahead = 1 << 20;
            s.window = Some(Window {
                length: Duration::from_secs(60),
                aligned: true,
            });
        }),
        "> offer 1@60 2@120
         < start 0: 1
         < close 0
         * exit 0 1
         = done 1",
    );
}

#[test]
fn what_a_batch_takes_is_known_at_its_end_and_not_at_its_answers() {
    offered(settings(BATCH), &["1", "2"], |pool| {
        pool.take_times();
        pool.wait(true, None).expect("nothing fails");
        let role = Role::Handler(0);
        let attempt = pool.slots[0].attempt.as_ref().expect("it runs");
        let line = format!("{} ok 1", attempt.token).into_bytes();
        pool.take_in(Happening::Line { role, line }, Instant::now());
        assert_eq!(pool.counters().times.count(), 0);
        let report = ExitReport::of(Ended::Code(0));
        pool.take_in(Happening::Ended { role, report }, Instant::now());
        assert_eq!(pool.counters().times.count(), 1);
    });
}

#[test]
fn what_an_answer_of_one_that_lives_on_took_is_counted_and_no_other_line() {
    offered(settings(shard(2)), &["1", "2"], |pool| {
        pool.take_times();
        pool.wait(true, None).expect("nothing fails");
        let role = Role::Handler(0);
        let attempt = pool.slots[0].attempt.as_ref().expect("it runs");
        let token = attempt.token.clone();
        let answer = format!("{token} upto 2");
        for (line, count) in [("begun", 0), (&answer, 1), ("resting", 1)] {
            let line = line.as_bytes().to_vec();
            pool.take_in(Happening::Line { role, line }, Instant::now());
            assert_eq!(pool.counters().times.count(), count);
        }
    });
}

#[test]
fn what_is_done_is_news_until_it_is_reported() {
    offered(settings(RECORD), &["1"], |pool| {
        pool.wait(true, None).expect("nothing fails");
        let (role, report) = (Role::Handler(0), ExitReport::of(Ended::Code(0)));
        pool.take_in(Happening::Ended { role, report }, Instant::now());
        assert!(pool.holds_any() && !pool.has_room());
        let event = pool.wait(true, None).expect("nothing fails");
        assert!(matches!(event, Event::Done { .. }));
        assert!(!pool.holds_any() && pool.has_room());
    });
}

#[test]
fn the_counters_say_how_often_the_record_that_blocks_was_tried_and_how_the_last_one_failed() {
    for (code, attempts, failure) in [(1, 1, Some("exit code 1")), (0, 0, None)] {
        offered(settings(RECORD), &["1"], |pool| {
            pool.wait(true, None).expect("nothing fails");
            assert_eq!(pool.counters().blocking_attempts, 0);
            let (role, report) = (Role::Handler(0), ExitReport::of(Ended::Code(code)));
            pool.take_in(Happening::Ended { role, report }, Instant::now());
            let counters = pool.counters();
            assert_eq!(counters.blocking_attempts, attempts);
            assert_eq!(counters.retries, u64::from(attempts));
            let last = counters.last_failure.map(|failure| failure.ended);
            assert_eq!(last.as_deref(), failure);
        });
    }
}

#[test]
fn an_answer_that_cannot_be_is_the_reason_why_its_process_was_stopped() {
    offered(settings(BATCH), &["1"], |pool| {
        pool.wait(true, None).expect("nothing fails");
        let mut attempt = pool.slots[0].attempt.take().expect("it runs");
        attempt.stopped = Some(Stopped::InvalidAnswer("not its record"));
        let verdict = pool.verdict(&attempt, &ExitReport::of(Ended::InvalidAnswer));
        assert!(verdict.reason.to_string().contains("not its record"));
    });
}

#[test]
fn who_has_ended_in_time_is_in_time_however_late_its_output_ends() {
    play(
        with(RECORD, |s| {
            s.timeout = Some(Duration::from_secs(60));
            s.on_failure = OnFailure::DeadLetterCommand(Command::default());
        }),
        "> offer 1
         < start 0: 1
         < close 0
         * ends 0
         * 60s pass
         * exit 0 65
         < start letter: 1
         < close letter
         * ends letter
         * 60s pass
         * exit letter 0
         = done 1",
    );
}

#[test]
fn held_is_what_is_there_from_the_first_record_on_that_is_not_done() {
    let (records, bytes) = offered(settings(RECORD), &["1", "2"], |pool| pool.records.held());
    assert_eq!(records, 2);
    for (read_ahead, has_room) in [(0, false), (bytes - 1, false), (bytes, true)] {
        let settings = with(RECORD, |s| s.read_ahead = read_ahead);
        offered(settings, &["1", "2"], |pool| {
            assert_eq!(pool.has_room(), has_room, "{read_ahead}");
            assert_eq!(pool.reads_ahead(), read_ahead > 0);
        });
    }
    offered(settings(RECORD), &["1@60", "2@50"], |pool| {
        assert_eq!(pool.oldest(), Some(60_000));
        pool.records.take(0, 0);
        pool.records.lanes.done(0);
        assert_eq!((pool.oldest(), pool.records.held().0), (Some(50_000), 1));
    });
    offered(settings(RECORD), &[], |pool| {
        assert_eq!(pool.oldest(), None)
    });
}

#[test]
fn a_read_goes_to_the_disk_before_its_records_are_handed_over() {
    play(
        with(RECORD, |s| s.spool_dir = Some("spool".into())),
        "> offer
         > offer 1 2
         < spool 2
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
fn what_is_known_of_a_record_is_forgotten_when_it_is_done() {
    offered(settings(RECORD), &["1"], |pool| {
        let report = Report {
            outcome: "",
            stderr: &[],
        };
        pool.records.take(0, 0);
        pool.records.suspect(0);
        assert!(pool.records.is_suspect(0));
        pool.records.settle(0, Class::Done, report, Instant::now());
        assert!(!pool.records.is_suspect(0));
    });
}

#[test]
fn a_handler_that_lives_on_is_given_large_records_piece_by_piece_as_its_pipe_takes_them() {
    let transcript = "> offer 1* 2* 3* 4*
         < start 0: 1* 2*
         < feed 0: 3* 4*
         * says 0 upto 3
         = done 3
         * says 0 ok 4
         = done 4";
    play(settings(shard(8)), transcript);
    let two = |s: &mut Settings| s.jobs = 2;
    let transcript = "> offer 1* 2* 3* 4*
         < start 0: 1* 2* 3* 4*
         * says 0 upto 4
         = done 4";
    play(with(shard(8), two), transcript);
    let jsonl = |s: &mut Settings| {
        s.format = Format::Jsonl(Data::Text);
        s.decompress = Some(Decompression {
            which: Decompress::Auto,
            largest: Decompression::LARGEST,
        });
        s.on_failure = OnFailure::Skip;
    };
    let transcript = "> offer 1* 2* torn 3
         < start 0: 1* 2*.
         * says 0 upto 2
         < feed 0: 3.
         * says 0 ok 3
         = done 3
         = done 4";
    play(with(shard(8), jsonl), transcript);
    let transcript = "> offer 1* 2* 3* 4*
         < start 0: 1* 2* 3* 4*
         < close 0
         * exit 0 0
         = done 4";
    play(settings(BATCH), transcript);
}

#[test]
fn the_payloads_of_a_large_batch_are_in_the_file_of_its_input_and_not_in_memory() {
    offered(settings(BATCH), &["1*", "2*", "3"], |pool| {
        pool.wait(true, None).expect("nothing fails");
        let (batch, _) = pool.records.queue.batch(0);
        assert!(batch.in_memory() < 1000, "{} bytes", batch.in_memory());
    });
}

#[test]
fn a_hook_that_must_succeed_is_run_until_it_does_and_another_only_once() {
    let hooked = || {
        with(RECORD, |s| {
            s.hook = Some(Command::default());
        })
    };
    play(
        hooked(),
        "> hook shard-end
         < start hook:
         < close hook
         * exit hook 1
         * 1s later
         < start hook:
         < close hook
         * exit hook 0
         = hooked",
    );
    play(
        hooked(),
        "> hook lease-lost
         < start hook:
         < finish hook
         * exit hook 1
         = hooked",
    );
}

#[test]
fn a_handler_has_so_many_records_in_its_life() {
    play(
        settings(Per::Shard {
            inflight: 1,
            plain: false,
            max_records: Some(2),
        }),
        "> offer 1 2 3
         < start 0: 1
         * says 0 ok
         < feed 0: 2
         < close 0
         = done 1
         * says 0 ok
         < finish 0
         = done 2
         * exit 0 0
         < start 0: 3
         * says 0 ok
         = done 3",
    );
}

#[test]
fn the_first_record_of_an_unprotected_lease_goes_alone() {
    play(
        settings(BATCH),
        "> offer alone 1 2 3
         < start 0: 1
         < close 0
         * exit 0 0
         < start 0: 2 3
         < close 0
         = done 1
         * exit 0 0
         = done 3",
    );
}
