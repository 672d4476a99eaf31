//! What a function responded, as a line on stdout.

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The function responded with this JSON, which is one line.
    Json(Vec<u8>),
    /// The function failed, or its response cannot be understood.
    Fail,
}

impl Answer {
    /// The answer that a response is; `None` where it is no JSON. No JSON text has a line feed within a string, so one
    /// that has any is the same text without them.
    pub(super) fn of(mut body: Vec<u8>) -> Option<Answer> {
        let text = std::str::from_utf8(&body).ok()?;
        serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
        body.retain(|byte| !matches!(byte, b'\n' | b'\r'));
        Some(Answer::Json(body))
    }

    /// The line that says so.
    pub(super) fn line(&self, token: Option<&str>) -> Vec<u8> {
        let text: &[u8] = match self {
            Answer::Json(json) => json.trim_ascii(),
            Answer::Fail => b"fail",
        };
        let mut line = Vec::new();
        line.reserve_exact(token.map_or(0, str::len) + text.len() + 2);
        if let Some(token) = token {
            line.extend_from_slice(token.as_bytes());
            line.push(b' ');
        }
        line.extend_from_slice(text);
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(body: &str) -> Option<String> {
        let line = Answer::of(body.into())?.line(Some("t0ken"));
        Some(String::from_utf8(line).expect("text"))
    }

    #[test]
    fn any_json_is_one_line() {
        for (body, expected) in [
            ("null", "t0ken null\n"),
            ("\"a\\nb\"", "t0ken \"a\\nb\"\n"),
            (
                "{\n  \"a\": [1.50,\r\n 2]\n}\n",
                "t0ken {  \"a\": [1.50, 2]}\n",
            ),
            (" 17 ", "t0ken 17\n"),
        ] {
            assert_eq!(line(body).as_deref(), Some(expected));
        }
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        assert!(line(&deep).is_some());
        assert_eq!(Answer::Fail.line(None), b"fail\n");
    }

    #[test]
    fn what_is_no_json_is_no_answer() {
        for body in ["", " ", "SUCCESS", "{} {}", "{\"a\":", "\"a\nb\""] {
            assert_eq!(line(body), None, "{body:?}");
        }
        assert_eq!(Answer::of(b"\"\xff\"".to_vec()), None);
    }
}
