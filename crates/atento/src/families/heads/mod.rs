//! What stands on a Transformer in place of an output that goes on with the text: labels for texts or tokens, the ends of an
//! answer, a choice, masked words. config.json of the classes whose names end in `ForSequenceClassification`,
//! `ForTokenClassification`, `ForQuestionAnswering`, `ForMultipleChoice`, `ForMaskedLM` and `ForPreTraining`, and of the bare
//! ones that end in `Model`.
//!
//! Which parts a head has, and what they are called, the family says ([`Config::parts`]).

pub mod labels;
pub mod part;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use atento_tensor::Params;
use serde_json::{Map, Value, json};

use super::{AttentionShape, Config, Extra, Family, Head, Sizes, Start};
use crate::hub::json::Keys;
use crate::hub::safetensors::NamedTensor;
use crate::hub::{Error, Weights};
use crate::messages;
use crate::models::Trunk;
use crate::models::config::{ConfigError, LARGEST_SIZE, wrong};
use crate::models::parameters::NamedShape;
use crate::train::recipe::ModelSettings;

pub use labels::Objective;
pub use part::{Norm, Output, Part, Reads, Transform};

/// How the classes of the heads end; a class with an ending that is not here is that of another head.
const ENDINGS: [(&str, Head); 7] = [
    ("ForSequenceClassification", Head::Labels),
    ("ForTokenClassification", Head::Tags),
    ("ForQuestionAnswering", Head::Span),
    ("ForMultipleChoice", Head::Choice),
    ("ForMaskedLM", Head::Words),
    ("ForPreTraining", Head::Pretraining),
    ("Model", Head::States),
];

/// The ends of an answer: its first and its last token.
pub const SPAN_OUTPUTS: usize = 2;

/// A Transformer with a head, but for its weights.
#[derive(Debug, Clone)]
pub struct Headed {
    /// The Transformer below, without an output projection of its own.
    pub trunk: Arc<dyn Config>,
    /// What stands on it.
    pub head: Head,
    /// What each output stands for, where outputs are labels.
    pub labels: Vec<String>,
    /// What outputs of texts are measured by.
    pub objective: Objective,
    /// What the labels of texts are read off, in place of what the family has for them.
    pub pooling: Option<Reads>,
    /// The parts, those of whole texts before those of tokens.
    pub parts: Vec<Part>,
}

/// The key of config.json that names the pooling; it is this program's own.
const POOLING: &str = "head_pooling";

/// The poolings of whole texts, by the words in config.json.
const POOLINGS: [(&str, Reads); 3] = [("cls", Reads::First), ("mean", Reads::Mean), ("last", Reads::Last)];

/// What config.json calls a pooling.
pub(crate) fn pooling_word(pooling: Reads) -> &'static str {
    POOLINGS.iter().find(|(_, reads)| *reads == pooling).map_or("tokens", |(word, _)| word)
}

/// The path of the output that stands on a pooling alone. It is no name that a class of `transformers` has, which would put
/// that output on something else.
pub(crate) const POOLED_OUTPUT: &str = "pooled_classifier";

/// The head that `architectures` names, if it is one of these.
pub(super) fn declared(config: &Map<String, Value>) -> Option<Head> {
    if config.contains_key(POOLING) {
        return Some(Head::Labels);
    }
    let names = config.get("architectures").and_then(Value::as_array).into_iter().flatten();
    let head_of = |name: &str| ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, head)| *head);
    names.filter_map(Value::as_str).find_map(head_of)
}

impl Headed {
    /// A head on a Transformer; `labels` are those of its outputs, where those are labels.
    ///
    /// # Errors
    /// Models of the family have no such head; labels that cannot be.
    pub fn new(
        trunk: &Arc<dyn Config>,
        head: Head,
        labels: Vec<String>,
        objective: Objective,
    ) -> Result<Self, ConfigError> {
        let trunk = trunk.without_output();
        let no_such = || wrong("head", format!("{head:?}"), no_head(head));
        let parts = trunk.parts(head, outputs(head, &labels)).ok_or_else(no_such)?;
        let config = Self { trunk, head, labels, objective, pooling: None, parts };
        config.validate()?;
        Ok(config)
    }

    /// The same labels, read off a pooling of the states by one projection.
    #[must_use]
    pub fn pooled(self, reads: Reads) -> Self {
        let parts = vec![Part::plain(reads, 0.0, Output::dense(POOLED_OUTPUT, self.labels.len()))];
        Self { pooling: Some(reads), parts, ..self }
    }

    /// Reads the head from the object of the config.json at `path`, whose other keys describe `trunk`.
    ///
    /// # Errors
    /// A key is of the wrong type or has a value no model can have; the message names file and key.
    pub(super) fn read(
        path: &Path,
        object: &Map<String, Value>,
        trunk: &Arc<dyn Config>,
        head: Head,
    ) -> Result<Self, Error> {
        let keys = Keys::new(path, object);
        let names = if head.has_labels() { labels::read(keys, object)? } else { Vec::new() };
        let objective =
            if head == Head::Labels { labels::objective(keys, names.len())? } else { Objective::Classification };
        let found = Self::new(trunk, head, names, objective).map_err(|error| match error.key {
            "head" => keys.wrong("architectures", error.expected),
            _ => keys.wrong("id2label", error.expected),
        })?;
        let Some(word) = keys.optional::<String>(POOLING)?.filter(|_| head == Head::Labels) else { return Ok(found) };
        let words = || messages::list(POOLINGS.iter().map(|(word, _)| *word));
        let reads = POOLINGS.iter().find(|(known, _)| *known == word).map(|(_, reads)| *reads);
        reads.map(|reads| found.pooled(reads)).ok_or_else(|| keys.wrong(POOLING, words()))
    }

    /// Checks that a model can be built from these values.
    ///
    /// # Errors
    /// The first value that cannot be: its key, the value, and what it may be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !self.head.has_labels() {
            return Ok(());
        }
        let least = if self.head == Head::Labels && self.objective == Objective::Classification { 2 } else { 1 };
        if !(least..=LARGEST_SIZE).contains(&self.labels.len()) {
            return Err(wrong("labels", self.labels.len(), format!("from {least} to {LARGEST_SIZE} labels")));
        }
        let mut sorted: Vec<&String> = self.labels.iter().collect();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(wrong("labels", format!("{:?} twice", pair[0]), "labels that differ")),
            None => Ok(()),
        }
    }

    /// The names of all parameters that are not the Transformer's own.
    #[must_use]
    pub fn own_parameters(&self) -> Vec<NamedShape> {
        let d_model = self.sizes().d_model;
        self.parts.iter().flat_map(|part| part.parameters(d_model)).collect()
    }

    /// Whether a file has all that stands on the Transformer.
    pub(super) fn has_parts_in(&self, weights: &Weights) -> bool {
        self.own_parameters().iter().all(|(name, _)| self.sources(name).iter().any(|name| weights.contains(name)))
    }

    fn is_own(&self, name: &str) -> bool {
        self.own_parameters().iter().any(|(own, _)| own == name)
    }
}

/// What a model must be to get a head.
fn no_head(head: Head) -> String {
    format!(
        "a family whose models can be made to do this ({}): {}",
        head.does(),
        super::quoted(super::with_heads(&[head]))
    )
}

/// How many outputs a head has; those of words are as many as there are words.
fn outputs(head: Head, labels: &[String]) -> usize {
    match head {
        Head::Labels | Head::Tags => labels.len(),
        Head::Span => SPAN_OUTPUTS,
        _ => 1,
    }
}

impl Config for Headed {
    fn family(&self) -> &'static dyn Family {
        self.trunk.family()
    }

    fn head(&self) -> Head {
        self.head
    }

    fn sizes(&self) -> Sizes {
        self.trunk.sizes()
    }

    fn to_json(&self) -> Result<Map<String, Value>, Error> {
        let mut object = self.trunk.to_json()?;
        // No class of `transformers` has an output on a pooling: the bare one reads what is left.
        let class = if self.pooling.is_some() { Head::States } else { self.head };
        let ending = ENDINGS.iter().find(|(_, head)| *head == class).map_or("", |(ending, _)| ending);
        object.insert("architectures".into(), json!([format!("{}{ending}", self.class())]));
        if self.head.has_labels() {
            labels::write(&self.labels, &mut object);
        }
        if self.head == Head::Labels {
            object.insert("problem_type".into(), json!(self.objective.word()));
        }
        if let Some(pooling) = self.pooling {
            object.insert(POOLING.into(), json!(pooling_word(pooling)));
        }
        Ok(object)
    }

    fn class(&self) -> &'static str {
        self.trunk.class()
    }

    fn parameters(&self) -> Vec<NamedShape> {
        [self.trunk.parameters(), self.own_parameters()].concat()
    }

    fn with_rows(&self, rows: usize) -> Arc<dyn Config> {
        let trunk = self.trunk.with_rows(rows);
        let parts = match self.pooling {
            Some(_) => self.parts.clone(),
            None => trunk.parts(self.head, outputs(self.head, &self.labels)).expect("the head of the same family"),
        };
        Arc::new(Self { trunk, parts, ..self.clone() })
    }

    fn without_output(&self) -> Arc<dyn Config> {
        Arc::clone(&self.trunk)
    }

    fn untied(&self) -> Option<Arc<dyn Config>> {
        if !matches!(self.head, Head::Words | Head::Pretraining) {
            return None;
        }
        let trunk = self.trunk.untied()?;
        let parts = trunk.parts(self.head, outputs(self.head, &self.labels))?;
        Some(Arc::new(Self { trunk, parts, ..self.clone() }))
    }

    fn sources(&self, name: &str) -> Vec<String> {
        if self.is_own(name) { self.trunk.sources_of_part(name) } else { self.trunk.sources_below(self.head, name) }
    }

    fn stored_shape(&self, name: &str, shape: &[usize]) -> Vec<usize> {
        if self.is_own(name) { shape.to_vec() } else { self.trunk.stored_shape(name, shape) }
    }

    fn is_zero_if_missing(&self, name: &str) -> bool {
        !self.is_own(name) && self.trunk.is_zero_if_missing(name)
    }

    fn extra(&self, stored: &str) -> Extra {
        self.trunk.extra_of(self.head, stored)
    }

    fn shared_by(&self, name: &str) -> &'static [&'static str] {
        self.trunk.shared_by(name)
    }

    /// The bias of an output onto the vocabulary, where `transformers` has it in two places: those of a model that is not tied
    /// are read apart.
    fn more_tensors<'p>(&self, params: &'p Params, _positions: Option<[&'p [f32]; 2]>) -> Vec<NamedTensor<'p>> {
        let copy = |part: &Part| {
            let Output { weight, bias, .. } = part.output.as_ref()?;
            let name = format!("{}.bias", weight.as_ref()?.strip_suffix(".weight")?);
            let entry = params.entry(bias.as_ref().filter(|bias| **bias != name)?)?;
            Some(NamedTensor::new(name, entry.dims.clone(), params.to_f32(entry.weight)))
        };
        self.parts.iter().filter_map(copy).collect()
    }

    fn describe(&self, settings: &ModelSettings) -> ModelSettings {
        self.trunk.describe(settings)
    }

    fn attention_shape(&self) -> Option<AttentionShape> {
        self.trunk.attention_shape()
    }

    fn activations(&self, tokens: f64, checkpoint: bool) -> f64 {
        self.trunk.activations(tokens, checkpoint)
    }

    fn headed(&self) -> Option<&Headed> {
        Some(self)
    }

    fn trunk(&self, start: Start) -> Option<Box<dyn Trunk>> {
        self.trunk.trunk(start)
    }
}
