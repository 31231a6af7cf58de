//! What tells the contents of a model's directory from any other, in a few digits.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Error, ModelDir};

/// Endings of the names of files that a model is read from.
const READ: [&str; 5] = ["json", "txt", "safetensors", "bin", "gguf"];

/// Names, sizes and contents of a model's files.
///
/// # Errors
/// There is no model, or a file cannot be read.
pub fn contents(path: &Path) -> Result<String, Error> {
    of_files_in(ModelDir::open(path)?.path())
}

/// The same of a directory that has been found.
pub(crate) fn of_files_in(root: &Path) -> Result<String, Error> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root).map_err(Error::io(root, "list"))? {
        let file = entry.map_err(Error::io(root, "list"))?.path();
        if file.extension().is_some_and(|ending| READ.iter().any(|read| ending == *read)) && file.is_file() {
            files.push(file);
        }
    }
    checksum(files)
}

/// Names, sizes and contents of files.
///
/// # Errors
/// One cannot be read.
pub fn checksum(mut files: Vec<PathBuf>) -> Result<String, Error> {
    files.sort();
    let mut crc = crc32fast::Hasher::new();
    for file in files {
        crc.update(file.file_name().unwrap_or_default().as_encoded_bytes());
        let bytes = add(&mut crc, &file).map_err(Error::io(&file, "read"))?;
        crc.update(&bytes.to_le_bytes());
    }
    Ok(format!("{:08x}", crc.finalize()))
}

fn add(crc: &mut crc32fast::Hasher, path: &Path) -> io::Result<u64> {
    let (mut file, mut chunk, mut bytes) = (File::open(path)?, vec![0; 1 << 18], 0);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(bytes),
            read => {
                crc.update(&chunk[..read]);
                bytes += read as u64;
            }
        }
    }
}
