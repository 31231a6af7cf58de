//! The header of a safetensors file, checked before anything relies on it.
//!
//! ```text
//! 8 bytes: header length n, little-endian | n bytes: JSON {name: {dtype, shape, data_offsets}} | data
//! ```
//!
//! Element types and entries are the `safetensors` crate's. The arithmetic is done here: the crate adds the end
//! of the data to the length of the header unchecked, and its errors do not name the tensor at fault.

use crate::hub::error::Fault;
use crate::hub::nearest::quoted;
use safetensors::Dtype;
use safetensors::tensor::TensorInfo;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::ops::Range;

/// The limit of the reference implementation.
const LONGEST_HEADER: usize = 100_000_000;
const LENGTH_BYTES: usize = 8;

/// One tensor of a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// Bytes of the file.
    pub range: Range<usize>,
}

/// A checked header: entries lie in the file, in order, without holes or overlaps.
#[derive(Debug)]
pub(super) struct Header {
    pub entries: Vec<Entry>,
    pub metadata: BTreeMap<String, String>,
}

/// Parses and checks the header of a file with these bytes. Allocates in proportion to the header's real bytes.
pub(super) fn parse(file: &[u8]) -> Result<Header, Fault> {
    let (json, data_start) = split(file)?;
    let raw: RawHeader = serde_json::from_slice(json).map_err(|error| Fault::Header { detail: error.to_string() })?;
    let mut seen = HashSet::new();
    if let Some((name, _)) = raw.tensors.iter().find(|(name, _)| !seen.insert(name.as_str())) {
        return Err(Fault::Duplicate { name: quoted(name) });
    }
    let mut tensors = raw.tensors;
    tensors.sort_by_key(|(_, info)| info.data_offsets);
    check_layout(&tensors, file.len() - data_start)?;
    let entries = tensors
        .into_iter()
        .map(|(name, info)| {
            let (begin, end) = info.data_offsets;
            let range = data_start + begin..data_start + end;
            Entry { name, dtype: info.dtype, shape: info.shape, range }
        })
        .collect();
    Ok(Header { entries, metadata: raw.metadata })
}

/// The header's JSON and where the data begins.
fn split(file: &[u8]) -> Result<(&[u8], usize), Fault> {
    if file.is_empty() {
        return Err(Fault::Empty);
    }
    let Some((length, rest)) = file.split_first_chunk::<LENGTH_BYTES>() else {
        return Err(Fault::TooShort { bytes: file.len() });
    };
    let claimed = u64::from_le_bytes(*length);
    match usize::try_from(claimed) {
        Ok(n) if n <= LONGEST_HEADER && n <= rest.len() => Ok((&rest[..n], LENGTH_BYTES + n)),
        _ => Err(Fault::HeaderLength { claimed, available: rest.len() }),
    }
}

/// Checks sizes, order and bounds of tensors sorted by offset, in a data section of `available` bytes.
fn check_layout(tensors: &[(String, TensorInfo)], available: usize) -> Result<(), Fault> {
    let mut previous_end = 0;
    for (name, info) in tensors {
        let (begin, end) = info.data_offsets;
        let filled = end.checked_sub(begin);
        if filled.is_none() || filled != bytes_of(info) {
            let shape = format!("{:.200} {:?}", format!("{:?}", info.shape), info.dtype);
            return Err(Fault::Size { name: quoted(name), shape, begin, end });
        }
        if begin < previous_end {
            return Err(Fault::Overlap { name: quoted(name), begin, previous_end });
        }
        if begin > previous_end {
            return Err(Fault::Hole { name: quoted(name), begin, previous_end });
        }
        if end > available {
            return Err(Fault::Truncated { name: quoted(name), end, available });
        }
        previous_end = end;
    }
    match available - previous_end {
        0 => Ok(()),
        bytes => Err(Fault::Trailing { bytes }),
    }
}

/// Bytes that shape and element type need, or nothing where that overflows or does not end on a byte.
fn bytes_of(info: &TensorInfo) -> Option<usize> {
    let elements = info.shape.iter().try_fold(1usize, |product, &size| product.checked_mul(size))?;
    let bits = elements.checked_mul(info.dtype.bitsize())?;
    (bits % 8 == 0).then_some(bits / 8)
}

/// The JSON object as it stands, names in order and duplicates kept.
struct RawHeader {
    tensors: Vec<(String, TensorInfo)>,
    metadata: BTreeMap<String, String>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut header = RawHeader { tensors: Vec::new(), metadata: BTreeMap::new() };
        while let Some(name) = map.next_key::<String>()? {
            let named = |error| A::Error::custom(format_args!("entry {}: {error}", quoted(&name)));
            if name == "__metadata__" {
                header.metadata = map.next_value::<Option<_>>().map_err(named)?.unwrap_or_default();
            } else {
                let info = map.next_value().map_err(named)?;
                header.tensors.push((name, info));
            }
        }
        Ok(header)
    }
}
