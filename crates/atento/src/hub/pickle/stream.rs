//! The format of PyTorch before 1.6: pickles one after the other, then the storages.
//!
//! ```text
//! magic number | protocol 1001 | {little_endian, …} | the state dict | [key, …] | (number of elements: i64 | elements)*
//! ```
//!
//! The last list says in which order the storages follow; what type the elements of each have, only the state dict says.
//! Nothing is executed, and every length is checked against the bytes that are there. Source: `_legacy_save` of
//! `torch/serialization.py`.

use super::fault::TorchFault;
use super::machine;
use super::opcode;
use super::state_dict::entries;
use super::tensor::{Entry, Found, StorageKey, element_bytes};
use super::value::{Pickled, Value};
use crate::hub::nearest::quoted;
use safetensors::Dtype;
use std::collections::HashMap;
use std::ops::Range;

/// `LONG1` with PyTorch's magic number, and the end of its pickle.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// The only version that there was.
const PROTOCOL: i64 = 1001;
const FRAME_BYTES: usize = 9;

/// Where the second pickle begins, if a file is of this format.
pub(super) fn after_magic(file: &[u8]) -> Option<usize> {
    let (&[opcode::PROTO, _], rest) = file.split_first_chunk()? else { return None };
    // Pickle protocol 4 and later say how much there is to read.
    let frame = if rest.first() == Some(&opcode::FRAME) { FRAME_BYTES } else { 0 };
    rest.get(frame..)?.starts_with(MAGIC).then_some(2 + frame + MAGIC.len())
}

/// The tensors of a file of this format, whose second pickle begins at `begin`.
pub(super) fn parse(file: &[u8], begin: usize) -> Result<Vec<Entry>, TorchFault> {
    let (protocol, begin) = machine::run_at(file, begin)?;
    if protocol.root != Value::Int(PROTOCOL) {
        return Err(damaged(format!("its second pickle is not the number {PROTOCOL}")));
    }
    let (system, begin) = machine::run_at(file, begin)?;
    check_byte_order(&system)?;
    let (pickled, begin) = machine::run_at(file, begin)?;
    let (keys, begin) = machine::run_at(file, begin)?;
    let places = places(file, begin, &keys, &pickled)?;
    entries(&pickled, &|key: StorageKey<'_>| {
        let range = places.get(key.0).cloned().ok_or_else(|| damaged(format!("there is no storage {}", quoted(key.0))));
        Ok(Found { range: range?, record: quoted(key.0) })
    })
}

fn check_byte_order(system: &Pickled<'_>) -> Result<(), TorchFault> {
    let Value::Dict(number) = system.root else {
        return Err(damaged("its third pickle is not a dictionary".into()));
    };
    let is_big =
        |(key, value): &(Value<'_>, Value<'_>)| (*key, *value) == (Value::Str("little_endian"), Value::Bool(false));
    match system.dicts[number].iter().any(is_big) {
        true => Err(TorchFault::ByteOrder { found: quoted("big") }),
        false => Ok(()),
    }
}

/// Which bytes of the file the elements of each storage are.
fn places<'a>(
    file: &[u8],
    begin: usize,
    keys: &Pickled<'a>,
    pickled: &Pickled<'_>,
) -> Result<HashMap<&'a str, Range<usize>>, TorchFault> {
    let Value::List(list) = keys.root else {
        return Err(damaged("its fifth pickle is not a list of storages".into()));
    };
    let types = element_types(pickled)?;
    let (mut places, mut at) = (HashMap::new(), begin);
    for key in &keys.lists[list] {
        let Value::Str(key) = *key else {
            return Err(damaged(format!("the key of a storage is {}, not a string", key.kind())));
        };
        let Some(dtype) = types.get(key) else {
            return Err(damaged(format!("nothing says what the elements of storage {} are", quoted(key))));
        };
        let short = || damaged(format!("it is cut short in storage {}", quoted(key)));
        let count = file.get(at..).and_then(<[u8]>::first_chunk).map(|count| i64::from_le_bytes(*count));
        let bytes =
            usize::try_from(count.ok_or_else(short)?).ok().and_then(|count| count.checked_mul(element_bytes(*dtype)));
        let first = at + size_of::<i64>();
        let end = bytes.and_then(|bytes| first.checked_add(bytes)).filter(|&end| end <= file.len());
        let range = first..end.ok_or_else(short)?;
        at = range.end;
        if places.insert(key, range).is_some() {
            return Err(TorchFault::Duplicate { name: format!("storage {}", quoted(key)) });
        }
    }
    Ok(places)
}

/// The type of the elements of each storage that the state dict refers to.
fn element_types<'a>(pickled: &Pickled<'a>) -> Result<HashMap<&'a str, Dtype>, TorchFault> {
    let mut types = HashMap::new();
    for &storage in &pickled.storages {
        let Some(described) = super::tensor::describe(pickled.items(storage)) else { continue };
        if types.insert(described.key, described.dtype).is_some_and(|before| before != described.dtype) {
            return Err(damaged(format!("storage {} has elements of two types", quoted(described.key))));
        }
    }
    Ok(types)
}

fn damaged(detail: String) -> TorchFault {
    TorchFault::Stream { detail }
}
