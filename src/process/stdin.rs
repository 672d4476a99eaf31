//! Our end of a child's stdin.

use std::fs::{File, FileTimes};
use std::io::{self, PipeReader, PipeWriter, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::Stdio;
use std::time::SystemTime;

use rustix::io::{ioctl_fionbio, ioctl_fionread};

use super::{Feed, Input};

/// The most that a pipe holds, unless it is made larger.
const PIPE: usize = 64 * 1024;

/// Our end of a child's stdin, and what is still to go in.
pub(super) struct Stdin {
    pipe: Option<PipeWriter>,
    outbox: Vec<u8>,
    sent: usize,
    close_when_sent: bool,
    /// Nothing more goes in.
    frozen: bool,
    /// It may end anywhere.
    torn: bool,
    rest: Rest,
}

/// Where to look for what the child did not read.
enum Rest {
    Unwatched,
    /// Our own copy of the child's end.
    Pipe(PipeReader),
    /// The file that it reads, with the place in it that we share, and the file's length.
    File(File, u64),
}

impl Stdin {
    /// The stdin for a child, and our end of it.
    pub(super) fn new(feed: Feed, input: Input, watched: bool) -> io::Result<(Stdio, Stdin)> {
        match feed {
            Feed::Whole => Stdin::whole(input, watched),
            Feed::Stream { large, torn } => {
                let (end, stdin) = Stdin::stream(input.into_buffer(), large, watched)?;
                Ok((end, Stdin { torn, ..stdin }))
            }
        }
    }

    /// An input that is all there before the child is: in the pipe if it fits, or it is a file. Were it written
    /// while the child reads, and we were killed, the child would take a part for the whole.
    fn whole(input: Input, watched: bool) -> io::Result<(Stdio, Stdin)> {
        if let Some(bytes) = input.in_memory().filter(|bytes| bytes.len() <= PIPE) {
            let (reader, mut writer) = io::pipe()?;
            ioctl_fionbio(&writer, true)?;
            // The system may have made the pipe smaller.
            if bytes.is_empty() || matches!(writer.write(bytes), Ok(n) if n == bytes.len()) {
                let rest = Rest::pipe(&reader, watched)?;
                return Ok((reader.into(), Stdin::closed(rest)));
            }
        }
        let (mut file, length) = input.into_file()?;
        file.rewind()?;
        seal(&file);
        // By this it can be told afterwards whether anybody has read it.
        let _ = file.set_times(FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH));
        let stdin = Stdio::from(file.try_clone()?);
        let rest = if watched {
            Rest::File(file, length)
        } else {
            Rest::Unwatched
        };
        Ok((stdin, Stdin::closed(rest)))
    }

    /// An input that begins with `outbox` and goes on; as much as the pipe takes is in it before the child is.
    fn stream(outbox: Vec<u8>, large: bool, watched: bool) -> io::Result<(Stdio, Stdin)> {
        let (reader, writer) = io::pipe()?;
        if large {
            super::enlarge(&writer);
        }
        ioctl_fionbio(&writer, true)?;
        let mut stdin = Stdin {
            pipe: Some(writer),
            outbox,
            ..Stdin::closed(Rest::pipe(&reader, watched)?)
        };
        stdin.write();
        Ok((reader.into(), stdin))
    }

    fn closed(rest: Rest) -> Stdin {
        Stdin {
            pipe: None,
            outbox: Vec::new(),
            sent: 0,
            close_when_sent: false,
            frozen: false,
            torn: false,
            rest,
        }
    }

    /// The pipe that is to be polled for room.
    pub(super) fn waits_for_room(&self) -> Option<BorrowedFd<'_>> {
        let pipe = self.pipe.as_ref().filter(|_| !self.is_fed());
        pipe.map(AsFd::as_fd)
    }

    /// Whether nothing waits for room in the pipe.
    pub(super) fn is_fed(&self) -> bool {
        self.pipe.is_none() || self.frozen || self.pending() == 0
    }

    /// Appends `bytes`, and writes what the pipe takes. `bytes` is empty then, and keeps memory to be filled
    /// again.
    pub(super) fn append(&mut self, bytes: &mut Vec<u8>) {
        if self.outbox.is_empty() {
            std::mem::swap(&mut self.outbox, bytes);
        } else {
            self.outbox.append(bytes);
        }
        self.write();
        if self.outbox.is_empty() {
            std::mem::swap(&mut self.outbox, bytes);
        }
    }

    /// Writes as much as the pipe takes. A child that has closed its end gets no more; it is for its end to
    /// tell what that means.
    pub(super) fn write(&mut self) {
        if self.frozen {
            return;
        }
        while let Some(pipe) = self.pipe.as_mut().filter(|_| self.sent < self.outbox.len()) {
            match pipe.write(&self.outbox[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
        if self.pipe.is_some() && self.pending() == 0 {
            self.outbox.clear();
            super::give_back(&mut self.outbox);
            self.sent = 0;
            if self.close_when_sent {
                self.pipe = None;
            }
        }
    }

    /// Closes the pipe once everything is written.
    pub(super) fn close(&mut self) {
        self.close_when_sent = true;
        self.write();
    }

    /// Nothing more goes in. The pipe is closed only if everything is in it: who is to stop must not see the
    /// end of its input in the middle of a record.
    pub(super) fn freeze(&mut self) {
        if self.torn || self.pending() == 0 {
            self.pipe = None;
        }
        self.frozen = true;
    }

    /// How much the child did not read, as far as that is watched, and what never went into its pipe.
    pub(super) fn unread(&self) -> u64 {
        let left = match &self.rest {
            Rest::Unwatched => 0,
            Rest::Pipe(reader) => ioctl_fionread(reader).unwrap_or(0),
            Rest::File(file, length) => unread(file, *length).unwrap_or(0),
        };
        left + self.pending() as u64
    }

    fn pending(&self) -> usize {
        self.outbox.len() - self.sent
    }
}

impl Rest {
    fn pipe(reader: &PipeReader, watched: bool) -> io::Result<Rest> {
        Ok(if watched {
            Rest::Pipe(reader.try_clone()?)
        } else {
            Rest::Unwatched
        })
    }
}

/// What is left of a file behind the place that we share with the child. Who opens `/dev/stdin` has a place
/// of its own, which nobody can see; that it has read shows in the file's time.
fn unread(mut file: &File, length: u64) -> io::Result<u64> {
    let place = file.stream_position()?;
    let was_read = file.metadata()?.accessed()? != SystemTime::UNIX_EPOCH;
    Ok(match place {
        0 if was_read => 0,
        place => length.saturating_sub(place),
    })
}

/// Nobody can change the file any more.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables))]
fn seal(file: &File) {
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{SealFlags, fcntl_add_seals};
        let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
        let _ = fcntl_add_seals(file, all);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::*;

    /// A file of this length as a child's stdin, and a second descriptor for it, as the child's.
    fn filed(length: usize) -> (File, Stdin) {
        let (_, stdin) = Stdin::new(Feed::Whole, vec![b'x'; length].into(), true).expect("a file");
        let Rest::File(file, _) = &stdin.rest else {
            panic!("{length} bytes do not fit a pipe");
        };
        (file.try_clone().expect("a descriptor"), stdin)
    }

    #[test]
    fn what_is_unread_of_a_file_is_what_stands_behind_the_place_in_it() {
        let (mut file, stdin) = filed(PIPE + 5);
        assert_eq!(stdin.unread(), PIPE as u64 + 5);
        file.read_exact(&mut [0; 7]).expect("it is there");
        assert_eq!(stdin.unread(), PIPE as u64 - 2);
        file.read_to_end(&mut Vec::new()).expect("it is there");
        assert_eq!(stdin.unread(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_is_read_by_its_name_counts_as_read() {
        let (file, stdin) = filed(PIPE + 1);
        let name = format!("/proc/self/fd/{}", file.as_raw_fd());
        assert_eq!(std::fs::read(name).expect("it is there").len(), PIPE + 1);
        assert_eq!(stdin.unread(), 0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_cannot_write_into_its_input() {
        let (mut file, _) = filed(PIPE + 1);
        assert!(file.write_all(b"x").is_err() && file.set_len(0).is_err());
    }

    #[test]
    fn what_fits_is_in_the_pipe_and_the_pipe_is_at_its_end() {
        for length in [0, 1, PIPE] {
            let (_, stdin) = Stdin::new(Feed::Whole, vec![0; length].into(), true).expect("a pipe");
            assert!(matches!(stdin.rest, Rest::Pipe(_)), "{length}");
            assert!(stdin.pipe.is_none() && stdin.is_fed());
            assert_eq!(stdin.unread(), length as u64);
        }
    }

    /// The end of the input would make a record of the part that is in the pipe.
    #[test]
    fn a_pipe_that_has_a_part_stays_open_when_it_is_frozen() {
        for (length, torn, open) in [
            (5 * PIPE, false, true),
            (5 * PIPE, true, false),
            (5, false, false),
        ] {
            let stream = Feed::Stream { large: false, torn };
            let (_, mut stdin) = Stdin::new(stream, vec![0; length].into(), true).expect("a pipe");
            stdin.freeze();
            assert_eq!(stdin.pipe.is_some(), open, "{length} {torn}");
            assert!(stdin.is_fed(), "nothing waits for room any more");
            assert_eq!(stdin.unread(), length as u64);
        }
    }
}
