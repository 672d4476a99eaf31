//! A file that is replaced whole: whoever looks sees the old text or the new one, and never a part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// What is added to the name while a file is written.
pub(super) const PART: &str = ".part";

/// The new file, before it has its name. It is removed if it does not get that.
#[derive(Debug)]
pub(super) struct Replacement {
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl Replacement {
    /// A file that is to stand at `path`. Others may write into the directory: what they put in the place of
    /// ours, a link or a pipe, is removed and neither followed nor waited for.
    ///
    /// # Errors
    /// The system refuses to make it.
    pub(super) fn new(path: &Path) -> io::Result<Replacement> {
        let mut part = path.as_os_str().to_owned();
        part.push(PART);
        let part = PathBuf::from(part);
        let _ = fs::remove_file(&part);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&part)?;
        Ok(Replacement {
            path: path.to_path_buf(),
            part,
            file,
        })
    }

    /// The file itself.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Writes the text and puts the file in its place; returns it.
    ///
    /// # Errors
    /// The system refuses; what stood there before is still there.
    pub(super) fn put(mut self, text: &[u8]) -> io::Result<File> {
        let written = self.file.write_all(text);
        let put = written.and_then(|()| fs::rename(&self.part, &self.path));
        if put.is_err() {
            let _ = fs::remove_file(&self.part);
        }
        put.map(|()| self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reporting::tests::names;

    fn put(path: &Path, text: &str) -> io::Result<File> {
        Replacement::new(path)?.put(text.as_bytes())
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_file_whole() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.prom");
        put(&path, "one\n").expect("written");
        fs::create_dir(folder.path().join("a.prom.part")).expect("made");
        assert!(put(&path, "two\n").is_err());
        assert_eq!(fs::read(&path).expect("the file"), b"one\n");
    }

    /// As somebody may do who can write into the directory, too.
    #[test]
    fn no_link_is_followed_and_no_pipe_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, part) = (
            folder.path().join("a.prom"),
            folder.path().join("a.prom.part"),
        );
        let victim = folder.path().join("victim");
        fs::write(&victim, "precious").expect("written");
        std::os::unix::fs::symlink(&victim, &part).expect("linked");
        put(&path, "one\n").expect("written");
        assert_eq!(fs::read(&victim).expect("the file"), b"precious");
        assert!(path.symlink_metadata().expect("the file").is_file());
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{CWD, FileType, mknodat};
            mknodat(CWD, &part, FileType::Fifo, 0o600.into(), 0).expect("made");
            put(&path, "two\n").expect("written");
            assert_eq!(fs::read(&path).expect("the file"), b"two\n");
        }
        assert_eq!(names(folder.path()), ["a.prom", "victim"]);
    }
}
