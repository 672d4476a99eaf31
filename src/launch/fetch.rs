//! Maven gets the jars.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::jars::{self, Jars};
use crate::check::Version;
use crate::process::{self, Command};

/// What Maven is to do; the version of its plugin is in it.
const POM: &str = include_str!("pom.xml");

/// Puts a version of the daemon, with all it needs, into `directory`, which need not be there. The jars get
/// there at once when all are whole: what has the final name is complete.
///
/// # Errors
/// There is no Maven, or it fails; or something else is in `directory`.
pub fn fetch(version: Version, directory: &Path) -> Result<Jars> {
    if directory.is_dir() {
        return in_place(version, directory);
    }
    let maven = process::find("mvn".as_ref(), Path::new("")).with_context(|| {
        let (group, artifact) = jars::artifact(version);
        format!(
            "no Maven: install it (mvn), or fetch {group}:{artifact}:{version} and all it depends on elsewhere, and \
             name their directory with --jars"
        )
    })?;
    let parent = directory.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(parent).with_context(|| format!("cannot make '{}'", parent.display()))?;
    let part = part_of(directory);
    remove(&part)?;
    fs::create_dir(&part).with_context(|| format!("cannot make '{}'", part.display()))?;
    say(&format!(
        "fetching the daemon of KCL {version} with Maven into '{}'",
        directory.display()
    ));
    let fetched = run(maven, version, &part).and_then(|()| {
        let what = || format!("cannot rename '{}'", part.display());
        fs::rename(&part, directory).with_context(what)
    });
    if fetched.is_err() {
        remove(&part)?;
    }
    fetched?;
    in_place(version, directory)
}

/// The directory, if it has this version already.
fn in_place(version: Version, directory: &Path) -> Result<Jars> {
    let jars = Jars::look(directory)?;
    if jars.version != version {
        bail!(
            "'{}' has the daemon of KCL {}, not of {version}: name another directory with --jars",
            directory.display(),
            jars.version
        );
    }
    say(&format!("KCL {version} is in '{}'", directory.display()));
    Ok(jars)
}

/// Where jars are put while they are fetched. Two runs at a time have one each.
fn part_of(directory: &Path) -> PathBuf {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push(format!(".part-{}", std::process::id()));
    directory.with_file_name(name)
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove '{}'", directory.display()))
        }
        _ => Ok(()),
    }
}

/// Runs Maven, which says for itself what goes wrong.
fn run(maven: PathBuf, version: Version, part: &Path) -> Result<()> {
    let pom = part.join("pom.xml");
    fs::write(&pom, POM).with_context(|| format!("cannot write '{}'", pom.display()))?;
    let (group, artifact) = jars::artifact(version);
    let set = |name: &str, value: &std::ffi::OsStr| {
        let mut option = OsString::from(format!("-D{name}="));
        option.push(value);
        option
    };
    let mut arguments: Vec<OsString> = [
        "--batch-mode",
        "--quiet",
        "--strict-checksums",
        "-Dstyle.color=never",
        "--file",
    ]
    .map(OsString::from)
    .to_vec();
    arguments.push(pom.into());
    arguments.push("dependency:copy-dependencies".into());
    arguments.push("-DincludeScope=runtime".into());
    arguments.push(set(
        "outputDirectory",
        std::path::absolute(part)?.as_os_str(),
    ));
    arguments.push(set("jar.group", group.as_ref()));
    arguments.push(set("jar.artifact", artifact.as_ref()));
    arguments.push(set("jar.version", version.to_string().as_ref()));
    let command = Command {
        program: maven.into(),
        arguments,
        directory: None,
    };
    let status = process::run(&command).context("cannot start Maven")?;
    if !status.success() {
        bail!(
            "Maven could not fetch {group}:{artifact}:{version} ({status}); its own words are above"
        );
    }
    Ok(())
}

/// One line for whoever waits.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "kclpipe: {text}");
}
