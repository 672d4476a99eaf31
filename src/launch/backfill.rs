//! A time of the stream again, without touching the checkpoints of production: by a fresh application, which begins
//! at the time and whose children leave out what arrived after it.

use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};
use humantime::{format_rfc3339, parse_rfc3339_weak};

use crate::check::{Version, canonical, setting};
use crate::properties::{Properties, Property};

/// What the children are given the end by: the option's variable.
pub(super) const UNTIL: &str = "KCLPIPE_UNTIL";

/// What the name of a fresh application has between that of production and the time.
const MARK: &str = "-backfill-";

/// The first version of the second generation that begins at a time (`initialPositionInStreamExtended`).
const BY_TIME: Version = Version(2, 3, 5);

/// Properties that are production's, or say where a shard begins.
const REPLACED: [&str; 7] = [
    "applicationName",
    "tableName",
    "workerMetricsTableName",
    "coordinatorStateTableName",
    "initialPositionInStream",
    "initialPositionInStreamExtended",
    "timestampAtInitialPositionInStream",
];

/// Records that arrived in this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backfill {
    /// They arrived at this time or later.
    pub from: SystemTime,
    /// They arrived before.
    pub until: SystemTime,
}

impl FromStr for Backfill {
    type Err = String;

    fn from_str(text: &str) -> Result<Backfill, String> {
        let like = "write it like 2026-11-25T14:00:00Z..2026-11-25T15:00:00Z";
        let time = |text: &str| parse_rfc3339_weak(text).map_err(|_| like.to_owned());
        let (from, until) = text.split_once("..").ok_or(like)?;
        let (from, until) = (time(from)?, time(until)?);
        if from >= until {
            return Err("it ends before it begins".to_owned());
        }
        Ok(Backfill { from, until })
    }
}

impl Backfill {
    /// The properties of an application of its own, which is named after `now`, unless it has such a name already: then
    /// an earlier backfill goes on.
    ///
    /// # Errors
    /// The daemon of this version cannot begin at a time, or there is no name.
    pub(super) fn applied(
        &self,
        of: &Properties,
        kcl: Version,
        now: SystemTime,
    ) -> Result<Properties> {
        if kcl.generation() == 2 && kcl < BY_TIME {
            bail!(
                "the daemon of KCL {kcl} cannot begin at a time: --backfill needs 1.15, or {BY_TIME} or later"
            );
        }
        let Some(name) = setting(of, "applicationName", kcl) else {
            bail!("a backfill is named after applicationName, which is missing");
        };
        let name = match name.contains(MARK) {
            true => name.to_owned(),
            false => fresh(name, now),
        };
        // Of two settings of a key it would depend on the daemon which one counts.
        let mut properties = of.clone();
        properties.0.retain(|property| {
            canonical(&property.key, kcl).is_none_or(|key| !REPLACED.contains(&key))
        });
        let begin = match kcl.generation() {
            1 => "timestampAtInitialPositionInStream",
            _ => "initialPositionInStreamExtended",
        };
        let from = self.from.duration_since(UNIX_EPOCH).unwrap_or_default();
        for (key, value) in [
            ("applicationName", name),
            (begin, from.as_secs().to_string()),
        ] {
            properties.0.push(Property {
                line: 0,
                key: key.to_owned(),
                value,
            });
        }
        Ok(properties)
    }

    /// What to say of it before the daemon starts; `properties` are those that it has.
    pub(crate) fn notice(&self, properties: &Properties, kcl: Version) -> String {
        let name = setting(properties, "applicationName", kcl).unwrap_or_default();
        let tables = match kcl.generation() {
            3.. => format!("{name}, {name}-WorkerMetricStats and {name}-CoordinatorState"),
            _ => name.to_owned(),
        };
        format!(
            "handing over records that arrived from {} on and before {}, as the application {name}; the checkpoints of others stay as they are.\nStop it when kclpipe status (--metrics-dir) shows that each shard is complete. After a stop before that, and on other machines, --set applicationName={name} goes on with it.\nDelete afterwards, of DynamoDB: {tables}",
            format_rfc3339(self.from),
            format_rfc3339(self.until)
        )
    }

    /// The end, for the children.
    pub(super) fn end(&self) -> String {
        format_rfc3339(self.until).to_string()
    }
}

/// As `orders-backfill-20261125T140000Z`: of what the name of a table may have.
fn fresh(application: &str, now: SystemTime) -> String {
    let time = humantime::format_rfc3339_seconds(now).to_string();
    format!("{application}{MARK}{}", time.replace(['-', ':'], ""))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const THREE: Version = Version(3, 1, 3);

    fn backfill() -> Backfill {
        "2026-11-25T14:00:00Z..2026-11-25 15:30:00"
            .parse()
            .expect("sound")
    }

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn applied(text: &str, kcl: Version) -> Result<Properties> {
        let properties = Properties::parse(text.as_bytes()).expect("sound");
        backfill().applied(&properties, kcl, now())
    }

    #[test]
    fn a_fresh_application_begins_at_the_time() {
        let text = "applicationName = orders\nInitialPositionInStream = LATEST\ntableName = t\nworkerMetricsTableConfig.tableName = u\nstreamName = s\n";
        let properties = applied(text, THREE).expect("sound");
        let get = |key| setting(&properties, key, THREE);
        assert_eq!(
            get("applicationName"),
            Some("orders-backfill-20270115T080000Z")
        );
        assert_eq!(get("initialPositionInStreamExtended"), Some("1795615200"));
        assert_eq!(
            (get("tableName"), get("initialPositionInStream")),
            (None, None)
        );
        assert_eq!(get("streamName"), Some("s"));
        let notice = backfill().notice(&properties, THREE);
        assert!(
            notice.contains("from 2026-11-25T14:00:00Z on and before 2026-11-25T15:30:00Z"),
            "{notice}"
        );
        assert!(notice.ends_with("orders-backfill-20270115T080000Z-WorkerMetricStats and orders-backfill-20270115T080000Z-CoordinatorState"), "{notice}");
        let again = backfill().applied(&properties, THREE, now() + Duration::from_secs(60));
        assert_eq!(again.expect("sound"), properties, "an earlier one goes on");
    }

    #[test]
    fn each_generation_has_its_own_word_for_the_time() {
        let one = Version(1, 15, 3);
        let properties = applied(
            "applicationName = a\ninitialPositionInStream = LATEST\n",
            one,
        )
        .expect("sound");
        assert_eq!(
            setting(&properties, "timestampAtInitialPositionInStream", one),
            Some("1795615200")
        );
        assert!(applied("applicationName = a\n", Version(2, 3, 4)).is_err());
        assert!(applied("streamName = a\n", THREE).is_err());
    }

    #[test]
    fn a_time_in_another_form_is_refused() {
        for text in [
            "",
            "..",
            "2026-11-25",
            "2026-11-25T14:00:00Z",
            "a..b",
            "2026-11-25T14:00:00Z..2026-11-25T14:00:00Z",
            "2026-11-25T14:00:00Z...2026-11-25T15:00:00Z",
        ] {
            assert!(text.parse::<Backfill>().is_err(), "{text}");
        }
    }
}
