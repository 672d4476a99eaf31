//! Maven gets the jars.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf, absolute};

use anyhow::{Context, Result, bail};

use super::jars::{self, Jars};
use crate::check::Version;
use crate::process::{self, Command, Variable};

/// What stands between a directory's name and the number of the process that fills it.
const PART: &str = ".part-";

/// What Maven is to do; the version of its plugin is in it.
const POM: &str = include_str!("pom.xml");

/// Puts a version of the daemon, with all it needs, into `directory`, which need not be there. The jars get
/// there at once when all are whole: what has the final name is complete.
///
/// # Errors
/// There is no Maven, or it fails; or something else is in `directory`.
pub(crate) fn fetch(version: Version, directory: &Path) -> Result<Jars> {
    if directory.is_dir() {
        return in_place(version, directory);
    }
    let maven = process::find("mvn".as_ref(), Path::new("")).with_context(|| {
        let (group, artifact) = jars::artifact(version);
        format!(
            "no Maven: install it (mvn), or download {group}:{artifact}:{version} and its dependencies elsewhere and name their directory with --jars"
        )
    })?;
    let directory = &absolute(directory).context("no current directory")?;
    let parent = directory.parent().unwrap_or(directory);
    fs::create_dir_all(parent).with_context(|| format!("cannot create '{}'", parent.display()))?;
    // A directory that has the name is whole: it gets it last, and a fetch that was cut short leaves none.
    let part = part_of(directory, std::process::id());
    sweep(parent, directory)?;
    fs::create_dir(&part).with_context(|| format!("cannot create '{}'", part.display()))?;
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
fn part_of(directory: &Path, run: u32) -> PathBuf {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push(format!("{PART}{run}"));
    directory.with_file_name(name)
}

/// Removes what runs left that were killed.
fn sweep(parent: &Path, directory: &Path) -> Result<()> {
    let what = || format!("cannot read '{}'", parent.display());
    for entry in fs::read_dir(parent).with_context(what)? {
        let path = entry.with_context(what)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let run = name.rsplit_once(PART).and_then(|(_, run)| run.parse().ok());
        if run.is_some_and(|run| part_of(directory, run) == path && !process::is_alive(run)) {
            remove(&path)?;
        }
    }
    Ok(())
}

fn remove(directory: &Path) -> Result<()> {
    fs::remove_dir_all(directory)
        .with_context(|| format!("cannot remove '{}'", directory.display()))
}

/// Runs Maven, which says for itself what goes wrong.
fn run(maven: PathBuf, version: Version, part: &Path) -> Result<()> {
    let pom = part.join("pom.xml");
    fs::write(&pom, POM).with_context(|| format!("cannot write '{}'", pom.display()))?;
    let (group, artifact) = jars::artifact(version);
    let set = |name: &str, value: &OsStr| {
        let mut option = OsString::from(format!("-D{name}="));
        option.push(value);
        option
    };
    let mut arguments: Vec<OsString> = [
        "--batch-mode",
        "--quiet",
        // A jar that came damaged would be found out by Java, and much later.
        "--strict-checksums",
        "-Dstyle.color=never",
        "--file",
    ]
    .map(OsString::from)
    .to_vec();
    arguments.push(pom.into());
    arguments.push("dependency:copy-dependencies".into());
    arguments.push("-DincludeScope=runtime".into());
    arguments.push(set("outputDirectory", part.as_os_str()));
    arguments.push(set("jar.group", group.as_ref()));
    arguments.push(set("jar.artifact", artifact.as_ref()));
    arguments.push(set("jar.version", version.to_string().as_ref()));
    let command = Command {
        program: maven.into(),
        arguments,
        directory: None,
    };
    let status = process::run(&command, &[uncoloured()]).context("cannot start Maven")?;
    if !status.success() {
        bail!(
            "Maven could not fetch {group}:{artifact}:{version} ({status}); see its output above"
        );
    }
    Ok(())
}

/// Without its colours Maven still ends them, in a file too, unless its Java has this option.
fn uncoloured() -> Variable {
    let mut options = env::var_os("MAVEN_OPTS").unwrap_or_default();
    options.push(" -Djansi.noreset=true");
    ("MAVEN_OPTS".into(), Some(options))
}

/// One line for whoever waits.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "kclpipe: {text}");
}
