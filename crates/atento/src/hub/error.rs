//! What can be wrong with a checkpoint, in sentences a person can act on.

use super::pickle::TorchFault;
use ::safetensors::Dtype;
use std::fmt;
use std::path::{Path, PathBuf};

/// A file or directory of a checkpoint that cannot be used, named, with the reason.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{path}: cannot {doing}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was tried, as a verb.
        doing: &'static str,
        /// The reason the system gave.
        source: std::io::Error,
    },
    /// A file or directory is not there.
    #[error("{path}: not found{hint}")]
    NotFound {
        /// The path that was looked for.
        path: PathBuf,
        /// What is there instead, or what to do; begins with its own punctuation.
        hint: String,
    },
    /// A safetensors file is damaged or was never one.
    #[error("{path}: not a usable safetensors file: {fault}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
    /// A file of PyTorch's is damaged, hostile, or holds something else than tensors.
    #[error("{path}: not a usable PyTorch file: {fault}")]
    Torch {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: TorchFault,
    },
    /// A GGUF file is damaged, or holds what is not known here.
    #[error("{path}: not a usable GGUF file: {fault}")]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// A GGUF file stands where a model directory should.
    #[error(
        "{path}: this is a GGUF file, and a model is a directory: `atento convert {path} --out DIR` makes one of it"
    )]
    Unconverted {
        /// The file.
        path: PathBuf,
    },
    /// The index of a sharded checkpoint and its shards disagree.
    #[error("{path}: {fault}")]
    Index {
        /// The index file.
        path: PathBuf,
        /// The disagreement.
        fault: String,
    },
    /// A tensor has another shape than the configuration asks for.
    #[error("{path}: tensor `{name}` has shape {found:?}, expected {expected:?}")]
    WrongShape {
        /// The file.
        path: PathBuf,
        /// The tensor, by its name in the file.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A tensor holds another kind of number than can be read here.
    #[error("{path}: tensor `{name}` is {found:?}, expected {expected}")]
    WrongDtype {
        /// The file.
        path: PathBuf,
        /// The tensor, by its name in the file.
        name: String,
        /// Its element type.
        found: Dtype,
        /// The element types that can be read.
        expected: &'static str,
    },
    /// A weight is NaN or infinite.
    #[error("{path}: tensor `{name}` holds {value} at element {index}; weights must be finite")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor, by its name in the file.
        name: String,
        /// The first such element, counted row by row from 0.
        index: usize,
        /// Its value.
        value: f64,
    },
    /// A weight does not fit the type it was to be written as.
    #[error(
        "{path}: tensor `{name}` holds {value} at element {index}, which is beyond {written}; bfloat16 has float32's range"
    )]
    TooLarge {
        /// The file that was to be written.
        path: PathBuf,
        /// The tensor, by its name in the file.
        name: String,
        /// The first such element, counted row by row from 0.
        index: usize,
        /// Its value.
        value: f32,
        /// The type.
        written: &'static str,
    },
    /// Weights are in int8, and what was asked for needs them exact.
    #[error(
        "{path}: the weights are in int8 (`quantization_config`), which is for inference; \
         `atento convert --weights f32` writes what they stand for as a model that can be trained"
    )]
    Int8 {
        /// The configuration that says so.
        path: PathBuf,
    },
    /// Tensors the model needs are not in the file.
    #[error("{path}: {}", List { what: "missing tensor", many: "missing tensors", items: tensors })]
    MissingTensors {
        /// The file.
        path: PathBuf,
        /// Each tensor with, where one is near, the name that the file has.
        tensors: Vec<String>,
    },
    /// The configuration says two tensors are one, the file has two different ones.
    #[error(
        "{path}: `{stored}` differs from `{tied_to}`, which the configuration ties it to; \
         if they are meant to differ, set `tie_word_embeddings` to false in config.json"
    )]
    Tied {
        /// The file.
        path: PathBuf,
        /// The tensor that should have been equal.
        stored: String,
        /// The tensor it should equal.
        tied_to: String,
    },
    /// Stored positions are not the sinusoids this model computes.
    #[error("{path}: `{name}` row {row} is not the sinusoid of its position; learned positions are not supported")]
    Positions {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The first row that differs.
        row: usize,
    },
    /// A file that should be JSON is not.
    #[error("{path}: not valid JSON: {detail}")]
    Json {
        /// The file.
        path: PathBuf,
        /// The parser's complaint, with line and column.
        detail: String,
    },
    /// A key of a configuration is absent.
    #[error("{path}: key `{key}` is missing{hint}")]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The nearest key there is; begins with its own punctuation.
        hint: String,
    },
    /// A setting of a search has a value it cannot have, and a search is asked for.
    #[error("{0}")]
    Unusable(String),
    /// A key of a configuration has a value it cannot have.
    #[error("{path}: key `{key}` is {found}, expected {expected}")]
    WrongValue {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// The value found, as JSON.
        found: String,
        /// What it may be.
        expected: String,
    },
}

impl Error {
    pub(crate) fn io(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Error::Io { path: path.to_path_buf(), doing, source }
    }
}

/// What is wrong with a safetensors file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// No bytes at all.
    #[error("the file is empty")]
    Empty,
    /// A directory, a pipe or a device.
    #[error("it is not a regular file")]
    NotAFile,
    /// Not even the length of the header fits.
    #[error("the file has {bytes} bytes; the length of the header alone takes 8")]
    TooShort {
        /// Bytes in the file.
        bytes: usize,
    },
    /// The header claims more bytes than there are, or than any header may have.
    #[error("the header claims {claimed} bytes, but {available} follow and the format allows 100000000")]
    HeaderLength {
        /// The claimed length in bytes.
        claimed: u64,
        /// The bytes that follow the length.
        available: usize,
    },
    /// The header is not the JSON object it should be, or an entry of it is malformed.
    #[error("its header is malformed: {detail}")]
    Header {
        /// The parser's complaint.
        detail: String,
    },
    /// One name stands twice in the header.
    #[error("tensor {name} is listed twice")]
    Duplicate {
        /// The tensor.
        name: String,
    },
    /// Shape and element type give another number of bytes than the offsets.
    #[error("tensor {name} of shape and type {shape} cannot fill its bytes {begin}..{end}")]
    Size {
        /// The tensor.
        name: String,
        /// Its shape and element type.
        shape: String,
        /// First byte of its data.
        begin: usize,
        /// The byte after its last.
        end: usize,
    },
    /// Two tensors share bytes.
    #[error("tensor {name} begins at byte {begin}, inside the tensor before it, which ends at {previous_end}")]
    Overlap {
        /// The later tensor.
        name: String,
        /// Where it begins.
        begin: usize,
        /// Where the one before it ends.
        previous_end: usize,
    },
    /// Bytes between two tensors belong to none.
    #[error("tensor {name} begins at byte {begin}, leaving a hole after byte {previous_end}")]
    Hole {
        /// The later tensor.
        name: String,
        /// Where it begins.
        begin: usize,
        /// Where the one before it ends.
        previous_end: usize,
    },
    /// A tensor's data lies beyond the end of the file.
    #[error("tensor {name} ends at byte {end} of the data, but there are {available}: the file is cut short")]
    Truncated {
        /// The first such tensor.
        name: String,
        /// Where its data ends.
        end: usize,
        /// Bytes of data in the file.
        available: usize,
    },
    /// Bytes after the last tensor belong to none.
    #[error("{bytes} bytes follow the last tensor and belong to none")]
    Trailing {
        /// How many.
        bytes: usize,
    },
}

/// "missing tensor `a`" or "3 missing tensors: `a`, `b`, …".
pub(super) struct List<'a> {
    pub what: &'static str,
    pub many: &'static str,
    pub items: &'a [String],
}

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        match self.items {
            [only] => write!(f, "{} {only}", self.what),
            items => {
                let shown = items.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
                let more = if items.len() > SHOWN { ", …" } else { "" };
                write!(f, "{} {}: {shown}{more}", items.len(), self.many)
            }
        }
    }
}
