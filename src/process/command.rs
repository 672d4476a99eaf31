//! The user's command: what to run, and whether it can be run.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{Access, access};
use rustix::io::Errno;

/// A program with its arguments. It is run directly, never through a shell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// A path, or a name to be found in `PATH`.
    pub program: OsString,
    /// What follows it.
    pub arguments: Vec<OsString>,
    /// The directory to run it in; `None` for our own.
    pub directory: Option<PathBuf>,
}

impl Command {
    /// The file that would be run; `what` is what an error calls the command.
    ///
    /// # Errors
    /// There is none, or it is not executable, or its directory is missing.
    pub fn find(&self, what: &str) -> Result<PathBuf> {
        let directory = self.directory.clone().unwrap_or_default();
        if !directory.as_os_str().is_empty() && !directory.is_dir() {
            bail!(
                "the handler's directory '{}' does not exist (--chdir)",
                directory.display()
            );
        }
        find(&self.program, &directory)
            .with_context(|| format!("{what} '{}' cannot be run", self.program.display()))
    }

    /// Why it cannot be started, where the system's own words mislead: they do not say of which file they
    /// speak.
    pub fn explain(&self, error: &io::Error) -> String {
        let there = self.find("").is_ok();
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT) if there => {
                "the interpreter that its first line names does not exist (does that line end with CR LF?)".into()
            }
            Some(Errno::NOEXEC) => "it is not a binary, and its first line does not begin with '#!'".into(),
            _ => error.to_string(),
        }
    }
}

/// The file that a program's name stands for: a path, relative to `directory`, or a name to be found in
/// `PATH`.
///
/// # Errors
/// There is none, or it is not executable.
pub(crate) fn find(program: &OsStr, directory: &Path) -> Result<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        let path = directory.join(program);
        return executable(&path).map(|()| path);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| executable(file).is_ok())
        .with_context(|| {
            format!(
                "'{}' is not in PATH ({})",
                program.display(),
                path.display()
            )
        })
}

fn executable(file: &Path) -> Result<()> {
    let metadata = file
        .metadata()
        .with_context(|| format!("'{}'", file.display()))?;
    if !metadata.is_file() {
        bail!("'{}' is not a file", file.display());
    }
    access(file, Access::EXEC_OK)
        .with_context(|| format!("'{}' is not executable (chmod +x)", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(program: &str, directory: Option<&str>) -> Result<PathBuf> {
        let directory = directory.map(PathBuf::from);
        Command {
            program: program.into(),
            arguments: Vec::new(),
            directory,
        }
        .find("the handler")
    }

    #[test]
    fn a_script_that_cannot_be_run_is_told_from_one_that_is_missing() {
        let explain = |program: &str, errno: Errno| {
            let command = Command {
                program: program.into(),
                ..Command::default()
            };
            command.explain(&errno.into())
        };
        assert!(explain("sh", Errno::NOENT).contains("interpreter"));
        assert!(explain("sh", Errno::NOEXEC).contains("'#!'"));
        assert!(explain("./no-such-program", Errno::NOENT).contains("No such file"));
        assert!(explain("sh", Errno::AGAIN).contains("unavailable"));
    }

    #[test]
    fn names_are_looked_up_and_paths_are_relative_to_the_handlers_directory() {
        assert!(find("sh", None).is_ok());
        assert!(find("./sh", Some("/bin")).is_ok());
        for (program, directory, said) in [
            ("no-such-program", None, "not in PATH"),
            (
                "./no-such-program",
                None,
                "'./no-such-program' cannot be run",
            ),
            ("/etc/passwd", None, "not executable (chmod +x)"),
            ("/etc", None, "not a file"),
            ("sh", Some("/no/such/folder"), "--chdir"),
        ] {
            let error = format!("{:#}", find(program, directory).expect_err(program));
            assert!(error.contains(said), "{error}");
        }
    }
}
