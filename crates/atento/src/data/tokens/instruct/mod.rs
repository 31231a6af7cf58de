//! Prompts with completions, for supervised fine-tuning: the model reads both and learns the completion.
//!
//! ```text
//! source     where the pairs come from          template   how they are written for the model
//! examples   the tokenised set and its report   batches    packed batches, epoch by epoch
//! ```

pub mod batches;
pub mod examples;
pub mod source;
pub mod template;
#[cfg(test)]
mod tests;

pub use batches::{InstructBatches, PackOptions};
pub use examples::{Example, InstructOptions, InstructReport, InstructSet, MaskedPiece};
pub use source::InstructSource;
pub use template::{CompletionTemplate, PromptTemplate, Templates};
