//! What of an example is learned, seen in the gradients.

use std::collections::BTreeMap;

use atento_tensor::Grads;

use super::*;
use crate::data::tokens::CausalBatch;
use crate::models::{Gpt2, Gpt2Config};
use crate::text::{self, TrainOptions as LearnOptions};
use crate::train::recipe::Precision;
use crate::train::step::{StepOptions, gradients};

fn tokenizer() -> Arc<Tokenizer> {
    let lines = ["abcdefghijklmnopqrstuvwxyz\n"].map(|line| Ok::<_, text::Error>(line.to_owned()));
    Arc::new(Tokenizer::train(lines, &LearnOptions::characters()).unwrap())
}

/// The batch of these pairs, a line each.
fn batch(pairs: &str, train_on_prompt: bool) -> CausalBatch {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pairs.tsv");
    std::fs::write(&path, pairs).unwrap();
    let options = InstructOptions { block_size: 16, train_on_prompt, ..InstructOptions::default() };
    let set = InstructSet::open(&InstructSource::from_path(path), tokenizer(), options).unwrap();
    set.batches(PackOptions { shuffle: false, ..PackOptions::default() }).unwrap().next().unwrap().0
}

fn model() -> Box<dyn CausalLm> {
    Box::new(Gpt2::init(Gpt2Config::new(tokenizer().vocab_size(), 2, 16, 2, 16), 1))
}

/// The bits of every parameter's gradient.
fn gradient(model: &dyn CausalLm, batch: CausalBatch) -> BTreeMap<&str, Vec<u32>> {
    let mut grads = Grads::zeros(model.params());
    let options = StepOptions { smoothing: 0.0, clip_norm: 0.0, seed: 1, precision: Precision::F32 };
    gradients(model, &mut grads, &Pool::new(), &[batch], 1, &options);
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect();
    let entries = model.params().entries().iter();
    entries.map(|entry| (entry.name.as_str(), bits(grads.get(entry.weight)))).collect()
}

const PAIRS: &str = "abc\tlmn\nhij\txyz\n";
const OTHER_PROMPTS: &str = "qrs\tlmn\njjj\txyz\n";
const OTHER_COMPLETION: &str = "abc\tlmn\nhij\txyw\n";

#[test]
fn a_prompt_contributes_nothing_where_no_completion_looks_back_at_it() {
    // Attention writes nothing: a token takes part in what is predicted at its own position, and nowhere else.
    let mut model = model();
    for layer in 0..2 {
        let written = model.params().entry(&format!("h.{layer}.attn.c_proj.weight")).unwrap().weight;
        model.params_mut().get_mut(written).fill(0.0);
    }
    // What attention would write depends on the prompt, and so does the gradient of the map that writes it.
    let of = |pairs, train_on_prompt| {
        let mut all = gradient(&*model, batch(pairs, train_on_prompt));
        all.retain(|name, _| !name.ends_with("attn.c_proj.weight"));
        all
    };
    let found = of(PAIRS, false);
    assert_eq!(found, of(OTHER_PROMPTS, false), "what is predicted within a prompt is not learned");
    assert_ne!(found, of(OTHER_COMPLETION, false));
    assert_ne!(of(PAIRS, true), of(OTHER_PROMPTS, true), "a prompt that is learned does contribute");
}

#[test]
fn a_prompt_is_read_and_a_completion_is_learned() {
    let model = model();
    let found = gradient(&*model, batch(PAIRS, false));
    assert_eq!(found, gradient(&*model, batch(PAIRS, false)));
    assert_ne!(found, gradient(&*model, batch(OTHER_PROMPTS, false)));
    let mut relabelled = batch(PAIRS, false);
    *relabelled.targets.iter_mut().flatten().next().unwrap() = 0;
    assert_ne!(found, gradient(&*model, relabelled));
}
