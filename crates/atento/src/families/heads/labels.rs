//! Labels of texts or of tokens in config.json.
//!
//! The number of labels is that of `id2label`, or `num_labels` where that is absent; `label2id` says the same backwards and
//! is written only. What outputs of whole texts are measured by is `problem_type`, or follows from their number.

use serde_json::{Map, Value, json};

use crate::hub::Error;
use crate::hub::json::Keys;
use crate::models::config::LARGEST_SIZE;

const REGRESSION: &str = "regression";
const CLASSIFICATION: &str = "single_label_classification";
const MULTI_LABEL: &str = "multi_label_classification";

/// What is learned of whole texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// One label of several: cross-entropy.
    Classification,
    /// Any number of labels: binary cross-entropy of each.
    MultiLabel,
    /// A value for each output: squared error.
    Regression,
}

impl Objective {
    /// Its name in config.json.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Classification => CLASSIFICATION,
            Self::MultiLabel => MULTI_LABEL,
            Self::Regression => REGRESSION,
        }
    }
}

/// What `problem_type` says, or what follows from the number of outputs.
pub(super) fn objective(keys: Keys<'_>, outputs: usize) -> Result<Objective, Error> {
    let problem: Option<String> = keys.optional("problem_type")?;
    match problem.as_deref() {
        None if outputs == 1 => Ok(Objective::Regression),
        None | Some(CLASSIFICATION) => Ok(Objective::Classification),
        Some(MULTI_LABEL) => Ok(Objective::MultiLabel),
        Some(REGRESSION) => Ok(Objective::Regression),
        Some(_) => {
            let expected = format!("\"{CLASSIFICATION}\", \"{MULTI_LABEL}\" or \"{REGRESSION}\"");
            Err(keys.wrong("problem_type", expected))
        }
    }
}

/// The labels of the outputs, in their order.
pub(super) fn read(keys: Keys<'_>, object: &Map<String, Value>) -> Result<Vec<String>, Error> {
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

/// Writes the labels in both directions.
pub(super) fn write(labels: &[String], object: &mut Map<String, Value>) {
    let labels = labels.iter().enumerate();
    let id2label: Map<_, _> = labels.clone().map(|(id, label)| (id.to_string(), json!(label))).collect();
    let label2id: Map<_, _> = labels.clone().map(|(id, label)| (label.clone(), json!(id))).collect();
    object.insert("num_labels".into(), json!(labels.len()));
    object.insert("id2label".into(), Value::Object(id2label));
    object.insert("label2id".into(), Value::Object(label2id));
}
