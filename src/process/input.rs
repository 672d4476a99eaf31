//! A child's input while it is made.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::random;

/// An input beyond this goes into a file while it grows: no more of it is in our memory.
const IN_MEMORY: usize = 256 * 1024;

/// What a child is to find on its stdin, in memory while it is small.
#[derive(Debug, Default)]
pub struct Input {
    /// What is not in the file.
    buffer: Vec<u8>,
    file: Option<File>,
    /// How much is in the file.
    filed: u64,
    /// The file could not be made or written, which is for the child's start to say.
    failed: Option<io::Error>,
    /// Where the file is made; `None` for memory.
    directory: Option<PathBuf>,
    /// The same file, for us to read.
    reader: Option<Rc<File>>,
}

impl Input {
    /// Where more is appended. It can be taken away again as long as [`Input::spill`] was not called.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// How many bytes there are.
    pub fn len(&self) -> u64 {
        self.filed + self.buffer.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Moves what is before `end` in the buffer into a file if it is large; how much that was.
    pub fn spill(&mut self, end: usize) -> usize {
        if end < IN_MEMORY {
            return 0;
        }
        self.spill_all(end)
    }

    /// The same, however little it is.
    pub fn spill_all(&mut self, end: usize) -> usize {
        if let Err(e) = self.file_away(end) {
            self.failed = Some(e);
        }
        self.filed += end as u64;
        self.buffer.drain(..end);
        if self.buffer.is_empty() {
            super::give_back(&mut self.buffer);
        }
        end
    }

    /// Nothing of it is needed.
    pub fn clear(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        super::give_back(&mut buffer);
        *self = Input {
            directory: self.directory.take(),
            ..Input::from(buffer)
        };
    }

    /// An input whose file is made in this directory, if it has one.
    pub fn in_directory(directory: Option<PathBuf>) -> Input {
        Input {
            directory,
            ..Input::default()
        }
    }

    /// How many bytes are in the file, and the file, to be read by place.
    pub fn filed(&mut self) -> Option<(u64, Rc<File>)> {
        let file = self.file.as_ref()?;
        if self.reader.is_none() {
            self.reader = Some(Rc::new(reader(file).ok()?));
        }
        Some((self.filed, Rc::clone(self.reader.as_ref()?)))
    }

    /// What is in memory, if that is all.
    pub(super) fn in_memory(&self) -> Option<&[u8]> {
        (self.file.is_none() && self.failed.is_none()).then_some(&self.buffer)
    }

    /// What is in memory, for a child that is fed bit by bit.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// All its bytes, for children that are no processes.
    ///
    /// # Errors
    /// The file that holds a part of them could not be made, written or read.
    pub fn into_bytes(self) -> io::Result<Vec<u8>> {
        if self.in_memory().is_some() {
            return Ok(self.buffer);
        }
        let (mut file, _) = self.into_file()?;
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// The whole of it as a file without a name, and its length.
    pub(super) fn into_file(mut self) -> io::Result<(File, u64)> {
        self.file_away(self.buffer.len())?;
        let length = self.len();
        match (self.failed, self.file) {
            (Some(e), _) => Err(e),
            (None, Some(file)) => Ok((file, length)),
            (None, None) => Ok((make(self.directory.as_deref())?, 0)),
        }
    }

    fn file_away(&mut self, end: usize) -> io::Result<()> {
        if self.failed.is_some() {
            return Ok(());
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => make(self.directory.as_deref())?,
        };
        file.write_all(&self.buffer[..end])?;
        self.file = Some(file);
        Ok(())
    }
}

impl From<Vec<u8>> for Input {
    fn from(buffer: Vec<u8>) -> Input {
        Input {
            buffer,
            ..Input::default()
        }
    }
}

fn make(directory: Option<&Path>) -> io::Result<File> {
    directory.map_or_else(nameless, nameless_in)
}

/// The same file, as nobody else has it open: a read of ours must not look like one of the child.
#[cfg(target_os = "linux")]
fn reader(file: &File) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let quietly = rustix::fs::OFlags::NOATIME.bits() as i32;
    let open = |flags| {
        OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(&path)
    };
    open(quietly).or_else(|_| open(0))
}

#[cfg(not(target_os = "linux"))]
fn reader(file: &File) -> io::Result<File> {
    file.try_clone()
}

/// A file in memory, which goes with whoever has it open last.
#[cfg(target_os = "linux")]
fn nameless() -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};

    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Older systems do not know the last flag, and newer ones may insist on it.
    for flags in [flags | MemfdFlags::NOEXEC_SEAL, flags] {
        if let Ok(file) = memfd_create("kclpipe-input", flags) {
            return Ok(File::from(file));
        }
    }
    unlinked()
}

#[cfg(not(target_os = "linux"))]
use unlinked as nameless;

fn unlinked() -> io::Result<File> {
    nameless_in(&std::env::temp_dir())
}

/// A file in this directory that has lost its name.
///
/// # Errors
/// It cannot be made there.
pub(crate) fn nameless_in(directory: &Path) -> io::Result<File> {
    let name = format!("kclpipe-{:016x}.input", random::number());
    let path = directory.join(name);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(mut file: File) -> Vec<u8> {
        let mut text = Vec::new();
        file.rewind().expect("a file");
        file.read_to_end(&mut text).expect("a file");
        text
    }

    #[test]
    fn what_is_large_goes_into_a_file_and_stays_whole() {
        let mut input = Input::default();
        let mut expected = Vec::new();
        for byte in 0..20 {
            let record = vec![byte; IN_MEMORY / 4];
            let end = input.buffer().len();
            input.spill(end);
            input.buffer().extend_from_slice(&record);
            expected.extend_from_slice(&record);
            assert_eq!(input.len(), expected.len() as u64);
            assert!(input.buffer().len() <= IN_MEMORY + record.len());
        }
        assert!(input.in_memory().is_none());
        let (file, length) = input.into_file().expect("a file");
        assert_eq!(length, expected.len() as u64);
        assert_eq!(text(file), expected);
    }

    #[test]
    fn its_bytes_are_all_of_it_in_memory_and_in_a_file() {
        for length in [5, IN_MEMORY + 5] {
            let mut input = Input::default();
            input.buffer().resize(length, b'x');
            input.spill(length);
            input.buffer().extend_from_slice(b"end");
            let bytes = input.into_bytes().expect("a file");
            assert!(bytes.len() == length + 3 && bytes.ends_with(b"xend"));
        }
    }

    #[test]
    fn a_file_on_a_disk_has_no_name() {
        let mut file = unlinked().expect("a file");
        file.write_all(b"text").expect("written");
        #[cfg(target_os = "linux")]
        {
            use std::os::unix::fs::MetadataExt;
            assert_eq!(file.metadata().expect("a file").nlink(), 0);
        }
        assert_eq!(text(file), b"text");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_told_at_the_end() {
        let mut input = Input {
            failed: Some(io::Error::other("no room")),
            ..Input::default()
        };
        input.buffer().resize(IN_MEMORY, 0);
        assert_eq!(input.spill(IN_MEMORY), IN_MEMORY);
        assert!(input.in_memory().is_none());
        assert_eq!(
            input.into_file().expect_err("no room").to_string(),
            "no room"
        );
    }
}
