//! Git LFS pointers: what a clone without Git LFS has in place of a large file.
//!
//! ```text
//! version https://git-lfs.github.com/spec/v1
//! oid sha256:…
//! size 548105171
//! ```

use std::fs;
use std::io;
use std::path::Path;

/// What every pointer begins with.
const BEGINNING: &[u8] = b"version https://git-lfs.github.com/spec/";

/// Refuses a file that begins with these bytes, if they are a pointer's.
///
/// # Errors
/// The message says what the file is and how to get the real one; the caller names the file.
pub fn refuse_pointer(beginning: &[u8]) -> io::Result<()> {
    if !beginning.starts_with(BEGINNING) {
        return Ok(());
    }
    let message = "this is a Git LFS pointer, not the file itself: \
                   run `git lfs pull` in the repository that it comes from, or download the file again";
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// The bytes of a file that is no pointer.
///
/// # Errors
/// The file cannot be read, or is a pointer.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = fs::read(path)?;
    refuse_pointer(&bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_told_from_a_text_about_pointers() {
        let refused = refuse_pointer(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n");
        assert!(refused.unwrap_err().to_string().contains("Git LFS pointer"));
        refuse_pointer(b"The first line is `version https://git-lfs.github.com/spec/v1`.").unwrap();
        refuse_pointer(b"").unwrap();
    }
}
