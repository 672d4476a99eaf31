//! `--fail-if`: what of a shard is a reason to fail.

use std::str::FromStr;
use std::time::Duration;

use humantime::format_duration;

use super::standing::{Shard, Standing};
use crate::clean;

/// What may be at most; `None` where it does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How far a shard may be after its tip.
    pub behind: Option<Duration>,
    /// How long a record may block its shard.
    pub blocked: Option<Duration>,
    /// How old the file of a kclpipe that lives may be.
    pub stale: Option<Duration>,
    /// For how long a kclpipe may be gone whose shard was not leased here again.
    pub gone: Option<Duration>,
}

impl FromStr for Limits {
    type Err = String;

    fn from_str(text: &str) -> Result<Limits, String> {
        let mut limits = Limits::default();
        for part in text.split(',') {
            let (name, value) = part
                .split_once('=')
                .ok_or("write it like gone=5m,behind=1h,blocked=30m,stale=2m")?;
            let time = humantime::parse_duration(value.trim())
                .map_err(|e| format!("{name}: {e}; write it like 60s, 5m or 1h"))?;
            let limit = match name.trim() {
                "behind" => &mut limits.behind,
                "gone" => &mut limits.gone,
                "blocked" => &mut limits.blocked,
                "stale" => &mut limits.stale,
                other => {
                    return Err(format!(
                        "'{other}' is no limit; write it like gone=5m,behind=1h,blocked=30m,stale=2m"
                    ));
                }
            };
            *limit = Some(time);
        }
        Ok(limits)
    }
}

impl Limits {
    /// Each reason to fail, in a line that names the shard.
    pub(crate) fn broken(&self, shards: &[Shard]) -> Vec<String> {
        let of_shard = |shard: &Shard| {
            let name = format!(
                "{} {}",
                clean::line(&shard.state.name),
                clean::line(&shard.state.shard_id)
            );
            let whys = self.of(shard).into_iter();
            whys.map(|why| format!("{name}: {why}")).collect::<Vec<_>>()
        };
        shards.iter().flat_map(of_shard).collect()
    }

    fn of(&self, shard: &Shard) -> Vec<String> {
        let over = |value: Option<Duration>, limit: Option<Duration>| {
            value.filter(|value| limit.is_some_and(|limit| *value > limit))
        };
        let is_gone = shard.standing == Standing::Gone;
        let mut whys = Vec::new();
        if let Some(age) = over(Some(shard.age), self.gone).filter(|_| is_gone) {
            let ago = shown(age);
            whys.push(format!("its kclpipe is gone and last wrote {ago} ago"));
        }
        if let Some(age) = over(Some(shard.age), self.stale).filter(|_| !is_gone) {
            whys.push(format!(
                "its file was not written for {} (stale)",
                shown(age)
            ));
        }
        if let Some(time) = over(shard.blocked, self.blocked) {
            let record = shard.state.blocked.as_ref();
            let record = record.map(|of| clean::line(&of.sequence_number).into_owned());
            whys.push(format!(
                "blocked for {} by record {}",
                shown(time),
                record.unwrap_or_default()
            ));
        }
        if let Some(behind) = over(shard.behind, self.behind) {
            whys.push(format!("{} behind its tip", shown(behind)));
        }
        whys
    }
}

/// A time as a person reads it, in whole seconds.
fn shown(time: Duration) -> String {
    format_duration(Duration::from_secs(time.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::standing::tests::{blocked, shard, state};
    use super::*;

    #[test]
    fn each_reason_is_a_line_that_names_the_shard() {
        let limits: Limits = "behind=1h, blocked=5m,stale=1m,gone=1s"
            .parse()
            .expect("limits");
        let shards = [
            shard(state("well"), false, 1010),
            shard(blocked("stuck", 400), false, 1010),
            shard(state("old"), false, 1200),
            shard(state("gone"), true, 1002),
            shard(blocked("short", 900), false, 1010),
        ];
        assert_eq!(
            limits.broken(&shards),
            [
                "app stuck: blocked for 10m 10s by record 77",
                "app old: its file was not written for 3m 20s (stale)",
                "app gone: its kclpipe is gone and last wrote 2s ago",
            ]
        );
        assert!(Limits::default().broken(&shards).is_empty());
        // A restart brings nobody back whose shard is leased elsewhere by now.
        let stale: Limits = "stale=0s".parse().expect("a limit");
        assert!(stale.broken(&shards[3..4]).is_empty());
        let far: Limits = "behind=100ms".parse().expect("a limit");
        assert_eq!(far.broken(&shards[..1]), ["app well: 0s behind its tip"]);
        let just: Limits = "behind=500ms".parse().expect("a limit");
        assert!(just.broken(&shards[..1]).is_empty());
    }

    #[test]
    fn a_limit_that_is_none_is_refused_in_our_own_words() {
        for (text, said) in [
            ("behind", "gone=5m,behind=1h,blocked=30m,stale=2m"),
            ("", "gone=5m"),
            ("behind=1", "60s"),
            ("late=1h", "'late' is no limit"),
        ] {
            let error = text.parse::<Limits>().expect_err(text);
            assert!(error.contains(said), "{error}");
        }
    }
}
