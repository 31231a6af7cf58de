//! The forward pass of an encoder with random weights: BERT-base or DeBERTa-v3-base.
//!
//! ```text
//! cargo bench --bench encoder_forward -- [--model bert-base|deberta-v3-base] [--batch 16] [--seq-len 128] [--repeat 10]
//! ```
//!
//! Prints the median time of a pass after two that warm up, its share of the FMA peak measured in the same run, and the peak
//! resident memory, as one line of JSON. `bench/encoder_forward.py` is the same in transformers.

mod shared;

use std::time::Instant;

use atento::families::Start;
use atento::models::{Deberta, DebertaConfig, Encoder, EncoderConfig, Texts, Trunk};
use atento::{Graph, Pool};
use atento_kernels::memory::LargePages;
use atento_kernels::philox::Rng;
use atento_kernels::threads::within;
use serde_json::json;
use shared::{Args, median, peak_rss_megabytes};

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

fn main() {
    let args = Args::parse();
    let (batch, seq_len, repeat) = (args.get("batch", 16), args.get("seq-len", 128), args.get("repeat", 10));
    let model: Box<dyn Trunk> = match args.get("model", "bert-base".to_owned()).as_str() {
        "bert-base" => Box::new(Encoder::build(EncoderConfig::new(30_522, 12, 768, 12, 512), Start::Random(1))),
        "deberta-v3-base" => Box::new(Deberta::build(DebertaConfig::new(128_100, 12, 768, 12, 512), Start::Random(1))),
        other => panic!("--model {other}: expected bert-base or deberta-v3-base"),
    };
    let (tokens, vocab_size) = (batch * seq_len, model.sizes().vocab_size);
    let rng = &mut Rng::new(3, 3);
    let ids: Vec<u32> = (0..tokens).map(|_| rng.below(vocab_size) as u32).collect();
    let cu_seqlens: Vec<u32> = (0..=batch).map(|text| (text * seq_len) as u32).collect();
    let pool = Pool::new();
    let pass = || {
        let start = Instant::now();
        let states = within(|| {
            let g = &mut Graph::infer(model.params(), &pool);
            model.encode(g, Texts::of(&ids, &cu_seqlens), &mut |_| ())
        });
        assert!(states.values().iter().all(|value| value.is_finite()), "a state is not a number");
        start.elapsed().as_secs_f64()
    };
    let times: Vec<f64> = (0..2 + repeat).map(|_| pass()).collect();
    let seconds = median(times[2..].to_vec());
    let peak_rss = peak_rss_megabytes();
    let (gflops, peak) = (flops(&*model, batch, seq_len) / seconds / 1e9, atento_kernels::peak::fma_gflops());
    let result = json!({
        "ms": seconds * 1e3,
        "tokens_per_second": tokens as f64 / seconds,
        "gflops": gflops,
        "fma_peak": peak,
        "share_of_peak": gflops / peak,
        "peak_rss_mb": peak_rss,
        "parameters": model.params().count(),
    });
    println!("{result}");
}

/// Floating-point operations of the products with weights and of scores and contexts; those of relative positions are not
/// counted.
fn flops(model: &dyn Trunk, batch: usize, seq_len: usize) -> f64 {
    let (tokens, d_model, layers) = ((batch * seq_len) as f64, model.sizes().d_model as f64, model.layers() as f64);
    layers * tokens * (24.0 * d_model * d_model + 4.0 * seq_len as f64 * d_model)
}
