//! A file mapped into memory, read-only: the one place outside the kernels that needs `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::AnyBitPattern;

/// The bytes of a file, read from disk as they are touched and shared between processes.
///
/// Cutting a mapped file short makes touching the lost pages end the process (`SIGBUS`), and writing into it
/// changes the bytes seen here. Replace a checkpoint's file by renaming a new one over it, as
/// [`super::atomic`] does: the old bytes then live until the last mapping of them is gone.
#[derive(Debug)]
pub(crate) struct Mmap(memmap2::Mmap);

impl Mmap {
    /// Maps the whole of an open, regular, non-empty file.
    pub(crate) fn map(file: &File) -> io::Result<Self> {
        // SAFETY: the mapping is private to this type and read-only. What remains is the caller's environment
        // changing the file underneath; every offset was checked against the mapping's own length, numbers are
        // read byte by byte and any bytes are valid numbers, so a change can spoil values but not memory.
        // Truncation by another process ends the process, as documented above.
        unsafe { memmap2::Mmap::map(file) }.map(Mmap)
    }
}

/// Numbers read where they lie in a mapped file.
pub(crate) struct Mapped<T> {
    map: Arc<Mmap>,
    range: Range<usize>,
    numbers: PhantomData<T>,
}

impl<T: AnyBitPattern> Mapped<T> {
    /// The numbers in these bytes of the file; `None` where they do not lie as the machine has them in memory.
    pub(crate) fn new(map: Arc<Mmap>, range: Range<usize>) -> Option<Self> {
        let is_ours = cfg!(target_endian = "little") && bytemuck::try_cast_slice::<u8, T>(&map[range.clone()]).is_ok();
        is_ours.then_some(Self { map, range, numbers: PhantomData })
    }
}

impl<T: AnyBitPattern> AsRef<[T]> for Mapped<T> {
    fn as_ref(&self) -> &[T] {
        bytemuck::cast_slice(&self.map[self.range.clone()])
    }
}

impl Deref for Mmap {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
