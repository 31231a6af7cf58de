//! One training step of a decoder-only Transformer assembled from the library's ops: forward, backward, AdamW.
//!
//! ```text
//! cargo bench --bench decoder_step -- [layers d_model heads seq_len batch vocab_size steps] [f32|bf16|bf16x3]
//! ```
//!
//! The word is the precision of the products with weights. //! Prints milliseconds a step (median), GFLOP/s, their share of the FMA peak measured in the same run, and the peak
//! resident memory. `bench/decoder_step.py` is the same model in PyTorch.

use std::sync::Arc;
use std::time::Instant;

use atento::layers::attention::self_segments;
use atento::layers::{Embedding, FeedForward, LayerNorm, SelfAttention};
use atento::train::Optimizer;
use atento::train::recipe::{OptimizerSettings, Precision};
use atento_kernels::memory::LargePages;
use atento_kernels::philox::Rng;
use atento_kernels::threads::within;
use atento_tensor::ops::{Activation, AttentionSpec, Positions, Segment};
use atento_tensor::{Grads, Graph, Init, Params, Pool, Tensor};

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

struct Block {
    norm: LayerNorm,
    attention: SelfAttention,
    feed_forward_norm: LayerNorm,
    feed_forward: FeedForward,
}

struct Decoder {
    tokens: Embedding,
    positions: Positions,
    blocks: Vec<Block>,
    final_norm: LayerNorm,
}

struct Shape {
    layers: usize,
    d_model: usize,
    heads: usize,
    seq_len: usize,
    batch: usize,
    vocab_size: usize,
    steps: usize,
}

impl Shape {
    fn from_args() -> Self {
        let numbers: Vec<usize> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
        let at = |i: usize, default: usize| numbers.get(i).copied().unwrap_or(default);
        Self {
            layers: at(0, 6),
            d_model: at(1, 384),
            heads: at(2, 6),
            seq_len: at(3, 256),
            batch: at(4, 8),
            vocab_size: at(5, 8192),
            steps: at(6, 15),
        }
    }

    /// Floating-point operations of a step: 6 per weight and token, and the causal half of the attention products.
    fn flops(&self) -> f64 {
        let tokens = (self.batch * self.seq_len) as f64;
        let weights = (12 * self.d_model * self.d_model * self.layers + self.vocab_size * self.d_model) as f64;
        let attention = 3.0 * 2.0 * tokens * (self.seq_len * self.d_model * self.layers) as f64;
        6.0 * weights * tokens + attention
    }
}

impl Decoder {
    fn init(params: &mut Params, shape: &Shape) -> Self {
        let rng = &mut Rng::new(1, 1);
        let d_model = shape.d_model;
        let tokens = Embedding::init(params, "wte", shape.vocab_size, d_model, 1.0, rng);
        let positions = params.add("wpe", &[shape.seq_len, d_model], Init::Normal(0.02), rng);
        let spec = AttentionSpec::new(shape.heads, d_model / shape.heads, true, 0.0);
        let blocks = (0..shape.layers)
            .map(|i| Block {
                norm: LayerNorm::init(params, &format!("h.{i}.ln_1"), d_model, 1e-5, rng),
                attention: SelfAttention::init(params, &format!("h.{i}.attn"), d_model, spec, rng),
                feed_forward_norm: LayerNorm::init(params, &format!("h.{i}.ln_2"), d_model, 1e-5, rng),
                feed_forward: {
                    let path = format!("h.{i}.mlp");
                    FeedForward::init(params, &path, d_model, 4 * d_model, Activation::GeluTanh, 0.0, rng)
                },
            })
            .collect();
        let final_norm = LayerNorm::init(params, "ln_f", d_model, 1e-5, rng);
        Self { tokens, positions: Positions::Learned(positions), blocks, final_norm }
    }

    fn hidden(&self, g: &mut Graph<'_>, ids: &[u32], position_ids: &[u32], segments: &Arc<[Segment]>) -> Tensor {
        let tokens = self.tokens.forward(g, ids);
        let mut x = g.add_positions(&tokens, &self.positions, position_ids);
        let mut normalised = self.blocks[0].norm.forward(g, &x);
        for (i, block) in self.blocks.iter().enumerate() {
            let attended = block.attention.forward(g, &normalised, segments);
            (x, normalised) = block.feed_forward_norm.forward_residual(g, &x, &attended, 0.0);
            let transformed = block.feed_forward.forward(g, &normalised);
            let next = self.blocks.get(i + 1).map_or(&self.final_norm, |next| &next.norm);
            (x, normalised) = next.forward_residual(g, &x, &transformed, 0.0);
        }
        normalised
    }
}

fn main() {
    let shape = Shape::from_args();
    let mut params = Params::new();
    let decoder = Decoder::init(&mut params, &shape);
    let mut grads = Grads::zeros(&params);
    let settings = OptimizerSettings { lr: 1e-4, ..OptimizerSettings::default() };
    let mut optimizer = Optimizer::new(&settings, &params);
    let words: Vec<String> = std::env::args().collect();
    let precision = [Precision::F32, Precision::Bf16, Precision::Bf16x3]
        .into_iter()
        .find(|precision| words.iter().any(|word| word == precision.word()))
        .unwrap_or(Precision::F32);
    let pool = Pool::new().in_precision(precision.of_products());
    let n_tokens = shape.batch * shape.seq_len;
    let mut rng = Rng::new(7, 7);
    let ids: Vec<u32> = (0..=n_tokens).map(|_| rng.below(shape.vocab_size) as u32).collect();
    let targets: Vec<Option<u32>> = ids[1..].iter().map(|&id| Some(id)).collect();
    let position_ids: Vec<u32> = (0..n_tokens).map(|i| (i % shape.seq_len) as u32).collect();
    let cu_seqlens: Vec<u32> = (0..=shape.batch).map(|i| (i * shape.seq_len) as u32).collect();
    let segments = self_segments(&cu_seqlens);
    let mut times = Vec::new();
    let mut losses = Vec::new();
    for step in 0..shape.steps + 3 {
        let start = Instant::now();
        let loss_sum = within(|| {
            grads.values.fill(0.0);
            let mut g = Graph::train(&params, &mut grads, &pool, step as u64);
            let hidden = decoder.hidden(&mut g, &ids[..n_tokens], &position_ids, &segments);
            let loss = g.cross_entropy(&hidden, decoder.tokens.table, None, &targets, 0.0, 1.0 / n_tokens as f32);
            drop(hidden);
            g.backward(&loss.loss);
            drop(g);
            let norm = optimizer.gradient_norm(&grads, step as u64 + 1);
            assert!(norm.is_finite() && norm > 0.0);
            optimizer.step(&mut params, &grads, 1e-4, step as u64 + 1, 1.0);
            loss.loss_sum
        });
        losses.push(loss_sum / n_tokens as f64);
        if step >= 3 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    assert!(losses.last() < losses.first(), "the loss must fall on one repeated batch: {losses:?}");
    times.sort_by(f64::total_cmp);
    let seconds = times[times.len() / 2];
    let (gflops, peak) = (shape.flops() / seconds / 1e9, atento_kernels::peak::fma_gflops());
    println!(
        "{{\"ms\": {:.1}, \"tokens_per_second\": {:.0}, \"gflops\": {gflops:.1}, \"fma_peak\": {peak:.1}, \
         \"share_of_peak\": {:.3}, \"peak_rss_mb\": {:.0}, \"allocations\": {}}}",
        seconds * 1e3,
        n_tokens as f64 / seconds,
        gflops / peak,
        peak_rss_megabytes(),
        pool.stats().allocations,
    );
}

/// The process's largest resident set, from the kernel's own accounting; 0 where there is no `/proc`.
fn peak_rss_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<f64>().ok()).map_or(0.0, |kb| kb / 1024.0)
}
