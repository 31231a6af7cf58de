//! From files of text to packed batches.
//!
//! [`lines`] reads lines, [`parallel`] pairs them, [`encode`] turns pairs into ids and counts what it
//! leaves out ([`report`]), [`share`] holds some out for validation, [`header`] notices the names of columns, [`dataset`] holds
//! them, [`batches`] packs them and [`stream`] deals them out epoch by epoch from a cursor that can be saved. [`tokens`] is the same for language models: text to
//! token files, windows of them, and prompts with completions. [`pretrain`] makes the
//! masked examples of encoders. `hash` tells whether a run goes on with its own data.

mod bad_lines;
pub mod batches;
pub mod dataset;
pub mod demo;
pub mod encode;
mod error;
mod gzip;
pub(crate) mod hash;
pub mod header;
mod jsonl;
pub mod labelled;
pub mod lines;
pub mod parallel;
mod plan;
pub mod pretrain;
mod raw;
pub mod report;
pub mod share;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod tokens;
mod tsv;

pub(crate) use bad_lines::BadLines;
pub use bad_lines::{LineReport, OnBadLine};
pub use batches::{BatchOptions, Order, PackedBatch, Pair};
pub use dataset::Dataset;
pub use encode::{OnTruncate, PairOptions};
pub use error::Error;
pub use lines::{LineError, LineReader};
pub use parallel::{ParallelSource, RawPair, load_pairs};
pub use raw::read_text;
pub use report::DataReport;
pub use stream::{Batches, Cursor};
pub use tsv::Columns;
