//! Finds the mistakes in a properties file of the daemon before it is deployed.
//!
//! The daemon says little about its file: unknown keys are passed over, and most bad values become 0 or
//! the default. [`examine`] reads a file as the daemon's `KinesisClientLibConfigurator` and
//! `ConfigurationSettableUtils` do (amazon-kinesis-client-multilang), and says what would come of it.

mod command;
mod forms;
mod keys;
mod program;
mod providers;
mod regions;
mod report;
mod rules;
mod together;
mod values;
mod version;

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::process::Command;
use crate::properties::{Properties, Property};
use keys::{Found, Key};
pub(crate) use report::Report;
pub use report::{Finding, IDS, Severity};
pub use version::Version;

/// What a check from the command line needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The properties file.
    pub file: PathBuf,
    /// The daemon's version.
    pub kcl: Version,
    /// The directory that the daemon is started in; `None` if the user did not say.
    pub directory: Option<PathBuf>,
    /// The report as JSON.
    pub json: bool,
}

/// What a check needs to know beside the properties.
pub struct Context<'a> {
    /// The file's name, for the report.
    pub file: &'a Path,
    /// The daemon's version.
    pub kcl: Version,
    /// The directory that the daemon is started in; `None` if nobody said, and then our own.
    pub directory: Option<&'a Path>,
    /// A directory that is looked into after those of `PATH`, as a launch does with kclpipe's own.
    pub last_in_path: Option<&'a Path>,
    /// Whether something else than the properties says which region of AWS it is.
    pub region_is_known: bool,
    /// What kclpipe makes of its arguments (`@FILE` among them), or what it would complain of.
    pub child: &'a dyn Fn(Vec<OsString>) -> Result<Child>,
}

/// What matters here of kclpipe's own options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Child {
    /// What must be there when it starts, each with what it is: the handler, and others.
    pub commands: Vec<(&'static str, Command)>,
    /// Where it writes files.
    pub places: Vec<Place>,
    /// An option of kclpipe's among the handler's arguments, if there is one.
    pub misplaced: Option<String>,
    /// Whether the handler is curl, and its exit codes are taken as those of a handler.
    pub curl: bool,
    /// Whether one handler lives as long as the lease.
    pub per_shard: bool,
    /// Whether time alone makes a checkpoint due.
    pub timed: bool,
    /// How long a handler may be silent; `None` for ever.
    pub timeout: Option<Duration>,
    /// How long a handler has to stop after it was asked to, and again after it was signalled.
    pub stop_timeout: Duration,
    /// How long handlers may go on after a request to shut down; `None` where they have nothing to do at that
    /// moment, for nothing is read ahead.
    pub drain: Option<Duration>,
    /// Whether records are collected over several reads.
    pub windowed: bool,
    /// How often the daemon's time limit is restarted; `None` for never.
    pub keepalive: Option<Duration>,
}

/// A file or a directory that an option names, to be written to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The option, without its hyphens.
    pub option: &'static str,
    /// The path, in which `{shard}` may stand.
    pub path: PathBuf,
    /// Whether it is the directory itself.
    pub is_directory: bool,
    /// What comes of it if the directory is missing.
    pub without: &'static str,
}

impl Place {
    /// The directory that has to be there, as far as that can be known without a shard.
    fn folder(&self) -> Option<&Path> {
        let folder = if self.is_directory {
            Some(self.path.as_path())
        } else {
            self.path.parent()
        };
        folder.filter(|folder| !folder.to_string_lossy().contains("{shard}"))
    }
}

/// No properties file has more bytes than this; a device might have no end.
const MOST: u64 = 4 << 20;

/// Reads a properties file.
///
/// # Errors
/// It cannot be read, or the daemon would refuse all of it; one line that names it.
pub(crate) fn read(file: &Path) -> Result<Properties> {
    let name = file.display();
    let opened = File::open(file).with_context(|| format!("cannot read '{name}'"))?;
    let mut bytes = Vec::new();
    let read = opened.take(MOST + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read '{name}'"))?;
    if bytes.len() as u64 > MOST {
        bail!("'{name}' is not a properties file: it has more than {MOST} bytes");
    }
    if bytes.contains(&0) {
        bail!(
            "'{name}' is not a properties file: it contains zero bytes (is it a program, or UTF-16?)"
        );
    }
    Properties::parse(&bytes).with_context(|| format!("the daemon cannot read '{name}'"))
}

/// Whether a file has anything of a daemon's properties in it: a known key, or one that is near to one.
/// An empty one may become some by what is set elsewhere.
pub(crate) fn is_of_a_daemon(properties: &Properties, kcl: Version) -> bool {
    let Properties(all) = properties;
    let is_known = |key: &str| match keys::find(key, kcl) {
        Found::Unknown => keys::nearest(key, kcl)
            .or_else(|| keys::begun(key, kcl))
            .is_some(),
        Found::Key(_) | Found::Elsewhere(_) | Found::Nested => true,
    };
    let unmarked = |key: &'_ str| key.strip_prefix(values::MARK).unwrap_or(key).to_owned();
    all.is_empty()
        || all
            .iter()
            .any(|property| is_known(&unmarked(&property.key)))
}

/// The value that a daemon works with for a key of the table, by any of the names that it takes for it.
pub(crate) fn setting<'a>(properties: &'a Properties, key: &str, kcl: Version) -> Option<&'a str> {
    let Properties(all) = properties;
    let is_it = |property: &&Property| canonical(&property.key, kcl) == Some(key);
    let value = all.iter().rev().find(is_it)?.value.trim();
    Some(value).filter(|value| !value.is_empty())
}

/// The name under which our table has a key, however it is spelled; `None` for one that this daemon does not know.
pub(crate) fn canonical(key: &str, kcl: Version) -> Option<&'static str> {
    match keys::find(key, kcl) {
        Found::Key(known) => Some(known.name),
        Found::Elsewhere(_) | Found::Nested | Found::Unknown => None,
    }
}

/// What is wrong with a daemon's properties. Of a key that is there twice the last one holds, as in
/// Java. A property on line 0 is taken for one that was set otherwise than in the file.
pub fn examine(properties: &Properties, context: &Context) -> Report {
    let scope = Scope::new(properties, context);
    let (mut findings, child) = command::examine(&scope);
    for property in &scope.in_force {
        findings.extend(values::examine(property, &scope));
    }
    findings.extend(rules::examine(&scope));
    findings.extend(together::examine(&scope, child.as_ref()));
    Report::new(context.file.to_path_buf(), context.kcl, findings)
}

/// What is wrong with each of these lines by itself, whatever else is in a file or missing.
pub(crate) fn examine_lines(properties: &Properties, kcl: Version) -> Vec<Finding> {
    let context = Context {
        file: Path::new(""),
        kcl,
        directory: None,
        last_in_path: None,
        region_is_known: false,
        child: &|_| bail!("no line by itself has a child"),
    };
    let scope = Scope::new(properties, &context);
    let lines = scope.in_force.iter();
    lines
        .flat_map(|property| values::examine(property, &scope))
        .collect()
}

/// The properties as the daemon sees them.
struct Scope<'a> {
    properties: &'a Properties,
    /// Those that no later one of the same key replaces, in their order.
    in_force: Vec<&'a Property>,
    context: &'a Context<'a>,
}

impl<'a> Scope<'a> {
    fn new(properties: &'a Properties, context: &'a Context<'a>) -> Self {
        let mut seen = HashSet::new();
        let last = properties.0.iter().rev();
        let mut in_force: Vec<&Property> = last.filter(|p| seen.insert(p.key.as_str())).collect();
        in_force.reverse();
        Scope {
            properties,
            in_force,
            context,
        }
    }

    fn kcl(&self) -> Version {
        self.context.kcl
    }

    /// The property that sets a key of the table, by any of the names that the daemon takes for it.
    fn get(&self, key: &str) -> Option<&'a Property> {
        let mut last = self.in_force.iter().rev();
        let found = last.find(|property| self.known(property).is_some_and(|k| k.name == key));
        found.copied()
    }

    fn known(&self, property: &Property) -> Option<&'static Key> {
        match keys::find(&property.key, self.kcl()) {
            Found::Key(key) => Some(key),
            Found::Elsewhere(_) | Found::Nested | Found::Unknown => None,
        }
    }

    /// The number that the daemon works with: 0 if the key is not set, or not to a number.
    fn number(&self, key: &str) -> i64 {
        let property = self.get(key);
        let number = property.and_then(|p| values::number(&p.value, 64, self.kcl()));
        number.unwrap_or_default()
    }

    /// Whether a flag is set and true to the daemon.
    fn is_true(&self, key: &str) -> bool {
        let property = self.get(key);
        property.is_some_and(|p| values::flag(&p.value, self.kcl()) == Some(true))
    }
}
