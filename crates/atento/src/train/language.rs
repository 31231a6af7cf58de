//! Learning to continue text: tokens in a row, a decoder-only model, the loss of text it has not seen.
//!
//! Text is tokenised once, into `data/` of the run directory, and read from there as it is needed.

use std::path::Path;
use std::sync::Arc;

use atento_tensor::{Graph, Pool};

use super::adopt::{adopt, saved_tokenizer};
use super::build::gpt2_config;
use super::checkpoint::{Checkpoint, Identity, ModelConfig};
use super::recipe::{Documents, Recipe, Sampling, ScheduleKind, TokenizerKind};
use super::report::Sample;
use super::trainer::TrainOptions;
use super::workload::{Batches, Begun, Judgement, Measured, Workload};
use super::{Error, resume};
use crate::continue_text::{Continuation, ContinueOptions, Method, Usual, continue_prompts};
use crate::data::tokens::{
    self, Boundary, Cursor, Preparation, PrepareOptions, Shard, TextSource, TokenDirectory, WindowOptions, Windows,
};
use crate::generate::{Flow, SampleOptions, TextEvent, WarperOptions};
use crate::hub::generation::GenerationConfig;
use crate::language_model::LanguageModel;
use crate::models::Gpt2;
use crate::text::train::Kind;
use crate::text::{Tokenizer, TrainOptions as LearnOptions};

/// Tokens of one validation batch; only speed and memory depend on it.
const BATCH_TOKENS: usize = 4096;

/// Continuations shown in the report, and the tokens of each and of its beginning.
const SAMPLES: usize = 5;
const SAMPLE_TOKENS: usize = 64;

/// A language model and its text.
pub(super) struct LanguageModelling {
    language: LanguageModel,
    data: TokenDirectory,
    block_size: usize,
    /// Where windows are cut.
    document_end: Option<u32>,
    seed: u64,
}

impl LanguageModelling {
    /// The loss over windows of a shard: the sum in nats and the tokens.
    fn loss(
        &self,
        shard: &Arc<Shard>,
        options: WindowOptions,
        limit: usize,
        pool: &Pool,
    ) -> Result<(f64, usize), Error> {
        let model = &self.language.model;
        let limit = if limit == 0 { usize::MAX } else { limit };
        let (mut sum, mut tokens) = (0.0, 0);
        for item in Windows::new(Arc::clone(shard), model.config.vocab_size, options)?.take(limit) {
            let (batch, _) = item?;
            let g = &mut Graph::infer(&model.params, pool);
            let found = model.loss(g, &batch.ids, &batch.cu_seqlens, &batch.targets, 0.0, 1.0);
            (sum, tokens) = (sum + found.nll_sum, tokens + found.n_targets);
        }
        Ok((sum, tokens))
    }

    fn options(&self, sampling: tokens::Sampling, batch_tokens: usize, epochs: Option<u64>) -> WindowOptions {
        let (block_size, batch_size) = (self.block_size, (batch_tokens / self.block_size).max(1));
        WindowOptions { block_size, batch_size, sampling, seed: self.seed, document_end: self.document_end, epochs }
    }

    /// How the model goes on with stretches of the validation text.
    fn samples(&self, shard: &Shard) -> Result<Vec<Sample>, Error> {
        let (language, tokens) = (&self.language, shard.len());
        let length = SAMPLE_TOKENS.min(language.model.config.max_positions / 2).min(tokens / 2);
        if length == 0 {
            return Ok(Vec::new());
        }
        let starts = (0..SAMPLES).map(|i| i * (tokens - 2 * length) / SAMPLES);
        let (prompts, references): (Vec<_>, Vec<_>) =
            starts.map(|at| (shard.read(at..at + length), shard.read(at + length..at + 2 * length))).unzip();
        let warpers = WarperOptions { temperature: 0.8, top_k: 200, ..WarperOptions::default() };
        let options = ContinueOptions {
            method: Method::Sample(SampleOptions { seed: self.seed, warpers, ..SampleOptions::default() }),
            stops: Vec::new(),
            max_new_tokens: Some(length),
            usual: Usual { new_tokens: length, whole: None },
            slide: false,
        };
        let (found, _) = continue_prompts(language, &prompts, 0, &options, |_: &TextEvent<'_>| Flow::Continue)?;
        let text = |ids: &[u32]| language.tokenizer.decode(ids, true);
        let sample = |((prompt, reference), found): ((&Vec<u32>, &Vec<u32>), Vec<_>)| {
            let hypothesis = found.into_iter().next().map_or_else(String::new, |one: Continuation| one.text);
            Ok(Sample { source: text(prompt)?, reference: text(reference)?, hypothesis })
        };
        prompts.iter().zip(&references).zip(found).map(sample).collect()
    }
}

impl Workload for LanguageModelling {
    type Model = Gpt2;
    type Cursor = Cursor;

    const TOKENS: &'static str = "Tokens";
    const EXAMPLES: &'static str = "stretches of text";

    fn begin(
        recipe: &Recipe,
        options: &TrainOptions,
        resumed: Option<&Checkpoint>,
        run: &Path,
    ) -> Result<Begun<Self>, Error> {
        let mut notes = Vec::new();
        let (mut recipe, mut from) = (recipe.clone(), None);
        let (tokenizer, model) = match (resumed, &options.from) {
            (Some(checkpoint), _) => {
                let tokenizer = saved_tokenizer(run)?;
                let identity = checkpoint.state.identity.as_ref();
                let config = match identity {
                    Some(Identity { model: ModelConfig::LanguageModel(config), .. }) => Some(config),
                    _ => None,
                };
                if let (Some(Identity { model, from: Some(_), .. }), true) = (identity, config.is_some()) {
                    recipe = adopt(&recipe, &options.written, model)?;
                }
                notes.extend(resume::check(checkpoint, &recipe, run)?);
                from = identity.and_then(|identity| identity.from.clone());
                (tokenizer, config.map(|config| Gpt2::init(config.clone(), recipe.seed)))
            }
            (None, Some(path)) => {
                let LanguageModel { model, tokenizer, .. } = LanguageModel::load(path)?;
                recipe = adopt(&recipe, &options.written, &ModelConfig::LanguageModel(model.config.clone()))?;
                from = Some(path.clone());
                (tokenizer, Some(model))
            }
            (None, None) => (tokenizer(&recipe)?, None),
        };
        let mut model = match model {
            Some(model) => model,
            None => Gpt2::init(gpt2_config(&recipe, &tokenizer)?, recipe.seed),
        };
        model.checkpoint_activations = recipe.train.checkpoint_activations;
        let data = token_files(&recipe, &tokenizer, &run.join("data"), resumed.is_some())?;
        data.check_vocabulary(model.config.vocab_size)?;
        let block_size = recipe.data.block_size.unwrap_or(model.config.max_positions);
        check_lengths(&recipe, &data, block_size)?;
        let document_end = if recipe.data.document_attention { Some(end_token(&data, &tokenizer)?) } else { None };
        let generation = GenerationConfig::of_language_model(&model.config);
        let language = LanguageModel { model, tokenizer, generation };
        let work = Self { language, data, block_size, document_end, seed: recipe.seed };
        Ok(Begun { recipe, work, from, notes })
    }

    fn model(&self) -> &Gpt2 {
        &self.language.model
    }

    fn model_mut(&mut self) -> &mut Gpt2 {
        &mut self.language.model
    }

    fn config(&self) -> ModelConfig {
        ModelConfig::LanguageModel(self.language.model.config.clone())
    }

    fn tokenizer_json(&self) -> Result<Vec<u8>, Error> {
        Ok(self.language.tokenizer.to_json_bytes()?)
    }

    fn examples(&self) -> usize {
        self.data.train.len().div_ceil(self.block_size)
    }

    fn targets_per_epoch(&self) -> u64 {
        self.data.train.len() as u64 - 1
    }

    fn tokens_per_epoch(&self) -> u64 {
        self.data.train.len() as u64
    }

    fn data_json(&self) -> serde_json::Value {
        serde_json::json!(self.data.sidecar.as_ref().map(|sidecar| &sidecar.report))
    }

    fn data_report(&self) -> String {
        match &self.data.sidecar {
            Some(sidecar) => sidecar.report.to_string(),
            None => {
                let val = self.data.val.as_ref().map_or(0, |val| val.len());
                format!("tokens to learn: {}\ntokens to validate on: {val}", self.data.train.len())
            }
        }
    }

    fn epoch(cursor: Cursor) -> u64 {
        cursor.epoch
    }

    fn batches(&self, recipe: &Recipe, from: Cursor) -> Result<Batches<Self>, Error> {
        let sampling = match recipe.data.sampling {
            Sampling::Random => tokens::Sampling::Random,
            Sampling::Sequential => tokens::Sampling::Sequential,
        };
        let epochs = recipe.train.max_epochs.map(|n| n as u64);
        let options = self.options(sampling, recipe.train.batch_tokens, epochs);
        let mut windows = Windows::new(Arc::clone(&self.data.train), self.language.model.config.vocab_size, options)?;
        windows.seek(from)?;
        Ok(Box::new(windows.map(|item| item.map_err(Error::from))))
    }

    fn measure(&self, recipe: &Recipe, pool: &Pool) -> Result<Option<Measured>, Error> {
        let Some(val) = &self.data.val else { return Ok(None) };
        let options = match recipe.train.eval_batches {
            0 => self.options(tokens::Sampling::InOrder, BATCH_TOKENS, Some(1)),
            _ => self.options(tokens::Sampling::Random, recipe.train.batch_tokens, None),
        };
        let (sum, tokens) = self.loss(val, options, recipe.train.eval_batches, pool)?;
        Ok(Some(Measured { loss: sum / tokens as f64, bleu: None }))
    }

    fn judge(&mut self, _: &Recipe, pool: &Pool) -> Result<Judgement, Error> {
        let mut judgement = Judgement::default();
        let Some(val) = self.data.val.clone() else { return Ok(judgement) };
        let options = self.options(tokens::Sampling::InOrder, BATCH_TOKENS, Some(1));
        let (sum, tokens) = self.loss(&val, options, 0, pool)?;
        let loss = sum / tokens as f64;
        judgement.metrics.insert("valid_loss".into(), loss);
        judgement.metrics.insert("valid_perplexity".into(), loss.exp());
        let bytes = self.data.sidecar.as_ref().map_or(0, |sidecar| sidecar.report.val.bytes);
        if bytes > 0 {
            judgement.metrics.insert("valid_bits_per_byte".into(), sum / std::f64::consts::LN_2 / bytes as f64);
        }
        judgement.samples = self.samples(&val)?;
        Ok(judgement)
    }

    fn save(&self, dir: &Path) -> Result<(), Error> {
        Ok(self.language.save(dir)?)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let config = &self.language.model.config;
        vec![
            ("Vocabulary".into(), config.vocab_size.to_string()),
            ("Blocks, width, heads".into(), format!("{}, {}, {}", config.layers, config.d_model, config.heads)),
            ("Tokens at a stretch".into(), self.block_size.to_string()),
        ]
    }
}

/// Where the recipe's text is.
fn source(recipe: &Recipe, path: &Path) -> TextSource {
    let boundary = match recipe.data.documents {
        Documents::File => Boundary::File,
        Documents::BlankLine => Boundary::BlankLine,
        Documents::Line => Boundary::Line,
    };
    TextSource { boundary, text_key: recipe.data.text_key.clone(), ..TextSource::new([path]) }
}

/// The tokenizer of the recipe, loaded or learned from its text.
fn tokenizer(recipe: &Recipe) -> Result<Tokenizer, Error> {
    let settings = &recipe.tokenizer;
    let text = match (&settings.file, &recipe.data.text) {
        (Some(path), _) => return Ok(Tokenizer::load(path)?),
        (None, Some(text)) => text,
        (None, None) => {
            let problem = "there is no text to learn a tokenizer from: name one".into();
            return Err(Error::Setting { key: "tokenizer.file", problem });
        }
    };
    let options = match settings.kind {
        TokenizerKind::Char => LearnOptions { lowercase: settings.lowercase, ..LearnOptions::characters() },
        TokenizerKind::ByteBpe => LearnOptions {
            kind: Kind::ByteLevelBpe,
            vocab_size: settings.vocab_size,
            min_frequency: settings.min_frequency,
            lowercase: settings.lowercase,
            byte_fallback: false,
            ..LearnOptions::characters()
        },
        other => {
            let problem = format!("\"{other}\" loses line ends; a language model learns \"byte_bpe\" or \"char\"");
            return Err(Error::Setting { key: "tokenizer.kind", problem });
        }
    };
    let learned: Tokenizer =
        Tokenizer::train::<Error>(source(recipe, text).lessons()?.map(|piece| piece.map_err(Error::from)), &options)?;
    Ok(learned)
}

/// Checks before the run starts that there is enough to train on and, where something waits for it, to validate on.
fn check_lengths(recipe: &Recipe, data: &TokenDirectory, block_size: usize) -> Result<(), Error> {
    data.train.require(block_size)?;
    let Some(val) = &data.val else {
        let waits = recipe.train.early_stopping.patience > 0 || recipe.schedule.kind == ScheduleKind::Plateau;
        if waits {
            let problem = "early stopping and the plateau schedule need validation text, and there is none".into();
            return Err(Error::Setting { key: "data.valid_fraction", problem });
        }
        return Ok(());
    };
    Ok(val.require(if recipe.train.eval_batches > 0 { block_size } else { 1 })?)
}

/// The token that stands between documents.
fn end_token(data: &TokenDirectory, tokenizer: &Tokenizer) -> Result<u32, Error> {
    let found = match &data.sidecar {
        Some(sidecar) => sidecar.end_token,
        None => tokenizer.special().eos,
    };
    found.ok_or_else(|| {
        let problem = "documents cannot be told apart: no end token stands between them".into();
        Error::Setting { key: "data.document_attention", problem }
    })
}

/// The tokens of the recipe: files that are there, or made from its text in `dir`. A run that goes on keeps those it was
/// started with; one that begins makes them anew, whatever a start that was cut short has left.
fn token_files(recipe: &Recipe, tokenizer: &Tokenizer, dir: &Path, goes_on: bool) -> Result<TokenDirectory, Error> {
    let data = &recipe.data;
    if let Some(tokens) = &data.tokens {
        let files = TokenDirectory::open(tokens, None)?;
        files.check_tokenizer(tokenizer)?;
        return Ok(files);
    }
    if !goes_on {
        tokens::remove(dir)?;
        let text = data.text.as_deref().expect("a recipe of a language model names text or tokens");
        let job = Preparation {
            train: source(recipe, text),
            valid: data.valid_text.as_deref().map(|path| source(recipe, path)),
            options: PrepareOptions {
                valid_fraction: if data.valid_text.is_some() { 0.0 } else { data.valid_fraction },
                seed: recipe.seed,
                end_token: data.end_token,
                drop_duplicates: false,
                ..PrepareOptions::default()
            },
        };
        tokens::prepare(&job, tokenizer, dir, &mut |_| ())?;
    }
    let files = TokenDirectory::open(dir, None)?;
    files.check_tokenizer(tokenizer)?;
    Ok(files)
}
