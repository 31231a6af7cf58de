//! Decoder-only models against `transformers`: logits, hidden states, the gradient of every parameter, ten AdamW losses,
//! greedy and beam search. The committed fixture has two small models; a larger set beside the repository is used when
//! present.

use std::path::{Path, PathBuf};

use atento::generate::{Prompt, SearchOptions, search};
use atento::hub::ModelDir;
use atento::hub::safetensors::{FloatType, SafeTensors};
use atento::models::{CachedCausal, CausalLm, Precision};
use atento::pipelines::LanguageModel;
use atento_tensor::ops::CrossEntropy;
use atento_tensor::{Grads, Graph, Pool};
use serde_json::Value;

use crate::conformance::{self, assert_gradients, ids, json, largest_difference, recorded_run};

const CLASSES: [&str; 5] =
    ["GPT2LMHeadModel", "LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"];

/// The models of every family with this recording.
fn fixtures(file: &str) -> Vec<PathBuf> {
    conformance::fixtures(&CLASSES, file)
}

/// The name in its files of a parameter.
fn stored(model: &dyn CausalLm, name: &str) -> String {
    model.config().sources(name).swap_remove(0)
}

/// Texts with their ids, packed.
struct Cases {
    texts: Vec<String>,
    prompts: Vec<Vec<u32>>,
    cu_seqlens: Vec<u32>,
}

fn cases(dir: &Path) -> Cases {
    let expected = json(&dir.join("expected.json"));
    let cases = expected["cases"].as_array().unwrap();
    let prompts: Vec<Vec<u32>> = cases.iter().map(|case| ids(&case["input_ids"])).collect();
    let cu_seqlens = prompts.iter().fold(vec![0], |mut cu, prompt| {
        cu.push(cu[cu.len() - 1] + prompt.len() as u32);
        cu
    });
    let texts = cases.iter().map(|case| case["text"].as_str().unwrap().to_owned()).collect();
    Cases { texts, prompts, cu_seqlens }
}

#[test]
fn tokens_logits_and_hidden_states_equal_the_reference() {
    for dir in fixtures("expected.safetensors") {
        let loaded = LanguageModel::load(&dir).unwrap();
        let Cases { texts, prompts, cu_seqlens } = cases(&dir);
        let reference = SafeTensors::open(&dir.join("expected.safetensors")).unwrap();
        let (model, pool) = (&loaded.model, Pool::new());
        // All texts packed as one batch: none may see another.
        let logits = model.logits(&mut Graph::infer(model.params(), &pool), &prompts.concat(), &cu_seqlens);
        let states = model.hidden_states(&mut Graph::infer(model.params(), &pool), &prompts.concat(), &cu_seqlens);
        for (i, bounds) in cu_seqlens.windows(2).enumerate() {
            assert_eq!(loaded.tokenizer.encode_ids(&texts[i], true).unwrap(), prompts[i]);
            let tokens = bounds[0] as usize..bounds[1] as usize;
            let part = |values: &[f32], width: usize| values[tokens.start * width..tokens.end * width].to_vec();
            let check = |found: &[f32], expected: &[f32], what: &str| {
                let difference = largest_difference(found, expected);
                assert!(difference <= 1e-4, "{}: case {i}: {what} differ by {difference}", dir.display());
            };
            let vocab_size = model.vocab_size();
            let expected = reference.read_f32(&format!("{i}.logits"), &[tokens.len(), vocab_size]).unwrap();
            check(&part(logits.values(), vocab_size), &expected, "logits");
            let d_model = model.d_model();
            let shape = [states.len(), tokens.len(), d_model];
            let expected = reference.read_f32(&format!("{i}.hidden"), &shape).unwrap();
            for (layer, (state, expected)) in states.iter().zip(expected.chunks(tokens.len() * d_model)).enumerate() {
                check(&part(state.values(), d_model), expected, &format!("hidden states {layer}"));
            }
        }
    }
}

/// The loss of a recorded training batch, whose labels are its inputs, −100 where nothing is asked for.
pub fn loss(model: &dyn CausalLm, g: &mut Graph<'_>, file: &SafeTensors, step: usize) -> CrossEntropy {
    let inputs = conformance::rows(file, &format!("{step}.input_ids"));
    let labels = conformance::rows(file, &format!("{step}.labels"));
    let length = inputs[0].len();
    let ids: Vec<u32> = inputs.concat().iter().map(|&id| id as u32).collect();
    let cu_seqlens: Vec<u32> = (0..=inputs.len()).map(|row| (row * length) as u32).collect();
    let next = |row: &Vec<i64>| -> Vec<Option<u32>> {
        (0..length).map(|i| row.get(i + 1).and_then(|&label| u32::try_from(label).ok())).collect()
    };
    let targets: Vec<Option<u32>> = labels.iter().flat_map(next).collect();
    let scale = 1.0 / targets.iter().flatten().count() as f32;
    model.loss(g, &ids, &cu_seqlens, &targets, 0.0, scale)
}

#[test]
fn every_gradient_equals_the_reference_with_and_without_recomputation() {
    for dir in fixtures("grads.safetensors") {
        let batches = SafeTensors::open(&dir.join("train_batches.safetensors")).unwrap();
        let mut model = LanguageModel::load(&dir).unwrap().model;
        for checkpoint_activations in [false, true] {
            model.checkpoint_activations(checkpoint_activations);
            let mut grads = Grads::zeros(model.params());
            let mut g = Graph::train(model.params(), &mut grads, &Pool::new(), 0);
            let loss = loss(&*model, &mut g, &batches, 0);
            g.backward(&loss.loss);
            drop(g);
            assert_gradients(&dir, &*model.config(), model.params(), &grads);
        }
    }
}

#[test]
fn ten_adamw_losses_equal_the_reference() {
    for dir in fixtures("grads.safetensors") {
        let mut model = LanguageModel::load(&dir).unwrap().model;
        let batches = SafeTensors::open(&dir.join("train_batches.safetensors")).unwrap();
        let (mut optimizer, lr, losses) = recorded_run(&dir, model.params());
        let mut grads = Grads::zeros(model.params());
        let pool = Pool::new();
        for (step, expected) in losses.into_iter().enumerate() {
            grads.values.fill(0.0);
            let mut g = Graph::train(model.params(), &mut grads, &pool, 0);
            let loss = loss(&*model, &mut g, &batches, step);
            g.backward(&loss.loss);
            drop(g);
            let found = loss.loss_sum / loss.n_targets as f64;
            assert!((found - expected).abs() <= 1e-5, "{}: step {step}: {found} {expected}", dir.display());
            optimizer.step(model.params_mut(), &grads, lr, step as u64 + 1, 1.0);
        }
    }
}

#[test]
fn greedy_and_beam_search_equal_the_reference_alone_and_in_a_batch() {
    for dir in fixtures("expected.safetensors") {
        let LanguageModel { model, generation, .. } = LanguageModel::load(&dir).unwrap();
        let Cases { prompts, .. } = cases(&dir);
        let expected = json(&dir.join("expected.json"));
        let is_recorded = |(key, _): &(&str, usize)| expected["cases"][0].get(key).is_some();
        let searches: Vec<(&str, usize)> = [("greedy", 1), ("beam4", 4)].into_iter().filter(is_recorded).collect();
        assert!(!searches.is_empty(), "{}", dir.display());
        for (key, beam) in searches {
            let options = SearchOptions { beam, eos_ids: generation.eos_ids.clone(), ..SearchOptions::default() };
            let wanted: Vec<Vec<u32>> = (0..prompts.len()).map(|i| ids(&expected["cases"][i][key])).collect();
            let max_new_tokens = wanted.iter().map(Vec::len).max().unwrap();
            let run = |prompts: &[Vec<u32>]| {
                let slices: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
                let mut decoder = CachedCausal::new(&*model, &Pool::new(), &slices, 0);
                let prompts: Vec<Prompt> =
                    prompts.iter().map(|prefix| Prompt { prefix: prefix.clone(), max_new_tokens }).collect();
                search(&mut decoder, &prompts, &options).unwrap()
            };
            let together = run(&prompts);
            for (i, wanted) in wanted.iter().enumerate() {
                let alone = run(&prompts[i..=i]);
                for found in [&together[i][0], &alone[0][0]] {
                    assert_eq!(&found.ids, wanted, "{}: {key}: case {i}", dir.display());
                }
            }
        }
    }
}

#[test]
fn a_saved_model_loads_to_the_same_numbers() {
    for dir in fixtures("expected.safetensors") {
        let loaded = LanguageModel::load(&dir).unwrap();
        let copy = tempfile::tempdir().unwrap();
        loaded.save(copy.path()).unwrap();
        let again = LanguageModel::load(copy.path()).unwrap();
        assert_eq!(again.model.config().to_json().unwrap(), loaded.model.config().to_json().unwrap());
        assert_eq!(again.model.params().values(), loaded.model.params().values());
        let (first, second) = (dir.join("model.safetensors"), copy.path().join("model.safetensors"));
        let names = |path: &Path| {
            let mut names: Vec<String> = SafeTensors::open(path).unwrap().names().map(str::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(names(&first), names(&second), "{}: transformers wants these tensors", dir.display());
    }
}

#[test]
fn a_directory_with_vocab_and_merges_is_loaded_and_saved_with_one_tokenizer_file() {
    for dir in conformance::fixtures(&["GPT2LMHeadModel"], "expected.safetensors") {
        let old = tempfile::tempdir().unwrap();
        for name in ["config.json", "generation_config.json", "model.safetensors"] {
            std::fs::copy(dir.join(name), old.path().join(name)).unwrap();
        }
        let whole = json(&dir.join("tokenizer.json"));
        let pair = |merge: &Value| match merge {
            Value::Array(pair) => format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()),
            pair => pair.as_str().unwrap().to_owned(),
        };
        let merges: Vec<String> = whole["model"]["merges"].as_array().unwrap().iter().map(pair).collect();
        std::fs::write(old.path().join("vocab.json"), whole["model"]["vocab"].to_string()).unwrap();
        std::fs::write(old.path().join("merges.txt"), format!("#version: 0.2\n{}\n", merges.join("\n"))).unwrap();
        let loaded = LanguageModel::load(old.path()).unwrap();
        let new = tempfile::tempdir().unwrap();
        loaded.save(new.path()).unwrap();
        let again = LanguageModel::load(new.path()).unwrap();
        let Cases { texts, prompts, .. } = cases(&dir);
        for (text, ids) in texts.iter().zip(&prompts) {
            for tokenizer in [&loaded.tokenizer, &again.tokenizer] {
                assert_eq!(&tokenizer.encode_ids(text, true).unwrap(), ids);
                let ended = tokenizer.encode_ids(&format!("{text}<|endoftext|>"), true).unwrap();
                assert_eq!(ended, [&ids[..], &[0]].concat());
            }
        }
        assert!(new.path().join("tokenizer.json").exists());
    }
}

/// A model whose matrices are held as `precision`, and its logits of the first prompt.
fn held(dir: &Path, precision: Precision, prompts: &[Vec<u32>]) -> (LanguageModel, Vec<f32>) {
    let language = LanguageModel::from_dir(&ModelDir::open(dir).unwrap(), precision).unwrap();
    let cu_seqlens = [0, prompts[0].len() as u32];
    let g = &mut Graph::infer(language.model.params(), &Pool::new());
    let logits = language.model.logits(g, &prompts[0], &cu_seqlens).values().to_vec();
    (language, logits)
}

#[test]
fn a_model_saved_in_int8_is_the_one_that_is_rounded_when_it_is_loaded() {
    for dir in fixtures("expected.safetensors") {
        let Cases { prompts, .. } = cases(&dir);
        let (rounded, expected) = held(&dir, Precision::Int8, &prompts);
        let small = tempfile::tempdir().unwrap();
        rounded.save(small.path()).unwrap();
        let (again, found) = held(small.path(), Precision::Int8, &prompts);
        assert_eq!(found, expected, "{}", dir.display());
        let size = |dir: &Path| std::fs::metadata(dir.join("model.safetensors")).unwrap().len();
        assert!(2 * size(small.path()) < size(&dir));
        // What the numbers stand for, knowingly; the file says so by itself.
        let (exact, logits) = held(small.path(), Precision::F32, &prompts);
        assert!(largest_difference(&logits, &expected) < 1e-4);
        let file = SafeTensors::open(&small.path().join("model.safetensors")).unwrap();
        for entry in again.model.params().entries().iter().filter(|entry| entry.is_frozen()) {
            let name = stored(&*again.model, &entry.name);
            let [rows, cols] = entry.dims[..] else { unreachable!() };
            let whole = file.read_i64(&name, &[rows, cols]).unwrap();
            let scale = file.get(&format!("{name}_scale")).unwrap().shape.to_vec();
            let factors = file.read_f32(&format!("{name}_scale"), &scale).unwrap();
            for (i, value) in exact.model.params().get(entry.weight).iter().enumerate() {
                let factor = factors[if scale[0] == 1 { i % cols } else { i / cols }];
                assert_eq!(*value, whole[i] as f32 * factor, "{name}");
            }
        }
        let message = LanguageModel::load(small.path()).err().unwrap().to_string();
        assert!(message.contains("config.json: the weights are in int8") && message.contains("convert"), "{message}");
    }
}

#[test]
fn int8_that_the_configuration_does_not_tell_of_or_that_lacks_a_part_is_refused() {
    for dir in fixtures("expected.safetensors") {
        let small = tempfile::tempdir().unwrap();
        let (language, _) = held(&dir, Precision::Int8, &cases(&dir).prompts);
        language.save(small.path()).unwrap();
        let config = std::fs::read_to_string(small.path().join("config.json")).unwrap();
        let refuse = |text: String, expected: &str| {
            std::fs::write(small.path().join("config.json"), text).unwrap();
            let dir = ModelDir::open(small.path()).unwrap();
            let message = LanguageModel::from_dir(&dir, Precision::Int8).err().unwrap().to_string();
            assert!(message.contains(expected), "{message}");
        };
        let table = stored(&*language.model, &language.model.params().entries()[0].name);
        refuse(config.replace("quantization_config", "other"), &format!("tensor `{table}` is I8, expected F32"));
        refuse(config.replace("\"bits\": 8", "\"bits\": 4"), "key `bits` is 4, expected 8");
        refuse(config.replace("atento-int8", "gptq"), "expected none, or one whose `quant_method` is \"atento-int8\"");
        let path = small.path().join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        let rename = |from: &str, to: &str| {
            let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
            let mut changed = bytes.clone();
            changed[at..at + from.len()].copy_from_slice(to.as_bytes());
            std::fs::write(&path, changed).unwrap();
        };
        rename(&format!("{table}_scale"), &format!("{table}_scald"));
        refuse(config.clone(), &format!("missing tensor `{table}_scale` (the file has `{table}_scald`)"));
        let rows = language.model.vocab_size();
        rename(&format!("[{rows},1]"), &format!("[1,{rows}]"));
        refuse(config, &format!("`{table}_scale` has shape [1, {rows}], expected [{rows}, 1]"));
    }
}

#[test]
fn weights_rounded_as_they_are_written_are_read_back_rounded() {
    for dir in fixtures("expected.safetensors") {
        let mut loaded = LanguageModel::load(&dir).unwrap();
        for (floats, digits) in [(FloatType::Bf16, 8), (FloatType::F16, 11)] {
            let copy = tempfile::tempdir().unwrap();
            loaded.save_as(copy.path(), floats).unwrap();
            let again = LanguageModel::load(copy.path()).unwrap();
            for (found, exact) in again.model.params().values().iter().zip(loaded.model.params().values()) {
                assert!((found - exact).abs() <= exact.abs() / f32::from(1_u16 << digits) + 1e-7, "{found} {exact}");
            }
            assert_eq!(json(&copy.path().join("config.json"))["dtype"], floats.config_name());
        }
        loaded.model.params_mut().values_mut()[3] = 1e5;
        let copy = tempfile::tempdir().unwrap();
        let message = loaded.save_as(copy.path(), FloatType::F16).unwrap_err().to_string();
        let table = stored(&*loaded.model, &loaded.model.params().entries()[0].name);
        let expected = format!("`{table}` holds 100000 at element 3, which is beyond float16");
        assert!(message.contains(&expected), "{message}");
        loaded.save_as(copy.path(), FloatType::Bf16).unwrap();
    }
}
