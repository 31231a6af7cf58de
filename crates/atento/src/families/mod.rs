//! The families of models, one a file: what their config.json says, what their tensors are called, how a recipe describes
//! them, and how they are built. Nothing else knows a family.
//!
//! A [`Family`] is what holds for all its models, a [`Config`] is one model but for its weights. Models themselves stand in
//! [`models`](crate::models); what a family's models can do is a [`Head`], and everything outside asks for that.
//!
//! To add a family: its file here, its model in `models/`, and its line in [`ALL`].

pub mod deberta;
pub mod encoders;
pub mod gpt2;
pub mod heads;
pub mod llama;
pub mod modernbert;
pub mod recurrent;
pub mod transformer;

mod model_config;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use atento_tensor::Params;
use serde_json::{Map, Value};

use crate::hub::gguf::Architecture;
use crate::hub::json::Keys;
use crate::hub::nearest::hint;
use crate::hub::safetensors::NamedTensor;
use crate::hub::{Error, Weights};
use crate::models::parameters::NamedShape;
use crate::models::{CausalLm, Translator, Trunk};
use crate::text::SpecialIds;
use crate::train;
use crate::train::recipe::{ModelSettings, Preset};

pub use model_config::ModelConfig;

/// Every family. Where several have the head that a task needs, a recipe that names none means the first.
pub static ALL: [&dyn Family; 10] = [
    &transformer::TransformerFamily,
    &recurrent::RecurrentFamily,
    &gpt2::Gpt2Family,
    &llama::LlamaFamily,
    &encoders::BERT,
    &encoders::ROBERTA,
    &encoders::DISTILBERT,
    &encoders::ELECTRA,
    &deberta::DebertaFamily,
    &modernbert::ModernBertFamily,
];

/// What a model does with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Turns a sentence into another, by an encoder and a decoder.
    Translation,
    /// Goes on with a text.
    Language,
    /// Gives a whole text labels or values.
    Labels,
    /// Gives each token a label.
    Tags,
    /// Finds the answer to a question in a text.
    Span,
    /// Chooses one of several texts.
    Choice,
    /// Finds masked words.
    Words,
    /// Finds masked words and says whether a text follows another.
    Pretraining,
    /// Gives states and nothing more.
    States,
}

impl Head {
    /// What a model with this head does, as a verb.
    #[must_use]
    pub fn does(self) -> &'static str {
        match self {
            Head::Translation => "translates",
            Head::Language => "goes on with a text",
            Head::Labels => "gives whole texts labels or values",
            Head::Tags => "gives each token a label",
            Head::Span => "finds an answer in a text",
            Head::Choice => "chooses one of several texts",
            Head::Words => "finds masked words",
            Head::Pretraining => "finds masked words and says whether a text follows another",
            Head::States => "gives states and nothing more",
        }
    }

    /// Whether config.json names its outputs.
    #[must_use]
    pub fn has_labels(self) -> bool {
        matches!(self, Self::Labels | Self::Tags)
    }

    /// Whether outputs are searched for, token after token.
    #[must_use]
    pub fn generates(self) -> bool {
        matches!(self, Self::Translation | Self::Language)
    }
}

/// What any model has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// Rows of the embedding tables.
    pub vocab_size: usize,
    /// Width of the states between layers.
    pub d_model: usize,
    /// The longest sequence in tokens, where there is a longest.
    pub max_positions: Option<usize>,
    /// The token that begins a text, where there is one.
    pub bos_id: Option<u32>,
    /// The token that ends a text, where there is one.
    pub eos_id: Option<u32>,
    /// The padding token, where there is one.
    pub pad_id: Option<u32>,
}

/// The attention of all blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionShape {
    /// Blocks.
    pub layers: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// The width of each.
    pub head_dim: usize,
    /// Whether a token sees those before it alone.
    pub is_causal: bool,
}

/// What the parameters of a model are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Random weights, decided by a seed.
    Random(u64),
    /// Weights that are still to be loaded.
    Unloaded,
    /// The same, but for those of a head that the checkpoint may lack: random, decided by a seed.
    NewHead(u64),
    /// Names and shapes alone ([`Params::outline`]).
    Outline,
}

/// What a tensor of a file is that fills no parameter.
#[derive(Debug, PartialEq, Eq)]
pub enum Extra {
    /// Another copy of this parameter.
    CopyOf(&'static str),
    /// A table of positions.
    Positions,
    /// Known to the format and used by nothing.
    Unused,
    /// Not known.
    Unexpected,
}

impl fmt::Debug for dyn Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What holds for all models of a family.
pub trait Family: Sync {
    /// Its name in recipes, as `model.arch`.
    fn name(&self) -> &'static str;

    /// The values of `model_type` in config.json that mean it.
    fn model_types(&self) -> &'static [&'static str];

    /// What its models can do.
    fn heads(&self) -> &'static [Head];

    /// The model that the object of the config.json at `path` describes. What that leaves open, such as whether the output is
    /// a table of its own, `weights` say where they are at hand.
    ///
    /// # Errors
    /// A key is missing, of the wrong type, or has a value no model can have; the message names file and key.
    fn read(
        &self,
        path: &Path,
        object: &Map<String, Value>,
        weights: Option<&Weights>,
    ) -> Result<Arc<dyn Config>, Error>;

    /// The token that its class takes for a role (`bos`, `eos`) where config.json does not say.
    fn default_id(&self, _model_type: &str, _role: &str) -> Option<u32> {
        None
    }

    /// How GGUF files hold its models, where they do.
    fn gguf(&self) -> Option<&'static dyn Architecture> {
        None
    }

    /// The names of published shapes.
    fn shapes(&self) -> Vec<&'static str> {
        Vec::new()
    }

    /// The published shape of that name, one of [`Family::shapes`].
    fn shape(&self, _name: &str) -> Option<Arc<dyn Config>> {
        None
    }

    /// The settings of a recipe's `[model]` behind a preset.
    fn preset(&self, preset: Preset) -> ModelSettings;

    /// The keys of `[model]` that mean something for it, besides those that do for every family.
    fn keys(&self) -> &'static [&'static str];

    /// What config.json calls the shares that training sets to zero: keys of `[model]`, each with the key that it means. Where
    /// one of them means several, a later entry for one of those counts.
    fn dropouts(&self) -> Vec<(&'static str, &'static str)> {
        let same = ["dropout", "attention_dropout", "activation_dropout"];
        same.into_iter().filter(|key| self.keys().contains(key)).map(|key| (key, key)).collect()
    }

    /// The inner width of feed-forward blocks that goes with a width, where no preset says it.
    fn d_ff(&self, _d_model: usize) -> Option<usize> {
        None
    }

    /// The width that learning-rate schedules scale by.
    fn width(&self, settings: &ModelSettings) -> usize {
        settings.d_model
    }

    /// Whether its models can be told the second text of a pair by its type; otherwise both have type 0.
    fn tells_texts_by_type(&self) -> bool {
        true
    }

    /// Whether its models have heads, which divide the width.
    fn has_heads(&self) -> bool {
        true
    }

    /// Whether the longest sequence is limited, to `model.max_positions`.
    fn has_positions(&self) -> bool {
        true
    }

    /// Whether training can compute blocks again instead of keeping them.
    fn checkpoints(&self) -> bool {
        true
    }

    /// Whether keys and values can stand before the texts of its models ([`Config::attention_shape`]).
    fn takes_prefixes(&self) -> bool {
        true
    }

    /// The model that a recipe describes, of so many rows and with these tokens.
    ///
    /// # Errors
    /// Sizes that no model can have; a token that the model needs and the tokenizer lacks.
    fn of_recipe(
        &self,
        settings: &ModelSettings,
        rows: usize,
        special: SpecialIds,
    ) -> Result<Arc<dyn Config>, train::Error>;
}

/// All that determines a model but its weights.
pub trait Config: fmt::Debug + Send + Sync {
    /// Its family.
    fn family(&self) -> &'static dyn Family;

    /// What it does.
    fn head(&self) -> Head;

    /// What any model has.
    fn sizes(&self) -> Sizes;

    /// The object that config.json is to hold.
    ///
    /// # Errors
    /// A value that the format cannot express.
    fn to_json(&self) -> Result<Map<String, Value>, Error>;

    /// The class of `transformers` without its ending, such as `GPT2`.
    fn class(&self) -> &'static str;

    /// Every parameter with its shape, in the order of the table.
    fn parameters(&self) -> Vec<NamedShape>;

    /// The standard deviation of the random weights of a head that is put on it.
    fn initializer_range(&self) -> f32 {
        0.02
    }

    /// The same model with another number of tokens.
    fn with_rows(&self, rows: usize) -> Arc<dyn Config>;

    /// The Transformer alone, without an output projection.
    fn without_output(&self) -> Arc<dyn Config>;

    /// The same model with an output onto the vocabulary of its own, where that is the table of tokens.
    fn untied(&self) -> Option<Arc<dyn Config>> {
        None
    }

    /// Names under which a file may hold a parameter; the first is the one that is written.
    fn sources(&self, name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }

    /// The shape that a parameter has in the file.
    fn stored_shape(&self, _name: &str, shape: &[usize]) -> Vec<usize> {
        shape.to_vec()
    }

    /// Whether a parameter that the file lacks is zero.
    fn is_zero_if_missing(&self, _name: &str) -> bool {
        false
    }

    /// What a tensor is that no parameter was filled from.
    fn extra(&self, _stored: &str) -> Extra {
        Extra::Unexpected
    }

    /// The places that share a parameter.
    fn shared_by(&self, _name: &str) -> &'static [&'static str] {
        &[]
    }

    /// Checks the tables of positions that a file has and no parameter is filled from.
    ///
    /// # Errors
    /// One of them is not what the model computes.
    fn check_positions(&self, _weights: &Weights, _stored: &[String]) -> Result<(), Error> {
        Ok(())
    }

    /// The position tables of encoder and decoder, `[max_positions, d_model]` each, where the file has its own.
    ///
    /// # Errors
    /// A table of another size, or with an element that is no finite number.
    fn positions(&self, _weights: &Weights) -> Result<Option<[Vec<f32>; 2]>, Error> {
        Ok(None)
    }

    /// Tensors that are written besides the parameters.
    fn more_tensors<'p>(&self, _params: &'p Params, _positions: Option<[&'p [f32]; 2]>) -> Vec<NamedTensor<'p>> {
        Vec::new()
    }

    /// The settings of a recipe's `[model]` that describe it; those without a meaning for it stay as they are.
    fn describe(&self, settings: &ModelSettings) -> ModelSettings;

    /// About how many numbers a training step keeps, with so many tokens on each side; with `checkpoint`, where blocks are
    /// computed again.
    fn activations(&self, tokens: f64, checkpoint: bool) -> f64;

    /// Numbers of a table that is no parameter.
    fn table_len(&self) -> usize {
        0
    }

    /// The attention that virtual tokens can stand before, where that of every block is one over keys and values alone.
    fn attention_shape(&self) -> Option<AttentionShape> {
        None
    }

    /// The model, if it translates.
    fn translator(&self, _start: Start) -> Option<Box<dyn Translator>> {
        None
    }

    /// The parts that make a head on this Transformer, if its models have that head; `outputs` are labels where those are
    /// named in config.json.
    fn parts(&self, _head: Head, _outputs: usize) -> Option<Vec<heads::Part>> {
        None
    }

    /// Names under which a file may hold a parameter of a head; the first is the one that is written.
    fn sources_of_part(&self, name: &str) -> Vec<String> {
        vec![name.to_owned()]
    }

    /// [`Config::sources`] of a parameter of this Transformer below a head.
    fn sources_below(&self, _head: Head, name: &str) -> Vec<String> {
        self.sources(name)
    }

    /// What a tensor is that no parameter of a model with this head was filled from.
    fn extra_of(&self, _head: Head, stored: &str) -> Extra {
        self.extra(stored)
    }

    /// The head and what is below it, if it has one of [`heads`].
    fn headed(&self) -> Option<&heads::Headed> {
        None
    }

    /// The model, if it goes on with texts.
    fn causal(&self, _start: Start) -> Option<Box<dyn CausalLm>> {
        None
    }

    /// The Transformer that heads stand on, if they can.
    fn trunk(&self, start: Start) -> Option<Box<dyn Trunk>> {
        self.causal(start).map(|model| model as Box<dyn Trunk>)
    }
}

/// How many numbers all parameters of a model hold.
#[must_use]
pub fn parameter_count(config: &dyn Config) -> usize {
    config.parameters().iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
}

/// The family of that name, as recipes have it.
#[must_use]
pub fn named(name: &str) -> Option<&'static dyn Family> {
    ALL.into_iter().find(|family| family.name() == name)
}

/// The families whose models have one of these heads.
pub fn with_heads(heads: &[Head]) -> impl Iterator<Item = &'static dyn Family> {
    ALL.into_iter().filter(move |family| family.heads().iter().any(|head| heads.contains(head)))
}

/// The family and the head that the object of the config.json at `path` names.
///
/// # Errors
/// `model_type` is missing or none that a family has.
pub fn detect(path: &Path, object: &Map<String, Value>) -> Result<(&'static dyn Family, Head), Error> {
    const KEY: &str = "model_type";
    let known = quoted(ALL.into_iter());
    let Some(value) = object.get(KEY).filter(|value| !value.is_null()) else {
        let hint = format!("{}; expected one of {known}", hint(KEY, object.keys().map(String::as_str)));
        return Err(Error::MissingKey { path: path.into(), key: KEY.into(), hint });
    };
    let is_named = |family: &&'static dyn Family| value.as_str().is_some_and(|it| family.model_types().contains(&it));
    let Some(family) = ALL.into_iter().find(is_named) else {
        return Err(Keys::new(path, object).wrong(KEY, format!("one of {known}")));
    };
    let declared = heads::declared(object).filter(|head| family.heads().contains(head));
    Ok((family, declared.unwrap_or(family.heads()[0])))
}

/// The model that the object of the config.json at `path` describes, with its head; see [`Family::read`].
///
/// # Errors
/// As there, and those of [`detect`].
pub fn read(path: &Path, object: &Map<String, Value>, weights: Option<&Weights>) -> Result<Arc<dyn Config>, Error> {
    let (family, head) = detect(path, object)?;
    let config = family.read(path, object, weights)?;
    if head.generates() {
        return Ok(config);
    }
    let mut headed = heads::Headed::read(path, object, &config, head)?;
    if head == Head::States && weights.is_some_and(|weights| !headed.has_parts_in(weights)) {
        headed.parts.clear();
    }
    Ok(Arc::new(headed))
}

/// The `model_type`s of families, in quotes.
pub(crate) fn quoted(families: impl Iterator<Item = &'static dyn Family>) -> String {
    let names = families.flat_map(|family| family.model_types()).map(|name| format!("\"{name}\""));
    names.collect::<Vec<_>>().join(", ")
}
