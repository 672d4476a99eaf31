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
