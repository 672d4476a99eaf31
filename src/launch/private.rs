//! Files that only the daemon is to read.

use std::env;
use std::fs::{File, OpenOptions, remove_file};
use std::io::{Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use anyhow::{Context, Result};
use rustix::io::{FdFlags, fcntl_setfd};

use crate::random;

/// A file for the program that we become. Nobody is left then to remove it, so it has no name any more, and
/// is read by way of its descriptor.
#[derive(Debug)]
pub(super) struct Private {
    /// What the program reads it by.
    pub(super) path: PathBuf,
    _file: Option<File>,
}

impl Private {
    /// A file with this text. With `keep` it has a name, and stays.
    ///
    /// # Errors
    /// There is no place for it.
    pub(super) fn new(text: &str, ending: &str, keep: bool) -> Result<Private> {
        // The process number would not do: in a container it is always 1.
        let random = random::number();
        let path = folder().join(format!("kclpipe-{random:016x}{ending}"));
        let write = || -> std::io::Result<File> {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true).mode(0o600);
            let mut file = options.open(&path)?;
            file.write_all(text.as_bytes())?;
            file.rewind()?;
            Ok(file)
        };
        let file = write().with_context(|| format!("cannot write '{}'", path.display()))?;
        if keep {
            return Ok(Private { path, _file: None });
        }
        remove_file(&path).with_context(|| format!("cannot remove '{}'", path.display()))?;
        fcntl_setfd(&file, FdFlags::empty()).context("cannot pass a file on")?;
        Ok(Private {
            path: format!("/dev/fd/{}", file.as_raw_fd()).into(),
            _file: Some(file),
        })
    }
}

/// The user's runtime directory if there is one, else that for temporary files. A variable that is empty or
/// relative counts as unset, as the XDG base directory specification says.
fn folder() -> PathBuf {
    let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    runtime
        .filter(|folder| folder.is_absolute() && folder.is_dir())
        .unwrap_or_else(env::temp_dir)
}
