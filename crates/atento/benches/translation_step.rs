//! Training steps of the encoder–decoder on parallel text: the throughput of a real run without its reporting.
//!
//! ```text
//! cargo bench --bench translation_step -- --model DIR --data DIR [--batch-tokens 4096] [--steps 30] [--save DIR]
//! ```
//!
//! `--data` holds `train.en` and `train.de`, plain or `.gz` (`--source`, `--target` name other languages). `--model` is a
//! Hugging Face directory, whose sizes, dropout, weights and tokenizer are used; where there is none yet, the small
//! preset with a joint BPE of `--vocab-size` tokens is written there first, so that `bench/translation_step.py` trains
//! the same model on the same ids. `--save` writes the model as it is after the last step. Prints one line of JSON;
//! tokens are source and target tokens together.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use atento::data::{BatchOptions, Batches, Dataset, OnTruncate, PackedBatch, PairOptions, ParallelSource, dataset};
use atento::hub::generation::GenerationConfig;
use atento::models::{Transformer, TransformerConfig, Translator};
use atento::pretrained::Pretrained;
use atento::text::{Tokenizer, TrainOptions};
use atento::train::Optimizer;
use atento::train::recipe::OptimizerSettings;
use atento::train::step::{StepOptions, StepStats, train_step};
use atento_tensor::{Grads, Pool};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// `--name value` pairs of the command line.
struct Args(HashMap<String, String>);

impl Args {
    fn parse() -> Self {
        let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
        let pair = |pair: &[String]| (pair[0].trim_start_matches('-').to_owned(), pair[1].clone());
        Self(args.chunks_exact(2).map(pair).collect())
    }

    fn or<T: FromStr>(&self, name: &str, default: T) -> Outcome<T> {
        match self.0.get(name) {
            Some(value) => value.parse().map_err(|_| format!("--{name} {value}: not a value of this option").into()),
            None => Ok(default),
        }
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.0.get(name).map(PathBuf::from)
    }
}

/// A file of the data directory, plain or gzip.
fn find(dir: &Path, name: &str) -> PathBuf {
    let plain = dir.join(name);
    if plain.exists() { plain } else { dir.join(format!("{name}.gz")) }
}

/// The model of the directory, which is made and written if it is not there yet.
fn load_or_create(dir: &Path, source: &ParallelSource, args: &Args) -> Outcome<Pretrained> {
    if dir.join("config.json").exists() {
        return Ok(Pretrained::load(dir)?);
    }
    let options = TrainOptions { vocab_size: args.or("vocab-size", 8000)?, ..TrainOptions::default() };
    let tokenizer = Tokenizer::train(source.sentences()?, &options)?;
    let config = TransformerConfig::small(tokenizer.vocab_size());
    let generation = GenerationConfig::of_model(&config);
    let model = Translator::Transformer(Box::new(Transformer::init(config, 1)));
    let created = Pretrained { model, tokenizer, generation };
    created.save(dir)?;
    Ok(created)
}

fn open(source: ParallelSource, tokenizer: &Arc<Tokenizer>, args: &Args) -> Outcome<Dataset> {
    let options = PairOptions {
        max_length: args.or("max-length", 128)?,
        on_truncate: OnTruncate::Warn,
        drop_duplicates: true,
        ..PairOptions::default()
    };
    let (for_source, for_target) = (Arc::clone(tokenizer), Arc::clone(tokenizer));
    Ok(Dataset::open(source, for_source, for_target, options, dataset::WINDOW_PAIRS)?)
}

/// What training needs beside the model.
struct Trainer {
    batches: Batches,
    optimizer: Optimizer,
    grads: Grads,
    pool: Pool,
    lr: f64,
    options: StepOptions,
    step: u64,
}

impl Trainer {
    fn new(model: &Translator, batches: Batches, args: &Args) -> Outcome<Self> {
        let lr = args.or("lr", 5e-4)?;
        let settings = OptimizerSettings { lr, ..OptimizerSettings::default() };
        Ok(Self {
            batches,
            optimizer: Optimizer::new(&settings, model.params()),
            grads: Grads::zeros(model.params()),
            pool: Pool::new(),
            lr,
            options: StepOptions { smoothing: 0.1, clip_norm: 1.0, seed: 1 },
            step: 0,
        })
    }

    /// The next batch and the update from it; the learning rate rises over the first hundred updates.
    fn step(&mut self, model: &mut Translator) -> Outcome<StepStats> {
        let (batch, _): (PackedBatch, _) = self.batches.next().ok_or("the data has ended")??;
        self.step += 1;
        let lr = self.lr * (self.step as f64 / 100.0).min(1.0);
        let Self { optimizer, grads, pool, options, step, .. } = self;
        let outcome = train_step(model, optimizer, grads, pool, &[batch], *step, lr, options);
        outcome.map_err(|fault| format!("step {step}: {fault:?}").into())
    }
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let data = args.path("data").ok_or("--data DIR: the directory of train.en and train.de")?;
    let dir = args.path("model").ok_or("--model DIR: a Hugging Face directory, made if it is not there")?;
    let side = |name: &str, language: &str| -> Outcome<PathBuf> {
        Ok(find(&data, &format!("train.{}", args.or(name, language.to_owned())?)))
    };
    let source = ParallelSource::Files { source: side("source", "en")?, target: side("target", "de")? };
    let Pretrained { mut model, tokenizer, generation } = load_or_create(&dir, &source, &args)?;
    let tokenizer = Arc::new(tokenizer);
    let data = open(source, &tokenizer, &args)?;
    let budget = args.or("batch-tokens", 4096)? / 2;
    let options = BatchOptions { max_tokens: budget, seed: 1, start_id: model.start_id(), ..BatchOptions::default() };
    let mut trainer = Trainer::new(&model, data.batches(options)?, &args)?;

    let mut first = None;
    for _ in 0..args.or("warmup", 5)? {
        let loss = trainer.step(&mut model)?.loss;
        first.get_or_insert(loss);
    }
    let steps: usize = args.or("steps", 30)?;
    let (mut tokens, mut last) = (0, 0.0);
    let start = Instant::now();
    for _ in 0..steps {
        let stats = trainer.step(&mut model)?;
        tokens += stats.tokens;
        last = stats.loss;
    }
    let seconds = start.elapsed().as_secs_f64();
    let report = data.report();
    println!(
        "{{\"tokens_per_second\": {:.1}, \"ms\": {:.2}, \"tokens_per_batch\": {:.1}, \"pairs\": {}, \"data_tokens\": {}, \
         \"parameters\": {}, \"first_loss\": {:.4}, \"last_loss\": {last:.4}, \"peak_rss_mb\": {:.1}, \"threads\": {}}}",
        tokens as f64 / seconds,
        seconds / steps as f64 * 1e3,
        tokens as f64 / steps as f64,
        report.kept,
        report.source_tokens + report.target_tokens,
        model.params().trainable_count(),
        first.unwrap_or(last),
        peak_rss_megabytes(),
        rayon::current_num_threads(),
    );
    if let Some(dir) = args.path("save") {
        let tokenizer = Tokenizer::from_json_bytes(&tokenizer.to_json_bytes()?)?;
        Pretrained { model, tokenizer, generation }.save(&dir)?;
    }
    Ok(())
}

/// The process's largest resident set, from the kernel's own accounting; 0 where there is no `/proc`.
fn peak_rss_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<f64>().ok()).map_or(0.0, |kb| kb / 1024.0)
}
