//! What models make of texts against `transformers`, on the committed models and on a larger set where it lies beside the repository.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::answer::AnswerOptions;
use super::embed::{EmbedOptions, Pooling};
use super::*;
use crate::families::Config;
use crate::families::heads::{Headed, Objective};
use crate::hub::ModelDir;
use crate::hub::safetensors::SafeTensors;

/// Directories of models with this file of recordings, among them the committed ones of these names.
fn recorded(file: &str, class_end: &str, names: &[&str]) -> Vec<PathBuf> {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["../../../shared/conformance", "tests/fixtures/conformance"].map(|place| crate_dir.join(place));
    let dirs = places.iter().filter_map(|place| std::fs::read_dir(place).ok()).flatten().flatten();
    let has = |dir: &PathBuf| {
        let config = std::fs::read_to_string(dir.join("config.json")).unwrap_or_default();
        let known = ["bert", "roberta", "xlm-roberta", "distilbert", "electra", "gpt2", "llama"];
        let is_known = known.iter().any(|kind| config.contains(&format!("\"model_type\": \"{kind}\"")));
        dir.join(file).exists() && is_known && config.contains(&format!("{class_end}\""))
    };
    let dirs: Vec<PathBuf> = dirs.map(|entry| entry.path()).filter(has).collect();
    let committed = |name: &&str| dirs.contains(&places[1].join(name));
    assert_eq!(names.iter().find(|name| !committed(name)), None, "{file} of {class_end}");
    dirs
}

/// The committed models of masked words.
const WORDS: [&str; 4] = ["bert-words", "roberta-words", "xlm-roberta-words", "electra-words"];

fn json(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn numbers(file: &SafeTensors, name: &str) -> Vec<f32> {
    file.read_f32(name, file.get(name).unwrap().shape).unwrap()
}

fn assert_close(dir: &Path, found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len(), "{}", dir.display());
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(difference <= 1e-4, "{}: {difference}", dir.display());
}

fn ids(case: &Value) -> Vec<u32> {
    case["input_ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

#[test]
fn pairs_have_the_labels_of_the_reference() {
    let names = ["bert-labels", "roberta-labels", "distilbert-labels", "electra-labels"];
    for dir in recorded("expected_pairs.safetensors", "ForSequenceClassification", &names) {
        let model = TextModel::load(&dir).unwrap();
        let file = SafeTensors::open(&dir.join("expected_pairs.safetensors")).unwrap();
        for (i, case) in json(&dir.join("expected_pairs.json"))["cases"].as_array().unwrap().iter().enumerate() {
            let (a, b) = (case["a"].as_str().unwrap(), case["b"].as_str());
            let mut pair = model.encode(a, b, TooLong::Refuse).unwrap();
            if dir.starts_with(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")) {
                assert_eq!(pair.ids, ids(case), "{}", dir.display());
            }
            // The larger set was recorded with a vocabulary that orders some words otherwise than the directory's own.
            pair.ids = ids(case);
            let found = model.classify(&[&pair]).unwrap().remove(0);
            assert_close(&dir, &found.logits, &numbers(&file, &format!("{i}.logits")));
        }
    }
}

#[test]
fn the_ends_of_answers_are_those_of_the_reference() {
    for dir in recorded("expected_pairs.safetensors", "ForQuestionAnswering", &["bert-span", "llama-span"]) {
        let model = TextModel::load(&dir).unwrap();
        let file = SafeTensors::open(&dir.join("expected_pairs.safetensors")).unwrap();
        let options = AnswerOptions::default();
        for (i, case) in json(&dir.join("expected_pairs.json"))["cases"].as_array().unwrap().iter().enumerate() {
            let (question, context) = (case["a"].as_str().unwrap(), case["b"].as_str().unwrap());
            let windows = model.encode_question(question, context, &options).unwrap();
            assert_eq!((windows.len(), &windows[0].ids), (1, &ids(case)), "{}", dir.display());
            let found = model.answer(&[&windows], &options).unwrap().remove(0);
            assert_close(&dir, &found.start_logits[0], &numbers(&file, &format!("{i}.start_logits")));
            assert_close(&dir, &found.end_logits[0], &numbers(&file, &format!("{i}.end_logits")));
            assert!(found.start < found.end && found.end <= context.chars().count());
        }
    }
}

#[test]
fn masked_words_and_choices_are_those_of_the_reference() {
    for dir in recorded("expected.json", "ForMaskedLM", &WORDS) {
        let model = TextModel::load(&dir).unwrap();
        for case in json(&dir.join("expected.json"))["cases"].as_array().unwrap() {
            let text = model.encode(case["text"].as_str().unwrap(), None, TooLong::Refuse).unwrap();
            let Some(masks) = case["masks"].as_array() else { continue };
            let found = model.fill_mask(&[&text], 5).unwrap().remove(0);
            assert_eq!(found.len(), masks.len());
            for (words, expected) in found.iter().zip(masks) {
                for (word, expected) in words.iter().zip(expected.as_array().unwrap()) {
                    assert_eq!(u64::from(word.id), expected["id"].as_u64().unwrap());
                    let token = model.tokenizer.id_to_token(word.id);
                    assert_eq!(token.as_deref(), expected["token"].as_str());
                    assert_close(&dir, &[word.probability], &[expected["prob"].as_f64().unwrap() as f32]);
                }
            }
        }
    }
    for dir in recorded("expected.json", "ForMultipleChoice", &["bert-choice"]) {
        let model = TextModel::load(&dir).unwrap();
        let expected = json(&dir.join("expected.json"));
        let prompt = expected["prompt"].as_str().unwrap();
        let encode = |choice: &Value| model.encode(prompt, choice.as_str(), TooLong::Refuse).unwrap();
        let list: Vec<EncodedPair> = expected["choices"].as_array().unwrap().iter().map(encode).collect();
        let logits = expected["logits"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32);
        let found = model.choose(&[&list]).unwrap().remove(0);
        assert_close(&dir, &found.logits, &logits.collect::<Vec<_>>());
    }
}

#[test]
fn vectors_do_not_depend_on_the_texts_beside() {
    for dir in recorded("expected.safetensors", "ForSequenceClassification", &["bert-labels", "distilbert-labels"]) {
        let model = TextModel::load(&dir).unwrap();
        let texts: Vec<EncodedPair> = ["a man rides", "two dogs run, they see the red cat!", "x"]
            .iter()
            .map(|text| model.encode(text, None, TooLong::Refuse).unwrap())
            .collect();
        let all: Vec<&EncodedPair> = texts.iter().collect();
        for pooling in [Pooling::Cls, Pooling::Mean, Pooling::Max, Pooling::Last, Pooling::None] {
            let options = EmbedOptions { layers: vec![0, -1, 1], pooling, ..EmbedOptions::default() };
            let together = model.embed(&all, &options).unwrap();
            for (text, expected) in all.iter().zip(&together) {
                let alone = model.embed(&[*text], &options).unwrap().remove(0);
                for (a, b) in alone.layers.concat().iter().zip(expected.layers.concat()) {
                    assert!((a - b).abs() <= 1e-5, "{}: {pooling:?}: {a} and {b}", dir.display());
                }
            }
        }
        let options = EmbedOptions { layers: vec![3], ..EmbedOptions::default() };
        let message = model.embed(&all, &options).unwrap_err().to_string();
        assert_eq!(message, "layer 3: the model has layers from 0 (the embeddings) to 2, or from -1 (the last) to -3");
    }
}

#[test]
fn what_a_checkpoint_lacks_of_a_head_begins_at_random_numbers_that_the_seed_decides() {
    let dir = |name: &str| {
        ModelDir::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance").join(name)).unwrap()
    };
    let labels = || vec!["no".to_owned(), "yes".to_owned()];
    let head = |head: Head| {
        let labels = if head == Head::Labels { labels() } else { Vec::new() };
        move |trunk: &Arc<dyn Config>| Headed::new(trunk, head, labels, Objective::Classification)
    };
    let values = |name: &str, seed: u64, kind: Head, parameter: &str| {
        let (model, new) = TextModel::with_head(&dir(name), Some(seed), head(kind)).unwrap();
        assert!(!new.is_empty());
        let params = model.model.params();
        params.get(params.entry(parameter).unwrap().weight).to_vec()
    };
    // Two layers, neither of which may be zero: no gradient would pass.
    for parameter in ["classifier.dense.weight", "classifier.out_proj.weight"] {
        let found = values("roberta-words", 1, Head::Labels, parameter);
        let spread = (found.iter().map(|x| x * x).sum::<f32>() / found.len() as f32).sqrt();
        assert!((0.01..0.03).contains(&spread), "{parameter}: {spread}");
        assert_ne!(found, values("roberta-words", 2, Head::Labels, parameter));
    }
    let gains = values("bert-labels", 1, Head::Words, "cls.predictions.transform.LayerNorm.weight");
    assert!(gains.iter().all(|gain| *gain == 1.0), "{gains:?}");
}
