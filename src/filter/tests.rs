//! What passes, by the table that AWS's own engine is held against, too; and what is no pattern, or no JSON.

use super::*;

/// Patterns and payloads, with what is to come of them.
const TABLE: &str = include_str!("../../tests/filter.tsv");

/// What comes of a payload, in the table's words.
fn verdict(pattern: &str, payload: &[u8]) -> &'static str {
    let Ok(patterns) = patterns("the pattern", pattern) else {
        return "refused";
    };
    let passes = [NonJson::Pass, NonJson::Skip]
        .map(|non_json| Filter::new(patterns.clone(), non_json).passes("key-1", Some(payload)));
    match passes {
        [true, true] => "yes",
        [false, _] => "no",
        [true, false] => "no json",
    }
}

#[test]
fn the_table_says_what_passes() {
    let rows = TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for row in rows {
        let [expected, pattern, payload, _reason] = row.split('\t').collect::<Vec<_>>()[..] else {
            panic!("no row: {row}");
        };
        let expected = expected.split('/').next().expect("a verdict");
        let found = verdict(pattern, payload.as_bytes());
        if found != expected {
            wrong.push(format!("{found} and not {row}"));
        }
        count += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count > 300, "only {count} rows");
}

/// The message for a pattern that is none.
fn refused(text: &str) -> String {
    let error = patterns("F", text).expect_err(text);
    format!("{error:#}")
}

#[test]
fn a_mistake_has_its_place() {
    for (text, said) in [
        (r#"{"data":{"a":["x"]}"#, "F, line 1 column 19: EOF"),
        (
            "{\"data\":\n  {\"ä\": [{\"prefx\": 1}]}}",
            "F, line 2 column 10: unknown operator 'prefx' (did you mean 'prefix'?",
        ),
        (
            r#"{"status":["x"]}"#,
            "F, line 1 column 11: 'status' is never there",
        ),
        (
            r#"{"data":{"a":[1],"a":[2]}}"#,
            "column 22: 'a' is there twice",
        ),
        (
            r#"{"Filters":[{"Pattern":"{\"data\":{\"a\":[]}}"}]}"#,
            "F, line 1 column 13: its Pattern, line 1 column 14: an empty array",
        ),
        (" ", "F has no pattern"),
        ("[]", "F, line 1 column 1: an empty array"),
        (
            r#"{"data":["\ud800"]}"#,
            "column 10: a '\\u' of half a letter",
        ),
    ] {
        assert!(refused(text).contains(said), "{text}: {}", refused(text));
    }
}

/// So many texts, with commas between them.
fn list(count: usize, text: impl Fn(usize) -> String) -> String {
    let texts: Vec<String> = (0..count).map(text).collect();
    texts.join(",")
}

/// Objects within each other.
fn deep(depth: usize) -> String {
    format!(
        r#"{}["x"]{}"#,
        r#"{"data":"#.repeat(depth),
        "}".repeat(depth)
    )
}

/// Fields beside each other.
fn wide(fields: usize) -> String {
    let fields = list(fields, |n| format!(r#""n{n}":[1]"#));
    format!(r#"{{"data":{{{fields}}}}}"#)
}

/// An `$or` beside another.
fn forked(one: usize, other: usize) -> String {
    let or = |ways| list(ways, |n| format!(r#"{{"n{n}":[1]}}"#));
    let (one, other) = (or(one), or(other));
    format!(r#"{{"data":{{"$or":[{one}],"b":{{"$or":[{other}]}}}}}}"#)
}

#[test]
fn what_is_too_much_is_refused_by_name() {
    for (most, more, said) in [
        (deep(65), deep(66), "nested too deep"),
        (wide(64), wide(65), "65 fields"),
        (forked(8, 8), forked(8, 9), "more than 64"),
    ] {
        assert!(patterns("F", &most).is_ok(), "{most}");
        assert!(refused(&more).contains(said), "{}", refused(&more));
    }
    let elsewhere = forked(2, 2).replace("data", "n");
    assert!(refused(&elsewhere).contains("never there"));
}

#[test]
fn each_of_many_fields_counts() {
    let pattern = wide(64);
    let payload = |wrong: usize| list(64, |n| format!(r#""n{n}":{}"#, u8::from(n != wrong)));
    let judged = |wrong| verdict(&pattern, format!("{{{}}}", payload(wrong)).as_bytes());
    assert_eq!(judged(64), "yes");
    assert!((0..64).all(|wrong| judged(wrong) == "no"));
}

#[test]
fn only_who_looks_at_payloads_needs_them() {
    for (pattern, needs) in [
        (r#"{"partitionKey":["key-1"]}"#, false),
        (r#"{"data":[1]}"#, true),
        (r#"[{"partitionKey":["key-1"]},{"data":[1]}]"#, true),
    ] {
        let filter = Filter::new(patterns("F", pattern).expect("a pattern"), NonJson::Pass);
        assert_eq!(filter.needs_payload(), needs, "{pattern}");
    }
}

#[test]
fn what_aws_prints_of_a_mapping_is_read_as_it_is() {
    let printed = r#"{
        "UUID": "1", "BatchSize": 100,
        "FilterCriteria": {"Filters": [
            {"Pattern": "{\"data\": {\"a\": [1]}}"},
            {"Pattern": "{\"partitionKey\": [\"key-1\"]}"}
        ]}
    }"#;
    assert_eq!(patterns("F", printed).expect("two").len(), 2);
    assert_eq!(verdict(printed, b"no json"), "yes");
}

#[test]
fn what_is_no_json_is_passed_or_skipped_where_the_payload_would_decide() {
    let too_deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
    let unfinished = "[".repeat(100_000);
    let large = format!(r#"{{"a":"{}"}}"#, "x".repeat(1024 * 1024));
    let pattern = r#"{"data":{"a":["y"]}}"#;
    for payload in [
        &b""[..],
        b"\xff",
        b"{\"a\":\"\xff\"}",
        b"\xef\xbb\xbf{\"a\":\"y\"}",
        b"{\"a\":\"y\"}x",
        b"{\"a\":\"y\"",
        b"NaN",
        b"{\"a\":\"\n\"}",
        unfinished.as_bytes(),
    ] {
        assert_eq!(
            verdict(pattern, payload),
            "no json",
            "{:?}",
            &payload[..payload.len().min(20)]
        );
        let other_key = r#"{"data":{"a":["y"]},"partitionKey":["key-2"]}"#;
        assert_eq!(verdict(other_key, payload), "no");
        let this_key = r#"{"partitionKey":["key-1"]}"#;
        assert_eq!(verdict(this_key, payload), "yes");
    }
    // Where the pattern does not follow, depth is nothing.
    assert_eq!(verdict(pattern, too_deep.as_bytes()), "no json");
    let below = format!(r#"{{"b":{too_deep},"a":"y"}}"#);
    assert_eq!(verdict(pattern, below.as_bytes()), "yes");
    assert_eq!(verdict(pattern, large.as_bytes()), "no");
    for (arrays, expected) in [(499, "yes"), (500, "no json")] {
        let (open, close) = ("[".repeat(arrays), "]".repeat(arrays));
        let nested = format!(r#"{{"a":{open}"y"{close}}}"#);
        assert_eq!(verdict(pattern, nested.as_bytes()), expected, "{arrays}");
    }
}

#[test]
fn a_payload_cannot_leave_its_place() {
    let pattern = r#"{"data":{"b":[1]},"partitionKey":["key-2"]}"#;
    for payload in [
        r#"1},"partitionKey":"key-2","data":{"b":1}"#,
        r#"{"b":1},"partitionKey":"key-2""#,
        r#"{"b":1,"partitionKey":"key-2"}"#,
        r#"{"data":{"b":1},"partitionKey":"key-2"}"#,
    ] {
        assert_eq!(verdict(pattern, payload.as_bytes()), "no", "{payload}");
    }
}
