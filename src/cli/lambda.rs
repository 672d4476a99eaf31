//! The options of `kclpipe lambda`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;

use super::values::delay;

/// What `kclpipe lambda --help` shows after the options.
const EXAMPLES: &str = "\
Examples:
  A function in Python, with up to 100 records in an event:
    pip install awslambdaric
    kclpipe --per shard --format lambda --batch-size 100 -- \\
      kclpipe lambda -- python3 -m awslambdaric lambda_function.lambda_handler
  In Node, where npm install aws-lambda-ric was run:
    kclpipe lambda -- npx aws-lambda-ric index.handler
  A bootstrap in Rust, Go or another language:
    kclpipe lambda -- ./bootstrap
  One event, to see what the function makes of it:
    echo '{\"Records\":[]}' | kclpipe lambda -- ./bootstrap

It is a handler for kclpipe --per shard --format lambda: each line on stdin is
an event, and each line on stdout the function's response to it. What the
function prints goes to stderr.
The function finds Lambda's Runtime API at AWS_LAMBDA_RUNTIME_API, and variables
as on Lambda: AWS_LAMBDA_FUNCTION_NAME, _VERSION and _MEMORY_SIZE,
LAMBDA_TASK_ROOT and _HANDLER. Those that are set stay.
Exit code: 0 the events have ended, 1 the function ended or took too long, 64 a
mistake in the command line, 78 the function cannot start.";

/// What was typed after `lambda`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Run a function written for AWS Lambda as a handler",
    long_about = "Runs a function written for AWS Lambda, as it is and kept warm, as a handler: serves Lambda's \
                  Runtime API to it on this machine.",
    override_usage = "kclpipe lambda [OPTIONS] -- BOOTSTRAP [ARG...]",
    after_long_help = EXAMPLES,
    after_help = "See --help for more, and for examples."
)]
pub(crate) struct LambdaOptions {
    /// How long the function may take for an event; then it is stopped
    #[arg(long, value_parser = delay, value_name = "DURATION", default_value = "5m")]
    pub timeout: Duration,
    /// The variable _HANDLER, for a bootstrap that reads it [default: the last ARG]
    #[arg(long, value_name = "NAME")]
    pub handler: Option<OsString>,
    /// What runs the function: its bootstrap, or a runtime client for its language
    #[arg(last = true, required = true, value_name = "BOOTSTRAP")]
    pub command: Vec<OsString>,
}
