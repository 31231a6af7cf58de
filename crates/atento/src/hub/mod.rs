//! Checkpoints: Hugging Face directories in and out.
//!
//! ```text
//! model_dir     a directory: its files, its head         save     writing it whole
//! load          filling a model's parameters
//! generation    generation_config.json                   sampling   what it says of drawing tokens
//! tokenizer_config   tokenizer_config.json           special_tokens   which token has which role
//! templates         prompt_template.json, our own    chat     chat_template.jinja, rendered
//! int8          matrices in int8, in config.json and in a file
//! kept          the rest of a directory's files  special_ids   tokens that no table has
//! weights       tensors of a file in either format       atomic   files replaced whole or not at all
//! contents      what tells a directory from any other
//! safetensors   model.safetensors, mapped and checked    pickle   pytorch_model.bin, without executing it
//! gguf          llama.cpp's files, made directories      remote   models of the Hub, fetched into Hugging Face's cache
//! ```
//!
//! What the config.json and the tensors of a family of models are called is for [`families`](crate::families) to say. Models
//! never read files: a loader hands them named tensors. Nothing here trusts a file; whatever is wrong
//! with one is an [`Error`] that names it.

pub mod atomic;
pub mod chat;
pub(crate) mod contents;
mod elements;
mod error;
pub mod generation;
pub mod gguf;
pub mod int8;
pub(crate) mod json;
pub mod kept;
pub mod load;
pub(crate) mod mmap;
pub mod model_dir;
pub mod pickle;
pub mod remote;
pub mod safetensors;
pub mod sampling;
pub mod save;
pub mod sentence;
mod shard_index;
mod special_ids;
pub mod special_tokens;
pub mod templates;

pub mod tokenizer_config;
pub mod weights;

#[cfg(test)]
mod tests;

pub(crate) use crate::messages as nearest;

pub use chat::{ChatTemplate, Message};
pub use error::{Error, Fault};
pub(crate) use json::decimal;
pub use kept::Kept;
pub(crate) use model_dir::CONFIG;
pub use model_dir::{Checked, ModelDir};
pub use pickle::TorchFault;
pub use weights::Weights;
