//! The two files of a new worker, made from the samples that the program carries.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::check::Version;
use crate::properties::{Properties, Property};

/// The version of the KCL that the sample is for, which is also the one that a launch fetches.
pub(crate) const KCL: Version = Version::TESTED[0];

/// The name of the daemon's configuration.
pub(crate) const PROPERTIES: &str = "kclpipe.properties";

/// The name of kclpipe's own command line, which that configuration names.
const ARGUMENTS: &str = "handler.args";

const PROPERTIES_SAMPLE: &str = include_str!("../properties/kclpipe.properties");
const ARGUMENTS_SAMPLE: &str = include_str!("../properties/handler.args");

/// What a new worker needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where its files go; `None` for the current directory.
    pub directory: Option<PathBuf>,
    /// The stream to read.
    pub stream: String,
    /// The application.
    pub application: String,
    /// The region of AWS.
    pub region: String,
    /// The handler and its arguments.
    pub command: Vec<OsString>,
}

impl Settings {
    /// The daemon's keys with what was typed for them.
    pub(crate) fn values(&self) -> [(&'static str, &str); 3] {
        [
            ("streamName", &self.stream),
            ("applicationName", &self.application),
            ("regionName", &self.region),
        ]
    }

    /// Where the daemon's configuration is, or will be.
    pub(crate) fn properties(&self) -> PathBuf {
        self.path(PROPERTIES)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory
            .as_deref()
            .unwrap_or(Path::new(""))
            .join(name)
    }

    /// The command to type next, in the directory that this one was typed in.
    pub(crate) fn next(&self, command: &str) -> Result<String> {
        match &self.directory {
            Some(directory) => {
                let name = directory.to_string_lossy();
                Ok(format!("cd {} && {command}", shlex::try_quote(&name)?))
            }
            None => Ok(command.to_owned()),
        }
    }
}

/// Writes both files, or none.
///
/// # Errors
/// One of them is there already, or there is no place for it; one line that names it.
pub(crate) fn write(settings: &Settings) -> Result<()> {
    let files = [
        (settings.properties(), properties(settings).into_bytes()),
        (settings.path(ARGUMENTS), arguments(settings)?),
    ];
    if let Some(directory) = &settings.directory {
        let made = fs::create_dir_all(directory);
        made.with_context(|| format!("cannot make the directory '{}'", directory.display()))?;
    }
    let mut written = Vec::new();
    for (path, text) in &files {
        if let Err(e) = write_new(path, text, &mut written) {
            written.iter().for_each(|path| drop(fs::remove_file(path)));
            return Err(e);
        }
    }
    Ok(())
}

/// Writes a file that is not there yet, and adds it to those that are to be removed if a later one fails.
fn write_new(path: &Path, text: &[u8], written: &mut Vec<PathBuf>) -> Result<()> {
    let mut file = create(path)?;
    written.push(path.to_owned());
    let done = file.write_all(text);
    done.with_context(|| format!("cannot write '{}'", path.display()))
}

fn create(path: &Path) -> Result<File> {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let name = path.display();
    opened.map_err(|e| {
        if e.kind() == io::ErrorKind::AlreadyExists {
            anyhow!(
                "'{name}' is there already, so nothing was written: move it away, or choose another --dir"
            )
        } else {
            anyhow!(e).context(format!("cannot write '{name}'"))
        }
    })
}

/// The sample with the values that were typed in place of its own.
fn properties(settings: &Settings) -> String {
    let lines = PROPERTIES_SAMPLE.lines().map(|line| {
        let key = line.split(' ').next();
        let mut values = settings.values().into_iter();
        match values.find(|(name, _)| key == Some(name)) {
            Some((key, value)) => line_of(key, value),
            None => line.to_owned() + "\n",
        }
    });
    lines.collect()
}

/// A line of the daemon's configuration, with its end.
fn line_of(key: &str, value: &str) -> String {
    let property = Property {
        line: 0,
        key: key.to_owned(),
        value: value.to_owned(),
    };
    Properties(vec![property])
        .to_string()
        .replacen('=', " = ", 1)
}

/// The sample with the handler that was typed in place of its own, which is the last line.
fn arguments(settings: &Settings) -> Result<Vec<u8>> {
    let words = settings.command.iter().map(|word| word.as_encoded_bytes());
    let handler = shlex::bytes::try_join(words).context("the handler's command")?;
    let kept = ARGUMENTS_SAMPLE
        .lines()
        .filter(|line| !line.starts_with("-- "));
    let mut text: Vec<u8> = kept
        .flat_map(|line| [line.as_bytes(), b"\n"].concat())
        .collect();
    text.extend([b"-- ".as_slice(), &handler, b"\n"].concat());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(command: &[&str]) -> Settings {
        Settings {
            directory: None,
            stream: "orders".into(),
            application: "orders-reader".into(),
            region: "us-east-1".into(),
            command: command.iter().map(Into::into).collect(),
        }
    }

    #[test]
    fn only_the_typed_values_differ_from_the_sample() {
        let text = properties(&settings(&["cat"]));
        let lines = text.lines().zip(PROPERTIES_SAMPLE.lines());
        let differ = lines.filter(|(line, sample)| line != sample);
        let differ: Vec<&str> = differ.map(|(line, _)| line).collect();
        assert_eq!(
            differ,
            [
                "streamName = orders",
                "applicationName = orders-reader",
                "regionName = us-east-1"
            ]
        );
        assert_eq!(text.len() - text.trim_end().len(), 1);
    }

    #[test]
    fn a_handler_is_read_as_it_was_typed() {
        let command = ["./my handler", "-c", "a 'b' | c # d\n$e", "", "é"];
        let text = arguments(&settings(&command)).expect("quoted");
        let words = shlex::bytes::split(&text).expect("split");
        let at = words.iter().position(|word| word == b"--").expect("--");
        let words = words[at + 1..]
            .iter()
            .map(|word| String::from_utf8_lossy(word));
        assert_eq!(words.collect::<Vec<_>>(), command);
    }

    #[test]
    fn the_next_command_begins_where_this_one_was_typed() {
        let here = settings(&["cat"]);
        assert_eq!(here.next("ls").expect("quoted"), "ls");
        let there = Settings {
            directory: Some("my dir".into()),
            ..here
        };
        assert_eq!(there.next("ls").expect("quoted"), "cd 'my dir' && ls");
    }
}
