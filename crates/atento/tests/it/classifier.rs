//! A decoder-only model with labels against `transformers`: logits, loss, the gradient of every parameter.

use std::path::{Path, PathBuf};

use atento::families::Config;
use atento::families::labels::Objective;
use atento::hub::safetensors::SafeTensors;
use atento::models::classifier::Targets;
use atento::pipelines::LanguageModel;
use atento::pipelines::Pretrained;
use atento::pipelines::TextClassifier;
use atento_tensor::{Grads, Graph, Pool};
use serde_json::Value;

use crate::conformance::{self, assert_gradients, ids, json, largest_difference};

fn fixtures() -> Vec<PathBuf> {
    conformance::fixtures(&["GPT2ForSequenceClassification", "LlamaForSequenceClassification"], "grads.safetensors")
}

/// Texts packed, each with `padding` times the padding token after it, and their recorded numbers.
struct Cases {
    ids: Vec<u32>,
    cu_seqlens: Vec<u32>,
    logits: Vec<f32>,
    targets: Vec<f32>,
    loss: f32,
}

fn cases(dir: &Path, padding: usize) -> Cases {
    let expected = json(&dir.join("expected.json"));
    let pad_id = json(&dir.join("config.json"))["pad_token_id"].as_u64().unwrap() as u32;
    let number = |value: &Value| value.as_f64().unwrap() as f32;
    let mut cases =
        Cases { ids: vec![], cu_seqlens: vec![0], logits: vec![], targets: vec![], loss: number(&expected["loss"]) };
    for case in expected["cases"].as_array().unwrap() {
        cases.ids.extend(ids(&case["input_ids"]));
        cases.ids.extend(vec![pad_id; padding]);
        cases.cu_seqlens.push(cases.ids.len() as u32);
        cases.logits.extend(case["logits"].as_array().unwrap().iter().map(number));
        cases.targets.push(number(&case["target"]));
    }
    cases
}

#[test]
fn logits_loss_and_every_gradient_equal_the_reference_whatever_padding_follows() {
    for dir in fixtures() {
        let TextClassifier { model, .. } = TextClassifier::load(&dir).unwrap();
        let params = model.trunk.params();
        for padding in [0, 3] {
            let Cases { ids, cu_seqlens, logits, targets, loss } = cases(&dir, padding);
            let pool = Pool::new();
            let found = model.logits(&mut Graph::infer(params, &pool), &ids, &cu_seqlens);
            let difference = largest_difference(found.values(), &logits);
            assert!(difference <= 1e-4, "{}: logits differ by {difference}", dir.display());
            let labels: Vec<u32> = targets.iter().map(|&target| target as u32).collect();
            let wanted = match model.config.objective {
                Objective::Classification => Targets::Labels(&labels),
                Objective::Regression => Targets::Values(&targets),
            };
            let mut grads = Grads::zeros(params);
            let mut g = Graph::train(params, &mut grads, &pool, 0);
            let found = model.loss(&mut g, &ids, &cu_seqlens, wanted, 1.0 / targets.len() as f32);
            assert!((found.values()[0] - loss).abs() <= 1e-5 * loss, "{}: {:?}", dir.display(), found.values());
            g.backward(&found);
            drop((g, found));
            assert_gradients(&dir, &model.config, params, &grads);
        }
    }
}

#[test]
fn a_saved_classifier_has_the_tensors_and_labels_it_had() {
    for dir in fixtures() {
        let loaded = TextClassifier::load(&dir).unwrap();
        let copy = tempfile::tempdir().unwrap();
        loaded.save(copy.path()).unwrap();
        let again = TextClassifier::load(copy.path()).unwrap();
        assert_eq!(again.model.config.to_json().unwrap(), loaded.model.config.to_json().unwrap());
        assert_eq!(again.model.trunk.params().values(), loaded.model.trunk.params().values());
        assert_eq!(again.tokenizer.to_json_bytes().unwrap(), loaded.tokenizer.to_json_bytes().unwrap());
        let names = |dir: &Path| {
            let file = SafeTensors::open(&dir.join("model.safetensors")).unwrap();
            let mut names: Vec<String> = file.names().map(str::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(names(&dir), names(copy.path()));
        let (first, second) = (json(&dir.join("config.json")), json(&copy.path().join("config.json")));
        for key in ["architectures", "id2label", "label2id", "pad_token_id", "n_embd"] {
            assert_eq!(first[key], second[key], "{key}");
        }
        assert!(!copy.path().join("generation_config.json").exists());
    }
}

#[test]
fn a_classifier_is_not_taken_for_what_continues_or_translates() {
    for dir in fixtures() {
        let message = LanguageModel::load(&dir).err().unwrap().to_string();
        let expected = "ForSequenceClassification\"], expected those of a model that goes on with a text";
        assert!(message.contains(expected) && message.contains("gives whole texts labels"), "{message}");
        let message = Pretrained::load(&dir).err().unwrap().to_string();
        assert!(message.contains("a model that translates"), "{message}");
        let language = dir.with_file_name("gpt2-tiny");
        let message = TextClassifier::load(&language).err().unwrap().to_string();
        assert!(
            message.contains("that gives whole texts labels or values: this model goes on with a text"),
            "{message}"
        );
    }
}
