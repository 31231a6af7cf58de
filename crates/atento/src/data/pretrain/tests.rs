//! Texts whose tokens tell where they come from, and what is checked of the examples made of them.

mod epochs;
mod files;
mod masks;

use std::fmt::Write;
use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::data::tokens::{Boundary, TextSource};
use crate::text::Tokenizer;

const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];
const CLS: u32 = 2;
const SEP: u32 = 3;
const MASK: u32 = 4;
/// The token that goes on with a word, and the first token that is a word.
const PIECE: u32 = 5;
const FIRST: u32 = 6;

/// A WordPiece tokenizer of the words `w00000`, `w00001`, …, which may end with `x`, a token of its own.
fn tokenizer(words: usize) -> Tokenizer {
    let mut vocab = serde_json::Map::new();
    let names = (0..words).map(|word| format!("w{word:05}"));
    for (id, token) in SPECIAL.into_iter().map(str::to_owned).chain(["##x".to_owned()]).chain(names).enumerate() {
        vocab.insert(token, id.into());
    }
    let added = |(id, content): (usize, &&str)| {
        json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true})
    };
    let json = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "added_tokens": SPECIAL.iter().enumerate().map(added).collect::<Vec<_>>(),
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab},
    });
    Tokenizer::from_json_bytes(json.to_string().as_bytes()).unwrap()
}

/// A text of documents of sentences of so many words, apart by blank lines: no word comes twice. With `pieces`, every
/// third word has two tokens.
fn text(documents: &[Vec<usize>], pieces: bool) -> String {
    let (mut text, mut word) = (String::new(), 0);
    for sentences in documents {
        for &length in sentences {
            for _ in 0..length {
                write!(text, "w{word:05}{} ", if pieces && word % 3 == 0 { "x" } else { "" }).unwrap();
                word += 1;
            }
            text.push('\n');
        }
        text.push('\n');
    }
    text
}

/// `count` documents of four to nine sentences of three to twelve words.
fn documents(count: usize) -> Vec<Vec<usize>> {
    let sentences = |document: usize| 4 + document % 6;
    (0..count).map(|document| (0..sentences(document)).map(|at| 3 + (document * 7 + at * 5) % 10).collect()).collect()
}

/// What goes with a test.
struct Corpus {
    dir: TempDir,
    tokenizer: Tokenizer,
    /// First word of each document, and the number of words.
    starts: Vec<usize>,
}

impl Corpus {
    fn new(documents: &[Vec<usize>], pieces: bool) -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::write(dir.path().join("text"), text(documents, pieces)).unwrap();
        let mut starts = vec![0];
        starts.extend(documents.iter().scan(0, |words, sentences| {
            *words += sentences.iter().sum::<usize>();
            Some(*words)
        }));
        let tokenizer = tokenizer(starts[documents.len()]);
        Corpus { dir, tokenizer, starts }
    }

    fn config(&self, examples: ExampleOptions) -> PretrainConfig {
        config(self.dir.path().join("text"), examples)
    }

    fn prepare(&self, name: &str, examples: ExampleOptions) -> PretrainData {
        prepare(&self.config(examples), &self.tokenizer, self.dir.path().join(name)).unwrap()
    }

    /// The document of a token.
    fn document(&self, id: u32) -> usize {
        self.starts.partition_point(|&start| start <= (id - FIRST) as usize) - 1
    }
}

fn config(path: PathBuf, examples: ExampleOptions) -> PretrainConfig {
    let source = TextSource { boundary: Boundary::BlankLine, ..TextSource::new([path]) };
    PretrainConfig { source, texts: TextOptions::default(), examples }
}

fn prepare(config: &PretrainConfig, tokenizer: &Tokenizer, out: PathBuf) -> Result<PretrainData, Error> {
    PretrainData::prepare(config, tokenizer, Markers::of(tokenizer)?, out, &mut Err, &mut |_| {})
}

fn options(objective: Objective, seq_len: usize) -> ExampleOptions {
    ExampleOptions { objective, seq_len, ..ExampleOptions::default() }
}

/// The examples of a batch: the tokens as they were, their types, what is masked of them, and the label.
fn unmasked(batch: &PretrainBatch) -> Vec<(Vec<u32>, Vec<u32>, Option<bool>)> {
    let mut ids = batch.ids.clone();
    for &(row, token) in &batch.masked {
        ids[row as usize] = token;
    }
    let one = |(at, bounds): (usize, &[u32])| {
        let range = bounds[0] as usize..bounds[1] as usize;
        (ids[range.clone()].to_vec(), batch.type_ids[range].to_vec(), batch.is_next.as_ref().map(|labels| labels[at]))
    };
    batch.cu_seqlens.windows(2).enumerate().map(one).collect()
}

/// All batches of an epoch.
fn epoch(data: &PretrainData, seed: u64, epoch: u64, size: BatchSize) -> Vec<PretrainBatch> {
    let from = Cursor { epoch, ..Cursor::default() };
    let mut batches = Vec::new();
    for item in data.batches(seed, from, size).unwrap() {
        let (batch, after) = item.unwrap();
        batches.push(batch);
        if after.epoch > epoch {
            break;
        }
    }
    batches
}
