//! Prompts with completions and conversations, for supervised fine-tuning: the model reads all and learns the completion, or
//! what the assistant says.
//!
//! ```text
//! source     where examples come from           template   how prompts and completions are written for the model
//! encoder    from text to tokens                examples   the tokenised set and its report
//! batches    packed batches, epoch by epoch
//! ```

pub mod batches;
mod encoder;
pub mod examples;
pub mod source;
pub mod template;
#[cfg(test)]
mod tests;

pub use batches::{InstructBatches, PackOptions};
pub use examples::{Example, InstructOptions, InstructReport, InstructSet, MaskedPiece};
pub use source::InstructSource;
pub use template::{CompletionTemplate, PromptTemplate, Templates};
