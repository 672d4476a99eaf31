//! Watching a lease: a line in the log and a file for Prometheus, each so often.
//!
//! Nothing here may stop, slow or fail the work: what cannot be written is said once and tried again.

mod emf;
mod families;
mod interval;
mod replacement;
mod stats;
mod status_file;
mod textfile;

use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use families::{FAMILIES, Kind};

use crate::checkpoint::Results;
use crate::counters::Counters;
use crate::record::Position;
use emf::Source;
use families::render;
use stats::{Form, Stats};
use textfile::Textfile;

/// What to report with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The time between two lines in the log; `None` for no lines.
    pub stats_every: Option<Duration>,
    /// What reads these lines.
    pub stats_format: StatsFormat,
    /// The directory of the file for Prometheus; `None` for no file.
    pub metrics_dir: Option<PathBuf>,
    /// What tells applications on one machine apart.
    pub name: String,
    /// The stream's name, where it is known.
    pub stream: Option<String>,
}

/// How a line in the log sums up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StatsFormat {
    /// In words.
    #[default]
    Text,
    /// As an object in CloudWatch's embedded metric format.
    Emf,
}

/// How things stand.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When.
    pub time: SystemTime,
    /// What came of records and handlers.
    pub counters: Counters,
    /// What came of checkpoints.
    pub checkpoints: Results,
    /// Records done since the last one that was stored.
    pub unsaved: u64,
    /// The time since the last one was stored, or since the lease began.
    pub since_checkpoint: Duration,
    /// The record that the run waits for, if its attempts do not go well, and for how long that has been so.
    pub blocked: Option<(Position, Duration)>,
    /// How far behind the shard's tip what is done is.
    pub behind: Option<Duration>,
    /// How long ago the oldest record that is not done arrived in the stream.
    pub oldest: Option<Duration>,
    /// With `--until`: whether all records before that time have come.
    pub complete: Option<bool>,
}

impl Snapshot {
    /// With `--until`: whether all records before that time have come, and are done.
    pub(crate) fn is_complete(&self) -> Option<bool> {
        self.complete
            .map(|have_come| have_come && self.counters.held_records == 0)
    }
}

/// What is told, and when.
#[derive(Debug, Default)]
pub struct Reporting {
    stats: Option<Stats>,
    textfile: Option<Textfile>,
    behind: Option<Duration>,
}

impl Reporting {
    /// Tells nothing before [`Reporting::begin`].
    pub fn new(settings: &Settings) -> Reporting {
        let name = &settings.name;
        Reporting {
            stats: settings
                .stats_every
                .map(|every| Stats::new(every, form(settings))),
            textfile: settings
                .metrics_dir
                .as_deref()
                .map(|directory| Textfile::new(directory, name, settings.stream.as_deref())),
            behind: None,
        }
    }

    /// The lease of a shard begins.
    pub fn begin(&mut self, shard_id: &str, now: Instant) {
        if let Some(stats) = &mut self.stats {
            stats.begin(shard_id, now);
        }
        if let Some(textfile) = &mut self.textfile {
            textfile.begin(shard_id, now);
        }
    }

    /// A batch was read this many milliseconds behind the tip.
    pub fn read_behind(&mut self, millis: Option<i64>) {
        let millis = millis.and_then(|millis| u64::try_from(millis).ok());
        self.behind = millis.map(Duration::from_millis).or(self.behind);
    }

    /// How far behind the tip what is done is, where that is known: as far as the last batch was when it
    /// was read, and at least by the age of the oldest record that is not done.
    pub fn behind(&self, oldest: Option<Duration>) -> Option<Duration> {
        self.behind.max(oldest)
    }

    /// Whether there is something to tell.
    pub fn is_due(&self, now: Instant) -> bool {
        is_due(self.wake(), now)
    }

    /// When there is something to tell.
    pub fn wake(&self) -> Option<Instant> {
        let stats = self.stats.as_ref().and_then(Stats::due);
        let textfile = self.textfile.as_ref().and_then(Textfile::due);
        stats.into_iter().chain(textfile).min()
    }

    /// Tells what is due.
    pub fn tell(&mut self, snapshot: &Snapshot, now: Instant) {
        let line_is_due = is_due(self.stats.as_ref().and_then(Stats::due), now);
        if let Some(stats) = self.stats.as_mut().filter(|_| line_is_due) {
            stats.log(snapshot, now);
        }
        // With each line, too, so that the two agree.
        let file = self.textfile.as_mut();
        if let Some(textfile) = file.filter(|file| line_is_due || is_due(file.due(), now)) {
            textfile.update(snapshot, now);
        }
    }
}

fn is_due(due: Option<Instant>, now: Instant) -> bool {
    due.is_some_and(|due| now >= due)
}

fn form(settings: &Settings) -> Form {
    match settings.stats_format {
        StatsFormat::Text => Form::Text,
        StatsFormat::Emf => Form::Emf(Source {
            name: settings.name.clone(),
            stream: settings.stream.clone(),
            shard: String::new(),
        }),
    }
}

/// The age of a record that arrived then, in milliseconds since the epoch; `None` if it has none by this clock.
pub(crate) fn age(arrived: i64, now: SystemTime) -> Option<Duration> {
    let arrived = UNIX_EPOCH + Duration::from_millis(u64::try_from(arrived).ok()?);
    now.duration_since(arrived).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of the files in a directory, in order.
    pub(super) fn names(directory: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).expect("a directory");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = names
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// A shard where nothing has happened.
    pub(super) fn snapshot() -> Snapshot {
        Snapshot {
            time: UNIX_EPOCH + Duration::from_secs(100),
            counters: Counters::default(),
            checkpoints: Results::default(),
            unsaved: 0,
            since_checkpoint: Duration::from_secs(40),
            blocked: None,
            behind: None,
            oldest: None,
            complete: None,
        }
    }

    #[test]
    fn lag_grows_while_a_record_is_not_done() {
        let mut reporting = Reporting::default();
        let hour = Duration::from_secs(3600);
        assert_eq!(reporting.behind(None), None);
        assert_eq!(reporting.behind(Some(hour)), Some(hour));
        reporting.read_behind(Some(0));
        assert_eq!(reporting.behind(Some(hour * 23)), Some(hour * 23));
        assert_eq!(reporting.behind(None), Some(Duration::ZERO));
        reporting.read_behind(Some(7_200_000));
        let as_read = Some(hour * 2);
        assert_eq!(reporting.behind(Some(hour)), as_read);
    }

    #[test]
    fn what_is_due_is_due_from_its_time_on() {
        let (every, began) = (Duration::from_secs(60), Instant::now());
        let mut reporting = Reporting::new(&Settings {
            stats_every: Some(every),
            ..Settings::default()
        });
        assert!(!reporting.is_due(began + every));
        reporting.begin("shardId-0", began);
        assert!(!reporting.is_due(began + every - Duration::from_millis(1)));
        assert!(reporting.is_due(began + every));
        reporting.tell(&snapshot(), began + every);
        assert!(!reporting.is_due(began + every));
    }

    #[test]
    fn a_record_has_an_age_where_the_clock_is_right() {
        let hour = Duration::from_secs(3600);
        let now = UNIX_EPOCH + hour * 1000;
        assert_eq!(age(3_600_000, now), Some(hour * 999));
        assert_eq!(age(3_600_000, UNIX_EPOCH), None);
        assert_eq!(age(-5, now), None);
    }
}
