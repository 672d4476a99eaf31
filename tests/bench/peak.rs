//! The most memory that a process holds over a time, files in memory included.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Result, anyhow};

use crate::measure::memory;

/// The time between two looks: a batch of many megabytes is not made in less.
const LOOK: Duration = Duration::from_micros(500);

/// The unit of a file's blocks, whatever the file system's own is.
const BLOCK: u64 = 512;

/// A process that is looked at again and again.
pub(crate) struct Peak {
    over: Arc<AtomicBool>,
    looks: JoinHandle<u64>,
}

impl Peak {
    /// Looks at it from now on.
    pub(crate) fn watch(pid: u32) -> Peak {
        let over = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&over);
        let looks = thread::spawn(move || {
            let mut most = 0;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(held(pid).unwrap_or(0));
                thread::sleep(LOOK);
            }
            most
        });
        Peak { over, looks }
    }

    /// The most that was seen, in bytes.
    pub(crate) fn most(self) -> Result<u64> {
        self.over.store(true, Ordering::Relaxed);
        self.looks.join().map_err(|_| anyhow!("the looks failed"))
    }
}

/// What it has in memory now. Files in memory that it only writes to are not part of what is resident.
fn held(pid: u32) -> Result<u64> {
    Ok(memory(pid, "VmRSS")? + files_in_memory(pid)?)
}

/// The sizes of the open files that have no place on a disk, each counted once.
fn files_in_memory(pid: u32) -> Result<u64> {
    let mut sizes = HashMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let path = entry?.path();
        let is_in_memory =
            fs::read_link(&path).is_ok_and(|to| to.to_string_lossy().starts_with("/memfd:"));
        if let (true, Ok(file)) = (is_in_memory, fs::metadata(&path)) {
            sizes.insert(file.ino(), file.blocks() * BLOCK);
        }
    }
    Ok(sizes.values().sum())
}
