//! Transformers from raw text to a trained and evaluated model.
//!
//! # A model that exists
//!
//! [`Model::load`] reads a Hugging Face model directory, or the run directory of a training.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use atento::Model;
//!
//! let model = Model::load("tests/fixtures/conformance/gpt2-tiny")?;
//! println!("{}", model.generate("a cat")?);
//! println!("perplexity {:.1}", model.perplexity("a red cat runs")?);
//! let translator = Model::load("tests/fixtures/conformance/marian-tiny")?;
//! println!("{}", translator.translate("a dog runs")?);
//! # Ok(())
//! # }
//! ```
//!
//! [`pipelines`], [`score`] and [`eval`] have every option of the program's verbs.
//!
//! # Training
//!
//! [`train::train()`] runs a recipe: data, batches, checkpoints, evaluation, report. A loop of one's own needs a model, an
//! [`Optimizer`], [`Grads`] and batches:
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use atento::data::tokens::CausalBatch;
//! use atento::train::recipe::OptimizerSettings;
//! use atento::train::step::{StepOptions, train_step};
//! use atento::{Grads, LanguageModel, Optimizer, Pool};
//! # use std::path::Path;
//!
//! let LanguageModel { mut model, tokenizer, .. } =
//!     LanguageModel::load(Path::new("tests/fixtures/conformance/gpt2-tiny"))?;
//! let batch = CausalBatch::of_sequences([tokenizer.encode_prompt("a red cat runs")?])?;
//! let mut optimizer = Optimizer::new(&OptimizerSettings::default(), model.params());
//! let (mut grads, pool, options) = (Grads::zeros(model.params()), Pool::new(), StepOptions::default());
//! let mut losses = Vec::new();
//! for step in 1..=2 {
//!     let batches = std::slice::from_ref(&batch);
//!     losses.push(train_step(&mut model, &mut optimizer, &mut grads, &pool, batches, step, 1e-3, &options)?.loss);
//! }
//! assert!(losses[1] < losses[0]);
//! # Ok(())
//! # }
//! ```
//!
//! # Inside
//!
//! [`layers`] and [`models`] are built on the tape of [`Graph`]; `examples/01_self_attention.rs` and those that follow show
//! attention step by step. [`hub`] reads and writes model directories, [`text`] is the tokenizer, [`data`] makes batches.

pub mod data;
pub mod demo;
pub mod encoding;
pub mod eval;
pub mod families;
pub mod generate;
pub mod hub;
pub mod json;
pub mod layers;
pub mod lfs;
pub mod memory;
pub mod messages;
pub mod models;
pub mod pipelines;
pub mod score;
pub mod tasks;
pub mod text;
pub mod train;

pub use atento_tensor::{Grads, Graph, ParamEntry, Params, Pool, Tensor};
pub use data::tokens::CausalBatch;
pub use data::{PackedBatch, Pair};
pub use generate::{ContrastiveOptions, ProcessorOptions, SampleOptions, SearchOptions, WarperOptions};
pub use models::{CausalLm, Precision, Translator};
pub use pipelines::{
    Continuation, ContinueOptions, Error, LanguageModel, Loaded, Method, Model, Pretrained, TextClassifier,
    TranslateOptions, Translation,
};
pub use score::Score;
pub use score::causal::TextScore;
pub use text::Tokenizer;
pub use train::{Optimizer, Recipe};
