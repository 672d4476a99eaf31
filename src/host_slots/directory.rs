//! Where the slots of an application are: a directory that belongs to the user alone.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::process::getuid;

use crate::clean::file_name;

/// The directory of the application of this name, for an environment: below the user's runtime directory if there
/// is one, else in one of the user's below that for temporary files. A variable that is empty or relative counts
/// as unset, as the XDG base directory specification says.
pub(crate) fn directory(name: &str, environment: &[(OsString, OsString)]) -> PathBuf {
    let set = |name: &str| {
        let found = environment.iter().find(|(of, _)| of == OsStr::new(name));
        let path = found.map(|(_, value)| PathBuf::from(value));
        path.filter(|path| path.is_absolute())
    };
    let ours = match set("XDG_RUNTIME_DIR").filter(|path| path.is_dir()) {
        Some(runtime) => runtime.join("kclpipe"),
        None => {
            let temporary = set("TMPDIR").unwrap_or_else(|| "/tmp".into());
            temporary.join(format!("kclpipe-{}", getuid().as_raw()))
        }
    };
    ours.join(file_name(name))
}

/// Makes the directory and the one that it is in, where they are not there; and opens it.
///
/// # Errors
/// They cannot be made, or belong to somebody else.
pub(super) fn make(directory: &Path) -> Result<File> {
    for path in directory.parent().into_iter().chain([directory]) {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(e).with_context(|| format!("cannot make '{}'", path.display()));
            }
            _ => must_be_ours(path)?,
        }
    }
    File::open(directory).with_context(|| format!("cannot open '{}'", directory.display()))
}

/// In a directory for all, somebody else may have made one of this name, or a link.
fn must_be_ours(path: &Path) -> Result<()> {
    let shown = path.display();
    let about = fs::symlink_metadata(path).with_context(|| format!("cannot look at '{shown}'"))?;
    if !about.is_dir() {
        bail!("'{shown}' is not a directory");
    }
    if about.uid() != getuid().as_raw() {
        bail!("'{shown}' belongs to another user");
    }
    if about.mode() & 0o022 != 0 {
        bail!("others may write to '{shown}': its mode must be 0700");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn the_runtime_directory_is_used_if_there_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |variables: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| ((*name).into(), (*value).into());
            directory("a/b", &variables.iter().map(pair).collect::<Vec<_>>())
        };
        let runtime = folder.path().to_str().expect("text");
        let in_runtime = folder.path().join("kclpipe/a_b");
        assert_eq!(of(&[("XDG_RUNTIME_DIR", runtime)]), in_runtime);
        let ours = format!("kclpipe-{}/a_b", getuid().as_raw());
        for variables in [
            [("XDG_RUNTIME_DIR", ""), ("TMPDIR", "/x")],
            [("XDG_RUNTIME_DIR", "/not/there"), ("TMPDIR", "/x")],
        ] {
            assert_eq!(of(&variables), Path::new("/x").join(&ours));
        }
        assert_eq!(of(&[("TMPDIR", "x")]), Path::new("/tmp").join(&ours));
    }

    #[test]
    fn the_directories_are_the_users_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kclpipe-1/app");
        make(&path).expect("made");
        make(&path).expect("there");
        for made in [&path, &folder.path().join("kclpipe-1")] {
            let mode = fs::metadata(made).expect("there").mode();
            assert_eq!(mode & 0o777, 0o700, "{}", made.display());
        }
    }

    #[test]
    fn what_others_may_have_made_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("real")).expect("made");
        symlink(at("real"), at("link")).expect("made");
        fs::write(at("file"), "").expect("written");
        fs::create_dir(at("open")).expect("made");
        fs::set_permissions(at("open"), fs::Permissions::from_mode(0o777)).expect("set");
        for (name, why) in [
            ("link", "is not a directory"),
            ("file", "is not a directory"),
            ("open", "others may write"),
            ("not/there", "cannot make"),
        ] {
            let error = make(&at(name).join("app")).expect_err(name);
            assert!(format!("{error:#}").contains(why), "{error:#}");
        }
    }
}
