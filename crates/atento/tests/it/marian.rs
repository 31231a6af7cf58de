//! An encoder–decoder against `transformers`: logits, the gradient of every parameter, ten AdamW losses, greedy and
//! beam search. The committed fixture has three small models; a larger set beside the repository is used when present.

use std::path::PathBuf;

use atento::data::batches::{PackedBatch, Pair};
use atento::hub::safetensors::SafeTensors;
use atento::models::sinusoid::Sinusoid;
use atento::pipelines::Pretrained;
use atento::pipelines::translate::translate;
use atento_tensor::{Grads, Graph, Pool};

use crate::conformance::{self, assert_gradients, ids, json, largest_difference, recorded_run};

fn fixtures() -> Vec<PathBuf> {
    conformance::fixtures(&["marian", "m2m_100"], "grads.safetensors")
}

/// One training batch as the reference stored it: padded sources with a mask, labels padded with −100.
fn batch(file: &SafeTensors, step: usize, start_id: u32) -> PackedBatch {
    let rows = |name: &str| conformance::rows(file, &format!("{step}.{name}"));
    let pairs: Vec<Pair> = rows("input_ids")
        .iter()
        .zip(rows("attention_mask"))
        .zip(rows("labels"))
        .enumerate()
        .map(|(id, ((source, mask), labels))| Pair {
            id: id as u64,
            source: source.iter().zip(mask).filter(|(_, kept)| *kept == 1).map(|(&id, _)| id as u32).collect(),
            target: labels.iter().filter(|&&id| id >= 0).map(|&id| id as u32).collect(),
        })
        .collect();
    PackedBatch::new(&pairs, start_id)
}

#[test]
fn logits_equal_the_reference() {
    for dir in fixtures() {
        let loaded = Pretrained::load(&dir).unwrap();
        let expected = json(&dir.join("expected.json"));
        let tensors = SafeTensors::open(&dir.join("expected.safetensors")).unwrap();
        for (i, case) in expected["cases"].as_array().unwrap().iter().enumerate() {
            let source = ids(&case["input_ids"]);
            assert_eq!(loaded.tokenizer.encode_ids(case["text"].as_str().unwrap(), true).unwrap(), source);
            let target_input = ids(&case["decoder_input_ids"]);
            let batch = PackedBatch {
                ids: vec![0],
                cu_source: vec![0, source.len() as u32],
                source,
                cu_target: vec![0, target_input.len() as u32],
                target_output: vec![0; target_input.len()],
                target_input,
            };
            let mut g = Graph::infer(loaded.model.params(), &Pool::new());
            let logits = loaded.model.logits(&mut g, &batch);
            let reference = tensors.read_f32(&format!("{i}.logits"), logits.shape()).unwrap();
            let difference = largest_difference(logits.values(), &reference);
            assert!(difference <= 1e-4, "{}: case {i}: logits differ by {difference}", dir.display());
        }
    }
}

#[test]
fn every_gradient_equals_the_reference() {
    for dir in fixtures() {
        let loaded = Pretrained::load(&dir).unwrap();
        let batches = SafeTensors::open(&dir.join("train_batches.safetensors")).unwrap();
        let batch = batch(&batches, 0, loaded.model.start_id());
        let params = loaded.model.params();
        let mut grads = Grads::zeros(params);
        let mut g = Graph::train(params, &mut grads, &Pool::new(), 0);
        let loss = loaded.model.loss(&mut g, &batch, 0.0, 1.0 / batch.target_tokens() as f32);
        g.backward(&loss.loss);
        drop(g);
        assert_gradients(&dir, &*loaded.model.config(), params, &grads);
    }
}

#[test]
fn ten_adamw_losses_equal_the_reference() {
    for dir in fixtures() {
        let mut loaded = Pretrained::load(&dir).unwrap();
        let (mut optimizer, lr, losses) = recorded_run(&dir, loaded.model.params());
        let file = SafeTensors::open(&dir.join("train_batches.safetensors")).unwrap();
        let mut grads = Grads::zeros(loaded.model.params());
        let pool = Pool::new();
        for (step, expected) in losses.into_iter().enumerate() {
            let batch = batch(&file, step, loaded.model.start_id());
            grads.values.fill(0.0);
            let mut g = Graph::train(loaded.model.params(), &mut grads, &pool, 0);
            let loss = loaded.model.loss(&mut g, &batch, 0.0, 1.0 / batch.target_tokens() as f32);
            g.backward(&loss.loss);
            drop(g);
            let found = loss.loss_sum / loss.n_targets as f64;
            assert!((found - expected).abs() <= 1e-5, "{}: step {step}: {found} {expected}", dir.display());
            optimizer.step(loaded.model.params_mut(), &grads, lr, step as u64 + 1, 1.0);
        }
    }
}

#[test]
fn greedy_and_beam_search_equal_the_reference() {
    for dir in fixtures() {
        let loaded = Pretrained::load(&dir).unwrap();
        let expected = json(&dir.join("expected.json"));
        let cases = expected["cases"].as_array().unwrap();
        let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
        for beam in [1, 4] {
            let mut options = loaded.translate_options();
            options.search.beam = beam;
            options.max_new_tokens = ids(&cases[0][format!("beam{beam}")]).len() - 1;
            let found = translate(&*loaded.model, &loaded.tokenizer, &texts, &options).unwrap();
            for (case, found) in cases.iter().zip(found) {
                let expected = ids(&case[format!("beam{beam}")]);
                assert_eq!(found[0].hypothesis.ids, expected[1..], "{}: beam {beam}: {}", dir.display(), case["text"]);
                assert_eq!(found[0].text, case[format!("beam{beam}_text")].as_str().unwrap());
            }
        }
    }
}

#[test]
fn position_tables_of_its_own_stay_with_a_model() {
    for dir in conformance::fixtures(&["marian"], "grads.safetensors") {
        let mut loaded = Pretrained::load(&dir).unwrap();
        let usual = translate(&*loaded.model, &loaded.tokenizer, &["a red cat"], &loaded.translate_options()).unwrap();
        let sizes = loaded.model.config().sizes();
        let (positions, pad_id) = (sizes.max_positions.unwrap(), sizes.pad_id.unwrap());
        let mut table = Sinusoid::Marian.table(positions, sizes.d_model, pad_id);
        table.iter_mut().for_each(|x| *x *= 3.0);
        loaded.model.set_positions(table.clone(), table.clone());
        let saved = tempfile::tempdir().unwrap();
        loaded.save(saved.path()).unwrap();
        let again = Pretrained::load(saved.path()).unwrap();
        assert_eq!(again.model.own_positions(), Some([&table[..], &table[..]]));
        let log_probability = |of: &Pretrained| {
            let found = translate(&*of.model, &of.tokenizer, &["a red cat"], &of.translate_options()).unwrap();
            found[0][0].hypothesis.score
        };
        assert_eq!(log_probability(&again), log_probability(&loaded));
        assert_ne!(log_probability(&again), usual[0][0].hypothesis.score);
    }
}
