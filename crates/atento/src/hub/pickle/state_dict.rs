//! A file of PyTorch's as a list of tensors: its container, the pickle in it, the dictionary of the pickle.

use super::fault::TorchFault;
use super::machine;
use super::stream;
use super::tensor::{Entry, Find, Found, StorageKey, entry};
use super::value::{Items, Pickled, Value};
use super::zip::Zip;
use crate::hub::nearest::quoted;
use std::collections::HashSet;

/// Names under which training programs put a model's state beside other things.
const WRAPPERS: [&str; 2] = ["state_dict", "model"];
const PICKLE: &str = "data.pkl";
const BYTE_ORDER: &str = "byteorder";

/// The tensors of a file with these bytes, in the order of its dictionary.
pub(super) fn parse(file: &[u8]) -> Result<Vec<Entry>, TorchFault> {
    if let Some(begin) = stream::after_magic(file) {
        return stream::parse(file, begin);
    }
    let zip = Zip::open(file)?;
    // Files from before PyTorch 2.1 do not say; nearly all are from little-endian machines.
    if let Some(order) = zip.read(BYTE_ORDER)?.filter(|order| order != b"little") {
        return Err(TorchFault::ByteOrder { found: quoted(&String::from_utf8_lossy(order)) });
    }
    let pickle = zip.read(PICKLE)?.ok_or_else(|| TorchFault::NoRecord { record: PICKLE.into() })?;
    let pickled = machine::run(pickle)?;
    entries(&pickled, &|StorageKey(key)| {
        let path = format!("data/{key}");
        let record = quoted(&path);
        match zip.find(&path)? {
            Some(range) => Ok(Found { range, record }),
            None => Err(TorchFault::NoRecord { record }),
        }
    })
}

/// The tensors of a pickled state dict; `find` says which bytes of the file a storage is.
pub(super) fn entries(pickled: &Pickled<'_>, find: Find<'_>) -> Result<Vec<Entry>, TorchFault> {
    let tensors = named_tensors(pickled)?;
    tensors.into_iter().map(|(name, arguments)| entry(name, pickled.items(arguments), pickled, find)).collect()
}

/// Names and descriptions of the tensors of a state dict.
fn named_tensors<'a>(pickled: &Pickled<'a>) -> Result<Vec<(&'a str, Items)>, TorchFault> {
    let odd = |detail: String| TorchFault::NotAStateDict { detail };
    let Value::Dict(root) = pickled.root else {
        return Err(odd(format!("it holds {}, not a dictionary of tensors", pickled.root.kind())));
    };
    let mut seen = HashSet::new();
    let mut tensors = Vec::new();
    for (key, value) in unwrapped(&pickled.dicts[root], pickled) {
        let Value::Str(name) = *key else {
            return Err(odd(format!("a key of its dictionary is {}, not a string", key.kind())));
        };
        let Value::Tensor(arguments) = *value else {
            return Err(odd(format!("its entry {} is {}, not a tensor", quoted(name), value.kind())));
        };
        if !seen.insert(name) {
            return Err(TorchFault::Duplicate { name: format!("tensor {}", quoted(name)) });
        }
        tensors.push((name, arguments));
    }
    Ok(tensors)
}

/// The dictionary itself; the one it has under a wrapper's name, where there is exactly one and no tensor beside it.
fn unwrapped<'p, 'a>(dict: &'p [(Value<'a>, Value<'a>)], pickled: &'p Pickled<'a>) -> &'p [(Value<'a>, Value<'a>)] {
    let mut inner = dict.iter().filter_map(|(key, value)| match (key, value) {
        (Value::Str(name), Value::Dict(number)) if WRAPPERS.contains(name) => Some(&pickled.dicts[*number]),
        _ => None,
    });
    let has_tensors = dict.iter().any(|(_, value)| matches!(value, Value::Tensor(_)));
    match (inner.next(), inner.next()) {
        (Some(only), None) if !has_tensors => only,
        _ => dict,
    }
}
