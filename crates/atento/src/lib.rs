//! Transformers from raw text to a trained and evaluated model.
//!
//! A tour, in the order in which most people meet things. Every block runs as it stands, in the directory of this crate.
//!
//! # Use a model
//!
//! [`Model::load`] reads a Hugging Face model directory, or the run directory of a training.
//!
//! ```
//! use atento::Model;
//!
//! let model = Model::load("tests/fixtures/conformance/gpt2-tiny")?;
//! println!("{}", model.generate("a cat")?);
//! println!("perplexity {:.1}", model.perplexity("a red cat runs")?);
//! let translator = Model::load("tests/fixtures/conformance/marian-tiny")?;
//! println!("{}", translator.translate("a dog runs")?);
//! let classifier = Model::load("tests/fixtures/conformance/bert-labels")?;
//! println!("{:?}", classifier.classify("a red cat runs")?[0]);
//! # Ok::<(), atento::Error>(())
//! ```
//!
//! Where it is known what a model does, [`LanguageModel`] or [`Pretrained`], a translator, loads it. They have options, take
//! many texts at once, and score texts that are given. [`ContinueOptions`] and [`TranslateOptions`] begin as the model's own
//! settings.
//!
//! ```
//! use atento::{ContinueOptions, LanguageModel, Pretrained, WarperOptions};
//!
//! let language = LanguageModel::load("tests/fixtures/conformance/llama-tiny")?;
//! let warpers = WarperOptions { top_k: 20, ..WarperOptions::default() };
//! let options = ContinueOptions { max_new_tokens: Some(8), ..ContinueOptions::sampled(&language, warpers, 1) };
//! for continuations in language.generate_all(&["a cat", "a dog"], &options)? {
//!     println!("{}", continuations[0].text);
//! }
//! println!("{:.2}", language.score(&["a red cat runs"])?[0].sum_logprob());
//!
//! let translator = Pretrained::load("tests/fixtures/conformance/marian-tiny")?;
//! let mut options = translator.translate_options();
//! options.search.beam = 4;
//! println!("{}", translator.translate_all(&["a dog runs", "a cat"], &options)?[1][0].text);
//! println!("{:.2}", translator.score(&[("a dog", "ein Hund")])?[0].sum_logprob());
//! # Ok::<(), atento::Error>(())
//! ```
//!
//! [`TextModel`] is a model with a head: labels of texts and of tokens, masked words, answers, choices, vectors
//! ([`pipelines::texts`]).
//!
//! [`pipelines`], [`score`](mod@score) and [`eval`] have every option of the program's verbs.
//!
//! # Train from a recipe
//!
//! A [`Recipe`] names its data and whatever should differ from the defaults. It is a TOML file ([`Recipe::load`]), a text
//! ([`Recipe::parse`]) or built in code. [`train::train()`] follows it: data, tokenizer, batches, checkpoints, evaluation, a
//! report, and a model directory. A [`Reporter`] is told how it goes; `()` is one that says nothing.
//!
//! ```
//! use atento::{Model, Recipe, StopFlag, TrainOptions, train};
//!
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! std::fs::write(folder.join("text.txt"), "a red cat runs. a dog sees the red cat. ".repeat(20))?;
//! let mut recipe = Recipe::of_task("causal-lm")?;
//! recipe.out = Some(folder.join("run"));
//! recipe.data.text = Some(folder.join("text.txt"));
//! recipe.data.block_size = Some(16);
//! recipe.tokenizer.vocab_size = 280;
//! (recipe.model.d_model, recipe.model.d_ff, recipe.model.layers, recipe.model.heads) = (16, 32, 1, 2);
//! (recipe.train.max_steps, recipe.train.batch_tokens, recipe.schedule.warmup_steps) = (Some(4), 64, Some(1));
//! let summary = train::train(&recipe, &TrainOptions::default(), &StopFlag::new(), &mut ())?;
//! println!("{} steps, {:?}", summary.steps, summary.metrics);
//! println!("{}", Model::load(folder.join("run"))?.generate("a red")?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # A loop of one's own
//!
//! A loop needs a model, batches, and a [`Learner`], which keeps the optimizer and the gradients. What is frozen before keeps
//! its values. Every parameter has a name and can be read and changed.
//!
//! ```
//! use atento::{LanguageModel, Learner};
//!
//! let mut language = LanguageModel::load("tests/fixtures/conformance/gpt2-tiny")?;
//! language.model.params_mut().freeze(|entry| entry.name.starts_with("wte") || entry.name.starts_with("h.0."));
//! let batches = [language.batch(&["a red cat runs", "a dog sees the red cat"])?];
//! let mut learner = Learner::new(language.model.params());
//! let mut losses = Vec::new();
//! for _ in 0..2 {
//!     losses.push(learner.step(&mut language.model, &batches, 1e-3)?.loss);
//! }
//! assert!(losses[1] < losses[0]);
//!
//! let bias = language.model.params().entry("ln_f.bias").ok_or("there is no such parameter")?.weight;
//! language.model.params_mut().get_mut(bias).fill(0.0);
//! # let folder = tempfile::tempdir()?;
//! # let folder = folder.path();
//! language.save(folder.join("model"))?;
//! assert_eq!(LanguageModel::load(folder.join("model"))?.generate("a cat")?, language.generate("a cat")?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`train::step`] has the update itself, and says what a model of another kind must do to be trained
//! ([`Trainable`](train::step::Trainable)).
//!
//! # Inside
//!
//! A forward pass is a [`Graph`], over [`Params`]; the memory of its tensors comes from a [`Pool`]. [`layers`] and [`models`]
//! are built of its ops, which are those of [`tensor`].
//!
//! ```
//! use atento::{Graph, LanguageModel, Pool};
//!
//! let LanguageModel { model, tokenizer, .. } = LanguageModel::load("tests/fixtures/conformance/gpt2-tiny")?;
//! let (ids, pool) = (tokenizer.encode_text("a red cat runs")?, Pool::new());
//! let logits = model.logits(&mut Graph::infer(model.params(), &pool), &ids, &[0, ids.len() as u32]);
//! assert_eq!(logits.dims(), [ids.len(), model.vocab_size()]);
//! # Ok::<(), atento::Error>(())
//! ```
//!
//! `examples/01_self_attention.rs` and those that follow show attention step by step; from `examples/07_your_own_loop.rs` on
//! they show one thing each that a person may want to do. [`hub`] reads and writes model directories, [`text`] is the
//! tokenizer, [`data`] makes batches, [`generate`] searches and samples over any decoder.

pub mod data;
pub mod demo;
pub mod encoding;
pub mod eval;
pub mod explain;
pub mod families;
pub mod generate;
pub mod hub;
pub mod json;
pub mod layers;
pub mod lfs;
pub mod memory;
pub mod messages;
pub mod models;
pub mod peft;
pub mod pipelines;
pub mod score;
pub mod tasks;
pub mod text;
pub mod train;

pub use atento_tensor as tensor;
pub use atento_tensor::{Grads, Graph, ParamEntry, Params, Pool, Tensor, Weight};
pub use data::tokens::CausalBatch;
pub use data::{PackedBatch, Pair};
pub use explain::AttentionMaps;
pub use generate::{ContrastiveOptions, ProcessorOptions, SampleOptions, SearchOptions, WarperOptions};
pub use models::{CausalLm, Precision, Translator};
pub use pipelines::{
    Continuation, ContinueOptions, Error, LanguageModel, Loaded, Method, Model, Pretrained, TextModel,
    TranslateOptions, Translation,
};
pub use score::Score;
pub use score::causal::TextScore;
pub use text::{Tokenizer, TrainOptions as TokenizerOptions};
pub use train::{
    Event, Learner, Optimizer, OptimizerSettings, Recipe, Reporter, StepOptions, StopFlag, Summary, TrainOptions,
};
