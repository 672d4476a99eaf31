//! Signals, as something that a poll can wait for.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::ioctl_fionbio;
use signal_hook::SigId;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};

/// From now on a file that may not grow (`ulimit -f`) is an error of the write, and not our end. The signal is
/// caught, not ignored: what is ignored the handlers would inherit.
///
/// # Errors
/// The system has no such signal.
pub(crate) fn outlive_file_limits() -> io::Result<()> {
    signal_hook::flag::register(SIGXFSZ, Arc::default()).map(|_| ())
}

/// A pipe that becomes readable at SIGCHLD and at requests to stop, and which requests came.
#[derive(Debug)]
pub(super) struct Signals {
    pipe: PipeReader,
    stops: Vec<(i32, Arc<AtomicBool>)>,
    registered: Vec<SigId>,
}

impl Signals {
    /// Catches SIGCHLD, and with `stops` the signals by which an operator ends a program.
    pub(super) fn new(stops: bool) -> io::Result<Signals> {
        let (pipe, writer) = io::pipe()?;
        ioctl_fionbio(&pipe, true)?;
        let mut signals = Signals {
            pipe,
            stops: Vec::new(),
            registered: Vec::new(),
        };
        for signal in [SIGTERM, SIGINT, SIGHUP].into_iter().filter(|_| stops) {
            // The flag before the pipe: who is woken must find it set.
            let flag = Arc::new(AtomicBool::new(false));
            signals
                .registered
                .push(signal_hook::flag::register(signal, Arc::clone(&flag))?);
            signals
                .registered
                .push(signal_hook::low_level::pipe::register(
                    signal,
                    writer.try_clone()?,
                )?);
            signals.stops.push((signal, flag));
        }
        signals
            .registered
            .push(signal_hook::low_level::pipe::register(SIGCHLD, writer)?);
        Ok(signals)
    }

    /// Empties the pipe; the requests to stop since the last call.
    pub(super) fn take(&mut self) -> Vec<i32> {
        let mut bytes = [0; 64];
        while matches!(self.pipe.read(&mut bytes), Ok(n) if n == bytes.len()) {}
        let asked = self
            .stops
            .iter()
            .filter(|(_, flag)| flag.swap(false, Ordering::SeqCst));
        asked.map(|(signal, _)| *signal).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            signal_hook::low_level::unregister(id);
        }
    }
}
