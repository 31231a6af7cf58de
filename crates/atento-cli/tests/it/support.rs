//! A small model made on the spot, and a way to run the program.

use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use atento::hub::generation::GenerationConfig;
use atento::models::config::TieEmbeddings;
use atento::models::{Gpt2, Gpt2Config, Transformer, TransformerConfig};
use atento::pipelines::LanguageModel;
use atento::pipelines::Pretrained;
use atento::text::{self, Tokenizer, TrainOptions};
use serde_json::Value;
use tempfile::TempDir;

pub const SENTENCES: [(&str, &str); 4] = [
    ("a dog runs", "ein Hund rennt"),
    ("two dogs run", "zwei Hunde rennen"),
    ("a cat sleeps", "eine Katze schläft"),
    ("the dog sees a cat", "der Hund sieht eine Katze"),
];

/// A directory of files that goes with the test.
pub struct Folder(TempDir);

impl Folder {
    pub fn new() -> Self {
        Folder(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        std::fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    /// A model directory `m` with random weights, 32 positions and a tokenizer of [`SENTENCES`].
    pub fn model(&self) -> PathBuf {
        let tokenizer = tokenizer();
        let config = TransformerConfig {
            d_model: 16,
            encoder_layers: 1,
            decoder_layers: 1,
            encoder_heads: 2,
            decoder_heads: 2,
            encoder_ffn: 32,
            decoder_ffn: 32,
            max_positions: 32,
            ..TransformerConfig::tiny(tokenizer.vocab_size())
        };
        let generation = GenerationConfig { max_length: Some(13), ..GenerationConfig::of_model(&config) };
        let model = Transformer::init(config, 1);
        let path = self.path("m");
        Pretrained::new(model, tokenizer, generation).save(&path).unwrap();
        path
    }

    /// A translator `m` and a language model `lm` whose activations overflow where they read an `x`.
    pub fn overflowing_models(&self) {
        let tokenizer = tokenizer();
        let row = tokenizer.encode_ids("x", false).unwrap()[0] as usize;
        let config = TransformerConfig {
            d_model: 16,
            encoder_layers: 1,
            decoder_layers: 1,
            max_positions: 32,
            tie_embeddings: TieEmbeddings::None,
            ..TransformerConfig::tiny(tokenizer.vocab_size())
        };
        let generation = GenerationConfig { max_length: Some(13), ..GenerationConfig::of_model(&config) };
        let mut model = Transformer::init(config, 1);
        for table in ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight"] {
            let table = model.params.entry(table).unwrap().weight;
            model.params.get_mut(table)[row * table.cols..][..table.cols].fill(3e38);
        }
        Pretrained::new(model, tokenizer.clone(), generation).save(self.path("m")).unwrap();
        let config = Gpt2Config {
            tie_embeddings: false,
            eos_id: tokenizer.special().eos,
            ..Gpt2Config::new(tokenizer.vocab_size(), 1, 16, 2, 32)
        };
        let mut model = Gpt2::init(config, 1);
        let table = model.params.entry("wte.weight").unwrap().weight;
        model.params.get_mut(table)[row * table.cols..][..table.cols].fill(3e38);
        LanguageModel::new(model, tokenizer, GenerationConfig::default()).save(self.path("lm")).unwrap();
    }

    /// `r.toml`, a recipe of a few steps on `pairs.tsv`, which is [`SENTENCES`] three times.
    pub fn recipe(&self) {
        let text: String = SENTENCES.iter().map(|(source, target)| format!("{source}\t{target}\n")).collect();
        self.write("pairs.tsv", text.repeat(3));
        let recipe = r#"
        seed = 3
        [data]
        train = { tsv = "pairs.tsv" }
        valid = { tsv = "pairs.tsv" }
        drop_duplicates = false
        max_length = 32
        [tokenizer]
        vocab_size = 320
        min_frequency = 1
        [model]
        d_model = 16
        heads = 2
        d_ff = 32
        encoder_layers = 1
        decoder_layers = 1
        max_positions = 32
        [train]
        max_steps = 6
        log_every = 2
        eval_every = 3
        [schedule]
        warmup_steps = 2
        [search]
        beam = 2
        max_length = 12
    "#;
        self.write("r.toml", recipe);
    }

    /// Runs the program in the folder.
    pub fn run(&self, arguments: &[&str], stdin: &str) -> Ran {
        let mut command = Command::cargo_bin("atento").unwrap();
        command.current_dir(self.0.path()).env_remove("RAYON_NUM_THREADS").args(arguments).write_stdin(stdin);
        // Nobody is asked for a model whose path is wrong.
        command.env("HF_HOME", self.path("hf")).env("HF_HUB_OFFLINE", "1");
        command.output().unwrap().into()
    }
}

/// A tokenizer of [`SENTENCES`].
fn tokenizer() -> Tokenizer {
    let lines = SENTENCES.iter().flat_map(|&(source, target)| [source, target]).map(|line| Ok(line.to_owned()));
    let options = TrainOptions { vocab_size: 320, min_frequency: 1, ..TrainOptions::default() };
    Tokenizer::train::<text::Error>(lines, &options).unwrap()
}

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl Ran {
    /// Standard output of a command that succeeded.
    #[track_caller]
    pub fn output(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// The JSON objects of a command that succeeded.
    #[track_caller]
    pub fn objects(self) -> Vec<Value> {
        self.output().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The JSON object of a command that went past bad lines, which exits with 1.
    #[track_caller]
    pub fn object_past_bad_lines(&self) -> Value {
        assert_eq!(self.code, Some(1), "{self:?}");
        serde_json::from_str(&self.stdout).unwrap()
    }

    /// The one message of a command that was given something wrong.
    #[track_caller]
    pub fn refusal(self) -> String {
        assert_eq!(self.code, Some(2), "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        self.stderr
    }
}

/// The reference models of these types or classes that the library's tests use, where the repository has them.
pub fn reference_models(model_types: &[&str]) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../atento/tests/fixtures/conformance");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_wanted = |path: &PathBuf| {
        let config = std::fs::read_to_string(path.join("config.json")).unwrap_or_default();
        model_types.iter().any(|kind| config.contains(&format!("\"{kind}\"")))
    };
    entries.map(|entry| entry.path()).filter(is_wanted).collect()
}

/// A directory of the library's fixtures.
pub fn fixture(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../atento/tests/fixtures/conformance").join(name);
    assert!(path.exists(), "{}", path.display());
    path
}
