//! The daemon's jars: which version they are, and whether they are whole.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::check::Version;

/// What is fetched where nothing else is asked for: the newest that the tests run under.
pub(crate) const USUAL: Version = Version::TESTED[0];

/// The artifact that holds the daemon from 2.0 on, and the client library, which holds it before.
const MULTILANG: &str = "amazon-kinesis-client-multilang";
const CLIENT: &str = "amazon-kinesis-client";

/// What to do about jars that are missing.
const WHERE_FROM: &str =
    "download them with kclpipe launch --fetch, or name their directory with --jars";

/// From here on the daemon takes options (`MultiLangDaemonArguments` in `MultiLangDaemon.java`).
const TAKES_OPTIONS: Version = Version(2, 1, 0);

/// A directory with a daemon and all it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jars {
    /// Where they are.
    pub directory: PathBuf,
    /// The daemon's version.
    pub version: Version,
}

/// What Maven calls the daemon of a version: the group and the artifact.
pub(super) fn artifact(version: Version) -> (&'static str, &'static str) {
    match version.generation() {
        1 => ("com.amazonaws", CLIENT),
        _ => ("software.amazon.kinesis", MULTILANG),
    }
}

/// Where the jars of a version are kept for this user.
///
/// # Errors
/// The environment does not say where a user's files are.
pub(super) fn usual_directory(version: Version) -> Result<PathBuf> {
    let of = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let data = of("XDG_DATA_HOME").or_else(|| Some(of("HOME")?.join(".local/share")));
    let data =
        data.context("neither HOME nor XDG_DATA_HOME is set, so name a directory with --jars")?;
    Ok(data.join("kclpipe").join(format!("kcl-{version}")))
}

impl Jars {
    /// Looks at what `directory` holds.
    ///
    /// # Errors
    /// There is no daemon, or there are two, or something of it is missing.
    pub fn look(directory: &Path) -> Result<Jars> {
        let name = directory.display();
        let files = names(directory)?;
        let mut daemons = versions(&files, MULTILANG);
        let clients = versions(&files, CLIENT);
        // Before 2.0 the daemon is in the client's own jar.
        daemons.extend(clients.iter().filter(|version| version.generation() == 1));
        let version = match daemons[..] {
            [version] => version,
            [] => bail!(
                "'{name}' has no {MULTILANG}-VERSION.jar: fetch it with kclpipe launch --fetch, or name the directory that has it with --jars"
            ),
            [first, second, ..] => bail!(
                "'{name}' has the daemon twice, as {first} and as {second}, and Java would take either: remove one, with its dependencies"
            ),
        };
        if !clients.contains(&version) {
            bail!("'{name}' is incomplete: {CLIENT}-{version}.jar is missing; fetch it again");
        }
        Ok(Jars {
            directory: directory.to_path_buf(),
            version,
        })
    }

    /// The class that is run.
    pub(super) fn main_class(&self) -> &'static str {
        match self.version.generation() {
            1 => "com.amazonaws.services.kinesis.multilang.MultiLangDaemon",
            _ => "software.amazon.kinesis.multilang.MultiLangDaemon",
        }
    }

    /// Whether the daemon knows `--properties-file` and `--log-configuration`; if not, its only argument is
    /// the properties file.
    pub(super) fn takes_options(&self) -> bool {
        self.version >= TAKES_OPTIONS
    }
}

/// The names of the jars, none of which may be empty, as an interrupted copy leaves one.
fn names(directory: &Path) -> Result<Vec<String>> {
    let name = directory.display();
    let entries = match fs::read_dir(directory) {
        // The system's words would read as a second mistake.
        Err(e) if e.kind() == ErrorKind::NotFound => bail!("no jars in '{name}': {WHERE_FROM}"),
        entries => entries.with_context(|| format!("no jars in '{name}': {WHERE_FROM}"))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read '{name}'"))?;
        let file = entry.file_name().to_string_lossy().into_owned();
        if !file.ends_with(".jar") {
            continue;
        }
        if fs::metadata(entry.path()).is_ok_and(|metadata| metadata.len() == 0) {
            bail!("'{name}' is incomplete: {file} is empty; fetch it again");
        }
        names.push(file);
    }
    Ok(names)
}

/// The versions in which an artifact is among the files.
fn versions(files: &[String], artifact: &str) -> Vec<Version> {
    let version = |file: &String| {
        let version = file
            .strip_prefix(artifact)?
            .strip_prefix('-')?
            .strip_suffix(".jar")?;
        version.contains('.').then(|| version.parse().ok())?
    };
    files.iter().filter_map(version).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(files: &[&str]) -> Result<Version, String> {
        let folder = tempfile::tempdir().expect("a folder");
        for file in files {
            let text = if file.starts_with("empty") { "" } else { "jar" };
            fs::write(folder.path().join(file), text).expect("written");
        }
        let jars = Jars::look(folder.path());
        jars.map(|jars| jars.version).map_err(|e| format!("{e:#}"))
    }

    const MULTILANG_3: &str = "amazon-kinesis-client-multilang-3.1.3.jar";
    const CLIENT_3: &str = "amazon-kinesis-client-3.1.3.jar";
    const CLIENT_1: &str = "amazon-kinesis-client-1.15.3.jar";

    #[test]
    fn the_version_is_that_of_the_daemon() {
        assert_eq!(
            look(&[MULTILANG_3, CLIENT_3, "guava-32.jar"]),
            Ok(Version(3, 1, 3))
        );
        assert_eq!(look(&[CLIENT_1, "pom.xml"]), Ok(Version(1, 15, 3)));
    }

    #[test]
    fn a_directory_that_is_not_one_whole_daemon_is_an_error() {
        for (files, said) in [
            (&[][..], "no amazon-kinesis-client-multilang"),
            (&[CLIENT_3], "no amazon-kinesis-client-multilang"),
            (&[MULTILANG_3], "amazon-kinesis-client-3.1.3.jar is missing"),
            (&[MULTILANG_3, CLIENT_3, CLIENT_1], "twice"),
            (&[MULTILANG_3, CLIENT_3, "empty.jar"], "empty.jar is empty"),
        ] {
            let error = look(files).expect_err(said);
            assert!(error.contains(said) && !error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn each_generation_is_started_in_its_own_way() {
        let of = |version| Jars {
            directory: PathBuf::new(),
            version,
        };
        let (old, first, new) = (of(Version(1, 15, 3)), of(Version(2, 0, 5)), of(USUAL));
        assert!(old.main_class().starts_with("com.amazonaws.") && !old.takes_options());
        assert!(first.main_class().starts_with("software.amazon.") && !first.takes_options());
        assert!(new.takes_options());
        assert_eq!(artifact(USUAL).1, MULTILANG);
    }
}
