//! `cargo xtask peers`: atento beside PyTorch, transformers and llama.cpp, in turn on the same machine.

mod encoders;
mod llama;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::options::Options;
use crate::rounds::{self, Contest, child, result_of, results_dir};
use crate::{build, table, venv};

const DEFAULT_ROUNDS: usize = 5;

/// Runs the comparisons asked for, all of them if none is named.
pub fn run(options: &Options) -> Result<()> {
    let all = [
        "train",
        "step",
        "step-gpt2",
        "translate",
        "decode",
        "decode-int8",
        "decode-batch",
        "decode-gguf",
        "lora",
        "encode-step",
        "encode-classify",
        "encode-forward",
        "encode-deberta",
        "embed",
    ];
    let words: Vec<&str> = options.words.iter().map(String::as_str).collect();
    let names = if words.is_empty() { all.to_vec() } else { words };
    if let Some(name) = names.iter().find(|name| !all.contains(name)) {
        bail!("no comparison named {name:?}, expected one of {}", all.join(", "));
    }
    let python = venv::python(options)?;
    for name in names {
        let mut contest = match name {
            "train" => train(options, &python)?,
            "step" => step(options, &python, &SMALL)?,
            "step-gpt2" => step(options, &python, &GPT2)?,
            "decode" => decode(&python, "decode", 1, "f32")?,
            "decode-int8" => decode(&python, "decode-int8", 1, "int8")?,
            "decode-batch" => decode(&python, "decode-batch", 8, "f32")?,
            "decode-gguf" => llama::decode(options, &python)?,
            "lora" => lora(options, &python)?,
            "encode-step" => encoders::pretrain(options, &python)?,
            "encode-classify" => encoders::classify(options, &python)?,
            "encode-forward" => encoders::forward(&python, &encoders::BERT)?,
            "encode-deberta" => encoders::forward(&python, &encoders::DEBERTA)?,
            "embed" => encoders::embed(options, &python)?,
            _ => translate(options, &python)?,
        };
        let rounds = rounds::run(&mut contest, options.rounds.unwrap_or(DEFAULT_ROUNDS))?;
        let path = rounds::save(&contest, &rounds)?;
        println!("{}{}", table::render(&contest, &rounds), path.display());
    }
    Ok(())
}

/// Training the encoder–decoder of the recipe beside that of transformers.
fn train<'a>(options: &Options, python: &'a Path) -> Result<Contest<'a>> {
    let bench = build::bench("translation_step")?;
    let recipe = options.recipe.clone().unwrap_or_else(|| crate::root().join("recipes/multi30k-en-de.toml"));
    let overrides = if options.data.is_some() { data_settings(&data_dir(options)?) } else { vec![] };
    let steps = options.steps.unwrap_or(30).to_string();
    // Untrained: drawn by the first run, read by all others.
    let model = results_dir()?.join("untrained");
    if model.exists() {
        fs::remove_dir_all(&model)?;
    }
    let (peer_model, peer_steps) = (model.clone(), steps.clone());
    Ok(Contest {
        name: "train",
        title: format!("training {}, {steps} updates", recipe.display()),
        measures: &["tokens_per_second", "tokens_per_batch", "padding", "first_loss", "peak_rss_mb"],
        ours: Box::new(move |_| {
            let mut command = child(&bench);
            command.arg("--recipe").arg(&recipe).arg("--model").arg(&model).args(["--steps", &steps]);
            result_of(command.args(overrides.iter().flat_map(|setting| ["--set", setting])))
        }),
        peer: Box::new(move |ours| {
            let mut command = script(python, "translation_step.py");
            command.arg("--model").arg(&peer_model).args(["--steps", &peer_steps]);
            for (name, value) in ours["peer"].as_object().into_iter().flatten() {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                command.arg(format!("--{name}")).arg(value);
            }
            let peer = result_of(&mut command)?;
            for key in ["pairs", "data_tokens", "parameters"] {
                ensure!(
                    ours[key] == peer[key],
                    "{key}: {} here, {} in Python: not the same work",
                    ours[key],
                    peer[key]
                );
            }
            Ok(peer)
        }),
    })
}

/// The recipe's keys for data that lies elsewhere.
fn data_settings(dir: &Path) -> Vec<String> {
    let mut settings = Vec::new();
    for (key, name) in [("train", "train"), ("valid", "val")] {
        for (side, language) in [("source", "en"), ("target", "de")] {
            // A string of JSON is one of TOML.
            let path = json!(dir.join(format!("{name}.{language}.gz")));
            settings.push(format!("data.{key}.{side}={path}"));
        }
    }
    settings
}

/// The size of a decoder-only model and its batch.
struct Shape {
    name: &'static str,
    layers: usize,
    d_model: usize,
    heads: usize,
    seq_len: usize,
    batch: usize,
    vocab_size: usize,
}

const SMALL: Shape =
    Shape { name: "step", layers: 6, d_model: 384, heads: 6, seq_len: 256, batch: 8, vocab_size: 8192 };
const GPT2: Shape =
    Shape { name: "step-gpt2", layers: 12, d_model: 768, heads: 12, seq_len: 256, batch: 4, vocab_size: 50_257 };

/// A training step of a decoder-only model beside eager PyTorch.
fn step<'a>(options: &Options, python: &'a Path, shape: &Shape) -> Result<Contest<'a>> {
    let bench = build::bench("decoder_step")?;
    let steps = options.steps.unwrap_or(15);
    let Shape { name, layers, d_model, heads, seq_len, batch, vocab_size } = *shape;
    let sizes = [layers, d_model, heads, seq_len, batch, vocab_size].map(|size| size.to_string());
    let names = ["layers", "d-model", "heads", "seq-len", "batch", "vocab-size"];
    let words: Vec<String> = sizes.iter().cloned().chain([steps.to_string()]).collect();
    let mut python_words: Vec<String> =
        names.iter().zip(&sizes).map(|(name, size)| format!("--{name}={size}")).collect();
    python_words.push(format!("--steps={steps}"));
    Ok(Contest {
        name,
        title: format!(
            "decoder-only training step: {layers} layers, d {d_model}, {heads} heads, seq {seq_len}, batch {batch}, vocab \
             {vocab_size}, tied, AdamW, fp32"
        ),
        measures: &["tokens_per_second", "ms", "gflops", "fma_peak", "share_of_peak", "peak_rss_mb"],
        ours: Box::new(move |_| {
            let mut ours = result_of(child(&bench).args(&words))?;
            let peak = ours["fma_peak"].clone();
            ours["share_of_peak"] = share(&ours, &peak);
            Ok(ours)
        }),
        peer: Box::new(move |ours| {
            let mut peer = result_of(script(python, "decoder_step.py").args(&python_words))?;
            peer["share_of_peak"] = share(&peer, &ours["fma_peak"]);
            Ok(peer)
        }),
    })
}

/// A training step of GPT-2 124M with an adapter of rank 8 on `c_attn` beside PEFT's.
fn lora<'a>(options: &Options, python: &'a Path) -> Result<Contest<'a>> {
    let bench = build::bench("lora_step")?;
    let steps = options.steps.unwrap_or(8).to_string();
    let peer_steps = steps.clone();
    Ok(Contest {
        name: "lora",
        title: "LoRA of rank 8 on c_attn of GPT-2 124M: training step, 4 texts of 256 tokens, AdamW, fp32".into(),
        measures: &["tokens_per_second", "ms", "trainable", "peak_rss_mb"],
        ours: Box::new(move |_| result_of(child(&bench).args(["gpt2", "lora", "8", "f32", "4", "256", &steps]))),
        peer: Box::new(move |ours| {
            let peer = result_of(script(python, "lora_step.py").args(["--steps", &peer_steps]))?;
            ensure!(
                ours["trainable"] == peer["trainable"],
                "{} and {} are trained",
                ours["trainable"],
                peer["trainable"]
            );
            Ok(peer)
        }),
    })
}

/// Greedy decoding of a GPT-2 of 124 million random weights beside eager PyTorch in f32.
fn decode<'a>(python: &'a Path, name: &'static str, batch: usize, weights: &'static str) -> Result<Contest<'a>> {
    let bench = build::bench("gpt2_decode")?;
    let batch = batch.to_string();
    let python_batch = batch.clone();
    Ok(Contest {
        name,
        title: format!(
            "greedy decoding, GPT-2 124M, batch {batch}, prompt 32, 64 new tokens, {weights} here, f32 there"
        ),
        measures: &[
            "tokens_per_second",
            "ms",
            "gigabytes_per_second",
            "triad",
            "share_of_triad",
            "reading",
            "share_of_reading",
        ],
        ours: Box::new(move |_| result_of(child(&bench).args(["gpt2", &batch, "32", "64", weights]))),
        peer: Box::new(move |_| result_of(script(python, "gpt2_decode.py").args(["--batch", &python_batch]))),
    })
}

/// GFLOP/s as a share of the peak; none where it exceeds the peak, which then was not one.
fn share(result: &Value, peak: &Value) -> Value {
    let share = result["gflops"].as_f64().zip(peak.as_f64()).map(|(gflops, peak)| gflops / peak);
    if share.is_some_and(|share| share > 1.0) {
        eprintln!("  {} GFLOP/s lie above the measured FMA peak of {peak}: no share is given", result["gflops"]);
    }
    json!(share.filter(|&share| share <= 1.0))
}

/// Beam search over a test set beside `generate`, which runs at the best of several batch sizes.
fn translate<'a>(options: &Options, python: &'a Path) -> Result<Contest<'a>> {
    let atento = build::cli()?;
    let dir = results_dir()?;
    let model = options.model.clone().unwrap_or_else(trained_model);
    let advice = "train one with `atento train recipes/multi30k-en-de.toml`, or name another with --model DIR";
    ensure!(model.exists(), "{}: there is no such model; {advice}", model.display());
    let source = unpacked(&data_dir(options)?, "test_2016_flickr.en", &dir)?;
    let beam = options.beam.unwrap_or(4).to_string();
    let title = format!("translating test_2016_flickr with {}, beam {beam}", model.display());
    let (ours_out, peer_out) = (dir.join("atento.de"), dir.join("peer.de"));
    let ours = {
        let (model, source, beam, out) = (model.clone(), source.clone(), beam.clone(), ours_out.clone());
        move || translate_with(child(&atento).arg("translate").arg(&model).args(["--beam", &beam]), &source, &out)
    };
    let mut batch_sizes = "1,16,64,128".to_owned();
    Ok(Contest {
        name: "translate",
        title,
        measures: &["sentences_per_second", "batch_size", "identical"],
        ours: Box::new(move |_| ours()),
        peer: Box::new(move |_| {
            let mut command = script(python, "translate.py");
            command.arg("--model").arg(&model).arg("--source").arg(&source).arg("--out").arg(&peer_out);
            let mut peer = result_of(command.args(["--beam", &beam, "--batch-sizes", &batch_sizes]))?;
            // The first round finds the best size, the others use it.
            batch_sizes = peer["batch_size"].to_string();
            peer["identical"] = json!(identical_lines(&ours_out, &peer_out)?);
            Ok(peer)
        }),
    })
}

/// Runs the whole program, loading included, from file to file.
fn translate_with(command: &mut Command, source: &Path, out: &Path) -> Result<Value> {
    let sentences = fs::read_to_string(source)?.lines().count();
    command.stdin(File::open(source)?).stdout(File::create(out)?);
    let start = Instant::now();
    venv::succeed(command)?;
    let seconds = start.elapsed().as_secs_f64();
    let translated = fs::read_to_string(out)?.lines().count();
    ensure!(translated == sentences, "{sentences} sentences went in, {translated} lines came out");
    Ok(json!({"sentences_per_second": sentences as f64 / seconds, "seconds": seconds, "sentences": sentences}))
}

fn script(python: &Path, name: &str) -> Command {
    let mut command = child(python);
    command.arg(crate::root().join("bench").join(name));
    command
}

/// The model that the recipe's run leaves.
fn trained_model() -> PathBuf {
    crate::root().join("runs/multi30k-en-de/model")
}

fn data_dir(options: &Options) -> Result<PathBuf> {
    let dir = options.data.clone().unwrap_or_else(|| crate::root().join("../shared/data/multi30k"));
    ensure!(dir.is_dir(), "{}: there is no such directory; name Multi30k's with --data DIR", dir.display());
    Ok(dir)
}

/// The file as plain text, unpacked into `into` where it is compressed.
fn unpacked(dir: &Path, name: &str, into: &Path) -> Result<PathBuf> {
    let (plain, packed, copy) = (dir.join(name), dir.join(format!("{name}.gz")), into.join(name));
    if plain.exists() {
        return Ok(plain);
    }
    let input = File::open(&packed).with_context(|| packed.display().to_string())?;
    venv::succeed(Command::new("gzip").arg("-dc").stdin(input).stdout(File::create(&copy)?))?;
    Ok(copy)
}

fn identical_lines(ours: &Path, peer: &Path) -> Result<usize> {
    let (ours, peer) = (fs::read_to_string(ours)?, fs::read_to_string(peer)?);
    Ok(ours.lines().zip(peer.lines()).filter(|(a, b)| a == b).count())
}
