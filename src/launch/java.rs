//! Which Java the daemon is run with.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process;

/// The program: the one that was typed, or that of `JAVA_HOME`, or `java` of `PATH`.
///
/// # Errors
/// It is not there or not executable; one line that says where it was looked for.
pub(super) fn find(typed: Option<&Path>) -> Result<PathBuf> {
    if let Some(java) = typed {
        return program(java.as_os_str()).context("--java");
    }
    if let Some(home) = env::var_os("JAVA_HOME").filter(|home| !home.is_empty()) {
        let java = Path::new(&home).join("bin/java");
        return program(java.as_os_str())
            .context("no Java where JAVA_HOME says; mend it, or unset it to take that of PATH");
    }
    program(OsStr::new("java")).context(
        "no Java: install a runtime of Java 8 or later, or name it with --java or JAVA_HOME",
    )
}

fn program(name: &OsStr) -> Result<PathBuf> {
    process::find(name, Path::new(""))
}
