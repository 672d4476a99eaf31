//! Whole conversations: `>` is what happens, `<` is what follows.

use std::fmt::Write;

use super::*;

const TIMEOUT: Duration = Duration::from_secs(60);

/// What follows when this happens.
fn follows(talk: &mut Conversation, line: &str, now: &mut Instant) -> Vec<Output> {
    let words: Vec<&str> = line.splitn(4, ' ').collect();
    let caller = |word: &str| word.parse().expect(line);
    match words[..] {
        ["event", event] => talk.event(event.into(), *now),
        ["events", "end"] => talk.input_ended(),
        ["next", by] => talk.next(caller(by), *now),
        ["left"] => {
            talk.left();
            Vec::new()
        }
        ["respond", by, id, body] => talk.respond(caller(by), id, body.into(), *now),
        ["fail", by, id, words] => talk.fail(caller(by), id, words, *now),
        ["garbled", by, id] => talk.unreadable(caller(by), id, "cannot be read", *now),
        ["init-error", by] => talk.init_failed(caller(by), "E: no"),
        ["died"] => talk.died("exit code 3"),
        ["stop"] => talk.stop(),
        ["later", seconds] => {
            *now += Duration::from_secs(seconds.parse().expect(line));
            match talk.due(*now) {
                Due::Now(()) => talk.time_is_up(),
                Due::At(_) | Due::Never => Vec::new(),
            }
        }
        _ => panic!("{line}"),
    }
}

fn shown(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output {
        Output::Give { to, id, event } => format!("give {to} {id} {}", text(event)),
        Output::Accept(to) => format!("accept {to}"),
        Output::Refuse(to, why) => format!("refuse {to} {why:?}"),
        Output::Answer(answer) => format!("answer {}", text(answer.line(None).trim_ascii())),
        Output::Say(words) => format!("say {words}"),
        Output::End(exit) => format!("end {exit:?}"),
    }
}

/// Plays what happens, and holds all of it against the script.
fn play(script: &str) {
    let script: Vec<&str> = script.trim().lines().map(str::trim).collect();
    let (start, mut ids) = (Instant::now(), 0);
    let new_id = move || {
        ids += 1;
        format!("id{ids}")
    };
    let (mut talk, mut now) = (Conversation::new(TIMEOUT, new_id, start), start);
    let mut played = String::new();
    for line in script.iter().filter_map(|line| line.strip_prefix("> ")) {
        let _ = writeln!(played, "> {line}");
        for output in follows(&mut talk, line, &mut now) {
            let _ = writeln!(played, "< {}", shown(&output));
        }
    }
    assert_eq!(played.lines().collect::<Vec<_>>(), script, "{played}");
}

#[test]
fn an_event_waits_for_the_function_or_the_function_for_an_event() {
    play(
        "> event a
         > next 1
         < give 1 id1 a
         > respond 2 id1 {}
         < answer {}
         < accept 2
         > next 3
         > event b
         < give 3 id2 b
         > event c
         > respond 4 id2 null
         < answer null
         < accept 4
         > next 5
         < give 5 id3 c
         > events end
         > respond 6 id3 {}
         < answer {}
         < accept 6
         > next 7
         < end Done",
    );
}

#[test]
fn an_error_and_a_response_that_cannot_be_understood_fail_the_event() {
    play(
        "> event a
         > next 1
         < give 1 id1 a
         > fail 2 id1 E: no
         < say the function reported an error: E: no
         < answer fail
         < accept 2
         > event b
         > next 3
         < give 3 id2 b
         > respond 4 id2 SUCCESS
         < say the function's response is no JSON, so its event failed
         < answer fail
         < accept 4
         > event c
         > next 5
         < give 5 id3 c
         > garbled 6 id3
         < say the function's response cannot be read, so its event failed
         < answer fail
         < accept 6",
    );
}

#[test]
fn an_answer_to_no_open_event_is_refused() {
    play(
        "> respond 1 id1 {}
         < refuse 1 UnknownId
         < say the function answered an event that it was not given: refused
         > event a
         > next 2
         < give 2 id1 a
         > respond 3 id1 {}
         < answer {}
         < accept 3
         > respond 4 id1 {}
         < refuse 4 UnknownId
         < say the function answered an event twice: the second answer is refused
         > event b
         > next 5
         < give 5 id2 b
         > fail 6 id1 E: no
         < refuse 6 UnknownId
         < say the function answered an event twice: the second answer is refused
         > garbled 7 other
         < refuse 7 UnknownId
         < say the function answered an event that it was not given: refused
         > respond 8 id2 {}
         < answer {}
         < accept 8",
    );
}

#[test]
fn one_caller_waits_at_a_time_and_none_while_an_event_is_open() {
    play(
        "> next 1
         > next 2
         < refuse 2 SecondNext
         > left
         > next 3
         > event a
         < give 3 id1 a
         > next 4
         < refuse 4 Unanswered
         < say the function asked for an event before it answered the one it has: refused",
    );
}

#[test]
fn a_death_is_broken_before_the_first_event_is_asked_for_and_a_failure_after() {
    play(
        "> event a
         > died
         < say the function ended before it asked for an event (exit code 3)
         < end Broken",
    );
    play(
        "> next 1
         > died
         < say the function ended while it had no event (exit code 3)
         < end Failed",
    );
    play(
        "> next 1
         > event a
         < give 1 id1 a
         > died
         < say the function ended while it had an event (exit code 3)
         < end Failed",
    );
    play(
        "> init-error 1
         < accept 1
         < say the function cannot start: E: no
         < end Broken
         > died",
    );
}

#[test]
fn who_takes_too_long_is_stopped() {
    play(
        "> next 1
         > later 600
         > event a
         < give 1 id1 a
         > event b
         > later 59
         > respond 2 id1 {}
         < answer {}
         < accept 2
         > later 59
         > next 3
         < give 3 id2 b
         > later 59
         > later 1
         < say the function did not answer its event within 1m (--timeout)
         < end Failed
         > respond 4 id2 {}
         < refuse 4 UnknownId
         < say the function answered an event that it was not given: refused
         > later 600
         > died",
    );
    play(
        "> later 600
         > event a
         > later 59
         > later 1
         < say the function did not ask for an event within 1m (--timeout)
         < end Broken",
    );
    play(
        "> next 1
         > event a
         < give 1 id1 a
         > respond 2 id1 {}
         < answer {}
         < accept 2
         > later 600
         > event b
         > later 59
         > later 1
         < say the function did not ask for an event within 1m (--timeout)
         < end Failed",
    );
}

#[test]
fn the_end_waits_for_the_events_that_were_read() {
    play(
        "> events end
         < end Done
         > next 1
         > died",
    );
    play(
        "> next 1
         > event a
         < give 1 id1 a
         > event b
         > events end
         > respond 2 id1 {}
         < answer {}
         < accept 2
         > next 3
         < give 3 id2 b
         > fail 4 id2 E: no
         < say the function reported an error: E: no
         < answer fail
         < accept 4
         > next 5
         < end Done",
    );
    play(
        "> next 1
         > event a
         < give 1 id1 a
         > events end
         > respond 2 id1 {}
         < answer {}
         < accept 2
         > died
         < end Done",
    );
}

#[test]
fn a_request_to_stop_is_a_failure_only_of_an_event_that_is_owed() {
    play(
        "> next 1
         > stop
         < end Done
         > stop",
    );
    play(
        "> next 1
         > event a
         < give 1 id1 a
         > stop
         < end Failed
         > events end",
    );
}

#[test]
fn an_event_is_read_ahead_and_no_more() {
    let now = Instant::now();
    let mut talk = Conversation::new(TIMEOUT, String::new, now);
    assert!(talk.wants_event());
    talk.event(b"a".to_vec(), now);
    assert!(!talk.wants_event());
    talk.next(1, now);
    assert!(talk.wants_event());
    talk.input_ended();
    assert!(!talk.wants_event());
}
