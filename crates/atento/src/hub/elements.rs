//! The elements of a tensor in a file: little-endian numbers of several types, read as those computed with.

use super::Error;
use super::nearest::{nearest, quoted};
use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::Dtype;
use std::path::Path;

/// A tensor of a file, as far as a message about it goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Described<'a> {
    /// The file it is in.
    pub path: &'a Path,
    pub name: &'a str,
    pub dtype: Dtype,
    pub shape: &'a [usize],
}

impl Described<'_> {
    /// Checks the shape against the one asked for.
    pub fn check_shape(&self, expected: &[usize]) -> Result<(), Error> {
        if self.shape == expected {
            return Ok(());
        }
        let (path, name) = (self.path.to_path_buf(), self.name.to_string());
        Err(Error::WrongShape { path, name, found: self.shape.to_vec(), expected: expected.to_vec() })
    }

    /// Converts the elements, which lie in `bytes` row by row; they must be real numbers and finite as f32.
    pub fn to_f32(self, bytes: &[u8], values: &mut [f32]) -> Result<(), Error> {
        let finite = match self.dtype {
            Dtype::F32 => convert(bytes, values, f32::from_le_bytes),
            Dtype::F16 => convert(bytes, values, |b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => convert(bytes, values, |b| bf16::from_le_bytes(b).to_f32()),
            Dtype::F64 => convert(bytes, values, |b| f64::from_le_bytes(b) as f32),
            _ => return Err(self.wrong_dtype("F32, F16, BF16 or F64")),
        };
        if finite { Ok(()) } else { Err(self.not_finite(values)) }
    }

    /// Converts the elements, which lie in `bytes` row by row; they must be whole numbers.
    pub fn to_i64(self, bytes: &[u8]) -> Result<Vec<i64>, Error> {
        Ok(match self.dtype {
            Dtype::I64 => widen(bytes, i64::from_le_bytes),
            Dtype::I32 => widen(bytes, |b| i32::from_le_bytes(b).into()),
            Dtype::I16 => widen(bytes, |b| i16::from_le_bytes(b).into()),
            Dtype::I8 => widen(bytes, |b| i8::from_le_bytes(b).into()),
            Dtype::U32 => widen(bytes, |b| u32::from_le_bytes(b).into()),
            Dtype::U16 => widen(bytes, |b| u16::from_le_bytes(b).into()),
            Dtype::U8 | Dtype::BOOL => widen(bytes, |b| u8::from_le_bytes(b).into()),
            _ => return Err(self.wrong_dtype("a whole-number type")),
        })
    }

    fn wrong_dtype(&self, expected: &'static str) -> Error {
        Error::WrongDtype { path: self.path.to_path_buf(), name: self.name.to_string(), found: self.dtype, expected }
    }

    fn not_finite(&self, values: &[f32]) -> Error {
        let index = values.iter().position(|value| !value.is_finite()).unwrap_or(0);
        let (path, name) = (self.path.to_path_buf(), self.name.to_string());
        Error::NotFinite { path, name, index, value: values[index].into() }
    }
}

/// The error that there is no tensor `name`, with the nearest of the names there are.
pub(super) fn missing<'a>(path: &Path, name: &str, names: impl Iterator<Item = &'a str>) -> Error {
    let found = nearest(name, names).map(|near| format!(" (the file has {})", quoted(near)));
    let tensors = vec![format!("`{name}`{}", found.unwrap_or_default())];
    Error::MissingTensors { path: path.to_path_buf(), tensors }
}

/// Elements of one task: those of a GPT-2 are read by all cores in the time that the first takes alone.
const TASK: usize = 1 << 18;

/// Converts little-endian elements and says whether all of them are finite.
fn convert<const N: usize>(bytes: &[u8], values: &mut [f32], from: impl Fn([u8; N]) -> f32 + Sync) -> bool {
    let (elements, _) = bytes.as_chunks::<N>();
    let convert = |(values, elements): (&mut [f32], &[[u8; N]])| {
        let mut finite = true;
        for (value, element) in values.iter_mut().zip(elements) {
            *value = from(*element);
            finite &= value.is_finite();
        }
        finite
    };
    // Every part is converted, so that the first fault can be found.
    values.par_chunks_mut(TASK).zip(elements.par_chunks(TASK)).map(convert).reduce(|| true, |a, b| a & b)
}

fn widen<const N: usize>(bytes: &[u8], from: impl Fn([u8; N]) -> i64) -> Vec<i64> {
    bytes.as_chunks::<N>().0.iter().map(|element| from(*element)).collect()
}
