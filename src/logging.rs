//! The log: one line each, on stderr or in a file, with the shard in every line.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use env_logger::{Builder, Target};
use log::{Level, Record};
use rustix::fs::OFlags;
use serde::Serialize;

use crate::clean;
use crate::suggest;

static SHARD: OnceLock<String> = OnceLock::new();

/// The target of lines that programs read: they are written as they are, without time, level and shard. By its first
/// part, as levels name it, it is ours.
pub(crate) const BARE: &str = "kclpipe::bare";

/// From now on every line names this shard.
pub(crate) fn set_shard(shard_id: &str) {
    let _ = SHARD.set(clean::line(shard_id).into_owned());
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
        let format = self.format;
        builder.format(move |line, record| {
            let message = record.args().to_string();
            let text = match record.target() {
                BARE => clean::line(&message).into_owned() + "\n",
                _ => format.line(record.level(), source(record), &message),
            };
            line.write_all(text.as_bytes())
        });
        if let Some(path) = &self.file {
            let file = LogFile::open(path, format)?;
            builder.target(Target::Pipe(Box::new(file)));
        }
        builder.try_init().context("the log was started before")
    }
}

/// The levels, from the quietest.
pub(crate) const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Whether env_logger understands this level.
///
/// # Errors
/// It does not; why. A word that is neither a level nor one of our targets is one, too: to env_logger it
/// would be a target that nothing logs under.
pub(crate) fn check_level(level: &str) -> Result<()> {
    env_filter::Builder::new().try_parse(level)?;
    let words = level.split('/').next().unwrap_or_default().split(',');
    for word in words
        .map(str::trim)
        .filter(|word| !word.contains('=') && !word.is_empty())
    {
        let known =
            ["kclpipe", "handler"].contains(&word) || word.parse::<log::LevelFilter>().is_ok();
        if !known {
            bail!(
                "'{word}' is not a level: {}",
                suggest::choice(word, &LEVELS)
            );
        }
    }
    Ok(())
}

fn now() -> humantime::Rfc3339Timestamp {
    humantime::format_rfc3339_millis(SystemTime::now())
}

impl LogFormat {
    /// A line with its line feed. What others have said in it cannot make two of it.
    fn line(self, level: Level, target: &str, message: &str) -> String {
        let (shard, message) = (SHARD.get().map(String::as_str), clean::line(message));
        match self {
            LogFormat::Text => {
                let shard = shard.unwrap_or("-");
                format!("{} {level:5} {shard} {target}: {message}\n", now())
            }
            LogFormat::Json => json_line(level, shard, target, &message),
        }
    }
}

fn json_line(level: Level, shard: Option<&str>, target: &str, message: &str) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        time: String,
        level: &'a str,
        shard: Option<&'a str>,
        target: &'a str,
        message: &'a str,
    }
    let object = Line {
        time: now().to_string(),
        level: level.as_str(),
        shard,
        target,
        message,
    };
    serde_json::to_string(&object).expect("a line is plain data") + "\n"
}

/// `handler` for what handlers print, `kclpipe` for the rest.
fn source<'a>(record: &Record<'a>) -> &'a str {
    record.target().split("::").next().unwrap_or_default()
}

/// A log file that is opened anew when it was moved away or removed, so that any rotation is safe.
struct LogFile {
    path: PathBuf,
    file: File,
    format: LogFormat,
    /// Lines that were not written since the last one that was.
    lost: u64,
    /// Why.
    trouble: Option<io::Error>,
    /// The file ends within a line of ours.
    torn: bool,
}

impl LogFile {
    fn open(path: &Path, format: LogFormat) -> Result<LogFile> {
        let file = append_to(path)
            .with_context(|| format!("cannot open the log file '{}'", path.display()))?;
        Ok(LogFile {
            path: path.to_path_buf(),
            file,
            format,
            lost: 0,
            trouble: None,
            torn: false,
        })
    }

    fn was_moved(&self) -> bool {
        let place = |m: std::fs::Metadata| (m.dev(), m.ino());
        match (self.path.metadata(), self.file.metadata()) {
            (Ok(named), Ok(open)) => place(named) != place(open),
            _ => true,
        }
    }

    fn reopen(&mut self) {
        if let Ok(file) = append_to(&self.path) {
            self.file = file;
            self.torn = false;
        }
    }

    /// Writes all of it or, as far as that can be done, nothing.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(more @ 1..) => written += more,
                Ok(0) => return self.cut(written, io::ErrorKind::WriteZero.into()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return self.cut(written, e),
            }
        }
        self.torn = false;
        Ok(())
    }

    /// Takes a part of a line away again, if nobody has written behind it.
    fn cut(&mut self, written: usize, why: io::Error) -> io::Result<()> {
        if written > 0 {
            let cut = cut_off(&self.file, written as u64);
            self.torn |= !cut.unwrap_or(false);
        }
        Err(why)
    }

    /// What goes before a line: the end of one that was torn, and a line about those that were lost.
    fn before(&self) -> String {
        let end = if self.torn { "\n" } else { "" };
        let Some(why) = self.trouble.as_ref().filter(|_| self.lost > 0) else {
            return end.to_owned();
        };
        let lines = if self.lost == 1 { "line" } else { "lines" };
        let message = format!("{} log {lines} could not be written here: {why}", self.lost);
        end.to_owned() + &self.format.line(Level::Error, "kclpipe", &message)
    }
}

impl Write for LogFile {
    /// A log that cannot be written must not stop the work: a line that is lost is counted in the next one
    /// that is not.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.was_moved() {
            self.reopen();
        }
        let text = [self.before().as_bytes(), bytes].concat();
        match self.append(&text) {
            Ok(()) => (self.lost, self.trouble) = (0, None),
            Err(e) => {
                self.lost += 1;
                self.trouble = Some(e);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Cuts off the bytes that were written last, if they are the last of a file; whether that was so.
fn cut_off(mut file: &File, written: u64) -> io::Result<bool> {
    let (metadata, place) = (file.metadata()?, file.stream_position()?);
    let is_last = metadata.is_file() && metadata.len() == place && place >= written;
    if is_last {
        file.set_len(place - written)?;
    }
    Ok(is_last)
}

/// Opens a log file. Never waits: a pipe that nobody reads is an error, and one that is full loses lines.
fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .custom_flags(OFlags::NONBLOCK.bits() as i32)
        .open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_opened_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, moved) = (folder.path().join("log"), folder.path().join("log.1"));
        let mut file = LogFile::open(&path, LogFormat::Text).expect("opened");
        file.write_all(b"one\n").expect("written");
        std::fs::rename(&path, &moved).expect("moved");
        file.write_all(b"two\n").expect("written");
        let read = |path: &Path| std::fs::read_to_string(path).expect("readable");
        assert_eq!(
            (read(&moved), read(&path)),
            ("one\n".into(), "two\n".into())
        );
    }

    /// A file that takes `room` bytes and no more, until it is moved away: a pipe is one.
    fn full_after(room: usize) -> (tempfile::TempDir, LogFile, File) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = LogFile::open(&folder.path().join("log"), LogFormat::Text).expect("opened");
        let (reader, writer) = io::pipe().expect("a pipe");
        rustix::io::ioctl_fionbio(&writer, true).expect("set");
        let mut file = File::from(std::os::fd::OwnedFd::from(writer));
        // A pipe takes less than a page whole or not at all, and more than that in parts.
        while file.write(&[b'x'; 4096]).is_ok() {}
        let reader = File::from(std::os::fd::OwnedFd::from(reader));
        let mut taken = vec![0; room];
        io::Read::read_exact(&mut &reader, &mut taken).expect("it is full");
        log.file = file;
        (folder, log, reader)
    }

    #[test]
    fn lines_that_were_lost_are_told_of_and_do_not_tear_others() {
        let (_folder, mut log, _reader) = full_after(4096);
        assert!(log.append(&[b'y'; 8192]).is_err());
        assert!(log.torn, "a pipe cannot be cut");
        log.lost = 2;
        log.trouble = Some(io::Error::other("no room"));
        let before = log.before();
        let (end, line) = before.split_at(1);
        assert_eq!(end, "\n");
        assert!(
            line.ends_with("ERROR - kclpipe: 2 log lines could not be written here: no room\n"),
            "{line}"
        );
        // The path has another file: there is nothing torn in it.
        log.write_all(b"one\n").expect("never fails");
        let text = std::fs::read_to_string(&log.path).expect("readable");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            text.contains("2 log lines") && text.ends_with("\none\n"),
            "{text}"
        );
        log.write_all(b"two\n").expect("never fails");
        let text = std::fs::read_to_string(&log.path).expect("readable");
        assert!(text.ends_with("\none\ntwo\n"), "told once: {text}");
    }

    #[test]
    fn the_part_of_a_line_is_cut_off_where_nobody_wrote_behind_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut file = append_to(&path).expect("opened");
        file.write_all(b"whole\npart").expect("written");
        assert!(cut_off(&file, 4).expect("a file"));
        assert_eq!(std::fs::read(&path).expect("readable"), b"whole\n");
        file.write_all(b"part").expect("written");
        append_to(&path)
            .expect("opened")
            .write_all(b"other\n")
            .expect("written");
        assert!(!cut_off(&file, 4).expect("a file"));
        assert_eq!(
            std::fs::read(&path).expect("readable"),
            b"whole\npartother\n"
        );
    }

    #[test]
    fn the_words_of_others_cannot_forge_a_line() {
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = format.line(Level::Warn, "kclpipe", "Bad\x1b[31m\nFORGED\u{202e}");
            assert_eq!(line.lines().count(), 1);
            assert!(
                line.contains("Bad\u{fffd}[31m\u{fffd}FORGED\u{fffd}"),
                "{line}"
            );
        }
    }

    #[test]
    fn a_level_that_makes_no_sense_is_an_error() {
        assert!(check_level("warn,handler=debug").is_ok());
        assert!(check_level("loud").is_err());
        assert!(check_level("handler=loud").is_err());
    }
}
