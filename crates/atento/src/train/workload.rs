//! What a run trains: the part of it that differs between translation, language modelling, and answering prompts.
//!
//! The loop, its checkpoints and its log are the trainer's; a workload brings model and data, deals out batches, and
//! judges the model.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use atento_tensor::Pool;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::TrainOptions;
use super::checkpoint::Checkpoint;
use super::fit::Computed;
use super::recipe::{Metric, Recipe};
use super::report::Sample;
use super::step::Trainable;
use super::{Error, StopFlag};
use crate::data::tokens::instruct::Templates;
use crate::families::Config;
use crate::hub::Kept;
use crate::hub::generation::GenerationConfig;
use crate::pipelines::{Loaded, Net};
use crate::text::Tokenizer;

/// Batches, each with the place in the data behind it.
pub(crate) type Batches<W> =
    Box<dyn Iterator<Item = Result<(<<W as Workload>::Model as Trainable>::Batch, <W as Workload>::Cursor), Error>>>;

/// What is made of a model at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Making {
    /// Its weights: random, or those of the model to start from.
    Weights,
    /// Its sizes alone, which take no memory: for a plan.
    Outline,
}

/// A workload at the beginning of a run or of a later part of it.
pub(crate) struct Begun<W> {
    /// The recipe; where there was a model already, it describes that one.
    pub recipe: Recipe,
    /// Model and data.
    pub work: W,
    /// Where the model came from, if the run did not make it.
    pub from: Option<PathBuf>,
    /// What the user should know.
    pub notes: Vec<String>,
    /// Settings that were computed from the data to make the model.
    pub computed: Vec<Computed>,
}

/// Where features are kept.
pub(crate) struct Store {
    /// The directory.
    pub dir: PathBuf,
    /// What tells the model that the run starts from, from any other.
    pub base: String,
}

/// What validation found.
pub(crate) struct Measured {
    /// Cross-entropy per target, in nats; of values, the squared error.
    pub loss: f64,
    /// What else was measured: BLEU, accuracy, ….
    pub scores: Vec<(Metric, f64)>,
}

impl Measured {
    /// The loss alone.
    pub fn loss(loss: f64) -> Self {
        Self { loss, scores: Vec::new() }
    }
}

/// What the finished model is worth.
#[derive(Default)]
pub(crate) struct Judgement {
    /// Measures by name: `valid_loss`, `test_bleu`, …
    pub metrics: BTreeMap<String, f64>,
    /// The signature of the BLEU scores.
    pub signature: Option<String>,
    /// What the model makes, for the report.
    pub samples: Vec<Sample>,
    /// A line of the data as the verb that uses the model reads it.
    pub example: Option<String>,
    /// Labels, and for each of them how often each was found in its place.
    pub matrix: Option<(Vec<String>, Vec<Vec<u64>>)>,
}

/// A model, its data, and how it is judged.
pub(crate) trait Workload: Sized {
    /// What is trained.
    type Model: Trainable + Net;
    /// A place in the training data.
    type Cursor: Copy + Default + Serialize + DeserializeOwned + 'static;

    /// What `tokens_per_second` counts.
    const TOKENS: &'static str;
    /// What [`Workload::examples`] counts.
    const EXAMPLES: &'static str;
    /// What a sample's input and the output in the data are called in the report.
    const SAMPLE: [&'static str; 2];

    /// What the loss is measured in: `nats per target token`.
    fn loss_unit(&self) -> &'static str;

    /// Reads and checks everything, and writes nothing but what it makes of its data, below the run directory `run`. The
    /// model's weights are not those of `resumed` yet.
    fn begin(
        recipe: &Recipe,
        options: &TrainOptions,
        resumed: Option<&Checkpoint>,
        run: &Path,
        making: Making,
    ) -> Result<Begun<Self>, Error>;

    /// The model with its tokenizer and settings.
    fn loaded(&self) -> &Loaded<Self::Model>;

    /// The same, to be trained.
    fn loaded_mut(&mut self) -> &mut Loaded<Self::Model>;

    /// What stays with a model that is trained further.
    fn base(&self) -> (&GenerationConfig, &Kept) {
        (&self.loaded().generation, &self.loaded().kept)
    }

    /// The model.
    fn model(&self) -> &Self::Model {
        &self.loaded().model
    }

    /// The model, to be trained.
    fn model_mut(&mut self) -> &mut Self::Model {
        &mut self.loaded_mut().model
    }

    /// All that determines the model but its weights.
    fn config(&self) -> Arc<dyn Config> {
        Net::config(self.model())
    }

    /// The tokenizer, of which the run keeps a copy.
    fn tokenizer(&self) -> &Tokenizer {
        &self.loaded().tokenizer
    }

    /// How prompts and completions are written for the model, of which the run keeps a copy too.
    fn templates(&self) -> Option<&Templates> {
        self.loaded().templates.as_ref()
    }

    /// Examples of a pass over the training data.
    fn examples(&self) -> usize;

    /// Tokens that a pass over the training data predicts.
    fn targets_per_epoch(&self) -> u64;

    /// Tokens of a pass over the training data, of pairs those of both sides.
    fn tokens_per_epoch(&self) -> u64;

    /// Tokens of a pass that go through all weights. Half the weights of a translator read each side of a pair: as many
    /// as are predicted.
    fn weighed_tokens(&self) -> u64 {
        self.targets_per_epoch()
    }

    /// What is in the data and what was left out.
    fn data_json(&self) -> serde_json::Value;

    /// What is in the data and what was left out, one `name: value` a line.
    fn data_report(&self) -> String;

    /// What of the data is not learned or not measured as it stands there: a line for each thing the user should know.
    fn losses(&self) -> Vec<String>;

    /// Equal for the same training and validation data and, but for one chance in 2^64, different for other data.
    fn data_hash(&self) -> Result<u64, Error>;

    /// The passes that were finished at a place in the data.
    fn epoch(cursor: Self::Cursor) -> u64;

    /// The batches of the recipe from a place in the data on.
    fn batches(&self, recipe: &Recipe, from: Self::Cursor) -> Result<Batches<Self>, Error>;

    /// How many batches a pass over the training data has, found without building them; more or less, where the data is
    /// too large to be in memory.
    fn batches_per_epoch(&self, recipe: &Recipe) -> Result<u64, Error>;

    /// Sets the output of the model to the best one on features of the training data, which `store` keeps; returns what the
    /// user should know. Only tasks that read whole texts do this. [`Error::Stopped`] where `stop` was raised before the end.
    fn solve(&mut self, _store: &Store, _pool: &Pool, _stop: &StopFlag) -> Result<Vec<String>, Error> {
        Err(Error::Setting { key: "train.method", problem: "\"features\" is not for this task".into() })
    }

    /// Judges the model during training; `None` without validation data. [`Error::Stopped`] where `stop` was raised
    /// before the end.
    fn measure(&self, recipe: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Option<Measured>, Error>;

    /// Judges the finished model; [`Error::Stopped`] as above.
    fn judge(&mut self, recipe: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Judgement, Error>;

    /// Rows of the report's table on the model.
    fn describe(&self) -> Vec<(String, String)>;
}
