//! What a family of models says of its models in GGUF files.

use std::sync::Arc;

use super::Gguf;
use crate::families::Config;
use crate::hub::Error;

/// The models of a family in GGUF files.
pub trait Architecture: Sync {
    /// The values of `general.architecture` that mean the family.
    fn names(&self) -> &'static [&'static str];

    /// The model of a file whose architecture has the name `name`.
    ///
    /// # Errors
    /// A key is missing, is not known, or has a value that no model can have; a tensor that says a size is missing.
    fn describe(&self, name: &'static str, file: &Gguf) -> Result<Described, Error>;

    /// Which of the names models have whose config.json says this `model_type`, if they have one.
    fn name_of(&self, model_type: &str) -> Option<&'static str>;

    /// The tensor of a parameter of a matrix, in files of the architecture with this name, and how it lies there.
    fn place(&self, name: &str, parameter: &str, head_dim: usize) -> (String, Layout);
}

/// The model of a file.
#[derive(Debug)]
pub struct Described {
    /// Its configuration.
    pub config: Arc<dyn Config>,
    /// The tensor of every parameter.
    pub tensors: Vec<Held>,
    /// Tensors that no parameter is filled from, and that were read otherwise or mean nothing.
    pub read: Vec<String>,
}

/// Where a file has a parameter.
#[derive(Debug)]
pub struct Held {
    /// The parameter, by our name.
    pub parameter: String,
    /// The shape of the parameter.
    pub shape: Vec<usize>,
    /// The tensor.
    pub tensor: String,
    /// How its elements lie there.
    pub layout: Layout,
}

/// How the elements of a parameter lie in a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// As here.
    Plain,
    /// With rows and columns exchanged.
    Transposed,
    /// Rows of a head are in pairs that rotary positions turn: row `i` of the first half, then row `i` of the second.
    Paired {
        /// Rows of a head.
        head_dim: usize,
    },
}

impl Layout {
    /// The shape that the tensor of a parameter of that shape has.
    #[must_use]
    pub(super) fn shape(self, own: &[usize]) -> Vec<usize> {
        let mut shape = own.to_vec();
        if self == Layout::Transposed {
            shape.reverse();
        }
        shape
    }

    /// The rows that a matrix with a row for each output has, in the order of the tensor.
    pub(crate) fn store_rows(self, values: &[f32], rows: usize) -> Vec<f32> {
        let Layout::Paired { head_dim } = self else { return values.to_vec() };
        let width = values.len() / rows;
        let mut stored = vec![0.0; values.len()];
        for (row, own) in values.chunks_exact(width).enumerate() {
            stored[Self::paired(row, head_dim) * width..][..width].copy_from_slice(own);
        }
        stored
    }

    /// The row of a tensor in pairs that holds a row of the parameter.
    fn paired(row: usize, head_dim: usize) -> usize {
        let (head, i) = (row / head_dim, row % head_dim);
        head * head_dim + i % (head_dim / 2) * 2 + i / (head_dim / 2)
    }

    /// The elements in the order of the parameter, which has the shape `own`.
    pub(super) fn restore(self, values: Vec<f32>, own: &[usize]) -> Vec<f32> {
        match (self, own) {
            (Layout::Transposed, &[rows, columns]) => {
                let value = |i: usize| values[i % columns * rows + i / columns];
                (0..rows * columns).map(value).collect()
            }
            (Layout::Paired { head_dim }, &[rows, ..]) => {
                let width = values.len() / rows;
                let stored = |row: usize| &values[Self::paired(row, head_dim) * width..][..width];
                (0..rows).flat_map(stored).copied().collect()
            }
            _ => values,
        }
    }
}

/// The keys of an architecture, which begin with its name.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'f> {
    /// The file.
    pub file: &'f Gguf,
    /// The name.
    pub architecture: &'f str,
}

impl Settings<'_> {
    /// The whole name of a key.
    #[must_use]
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// A size that may be left out.
    ///
    /// # Errors
    /// The value is no size.
    pub fn size(&self, name: &str) -> Result<Option<usize>, Error> {
        self.file.size(&self.key(name))
    }

    /// A size.
    ///
    /// # Errors
    /// It is missing, or is no size.
    pub fn required(&self, name: &str) -> Result<usize, Error> {
        self.file.required(&self.key(name), self.size(name)?)
    }

    /// A number that may be left out.
    ///
    /// # Errors
    /// The value is no number.
    pub fn number(&self, name: &str) -> Result<Option<f64>, Error> {
        self.file.number(&self.key(name))
    }

    /// A number above 0 that may be left out.
    ///
    /// # Errors
    /// The value is no such number.
    pub fn positive(&self, name: &str) -> Result<Option<f64>, Error> {
        match self.number(name)? {
            Some(number) if !(number > 0.0 && number.is_finite()) => Err(self.wrong(name, "a number above 0")),
            number => Ok(number),
        }
    }

    /// The error that a key has a value that it cannot have.
    #[must_use]
    pub fn wrong(&self, name: &str, expected: impl Into<String>) -> Error {
        self.file.wrong(&self.key(name), expected)
    }

    /// Refuses keys of the architecture that are neither `known` nor among the `neutral` ones with their number: what they
    /// mean would be left out.
    ///
    /// # Errors
    /// The first such key.
    pub fn refuse_others(&self, known: &[&str], neutral: &[(&str, f64)]) -> Result<(), Error> {
        let prefix = self.key("");
        for name in self.file.keys().filter_map(|key| key.strip_prefix(&prefix)) {
            if known.contains(&name) {
                continue;
            }
            let Some((_, number)) = neutral.iter().find(|(key, _)| *key == name) else {
                return Err(self.wrong(name, "no such key: what it means for a model is not known here"));
            };
            if self.number(name)? != Some(*number) {
                return Err(self.wrong(name, format!("{number}, which changes nothing")));
            }
        }
        Ok(())
    }

    /// The rows and columns of the embedding table.
    ///
    /// # Errors
    /// It is missing, or is no matrix.
    pub fn table(&self, name: &str) -> Result<[usize; 2], Error> {
        let found = self.file.tensor(name)?.shape;
        found.try_into().map_err(|_| {
            let fault = format!("tensor `{name}` has shape {found:?}, expected rows and columns");
            Error::Gguf { path: self.file.path().to_path_buf(), fault }
        })
    }
}
