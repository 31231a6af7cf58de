//! Data for language models: text to token files, batches of windows, and prompts with completions.
//!
//! ```text
//! source      files of text and what a document is in them    documents   their documents, in pieces
//! prepare     text to token files, in one pass                output      the files while they grow
//! report      what was read, kept and left out                directory   a directory of token files
//! shard       one token file, read by places                  batch       packed sequences with targets
//! windows     training and validation windows                 strided     windows that score a text
//! whole       a text as one sequence                          csv         records of CSV files
//! instruct    prompts with completions                    split       which documents are for validation
//! ```
//!
//! A token file is nanoGPT's: ids as little-endian 16-bit (or 32-bit) numbers and nothing else, so
//! `train.bin` and `val.bin` can be used here as they are, and those made here elsewhere. Batches are
//! packed, as everywhere: no padding, and `cu_seqlens` says where each sequence begins.

pub mod batch;
pub mod csv;
pub mod directory;
pub(in crate::data) mod documents;
mod encode;
mod error;
mod hash;
pub mod instruct;
pub(in crate::data) mod output;
pub(in crate::data) mod permutation;
pub mod prepare;
pub mod report;
pub mod shard;
pub mod source;
mod split;
pub mod strided;
#[cfg(test)]
mod tests;
pub mod whole;
pub mod windows;

use serde::{Deserialize, Serialize};

pub use batch::{CausalBatch, Window};
pub use directory::{Sidecar, TokenDirectory, remove};
pub use error::{Error, OnFault};
pub use hash::tokenizer_hash;
pub use prepare::{Preparation, PrepareOptions, Split, prepare};
pub use report::{PrepareReport, SplitCounts};
pub use shard::{Dtype, Shard};
pub use source::{Boundary, TextSource};
pub use strided::Strided;
pub use whole::Whole;
pub use windows::{Sampling, WindowOptions, Windows};

/// A position between two batches. Ordered by time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// Epochs dealt out completely.
    pub epoch: u64,
    /// Windows or examples of the next epoch that were dealt out already.
    pub index: u64,
}
