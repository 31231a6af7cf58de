//! Checkpoints: Hugging Face directories in and out.
//!
//! ```text
//! model_dir     a directory: its files, its kind         save     writing it whole
//! marian        config.json of post-norm models          m2m100   of pre-norm models
//! recurrent     config.json of the recurrent baseline    gpt2     config.json and names of decoder-only models
//! names         parameter names here and there           load     filling a model's parameters
//! generation    generation_config.json                   sampling   what it says of drawing tokens
//! tokenizer_config   tokenizer_config.json           special_tokens   which token has which role
//! templates         prompt_template.json, our own
//! gpt2_classifier   config.json of GPT-2 with labels
//! int8          matrices in int8, in config.json and in a file
//! kept          the rest of a directory's files  special_ids   tokens that no table has
//! weights       tensors of a file in either format       atomic   files replaced whole or not at all
//! safetensors   model.safetensors, mapped and checked    pickle   pytorch_model.bin, without executing it
//! ```
//!
//! Models never read files: a loader hands them named tensors. Nothing here trusts a file; whatever is wrong
//! with one is an [`Error`] that names it.

pub mod atomic;
mod elements;
mod error;
pub mod generation;
pub mod gpt2;
pub mod gpt2_classifier;
pub mod int8;
mod json;
pub mod kept;
pub mod load;
pub mod m2m100;
pub mod marian;
pub(crate) mod mmap;
pub mod model_dir;
pub mod names;
pub mod pickle;
pub mod recurrent;
pub mod safetensors;
pub mod sampling;
pub mod save;
mod seq2seq;
mod shard_index;
mod special_ids;
pub mod special_tokens;
pub mod templates;

pub mod tokenizer_config;
pub mod weights;

#[cfg(test)]
mod tests;

use crate::messages as nearest;

pub use error::{Error, Fault};
pub use kept::Kept;
pub use model_dir::{Checked, ModelDir, ModelKind};
pub use pickle::TorchFault;
pub(crate) use seq2seq::decimal;
pub use weights::Weights;
