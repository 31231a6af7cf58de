//! config.json of `GPT2ForSequenceClassification`: a GPT-2's with labels, told apart by `architectures`.
//!
//! The number of labels is that of `id2label`, or `num_labels` where that is absent; `label2id` says the same backwards and
//! is written only. What outputs are measured by is `problem_type`, or follows from their number.

use super::json::Keys;
use super::{Error, gpt2};
use crate::models::Gpt2Config;
use crate::models::config::LARGEST_SIZE;
use crate::models::gpt2::ClassifierConfig;
use crate::models::gpt2::classifier::Objective;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The class that `architectures` names.
pub const ARCHITECTURE: &str = "GPT2ForSequenceClassification";

const REGRESSION: &str = "regression";
const CLASSIFICATION: &str = "single_label_classification";

/// Whether the configuration of a GPT-2 is a classifier's.
pub(super) fn is_classifier(config: &Map<String, Value>) -> bool {
    let architectures = config.get("architectures").and_then(Value::as_array);
    architectures.is_some_and(|names| names.iter().any(|name| name == ARCHITECTURE))
}

/// Reads the configuration from the object that `path` holds.
///
/// # Errors
/// A key is of the wrong type or has a value no model can have; the message names file and key.
pub fn read_config(path: &Path, object: &Map<String, Value>) -> Result<ClassifierConfig, Error> {
    let keys = Keys::new(path, object);
    // There is no output projection that could be tied or not.
    let trunk = Gpt2Config { tie_embeddings: true, ..gpt2::read_config(path, object)? };
    let labels = labels(keys, object)?;
    let problem: Option<String> = keys.optional("problem_type")?;
    let objective = match problem.as_deref() {
        None if labels.len() == 1 => Objective::Regression,
        None | Some(CLASSIFICATION) => Objective::Classification,
        Some(REGRESSION) => Objective::Regression,
        Some(_) => return Err(keys.wrong("problem_type", format!("\"{CLASSIFICATION}\" or \"{REGRESSION}\""))),
    };
    let config = ClassifierConfig { trunk, labels, objective };
    config.validate().map_err(|error| keys.wrong("id2label", error.expected))?;
    Ok(config)
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

/// The object that config.json is to hold.
#[must_use]
pub fn write_config(config: &ClassifierConfig) -> Map<String, Value> {
    let labels = config.labels.iter().enumerate();
    let id2label: Map<_, _> = labels.clone().map(|(id, label)| (id.to_string(), json!(label))).collect();
    let label2id: Map<_, _> = labels.map(|(id, label)| (label.clone(), json!(id))).collect();
    let problem = if config.objective == Objective::Regression { REGRESSION } else { CLASSIFICATION };
    let mut object = gpt2::write_config(&config.trunk);
    object.insert("architectures".into(), json!([ARCHITECTURE]));
    object.insert("num_labels".into(), json!(config.labels.len()));
    object.insert("id2label".into(), Value::Object(id2label));
    object.insert("label2id".into(), Value::Object(label2id));
    object.insert("problem_type".into(), json!(problem));
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ClassifierConfig {
        let trunk = Gpt2Config { pad_id: Some(3), ..Gpt2Config::new(700, 2, 48, 4, 64) };
        let labels = ["negative", "neutral", "positive"].map(str::to_owned).to_vec();
        ClassifierConfig { trunk, labels, objective: Objective::Classification }
    }

    fn read(change: impl FnOnce(&mut Map<String, Value>)) -> Result<ClassifierConfig, String> {
        let mut object = write_config(&config());
        change(&mut object);
        assert!(is_classifier(&object));
        read_config(Path::new("m/config.json"), &object).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_written_is_read_back() {
        assert_eq!(read(|_| {}).unwrap(), config());
        let value = ClassifierConfig { labels: vec!["stars".into()], objective: Objective::Regression, ..config() };
        assert_eq!(read_config(Path::new("config.json"), &write_config(&value)).unwrap(), value);
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
