//! Pre-training data for masked language models: text to a token file, and a token file to the examples of an epoch.
//!
//! ```text
//! settings    what is asked of texts and of examples      markers    the tokens around segments, and those that are words
//! sentences   documents to sentences                      words      sentences to tokens and the beginnings of words
//! output      the files while they grow                   prepare    texts to files, in one pass
//! corpus      the files, read by places                   layout     which tokens make an example
//! mask        what is hidden of one                       epoch      the examples of an epoch, in their order
//! batches     packed batches                              report     what was read and what was drawn
//! ```
//!
//! The tasks are those of BERT (Devlin et al., "BERT: Pre-training of deep bidirectional transformers", 2019, §3.1 and
//! appendix A.2) with the next sentence to be told from another document's, of RoBERTa (Liu et al., 2019) without, and
//! of ALBERT (Lan et al., 2020, §3.1) with the order of two segments. Whole words and spans (Joshi et al., "SpanBERT",
//! 2020, §3.1) are options of the masks.
//!
//! Both stages are in one order whatever the number of threads, and hold a bounded part of the data in memory: the first
//! two batches of text, and 8 to 20 bytes for each document, by which equal ones are known; the second the outlines of the
//! examples of about two million tokens.

mod batches;
mod corpus;
mod epoch;
mod error;
mod layout;
mod markers;
mod mask;
mod output;
mod prepare;
mod pretrain_data;
mod report;
mod sentences;
mod settings;
#[cfg(test)]
mod tests;
mod words;

use serde::{Deserialize, Serialize};

pub use batches::{Batches, PretrainBatch};
pub use error::Error;
pub use markers::{Markers, Role};
pub use pretrain_data::PretrainData;
pub use report::{CorpusReport, Drawn};
pub use settings::{BatchSize, Draw, ExampleOptions, Fold, Objective, PretrainConfig, TextOptions, Units};

/// A position between two batches. Ordered by time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cursor {
    /// Epochs dealt out completely.
    pub epoch: u64,
    /// Windows of the next epoch that were dealt out completely: stretches of its order that are shuffled as one.
    pub window: u64,
    /// Examples of the next window that were dealt out already.
    pub index: u64,
}
