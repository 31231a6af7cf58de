//! GGUF: the file that llama.cpp has a model in, with its settings, its tokenizer and its tensors, mapped into memory, and
//! nothing trusted. [`Source`] makes a model directory of one.
//!
//! ```text
//! "GGUF", version, number of tensors, number of keys      header, cursor
//! keys: name, type, value                                 value
//! tensors: name, sizes, type, place                       element_type
//! the elements, from a multiple of the alignment on       dequantize
//! ```
//!
//! Adapters are written too (`write`), and a directory can keep a file as its weights ([`GgufWeights`]).
//!
//! [`Gguf`] is an open file. What its keys and tensors mean for a family of models, the family says as an [`Architecture`];
//! the tokenizer is the same for all (`vocabulary`).

mod architecture;
mod cursor;
mod dequantize;
mod element_type;
mod file;
mod header;
mod source;
mod value;
mod vocabulary;
mod weights;
mod write;

pub use architecture::{Architecture, Described, Held, Layout, Settings};
pub use element_type::ElementType;
pub use file::{Gguf, TensorInfo, is_gguf};
pub use source::Source;
pub use value::{List, Value};
pub(crate) use vocabulary::special_ids;
pub use weights::GgufWeights;
pub(crate) use write::NewFile;

#[cfg(test)]
mod tests;
