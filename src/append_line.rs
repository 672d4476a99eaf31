//! Appending lines to a file in which a line may be torn: a machine went down, or a disk was full, while it was
//! written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What must stand before the next line, so that it is not part of a torn one.
///
/// # Errors
/// The length of the file cannot be known.
pub(crate) fn before_line(file: &File) -> io::Result<&'static [u8]> {
    let (length, mut last) = (file.metadata()?.len(), [b'\n']);
    // A file that may only be written is taken for whole: a torn line is no reason to lose another.
    let is_torn = length > 0 && file.read_exact_at(&mut last, length - 1).is_ok() && last != *b"\n";
    Ok(if is_torn { b"\n" } else { b"" })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn only_a_torn_line_is_ended() {
        for (text, expected) in [("", ""), ("whole\n", ""), ("to", "\n"), ("one\nto", "\n")] {
            let mut file = tempfile::tempfile().expect("a file");
            file.write_all(text.as_bytes()).expect("written");
            let before = before_line(&file).expect("it has a length");
            assert_eq!(before, expected.as_bytes(), "after {text:?}");
        }
    }
}
