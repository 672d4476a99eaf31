//! The file that Prometheus' node_exporter picks up: one per shard and process, replaced whole.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::replacement::Replacement;
use super::status_file::StatusFile;
use super::{Snapshot, render};
use crate::clean::{self, file_name};
use crate::process;

/// The time between two writes: less than Prometheus takes between two scrapes.
const EVERY: Duration = Duration::from_secs(5);

/// A file that was not written for so long is nobody's: its kclpipe was killed. Numbers of processes alone do
/// not tell, for containers that share the directory each have their own.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The ending of the files, which node_exporter looks for.
const ENDING: &str = ".prom";

/// The ending while a file is written.
const PART: &str = ".prom.part";

/// The file of this process; it is removed with this.
#[derive(Debug)]
pub(super) struct Textfile {
    directory: PathBuf,
    name: String,
    shard_id: String,
    stream: Option<String>,
    /// Where it is, once the shard is known.
    path: Option<PathBuf>,
    due: Option<Instant>,
    /// It could not be written, which was said.
    in_trouble: bool,
    /// The file beside it.
    status: StatusFile,
}

impl Textfile {
    pub(super) fn new(directory: &Path, name: &str, stream: Option<&str>) -> Textfile {
        Textfile {
            status: StatusFile::new(directory, (name, stream), Instant::now()),
            stream: stream.map(str::to_owned),
            directory: directory.to_path_buf(),
            name: name.to_owned(),
            shard_id: String::new(),
            path: None,
            due: None,
            in_trouble: false,
        }
    }

    pub(super) fn begin(&mut self, shard_id: &str, now: Instant) {
        self.shard_id = clean::line(shard_id).into_owned();
        let file = format!(
            "{}{}-{}{ENDING}",
            self.prefix(),
            file_name(shard_id),
            std::process::id()
        );
        self.path = Some(self.directory.join(file));
        self.status.begin(shard_id, now);
        self.due = Some(now);
        self.sweep(|number| number == std::process::id() || !process::is_alive(number));
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Writes the files anew.
    pub(super) fn update(&mut self, snapshot: &Snapshot, now: Instant) {
        self.due = Some(now + EVERY);
        let Some(path) = &self.path else {
            return;
        };
        self.sweep(|_| false);
        let written = render(snapshot, &self.name, &self.shard_id, self.stream.as_deref())
            .and_then(|text| Ok(Replacement::new(path)?.put(text.as_bytes())?))
            .and_then(|_| Ok(self.status.update(snapshot, now)?));
        match &written {
            Err(e) if !self.in_trouble => log::warn!(
                "cannot write the metrics file '{}': {e:#}; work continues without it (--metrics-dir)",
                path.display()
            ),
            Ok(()) if self.in_trouble => {
                log::info!("writing the metrics file '{}' again", path.display());
            }
            _ => {}
        }
        self.in_trouble = written.is_err();
    }

    /// What the files of all kclpipes of this name begin with.
    fn prefix(&self) -> String {
        format!("kclpipe-{}-", file_name(&self.name))
    }

    /// Removes the files of this name that nobody writes any more: of two with the same labels node_exporter
    /// shows either one.
    fn sweep(&self, is_dead: impl Fn(u32) -> bool) {
        let prefix = self.prefix();
        for entry in fs::read_dir(&self.directory)
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            let number = name.strip_prefix(&prefix).and_then(process_number);
            if number.is_some_and(|number| is_dead(number) || is_forgotten(&entry)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Drop for Textfile {
    /// No way out of kclpipe but a kill leaves the file behind.
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// The number at the end of a file's name.
fn process_number(name: &str) -> Option<u32> {
    let stem = name.strip_suffix(ENDING).or(name.strip_suffix(PART))?;
    stem.rsplit_once('-')?.1.parse().ok()
}

fn is_forgotten(entry: &fs::DirEntry) -> bool {
    let written = entry.metadata().and_then(|metadata| metadata.modified());
    let age = written.ok().and_then(|written| written.elapsed().ok());
    age.is_some_and(|age| age > FORGOTTEN)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::time::SystemTime;

    use super::*;
    use crate::reporting::tests::{names, snapshot};

    /// A number that no process can have.
    const NOBODY: u32 = 4_194_305;

    #[test]
    fn the_file_is_there_from_the_first_write_to_the_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let (mut file, now) = (Textfile::new(folder.path(), "a/b", None), Instant::now());
        assert_eq!(file.due(), None);
        file.begin("shardId-0", now);
        assert_eq!(file.due(), Some(now));
        file.update(&snapshot(), now);
        assert_eq!(file.due(), Some(now + EVERY));
        let name = format!("kclpipe-a_b-shardId-0-{}.prom", std::process::id());
        let status = name.replace(".prom", ".json");
        assert_eq!(names(folder.path()), [status.as_str(), name.as_str()]);
        let text = fs::read_to_string(folder.path().join(name)).expect("the file");
        let line = r#"kclpipe_last_checkpoint_timestamp_seconds{name="a/b",shard="shardId-0"} 60"#;
        assert!(text.lines().any(|of| of == line), "{text}");
        assert!(!text.contains("behind_latest"), "not known yet: {text}");
        drop(file);
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn what_nobody_writes_any_more_is_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (ours, init) = (std::process::id(), 1);
        let forgotten = format!("kclpipe-app-shardId-6-{init}.prom");
        for name in [
            &format!("kclpipe-app-shardId-1-{NOBODY}.prom"),
            &format!("kclpipe-app-shardId-1-{NOBODY}.prom.part"),
            &format!("kclpipe-app-shardId-2-{ours}.prom"),
            &format!("kclpipe-app-shardId-3-{init}.prom"),
            &format!("kclpipe-other-shardId-4-{NOBODY}.prom"),
            &format!("kclpipe-app-shardId-5-{NOBODY}.txt"),
            "kclpipe-app-notes.prom",
            &forgotten,
        ] {
            let file = File::create(folder.path().join(name)).expect("created");
            if *name == forgotten {
                let long_ago = SystemTime::now() - FORGOTTEN * 2;
                file.set_modified(long_ago).expect("set");
            }
        }
        Textfile::new(folder.path(), "app", None).begin("shardId-0", Instant::now());
        let kept = [
            "kclpipe-app-notes.prom".to_owned(),
            format!("kclpipe-app-shardId-3-{init}.prom"),
            format!("kclpipe-app-shardId-5-{NOBODY}.txt"),
            format!("kclpipe-other-shardId-4-{NOBODY}.prom"),
        ];
        assert_eq!(names(folder.path()), kept);
    }

    #[test]
    fn a_directory_that_comes_back_has_the_file_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = folder.path().join("metrics");
        let (mut file, now) = (Textfile::new(&directory, "app", None), Instant::now());
        file.begin("shardId-0", now);
        file.update(&snapshot(), now);
        assert!(file.in_trouble);
        fs::create_dir(&directory).expect("made");
        file.update(&snapshot(), now);
        assert!(!file.in_trouble);
        assert_eq!(names(&directory).len(), 2);
    }
}
