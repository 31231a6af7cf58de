//! The container: a zip archive of stored records, as `torch.save` writes it.
//!
//! ```text
//! (local header, name, padding | data | descriptor)* | central directory: (header, name, extra)* | end
//! NAME/data.pkl   NAME/byteorder   NAME/version   NAME/data/0   NAME/data/1   …
//! ```
//!
//! The central directory says where records are; a record's local header is read only for its length, which the padding
//! to a multiple of 64 bytes makes another than the central one's. Above 4 GiB, or 65,535 records, the numbers stand in the
//! zip64 extensions. Checksums are compared for the small records that are interpreted, not for elements of
//! tensors: that would read the whole file from disk before its first use.

use super::fault::TorchFault;
use crate::hub::nearest::quoted;
use std::collections::HashMap;
use std::ops::Range;

const LOCAL: &[u8] = b"PK\x03\x04";
const LOCAL_BYTES: usize = 30;
const CENTRAL: &[u8] = b"PK\x01\x02";
const CENTRAL_BYTES: usize = 46;
const END: &[u8] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const LONGEST_COMMENT: usize = u16::MAX as usize;
const END64: &[u8] = b"PK\x06\x06";
const LOCATOR64: &[u8] = b"PK\x06\x07";
const LOCATOR64_BYTES: usize = 20;
/// The id of the extra field with the numbers that do not fit into 32 bits.
const EXTRA64: u16 = 1;
const ENCRYPTED: u16 = 1;
const STORED: u16 = 0;
/// A sharded checkpoint of the largest models has a few thousand storages a file.
const MOST_RECORDS: usize = 1 << 18;

/// An archive of which the central directory was read and checked.
#[derive(Debug)]
pub(super) struct Zip<'a> {
    file: &'a [u8],
    /// What every record's name begins with, up to the first slash.
    root: &'a str,
    records: HashMap<&'a str, Record>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    /// Where the local header is.
    local: usize,
    bytes: usize,
    crc: u32,
}

impl<'a> Zip<'a> {
    /// Reads the central directory of an archive with these bytes.
    pub fn open(file: &'a [u8]) -> Result<Self, TorchFault> {
        let (entries, mut rest) = central_directory(file)?;
        if entries > MOST_RECORDS as u64 {
            return Err(TorchFault::TooMany { what: "records", most: MOST_RECORDS });
        }
        let mut zip = Self { file, root: "", records: HashMap::new() };
        for _ in 0..entries {
            let (name, record, after) = central_record(rest)?;
            if zip.records.is_empty() {
                zip.root = name.split('/').next().unwrap_or(name);
            }
            if zip.records.insert(name, record).is_some() {
                return Err(TorchFault::Duplicate { name: format!("record {}", quoted(name)) });
            }
            rest = after;
        }
        Ok(zip)
    }

    /// Which bytes of the file are the record's data, if there is such a record; `name` is without the root.
    pub fn find(&self, name: &str) -> Result<Option<Range<usize>>, TorchFault> {
        self.lookup(name).map(|(path, record)| self.locate(path, record)).transpose()
    }

    /// The record's data, compared with its checksum.
    pub fn read(&self, name: &str) -> Result<Option<&'a [u8]>, TorchFault> {
        let Some((path, record)) = self.lookup(name) else {
            return Ok(None);
        };
        let data = &self.file[self.locate(path, record)?];
        if crc32fast::hash(data) != record.crc {
            return Err(TorchFault::Checksum { record: quoted(path) });
        }
        Ok(Some(data))
    }

    fn lookup(&self, name: &str) -> Option<(&'a str, Record)> {
        let path = format!("{}/{name}", self.root);
        self.records.get_key_value(path.as_str()).map(|(path, record)| (*path, *record))
    }

    fn locate(&self, path: &str, record: Record) -> Result<Range<usize>, TorchFault> {
        let outside = || damaged(format!("record {} does not lie in the file", quoted(path)));
        let header = self.file.get(record.local..).ok_or_else(outside)?;
        let name_bytes = usize::from(u16_at(header, 26)?);
        let extra_bytes = usize::from(u16_at(header, 28)?);
        let name = header.get(LOCAL_BYTES..LOCAL_BYTES + name_bytes);
        if !header.starts_with(LOCAL) || name != Some(path.as_bytes()) {
            return Err(damaged(format!("record {} does not begin where the directory says", quoted(path))));
        }
        let begin = record.local + LOCAL_BYTES + name_bytes + extra_bytes;
        let end = begin.checked_add(record.bytes).filter(|&end| end <= self.file.len()).ok_or_else(outside)?;
        Ok(begin..end)
    }
}

/// The number of entries and the bytes of the central directory.
fn central_directory(file: &[u8]) -> Result<(u64, &[u8]), TorchFault> {
    let end = end_record(file).ok_or(TorchFault::NotAnArchive)?;
    let (entries, bytes, begin) = match zip64_end(file, end)? {
        Some(numbers) => numbers,
        None => (u16_at(file, end + 10)?.into(), u32_at(file, end + 12)?.into(), u32_at(file, end + 16)?.into()),
    };
    let past = begin.checked_add(bytes).filter(|&past| past <= end as u64);
    match past {
        // Both are below the length of the file.
        Some(past) => Ok((entries, &file[begin as usize..past as usize])),
        None => Err(damaged(format!("{bytes} bytes of directory at byte {begin} do not lie before its end"))),
    }
}

/// Where the archive's last record begins: before a comment that ends with the file.
fn end_record(file: &[u8]) -> Option<usize> {
    let last = file.len().checked_sub(END_BYTES)?;
    let is_end = |&at: &usize| {
        file[at..].starts_with(END) && u16_at(file, at + 20).is_ok_and(|comment| usize::from(comment) == last - at)
    };
    (last.saturating_sub(LONGEST_COMMENT)..=last).rev().find(is_end)
}

/// Entries, bytes and first byte of the central directory by the zip64 record that the locator before the end points to.
fn zip64_end(file: &[u8], end: usize) -> Result<Option<(u64, u64, u64)>, TorchFault> {
    let Some(locator) = end.checked_sub(LOCATOR64_BYTES).map(|at| &file[at..]).filter(|at| at.starts_with(LOCATOR64))
    else {
        return Ok(None);
    };
    let record = usize::try_from(u64_at(locator, 8)?).ok().and_then(|at| file.get(at..));
    match record.filter(|record| record.starts_with(END64)) {
        Some(record) => Ok(Some((u64_at(record, 32)?, u64_at(record, 40)?, u64_at(record, 48)?))),
        None => Err(damaged("its zip64 record is not where it should be".into())),
    }
}

/// The first record of the rest of a central directory, and what follows it.
fn central_record(directory: &[u8]) -> Result<(&str, Record, &[u8]), TorchFault> {
    let short = || damaged("its directory is shorter than its entries".into());
    if !directory.starts_with(CENTRAL) {
        return Err(short());
    }
    let (flags, method) = (u16_at(directory, 8)?, u16_at(directory, 10)?);
    let name_end = CENTRAL_BYTES + usize::from(u16_at(directory, 28)?);
    let extra_end = name_end + usize::from(u16_at(directory, 30)?);
    let end = extra_end + usize::from(u16_at(directory, 32)?);
    let name = directory.get(CENTRAL_BYTES..name_end).ok_or_else(short)?;
    let extra = directory.get(name_end..extra_end).ok_or_else(short)?;
    let rest = directory.get(end..).ok_or_else(short)?;
    let Ok(name) = std::str::from_utf8(name) else {
        return Err(damaged(format!("a record's name {} is not UTF-8", quoted(&String::from_utf8_lossy(name)))));
    };
    if method != STORED || flags & ENCRYPTED != 0 {
        return Err(TorchFault::NotStored { record: quoted(name) });
    }
    let short_numbers = [u32_at(directory, 24)?, u32_at(directory, 20)?, u32_at(directory, 42)?];
    let Some([bytes, stored, local]) = widen(short_numbers, extra) else {
        return Err(damaged(format!("record {} has no usable zip64 numbers", quoted(name))));
    };
    if bytes != stored {
        return Err(damaged(format!("record {} has {bytes} bytes, stored as {stored}", quoted(name))));
    }
    Ok((name, Record { local, bytes, crc: u32_at(directory, 16)? }, rest))
}

/// Each number, or where it is all ones the next of the zip64 extra field.
fn widen(numbers: [u32; 3], extra: &[u8]) -> Option<[usize; 3]> {
    let mut wide = &[][..];
    let mut rest = extra;
    while let (Ok(id), Ok(bytes)) = (u16_at(rest, 0), u16_at(rest, 2)) {
        let field = rest.get(4..4 + usize::from(bytes))?;
        if id == EXTRA64 {
            wide = field;
            break;
        }
        rest = &rest[4 + field.len()..];
    }
    let mut widened = [0; 3];
    for (widened, number) in widened.iter_mut().zip(numbers) {
        *widened = if number == u32::MAX {
            let (next, after) = wide.split_first_chunk()?;
            wide = after;
            usize::try_from(u64::from_le_bytes(*next)).ok()?
        } else {
            number.try_into().ok()?
        };
    }
    Some(widened)
}

fn damaged(detail: String) -> TorchFault {
    TorchFault::Archive { detail }
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, TorchFault> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, TorchFault> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, TorchFault> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], TorchFault> {
    let found = bytes.get(at..).and_then(<[u8]>::first_chunk);
    found.copied().ok_or_else(|| damaged("a header is cut short".into()))
}
