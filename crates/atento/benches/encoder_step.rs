//! Training steps of BERT-base from random weights: masked words with next sentences, or labels of sentences.
//!
//! ```text
//! cargo bench --bench encoder_step -- [--kind pretrain] [--batch 16] [--seq-len 128] [--steps 10]
//! cargo bench --bench encoder_step -- --kind classify --data FILE.tsv --tokenizer DIR [--batch 32] [--steps 10]
//! ```
//!
//! A step is forward, backward, clipping and AdamW. `pretrain` repeats one batch of random tokens, 15 % of them chosen;
//! `classify` reads the first sentences of a file of `sentence TAB label` lines, a batch of new ones a step. Prints one line
//! of JSON: the median step of `pretrain`, the mean step of `classify`, whose batches differ. `bench/encoder_step.py` is the
//! same in transformers.

mod shared;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use atento::data::labelled::{Goal, Text, TextBatch};
use atento::families::heads::{Headed as HeadedConfig, Objective};
use atento::families::{Config, Head, Start};
use atento::models::{EncoderConfig, Headed};
use atento::text::{Tokenizer, Truncation};
use atento::{Learner, OptimizerSettings, StepOptions};
use atento_kernels::memory::LargePages;
use atento_kernels::philox::Rng;
use serde_json::json;
use shared::{Args, median, peak_rss_megabytes};

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

/// Steps that warm up.
const WARMUP: usize = 3;
/// The longest sentence, in tokens.
const LONGEST: usize = 128;

fn main() {
    let args = Args::parse();
    let steps: usize = args.get("steps", 10);
    let trunk: Arc<dyn Config> = Arc::new(EncoderConfig::new(30_522, 12, 768, 12, 512));
    let kind: String = args.get("kind", "pretrain".to_owned());
    let (head, labels, batches) = match kind.as_str() {
        "pretrain" => (Head::Pretraining, vec![], vec![masked(&args, trunk.sizes().vocab_size)]),
        "classify" => (Head::Labels, vec!["0".into(), "1".into()], sentences(&args, WARMUP + steps)),
        other => panic!("--kind {other}: expected pretrain or classify"),
    };
    let config = HeadedConfig::new(&trunk, head, labels, Objective::Classification).expect("a head that BERT has");
    let mut model = Headed::build(config, Start::Random(1));
    let adamw = OptimizerSettings { betas: [0.9, 0.999], eps: 1e-8, ..OptimizerSettings::default() };
    let mut learner = Learner::with(model.params(), &adamw, StepOptions::default());
    let (mut times, mut losses) = (Vec::new(), Vec::new());
    for step in 0..WARMUP + steps {
        let batch = std::slice::from_ref(&batches[step % batches.len()]);
        let start = Instant::now();
        losses.push(learner.step(&mut model, batch, 2e-5).expect("finite losses").loss);
        times.push(start.elapsed().as_secs_f64());
    }
    let measured: Vec<&TextBatch> = (WARMUP..WARMUP + steps).map(|step| &batches[step % batches.len()]).collect();
    let tokens = measured.iter().map(|batch| batch.ids.len()).sum::<usize>() as f64;
    let texts = measured.iter().map(|batch| batch.texts()).sum::<usize>() as f64;
    let seconds = match kind.as_str() {
        "pretrain" => median(times[WARMUP..].to_vec()),
        _ => times[WARMUP..].iter().sum::<f64>() / steps as f64,
    };
    let peak_rss = peak_rss_megabytes();
    let flops = measured.iter().map(|batch| flops(batch, &trunk.sizes())).sum::<f64>() / steps as f64;
    let (gflops, peak) = (flops / seconds / 1e9, atento_kernels::peak::fma_gflops());
    let result = json!({
        "ms": seconds * 1e3,
        "texts_per_second": texts / steps as f64 / seconds,
        "tokens_per_step": tokens / steps as f64,
        "gflops": gflops,
        "fma_peak": peak,
        "share_of_peak": gflops / peak,
        "peak_rss_mb": peak_rss,
        "parameters": model.params().trainable_count(),
        "first_loss": losses[0],
        "last_loss": losses[losses.len() - 1],
    });
    println!("{result}");
}

/// Random texts of two halves: 15 % of the tokens are to be found, and whether the second half follows.
fn masked(args: &Args, vocab_size: usize) -> TextBatch {
    let (batch, seq_len): (usize, usize) = (args.get("batch", 16), args.get("seq-len", 128));
    let rng = &mut Rng::new(3, 3);
    let texts: Vec<Text> = (0..batch)
        .map(|_| Text {
            ids: (0..seq_len).map(|_| 1 + rng.below(vocab_size - 1) as u32).collect(),
            type_ids: (0..seq_len).map(|at| u32::from(at >= seq_len / 2)).collect(),
        })
        .collect();
    let chosen = (0.15 * seq_len as f64).round() as usize;
    let rows: Vec<u32> =
        (0..batch * chosen).map(|n| (n / chosen * seq_len + n % chosen * seq_len / chosen) as u32).collect();
    let words = rows.iter().map(|_| rng.below(vocab_size) as u32).collect();
    let next = Some((0..batch).map(|_| rng.below(2) as u32).collect());
    TextBatch::pack(&texts, Goal::Words { rows, words, next }, (0..batch as u64).collect())
}

/// The first sentences of a file, with their labels.
fn sentences(args: &Args, batches: usize) -> Vec<TextBatch> {
    let (path, dir): (PathBuf, PathBuf) = (args.get("data", "".into()), args.get("tokenizer", "".into()));
    let size: usize = args.get("batch", 32);
    let lines = std::fs::read_to_string(path).expect("--data FILE.tsv: lines of sentence TAB label");
    let tokenizer = Tokenizer::load(dir.join("tokenizer.json")).expect("--tokenizer DIR: a tokenizer.json");
    let example = |line: &str| {
        let (text, label) = line.split_once('\t').expect("sentence TAB label");
        let found = tokenizer.encode_pair(text, None, Some(LONGEST), Truncation::LongestFirst).expect("a sentence");
        (Text { ids: found.ids, type_ids: found.type_ids }, label.parse().expect("a label, 0 or 1"))
    };
    let examples: Vec<(Text, u32)> = lines.lines().take(batches * size).map(example).collect();
    assert_eq!(examples.len(), batches * size, "--data has too few sentences");
    let pack = |examples: &[(Text, u32)]| {
        let labels = examples.iter().map(|(_, label)| *label).collect();
        let goal = Goal::Labels { labels, weights: vec![1.0; examples.len()] };
        TextBatch::pack(examples.iter().map(|(text, _)| text), goal, (0..examples.len() as u64).collect())
    };
    examples.chunks(size).map(pack).collect()
}

/// Operations of a step: 6 for each weight of a block and token, those of attention, and those of the words' part.
fn flops(batch: &TextBatch, sizes: &atento::families::Sizes) -> f64 {
    let (layers, width) = (12.0, sizes.d_model as f64);
    let words = if let Goal::Words { rows, .. } = &batch.goal { rows.len() as f64 } else { 0.0 };
    let pairs = batch.cu_seqlens.windows(2).map(|pair| f64::from(pair[1] - pair[0]).powi(2)).sum::<f64>();
    let blocks = 6.0 * 12.0 * width * width * layers * batch.ids.len() as f64;
    blocks + 12.0 * width * layers * pairs + 6.0 * words * width * (width + sizes.vocab_size as f64)
}
