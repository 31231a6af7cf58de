//! What holds for every model: all parameters learn, and neither batching, accumulation, threads nor recomputation
//! changes what they learn.

use atento::data::batches::{PackedBatch, Pair};
use atento::data::tokens::{CausalBatch, Window};
use atento::families::Start;
use atento::models::config::{Norm, TieEmbeddings};
use atento::models::recurrent::Recurrent;
use atento::models::recurrent_config::RecurrentConfig;
use atento::models::{CausalLm, Gpt2, Gpt2Config, Llama, LlamaConfig, Transformer, TransformerConfig, Translator};
use atento::train::Optimizer;
use atento::train::recipe::{OptimizerKind, OptimizerSettings, Precision};
use atento::train::step::{StepOptions, StepStats, Trainable, gradients, train_step};
use atento_tensor::{Grads, Params, Pool};

const VOCAB: usize = 61;

fn transformer(norm: Norm, tie_embeddings: TieEmbeddings, dropout: f32) -> Box<dyn Translator> {
    let config = TransformerConfig {
        d_model: 24,
        encoder_layers: 2,
        decoder_layers: 2,
        encoder_heads: 3,
        decoder_heads: 3,
        encoder_ffn: 40,
        decoder_ffn: 36,
        max_positions: 32,
        dropout,
        attention_dropout: dropout,
        activation_dropout: dropout,
        tie_embeddings,
        ..TransformerConfig::tiny(VOCAB).with_norm(norm)
    };
    Box::new(Transformer::init(config, 3))
}

fn recurrent(dropout: f32) -> Box<dyn Translator> {
    let config = RecurrentConfig {
        vocab_size: VOCAB,
        embedding: 16,
        hidden: 12,
        layers: 2,
        dropout,
        tie_embeddings: TieEmbeddings::None,
        pad_id: 0,
        eos_id: 1,
        bos_id: None,
        unk_id: Some(2),
        decoder_start_id: 0,
    };
    Box::new(Recurrent::init(config, 3))
}

/// One model of each kind, by name.
fn models(dropout: f32) -> [(&'static str, Box<dyn Translator>); 4] {
    [
        ("post-norm, one table", transformer(Norm::Post, TieEmbeddings::All, dropout)),
        ("post-norm, two tables", transformer(Norm::Post, TieEmbeddings::Decoder, dropout)),
        ("pre-norm, three tables", transformer(Norm::Pre, TieEmbeddings::None, dropout)),
        ("recurrent", recurrent(dropout)),
    ]
}

/// Sentences of 1 to 9 words with their end token.
fn pairs(n: usize) -> Vec<Pair> {
    let mut state = 12_345u32;
    let mut below = |n: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) % n
    };
    let mut sentence = || {
        let words = 1 + below(9);
        let mut ids: Vec<u32> = (0..words).map(|_| 3 + below(VOCAB as u32 - 3)).collect();
        ids.push(1);
        ids
    };
    (0..n).map(|id| Pair { id: id as u64, source: sentence(), target: sentence() }).collect()
}

/// The pairs in batches of so many.
fn batches(model: &dyn Translator, pairs: &[Pair], size: usize) -> Vec<PackedBatch> {
    pairs.chunks(size).map(|chunk| PackedBatch::new(chunk, model.start_id())).collect()
}

const OPTIONS: StepOptions = StepOptions { smoothing: 0.1, clip_norm: 1.0, seed: 5, precision: Precision::F32 };

/// Loss per target token and gradients of one step.
fn step_gradients<M: Trainable + ?Sized>(model: &M, batches: &[M::Batch]) -> (f64, Grads) {
    let mut grads = Grads::zeros(model.params());
    let (loss, _) = gradients(model, &mut grads, &Pool::new(), batches, 1, &OPTIONS);
    (loss, grads)
}

/// The bias of keys adds `q·b` to every score of a row, and a softmax does not see what is added to all of its inputs:
/// the exact gradient is zero and the computed one is rounding. Not so where keys are turned by their positions.
fn has_no_gradient(name: &str) -> bool {
    ["encoder.", "decoder."].iter().any(|side| name.starts_with(side)) && name.ends_with("attn.k_proj.bias")
}

fn assert_equal_gradients(params: &Params, name: &str, found: &Grads, expected: &Grads) {
    for entry in params.entries().iter().filter(|entry| entry.is_trained()) {
        let (found, expected) = (found.get(entry.weight), expected.get(entry.weight));
        let scale = expected.iter().fold(1e-3f32, |max, x| max.max(x.abs()));
        for (a, b) in found.iter().zip(expected) {
            assert!((a - b).abs() <= 2e-5 * scale, "{name}: gradient of {}: {a}, expected {b}", entry.name);
        }
    }
}

/// Every parameter that trains has a finite gradient that is not zero, and moves in an update; the others stay.
fn assert_all_learn<M: Trainable + ?Sized>(name: &str, model: &mut M, batches: &[M::Batch]) {
    let before = model.params().clone();
    let mut optimizer = Optimizer::new(&OptimizerSettings::default(), model.params());
    let (pool, mut grads) = (Pool::new(), Grads::zeros(model.params()));
    train_step(model, &mut optimizer, &mut grads, &pool, batches, 1, 1e-3, &OPTIONS).unwrap();
    let norm = grads.values.iter().map(|d| d * d).sum::<f32>().sqrt();
    for entry in model.params().entries() {
        let moved = before.get(entry.weight) != model.params().get(entry.weight);
        if !entry.is_trained() {
            assert!(!moved, "{name}: {}", entry.name);
            continue;
        }
        let gradient = grads.get(entry.weight);
        assert!(gradient.iter().all(|d| d.is_finite()), "{name}: gradient of {}", entry.name);
        let largest = gradient.iter().fold(0f32, |max, d| max.max(d.abs()));
        if has_no_gradient(&entry.name) {
            assert!(largest < 1e-6 * norm, "{name}: gradient {largest} of {}", entry.name);
            continue;
        }
        assert!(moved, "{name}: {}", entry.name);
        assert!(largest > 1e-6 * norm, "{name}: gradient {largest} of {}", entry.name);
    }
}

/// With every third parameter frozen, the others learn as if all did, and the frozen ones stay.
fn assert_frozen_stay<M: Trainable + ?Sized>(name: &str, model: &mut M, batches: &[M::Batch]) {
    let (loss, all) = step_gradients(model, batches);
    let entries = model.params().entries().to_vec();
    for keep in 0..3 {
        let frozen: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).skip(keep).step_by(3).collect();
        let mut partly = model.params().clone();
        partly.freeze(|entry| frozen.contains(&entry.name.as_str()));
        let whole = std::mem::replace(model.params_mut(), partly);
        let (found, some) = step_gradients(model, batches);
        assert!((loss - found).abs() < 1e-6, "{name}: loss {found}, with all trained {loss}");
        for entry in model.params().entries().iter().filter(|entry| entry.is_trained()) {
            let (found, expected) = (some.get(entry.weight), all.get(entry.weight));
            let scale = expected.iter().fold(1e-3f32, |max, x| max.max(x.abs()));
            let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference <= 2e-5 * scale, "{name}: gradient of {}", entry.name);
        }
        let mut optimizer = Optimizer::new(&OptimizerSettings::default(), model.params());
        let (pool, mut grads) = (Pool::new(), Grads::zeros(model.params()));
        train_step(model, &mut optimizer, &mut grads, &pool, batches, 1, 1e-3, &OPTIONS).unwrap();
        for entry in model.params().entries().iter().filter(|entry| !has_no_gradient(&entry.name)) {
            let moved = whole.get(entry.weight) != model.params().get(entry.weight);
            assert_eq!(moved, entry.is_trained(), "{name}: {}", entry.name);
        }
        *model.params_mut() = whole;
    }
}

#[test]
fn every_parameter_has_a_gradient_and_moves() {
    for (name, mut model) in models(0.1) {
        let batches = batches(&*model, &pairs(16), 16);
        assert_all_learn(name, &mut model, &batches);
    }
    for (name, mut model) in language_models() {
        assert_all_learn(name, &mut model, &[CausalBatch::pack(windows(&[9, 31, 1], &[]))]);
    }
}

#[test]
fn frozen_parameters_stay_and_the_others_learn_as_if_all_did() {
    for (name, mut model) in models(0.1) {
        let batches = batches(&*model, &pairs(16), 16);
        assert_frozen_stay(name, &mut model, &batches);
    }
    for (name, mut model) in language_models() {
        assert_frozen_stay(name, &mut model, &[CausalBatch::pack(windows(&[9, 31, 1], &[]))]);
    }
}

#[test]
fn a_batch_is_the_sum_of_its_sentences() {
    for (name, model) in models(0.0).into_iter().chain(models(0.2)) {
        let pairs = pairs(8);
        let (together, expected) = step_gradients(&*model, &batches(&*model, &pairs, 8));
        let (alone, found) = step_gradients(&*model, &batches(&*model, &pairs, 1));
        assert!((together - alone).abs() < 1e-6, "{name}: loss {alone}, in one batch {together}");
        assert_equal_gradients(model.params(), name, &found, &expected);
    }
}

/// Language models with all dropout that they can have, by name.
fn language_models() -> [(&'static str, Box<dyn CausalLm>); 3] {
    let gpt2 = Gpt2Config { dropout: 0.2, ..Gpt2Config::new(50, 2, 16, 2, 520) };
    let plain = LlamaConfig { attention_dropout: 0.2, ..LlamaConfig::new(50, 2, 16, 2, 520) };
    let all = LlamaConfig {
        kv_heads: 1,
        head_dim: 6,
        tie_embeddings: false,
        qkv_bias: true,
        out_bias: true,
        mlp_bias: true,
        qk_norm: true,
        window: Some(40),
        windowed: vec![true, false],
        ..plain.clone()
    };
    [
        ("gpt2", Box::new(Gpt2::init(gpt2, 3))),
        ("llama", Box::new(Llama::build(plain, Start::Random(3)))),
        ("llama with all there is", Box::new(Llama::build(all, Start::Random(3)))),
    ]
}

/// Windows of these lengths; those of `silent` have no target.
fn windows(lengths: &[usize], silent: &[usize]) -> Vec<Window> {
    let id = |at: usize| (at * at % 47 + at % 3) as u32;
    let window = |(number, &length): (usize, &usize)| Window {
        sample: number as u64,
        ids: (0..length).map(|at| id(at + 100 * number)).collect(),
        targets: (0..length).map(|at| (!silent.contains(&number)).then(|| id(at + 1 + 100 * number))).collect(),
    };
    lengths.iter().enumerate().map(window).collect()
}

/// Micro-batches of 8 rows and fewer, of a block of rows, of one with a tail, and of more than two: each has its own
/// kernels, and a mask must not depend on which.
#[test]
fn a_step_with_dropout_is_the_same_in_one_batch_and_in_many_of_any_size() {
    for (name, model) in language_models() {
        check_cuts(name, &*model);
    }
}

fn check_cuts(model_name: &str, model: &dyn CausalLm) {
    let lengths = [8, 505, 7, 513, 1, 31, 3];
    let step = |cuts: &[usize], silent: &[usize]| {
        let mut windows = windows(&lengths, silent).into_iter();
        let batches: Vec<CausalBatch> = cuts.iter().map(|&n| CausalBatch::pack(windows.by_ref().take(n))).collect();
        assert!(windows.next().is_none());
        let mut grads = Grads::zeros(model.params());
        let (loss, _) = gradients(model, &mut grads, &Pool::new(), &batches, 1, &OPTIONS);
        (loss, grads)
    };
    for silent in [&[][..], &[3], &[0, 3, 6]] {
        let (expected_loss, expected) = step(&[7], silent);
        for cuts in [&[1; 7][..], &[2, 5], &[3, 1, 3], &[4, 3], &[6, 1]] {
            let (loss, found) = step(cuts, silent);
            let name = format!("{model_name}: {cuts:?} without targets in {silent:?}");
            assert!((loss - expected_loss).abs() < 1e-6, "{name}: loss {loss}, in one batch {expected_loss}");
            assert_equal_gradients(model.params(), &name, &found, &expected);
        }
    }
}

/// Three updates of a language model over windows of these lengths.
fn trained(at: usize, lengths: &[usize]) -> Vec<u32> {
    let (_, mut model) = language_models().into_iter().nth(at).unwrap();
    let batches = [CausalBatch::pack(windows(lengths, &[]))];
    let mut optimizer = Optimizer::new(&OptimizerSettings::default(), model.params());
    let (pool, mut grads) = (Pool::new(), Grads::zeros(model.params()));
    for step in 1..=3 {
        train_step(&mut model, &mut optimizer, &mut grads, &pool, &batches, step, 1e-2, &OPTIONS).unwrap();
    }
    model.params().values().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_training_on_batches_of_any_size_does_not_depend_on_the_number_of_threads() {
    let pools = [1, 2, 3, 4].map(|n| rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap());
    for tail in [1, 8, 9, 64, 511, 512] {
        for lengths in [vec![tail], vec![512, tail], vec![512, 512, tail]] {
            let [one, others @ ..] = &pools;
            for at in 0..language_models().len() {
                let expected = one.install(|| trained(at, &lengths));
                for pool in others {
                    let found = pool.install(|| trained(at, &lengths));
                    assert!(found == expected, "{at}: {lengths:?} on {} threads", pool.current_num_threads());
                }
            }
        }
    }
}

/// Three steps of gradient descent, clipped, over batches of this size; the numbers of each step and the parameters.
fn descend(mut model: Box<dyn Translator>, size: usize) -> (Vec<StepStats>, Vec<f32>) {
    let settings = OptimizerSettings { kind: OptimizerKind::Sgd, ..OptimizerSettings::default() };
    let mut optimizer = Optimizer::new(&settings, model.params());
    let (pool, mut grads) = (Pool::new(), Grads::zeros(model.params()));
    let batches = batches(&*model, &pairs(64), size);
    let mut step = |step| train_step(&mut model, &mut optimizer, &mut grads, &pool, &batches, step, 0.5, &OPTIONS);
    let stats = (1..=3).map(|n| step(n).unwrap()).collect();
    (stats, model.params().values().to_vec())
}

#[test]
fn a_step_of_eight_batches_is_the_step_of_one_of_eight_times_the_size() {
    for ((name, one), (_, eight)) in models(0.1).into_iter().zip(models(0.1)) {
        let (expected, expected_params) = descend(one, 64);
        let (found, params) = descend(eight, 8);
        for (a, b) in found.iter().zip(&expected) {
            assert!((a.loss - b.loss).abs() < 1e-5 && (a.nll - b.nll).abs() < 1e-5, "{name}: {a:?} {b:?}");
            assert!((a.grad_norm - b.grad_norm).abs() < 1e-4 * b.grad_norm, "{name}: {a:?} {b:?}");
            assert_eq!(a.tokens, b.tokens, "{name}");
        }
        assert!(expected[2].loss < expected[0].loss - 0.05, "{name}: {expected:?}");
        let largest = params.iter().zip(&expected_params).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 2e-5, "{name}: parameters differ by {largest}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    for (name, model) in models(0.2) {
        let batches = batches(&*model, &pairs(64), 32);
        let [one, four] = [1, 4].map(|n_threads| {
            let threads = rayon::ThreadPoolBuilder::new().num_threads(n_threads).build().unwrap();
            threads.install(|| step_gradients(&*model, &batches))
        });
        assert_eq!(one.0, four.0, "{name}: loss");
        assert!(one.1.values == four.1.values, "{name}: gradients");
    }
}

#[test]
fn recomputed_layers_have_the_same_gradients() {
    for norm in [Norm::Post, Norm::Pre] {
        let [kept, recomputed] = [false, true].map(|checkpoint| {
            let mut model = transformer(norm, TieEmbeddings::All, 0.2);
            model.checkpoint_activations(checkpoint);
            let batches = batches(&*model, &pairs(16), 8);
            step_gradients(&*model, &batches)
        });
        assert_eq!(kept.0, recomputed.0, "{norm:?}");
        assert!(kept.1.values == recomputed.1.values, "{norm:?}: gradients");
    }
    let batches = [CausalBatch::pack(windows(&[9, 31, 1], &[]))];
    for (name, mut model) in language_models() {
        let kept = step_gradients(&model, &batches);
        model.checkpoint_activations(true);
        let recomputed = step_gradients(&model, &batches);
        assert!((kept.0 - recomputed.0).abs() < 1e-6, "{name}");
        // Joined norms sum gradients in another order than those that stand apart.
        assert_equal_gradients(model.params(), name, &recomputed.1, &kept.1);
    }
}
