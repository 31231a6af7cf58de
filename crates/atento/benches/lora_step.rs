//! One training step of a GPT-2 of random weights, whole or with an adapter on `c_attn`: forward, backward, AdamW.
//!
//! ```text
//! cargo bench --bench lora_step -- [preset method rank weights batch seq_len steps]
//! ```
//!
//! `method` is full or lora; `weights`, f32, bf16, int8, int4 or nf4, is how the frozen model is held. Prints one line of JSON: milliseconds
//! a step (median), tokens a second, what is trained, the peak resident memory and how much of it the model's own weights
//! are. `bench/lora_step.py` is the same with PEFT.

use std::time::Instant;

use atento::models::gpt2::config;
use atento::models::{CausalLm, Gpt2, Gpt2Config, Precision};
use atento::peft::{AdapterConfig, LoraConfig, NewAdapter, Start};
use atento::train::Optimizer;
use atento::train::recipe::OptimizerSettings;
use atento_kernels::memory::LargePages;
use atento_kernels::philox::Rng;
use atento_kernels::threads::within;
use atento_tensor::{Frozen, Grads, Graph, Pool};

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

/// Steps before the first that is measured.
const WARMUP: usize = 2;

/// A model whose weights were never all there in f32, as those of a run that maps its base.
fn frozen(config: Gpt2Config, precision: Precision) -> Gpt2 {
    let mut model = Gpt2::unloaded(config);
    model.params.freeze_without_values(|_| true);
    let rng = &mut Rng::new(1, 1);
    for entry in model.params.entries().to_vec() {
        let start = if entry.name.ends_with("bias") { Some(0.0) } else { entry.name.contains("ln_").then_some(1.0) };
        let values: Vec<f32> = (0..entry.weight.len()).map(|_| start.unwrap_or_else(|| 0.02 * rng.normal())).collect();
        let held = match precision.rounds(&entry) {
            true => precision.hold(&entry, &values).expect("initial weights are finite"),
            false => Frozen::F32(values.into()),
        };
        model.params.set_frozen(entry.weight, held);
    }
    // Pairs are to begin as they do in a run, not as zeros that nothing moves.
    model.params.start_values();
    model
}

fn main() {
    // Cargo adds flags of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let text = |i: usize, default: &str| args.get(i).map_or(default, String::as_str).to_owned();
    let number = |i: usize, default: usize| args.get(i).map_or(default, |arg| arg.parse().expect("a number"));
    let (method, rank) = (text(1, "lora"), number(2, 8));
    let (precision, bits_each) = match text(3, "f32").as_str() {
        "f32" => (Precision::F32, 32),
        "bf16" => (Precision::Bf16, 16),
        "int8" => (Precision::Int8, 8),
        "int4" => (Precision::Int4, 4),
        "nf4" => (Precision::Nf4, 4),
        other => panic!("weights {other}: expected f32, bf16, int8, int4 or nf4"),
    };
    let (batch, seq_len, steps) = (number(4, 4), number(5, 256), number(6, 8));
    let config = Gpt2Config::preset(&text(0, "gpt2"), config::VOCAB_SIZE).expect("a preset");
    let own = |count: usize| bits_each * count / 8;
    let mut model = if method == "lora" { frozen(config, precision) } else { Gpt2::init(config, 1) };
    let own = own(model.params.count());
    if method == "lora" {
        let lora = LoraConfig::new("gpt2", rank, &["c_attn".to_owned()]);
        let of = (&model as &dyn CausalLm).config();
        let new = NewAdapter::of(AdapterConfig::Lora(lora), &*of, &model.params, &[]).expect("a GPT-2 has them");
        new.begin(&mut model.params, Start::default(), 1);
    }
    let mut grads = Grads::zeros(&model.params);
    let settings = OptimizerSettings { lr: 1e-3, ..OptimizerSettings::default() };
    let mut optimizer = Optimizer::new(&settings, &model.params);
    let (pool, n_tokens) = (Pool::new(), batch * seq_len);
    let rng = &mut Rng::new(7, 7);
    let ids: Vec<u32> = (0..=n_tokens).map(|_| rng.below(model.config.vocab_size) as u32).collect();
    let targets: Vec<Option<u32>> = ids[1..].iter().map(|&id| Some(id)).collect();
    let cu_seqlens: Vec<u32> = (0..=batch).map(|i| (i * seq_len) as u32).collect();
    let mut times = Vec::new();
    // Without dropout, which moves the loss of a step by more than the first updates do.
    let plain_loss = |model: &Gpt2| {
        let mut g = Graph::infer(&model.params, &pool);
        model.loss(&mut g, &ids[..n_tokens], &cu_seqlens, &targets, 0.0, 1.0).loss_sum / n_tokens as f64
    };
    let before = plain_loss(&model);
    for step in 1..=WARMUP + steps {
        let start = Instant::now();
        within(|| {
            grads.values.fill(0.0);
            let mut g = Graph::train(&model.params, &mut grads, &pool, step as u64);
            let loss = model.loss(&mut g, &ids[..n_tokens], &cu_seqlens, &targets, 0.0, 1.0 / n_tokens as f32);
            g.backward(&loss.loss);
            drop(g);
            assert!(optimizer.gradient_norm(&grads, step as u64).is_finite());
            optimizer.step(&mut model.params, &grads, 1e-3, step as u64, 1.0);
        });
        if step > WARMUP {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    let after = plain_loss(&model);
    assert!(after < before, "the loss must fall on one repeated batch: {before}, then {after}");
    times.sort_by(f64::total_cmp);
    let seconds = times[times.len() / 2];
    println!(
        "{{\"ms\": {:.1}, \"tokens_per_second\": {:.0}, \"trainable\": {}, \"peak_rss_mb\": {:.0}, \"own_mb\": {:.0}}}",
        seconds * 1e3,
        n_tokens as f64 / seconds,
        model.params.trainable_count(),
        atento::memory::peak().unwrap_or(0) as f64 / f64::from(1 << 20),
        own as f64 / f64::from(1 << 20),
    );
}
