//! `cargo xtask peers`: atento beside PyTorch, transformers, CTranslate2 and llama.cpp, in turn on the same machine.

mod encoders;
mod llama;
mod translate;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail, ensure};
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
        "step-bf16",
        "step-gpt2-bf16",
        "translate",
        "translate-ct2",
        "translate-ct2-int8",
        "decode",
        "decode-int8",
        "decode-batch",
        "decode-bf16",
        "decode-batch-bf16",
        "decode-llama",
        "decode-llama-bf16",
        "decode-llama-int8",
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
            "step" => step(options, &python, "step", &SMALL, "f32")?,
            "step-gpt2" => step(options, &python, "step-gpt2", &GPT2, "f32")?,
            "step-bf16" => step(options, &python, "step-bf16", &SMALL, "bf16")?,
            "step-gpt2-bf16" => step(options, &python, "step-gpt2-bf16", &GPT2, "bf16")?,
            "decode" => decode(&python, "decode", 1, ["f32", "f32"])?,
            "decode-int8" => decode(&python, "decode-int8", 1, ["int8", "f32"])?,
            "decode-batch" => decode(&python, "decode-batch", 8, ["f32", "f32"])?,
            "decode-bf16" => decode(&python, "decode-bf16", 1, ["bf16", "bf16"])?,
            "decode-batch-bf16" => decode(&python, "decode-batch-bf16", 8, ["bf16", "bf16"])?,
            "decode-llama" => llama::decode_gpt2(&python, "decode-llama", ["f32", "f32"])?,
            "decode-llama-bf16" => llama::decode_gpt2(&python, "decode-llama-bf16", ["bf16", "bf16"])?,
            "decode-llama-int8" => llama::decode_gpt2(&python, "decode-llama-int8", ["int8", "q8_0"])?,
            "decode-gguf" => llama::decode(options, &python)?,
            "lora" => lora(options, &python)?,
            "encode-step" => encoders::pretrain(options, &python)?,
            "encode-classify" => encoders::classify(options, &python)?,
            "encode-forward" => encoders::forward(&python, &encoders::BERT)?,
            "encode-deberta" => encoders::forward(&python, &encoders::DEBERTA)?,
            "embed" => encoders::embed(options, &python)?,
            "translate-ct2" => translate::beside_ctranslate2(options, &python, &translate::F32)?,
            "translate-ct2-int8" => translate::beside_ctranslate2(options, &python, &translate::INT8)?,
            _ => translate::beside_transformers(options, &python)?,
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
    layers: usize,
    d_model: usize,
    heads: usize,
    seq_len: usize,
    batch: usize,
    vocab_size: usize,
}

const SMALL: Shape = Shape { layers: 6, d_model: 384, heads: 6, seq_len: 256, batch: 8, vocab_size: 8192 };
const GPT2: Shape = Shape { layers: 12, d_model: 768, heads: 12, seq_len: 256, batch: 4, vocab_size: 50_257 };

/// A training step of a decoder-only model beside eager PyTorch; in bf16 beside its `autocast`.
fn step<'a>(
    options: &Options,
    python: &'a Path,
    name: &'static str,
    shape: &Shape,
    precision: &'static str,
) -> Result<Contest<'a>> {
    let bench = build::bench("decoder_step")?;
    let steps = options.steps.unwrap_or(15);
    let Shape { layers, d_model, heads, seq_len, batch, vocab_size } = *shape;
    let sizes = [layers, d_model, heads, seq_len, batch, vocab_size].map(|size| size.to_string());
    let names = ["layers", "d-model", "heads", "seq-len", "batch", "vocab-size"];
    let words: Vec<String> = sizes.iter().cloned().chain([steps.to_string(), precision.to_owned()]).collect();
    let mut python_words: Vec<String> =
        names.iter().zip(&sizes).map(|(name, size)| format!("--{name}={size}")).collect();
    python_words.push(format!("--steps={steps}"));
    if precision != "f32" {
        python_words.push("--autocast".into());
    }
    Ok(Contest {
        name,
        title: format!(
            "decoder-only training step: {layers} layers, d {d_model}, {heads} heads, seq {seq_len}, batch {batch}, vocab \
             {vocab_size}, tied, AdamW, {precision}"
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

/// Greedy decoding of a GPT-2 of 124 million random weights beside eager PyTorch; `weights` are those here and there.
fn decode<'a>(python: &'a Path, name: &'static str, batch: usize, weights: [&'static str; 2]) -> Result<Contest<'a>> {
    let bench = build::bench("gpt2_decode")?;
    let batch = batch.to_string();
    let python_batch = batch.clone();
    Ok(Contest {
        name,
        title: format!(
            "greedy decoding, GPT-2 124M, batch {batch}, prompt 32, 64 new tokens, {} here, {} there",
            weights[0], weights[1]
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
        ours: Box::new(move |_| result_of(child(&bench).args(["gpt2", &batch, "32", "64", weights[0]]))),
        peer: Box::new(move |_| {
            let mut command = script(python, "gpt2_decode.py");
            result_of(command.args(["--batch", &python_batch, "--type", weights[1]]))
        }),
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

fn script(python: &Path, name: &str) -> Command {
    let mut command = child(python);
    command.arg(crate::root().join("bench").join(name));
    command
}

fn data_dir(options: &Options) -> Result<PathBuf> {
    let dir = options.data.clone().unwrap_or_else(|| crate::root().join("../shared/data/multi30k"));
    ensure!(dir.is_dir(), "{}: there is no such directory; name Multi30k's with --data DIR", dir.display());
    Ok(dir)
}
