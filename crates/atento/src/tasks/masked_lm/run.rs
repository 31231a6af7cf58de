//! A run that learns masked words, and perhaps whether a text follows another.
//!
//! Text is tokenised once, into `data/` of the run directory; examples are drawn from there, anew in each epoch.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use atento_tensor::{Graph, Pool};

use crate::data::hash::combine;
use crate::data::labelled::{Goal, TextBatch};
use crate::data::pretrain;
use crate::data::pretrain::{
    BatchSize, Cursor, Draw, ExampleOptions, Fold, Markers, Objective as Learned, PretrainBatch, PretrainConfig,
    PretrainData, TextOptions, Units,
};
use crate::data::tokens::{self, Boundary, TextSource, remove};
use crate::families::heads::{Headed as HeadedConfig, Objective};
use crate::families::{Config, Head};
use crate::models::{Headed, Texts};
use crate::pipelines::{Loaded, TextModel};
use crate::tasks::Evaluated;
use crate::tasks::heads::Lessons;
use crate::tasks::heads::begin::Beginning;
use crate::train::adapt::{positions_left, takes_positions};
use crate::train::checkpoint::Checkpoint;
use crate::train::recipe::{Documents, Drawing, MaskUnits, Metric, Recipe, Second};
use crate::train::report::Sample;
use crate::train::workload::{Batches, Begun, Judgement, Making, Measured, Workload};
use crate::train::{Error, StopFlag, TrainOptions};

/// Tokens of one validation batch.
const BATCH_TOKENS: usize = 4096;
/// Examples shown in the report.
const SAMPLES: usize = 8;
/// Words of a text that shows how the model is used.
const SHOWN_WORDS: usize = 8;

/// A model of masked words and its text.
pub(crate) struct MaskedWords {
    model: TextModel,
    train: PretrainData,
    valid: Option<PretrainData>,
    learned: Learned,
}

/// What was found on held-out text.
#[derive(Default)]
struct Found {
    word_loss: f64,
    words: usize,
    words_right: usize,
    next_loss: f64,
    texts: usize,
    texts_right: usize,
}

impl Found {
    fn loss(&self) -> f64 {
        self.word_loss / self.words.max(1) as f64 + self.next_loss / self.texts.max(1) as f64
    }

    fn scores(&self) -> Vec<(Metric, f64)> {
        let words = (Metric::WordAccuracy, self.words_right as f64 / self.words.max(1) as f64);
        let next = (self.texts > 0).then(|| (Metric::NextAccuracy, self.texts_right as f64 / self.texts as f64));
        [Some(words), next].into_iter().flatten().collect()
    }
}

impl MaskedWords {
    /// Measures the model on all of some text, with the same masks each time.
    fn find(&self, data: &PretrainData, seed: u64, pool: &Pool, stop: &StopFlag) -> Result<Found, Error> {
        let model = &self.model.model;
        let mut found = Found::default();
        for batch in data.evaluation_batches_of(seed, BatchSize::Tokens(BATCH_TOKENS.max(data.options().seq_len)))? {
            if stop.is_stopped() {
                return Err(Error::Stopped);
            }
            let batch = packed(batch?.0);
            let Goal::Words { rows, words, next } = &batch.goal else { continue };
            let g = &mut Graph::infer(model.params(), pool);
            let texts = Texts { ids: &batch.ids, type_ids: Some(&batch.type_ids), cu_seqlens: &batch.cu_seqlens };
            let (read, whole) = model.read(g, texts, rows);
            let logits = model.of_tokens(g, &read);
            let (loss, right) = judged(logits.values(), words);
            (found.word_loss, found.words_right) = (found.word_loss + loss, found.words_right + right);
            found.words += words.len();
            if let Some(next) = next {
                let logits = model.of_read_texts(g, &whole.expect("a head on whole texts"));
                let (loss, right) = judged(logits.values(), next);
                (found.next_loss, found.texts_right) = (found.next_loss + loss, found.texts_right + right);
                found.texts += next.len();
            }
        }
        Ok(found)
    }

    /// The loss of a model that knows how often each token occurs in the training text and nothing else, on the masked
    /// tokens of the held-out text: what a model has learned shows in what it is below that.
    fn unigram_loss(&self, valid: &PretrainData) -> Result<f64, Error> {
        let rows = self.model.model.config.sizes().vocab_size;
        let mut counts = vec![1.0_f64; rows];
        let size = BatchSize::Tokens(BATCH_TOKENS.max(self.train.options().seq_len));
        for batch in self.train.evaluation_batches(size)? {
            batch?.0.masked.iter().for_each(|(_, token)| counts[*token as usize] += 1.0);
        }
        let all: f64 = counts.iter().sum();
        let (mut sum, mut count) = (0.0, 0);
        for batch in valid.evaluation_batches(size)? {
            for (_, token) in &batch?.0.masked {
                sum -= (counts[*token as usize] / all).ln();
                count += 1;
            }
        }
        Ok(sum / f64::from(count.max(1)))
    }

    /// The beginning of a text with a word masked.
    fn masked(&self, text: &str) -> Option<String> {
        let tokenizer = &self.model.tokenizer;
        let mask = tokenizer.id_to_token(tokenizer.special().mask?)?;
        let mut words: Vec<&str> = text.split_whitespace().take(SHOWN_WORDS).collect();
        *words.get_mut(SHOWN_WORDS / 2)? = &mask;
        Some(words.join(" "))
    }

    /// Held-out examples, with what the model puts in place of their masks.
    fn samples(&self, data: &PretrainData, pool: &Pool) -> Result<Vec<Sample>, Error> {
        let model = &self.model.model;
        let Some(batch) = data.evaluation_batches(BatchSize::Examples(SAMPLES))?.next() else { return Ok(Vec::new()) };
        let batch = packed(batch?.0);
        let Goal::Words { rows, words, .. } = &batch.goal else { return Ok(Vec::new()) };
        let g = &mut Graph::infer(model.params(), pool);
        let texts = Texts { ids: &batch.ids, type_ids: Some(&batch.type_ids), cu_seqlens: &batch.cu_seqlens };
        let (read, _) = model.read(g, texts, rows);
        let logits = model.of_tokens(g, &read);
        let width = logits.dims::<2>()[1];
        let best = |row: &[f32]| (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best }) as u32;
        let guessed: Vec<u32> = logits.values().chunks(width).map(best).collect();
        let mut samples = Vec::new();
        for pair in batch.cu_seqlens.windows(2) {
            let filled = |with: &[u32]| {
                let mut ids = batch.ids[pair[0] as usize..pair[1] as usize].to_vec();
                for (row, id) in rows.iter().zip(with).filter(|(row, _)| (pair[0]..pair[1]).contains(row)) {
                    ids[(row - pair[0]) as usize] = *id;
                }
                self.model.tokenizer.decode(&ids, true)
            };
            let source = self.model.tokenizer.decode(&batch.ids[pair[0] as usize..pair[1] as usize], false)?;
            samples.push(Sample { source, reference: filled(words)?, hypothesis: filled(&guessed)? });
        }
        Ok(samples)
    }
}

/// The sum of the cross-entropies of rows of logits, and how many rows are right.
fn judged(logits: &[f32], targets: &[u32]) -> (f64, usize) {
    if targets.is_empty() {
        return (0.0, 0);
    }
    let (mut loss, mut right) = (0.0, 0);
    for (row, &target) in logits.chunks(logits.len() / targets.len()).zip(targets) {
        let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f64 = row.iter().map(|&x| f64::from(x - highest).exp()).sum();
        loss += sum.ln() - f64::from(row[target as usize] - highest);
        right += usize::from(row[target as usize] == highest);
    }
    (loss, right)
}

/// A batch as the model learns from it. BERT's first output says that the second text follows.
fn packed(batch: PretrainBatch) -> TextBatch {
    let (rows, words) = batch.masked.into_iter().unzip();
    let next = batch.is_next.map(|flags| flags.into_iter().map(|is_next| u32::from(!is_next)).collect());
    let goal = Goal::Words { rows, words, next };
    TextBatch { ids: batch.ids, type_ids: batch.type_ids, cu_seqlens: batch.cu_seqlens, goal, samples: Vec::new() }
}

impl Workload for MaskedWords {
    type Model = Headed;
    type Cursor = Cursor;

    const TOKENS: &'static str = "Tokens";
    const EXAMPLES: &'static str = "stretches of text";
    const SAMPLE: [&'static str; 2] = ["Masked", "In the text"];

    fn loss_unit(&self) -> &'static str {
        match self.model.model.config.head {
            Head::Words => "nats per masked token",
            _ => "nats per masked token, and per pair",
        }
    }

    fn begin(
        recipe: &Recipe,
        options: &TrainOptions,
        resumed: Option<&Checkpoint>,
        run: &Path,
        making: Making,
    ) -> Result<Begun<Self>, Error> {
        let head = recipe.task.head();
        let put_on = |trunk: &Arc<dyn Config>| HeadedConfig::new(trunk, head, Vec::new(), Objective::Classification);
        let lessons = || -> Result<Lessons, Error> {
            Ok(Box::new(source(recipe, &text(recipe)?).lessons()?.map(|piece| piece.map_err(Error::from))))
        };
        let Beginning { recipe, model, from, notes } =
            Beginning::find(recipe, options, resumed, run, making, &put_on, &lessons)?;
        if let Some(positions) = model.longest().filter(|_| takes_positions(&recipe, &model.model.config)) {
            positions_left(&recipe, positions)?;
        }
        let learned = match (head, recipe.data.second) {
            (Head::Words, _) => Learned::Mlm,
            (_, Second::Next) => Learned::MlmNsp,
            (_, Second::Order) => Learned::MlmSop,
        };
        let markers = Markers::of(&model.tokenizer)?;
        let open = |dir: PathBuf, text: &Path, fold: Fold| {
            files(&recipe, &model, markers.clone(), learned, &dir, text, fold, resumed.is_some())
        };
        let dir = run.join("data");
        let share = recipe.data.valid_fraction;
        let (train, valid) = match &recipe.data.valid_text {
            Some(valid) => {
                (open(dir.join("train"), &text(&recipe)?, Fold::All)?, Some(open(dir.join("valid"), valid, Fold::All)?))
            }
            None if share > 0.0 => {
                let train = open(dir.join("train"), &text(&recipe)?, Fold::Training(share)).map_err(none_left)?;
                let valid = open(dir.join("valid"), &text(&recipe)?, Fold::Validation(share)).map_err(none_left)?;
                (train, Some(valid))
            }
            None => (open(dir.join("train"), &text(&recipe)?, Fold::All)?, None),
        };
        let work = Self { model, train, valid, learned };
        Ok(Begun { recipe, work, from, notes, computed: Vec::new() })
    }

    fn loaded(&self) -> &Loaded<Headed> {
        &self.model
    }

    fn loaded_mut(&mut self) -> &mut Loaded<Headed> {
        &mut self.model
    }

    fn examples(&self) -> usize {
        (self.train.report().tokens as usize).div_ceil(self.train.options().seq_len)
    }

    fn targets_per_epoch(&self) -> u64 {
        let options = self.train.options();
        let words = (self.train.report().tokens as f64 * options.mask_prob).ceil() as u64;
        words + if self.learned.is_of_pairs() { self.examples() as u64 } else { 0 }
    }

    fn tokens_per_epoch(&self) -> u64 {
        self.train.report().tokens
    }

    fn weighed_tokens(&self) -> u64 {
        self.tokens_per_epoch()
    }

    fn data_json(&self) -> serde_json::Value {
        serde_json::json!({
            "train": self.train.report(),
            "valid": self.valid.as_ref().map(PretrainData::report),
            "drawn": self.train.drawn(0, 0).ok(),
        })
    }

    fn data_report(&self) -> String {
        let valid = self.valid.as_ref().map_or(String::new(), |valid| format!("validation:\n{}\n", valid.report()));
        let drawn = self.train.drawn(0, 0).map_or(String::new(), |drawn| format!("an epoch:\n{drawn}\n"));
        format!("training:\n{}\n{valid}{drawn}", self.train.report())
    }

    fn losses(&self) -> Vec<String> {
        let report = self.train.report();
        let mut told = Vec::new();
        if report.duplicates_dropped > 0 {
            told.push(format!("data: {} documents equal earlier ones and are left out", report.duplicates_dropped));
        }
        if report.cut_by_ends > 0 {
            told.push(format!(
                "data: {} documents of one line were cut into sentences after . ! ?",
                report.cut_by_ends
            ));
        }
        told
    }

    fn data_hash(&self) -> Result<u64, Error> {
        let valid = self.valid.as_ref().map_or(Ok(0), PretrainData::hash)?;
        Ok(combine(self.train.hash()?, valid))
    }

    fn epoch(cursor: Cursor) -> u64 {
        cursor.epoch
    }

    fn batches(&self, recipe: &Recipe, from: Cursor) -> Result<Batches<Self>, Error> {
        let most = recipe.train.max_epochs.map_or(u64::MAX, |epochs| epochs as u64);
        let mut place = from;
        let dealt = self.train.batches(recipe.seed, from, size(recipe))?;
        Ok(Box::new(dealt.map_while(move |item| match item {
            Ok(_) if place.epoch >= most => None,
            Ok((batch, cursor)) => {
                place = cursor;
                Some(Ok((packed(batch), cursor)))
            }
            Err(error) => Some(Err(error.into())),
        })))
    }

    fn batches_per_epoch(&self, recipe: &Recipe) -> Result<u64, Error> {
        Ok(self.train.batches_per_epoch(recipe.seed, size(recipe))?)
    }

    fn measure(&self, _: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Option<Measured>, Error> {
        let Some(valid) = &self.valid else { return Ok(None) };
        let found = self.find(valid, 0, pool, stop)?;
        Ok(Some(Measured { loss: found.loss(), scores: found.scores() }))
    }

    fn judge(&mut self, _: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Judgement, Error> {
        let mut judgement = Judgement::default();
        let Some(valid) = &self.valid else { return Ok(judgement) };
        let found = self.find(valid, 0, pool, stop)?;
        let word_loss = found.word_loss / found.words.max(1) as f64;
        judgement.metrics.insert("valid_loss".into(), found.loss());
        judgement.metrics.insert("valid_word_loss".into(), word_loss);
        judgement.metrics.insert("valid_unigram_loss".into(), self.unigram_loss(valid)?);
        judgement.metrics.extend(found.scores().into_iter().map(|(metric, value)| (format!("valid_{metric}"), value)));
        judgement.samples = self.samples(valid, pool)?;
        judgement.example = judgement.samples.first().and_then(|sample| self.masked(&sample.reference));
        Ok(judgement)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let (trunk, options) = (&self.model.model.trunk, self.train.options());
        let sizes = trunk.sizes();
        vec![
            ("Vocabulary".into(), sizes.vocab_size.to_string()),
            ("Blocks, width, heads".into(), format!("{}, {}, {}", trunk.layers(), sizes.d_model, trunk.heads())),
            ("Tokens of an example".into(), options.seq_len.to_string()),
        ]
    }
}

/// Measures a model of masked words on `data.text`, always with the same masks.
///
/// # Errors
/// Text that cannot be read; `stop` was raised.
pub(crate) fn evaluate(recipe: &Recipe, model: TextModel, stop: &StopFlag) -> Result<Evaluated, Error> {
    let learned = if model.model.config.head == Head::Words { Learned::Mlm } else { Learned::MlmNsp };
    let scratch = tempfile::tempdir().map_err(Error::Scratch)?;
    let longest = model.longest().unwrap_or(LONGEST).min(LONGEST);
    let mut recipe = recipe.clone();
    recipe.data.block_size = Some(longest);
    let markers = Markers::of(&model.tokenizer)?;
    let data =
        files(&recipe, &model, markers, learned, &scratch.path().join("text"), &text(&recipe)?, Fold::All, false)?;
    let report = *data.report();
    let work = MaskedWords { model, train: data, valid: None, learned };
    let found = work.find(&work.train, recipe.seed, &Pool::new(), stop)?;
    if !found.loss().is_finite() {
        return Err(crate::pipelines::texts::Error::NonFinite.into());
    }
    Ok(Evaluated {
        loss: found.loss(),
        scores: found.scores(),
        examples: (found.words as u64, "masked words"),
        matrix: None,
        labels: Vec::new(),
        mistakes: Vec::new(),
        left_out: report.duplicates_dropped,
        losses: (report.duplicates_dropped > 0)
            .then(|| format!("{} documents equal earlier ones and are left out", report.duplicates_dropped)),
    })
}

/// The longest stretch of text that a model is measured on.
const LONGEST: usize = 512;

/// The token files of a text. A run that goes on keeps those it was started with; one that begins makes them anew.
fn files(
    recipe: &Recipe,
    model: &TextModel,
    markers: Markers,
    learned: Learned,
    dir: &Path,
    text: &Path,
    fold: Fold,
    goes_on: bool,
) -> Result<PretrainData, Error> {
    let data = &recipe.data;
    let examples = ExampleOptions {
        objective: learned,
        seq_len: data.block_size.unwrap_or(usize::MAX),
        short_seq_prob: data.short_prob,
        mask_prob: data.mask_prob,
        mask_share: data.mask_share,
        random_share: data.random_share,
        units: match data.mask_units {
            MaskUnits::Tokens => Units::Tokens,
            MaskUnits::Words => Units::Words,
            MaskUnits::Spans => Units::Spans,
        },
        draw: match data.draw {
            Drawing::EachEpoch => Draw::EachEpoch,
            Drawing::Once => Draw::Once,
        },
    };
    if goes_on {
        return Ok(PretrainData::open(dir, &model.tokenizer, markers, examples)?);
    }
    remove(dir)?;
    let texts = TextOptions { drop_duplicates: data.drop_duplicates, fold, seed: recipe.seed };
    let config = PretrainConfig { source: source(recipe, text), texts, examples };
    if let Some(parent) = dir.parent() {
        std::fs::create_dir_all(parent).map_err(|source| Error::Io { path: parent.into(), source })?;
    }
    Ok(PretrainData::prepare(&config, &model.tokenizer, markers, dir, &mut Err, &mut |_| ())?)
}

/// That the share of whole documents which is held out leaves none on one side, where that is what is wrong.
fn none_left(error: Error) -> Error {
    if !matches!(error, Error::Pretrain(pretrain::Error::Tokens(tokens::Error::NothingLeft { .. }))) {
        return error;
    }
    let problem = "the documents are too few to be held out whole: on one side none are left; \
                   give `data.valid_text` a text of its own, or set it to 0";
    Error::Setting { key: "data.valid_fraction", problem: problem.into() }
}

fn size(recipe: &Recipe) -> BatchSize {
    match recipe.train.max_sentences {
        0 => BatchSize::Tokens(recipe.train.batch_tokens),
        most => BatchSize::Examples(most),
    }
}

fn text(recipe: &Recipe) -> Result<PathBuf, Error> {
    let missing = || Error::Setting { key: "data.text", problem: "it is missing".into() };
    recipe.data.text.clone().ok_or_else(missing)
}

fn source(recipe: &Recipe, path: &Path) -> TextSource {
    let boundary = match recipe.data.documents {
        Documents::File => Boundary::File,
        Documents::BlankLine => Boundary::BlankLine,
        Documents::Line => Boundary::Line,
    };
    TextSource { boundary, text_key: recipe.data.text_key.clone(), ..TextSource::new([path]) }
}
