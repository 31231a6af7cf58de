//! Encoders beside those of transformers: training steps, forward passes, vectors of sentences.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{script, share};
use crate::options::Options;
use crate::rounds::{Contest, child, result_of, results_dir};
use crate::{build, venv};

/// Sentences that `embed` turns into vectors.
const SENTENCES: usize = 1000;

/// The largest difference between an element of atento's vectors and of the peer's.
const TOLERANCE: f64 = 1e-4;

/// A forward pass: the contest, the model, texts and tokens of each.
pub struct Forward {
    name: &'static str,
    model: &'static str,
    batch: usize,
    seq_len: usize,
}

pub const BERT: Forward = Forward { name: "encode-forward", model: "bert-base", batch: 16, seq_len: 128 };
pub const DEBERTA: Forward = Forward { name: "encode-deberta", model: "deberta-v3-base", batch: 8, seq_len: 256 };

const STEP_MEASURES: &[&str] =
    &["ms", "texts_per_second", "tokens_per_step", "padding", "gflops", "fma_peak", "share_of_peak", "peak_rss_mb"];

/// A forward pass of random weights.
pub fn forward<'a>(python: &'a Path, what: &Forward) -> Result<Contest<'a>> {
    let bench = build::bench("encoder_forward")?;
    let &Forward { name, model, batch, seq_len } = what;
    let words = [format!("--model={model}"), format!("--batch={batch}"), format!("--seq-len={seq_len}")];
    let python_words = words.clone();
    Ok(Contest {
        name,
        title: format!("forward pass of {model}, {batch} texts of {seq_len} tokens, random weights, fp32"),
        measures: &["ms", "tokens_per_second", "gflops", "fma_peak", "share_of_peak", "peak_rss_mb"],
        ours: Box::new(move |_| result_of(child(&bench).args(words.iter().flat_map(|word| word.split('='))))),
        peer: Box::new(move |ours| {
            let mut peer = result_of(script(python, "encoder_forward.py").args(&python_words))?;
            same("parameters", ours, &peer)?;
            peer_share(ours, &mut peer);
            Ok(peer)
        }),
    })
}

/// A step of BERT's two losses.
pub fn pretrain<'a>(options: &Options, python: &'a Path) -> Result<Contest<'a>> {
    let bench = build::bench("encoder_step")?;
    let steps = options.steps.unwrap_or(10).to_string();
    let python_steps = steps.clone();
    Ok(Contest {
        name: "encode-step",
        title: "training step of BERT-base: masked words and next sentences, 16 texts of 128 tokens, fp32".into(),
        measures: STEP_MEASURES,
        ours: Box::new(move |_| result_of(child(&bench).args(["--kind", "pretrain", "--steps", &steps]))),
        peer: Box::new(move |ours| {
            let words = ["--kind", "pretrain", "--steps", &python_steps];
            let mut peer = result_of(script(python, "encoder_step.py").args(words))?;
            same("parameters", ours, &peer)?;
            peer_share(ours, &mut peer);
            Ok(peer)
        }),
    })
}

/// Steps that fine-tune BERT-base on sentences of all lengths; the peer has the faster of two orders.
pub fn classify<'a>(options: &Options, python: &'a Path) -> Result<Contest<'a>> {
    let bench = build::bench("encoder_step")?;
    let (sentences, encoder) = (sentences(options)?, encoder(options)?);
    let mut words: Vec<String> = ["--kind", "classify", "--batch", "32", "--steps"].map(str::to_owned).to_vec();
    words.push(options.steps.unwrap_or(30).to_string());
    for (name, path) in [("--data", &sentences), ("--tokenizer", &encoder)] {
        words.extend([name.to_owned(), path.display().to_string()]);
    }
    let python_words = words.clone();
    let mut orders = vec!["file", "length"];
    Ok(Contest {
        name: "encode-classify",
        title: format!("fine-tuning BERT-base on sentences of {}, 32 a step, fp32", sentences.display()),
        measures: STEP_MEASURES,
        ours: Box::new(move |_| result_of(child(&bench).args(&words))),
        peer: Box::new(move |ours| {
            let mut best: Option<Value> = None;
            for order in &orders {
                let mut command = script(python, "encoder_step.py");
                let found = result_of(command.args(&python_words).args(["--order", order]))?;
                ["parameters", "tokens_per_step"].iter().try_for_each(|key| same(key, ours, &found))?;
                let is_faster = |best: &Value| found["ms"].as_f64() < best["ms"].as_f64();
                best = if best.as_ref().is_none_or(is_faster) { Some(found) } else { best };
            }
            let mut peer = best.context("an order")?;
            // The first round finds the faster order, the others use it.
            orders.retain(|order| peer["order"] == *order);
            peer_share(ours, &mut peer);
            Ok(peer)
        }),
    })
}

/// The vectors of a thousand sentences: the whole program, loading included, beside the peer's best batch size.
pub fn embed<'a>(options: &Options, python: &'a Path) -> Result<Contest<'a>> {
    let atento = build::cli()?;
    let (dir, encoder) = (results_dir()?, encoder(options)?);
    let table = fs::read_to_string(sentences(options)?)?;
    let texts: Vec<&str> = table.lines().take(SENTENCES).filter_map(|line| line.split('\t').next()).collect();
    let (source, vectors) = (dir.join("sentences.txt"), dir.join("atento.npy"));
    fs::write(&source, texts.join("\n") + "\n")?;
    let (count, title) = (texts.len(), format!("vectors of {} sentences with {}", texts.len(), encoder.display()));
    let (our_encoder, our_source, our_vectors) = (encoder.clone(), source.clone(), vectors.clone());
    let mut batch_sizes = "1,8,16,32,64,128".to_owned();
    Ok(Contest {
        name: "embed",
        title,
        measures: &["sentences_per_second", "batch_size", "difference", "peak_rss_mb"],
        ours: Box::new(move |_| {
            let mut command = child(&atento);
            command.arg("embed").arg(&our_encoder).args(["--format", "npy", "--out"]).arg(&our_vectors);
            command.stdin(File::open(&our_source)?);
            let start = Instant::now();
            venv::succeed(&mut command)?;
            let seconds = start.elapsed().as_secs_f64();
            Ok(json!({"sentences_per_second": count as f64 / seconds, "seconds": seconds, "sentences": count}))
        }),
        peer: Box::new(move |_| {
            let mut command = script(python, "embed.py");
            command.arg("--model").arg(&encoder).arg("--source").arg(&source).arg("--against").arg(&vectors);
            let peer = result_of(command.args(["--batch-sizes", &batch_sizes]))?;
            // The first round finds the best size, the others use it.
            batch_sizes = peer["batch_size"].to_string();
            let difference = peer["difference"].as_f64().unwrap_or(f64::INFINITY);
            ensure!(difference < TOLERANCE, "vectors differ by up to {difference}: not the same work");
            Ok(peer)
        }),
    })
}

/// Refuses sides that did not do the same work.
fn same(key: &str, ours: &Value, peer: &Value) -> Result<()> {
    let equal = ours[key].as_f64().zip(peer[key].as_f64()).is_some_and(|(a, b)| (a - b).abs() <= 1e-4 * a);
    ensure!(equal, "{key}: {} here, {} in Python: not the same work", ours[key], peer[key]);
    Ok(())
}

/// The peer's GFLOP/s, those of the same operations in its time, and their share of the peak.
fn peer_share(ours: &Value, peer: &mut Value) {
    let flop = ours["gflops"].as_f64().zip(ours["ms"].as_f64()).map(|(gflops, ms)| gflops * ms);
    peer["gflops"] = json!(flop.zip(peer["ms"].as_f64()).map(|(flop, ms)| flop / ms));
    peer["share_of_peak"] = share(peer, &ours["fma_peak"]);
}

fn sentences(options: &Options) -> Result<PathBuf> {
    let path = options.sentences.clone().unwrap_or_else(|| crate::root().join("../shared/data/sst2/train.tsv"));
    ensure!(path.is_file(), "{}: there is no such file; name one with --sentences FILE", path.display());
    Ok(path)
}

fn encoder(options: &Options) -> Result<PathBuf> {
    let dir = options.encoder.clone().unwrap_or_else(|| crate::root().join("models/all-MiniLM-L6-v2"));
    ensure!(dir.is_dir(), "{}: there is no such directory; name a sentence encoder with --encoder DIR", dir.display());
    Ok(dir)
}
