//! Which Java the daemon is run with.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};

use crate::process;

/// Up to this many processors the serial collector is the better one: it takes less time for a record, and half of the
/// memory. With more of them it could hold up all shards for longer than the others do.
const FEW_PROCESSORS: usize = 4;

/// Where Java takes options from besides its command line.
const OPTIONS: [&str; 3] = ["JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS"];

/// The option for Java's garbage collector, where the user has not chosen one, with these options or in the
/// environment, and the machine is small.
pub(super) fn collector(typed: &[OsString]) -> Option<&'static str> {
    let processors = thread::available_parallelism().ok()?.get();
    let variables: Vec<OsString> = OPTIONS.iter().filter_map(env::var_os).collect();
    let options = typed.iter().chain(&variables);
    let serial = processors <= FEW_PROCESSORS && !options.map(OsString::as_os_str).any(chooses);
    serial.then_some("-XX:+UseSerialGC")
}

/// Whether a collector is chosen in this option, or in one of several with spaces between, or may be in a file that
/// one names. Java does not start with two.
fn chooses(options: &OsStr) -> bool {
    let options = options.to_string_lossy();
    options.split_whitespace().any(|option| {
        let used = option.strip_prefix("-XX:+Use");
        let others = ["-XX:Flags=", "-XX:VMOptionsFile=", "-Xgcpolicy", "@"];
        used.is_some_and(|used| used.ends_with("GC"))
            || others.iter().any(|other| option.starts_with(other))
    })
}

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
            .context("there is no Java in JAVA_HOME; fix it, or unset it to use the Java in PATH");
    }
    program(OsStr::new("java")).context(
        "no Java: install a runtime of Java 8 or later, or name it with --java or JAVA_HOME",
    )
}

fn program(name: &OsStr) -> Result<PathBuf> {
    process::find(name, Path::new(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_that_is_chosen_anywhere_stays_alone() {
        for options in [
            "-XX:+UseG1GC",
            "-XX:+UseSerialGC",
            "-Xmx1g -XX:+UseParallelGC",
            "-XX:+UseConcMarkSweepGC",
            "-XX:VMOptionsFile=options",
            "-Xgcpolicy:balanced",
            "@options",
        ] {
            assert!(chooses(options.as_ref()), "{options}");
            assert_eq!(collector(&[options.into()]), None, "{options}");
        }
        for options in [
            "-XX:-UseG1GC",
            "-XX:+UseStringDeduplication",
            "-Xmx1g",
            "",
            "-Da=-XX:+UseG1GC",
        ] {
            assert!(!chooses(options.as_ref()), "{options}");
        }
    }
}
