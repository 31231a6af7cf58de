//! Training with products in bf16, on every unit of this machine and by the emulation that all have.

use atento::data::batches::{PackedBatch, Pair};
use atento::data::tokens::{CausalBatch, Window};
use atento::families::Start;
use atento::models::{CausalLm, Gpt2, Gpt2Config, Llama, LlamaConfig, Transformer, TransformerConfig, Translator};
use atento::train::Optimizer;
use atento::train::recipe::{OptimizerSettings, Precision};
use atento::train::step::{StepOptions, Trainable, gradients, train_step};
use atento_kernels::matmul::packed::{Unit, with_unit};
use atento_tensor::{Grads, Pool};

const VOCAB: usize = 50;

fn options(precision: Precision) -> StepOptions {
    StepOptions { seed: 5, precision, ..StepOptions::default() }
}

fn language_models() -> [(&'static str, Box<dyn CausalLm>); 2] {
    let gpt2 = Gpt2Config { dropout: 0.1, ..Gpt2Config::new(VOCAB, 2, 32, 2, 64) };
    let llama = LlamaConfig { kv_heads: 1, tie_embeddings: false, ..LlamaConfig::new(VOCAB, 2, 32, 2, 64) };
    [("gpt2", Box::new(Gpt2::init(gpt2, 3))), ("llama", Box::new(Llama::build(llama, Start::Random(3))))]
}

fn translator() -> Box<dyn Translator> {
    Box::new(Transformer::init(TransformerConfig::tiny(VOCAB), 3))
}

/// Two texts, each of which repeats itself.
fn texts() -> CausalBatch {
    let id = |text: u64, at: usize| (3 + (at * (5 + text as usize)) % 17) as u32;
    let window = |text| Window {
        sample: text,
        ids: (0..40).map(|at| id(text, at)).collect(),
        targets: (0..40).map(|at| (at % 9 > 0).then(|| id(text, at + 1))).collect(),
    };
    CausalBatch::pack((0..2).map(window))
}

/// Sentences and the same words the other way round.
fn pairs(start: u32) -> PackedBatch {
    let pair = |id: u64| {
        let source: Vec<u32> = (0..3 + id as u32).map(|at| 3 + (at * 7 + id as u32) % 20).collect();
        let target: Vec<u32> = source.iter().rev().copied().chain([1]).collect();
        Pair { id, source, target }
    };
    PackedBatch::new(&(0..4).map(pair).collect::<Vec<_>>(), start)
}

fn gradients_in<M: Trainable + ?Sized>(precision: Precision, model: &M, batch: &M::Batch) -> (f64, Grads) {
    let mut grads = Grads::zeros(model.params());
    let batches = std::slice::from_ref(batch);
    let (loss, _) = gradients(model, &mut grads, &Pool::new(), batches, 1, &options(precision));
    (loss, grads)
}

/// How far the gradients are from those in f32: the largest difference of a parameter's, relative to its largest one or to a
/// thousandth of the largest of all, and the length of all differences, relative to that of the gradient.
fn off_f32<M: Trainable + ?Sized>(precision: Precision, model: &M, batch: &M::Batch) -> (f32, f32) {
    let (loss, expected) = gradients_in(Precision::F32, model, batch);
    let (found_loss, found) = gradients_in(precision, model, batch);
    let tolerance = if precision == Precision::Bf16 { 1e-2 } else { 1e-5 };
    assert!((loss - found_loss).abs() < tolerance * loss, "{precision}: loss {found_loss}, in f32 {loss}");
    assert!(found.values != expected.values, "{precision}: the very gradients of f32");
    let largest = |values: &[f32]| values.iter().fold(0.0f32, |max, x| max.max(x.abs()));
    let floor = 1e-3 * largest(&expected.values);
    let trained = model.params().entries().iter().filter(|entry| entry.is_trained());
    let off = trained.map(|entry| {
        let (found, expected) = (found.get(entry.weight), expected.get(entry.weight));
        let differences: Vec<f32> = found.iter().zip(expected).map(|(a, b)| a - b).collect();
        largest(&differences) / largest(expected).max(floor)
    });
    let length = |values: &[f32]| values.iter().map(|x| x * x).sum::<f32>().sqrt();
    let differences: Vec<f32> = found.values.iter().zip(&expected.values).map(|(a, b)| a - b).collect();
    (off.fold(0.0, f32::max), length(&differences) / length(&expected.values))
}

fn assert_gradients<M: Trainable + ?Sized>(name: &str, model: &M, batch: &M::Batch) {
    for unit in Unit::available() {
        with_unit(unit, || {
            let (near, _) = off_f32(Precision::Bf16x3, model, batch);
            assert!(near <= 1e-4, "{name} in bf16x3, {unit:?}: {near:e}");
            let (_, rough) = off_f32(Precision::Bf16, model, batch);
            // Each operand is off by up to 2⁻⁸, layer upon layer; the direction stays.
            assert!(rough <= 1e-1, "{name} in bf16, {unit:?}: {rough:e}");
        });
    }
}

#[test]
fn gradients_in_two_parts_are_nearly_those_of_f32_and_in_bf16_resemble_them() {
    for (name, model) in language_models() {
        assert_gradients(name, &*model, &texts());
    }
    let model = translator();
    assert_gradients("translator", &*model, &pairs(model.start_id()));
}

/// The losses of some updates.
fn losses<M: Trainable + ?Sized>(precision: Precision, mut model: Box<M>, batch: M::Batch) -> Vec<f64> {
    let mut optimizer = Optimizer::new(&OptimizerSettings::default(), model.params());
    let (pool, mut grads) = (Pool::new(), Grads::zeros(model.params()));
    let (batches, options) = ([batch], options(precision));
    let mut step = |n| train_step(&mut *model, &mut optimizer, &mut grads, &pool, &batches, n, 3e-3, &options).unwrap();
    (1..=40).map(|n| step(n).loss).collect()
}

#[test]
fn the_loss_falls_in_bf16_as_in_f32() {
    let run = |precision| losses(precision, language_models().into_iter().next().unwrap().1, texts());
    let exact = run(Precision::F32);
    let (first, last) = (exact[0], exact[39]);
    assert!(last < 0.6 * first, "f32: {first} to {last}");
    for unit in Unit::available() {
        for (precision, tolerance) in [(Precision::Bf16, 0.05), (Precision::Bf16x3, 0.01)] {
            let found = with_unit(unit, || run(precision));
            let worst = found.iter().zip(&exact).map(|(a, b)| (a - b).abs() / b).fold(0.0, f64::max);
            assert!(worst < tolerance, "{precision}, {unit:?}: {worst}, at the end {} and {last}", found[39]);
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit_in_bf16() {
    let model = translator();
    let batch = pairs(model.start_id());
    for unit in Unit::available() {
        let [one, three] = [1, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            with_unit(unit, || pool.install(|| gradients_in(Precision::Bf16, &*model, &batch)))
        });
        assert!(one.0 == three.0 && one.1.values == three.1.values, "{unit:?}");
    }
}
