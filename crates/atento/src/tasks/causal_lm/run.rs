//! Learning to continue text: tokens in a row, a decoder-only model, the loss of text it has not seen.
//!
//! Text is tokenised once, into `data/` of the run directory, and read from there as it is needed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use atento_tensor::Pool;

use crate::data::hash::combine;
use crate::data::tokens::{
    self, Boundary, Cursor, Preparation, PrepareOptions, Shard, Sidecar, TextSource, TokenDirectory, WindowOptions,
    Windows,
};
use crate::generate::WarperOptions;
use crate::hub::special_tokens::load_tokenizer;
use crate::models::CausalLm;
use crate::pipelines::{LanguageModel, Loaded};
use crate::tasks::language::{self, BATCH_TOKENS, Beginning};
use crate::text::Tokenizer;
use crate::train::TrainOptions;
use crate::train::adapt::positions_left;
use crate::train::checkpoint::Checkpoint;
use crate::train::recipe::{Documents, Recipe, Sampling, ScheduleKind, Written};
use crate::train::report::Sample;
use crate::train::workload::{Batches, Begun, Judgement, Making, Measured, Workload};
use crate::train::{Error, StopFlag};

/// Continuations shown in the report, and the tokens of each and of its beginning.
const SAMPLES: usize = 5;
const SAMPLE_TOKENS: usize = 64;
/// Words of a prompt that shows how the model is used.
const PROMPT_WORDS: usize = 5;

/// A language model and its text.
pub(crate) struct LanguageModelling {
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
        stop: &StopFlag,
    ) -> Result<(f64, usize), Error> {
        let model = &self.language.model;
        let windows = Windows::new(Arc::clone(shard), model.vocab_size(), options)?;
        let batches = windows.map(|item| item.map(|(batch, _)| batch).map_err(Error::from));
        language::loss(&**model, pool, batches.take(language::limit(limit)), stop)
    }

    fn options(&self, sampling: tokens::Sampling, batch_tokens: usize, epochs: Option<u64>) -> WindowOptions {
        let (block_size, batch_size) = (self.block_size, (batch_tokens / self.block_size).max(1));
        WindowOptions { block_size, batch_size, sampling, seed: self.seed, document_end: self.document_end, epochs }
    }

    /// The windows of the training text.
    fn windows(&self, recipe: &Recipe) -> Result<Windows, Error> {
        let sampling = match recipe.data.sampling {
            Sampling::Random => tokens::Sampling::Random,
            Sampling::Sequential => tokens::Sampling::Sequential,
        };
        let epochs = recipe.train.max_epochs.map(|n| n as u64);
        let options = self.options(sampling, recipe.train.batch_tokens, epochs);
        Ok(Windows::new(Arc::clone(&self.data.train), self.language.model.vocab_size(), options)?)
    }

    /// How the model goes on with stretches of the validation text.
    fn samples(&self, shard: &Shard) -> Result<Vec<Sample>, Error> {
        let (language, tokens) = (&self.language, shard.len());
        let length = SAMPLE_TOKENS.min(language.model.max_positions() / 2).min(tokens / 2);
        if length == 0 {
            return Ok(Vec::new());
        }
        let starts = (0..SAMPLES).map(|i| i * (tokens - 2 * length) / SAMPLES);
        let stretch = |at| Ok((shard.read(at..at + length)?, shard.read(at + length..at + 2 * length)?));
        let stretches = starts.map(stretch).collect::<Result<Vec<_>, Error>>()?;
        let warpers = WarperOptions { temperature: 0.8, top_k: 200, ..WarperOptions::default() };
        language::samples(language, &stretches, language::warpers(language, warpers), self.seed, length)
    }
}

impl Workload for LanguageModelling {
    type Model = Box<dyn CausalLm>;
    type Cursor = Cursor;

    const TOKENS: &'static str = "Tokens";
    const EXAMPLES: &'static str = "stretches of text";
    const SAMPLE: [&'static str; 2] = ["Text", "As it goes on"];

    fn loss_unit(&self) -> &'static str {
        "nats per token"
    }

    fn begin(
        recipe: &Recipe,
        options: &TrainOptions,
        resumed: Option<&Checkpoint>,
        run: &Path,
        making: Making,
    ) -> Result<Begun<Self>, Error> {
        let Beginning { recipe, language, from, mut notes } =
            Beginning::find(recipe, options, resumed, run, making, tokenizer)?;
        let LanguageModel { model, tokenizer, .. } = &language;
        let data = token_files(&recipe, tokenizer, &run.join("data"), resumed.is_some())?;
        data.check_vocabulary(model.vocab_size())?;
        // Token files that others made are what the recipe asks for, whatever became of their text.
        let newer = if recipe.data.tokens.is_none() { data.newer_sources() } else { Vec::new() };
        notes.extend(newer.iter().map(|path| {
            let path = path.display();
            format!("data: {path} has changed since the run began, which goes on with the tokens that it made then")
        }));
        let positions = positions_left(&recipe, model.max_positions())?;
        let block_size = recipe.data.block_size.unwrap_or(positions);
        check_lengths(&recipe, &data, block_size)?;
        if resumed.is_none() && block_size < positions && follows_batch(&options.written) {
            notes.push(format!(
                "windows of {block_size} tokens because of `train.batch_tokens`; the model has {positions} positions"
            ));
        }
        let document_end = if recipe.data.document_attention { Some(end_token(&data, tokenizer)?) } else { None };
        for shard in std::iter::once(&data.train).chain(&data.val) {
            let path = text_of(&recipe).unwrap_or_else(|| shard.path().to_path_buf());
            check_targets(shard, &path, document_end)?;
        }
        let work = Self { language, data, block_size, document_end, seed: recipe.seed };
        Ok(Begun { recipe, work, from, notes, computed: Vec::new() })
    }

    fn loaded(&self) -> &Loaded<Self::Model> {
        &self.language
    }

    fn loaded_mut(&mut self) -> &mut Loaded<Self::Model> {
        &mut self.language
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

    fn losses(&self) -> Vec<String> {
        let Some(Sidecar { report, .. }) = &self.data.sidecar else { return Vec::new() };
        report.losses(self.tokenizer()).into_iter().chain(report.notes()).map(|note| format!("data: {note}")).collect()
    }

    fn data_hash(&self) -> Result<u64, Error> {
        let valid = self.data.val.as_ref().map_or(Ok(0), |val| val.hash())?;
        Ok(combine(self.data.train.hash()?, valid))
    }

    fn epoch(cursor: Cursor) -> u64 {
        cursor.epoch
    }

    fn batches(&self, recipe: &Recipe, from: Cursor) -> Result<Batches<Self>, Error> {
        let mut windows = self.windows(recipe)?;
        windows.seek(from)?;
        Ok(Box::new(windows.map(|item| item.map_err(Error::from))))
    }

    fn batches_per_epoch(&self, recipe: &Recipe) -> Result<u64, Error> {
        Ok(self.windows(recipe)?.batches_per_epoch())
    }

    fn measure(&self, recipe: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Option<Measured>, Error> {
        let Some(val) = &self.data.val else { return Ok(None) };
        let (whole, part) = (tokens::Sampling::InOrder, tokens::Sampling::Random);
        let options = self.options(part, BATCH_TOKENS, None);
        let (mut sum, mut tokens) = match recipe.train.eval_batches {
            limit if limit > 0 && (limit as u64) < batches(val, &options) => {
                self.loss(val, options, limit, pool, stop)?
            }
            // All of it: by request, or as there is no more.
            _ => (0.0, 0),
        };
        // Also where a few batches happened to hold nothing but end tokens.
        if tokens == 0 {
            (sum, tokens) = self.loss(val, self.options(whole, BATCH_TOKENS, Some(1)), 0, pool, stop)?;
        }
        Ok(Some(Measured::loss(sum / tokens as f64)))
    }

    fn judge(&mut self, _: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Judgement, Error> {
        let mut judgement = Judgement::default();
        let Some(val) = self.data.val.clone() else { return Ok(judgement) };
        let options = self.options(tokens::Sampling::InOrder, BATCH_TOKENS, Some(1));
        let (sum, tokens) = self.loss(&val, options, 0, pool, stop)?;
        let loss = sum / tokens as f64;
        judgement.metrics.insert("valid_loss".into(), loss);
        judgement.metrics.insert("valid_perplexity".into(), loss.exp());
        let bytes = self.data.sidecar.as_ref().map_or(0, |sidecar| sidecar.report.val.bytes);
        if bytes > 0 {
            judgement.metrics.insert("valid_bits_per_byte".into(), sum / std::f64::consts::LN_2 / bytes as f64);
        }
        judgement.samples = self.samples(&val)?;
        judgement.example = judgement.samples.first().and_then(|sample| beginning(&sample.source));
        Ok(judgement)
    }

    fn describe(&self) -> Vec<(String, String)> {
        language::describe(&*self.language.model, self.block_size)
    }
}

/// The first words of a line of a text, to be gone on with. The text may begin in the middle of its first line.
fn beginning(text: &str) -> Option<String> {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines().nth(1).or_else(|| lines().next())?;
    Some(line.split_inclusive(' ').take(PROMPT_WORDS).collect::<String>().trim_end().to_owned())
}

/// Whether the length of windows follows that of batches, since the recipe does not state it.
fn follows_batch(written: &Written) -> bool {
    !written.is_empty() && !written.contains_key("data.block_size")
}

/// Batches that hold as many tokens as a shard.
fn batches(shard: &Shard, options: &WindowOptions) -> u64 {
    (shard.len() as u64).div_ceil((options.block_size * options.batch_size) as u64)
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
fn tokenizer(recipe: &Recipe) -> Result<(Tokenizer, Vec<String>), Error> {
    match (&recipe.tokenizer.file, &recipe.data.text) {
        (Some(path), _) => Ok(load_tokenizer(path)?),
        (None, Some(text)) => {
            let lessons = source(recipe, text).lessons()?.map(|piece| piece.map_err(Error::from));
            language::learn_tokenizer(&recipe.tokenizer, lessons)
        }
        (None, None) => {
            let problem = "there is no text to learn a tokenizer from: name one".into();
            Err(Error::Setting { key: "tokenizer.file", problem })
        }
    }
}

/// Checks before the run starts that there is enough to train on and, where something waits for it, to validate on.
fn check_lengths(recipe: &Recipe, data: &TokenDirectory, block_size: usize) -> Result<(), Error> {
    data.train.require(block_size).map_err(|error| of_text(error, text_of(recipe)))?;
    let Some(val) = &data.val else {
        let waits = recipe.train.early_stopping.patience > 0 || recipe.schedule.kind == ScheduleKind::Plateau;
        if waits {
            let problem = "early stopping and the plateau schedule need validation text, and there is none".into();
            return Err(Error::Setting { key: "data.valid_fraction", problem });
        }
        return Ok(());
    };
    let least = if recipe.train.eval_batches > 0 { block_size } else { 1 };
    let valid = recipe.data.valid_text.clone().or_else(|| recipe.data.text.clone());
    val.require(least).map_err(|error| of_text(error, valid.filter(|_| recipe.data.tokens.is_none())))
}

/// The error with the text that tokens were made from in place of the file that was made, which does not stay.
fn of_text(error: tokens::Error, text: Option<PathBuf>) -> Error {
    match (error, text) {
        (tokens::Error::TooShort { tokens, block_size, .. }, Some(path)) => {
            tokens::Error::TooShort { path, tokens, block_size }.into()
        }
        (error, _) => error.into(),
    }
}

/// The text of the recipe, where it does not name token files.
fn text_of(recipe: &Recipe) -> Option<PathBuf> {
    recipe.data.text.clone().filter(|_| recipe.data.tokens.is_none())
}

/// Checks before the run starts that there is a token to predict: the last of a file is never read, and an end token
/// predicts nothing where documents do not see one another.
fn check_targets(shard: &Shard, path: &Path, document_end: Option<u32>) -> Result<(), Error> {
    const CHUNK: usize = 1 << 16;
    let (Some(end), last) = (document_end, shard.len() - 1) else { return Ok(()) };
    for from in (0..last).step_by(CHUNK) {
        if shard.read(from..last.min(from + CHUNK))?.iter().any(|&id| id != end) {
            return Ok(());
        }
    }
    let path = path.display();
    let problem = format!(
        "{path} has nothing to predict: its tokens are the end token {end}, one for each of its empty documents, and \
         behind one nothing is predicted; give it text, or leave it out"
    );
    Err(Error::Setting { key: "data.document_attention", problem })
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
