//! Models with heads against `transformers`: states, logits, losses, the gradient of every parameter, optimiser steps.

use std::path::{Path, PathBuf};

use atento::families::Config;
use atento::families::Head;
use atento::families::heads::Objective;
use atento::hub::safetensors::SafeTensors;
use atento::models::{Headed, Texts};
use atento::pipelines::LanguageModel;
use atento::pipelines::Pretrained;
use atento::pipelines::TextModel;
use atento_tensor::{Grads, Graph, Pool};
use serde_json::Value;

use crate::conformance::{self, assert_gradients, ids, json, largest_difference, recorded_run, rows};

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
        let TextModel { model, .. } = TextModel::load(&dir).unwrap();
        let params = model.params();
        for padding in [0, 3] {
            let Cases { ids, cu_seqlens, logits, targets, loss } = cases(&dir, padding);
            let pool = Pool::new();
            let texts = Texts::of(&ids, &cu_seqlens);
            let found = of_texts(&model, texts);
            let difference = largest_difference(&found, &logits);
            assert!(difference <= 1e-4, "{}: logits differ by {difference}", dir.display());
            let mut grads = Grads::zeros(params);
            let mut g = Graph::train(params, &mut grads, &pool, 0);
            let states = model.states(&mut g, texts);
            let scale = 1.0 / targets.len() as f32;
            let found = match model.config.objective {
                Objective::Classification => {
                    let labels: Vec<Option<u32>> = targets.iter().map(|&target| Some(target as u32)).collect();
                    model.text_loss(&mut g, &states, texts, &labels, 0.0, scale).loss
                }
                _ => {
                    let logits = model.of_texts(&mut g, &states, texts);
                    g.squared_error(&logits, &targets, scale)
                }
            };
            assert!((found.values()[0] - loss).abs() <= 1e-5 * loss, "{}: {:?}", dir.display(), found.values());
            g.backward(&found);
            drop((g, found, states));
            assert_gradients(&dir, &model.config, params, &grads);
        }
    }
}

#[test]
fn a_saved_classifier_has_the_tensors_and_labels_it_had() {
    for dir in fixtures() {
        let loaded = TextModel::load(&dir).unwrap();
        let copy = tempfile::tempdir().unwrap();
        loaded.save(copy.path()).unwrap();
        let again = TextModel::load(copy.path()).unwrap();
        assert_eq!(again.model.config.to_json().unwrap(), loaded.model.config.to_json().unwrap());
        assert_eq!(again.model.trunk.params().values(), loaded.model.trunk.params().values());
        assert_eq!(again.tokenizer.to_json_bytes().unwrap(), loaded.tokenizer.to_json_bytes().unwrap());
        assert_eq!(tensor_names(&dir), tensor_names(copy.path()));
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
        let message = TextModel::load(&language).err().unwrap().to_string();
        assert!(message.contains("that gives whole texts labels or values, or gives each token"), "{message}");
        assert!(message.contains("this model goes on with a text"), "{message}");
    }
}

/// What each text gives each output.
fn of_texts(model: &Headed, texts: Texts<'_>) -> Vec<f32> {
    let g = &mut Graph::infer(model.params(), &Pool::new());
    let states = model.states(g, texts);
    model.of_texts(g, &states, texts).values().to_vec()
}

/// What each token gives each output.
fn of_tokens(model: &Headed, texts: Texts<'_>) -> Vec<f32> {
    let g = &mut Graph::infer(model.params(), &Pool::new());
    let states = model.states(g, texts);
    model.of_tokens(g, &states).values().to_vec()
}

/// The committed models with recorded outputs of texts.
const COMMITTED: [&str; 17] = [
    "bert",
    "bert-labels",
    "bert-tags",
    "bert-words",
    "bert-legacy",
    "roberta-labels",
    "roberta-words",
    "xlm-roberta-words",
    "distilbert-labels",
    "electra-labels",
    "electra-words",
    "modernbert-words",
    "modernbert-untied",
    "modernbert-labels",
    "modernbert-tags",
    "gpt2-tags",
    "llama-tags",
];

/// Every model with recorded outputs of texts, but those that go on with a text.
fn recorded() -> Vec<PathBuf> {
    let types = ["bert", "roberta", "xlm-roberta", "distilbert", "electra", "deberta-v2", "modernbert"];
    let types = [&types[..], &["GPT2ForTokenClassification", "LlamaForTokenClassification"]].concat();
    let mut dirs = conformance::fixtures(&types, "expected.safetensors");
    dirs.retain(|dir| dir.join("config.json").exists() && dir.join("model.safetensors").exists());
    let found = |name: &&str| dirs.iter().any(|dir| dir.ends_with(Path::new("fixtures/conformance").join(name)));
    assert_eq!(COMMITTED.iter().find(|name| !found(name)), None);
    dirs
}

/// Texts packed.
fn packed(texts: &[Vec<u32>]) -> (Vec<u32>, Vec<u32>) {
    let mut cu_seqlens = vec![0];
    texts.iter().for_each(|ids| cu_seqlens.push(cu_seqlens[cu_seqlens.len() - 1] + ids.len() as u32));
    (texts.concat(), cu_seqlens)
}

/// What the head gives texts or their tokens; without a head what the pooler gives texts.
fn outputs(model: &Headed, texts: Texts<'_>) -> Vec<f32> {
    match model.config.head {
        Head::Labels | Head::Choice | Head::States => of_texts(model, texts),
        _ => of_tokens(model, texts),
    }
}

#[test]
fn states_and_logits_equal_the_reference_alone_and_packed() {
    for dir in recorded() {
        let TextModel { model, tokenizer, .. } = TextModel::load(&dir).unwrap();
        let recorded = SafeTensors::open(&dir.join("expected.safetensors")).unwrap();
        let values = |name: &str| recorded.read_f32(name, recorded.get(name).unwrap().shape).unwrap();
        let cases = json(&dir.join("expected.json"));
        let cases = cases["cases"].as_array().unwrap();
        let texts: Vec<Vec<u32>> = cases.iter().map(|case| ids(&case["input_ids"])).collect();
        for (case, wanted) in cases.iter().zip(&texts) {
            assert_eq!(&tokenizer.encode_text(case["text"].as_str().unwrap()).unwrap(), wanted, "{}", dir.display());
        }
        let (all, cu_seqlens) = packed(&texts);
        let check = |what: &str, found: &[f32], expected: &[f32]| {
            let difference = largest_difference(found, expected);
            assert!(difference <= 1e-4, "{}: {what} differs by {difference}", dir.display());
        };
        let key = if model.config.head == Head::States { "pooled" } else { "logits" };
        let together = outputs(&model, Texts::of(&all, &cu_seqlens));
        let mut alone = Vec::new();
        for (i, ids) in texts.iter().enumerate() {
            let (of_one, pool) = ([0, ids.len() as u32], Pool::new());
            let one = Texts::of(ids, &of_one);
            let states = model.trunk.all_states(&mut Graph::infer(model.params(), &pool), one);
            let states: Vec<f32> = states.iter().flat_map(|state| state.values().to_vec()).collect();
            check(&format!("states of text {i}"), &states, &values(&format!("{i}.hidden")));
            let found = outputs(&model, one);
            check(&format!("{key} of text {i}"), &found, &values(&format!("{i}.{key}")));
            if model.config.head == Head::Pretraining {
                check("next sentence", &of_texts(&model, one), &values(&format!("{i}.nsp")));
            }
            alone.extend(found);
        }
        assert!(largest_difference(&alone, &together) <= 1e-5, "{}: alone and packed", dir.display());
    }
}

/// The names of a directory's tensors.
fn tensor_names(dir: &Path) -> Vec<String> {
    let file = SafeTensors::open(&dir.join("model.safetensors")).unwrap();
    let mut names: Vec<String> = file.names().map(str::to_owned).collect();
    names.sort();
    names
}

#[test]
fn what_is_saved_has_the_names_of_the_reference_and_gives_the_same_logits() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/conformance");
    let others = ["bert-span", "bert-choice", "modernbert-span", "modernbert-choice", "llama-span"];
    for name in COMMITTED.iter().chain(&others) {
        let dir = committed.join(name);
        let loaded = TextModel::load(&dir).unwrap();
        let copy = tempfile::tempdir().unwrap();
        loaded.save(copy.path()).unwrap();
        let again = TextModel::load(copy.path()).unwrap();
        let modern = |name: String| name.replace(".gamma", ".weight").replace(".beta", ".bias");
        let names: Vec<String> = tensor_names(&dir).into_iter().map(modern).collect();
        assert_eq!(tensor_names(copy.path()), names, "{name}");
        let (first, second) = (json(&dir.join("config.json")), json(&copy.path().join("config.json")));
        for key in ["architectures", "model_type", "id2label", "label2id", "pad_token_id", "tie_word_embeddings"] {
            assert!(first[key].is_null() || first[key] == second[key], "{name}: {key}");
        }
        let (ids, cu_seqlens) = packed(&[vec![2, 9, 20, 17, 3], vec![2, 3]]);
        let texts = Texts::of(&ids, &cu_seqlens);
        assert_eq!(outputs(&again.model, texts), outputs(&loaded.model, texts), "{name}");
        assert_eq!(again.tokenizer.to_json_bytes().unwrap(), loaded.tokenizer.to_json_bytes().unwrap());
    }
}

/// A recorded batch, packed: padding taken away. Rows and targets of masked words, and which pairs follow each other.
struct Step {
    ids: Vec<u32>,
    type_ids: Option<Vec<u32>>,
    cu_seqlens: Vec<u32>,
    rows: Vec<u32>,
    words: Vec<Option<u32>>,
    next: Option<Vec<Option<u32>>>,
}

fn step(file: &SafeTensors, step: usize) -> Step {
    let table = |name: &str| rows(file, &format!("{step}.{name}"));
    let next = format!("{step}.next_sentence_label");
    let next = file.get(&next).ok().map(|tensor| file.read_i64(&next, tensor.shape).unwrap());
    let next = next.map(|labels| labels.into_iter().map(|label| u32::try_from(label).ok()).collect());
    let types = file.get(&format!("{step}.token_type_ids")).ok().map(|_| table("token_type_ids"));
    let type_ids = types.as_ref().map(|_| Vec::new());
    let mut packed = Step { ids: vec![], type_ids, cu_seqlens: vec![0], rows: vec![], words: vec![], next };
    let (ids, labels) = (table("input_ids"), table("labels"));
    for (i, mask) in table("attention_mask").iter().enumerate() {
        for at in (0..mask.len()).filter(|&at| mask[at] == 1) {
            if let Ok(word) = u32::try_from(labels[i][at]) {
                packed.rows.push(packed.ids.len() as u32);
                packed.words.push(Some(word));
            }
            packed.ids.push(ids[i][at] as u32);
            if let (Some(type_ids), Some(types)) = (&mut packed.type_ids, &types) {
                type_ids.push(types[i][at] as u32);
            }
        }
        packed.cu_seqlens.push(packed.ids.len() as u32);
    }
    packed
}

/// The loss of a step, its gradients added.
fn pretrain(model: &Headed, grads: &mut Grads, pool: &Pool, step: &Step) -> f64 {
    let mut g = Graph::train(model.params(), grads, pool, 0);
    let texts = Texts { ids: &step.ids, type_ids: step.type_ids.as_deref(), cu_seqlens: &step.cu_seqlens };
    let states = model.states(&mut g, texts);
    let scale = 1.0 / step.rows.len() as f32;
    let words = model.token_loss(&mut g, &states, &step.rows, &step.words, 0.0, scale);
    let words_loss = words.loss_sum / step.rows.len() as f64;
    let Some(labels) = &step.next else {
        g.backward(&words.loss);
        return words_loss;
    };
    let next = model.text_loss(&mut g, &states, texts, labels, 0.0, 1.0 / labels.len() as f32);
    g.backward_all([&words.loss, &next.loss]);
    words_loss + next.loss_sum / labels.len() as f64
}

#[test]
fn pre_training_has_the_gradients_and_the_losses_of_the_reference() {
    for dir in conformance::fixtures(&["BertForPreTraining", "ModernBertForMaskedLM"], "train_batches.safetensors") {
        for checkpoint in [false, true] {
            let TextModel { mut model, .. } = TextModel::load(&dir).unwrap();
            model.trunk.checkpoint_activations(checkpoint);
            let batches = SafeTensors::open(&dir.join("train_batches.safetensors")).unwrap();
            let (mut optimizer, lr, losses) = recorded_run(&dir, model.params());
            let pool = Pool::new();
            for (i, expected) in losses.iter().enumerate() {
                let mut grads = Grads::zeros(model.params());
                let found = pretrain(&model, &mut grads, &pool, &step(&batches, i));
                assert!((found - expected).abs() <= 1e-5 * expected, "{}: step {i}: {found}", dir.display());
                if i == 0 {
                    assert_gradients(&dir, &model.config, model.params(), &grads);
                }
                optimizer.step(model.trunk.params_mut(), &grads, lr, i as u64 + 1, 1.0);
            }
        }
    }
}
