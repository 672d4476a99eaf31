//! Which of the names that there are was meant by one that there is not: by its spelling, or by a part of it.

use std::cmp::Reverse;

/// What other tools call it, and a part of what it is called here.
const SYNONYMS: [(&str, &str); 24] = [
    ("concurrency", "jobs"),
    ("cwd", "chdir"),
    ("debug", "level"),
    ("deadletter", "letter"),
    ("dlq", "letter"),
    ("exitcode", "exit"),
    ("frequency", "every"),
    ("interval", "every"),
    ("parallel", "jobs"),
    ("parallelism", "jobs"),
    ("period", "every"),
    ("processes", "jobs"),
    ("prometheus", "metrics"),
    ("quiet", "level"),
    ("ratelimit", "rate"),
    ("retries", "attempts"),
    ("threads", "jobs"),
    ("throttle", "rate"),
    ("tries", "attempts"),
    ("verbose", "level"),
    ("wait", "delay"),
    ("workdir", "chdir"),
    ("worker", "jobs"),
    ("workers", "jobs"),
];

/// Parts that are shorter are too much like each other for a slip to be seen in them.
const LONG: usize = 4;

/// How well a name fits: by its spelling, by how many of its parts, and by how few that are nowhere.
type Fit = (bool, usize, Reverse<usize>);

/// The names that were most probably meant by `word`, three at most; none if nothing is like it.
pub(crate) fn meant<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let fits = names
        .into_iter()
        .filter_map(|name| Some((fit(word, name)?, name)));
    let fits: Vec<(Fit, &str)> = fits.collect();
    let best = fits.iter().map(|(fit, _)| *fit).max();
    let meant = fits.iter().filter(|(fit, _)| Some(*fit) == best);
    meant.map(|(_, name)| *name).take(3).collect()
}

/// Asks for what was meant, such as `did you mean 'kill'?`; nothing if nothing is like it. `before` comes before
/// each name.
pub(crate) fn question<'a>(
    word: &str,
    before: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    let meant = meant(word, names).into_iter();
    let meant: Vec<String> = meant.map(|name| format!("'{before}{name}'")).collect();
    let (last, others) = meant.split_last()?;
    Some(match others {
        [] => format!("did you mean {last}?"),
        _ => format!("did you mean {} or {last}?", others.join(", ")),
    })
}

/// What to write instead of `word`: all names, after the question.
pub(crate) fn choice(word: &str, names: &[&str]) -> String {
    let all = names.join(", ");
    match question(word, "", names.iter().copied()) {
        Some(question) => format!("{question} Write one of {all}"),
        None => format!("write one of {all}"),
    }
}

fn fit(word: &str, name: &str) -> Option<Fit> {
    let slips = strsim::osa_distance(&word.to_lowercase(), name);
    let spelling = slips > 0 && slips <= (name.len() / LONG).clamp(1, 2) && name.len() >= LONG;
    let ours: Vec<&str> = name.split('-').collect();
    let is_there = |part: &&str| ours.iter().any(|own| is_like(part, own));
    let parts = word.split('-').filter(is_there).count();
    let more = Reverse(ours.len().saturating_sub(parts));
    (spelling || parts > 0).then_some((spelling, parts, more))
}

/// Whether one part is another: equal, longer, shorter, with a slip, or what other tools say for it.
fn is_like(part: &str, own: &str) -> bool {
    let long = part.len() >= LONG && own.len() >= LONG;
    part == own
        || long
            && (own.starts_with(part)
                || part.starts_with(own)
                || strsim::osa_distance(part, own) <= 1)
        || SYNONYMS.contains(&(part, own))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 10] = [
        "jobs",
        "batch-size",
        "batch-bytes",
        "checkpoint-every",
        "checkpoint-records",
        "max-attempts",
        "max-record-age",
        "on-failure",
        "dead-letter",
        "dead-letter-command",
    ];

    #[test]
    fn a_name_is_known_by_its_spelling_a_part_or_what_others_call_it() {
        for (word, expected) in [
            ("chekpoint-every", &["checkpoint-every"][..]),
            ("onfailure", &["on-failure"]),
            ("attempts", &["max-attempts"]),
            ("checkpoint-interval", &["checkpoint-every"]),
            ("max-retries", &["max-attempts"]),
            ("workers", &["jobs"]),
            ("dlq", &["dead-letter"]),
            ("dead-letters", &["dead-letter"]),
            ("record-age", &["max-record-age"]),
            ("batch", &["batch-size", "batch-bytes"]),
            ("nope", &[]),
            ("", &[]),
        ] {
            assert_eq!(meant(word, NAMES), expected, "{word}");
        }
    }

    #[test]
    fn a_question_names_what_was_meant() {
        assert_eq!(question("nope", "--", NAMES), None);
        let one = question("attempts", "--", NAMES);
        assert_eq!(one.as_deref(), Some("did you mean '--max-attempts'?"));
        let two = question("batch", "", NAMES);
        assert_eq!(
            two.as_deref(),
            Some("did you mean 'batch-size' or 'batch-bytes'?")
        );
        assert_eq!(
            choice("kil", &["eof", "kill"]),
            "did you mean 'kill'? Write one of eof, kill"
        );
        assert_eq!(choice("x", &["eof", "kill"]), "write one of eof, kill");
    }
}
