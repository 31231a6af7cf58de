//! All of a file but the data of its tensors, checked before anything relies on it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::cursor::Cursor;
use super::element_type::ElementType;
use super::value::{Kind, Value};
use crate::hub::nearest::quoted;

/// What a file begins with.
pub(super) const MAGIC: &[u8; 4] = b"GGUF";
/// The versions that are read.
const VERSIONS: [u32; 2] = [2, 3];
/// The key that says to what the data of tensors is aligned, and what that is where no key says it.
const ALIGNMENT: (&str, u64) = ("general.alignment", 32);
/// The fewest bytes of a key with its value: the length of its name, the type, one byte.
const LEAST_KEY: usize = 13;
/// The fewest bytes that describe a tensor: the length of its name, the number of sizes, type and place.
const LEAST_TENSOR: usize = 24;
/// The most sizes that a tensor has.
const MOST_SIZES: u32 = 4;

/// One tensor of a file.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) kind: ElementType,
    /// Sizes, outermost first: in the file they are innermost first.
    pub(super) shape: Vec<usize>,
    /// Bytes of the file.
    pub(super) range: Range<usize>,
}

/// A checked header: every value can be read, and every tensor lies in the file.
#[derive(Debug)]
pub(super) struct Header {
    /// The type of each value and the byte where it begins.
    pub(super) keys: BTreeMap<String, (Kind, usize)>,
    pub(super) tensors: Vec<Entry>,
}

/// Parses and checks the header of a file with these bytes. Allocates in proportion to the header's real bytes.
pub(super) fn parse(file: &[u8]) -> Result<Header, String> {
    let mut cursor = Cursor::new(file, 0);
    check_version(&mut cursor)?;
    let tensors = cursor.u64("the number of tensors")?;
    let keys = cursor.u64("the number of keys")?;
    let keys = read_keys(&mut cursor, keys)?;
    let alignment = alignment(file, &keys)?;
    cursor.check_count(tensors, LEAST_TENSOR, "the list of tensors")?;
    let mut described = Vec::new();
    for number in 0..tensors {
        described.push(Described::read(&mut cursor, number)?);
    }
    let data = (cursor.at() as u64).next_multiple_of(alignment);
    let tensors = place(described, file.len() as u64, data, alignment)?;
    Ok(Header { keys, tensors })
}

fn check_version(cursor: &mut Cursor<'_>) -> Result<(), String> {
    let magic = cursor.array::<4>("the beginning")?;
    if &magic != MAGIC {
        return Err(format!("it begins with {magic:02x?}, expected \"GGUF\""));
    }
    let version = cursor.u32("the version")?;
    if VERSIONS.contains(&version) {
        return Ok(());
    }
    if VERSIONS.contains(&version.swap_bytes()) {
        return Err("its numbers are big-endian, expected little-endian".into());
    }
    Err(format!("it is of version {version}, expected 2 or 3"))
}

fn read_keys(cursor: &mut Cursor<'_>, count: u64) -> Result<BTreeMap<String, (Kind, usize)>, String> {
    cursor.check_count(count, LEAST_KEY, "the list of keys")?;
    let mut keys = BTreeMap::new();
    for number in 0..count {
        let name = cursor.text(&format!("the name of key {number}"))?;
        let what = format!("key {}", quoted(name));
        let kind = Kind::read(cursor, &what)?;
        let at = cursor.at();
        Value::read(kind, cursor, &what)?;
        if keys.insert(name.to_owned(), (kind, at)).is_some() {
            return Err(format!("{what} stands there twice"));
        }
    }
    Ok(keys)
}

fn alignment(file: &[u8], keys: &BTreeMap<String, (Kind, usize)>) -> Result<u64, String> {
    let (key, usual) = ALIGNMENT;
    let Some(&(kind, at)) = keys.get(key) else { return Ok(usual) };
    let value = Value::read(kind, &mut Cursor::new(file, at), key)?;
    let alignment = value.unsigned().filter(|number| number.is_power_of_two() && *number <= 1 << 20);
    alignment.ok_or_else(|| format!("key `{key}` is {}, expected a power of two of at most 1048576", value.shown()))
}

/// A tensor as the header describes it.
struct Described {
    name: String,
    kind: ElementType,
    shape: Vec<usize>,
    /// From the beginning of the data.
    offset: u64,
    bytes: u64,
}

impl Described {
    fn read(cursor: &mut Cursor<'_>, number: u64) -> Result<Self, String> {
        let name = cursor.text(&format!("the name of tensor {number}"))?;
        let what = format!("tensor {}", quoted(name));
        let sizes = cursor.u32(&what)?;
        if sizes > MOST_SIZES {
            return Err(format!("{what} has {sizes} sizes, expected at most {MOST_SIZES}"));
        }
        let mut shape = Vec::new();
        for _ in 0..sizes {
            let size = cursor.u64(&what)?;
            let size = usize::try_from(size).ok().filter(|size| *size > 0);
            shape.push(size.ok_or_else(|| format!("{what} has a size that is 0 or beyond this machine"))?);
        }
        let kind = ElementType::of(cursor.u32(&what)?).map_err(|found| format!("{what} is of type {found}"))?;
        let offset = cursor.u64(&what)?;
        let bytes = bytes_of(kind, &shape).map_err(|fault| format!("{what} of type {} {fault}", kind.name()))?;
        shape.reverse();
        Ok(Self { name: name.to_owned(), kind, shape, offset, bytes })
    }
}

/// The bytes of a tensor whose sizes are given innermost first.
fn bytes_of(kind: ElementType, sizes: &[usize]) -> Result<u64, String> {
    let (elements, bytes) = kind.block();
    let row = sizes.first().copied().unwrap_or(1);
    if !row.is_multiple_of(elements) {
        return Err(format!("has rows of {row} elements, expected a multiple of {elements}"));
    }
    let product = sizes.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
    let product = product.and_then(|product| (product / elements).checked_mul(bytes));
    product.map(|bytes| bytes as u64).ok_or_else(|| format!("has the sizes {sizes:?}, more than any file holds"))
}

/// Checks where the tensors lie in a file of `len` bytes whose data begins at byte `data`.
fn place(described: Vec<Described>, len: u64, data: u64, alignment: u64) -> Result<Vec<Entry>, String> {
    let mut names = HashSet::new();
    let mut tensors = Vec::new();
    for Described { name, kind, shape, offset, bytes } in described {
        let what = quoted(&name);
        if !names.insert(name.clone()) {
            return Err(format!("tensor {what} is listed twice"));
        }
        if !offset.is_multiple_of(alignment) {
            return Err(format!(
                "tensor {what} begins at byte {offset} of the data, expected a multiple of {alignment}"
            ));
        }
        let begin = data.checked_add(offset);
        let end = begin.and_then(|begin| begin.checked_add(bytes)).filter(|end| *end <= len);
        let (Some(begin), Some(end)) = (begin, end) else {
            let held = len.saturating_sub(data);
            return Err(format!(
                "tensor {what} takes {bytes} bytes from byte {offset} of the data on, but there are {held}: the file is \
                 cut short"
            ));
        };
        tensors.push(Entry { name, kind, shape, range: begin as usize..end as usize });
    }
    check_apart(&tensors)?;
    Ok(tensors)
}

/// Checks that no two tensors share bytes.
fn check_apart(tensors: &[Entry]) -> Result<(), String> {
    let mut ordered: Vec<&Entry> = tensors.iter().collect();
    ordered.sort_by_key(|entry| (entry.range.start, entry.range.end));
    match ordered.windows(2).find(|pair| pair[1].range.start < pair[0].range.end) {
        Some(pair) => Err(format!("tensors {} and {} share bytes", quoted(&pair[0].name), quoted(&pair[1].name))),
        None => Ok(()),
    }
}
