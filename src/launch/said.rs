//! What the daemon's properties say that its children should know.

use std::time::Duration;

use crate::check::{Version, setting};
use crate::launched::Launched;
use crate::properties::Properties;

/// How long KCL 3.x waits for a child that hands its lease over, unless it is set
/// (`LeaseManagementConfig.GracefulLeaseHandoffConfig`).
const HAND_OFF: Duration = Duration::from_secs(30);

/// What these properties say of the daemon that this process becomes.
pub(super) fn said(properties: &Properties, kcl: Version) -> Launched {
    let text = |key| setting(properties, key, kcl).map(str::to_owned);
    let number = |key| {
        let number = setting(properties, key, kcl).and_then(|value| value.parse::<u64>().ok());
        number.filter(|number| *number > 0)
    };
    let stream_arn = text("streamArn");
    let of_arn = stream_arn.as_deref().and_then(|arn| arn.rsplit_once('/'));
    let of_arn = of_arn.map(|(_, name)| name.to_owned());
    let hands_over = text("isGracefulLeaseHandoffEnabled")
        .is_none_or(|value| value.eq_ignore_ascii_case("true"));
    let hand_off = number("gracefulLeaseHandoffTimeoutMillis").map(Duration::from_millis);
    Launched {
        // The name in the ARN is the one that the daemon reads.
        stream: of_arn.or_else(|| text("streamName")),
        stream_arn,
        application: text("applicationName"),
        timeout: number("timeoutInSeconds").map(Duration::from_secs),
        grace: number("shutdownGraceMillis").map(Duration::from_millis),
        hand_off: (kcl.generation() >= 3 && hands_over).then_some(hand_off.unwrap_or(HAND_OFF)),
        pid: Some(std::process::id()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_learn_what_the_protocol_does_not_say() {
        let text = b"streamArn = arn:aws:kinesis:eu-west-1:1:stream/orders\nStreamName = other\napplicationName = reader\ntimeoutInSeconds = 60\nshutdownGraceMillis = 60000\n";
        let properties = Properties::parse(text).expect("sound");
        let three = said(&properties, Version(3, 1, 3));
        assert_eq!(three.stream.as_deref(), Some("orders"));
        assert_eq!(three.application.as_deref(), Some("reader"));
        assert_eq!(three.timeout, Some(Duration::from_secs(60)));
        assert_eq!(three.hand_off, Some(HAND_OFF));
        assert_eq!(said(&properties, Version(2, 5, 4)).hand_off, None);
        let none = said(&Properties::default(), Version(3, 1, 3));
        assert_eq!((none.stream, none.timeout, none.grace), (None, None, None));
    }
}
