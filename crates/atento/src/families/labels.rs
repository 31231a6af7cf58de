//! Labels or values for whole texts, on a Transformer of any family that goes on with texts: config.json of the classes
//! whose names end in `ForSequenceClassification`.
//!
//! The number of labels is that of `id2label`, or `num_labels` where that is absent; `label2id` says the same backwards and
//! is written only. What outputs are measured by is `problem_type`, or follows from their number.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Config, Extra, Family, Head, Sizes, Start};
use crate::hub::Error;
use crate::hub::json::Keys;
use crate::models::CausalLm;
use crate::models::config::{ConfigError, LARGEST_SIZE, wrong};
use crate::models::parameters::NamedShape;
use crate::train::recipe::ModelSettings;

/// How the classes of such models end.
const ENDING: &str = "ForSequenceClassification";

/// The name of the map onto labels.
pub const SCORE: &str = "score.weight";

const REGRESSION: &str = "regression";
const CLASSIFICATION: &str = "single_label_classification";

/// What a classifier learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// One label of several: cross-entropy.
    Classification,
    /// A value for each output: squared error.
    Regression,
}

/// A Transformer with labels, but for its weights.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// The Transformer below the labels, without an output projection.
    pub trunk: Arc<dyn Config>,
    /// What each output stands for.
    pub labels: Vec<String>,
    /// What outputs are measured by.
    pub objective: Objective,
}

/// Whether `architectures` names a class with labels.
pub(super) fn are_declared(config: &Map<String, Value>) -> bool {
    let names = config.get("architectures").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).any(|name| name.ends_with(ENDING))
}

impl Labelled {
    /// Reads the labels from the object of the config.json at `path`, whose other keys describe `trunk`.
    ///
    /// # Errors
    /// A key is of the wrong type or has a value no model can have; the message names file and key.
    pub fn read(path: &Path, object: &Map<String, Value>, trunk: Arc<dyn Config>) -> Result<Self, Error> {
        let keys = Keys::new(path, object);
        let labels = labels(keys, object)?;
        let problem: Option<String> = keys.optional("problem_type")?;
        let objective = match problem.as_deref() {
            None if labels.len() == 1 => Objective::Regression,
            None | Some(CLASSIFICATION) => Objective::Classification,
            Some(REGRESSION) => Objective::Regression,
            Some(_) => return Err(keys.wrong("problem_type", format!("\"{CLASSIFICATION}\" or \"{REGRESSION}\""))),
        };
        let config = Self { trunk: trunk.without_output(), labels, objective };
        config.validate().map_err(|error| keys.wrong("id2label", error.expected))?;
        Ok(config)
    }

    /// Checks that a model can be built from these values.
    ///
    /// # Errors
    /// The first value that cannot be: its key, the value, and what it may be.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let least = if self.objective == Objective::Classification { 2 } else { 1 };
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
}

fn labels(keys: Keys<'_>, object: &Map<String, Value>) -> Result<Vec<String>, Error> {
    let number: Option<usize> = keys.optional("num_labels")?;
    if number.is_some_and(|number| !(1..=LARGEST_SIZE).contains(&number)) {
        return Err(keys.wrong("num_labels", format!("a whole number from 1 to {LARGEST_SIZE}")));
    }
    let Some(names) = object.get("id2label").filter(|names| !names.is_null()) else {
        return Ok((0..number.unwrap_or(2)).map(|id| format!("LABEL_{id}")).collect());
    };
    let named = |id: usize| names.get(id.to_string())?.as_str().map(str::to_owned);
    let labels: Option<Vec<String>> = names.as_object().and_then(|names| (0..names.len()).map(named).collect());
    let Some(labels) = labels else {
        return Err(keys.wrong("id2label", "an object with a label for every id from 0 on: {\"0\": \"…\", …}"));
    };
    match number.filter(|number| *number != labels.len()) {
        Some(_) => Err(keys.wrong("num_labels", format!("{}, as many as `id2label` has", labels.len()))),
        None => Ok(labels),
    }
}

impl Config for Labelled {
    fn family(&self) -> &'static dyn Family {
        self.trunk.family()
    }

    fn head(&self) -> Head {
        Head::Labels
    }

    fn sizes(&self) -> Sizes {
        self.trunk.sizes()
    }

    fn to_json(&self) -> Result<Map<String, Value>, Error> {
        let labels = self.labels.iter().enumerate();
        let id2label: Map<_, _> = labels.clone().map(|(id, label)| (id.to_string(), json!(label))).collect();
        let label2id: Map<_, _> = labels.map(|(id, label)| (label.clone(), json!(id))).collect();
        let problem = if self.objective == Objective::Regression { REGRESSION } else { CLASSIFICATION };
        let mut object = self.trunk.to_json()?;
        object.insert("architectures".into(), json!([format!("{}{ENDING}", self.class())]));
        object.insert("num_labels".into(), json!(self.labels.len()));
        object.insert("id2label".into(), Value::Object(id2label));
        object.insert("label2id".into(), Value::Object(label2id));
        object.insert("problem_type".into(), json!(problem));
        Ok(object)
    }

    fn class(&self) -> &'static str {
        self.trunk.class()
    }

    fn parameters(&self) -> Vec<NamedShape> {
        let mut table = self.trunk.parameters();
        table.push((SCORE.into(), vec![self.labels.len(), self.sizes().d_model]));
        table
    }

    fn with_rows(&self, rows: usize) -> Arc<dyn Config> {
        Arc::new(Self { trunk: self.trunk.with_rows(rows), ..self.clone() })
    }

    fn without_output(&self) -> Arc<dyn Config> {
        Arc::clone(&self.trunk)
    }

    fn sources(&self, name: &str) -> Vec<String> {
        if name == SCORE { vec![SCORE.to_owned()] } else { self.trunk.sources(name) }
    }

    fn stored_shape(&self, name: &str, shape: &[usize]) -> Vec<usize> {
        self.trunk.stored_shape(name, shape)
    }

    fn is_zero_if_missing(&self, name: &str) -> bool {
        self.trunk.is_zero_if_missing(name)
    }

    fn extra(&self, stored: &str) -> Extra {
        self.trunk.extra(stored)
    }

    fn describe(&self, settings: &ModelSettings) -> ModelSettings {
        self.trunk.describe(settings)
    }

    fn activations(&self, tokens: f64, checkpoint: bool) -> f64 {
        self.trunk.activations(tokens, checkpoint)
    }

    fn labelled(&self) -> Option<&Labelled> {
        Some(self)
    }

    fn causal(&self, start: Start) -> Option<Box<dyn CausalLm>> {
        self.trunk.causal(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::families;
    use crate::models::Gpt2Config;

    fn config() -> Labelled {
        let trunk = Gpt2Config { pad_id: Some(3), ..Gpt2Config::new(700, 2, 48, 4, 64) };
        let labels = ["negative", "neutral", "positive"].map(str::to_owned).to_vec();
        Labelled { trunk: Arc::new(trunk), labels, objective: Objective::Classification }
    }

    fn read(change: impl FnOnce(&mut Map<String, Value>)) -> Result<Labelled, String> {
        let mut object = config().to_json().unwrap();
        change(&mut object);
        assert!(are_declared(&object));
        Labelled::read(Path::new("m/config.json"), &object, config().trunk).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let values = Labelled { labels: vec!["stars".into()], objective: Objective::Regression, ..config() };
        for config in [config(), values] {
            let written = config.to_json().unwrap();
            let read = families::read(Path::new("config.json"), &written, None).unwrap();
            assert_eq!((read.head(), read.to_json().unwrap()), (Head::Labels, written));
            assert_eq!(read.parameters(), config.parameters());
        }
    }

    #[test]
    fn what_no_classifier_can_have_is_named() {
        config().validate().unwrap();
        let one = Labelled { labels: vec!["one".into()], ..config() };
        assert_eq!(one.validate().unwrap_err().key, "labels");
        let mut twice = config();
        twice.labels[2] = "negative".into();
        assert_eq!(twice.validate().unwrap_err().found, "\"negative\" twice");
    }

    #[test]
    fn keys_left_out_have_the_values_of_the_class() {
        let number = |number: Option<usize>| {
            read(|object| {
                object.retain(|key, _| !["id2label", "label2id", "num_labels", "problem_type"].contains(&key.as_str()));
                object.extend(number.map(|number| ("num_labels".into(), json!(number))));
            })
            .unwrap()
        };
        assert_eq!(
            (number(None).labels, number(None).objective),
            (vec!["LABEL_0".to_owned(), "LABEL_1".into()], Objective::Classification)
        );
        assert_eq!((number(Some(1)).labels.len(), number(Some(1)).objective), (1, Objective::Regression));
    }

    #[test]
    fn a_wrong_value_is_named_by_its_key() {
        for (key, value, expected) in [
            ("num_labels", json!(4), "`num_labels` is 4, expected 3, as many as `id2label` has"),
            ("num_labels", json!(u64::MAX), "expected a whole number from 1 to"),
            (
                "id2label",
                json!({"0": "a", "2": "b"}),
                "`id2label` is {\"0\":\"a\",\"2\":\"b\"}, expected an object with",
            ),
            ("id2label", json!({"0": "a", "1": "b", "2": "a"}), "expected labels that differ"),
            ("problem_type", json!("multi_label_classification"), "expected \"single_label_classification\" or"),
        ] {
            let message = read(|object| drop(object.insert(key.into(), value))).unwrap_err();
            assert!(message.starts_with("m/config.json: ") && message.contains(expected), "{message}");
        }
    }
}
