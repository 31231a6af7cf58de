//! The tensors of a GGUF file by the names and shapes that a model directory has for them.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use atento_tensor::ops::WeightLayout;
use atento_tensor::{Frozen, Values};

use super::element_type::ElementType;
use super::source::describe;
use super::{Gguf, Held, Layout};
use crate::hub::Error;
use crate::hub::elements::missing;

/// The weights of a model in a GGUF file.
#[derive(Debug)]
pub struct GgufWeights {
    file: Gguf,
    tensors: Vec<Stored>,
    by_name: HashMap<String, usize>,
}

/// A parameter in the file.
#[derive(Debug)]
struct Stored {
    name: String,
    shape: Vec<usize>,
    held: Held,
}

impl GgufWeights {
    /// Opens a file and finds the tensor of every parameter of its model.
    ///
    /// # Errors
    /// As [`Gguf::open`]; the model is not known here; a tensor is missing or has another shape than the keys ask for.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = Gguf::open(path)?;
        let described = describe(&file)?;
        let mut tensors = Vec::with_capacity(described.tensors.len());
        for held in described.tensors {
            file.check_shape(&held.tensor, &held.layout.shape(&held.shape))?;
            let name = described.config.sources(&held.parameter).swap_remove(0);
            let shape = described.config.stored_shape(&held.parameter, &held.shape);
            tensors.push(Stored { name, shape, held });
        }
        let by_name = tensors.iter().enumerate().map(|(at, stored)| (stored.name.clone(), at)).collect();
        Ok(Self { file, tensors, by_name })
    }

    /// The file that was opened.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// The names that a model directory has for its tensors.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tensors.iter().map(|stored| stored.name.as_str())
    }

    /// Whether there is a tensor of that name.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Type and shape of the tensor of that name.
    ///
    /// # Errors
    /// [`Error::MissingTensors`] with the nearest name there is.
    pub fn get(&self, name: &str) -> Result<(ElementType, &[usize]), Error> {
        let stored = self.stored(name)?;
        Ok((self.file.tensor(&stored.held.tensor)?.kind, &stored.shape))
    }

    /// How many bits a number of the tensor takes.
    ///
    /// # Errors
    /// As [`GgufWeights::get`].
    pub fn bits(&self, name: &str) -> Result<f64, Error> {
        let (numbers, bytes) = self.get(name)?.0.block();
        Ok(8.0 * bytes as f64 / numbers as f64)
    }

    /// Reads a tensor, row by row.
    ///
    /// # Errors
    /// It is missing, or holds NaN or an infinity.
    pub fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let held = &self.stored(name)?.held;
        Ok(held.layout.restore(self.file.read(&held.tensor)?, &held.shape))
    }

    /// The elements where they lie in the file, of a parameter that is not trained; `None` where they cannot be used so.
    /// `layout` is that of a matrix.
    ///
    /// # Errors
    /// The tensor is missing.
    pub(in crate::hub) fn frozen(&self, name: &str, layout: Option<WeightLayout>) -> Result<Option<Frozen>, Error> {
        let held = &self.stored(name)?.held;
        let kind = self.file.tensor(&held.tensor)?.kind;
        let paired = match held.layout {
            Layout::Paired { head_dim } => head_dim,
            Layout::Plain | Layout::Transposed => 0,
        };
        // A row for each output, as files have matrices.
        let is_matrix = match layout {
            Some(WeightLayout::OutIn) => held.layout != Layout::Transposed,
            Some(WeightLayout::InOut) => held.layout == Layout::Transposed,
            None => false,
        };
        Ok(match kind {
            ElementType::F32 if held.layout == Layout::Plain => {
                self.file.mapped(&held.tensor)?.map(|at| Frozen::F32(Values::Elsewhere(Arc::new(at))))
            }
            ElementType::F16 if is_matrix && paired == 0 => {
                self.file.mapped(&held.tensor)?.map(|at| Frozen::F16(Values::Elsewhere(Arc::new(at))))
            }
            ElementType::Bf16 if is_matrix && paired == 0 => {
                self.file.mapped(&held.tensor)?.map(|at| Frozen::Bf16(Values::Elsewhere(Arc::new(at))))
            }
            ElementType::Blocks(kind) if is_matrix => {
                let bytes = self.file.mapped(&held.tensor)?;
                bytes.map(|at| Frozen::Blocks { bytes: Values::Elsewhere(Arc::new(at)), kind, paired })
            }
            _ => None,
        })
    }

    fn stored(&self, name: &str) -> Result<&Stored, Error> {
        match self.by_name.get(name) {
            Some(&at) => Ok(&self.tensors[at]),
            None => Err(missing(self.path(), name, self.names())),
        }
    }
}
