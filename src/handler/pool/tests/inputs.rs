//! What an input has where a record has no room in it, or cannot stand in it.

use super::*;

fn batch_of_bytes(bytes: u64, edit: impl FnOnce(&mut Settings)) -> Settings {
    let per = Per::Batch {
        size: None,
        bytes: Some(bytes),
    };
    with(per, edit)
}

/// The size of a payload is not known before it is decompressed, and so before it is framed.
fn decompressing(settings: &mut Settings) {
    settings.decompress = Some(Decompression {
        which: Decompress::Auto,
        largest: Decompression::LARGEST,
    });
    settings.on_failure = OnFailure::Skip;
}

#[test]
fn a_record_that_has_no_room_is_given_in_the_next_input() {
    play(
        batch_of_bytes(300 * 1024, decompressing),
        "> offer 1* 2* 3
         < start 0: 1*
         < close 0
         * exit 0 0
         < start 0: 2* 3
         < close 0
         = done 1
         * exit 0 0
         = done 3",
    );
}

#[test]
fn a_record_that_has_no_room_does_not_count() {
    let settings = batch_of_bytes(300 * 1024, decompressing);
    offered(settings, &["1*", "2*"], |pool| {
        pool.take_times();
        pool.wait(true, None).expect("nothing fails");
        assert_eq!(pool.counters().batch_bytes.sum(), 200.0 * 1024.0 + 1.0);
    });
}

#[test]
fn a_record_that_cannot_stand_in_an_input_takes_no_room() {
    play(
        batch_of_bytes(4, |s| s.on_failure = OnFailure::Skip),
        "> offer x~y 12 34 56
         < start 0: 12 34
         < close 0
         * exit 0 0
         = done 1
         < start 0: 56
         < close 0
         = done 3
         * exit 0 0
         = done 4",
    );
}

/// An event begins before its first record, and there is none.
#[test]
fn of_an_input_without_records_nothing_is_left() {
    play(
        with(BATCH, |s| {
            decompressing(s);
            s.format = Format::Lambda {
                stream_arn: String::new(),
            };
        }),
        "> offer torn
         = done 1
         > offer 2
         < start 0: 2
         < close 0
         * exit 0 0
         = done 2",
    );
}
