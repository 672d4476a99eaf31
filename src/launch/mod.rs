//! Starts the real daemon, Amazon's MultiLangDaemon, and becomes it: signals and the exit code are Java's
//! own.

mod backfill;
mod fetch;
mod jars;
mod java;
mod private;
mod said;

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf, absolute};
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};

use crate::check::Version;
use crate::launched::Launched;
use crate::process::{self, Command, Variable};
use crate::properties::{Properties, Property};
pub(crate) use backfill::Backfill;
pub(crate) use fetch::fetch;
pub(crate) use jars::{Jars, USUAL};
use private::Private;

/// What the daemon logs, and what not.
const LOGBACK: &str = include_str!("logback.xml");

/// What stands before a property's name in the environment.
pub(crate) const PROPERTY: &str = "KCLPIPE_PROPERTY_";

/// What a launch needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The properties file; `None` where jars are to be fetched and no more.
    pub file: Option<PathBuf>,
    /// The Java that was typed.
    pub java: Option<PathBuf>,
    /// The directory with the jars, if the user named one.
    pub jars: Option<PathBuf>,
    /// The daemon's version, if the user named one.
    pub version: Option<Version>,
    /// Whether to fetch the jars where they are missing.
    pub fetch: bool,
    /// Properties that win over the file, the later ones over the earlier ones.
    pub overrides: Vec<(String, String)>,
    /// The time to be read again by an application of its own.
    pub backfill: Option<Backfill>,
    /// Options of Java, as `-Xmx1g`.
    pub java_options: Vec<OsString>,
    /// A logback file of the user's.
    pub log_configuration: Option<PathBuf>,
    /// Whether to look for mistakes first.
    pub check: bool,
    /// Whether to print the command instead of running it.
    pub print: bool,
}

impl Settings {
    /// The daemon that is to run, fetched before if that is asked for.
    ///
    /// # Errors
    /// It is not there, not whole, or of another version than the user named.
    pub fn jars(&self) -> Result<Jars> {
        let version = self.version.unwrap_or(USUAL);
        let directory = match &self.jars {
            Some(directory) => directory.clone(),
            None => jars::usual_directory(version)?,
        };
        if self.fetch {
            return fetch(version, &directory);
        }
        let jars = Jars::look(&directory)?;
        match self.version.filter(|version| *version != jars.version) {
            Some(version) => bail!(
                "'{}' has the daemon of KCL {}, not of {version} (--kcl)",
                directory.display(),
                jars.version
            ),
            None => Ok(jars),
        }
    }

    /// The user's logback file, or ours.
    fn log_configuration(&self, files: &mut Vec<Private>) -> Result<PathBuf> {
        match &self.log_configuration {
            Some(typed) => {
                std::fs::File::open(typed).with_context(|| {
                    format!("cannot read '{}' (--log-configuration)", typed.display())
                })?;
                Ok(typed.clone())
            }
            None => self.private(LOGBACK, "-logback.xml", files),
        }
    }

    /// The user's file, or one with what wins over it. Absolute, for the daemon looks for a relative name in
    /// its jars first (MultiLangDaemonConfig.java).
    fn properties_file(
        &self,
        file: &Path,
        properties: &Properties,
        files: &mut Vec<Private>,
    ) -> Result<PathBuf> {
        if self.overrides.is_empty() && self.backfill.is_none() {
            return absolute(file).context("no current directory");
        }
        self.private(&properties.to_string(), ".properties", files)
    }

    fn private(&self, text: &str, ending: &str, files: &mut Vec<Private>) -> Result<PathBuf> {
        let private = Private::new(text, ending, self.print)?;
        let path = private.path.clone();
        files.push(private);
        Ok(path)
    }

    /// The file's properties with those that win over them, which stand on line 0; at `now`, which names a backfill.
    ///
    /// # Errors
    /// A backfill cannot be made of them.
    pub(crate) fn override_in(
        &self,
        mut properties: Properties,
        kcl: Version,
        now: SystemTime,
    ) -> Result<Properties> {
        let overrides = self.overrides.iter().cloned();
        properties.0.extend(overrides.map(|(key, value)| Property {
            line: 0,
            key,
            value,
        }));
        match &self.backfill {
            Some(backfill) => backfill.applied(&properties, kcl, now),
            None => Ok(properties),
        }
    }
}

/// A daemon that is ready to start.
#[derive(Debug)]
pub(crate) struct Daemon {
    command: Command,
    environment: Vec<Variable>,
    /// They have to be open when Java starts.
    _files: Vec<Private>,
}

impl Daemon {
    /// The daemon of `jars` with `file`, or with `properties` where something wins over the file.
    ///
    /// # Errors
    /// There is no Java, or no place for a file, or the daemon does not know an option.
    pub(crate) fn new(
        settings: &Settings,
        jars: &Jars,
        file: &Path,
        properties: &Properties,
    ) -> Result<Daemon> {
        let java = java::find(settings.java.as_deref())?;
        let mut files = Vec::new();
        // The daemon talks to its children in the platform's charset, which is that of the locale before
        // Java 18 (MessageWriter.java).
        let mut arguments = vec![OsString::from("-Dfile.encoding=UTF-8")];
        arguments.extend(java::collector(&settings.java_options).map(OsString::from));
        arguments.extend(settings.java_options.iter().cloned());
        arguments.extend(["-cp".into(), class_path(&jars.directory)?]);
        arguments.push(jars.main_class().into());
        if jars.takes_options() {
            arguments.push("--log-configuration".into());
            arguments.push(settings.log_configuration(&mut files)?.into());
            arguments.push("--properties-file".into());
        } else if settings.log_configuration.is_some() {
            bail!(
                "the daemon of KCL {} does not support --log-configuration",
                jars.version
            );
        }
        arguments.push(
            settings
                .properties_file(file, properties, &mut files)?
                .into(),
        );
        let command = Command {
            program: java.into(),
            arguments,
            directory: None,
        };
        Ok(Daemon {
            command,
            environment: environment(
                &said::said(properties, jars.version),
                settings.backfill.as_ref(),
            )?,
            _files: files,
        })
    }

    /// Becomes Java. Comes back only where that is not possible, to say why.
    pub(crate) fn start(&self) -> anyhow::Error {
        let error = process::replace(&self.command, &self.environment);
        anyhow!("cannot run '{}': {error}", self.command.program.display())
    }

    /// The command, to be pasted into a shell.
    pub(crate) fn to_shell(&self) -> String {
        let words = std::iter::once(&self.command.program).chain(&self.command.arguments);
        let words: Vec<String> = words.map(|word| quoted(word)).collect();
        words.join(" ")
    }
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_owned().into_vec();
    let quoted = shlex::bytes::try_quote(&word).unwrap_or_default();
    String::from_utf8_lossy(&quoted).into_owned()
}

/// All jars of a directory, which Java finds by itself.
fn class_path(directory: &Path) -> Result<OsString> {
    let directory = absolute(directory).context("no current directory")?;
    if directory.as_os_str().as_encoded_bytes().contains(&b':') {
        bail!(
            "'{}' has a ':', which separates directories for Java",
            directory.display()
        );
    }
    Ok(directory.join("*").into())
}

/// Where this program is. A launch puts it last into `PATH`.
///
/// # Errors
/// The system does not say.
pub(crate) fn own_directory() -> Result<PathBuf> {
    let own = env::current_exe().context("cannot find this program")?;
    Ok(own.parent().unwrap_or(Path::new("/")).to_path_buf())
}

/// What Java has otherwise than we: our own directory is the last of `PATH`, so that `executableName =
/// kclpipe` is found; what was meant for us is gone, for the children would wonder; and there is what they cannot
/// know otherwise.
fn environment(said: &Launched, backfill: Option<&Backfill>) -> Result<Vec<Variable>> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain([own_directory()?]);
    let path = env::join_paths(folders).context("PATH")?;
    let ours = env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.as_encoded_bytes();
        name.starts_with(PROPERTY.as_bytes()) || name == b"KCLPIPE_JARS"
    });
    let removed = ours.map(|name| (name, None));
    let said = said.variables();
    let until = backfill.map(|of| (backfill::UNTIL.into(), Some(of.end().into())));
    Ok(removed
        .chain([("PATH".into(), Some(path))])
        .chain(said)
        .chain(until)
        .collect())
}
