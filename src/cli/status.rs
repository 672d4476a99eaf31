//! The options of `kclpipe status`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::{delay, path};
use crate::status::Limits;

/// What `kclpipe status --help` shows after the options.
const EXAMPLES: &str = "\
Examples:
  Which shard is stuck, and why:
    kclpipe status /run/kclpipe
  The same, again every two seconds:
    kclpipe status --watch /run/kclpipe
  In a check that pages somebody:
    kclpipe status --fail-if gone=5m,behind=1h,blocked=30m,stale=2m /run/kclpipe
  In a probe that restarts the worker:
    kclpipe status --fail-if stale=2m /run/kclpipe
  For Prometheus, a probe and a browser, without a node_exporter:
    kclpipe status --listen 9300 /run/kclpipe

DIR is what --metrics-dir names. The worst shard comes first: gone (its kclpipe
was killed), blocked (everything waits for one record), stale (its file is old),
then the one that is farthest behind.
Exit code: 0, 1 a limit of --fail-if is passed, 64 a mistake in the command
line, 66 DIR cannot be read, 69 the address cannot be listened on.";

/// What was typed after `status`.
#[derive(Args, Clone, Debug)]
#[command(
    about = "Show which shard of this machine is stuck, and why",
    long_about = "Shows how the shards of this machine stand, from the files that each kclpipe keeps in the \
                  directory of --metrics-dir.",
    override_usage = "kclpipe status [OPTIONS] DIR",
    after_long_help = EXAMPLES,
    after_help = "See --help for more, and for examples."
)]
pub(crate) struct StatusOptions {
    /// The directory that --metrics-dir names
    #[arg(value_parser = path(), value_name = "DIR")]
    pub directory: PathBuf,
    /// Look again at this interval, until Ctrl-C [default: 2s]
    #[arg(long, value_parser = delay, value_name = "DURATION", num_args = 0..=1, require_equals = true, default_missing_value = "2s", conflicts_with = "listen")]
    pub watch: Option<Duration>,
    /// Print the shards as a JSON array
    #[arg(long, conflicts_with = "listen")]
    pub json: bool,
    /// Exit with 1, and a line for each reason, if a shard is further behind, blocked or gone for longer, or
    /// its file older than this, as in gone=5m,behind=1h,blocked=30m,stale=2m
    #[arg(long, value_name = "LIMITS")]
    pub fail_if: Option<Limits>,
    /// Serve /metrics, /healthz and a page over HTTP; PORT alone is a port of 127.0.0.1
    #[arg(long, value_parser = address, value_name = "[IP:]PORT")]
    pub listen: Option<SocketAddr>,
}

/// Where to listen: only this machine, unless an address is named. Names are not looked up, for that would make every
/// kclpipe of the machine larger.
fn address(text: &str) -> Result<SocketAddr, String> {
    let local = text
        .strip_prefix("localhost:")
        .or(text.strip_prefix(':'))
        .unwrap_or(text);
    if let Ok(port) = local.parse::<u16>() {
        return Ok(SocketAddr::from(([127, 0, 0, 1], port)));
    }
    text.parse()
        .map_err(|_| "write it like 9300, 127.0.0.1:9300 or 0.0.0.0:9300".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_host_only_this_machine_is_served() {
        for (text, expected) in [
            ("9300", "127.0.0.1:9300"),
            (":9300", "127.0.0.1:9300"),
            ("localhost:9300", "127.0.0.1:9300"),
            ("0.0.0.0:1", "0.0.0.0:1"),
            ("[::1]:7", "[::1]:7"),
        ] {
            assert_eq!(address(text), Ok(expected.parse().expect(expected)));
        }
        for text in ["", "70000", "localhost", "x y:1"] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
