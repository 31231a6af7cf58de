//! Tests of the way from text to token files.

mod files;
mod splits;
mod whole;

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::LazyLock;

use atento_kernels::philox::Rng;
use flate2::{Compression, write::GzEncoder};
use tempfile::TempDir;

use super::*;
use crate::text::{self, Kind, Purpose, Tokenizer, TrainOptions};

/// A sentence of invented words; some are not ASCII.
fn sentence(rng: &mut Rng) -> String {
    const PARTS: [&str; 10] = ["ha", "us", "über", "straße", "en", "ing", "th", "e", "a", "st"];
    let mut word = |_| -> String { (0..1 + rng.below(3)).map(|_| PARTS[rng.below(PARTS.len())]).collect() };
    let words: Vec<String> = (0..6).map(&mut word).collect();
    words.join(" ") + "."
}

fn sentences(seed: u64, count: usize) -> Vec<String> {
    let mut rng = Rng::new(seed, 0);
    (0..count).map(|_| sentence(&mut rng)).collect()
}

fn train(texts: Vec<String>, options: &TrainOptions) -> Tokenizer {
    Tokenizer::train(texts.into_iter().map(Ok::<_, text::Error>), options).unwrap()
}

static BYTES: LazyLock<Tokenizer> = LazyLock::new(|| {
    let options =
        TrainOptions { kind: Kind::ByteLevelBpe, purpose: Purpose::Causal, vocab_size: 400, ..TrainOptions::default() };
    train(sentences(1, 300), &options)
});

static CHARACTERS: LazyLock<Tokenizer> = LazyLock::new(|| train(sentences(1, 300), &TrainOptions::characters()));

fn write(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn job(paths: &[&PathBuf], boundary: Boundary, options: PrepareOptions) -> Preparation {
    let train = TextSource { boundary, ..TextSource::new(paths.iter().copied()) };
    Preparation { train, valid: None, options }
}

/// What a preparation gives: the report, and the ids of both files.
struct Made {
    report: PrepareReport,
    train: Vec<u32>,
    val: Vec<u32>,
    sidecar: Sidecar,
}

fn make(job: &Preparation, tokenizer: &Tokenizer) -> Result<Made, Error> {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("made/tokens");
    let report = prepare(job, tokenizer, &out, &mut |_| {});
    if report.is_err() {
        assert!(fs::read_dir(out.parent().unwrap()).map_or(0, Iterator::count) == 0, "something is left");
    }
    let report = report?;
    let made = TokenDirectory::open(&out, None)?;
    made.check_tokenizer(tokenizer)?;
    made.check_vocabulary(tokenizer.vocab_size())?;
    let ids = |shard: &Shard| shard.read(0..shard.len()).unwrap();
    let (train, val) = (ids(&made.train), made.val.as_deref().map(ids).unwrap_or_default());
    assert_eq!((report.train.tokens, report.val.tokens), (train.len() as u64, val.len() as u64));
    let names: HashSet<_> = fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), if val.is_empty() { 2 } else { 3 });
    Ok(Made { report, train, val, sidecar: made.sidecar.unwrap() })
}

fn encode(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode_ids(text, false).unwrap()
}

/// The texts between end tokens.
fn documents(tokenizer: &Tokenizer, ids: &[u32]) -> Vec<String> {
    let end = tokenizer.special().eos.unwrap();
    assert!(ids.is_empty() || ids.last() == Some(&end));
    let parts = ids.split(|&id| id == end).map(|ids| tokenizer.decode(ids, false).unwrap());
    let mut parts: Vec<String> = parts.collect();
    parts.pop();
    parts
}

/// A text of several pieces.
fn long_text(seed: u64) -> String {
    sentences(seed, 8_000).join("\n")
}
