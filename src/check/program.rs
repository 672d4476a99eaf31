//! How a file that can be executed begins: what its first line names, and who would run it.

use std::env;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::process::find;

/// Who starts the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Starter {
    /// Java, which gives to `/bin/sh` what the kernel refuses (`childproc.c` of the JDK).
    Java,
    /// kclpipe, which does not.
    Kclpipe,
}

/// What is wrong with a file's beginning: its id, what it is, why it matters, and the fix.
pub(super) type Wrong = (&'static str, String, &'static str, &'static str);

/// The id of a text without an interpreter.
pub(super) const NO_LINE: &str = "script-without-interpreter";

/// As much of a file as the kernel looks at.
const START: u64 = 256;

/// Whether a program can be started, as far as its first line tells; relative names in it are looked up in
/// `directory`. A file that cannot be read is not judged.
pub(super) fn examine(file: &Path, directory: &Path, starter: Starter) -> Option<Wrong> {
    let mut start = Vec::new();
    let opened = File::open(file).ok()?;
    opened.take(START).read_to_end(&mut start).ok()?;
    match start.strip_prefix(b"#!") {
        Some(line) => first_line(line, directory),
        None if start.contains(&0) => None,
        None => without_interpreter(file, starter),
    }
}

/// What the kernel makes of the line after `#!`: an interpreter, and one argument with all that follows.
fn first_line(line: &[u8], directory: &Path) -> Option<Wrong> {
    const MISLEADING: &str =
        "The system reports 'No such file or directory', although the file exists.";
    let line = line.split(|b| *b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    if line.ends_with('\r') {
        return Some((
            "script-line-ending",
            "its first line ends with CR LF, and the CR is part of the interpreter's name"
                .to_owned(),
            MISLEADING,
            "Save the file with LF line endings (dos2unix).",
        ));
    }
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let Some(interpreter) = words.next() else {
        return Some((
            "script-interpreter-missing",
            "its first line names no interpreter".to_owned(),
            "The system cannot start it.",
            "Write the interpreter, for example #!/bin/sh.",
        ));
    };
    let path = directory.join(interpreter);
    if !path.is_file() {
        let fix = if interpreter.starts_with('/') {
            "Install it, or write the right path into the first line."
        } else {
            "The kernel does not search PATH: write #!/usr/bin/env and its name."
        };
        let what = format!("its first line names '{interpreter}', which does not exist");
        return Some(("script-interpreter-missing", what, MISLEADING, fix));
    }
    // The kernel hands env all the rest as one word, so options or assignments there are beyond us.
    let by_env = words.next().filter(|_| interpreter.ends_with("/env"))?;
    let is_name = !by_env.starts_with('-') && !by_env.contains('=');
    (is_name && find(by_env.as_ref(), directory).is_err()).then(|| {
        (
            "script-interpreter-missing",
            format!(
                "its first line asks env for '{by_env}', which is not in PATH ({})",
                path_of_ours()
            ),
            "It exits with 127 as soon as it starts.",
            "Install it, or write its path into the first line.",
        )
    })
}

fn path_of_ours() -> String {
    env::var_os("PATH")
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// A text that does not say who is to run it.
fn without_interpreter(file: &Path, starter: Starter) -> Option<Wrong> {
    let what = || "it is not a binary, and its first line does not begin with '#!'".to_owned();
    match starter {
        Starter::Kclpipe => Some((
            NO_LINE,
            what(),
            "The system does not know how to run it, and kclpipe does not use a shell.",
            "Write the interpreter into its first line, for example #!/bin/sh.",
        )),
        Starter::Java if file.extension().is_some_and(|ending| ending == "sh") => None,
        Starter::Java => Some((
            NO_LINE,
            what(),
            "Java then starts it with /bin/sh, whatever language it is in.",
            "Write the interpreter into its first line, for example #!/usr/bin/env python3.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(start: &[u8], name: &str, starter: Starter) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(name);
        std::fs::write(&file, start).expect("written");
        std::fs::write(folder.path().join("own"), "").expect("written");
        examine(&file, folder.path(), starter).map(|(_, what, ..)| what)
    }

    #[test]
    fn the_first_line_is_read_as_the_kernel_does() {
        for (start, said) in [
            (&b"#!/bin/sh\n"[..], None),
            (b"#! /bin/sh -e\nx", None),
            (b"#!/bin/sh", None),
            (b"#!own\n", None),
            (b"#!/usr/bin/env sh\n", None),
            (b"#!/usr/bin/env -S no-such-program -x\n", None),
            (b"#!/bin/sh\r\n", Some("CR LF")),
            (b"#!\n", Some("no interpreter")),
            (b"#!env python\n", Some("names 'env'")),
            (
                b"#!/no/such/interpreter\n",
                Some("names '/no/such/interpreter'"),
            ),
            (
                b"#!/usr/bin/env no-such-program\n",
                Some("'no-such-program'"),
            ),
            (b"\x7fELF\0\0", None),
        ] {
            let found = wrong(start, "program", Starter::Java);
            let fits = found
                .as_deref()
                .zip(said)
                .map(|(what, said)| what.contains(said));
            let start = String::from_utf8_lossy(start);
            assert_eq!(fits, said.map(|_| true), "{start:?}: {found:?}");
        }
    }

    #[test]
    fn java_has_a_shell_for_what_says_nothing_and_kclpipe_has_none() {
        let found = |name, starter| wrong(b"echo\n", name, starter).is_some();
        assert!(found("program", Starter::Java) && !found("program.sh", Starter::Java));
        assert!(found("program.sh", Starter::Kclpipe));
        assert!(wrong(b"", "empty", Starter::Kclpipe).is_some());
    }
}
