//! `kclpipe lambda`: Lambda's Runtime API for one function, between lines of events on stdin and lines of answers on
//! stdout.
//!
//! `conversation` decides, from what happens to what follows, and knows neither sockets nor processes. `call` reads
//! requests and makes responses, `site` serves them, `peer` says who asks; `function` is the loop around all of it.

mod answer;
mod call;
mod conversation;
mod environment;
mod events;
mod function;
mod peer;
mod site;

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

pub(crate) use function::run;

use crate::clean;
use crate::process::{Command, Variable};

/// What serving a function needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What speaks the Runtime API: a bootstrap, or a runtime client with the name of the function.
    pub(crate) command: Command,
    /// How long the function may take for an event.
    pub(crate) timeout: Duration,
    /// What each answer begins with; `None` where nobody asked for it.
    pub(crate) token: Option<String>,
    /// What the function has in its environment otherwise than we, but for the address of the API.
    pub(crate) environment: Vec<Variable>,
    /// The function's name for AWS, which each event comes with.
    pub(crate) arn: String,
}

impl Settings {
    /// The settings of a function, in this environment.
    pub(crate) fn new(
        command: Command,
        handler: Option<OsString>,
        timeout: Duration,
        variable: &dyn Fn(&str) -> Option<OsString>,
    ) -> Settings {
        Settings {
            token: environment::token(variable),
            environment: environment::of_function(&command, handler, variable),
            arn: environment::arn(variable),
            command,
            timeout,
        }
    }
}

/// A line for the log. It goes where a handler's own words go, with the mark by which kclpipe knows a warning. In one
/// write, for the function writes there, too.
fn say(text: &str) {
    let line = format!("W! kclpipe lambda: {}\n", clean::line(text));
    let _ = std::io::stderr().write_all(line.as_bytes());
}
