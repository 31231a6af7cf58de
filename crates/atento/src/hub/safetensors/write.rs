//! Writing: one pass over the tensors, straight from where they lie, into a file that appears whole.

use crate::hub::Error;
use crate::hub::atomic::atomic_write_with;
use half::{bf16, f16};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
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
    pub values: Values<'a>,
}

/// The elements of a tensor to be written.
#[derive(Debug, Clone, PartialEq)]
pub enum Values<'a> {
    /// Real numbers, rounded to this type as they are written.
    Real(Cow<'a, [f32]>, FloatType),
    /// Whole numbers.
    Int8(Vec<i8>),
}

/// A type of real numbers in a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FloatType {
    /// As computed with.
    #[default]
    F32,
    /// Half precision: up to 65504, 11 bits of precision.
    F16,
    /// Brain floats: f32's range, 8 bits of precision.
    Bf16,
}

impl FloatType {
    /// The name that config.json has for it.
    #[must_use]
    pub fn config_name(self) -> &'static str {
        match self {
            FloatType::F32 => "float32",
            FloatType::F16 => "float16",
            FloatType::Bf16 => "bfloat16",
        }
    }
}

impl Values<'_> {
    fn len(&self) -> usize {
        match self {
            Values::Real(values, _) => values.len(),
            Values::Int8(values) => values.len(),
        }
    }

    /// The type's name in a header, and its size in bytes.
    fn dtype(&self) -> (&'static str, usize) {
        match self {
            Values::Real(_, FloatType::F32) => ("F32", 4),
            Values::Real(_, FloatType::F16) => ("F16", 2),
            Values::Real(_, FloatType::Bf16) => ("BF16", 2),
            Values::Int8(_) => ("I8", 1),
        }
    }
}

impl<'a> NamedTensor<'a> {
    /// A tensor of real numbers, to be written as F32.
    ///
    /// # Panics
    /// If `shape` asks for another number of elements than `values` has.
    pub fn new(name: impl Into<String>, shape: impl Into<Vec<usize>>, values: impl Into<Cow<'a, [f32]>>) -> Self {
        Self::of(name.into(), shape.into(), Values::Real(values.into(), FloatType::F32))
    }

    /// A tensor of whole numbers.
    ///
    /// # Panics
    /// As [`NamedTensor::new`].
    pub fn int8(name: impl Into<String>, shape: impl Into<Vec<usize>>, values: Vec<i8>) -> Self {
        Self::of(name.into(), shape.into(), Values::Int8(values))
    }

    fn of(name: String, shape: Vec<usize>, values: Values<'a>) -> Self {
        let elements: usize = shape.iter().product();
        assert_eq!(elements, values.len(), "NamedTensor: `{name}` of shape {shape:?}");
        Self { name, shape, values }
    }

    /// The same, real numbers to be written as `floats`.
    #[must_use]
    pub fn rounded_to(mut self, floats: FloatType) -> Self {
        if let Values::Real(_, written) = &mut self.values {
            *written = floats;
        }
        self
    }
}

/// Writes the tensors in the order given, replacing the file at `path` atomically.
///
/// Nothing is copied but a buffer of 64 KiB. `metadata` becomes the header's `__metadata__`; `transformers`
/// wants `("format", "pt")` there.
///
/// # Errors
/// [`Error::Io`], or [`Error::TooLarge`] for the type to be written; the previous file, if there was one, is then
/// untouched.
///
/// # Panics
/// If two tensors have one name.
pub fn write(path: &Path, tensors: &[NamedTensor<'_>], metadata: &[(&str, &str)]) -> Result<(), Error> {
    tensors.iter().try_for_each(|tensor| check_range(path, tensor))?;
    let described = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice(), tensor.values.dtype()));
    let header = header(described, metadata);
    atomic_write_with(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors.iter().try_for_each(|tensor| write_values(file, &tensor.values))
    })
}

/// Name and shape of a tensor whose elements are made as they are written.
pub(crate) struct Outline {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

/// As [`write()`], for tensors of `floats` of which one is in memory at a time: `values` makes the elements of the one with a
/// number.
///
/// # Errors
/// Those of `values`; as there.
///
/// # Panics
/// If two tensors have one name, or `values` makes another number of elements than the shape asks for.
pub(crate) fn write_each(
    path: &Path,
    tensors: &[Outline],
    floats: FloatType,
    metadata: &[(&str, &str)],
    mut values: impl FnMut(usize) -> Result<Vec<f32>, Error>,
) -> Result<(), Error> {
    let dtype = Values::Real(Cow::Borrowed(&[]), floats).dtype();
    let described = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice(), dtype));
    let header = header(described, metadata);
    // What goes wrong with a tensor ends the writing of the file and is told in place of that.
    let mut fault = None;
    let written = atomic_write_with(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (number, tensor) in tensors.iter().enumerate() {
            let made = values(number).and_then(|values| {
                let tensor = NamedTensor::new(&tensor.name, tensor.shape.clone(), values).rounded_to(floats);
                check_range(path, &tensor).map(|()| tensor)
            });
            match made {
                Ok(tensor) => write_values(file, &tensor.values)?,
                Err(error) => {
                    fault = Some(error);
                    return Err(io::ErrorKind::InvalidData.into());
                }
            }
        }
        Ok(())
    });
    fault.map_or(written, Err)
}

/// The header's JSON of these names, shapes and types, padded with spaces so that the data begins at a multiple of 8 bytes.
fn header<'t>(
    tensors: impl Iterator<Item = (&'t str, &'t [usize], (&'static str, usize))>,
    metadata: &[(&str, &str)],
) -> Vec<u8> {
    let mut entries = Map::new();
    if !metadata.is_empty() {
        let strings: Map<_, _> = metadata.iter().map(|(key, value)| (key.to_string(), json!(value))).collect();
        entries.insert("__metadata__".into(), Value::Object(strings));
    }
    let mut begin = 0;
    for (name, shape, (dtype, size)) in tensors {
        let end = begin + size * shape.iter().product::<usize>();
        let entry = json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, end]});
        let previous = entries.insert(name.to_owned(), entry);
        assert!(previous.is_none(), "safetensors::write: `{name}` is given twice");
        begin = end;
    }
    let mut header = Value::Object(entries).to_string().into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    header
}

/// Checks that no number becomes infinite in the type it is written as.
fn check_range(path: &Path, tensor: &NamedTensor<'_>) -> Result<(), Error> {
    let Values::Real(values, floats) = &tensor.values else { return Ok(()) };
    let overflows = |value: f32| match floats {
        FloatType::F32 => false,
        FloatType::F16 => value.is_finite() && !f16::from_f32(value).is_finite(),
        FloatType::Bf16 => value.is_finite() && !bf16::from_f32(value).is_finite(),
    };
    match values.iter().position(|&value| overflows(value)) {
        Some(index) => {
            let (path, name) = (path.to_path_buf(), tensor.name.clone());
            Err(Error::TooLarge { path, name, index, value: values[index], written: floats.config_name() })
        }
        None => Ok(()),
    }
}

fn write_values(file: &mut dyn Write, values: &Values<'_>) -> io::Result<()> {
    match values {
        Values::Real(values, FloatType::F32) => write_numbers(file, values, f32::to_le_bytes),
        Values::Real(values, FloatType::F16) => write_numbers(file, values, |value| f16::from_f32(value).to_le_bytes()),
        Values::Real(values, FloatType::Bf16) => {
            write_numbers(file, values, |value| bf16::from_f32(value).to_le_bytes())
        }
        Values::Int8(values) => write_numbers(file, values, i8::to_le_bytes),
    }
}

fn write_numbers<T: Copy, const N: usize>(
    file: &mut dyn Write,
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(1 << 16);
    for chunk in values.chunks(buffer.capacity() / N) {
        buffer.clear();
        buffer.extend(chunk.iter().flat_map(|&value| bytes(value)));
        file.write_all(&buffer)?;
    }
    Ok(())
}
