//! Training steps of a recipe's encoder–decoder: the throughput of a real run without its evaluations.
//!
//! ```text
//! cargo bench --bench translation_step -- --recipe recipes/multi30k-en-de.toml --model DIR [--set key=value] [--steps 30]
//! ```
//!
//! `--model` is a Hugging Face directory. Where it is not there yet, the tokenizer is learned and the model drawn as the
//! recipe says, and both are written there, so that `bench/translation_step.py` trains the same model from the same
//! weights on the same ids; else they are read from it. `--save DIR` writes the model as it is after the last step.
//! Prints one line of JSON; tokens are source and target tokens together, `peer` is what the Python side must be told.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Instant;

use atento::data::{BatchOptions, Batches};
use atento::models::Translator;
use atento::pipelines::Pretrained;
use atento::tasks::translation::data::RunData;
use atento::text::Tokenizer;
use atento::train::build::{build_model, generation_config};
use atento::train::recipe::{DataFiles, Override, Recipe};
use atento::train::step::{StepOptions, StepStats, train_step};
use atento::train::{Optimizer, Schedule};
use atento_kernels::memory::LargePages;
use atento_tensor::{Grads, Pool};
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: LargePages = LargePages;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// `--name value` pairs of the command line.
struct Args(Vec<(String, String)>);

impl Args {
    fn parse() -> Self {
        let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
        let pair = |pair: &[String]| (pair[0].trim_start_matches('-').to_owned(), pair[1].clone());
        Self(args.chunks_exact(2).map(pair).collect())
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(given, _)| given == name).map(|(_, value)| value.clone()).collect()
    }

    fn get<T: FromStr>(&self, name: &str) -> Outcome<Option<T>> {
        let parse = |value: &String| value.parse().map_err(|_| format!("--{name} {value}: not a value of this option"));
        Ok(self.all(name).first().map(parse).transpose()?)
    }
}

/// The recipe's data, and the model of the directory, which is made and written if it is not there yet.
fn prepare(recipe: &Recipe, dir: &Path) -> Outcome<(RunData, Pretrained)> {
    if dir.join("config.json").exists() {
        let pretrained = Pretrained::load(dir)?;
        let data = RunData::load(recipe, Some(copy(&pretrained.tokenizer)?))?;
        return Ok((data, pretrained));
    }
    let data = RunData::load(recipe, None)?;
    let model = build_model(recipe, &data.tokenizer)?;
    let generation = generation_config(recipe, &*model);
    let created = Pretrained::new(model, copy(&data.tokenizer)?, generation);
    created.save(dir)?;
    Ok((data, created))
}

fn copy(tokenizer: &Tokenizer) -> Outcome<Tokenizer> {
    Ok(Tokenizer::from_json_bytes(&tokenizer.to_json_bytes()?)?)
}

/// What training needs beside the model.
struct Trainer {
    batches: Batches,
    optimizer: Optimizer,
    schedule: Schedule,
    grads: Grads,
    pool: Pool,
    options: StepOptions,
    step: u64,
}

impl Trainer {
    fn new(recipe: &Recipe, data: &RunData, model: &dyn Translator) -> Outcome<Self> {
        let train = &recipe.train;
        let options = BatchOptions {
            max_tokens: train.batch_tokens,
            max_sentences: (train.max_sentences > 0).then_some(train.max_sentences),
            seed: recipe.seed,
            start_id: model.start_id(),
            ..BatchOptions::default()
        };
        let smoothing = train.label_smoothing as f32;
        Ok(Self {
            batches: data.train.batches(options)?,
            optimizer: Optimizer::new(&recipe.optimizer, model.params()),
            schedule: Schedule::new(recipe),
            grads: Grads::zeros(model.params()),
            pool: Pool::new(),
            options: StepOptions {
                smoothing,
                clip_norm: train.clip_norm,
                seed: recipe.seed,
                precision: train.precision,
            },
            step: 0,
        })
    }

    /// The next batch and the update from it.
    fn step(&mut self, model: &mut Box<dyn Translator>) -> Outcome<StepStats> {
        let (batch, _) = self.batches.next().ok_or("the data has ended")??;
        self.step += 1;
        let Self { optimizer, grads, pool, options, step, .. } = self;
        let lr = self.schedule.lr(*step as usize);
        let outcome = train_step(model, optimizer, grads, pool, &[batch], *step, lr, options);
        outcome.map_err(|fault| format!("step {step}: {fault:?}").into())
    }
}

/// What the recipe says and a model directory does not.
fn told_to_the_peer(recipe: &Recipe) -> Outcome<Value> {
    let Some(DataFiles::Pair { source, target }) = recipe.data.train.as_ref().and_then(|files| files.form()) else {
        return Err("the recipe's training data must be two files, source and target".into());
    };
    Ok(json!({
        "source": source,
        "target": target,
        "max-tokens": recipe.train.batch_tokens,
        "max-length": recipe.data.max_length,
        "label-smoothing": recipe.train.label_smoothing,
        "clip-norm": recipe.train.clip_norm,
    }))
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    let recipe: PathBuf = args.get("recipe")?.ok_or("--recipe FILE: a recipe that translates")?;
    let dir: PathBuf = args.get("model")?.ok_or("--model DIR: a Hugging Face directory, made if it is not there")?;
    let recipe = Recipe::load(&recipe, &args.all("set").into_iter().map(Override::set).collect::<Vec<_>>())?.recipe;
    let (data, Pretrained { mut model, tokenizer, generation, .. }) = prepare(&recipe, &dir)?;
    let mut trainer = Trainer::new(&recipe, &data, &*model)?;

    let first_loss = trainer.step(&mut model)?.loss;
    for _ in 1..args.get("warmup")?.unwrap_or(5) {
        trainer.step(&mut model)?;
    }
    let steps: usize = args.get("steps")?.unwrap_or(30);
    let start = Instant::now();
    let stats = (0..steps).map(|_| trainer.step(&mut model)).collect::<Outcome<Vec<_>>>()?;
    let seconds = start.elapsed().as_secs_f64();

    let tokens = stats.iter().map(|s| s.tokens).sum::<usize>() as f64;
    let report = data.train.report();
    let result = json!({
        "tokens_per_second": tokens / seconds,
        "ms": seconds / steps as f64 * 1e3,
        "tokens_per_batch": tokens / steps as f64,
        "pairs": report.kept,
        "data_tokens": report.source_tokens + report.target_tokens,
        "parameters": model.params().trainable_count(),
        "first_loss": first_loss,
        "last_loss": stats.last().map(|s| s.loss),
        "peak_rss_mb": peak_rss_megabytes(),
        "threads": rayon::current_num_threads(),
        "peer": told_to_the_peer(&recipe)?,
    });
    println!("{result}");
    if let Some(dir) = args.get::<PathBuf>("save")? {
        Pretrained::new(model, tokenizer, generation).save(&dir)?;
    }
    Ok(())
}

/// The process's largest resident set, from the kernel's own accounting; 0 where there is no `/proc`.
fn peak_rss_megabytes() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches("kB").trim().parse::<f64>().ok()).map_or(0.0, |kb| kb / 1024.0)
}
