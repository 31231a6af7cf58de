//! A model's weights, whichever of the formats they are in.

use super::Error;
use super::gguf::{GgufWeights, is_gguf};
use super::pickle::TorchTensors;
use super::safetensors::{Dtype, SafeTensors};
use atento_kernels::linear::WeightLayout;
use std::borrow::Cow;
use std::path::Path;

/// Named tensors of a file, or of the shards of an index.
#[derive(Debug)]
pub enum Weights {
    /// `model.safetensors`.
    SafeTensors(SafeTensors),
    /// `pytorch_model.bin`.
    Torch(TorchTensors),
    /// A file of llama.cpp.
    Gguf(GgufWeights),
}

/// What a tensor is, without its elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightInfo<'a> {
    /// Type of the elements.
    pub dtype: Dtype,
    /// Sizes, outermost first.
    pub shape: &'a [usize],
    /// What the numbers are packed in, where that is not their type.
    pub packed: Option<&'static str>,
}

impl Weights {
    /// Opens a file or index: PyTorch's format where the name ends in `.bin` or `.bin.index.json`, a file of llama.cpp where it is
    /// one, else safetensors.
    ///
    /// # Errors
    /// As [`SafeTensors::open`], [`TorchTensors::open`] and [`GgufWeights::open`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.ends_with(".bin") || name.ends_with(".bin.index.json") {
            TorchTensors::open(path).map(Weights::Torch)
        } else if is_gguf(path) {
            GgufWeights::open(path).map(Weights::Gguf)
        } else {
            SafeTensors::open(path).map(Weights::SafeTensors)
        }
    }

    /// The file or index that was opened.
    pub fn path(&self) -> &Path {
        match self {
            Weights::SafeTensors(tensors) => tensors.path(),
            Weights::Torch(tensors) => tensors.path(),
            Weights::Gguf(tensors) => tensors.path(),
        }
    }

    /// Names of all tensors, in the order of the file.
    pub fn names(&self) -> Box<dyn ExactSizeIterator<Item = &str> + '_> {
        match self {
            Weights::SafeTensors(tensors) => Box::new(tensors.names()),
            Weights::Torch(tensors) => Box::new(tensors.names()),
            Weights::Gguf(tensors) => Box::new(tensors.names()),
        }
    }

    /// Whether there is a tensor of that name.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Weights::SafeTensors(tensors) => tensors.contains(name),
            Weights::Torch(tensors) => tensors.contains(name),
            Weights::Gguf(tensors) => tensors.contains(name),
        }
    }

    /// Element type and shape of the tensor of that name.
    ///
    /// # Errors
    /// [`Error::MissingTensors`] with the nearest name there is.
    pub fn get(&self, name: &str) -> Result<WeightInfo<'_>, Error> {
        match self {
            Weights::SafeTensors(tensors) => {
                let view = tensors.get(name)?;
                Ok(WeightInfo { dtype: view.dtype, shape: view.shape, packed: None })
            }
            Weights::Torch(tensors) => tensors.get(name),
            Weights::Gguf(tensors) => {
                let (kind, shape) = tensors.get(name)?;
                Ok(WeightInfo { dtype: Dtype::F32, shape, packed: Some(kind.name()) })
            }
        }
    }

    /// How many bits a number takes, over all tensors; [`None`] where there are none.
    #[must_use]
    pub fn bits(&self) -> Option<f64> {
        let (mut numbers, mut bits) = (0.0, 0.0);
        for name in self.names() {
            let Ok(info) = self.get(name) else { continue };
            let count = info.shape.iter().product::<usize>() as f64;
            let each = match self {
                Weights::Gguf(tensors) => tensors.bits(name).unwrap_or(0.0),
                _ => info.dtype.bitsize() as f64,
            };
            numbers += count;
            bits += count * each;
        }
        (numbers > 0.0).then(|| bits / numbers)
    }

    /// Whether matrices of this layout keep the numbers of the file in memory, where they are not trained; what is no matrix becomes
    /// f32.
    #[must_use]
    pub fn are_held_as_stored(&self, layout: Option<WeightLayout>) -> bool {
        match self {
            Weights::SafeTensors(_) => layout == Some(WeightLayout::OutIn),
            Weights::Gguf(_) => layout.is_some(),
            Weights::Torch(_) => false,
        }
    }

    /// Whether two tensors have the same element type, shape and elements, bit for bit.
    ///
    /// # Errors
    /// [`Error::MissingTensors`] where one of them is not there.
    pub fn are_equal(&self, one: &str, other: &str) -> Result<bool, Error> {
        Ok(self.get(one)? == self.get(other)? && self.elements(one)? == self.elements(other)?)
    }

    /// The elements as they lie in the file, row by row.
    pub(super) fn elements(&self, name: &str) -> Result<Cow<'_, [u8]>, Error> {
        match self {
            Weights::SafeTensors(tensors) => tensors.get(name).map(|view| Cow::Borrowed(view.bytes)),
            Weights::Torch(tensors) => tensors.elements(name),
            Weights::Gguf(tensors) => {
                let values = tensors.read(name)?;
                Ok(Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect()))
            }
        }
    }

    /// Reads a tensor of real numbers (F32, F16, BF16 or F64) into `values`, row by row.
    ///
    /// # Shapes
    /// - `values`: as many elements as `shape` has
    ///
    /// # Errors
    /// The tensor is missing, of another shape or element type, or holds NaN or an infinity.
    ///
    /// # Panics
    /// If `values` has another length than `shape` asks for.
    pub fn read_f32_into(&self, name: &str, shape: &[usize], values: &mut [f32]) -> Result<(), Error> {
        match self {
            Weights::SafeTensors(tensors) => tensors.read_f32_into(name, shape, values),
            Weights::Torch(tensors) => tensors.read_f32_into(name, shape, values),
            Weights::Gguf(_) => {
                values.copy_from_slice(&self.read_f32(name, shape)?);
                Ok(())
            }
        }
    }

    /// Reads a tensor of real numbers into a new vector; see [`Weights::read_f32_into`].
    ///
    /// # Errors
    /// As [`Weights::read_f32_into`].
    pub fn read_f32(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, Error> {
        match self {
            Weights::SafeTensors(tensors) => tensors.read_f32(name, shape),
            Weights::Torch(tensors) => tensors.read_f32(name, shape),
            Weights::Gguf(tensors) => {
                super::load::check_shape(self, name, shape, shape)?;
                tensors.read(name)
            }
        }
    }
}
