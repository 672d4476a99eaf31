//! Requests as calls of the API, and responses to them.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Deserialize;

use super::conversation::Refusal;
use crate::clean;
use crate::http::{Request, Response};
use crate::process::excerpt;
use crate::random;

/// The version of the API, which each path begins with.
const VERSION: &str = "/2018-06-01/runtime/";

const JSON: &str = "application/json";

/// What the function asks for or says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// It asks for an event.
    Next,
    /// It responds to the event of this id.
    Respond { id: String, body: Vec<u8> },
    /// It reports an error with the event of this id.
    Fail { id: String, words: String },
    /// It says more than it may about the event of this id, or nothing that can be read.
    Unreadable { id: String, why: &'static str },
    /// It cannot start.
    InitFailed { words: String },
}

impl Call {
    /// The call that a request is.
    ///
    /// # Errors
    /// It is none; the response that says so.
    pub(super) fn of(request: Request) -> Result<Call, Response> {
        let path = request.path.split('?').next().unwrap_or_default();
        let Some(path) = path.strip_prefix(VERSION) else {
            return Err(unknown(path));
        };
        let parts: Vec<&str> = path.split('/').collect();
        let (method, call) = match parts[..] {
            ["invocation", "next"] => ("GET", Call::Next),
            ["invocation", id, "response"] => ("POST", Call::respond(id, request.body)),
            ["invocation", id, "error"] => ("POST", Call::fail(id, &request.body)),
            ["init", "error"] => ("POST", Call::init_failed(&request.body)),
            _ => return Err(unknown(path)),
        };
        match request.method == method {
            true => Ok(call),
            false => Err(error(405, "MethodNotAllowed", "another method is needed")),
        }
    }

    /// The call that a request would have been, were its body readable; `None` where that was of no event.
    pub(super) fn unreadable(request: Request, status: u16) -> Option<Call> {
        let why = match status {
            413 => "is longer than 16 MiB",
            _ => "cannot be read",
        };
        match Call::of(request).ok()? {
            Call::Respond { id, .. } | Call::Fail { id, .. } => Some(Call::Unreadable { id, why }),
            Call::Next | Call::Unreadable { .. } | Call::InitFailed { .. } => None,
        }
    }

    fn respond(id: &str, body: Vec<u8>) -> Call {
        let id = id.to_owned();
        Call::Respond { id, body }
    }

    fn fail(id: &str, body: &[u8]) -> Call {
        let (id, words) = (id.to_owned(), words(body));
        Call::Fail { id, words }
    }

    fn init_failed(body: &[u8]) -> Call {
        let words = words(body);
        Call::InitFailed { words }
    }
}

/// What a runtime client says of an error.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Report {
    error_type: String,
    error_message: String,
}

/// The gist of an error, in one line.
fn words(body: &[u8]) -> String {
    let Ok(report) = serde_json::from_slice::<Report>(body) else {
        return "it does not say which".to_owned();
    };
    let text = format!("{}: {}", report.error_type, report.error_message);
    excerpt(clean::line(&text).as_bytes())
}

/// A new id, as AWS writes it.
pub(super) fn new_id() -> String {
    let token = random::token();
    let mut id = String::new();
    for (at, digit) in token.chars().enumerate() {
        if [8, 12, 16, 20].contains(&at) {
            id.push('-');
        }
        id.push(digit);
    }
    id
}

/// An event for the function, which has this long for it.
pub(super) fn event(
    id: String,
    event: Vec<u8>,
    arn: &str,
    timeout: Duration,
    now: SystemTime,
) -> Response {
    let since_1970 = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let deadline = since_1970(now + timeout).as_millis();
    let trace = trace(since_1970(now).as_secs());
    let mut response = Response::new(200, JSON, event);
    response.fields = vec![
        ("Lambda-Runtime-Aws-Request-Id", id),
        ("Lambda-Runtime-Deadline-Ms", deadline.to_string()),
        ("Lambda-Runtime-Invoked-Function-Arn", arn.to_owned()),
        ("Lambda-Runtime-Trace-Id", trace),
    ];
    response
}

/// A trace of X-Ray that nobody samples.
fn trace(seconds: u64) -> String {
    let mut trace = format!("Root=1-{seconds:08x}-");
    let token = random::token();
    let _ = write!(
        trace,
        "{};Parent={};Sampled=0",
        &token[..24],
        &random::token()[..16]
    );
    trace
}

/// The call is taken.
pub(super) fn accepted() -> Response {
    Response::new(202, JSON, r#"{"status":"OK"}"#)
}

/// The call is refused.
pub(super) fn refused(why: Refusal) -> Response {
    match why {
        Refusal::SecondNext => error(409, "Conflict", "another request waits for an event"),
        Refusal::Unanswered => error(403, "InvalidStateTransition", "an event is not answered"),
        Refusal::UnknownId => error(400, "InvalidRequestID", "no event of this id is open"),
    }
}

/// Nobody is there to answer.
pub(super) fn ending() -> Response {
    error(503, "Shutdown", "the function is about to be stopped")
}

fn unknown(path: &str) -> Response {
    let what = format!("there is no {path} in kclpipe lambda");
    error(404, "NotFound", &what)
}

fn error(status: u16, kind: &str, what: &str) -> Response {
    let body = serde_json::json!({ "errorType": kind, "errorMessage": what });
    Response::new(status, JSON, body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, path: &str, body: &str) -> Request {
        Request {
            method: method.into(),
            path: path.into(),
            body: body.into(),
            ..Request::default()
        }
    }

    fn call(method: &str, path: &str, body: &str) -> Result<Call, u16> {
        let path = format!("/2018-06-01/runtime/{path}");
        Call::of(request(method, &path, body)).map_err(|response| response.status)
    }

    #[test]
    fn a_request_is_a_call_by_its_path_and_its_method() {
        let id = || "a-1".to_owned();
        let body = b"{}".to_vec();
        for (method, path, body, expected) in [
            ("GET", "invocation/next", "", Ok(Call::Next)),
            (
                "POST",
                "invocation/a-1/response",
                "{}",
                Ok(Call::Respond { id: id(), body }),
            ),
            (
                "POST",
                "invocation/a-1/error",
                r#"{"errorType":"E","errorMessage":"no\n!"}"#,
                Ok(Call::Fail {
                    id: id(),
                    words: "E: no\u{fffd}!".into(),
                }),
            ),
            (
                "POST",
                "init/error",
                "x",
                Ok(Call::InitFailed {
                    words: "it does not say which".into(),
                }),
            ),
            ("POST", "invocation/next", "", Err(405)),
            ("GET", "invocation/a-1/response", "", Err(405)),
            ("GET", "restore/next", "", Err(404)),
            ("GET", "", "", Err(404)),
        ] {
            assert_eq!(call(method, path, body), expected, "{method} {path}");
        }
        let extension = request("POST", "/2020-01-01/extension/register", "");
        assert_eq!(
            Call::of(extension).map_err(|response| response.status),
            Err(404)
        );
    }

    #[test]
    fn a_body_that_cannot_be_read_is_an_events() {
        let path = "/2018-06-01/runtime/invocation/a-1/response";
        let too_long = Call::unreadable(request("POST", path, ""), 413);
        let why = "is longer than 16 MiB";
        assert_eq!(
            too_long,
            Some(Call::Unreadable {
                id: "a-1".into(),
                why
            })
        );
        assert_eq!(Call::unreadable(request("POST", "/x", ""), 400), None);
    }

    #[test]
    fn an_event_comes_with_its_id_and_its_deadline() {
        let id = new_id();
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        let response = event(
            id.clone(),
            b"{}".to_vec(),
            "arn",
            Duration::from_secs(5),
            now,
        );
        assert_eq!(response.fields[0].1, id);
        assert_eq!(response.fields[1].1, "1005000");
        let trace = &response.fields[3].1;
        assert!(
            trace.starts_with("Root=1-000003e8-") && trace.ends_with(";Sampled=0"),
            "{trace}"
        );
    }
}
