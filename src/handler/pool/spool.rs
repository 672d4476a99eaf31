//! Files without a name in which batches wait on a disk.

use std::fs::File;
use std::io;
use std::path::Path;
use std::rc::Rc;

use crate::process;
use crate::record::Batch;

/// A file takes batches until it is this large. It is gone when all of them are.
const SEGMENT: u64 = 8 * 1024 * 1024;

/// The file that takes the next batch.
#[derive(Debug, Default)]
pub(super) struct Spool {
    file: Option<Rc<File>>,
}

impl Spool {
    /// Moves the payloads of a batch to the disk.
    ///
    /// # Errors
    /// A file cannot be made in the directory or not be written; the payloads are still in memory.
    pub(super) fn keep(&mut self, directory: &Path, batch: &mut Batch) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => Rc::new(process::nameless_in(directory)?),
        };
        batch.move_to(&file)?;
        if file.metadata()?.len() < SEGMENT {
            self.file = Some(file);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"action":"processRecords","records":[{"data":"aGk=","partitionKey":"k","sequenceNumber":"12"}]}"#;

    #[test]
    fn batches_share_a_file_that_has_no_name() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut spool = Spool::default();
        let mut batches = [Batch::of(LINE), Batch::of(LINE)];
        for batch in &mut batches {
            spool.keep(directory.path(), batch).expect("it is written");
        }
        let file = spool.file.as_ref().expect("it has room");
        assert_eq!(
            file.metadata().expect("a file").len(),
            2 * LINE.len() as u64
        );
        let mut names = directory.path().read_dir().expect("a directory");
        assert!(names.next().is_none());
        let mut memory = String::new();
        for batch in &batches {
            let record = batch.record(0, &mut memory).expect("it is there");
            assert_eq!(record.data_base64, "aGk=");
        }
    }

    #[test]
    fn a_directory_that_is_missing_leaves_the_batch_in_memory() {
        let mut batch = Batch::of(LINE);
        let missing = Path::new("/nonexistent");
        assert!(Spool::default().keep(missing, &mut batch).is_err());
        let mut memory = String::new();
        assert!(batch.record(0, &mut memory).is_ok() && memory.is_empty());
    }
}
