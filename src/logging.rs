//! The log: one line each, on stderr or in a file, with the shard in every line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use env_logger::fmt::Formatter;
use env_logger::{Builder, Target};
use log::Record;
use serde::Serialize;

static SHARD: OnceLock<String> = OnceLock::new();

/// From now on every line names this shard.
pub fn set_shard(shard_id: &str) {
    let _ = SHARD.set(shard_id.to_owned());
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, level, shard, where from, and the message.
    #[default]
    Text,
    /// The same as a JSON object.
    Json,
}

/// Where the log goes, and how it looks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logging {
    /// Which lines are logged, in env_logger's syntax, as `info` or `warn,handler=debug`.
    pub level: String,
    /// How a line looks.
    pub format: LogFormat,
    /// The file to append to; `None` for stderr.
    pub file: Option<PathBuf>,
}

impl Logging {
    /// Starts the log.
    ///
    /// # Errors
    /// The level cannot be understood, or the file cannot be opened.
    pub fn start(&self) -> Result<()> {
        let mut builder = Builder::new();
        builder.parse_filters(&self.level);
        builder.format(match self.format {
            LogFormat::Text => text_line,
            LogFormat::Json => json_line,
        });
        if let Some(path) = &self.file {
            builder.target(Target::Pipe(Box::new(LogFile::open(path)?)));
        }
        builder.try_init().context("the log was started before")
    }
}

/// Whether env_logger understands this level.
///
/// # Errors
/// It does not; why. A word that is neither a level nor one of our targets is one, too: to env_logger it
/// would be a target that nothing logs under.
pub fn check_level(level: &str) -> Result<()> {
    env_filter::Builder::new().try_parse(level)?;
    let words = level.split('/').next().unwrap_or_default().split(',');
    for word in words
        .map(str::trim)
        .filter(|word| !word.contains('=') && !word.is_empty())
    {
        let known =
            ["kclpipe", "handler"].contains(&word) || word.parse::<log::LevelFilter>().is_ok();
        if !known {
            bail!("'{word}' is no level: write error, warn, info, debug, trace or off");
        }
    }
    Ok(())
}

fn now() -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_millis(SystemTime::now())
}

fn text_line(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    let shard = SHARD.get().map_or("-", String::as_str);
    writeln!(
        line,
        "{} {:5} {shard} {}: {}",
        now(),
        record.level(),
        source(record),
        record.args()
    )
}

fn json_line(line: &mut Formatter, record: &Record<'_>) -> io::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        level: &'a str,
        shard: Option<&'a str>,
        target: &'a str,
        message: String,
    }
    let object = Line {
        time: now().to_string(),
        level: record.level().as_str(),
        shard: SHARD.get().map(String::as_str),
        target: source(record),
        message: record.args().to_string(),
    };
    writeln!(line, "{}", serde_json::to_string(&object)?)
}

/// `handler` for what handlers print, `kclpipe` for the rest.
fn source<'a>(record: &Record<'a>) -> &'a str {
    record.target().split("::").next().unwrap_or_default()
}

/// A log file that is opened anew when it was moved away or removed, so that any rotation is safe.
struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    fn open(path: &Path) -> Result<LogFile> {
        let file = append_to(path)
            .with_context(|| format!("cannot open the log file '{}'", path.display()))?;
        Ok(LogFile {
            path: path.to_path_buf(),
            file,
        })
    }

    fn was_moved(&self) -> bool {
        let place = |m: std::fs::Metadata| (m.dev(), m.ino());
        match (self.path.metadata(), self.file.metadata()) {
            (Ok(named), Ok(open)) => place(named) != place(open),
            _ => true,
        }
    }
}

impl Write for LogFile {
    /// A log that cannot be written must not stop the work, so a failure here is swallowed.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.was_moved()
            && let Ok(file) = append_to(&self.path)
        {
            self.file = file;
        }
        let _ = self.file.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut file = LogFile::open(&path).expect("opened");
        file.write_all(b"one\n").expect("written");
        std::fs::rename(&path, &moved).expect("moved");
        file.write_all(b"two\n").expect("written");
        let read = |path: &Path| std::fs::read_to_string(path).expect("readable");
        assert_eq!(
            (read(&moved), read(&path)),
            ("one\n".into(), "two\n".into())
        );
    }

    #[test]
    fn a_level_that_makes_no_sense_is_an_error() {
        assert!(check_level("warn,handler=debug").is_ok());
        assert!(check_level("loud").is_err());
        assert!(check_level("handler=loud").is_err());
    }
}
