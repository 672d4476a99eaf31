//! The lines on a handler's stdout that are answers, and their words.

/// The word of an answer line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) enum Word {
    /// This record is done.
    Ok,
    /// Everything through this record is done.
    Upto,
    /// As [`Word::Upto`], and checkpoint there.
    Checkpoint,
    /// This record later.
    Retry,
    /// This record never again.
    Reject,
    /// This record failed.
    Fail,
    /// Still alive.
    Progress,
    /// Stop the worker.
    Halt,
}

/// An answer line, as far as its text goes: whether N makes sense is for the attempt to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::handler) enum Line {
    /// `WORD` or `WORD N`.
    Answer(Word, Option<u64>),
    /// It has the token but is no answer.
    Malformed,
    /// A line of log output.
    Other,
}

impl Line {
    /// Reads a line of a handler's stdout. Without the token, `plain` allows every word; otherwise only
    /// `checkpoint` and `progress` are understood where `bare` allows them, for an echo of record text
    /// can do no harm with these.
    pub(in crate::handler) fn parse(line: &[u8], token: &str, plain: bool, bare: bool) -> Line {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match after_token(line, token) {
            Some(rest) => rest
                .strip_prefix(b" ")
                .and_then(answer)
                .unwrap_or(Line::Malformed),
            None if plain => answer(line).unwrap_or(Line::Other),
            None if bare && line == b"checkpoint" => Line::Answer(Word::Checkpoint, None),
            None if bare && line == b"progress" => Line::Answer(Word::Progress, None),
            None => Line::Other,
        }
    }
}

/// What follows the token, if the line begins with it.
pub(super) fn after_token<'a>(line: &'a [u8], token: &str) -> Option<&'a [u8]> {
    line.strip_prefix(token.as_bytes())
        .filter(|_| !token.is_empty())
}

/// Whether a line would be an answer, had it the token.
pub(super) fn is_untokened(line: &[u8]) -> bool {
    matches!(
        Line::parse(line, "", true, false),
        Line::Answer(word, _) if word != Word::Progress
    )
}

fn answer(text: &[u8]) -> Option<Line> {
    let text = std::str::from_utf8(text).ok()?;
    let (word, number) = match text.split_once(' ') {
        None => (text, None),
        Some((word, number)) if number.bytes().all(|b| b.is_ascii_digit()) => {
            (word, Some(number.parse().ok()?))
        }
        Some(_) => return None,
    };
    let word = match word {
        "ok" => Word::Ok,
        "upto" => Word::Upto,
        "checkpoint" => Word::Checkpoint,
        "retry" => Word::Retry,
        "reject" => Word::Reject,
        "fail" => Word::Fail,
        "progress" => Word::Progress,
        "halt" => Word::Halt,
        _ => return None,
    };
    Some(Line::Answer(word, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_answer_only_with_the_token() {
        let parse = |line: &str| Line::parse(line.as_bytes(), "t0ken", false, true);
        for (line, expected) in [
            ("t0ken ok", Line::Answer(Word::Ok, None)),
            ("t0ken upto 17\r", Line::Answer(Word::Upto, Some(17))),
            (
                "t0ken checkpoint 3",
                Line::Answer(Word::Checkpoint, Some(3)),
            ),
            ("t0ken retry", Line::Answer(Word::Retry, None)),
            ("t0ken reject", Line::Answer(Word::Reject, None)),
            ("t0ken fail", Line::Answer(Word::Fail, None)),
            ("t0ken progress", Line::Answer(Word::Progress, None)),
            ("t0ken halt", Line::Answer(Word::Halt, None)),
            ("checkpoint", Line::Answer(Word::Checkpoint, None)),
            ("progress", Line::Answer(Word::Progress, None)),
            ("ok", Line::Other),
            ("halt", Line::Other),
            ("checkpoint 3", Line::Other),
            ("", Line::Other),
            (" t0ken ok", Line::Other),
            ("t0ken", Line::Malformed),
            ("t0ken  ok", Line::Malformed),
            ("t0ken okay", Line::Malformed),
            ("t0ken ok -1", Line::Malformed),
            ("t0ken ok +1", Line::Malformed),
            ("t0ken ok 1 2", Line::Malformed),
            ("t0ken ok 99999999999999999999", Line::Malformed),
            ("t0ken ok\r\r", Line::Malformed),
        ] {
            assert_eq!(parse(line), expected, "{line:?}");
        }
    }

    #[test]
    fn plain_answers_need_no_token_and_a_shard_handler_has_no_bare_words() {
        assert_eq!(
            Line::parse(b"ok 3", "t", true, false),
            Line::Answer(Word::Ok, Some(3))
        );
        assert_eq!(Line::parse(b"okay", "t", true, false), Line::Other);
        assert_eq!(Line::parse(b"checkpoint", "t", false, false), Line::Other);
    }
}
