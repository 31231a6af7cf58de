//! Writing: one pass over the tensors, straight from where they lie, into a file that appears whole.

use crate::hub::Error;
use crate::hub::atomic::atomic_write_with;
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::path::Path;

/// A tensor to be written, with the name and shape it has in the file.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor<'a> {
    /// Its name in the file.
    pub name: String,
    /// Its sizes, outermost first.
    pub shape: Vec<usize>,
    /// Its elements, row by row.
    pub values: &'a [f32],
}

impl<'a> NamedTensor<'a> {
    /// A tensor of that name and shape.
    ///
    /// # Panics
    /// If `shape` asks for another number of elements than `values` has.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, values: &'a [f32]) -> Self {
        let (name, shape) = (name.into(), shape.into());
        let elements: usize = shape.iter().product();
        assert_eq!(elements, values.len(), "NamedTensor::new: `{name}` of shape {shape:?}");
        Self { name, shape, values }
    }
}

/// Writes the tensors as F32, in the order given, replacing the file at `path` atomically.
///
/// Nothing is copied but a buffer of 64 KiB. `metadata` becomes the header's `__metadata__`; `transformers`
/// wants `("format", "pt")` there.
///
/// # Errors
/// [`Error::Io`]; the previous file, if there was one, is then untouched.
///
/// # Panics
/// If two tensors have one name.
pub fn write(path: &Path, tensors: &[NamedTensor<'_>], metadata: &[(&str, &str)]) -> Result<(), Error> {
    let header = header(tensors, metadata);
    atomic_write_with(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors.iter().try_for_each(|tensor| write_values(file, tensor.values))
    })
}

/// The header's JSON, padded with spaces so that the data begins at a multiple of 8 bytes.
fn header(tensors: &[NamedTensor<'_>], metadata: &[(&str, &str)]) -> Vec<u8> {
    let mut entries = Map::new();
    if !metadata.is_empty() {
        let strings: Map<_, _> = metadata.iter().map(|(key, value)| (key.to_string(), json!(value))).collect();
        entries.insert("__metadata__".into(), Value::Object(strings));
    }
    let mut begin = 0;
    for tensor in tensors {
        let end = begin + size_of_val(tensor.values);
        let entry = json!({"dtype": "F32", "shape": tensor.shape, "data_offsets": [begin, end]});
        let previous = entries.insert(tensor.name.clone(), entry);
        assert!(previous.is_none(), "safetensors::write: `{}` is given twice", tensor.name);
        begin = end;
    }
    let mut header = Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

fn write_values(file: &mut dyn Write, values: &[f32]) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(1 << 16);
    for chunk in values.chunks(buffer.capacity() / size_of::<f32>()) {
        buffer.clear();
        buffer.extend(chunk.iter().flat_map(|value| value.to_le_bytes()));
        file.write_all(&buffer)?;
    }
    Ok(())
}
