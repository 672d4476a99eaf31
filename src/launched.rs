//! What `kclpipe launch` says to the children of the daemon that it becomes: what the protocol does not. It goes
//! by the environment, which Java hands on.

use std::ffi::OsString;
use std::time::Duration;

/// What the names of the variables begin with. They are no options.
pub(crate) const PREFIX: &str = "KCLPIPE_LAUNCHED_";

/// What a child of a launched daemon knows; all of it is unknown to others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Launched {
    /// The stream's name.
    pub(crate) stream: Option<String>,
    /// Its ARN, where the daemon's properties have it.
    pub(crate) stream_arn: Option<String>,
    /// The daemon's `applicationName`.
    pub(crate) application: Option<String>,
    /// The daemon's `timeoutInSeconds`.
    pub(crate) timeout: Option<Duration>,
    /// Its `shutdownGraceMillis`.
    pub(crate) grace: Option<Duration>,
    /// Its `gracefulLeaseHandoffTimeoutMillis`, or the default of that, where it hands leases over.
    pub(crate) hand_off: Option<Duration>,
    /// The daemon's process.
    pub(crate) pid: Option<u32>,
}

impl Launched {
    /// The variables: each has a value, or is to be removed.
    pub(crate) fn variables(&self) -> [(OsString, Option<OsString>); 7] {
        let millis = |time: Option<Duration>| time.map(|time| time.as_millis().to_string());
        [
            ("STREAM", self.stream.clone()),
            ("STREAM_ARN", self.stream_arn.clone()),
            ("APPLICATION", self.application.clone()),
            ("TIMEOUT_MILLIS", millis(self.timeout)),
            ("GRACE_MILLIS", millis(self.grace)),
            ("HAND_OFF_MILLIS", millis(self.hand_off)),
            ("PID", self.pid.map(|pid| pid.to_string())),
        ]
        .map(|(name, value)| (format!("{PREFIX}{name}").into(), value.map(OsString::from)))
    }

    /// What an environment says. What is not understood is not known.
    pub(crate) fn read(environment: &[(OsString, OsString)]) -> Launched {
        let text = |name: &str| {
            let name = OsString::from(format!("{PREFIX}{name}"));
            let found = environment.iter().find(|(known, _)| *known == name);
            let value = found.and_then(|(_, value)| value.to_str());
            value.filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let millis = |name: &str| text(name)?.parse().ok().map(Duration::from_millis);
        Launched {
            stream: text("STREAM"),
            stream_arn: text("STREAM_ARN"),
            application: text("APPLICATION"),
            timeout: millis("TIMEOUT_MILLIS"),
            grace: millis("GRACE_MILLIS"),
            hand_off: millis("HAND_OFF_MILLIS"),
            pid: text("PID").and_then(|pid| pid.parse().ok()),
        }
    }

    /// How long handlers may go on after a request to shut down, if they are stopped within `stop` after that:
    /// what the daemon waits for, less five seconds for the checkpoint.
    pub(crate) fn drain(&self, stop: Duration) -> Option<Duration> {
        const CHECKPOINT: Duration = Duration::from_secs(5);
        let patience = self.grace.into_iter().chain(self.hand_off).min()?;
        Some(patience.saturating_sub(stop + CHECKPOINT))
    }

    /// How often the daemon's time limit is to be restarted.
    pub(crate) fn keepalive(&self) -> Option<Duration> {
        self.timeout.map(|timeout| timeout / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_again() {
        let all = Launched {
            stream: Some("orders".to_owned()),
            stream_arn: None,
            application: Some("reader".to_owned()),
            timeout: Some(Duration::from_secs(90)),
            grace: Some(Duration::from_secs(60)),
            hand_off: Some(Duration::from_secs(30)),
            pid: Some(4711),
        };
        let variables = all.variables().into_iter();
        let set: Vec<_> = variables
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        assert_eq!(Launched::read(&set), all);
        assert_eq!(Launched::read(&[]), Launched::default());
        assert_eq!(
            all.drain(Duration::from_secs(10)),
            Some(Duration::from_secs(15))
        );
        assert_eq!(all.keepalive(), Some(Duration::from_secs(45)));
        assert_eq!(Launched::default().drain(Duration::ZERO), None);
    }
}
