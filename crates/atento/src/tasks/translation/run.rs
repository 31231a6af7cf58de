//! Learning to translate: pairs of sentences, an encoder and a decoder, BLEU.

use std::path::{Path, PathBuf};

use atento_tensor::Pool;
use serde_json::Value;

use super::data::{HeldOut, RunData};
use super::{evaluate, search, size};
use crate::data::hash::combine;
use crate::data::{BatchOptions, Cursor, DataReport, Order};
use crate::models::Translator;
use crate::pipelines::translate::TranslateOptions;
use crate::pipelines::{Loaded, Pretrained};
use crate::text::Tokenizer;
use crate::train::TrainOptions;
use crate::train::added_tokens::add_to_model;
use crate::train::adopt::{self, Adopted, Base, adopt, is_described, saved_tokenizer};
use crate::train::build::{generation_config, model_config, new_model};
use crate::train::checkpoint::{Checkpoint, Identity};
use crate::train::fit::Computed;
use crate::train::recipe::check::of_other_families;
use crate::train::recipe::{Metric, Recipe};
use crate::train::report::Sample;
use crate::train::workload::{Batches, Begun, Judgement, Making, Measured, Workload};
use crate::train::{Error, StopFlag, resume};

/// Translations shown in the report.
const SAMPLES: usize = 20;

/// A translator and its pairs of sentences.
pub(crate) struct Translation {
    data: RunData,
    pretrained: Pretrained,
}

/// What a run begins with.
pub(crate) struct Beginning {
    /// The recipe; where there is a model already, it describes that one.
    pub recipe: Recipe,
    /// The tokenizer; without one, the recipe says which.
    pub tokenizer: Option<Tokenizer>,
    /// The model; without one, the recipe says which.
    pub model: Option<Box<dyn Translator>>,
    /// What stays with a model that is trained further.
    base: Option<Base>,
    /// Where the model came from, if the run did not make it.
    from: Option<PathBuf>,
    /// What the user should know.
    notes: Vec<String>,
    /// Sizes of a new model that follow from the data.
    computed: Vec<Computed>,
}

impl Beginning {
    /// A new run.
    pub fn anew(recipe: &Recipe, options: &TrainOptions, making: Making) -> Result<Self, Error> {
        let Some(from) = &recipe.from else {
            let mut recipe = recipe.clone();
            let computed = size::fit(&mut recipe, &|key| options.is_stated(key))?;
            recipe.settle(&options.written)?;
            let (notes, from) = (Vec::new(), None);
            return Ok(Self { recipe, tokenizer: None, model: None, base: None, from, notes, computed });
        };
        let dir = adopt::open(from, recipe, &options.written)?;
        let loaded = match making {
            Making::Weights => Pretrained::from_exact(&dir)?,
            Making::Outline => Pretrained::outline(&dir)?,
        };
        let Pretrained { mut model, mut tokenizer, generation, mut kept, mut notes, .. } = loaded;
        if model.own_positions().is_some() {
            // A checkpoint of a run does not hold them.
            return Err(Error::Setting {
                key: "from",
                problem: format!(
                    "{} stores position tables that are not the sinusoids: it can translate, but not be trained",
                    path_text(from)
                ),
            });
        }
        let add = &recipe.tokenizer.add_tokens;
        notes.extend(add_to_model(&mut model, &mut tokenizer, &mut kept, add)?);
        let config = model.config();
        let adopted = Adopted { config: &*config, generation: &generation, tokens: tokenizer.vocab_size() };
        let adopted = adopt(recipe, &options.written, &adopted)?;
        notes.extend(of_other_families(&adopted, &|key| options.written.contains_key(key)));
        let drops = |key: &&str| kept.config().get(*key).and_then(Value::as_f64).is_some_and(|share| share > 0.0);
        for key in ["encoder_layerdrop", "decoder_layerdrop"].into_iter().filter(drops) {
            notes.push(format!("{}: `{key}` has no effect here: no layer is left out in training", path_text(from)));
        }
        if is_described(recipe, &options.written, &tokenizer) {
            notes.push(format!("[tokenizer] of the recipe is not used: the tokenizer is that of {}", path_text(from)));
        }
        let (tokenizer, model, base) = (Some(tokenizer), Some(model), Some(Base { generation, kept }));
        let (from, computed) = (Some(from.clone()), Vec::new());
        Ok(Self { recipe: adopted, tokenizer, model, base, from, notes, computed })
    }

    /// A run that goes on: its model is the one it was started with, and so is its tokenizer, whatever the text to
    /// learn one from now says.
    fn again(
        recipe: &Recipe,
        options: &TrainOptions,
        checkpoint: &Checkpoint,
        run: &Path,
        making: Making,
    ) -> Result<Self, Error> {
        let tokenizer = saved_tokenizer(run)?;
        let identity = &checkpoint.state.identity;
        let mut recipe = resume::as_before(recipe, &options.written, checkpoint)?;
        let mut base = None;
        match identity {
            Identity { model, from: Some(_), .. } => {
                let found = Base::saved(run, identity, &tokenizer)?;
                let adopted =
                    Adopted { config: &**model, generation: &found.generation, tokens: tokenizer.vocab_size() };
                recipe = adopt(&recipe, &options.written, &adopted)?;
                base = Some(found);
            }
            _ => recipe.settle(&options.written)?,
        }
        let notes = resume::check(checkpoint, &recipe)?;
        let model = Some(new_model(identity.model.shared(), &recipe, making)?);
        let from = identity.from.clone();
        let computed = Vec::new();
        Ok(Self { recipe, tokenizer: Some(tokenizer), model, base, from, notes, computed })
    }
}

impl Workload for Translation {
    type Model = Box<dyn Translator>;
    type Cursor = Cursor;

    const TOKENS: &'static str = "Source and target tokens";
    const EXAMPLES: &'static str = "pairs of sentences";
    const SAMPLE: [&'static str; 2] = ["Source", "Reference"];

    fn loss_unit(&self) -> &'static str {
        "nats per target token"
    }

    fn begin(
        recipe: &Recipe,
        options: &TrainOptions,
        resumed: Option<&Checkpoint>,
        run: &Path,
        making: Making,
    ) -> Result<Begun<Self>, Error> {
        let Beginning { recipe, tokenizer, model, base, from, mut notes, computed } = match resumed {
            Some(checkpoint) => Beginning::again(recipe, options, checkpoint, run, making)?,
            None => Beginning::anew(recipe, options, making)?,
        };
        let rows = model.as_ref().map(|model| model.vocab_size()).or(recipe.model.vocab_size);
        let tokenizer = tokenizer.map(|tokenizer| tokenizer.for_table(rows.unwrap_or(usize::MAX)));
        let data = RunData::load(&recipe, tokenizer)?;
        notes.extend(data.notes.iter().cloned());
        notes.extend(recipe.data.header_notes());
        let mut model: Box<dyn Translator> = match model {
            Some(model) => model,
            None => new_model(&model_config(&recipe, &data.tokenizer)?, &recipe, making)?,
        };
        model.checkpoint_activations(recipe.train.checkpoint_activations);
        check_positions(&*model, &recipe)?;
        check_held_out(&*model, &data)?;
        // As it will be read again.
        let tokenizer = Tokenizer::from_json_bytes(&data.tokenizer.to_json_bytes()?)?.with_target_of(&data.tokenizer);
        let tokenizer = tokenizer.with_roles(data.tokenizer.roles()).for_table(model.vocab_size());
        let pretrained = match base {
            Some(Base { generation, kept }) => {
                let generation = search::overlay(&generation, &recipe.search, model.max_positions());
                Pretrained { model, tokenizer, generation, templates: None, kept, notes: Vec::new() }
            }
            None => {
                let generation = generation_config(&recipe, &*model);
                Pretrained::new(model, tokenizer, generation)
            }
        };
        check_tokens(&pretrained)?;
        let work = Self { data, pretrained };
        Ok(Begun { recipe, work, from, notes, computed })
    }

    fn loaded(&self) -> &Loaded<Self::Model> {
        &self.pretrained
    }

    fn loaded_mut(&mut self) -> &mut Loaded<Self::Model> {
        &mut self.pretrained
    }

    fn examples(&self) -> usize {
        self.data.train.report().kept as usize
    }

    fn targets_per_epoch(&self) -> u64 {
        self.data.train.report().target_tokens
    }

    fn tokens_per_epoch(&self) -> u64 {
        let report = self.data.train.report();
        report.source_tokens + report.target_tokens
    }

    fn data_json(&self) -> serde_json::Value {
        self.reports().map(|(name, report)| (name.to_owned(), serde_json::json!(report))).collect()
    }

    fn data_report(&self) -> String {
        let held_out = self.reports().skip(1);
        let losses =
            held_out.filter_map(|(name, report)| Some(format!("\ndata.{name}: {}", report.losses(self.tokenizer())?)));
        std::iter::once(self.data.train.report().to_string()).chain(losses).collect()
    }

    fn losses(&self) -> Vec<String> {
        let told =
            |(name, report): (&str, &DataReport)| Some(format!("data.{name}: {}", report.losses(self.tokenizer())?));
        self.reports().filter_map(told).collect()
    }

    fn data_hash(&self) -> Result<u64, Error> {
        let valid = self.data.valid.as_ref().map_or(0, |valid| valid.hash);
        Ok(combine(self.data.train.hash(), valid))
    }

    fn epoch(cursor: Cursor) -> u64 {
        cursor.epoch
    }

    fn batches(&self, recipe: &Recipe, from: Cursor) -> Result<Batches<Self>, Error> {
        let mut batches = self.data.train.batches(self.batch_options(recipe))?;
        batches.seek(from)?;
        Ok(Box::new(batches.map(|item| item.map_err(Error::from))))
    }

    fn batches_per_epoch(&self, recipe: &Recipe) -> Result<u64, Error> {
        Ok(self.data.train.batches_per_epoch(&self.batch_options(recipe))?)
    }

    fn measure(&self, recipe: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Option<Measured>, Error> {
        let Some(valid) = &self.data.valid else { return Ok(None) };
        let (train, model) = (&recipe.train, &self.pretrained.model);
        let loss = evaluate::loss(&**model, pool, &valid.pairs, model.start_id(), stop)?.nll;
        if train.eval_beam == 0 {
            return Ok(Some(Measured::loss(loss)));
        }
        let limit = if train.eval_max_sentences > 0 { train.eval_max_sentences } else { usize::MAX };
        let pairs = &valid.text[..valid.text.len().min(limit)];
        let mut options = self.translate_options(recipe);
        options.search.beam = train.eval_beam;
        let (score, _) = evaluate::bleu(&**model, &self.pretrained.tokenizer, pairs, &options, stop)?;
        Ok(Some(Measured { loss, scores: vec![(Metric::Bleu, score.score)] }))
    }

    fn judge(&mut self, recipe: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Judgement, Error> {
        let mut judgement = Judgement::default();
        for (name, held_out) in [("valid", &self.data.valid), ("test", &self.data.test)] {
            if let Some(held_out) = held_out {
                self.score(recipe, pool, name, held_out, &mut judgement, stop)?;
                judgement.example = held_out.text.first().map(|(source, _)| source.clone());
            }
        }
        Ok(judgement)
    }

    fn describe(&self) -> Vec<(String, String)> {
        vec![("Vocabulary".into(), self.pretrained.model.vocab_size().to_string())]
    }
}

impl Translation {
    /// How the training pairs are dealt out.
    fn batch_options(&self, recipe: &Recipe) -> BatchOptions {
        let train = &recipe.train;
        BatchOptions {
            max_tokens: train.batch_tokens,
            max_sentences: (train.max_sentences > 0).then_some(train.max_sentences),
            order: if train.bucket { Order::Bucketed } else { Order::Shuffled },
            seed: recipe.seed,
            start_id: self.pretrained.model.start_id(),
            epochs: train.max_epochs.map(|n| n as u64),
        }
    }

    /// What happened to each part of the data.
    fn reports(&self) -> impl Iterator<Item = (&'static str, &DataReport)> {
        let held_out = [("valid", &self.data.valid), ("test", &self.data.test)];
        let held_out = held_out.into_iter().filter_map(|(name, part)| Some((name, &part.as_ref()?.report)));
        std::iter::once(("train", self.data.train.report())).chain(held_out)
    }

    /// How the finished model translates.
    fn translate_options(&self, recipe: &Recipe) -> TranslateOptions {
        let ratio = recipe.search.max_length_ratio;
        TranslateOptions { max_length_ratio: (ratio > 0.0).then_some(ratio), ..self.pretrained.translate_options() }
    }

    /// Loss and BLEU with the recipe's search, and the samples of the last data set that is scored.
    fn score(
        &self,
        recipe: &Recipe,
        pool: &Pool,
        name: &str,
        held_out: &HeldOut,
        judgement: &mut Judgement,
        stop: &StopFlag,
    ) -> Result<(), Error> {
        let model = &self.pretrained.model;
        let loss = evaluate::loss(&**model, pool, &held_out.pairs, model.start_id(), stop)?;
        let options = self.translate_options(recipe);
        let (bleu, hypotheses) = evaluate::bleu(&**model, &self.pretrained.tokenizer, &held_out.text, &options, stop)?;
        judgement.metrics.insert(format!("{name}_loss"), loss.nll);
        judgement.metrics.insert(format!("{name}_perplexity"), loss.perplexity());
        judgement.metrics.insert(format!("{name}_bleu"), bleu.score);
        judgement.signature = Some(bleu.signature);
        let pairs = held_out.text.iter().zip(hypotheses).take(SAMPLES);
        let sample = |((source, reference), hypothesis): (&(String, String), String)| Sample {
            source: source.clone(),
            reference: reference.clone(),
            hypothesis,
        };
        judgement.samples = pairs.map(sample).collect();
        Ok(())
    }
}

/// The model can be taught to end, and what its translations have to hold is there.
fn check_tokens(pretrained: &Pretrained) -> Result<(), Error> {
    let (generation, rows) = (&pretrained.generation, pretrained.model.vocab_size());
    let needed = [
        ("decoder_start_token_id", Some(pretrained.model.start_id())),
        ("decoder_start_token_id", generation.decoder_start_id),
        ("forced_bos_token_id", generation.forced_bos_id),
        ("forced_eos_token_id", generation.forced_eos_id),
    ];
    match needed.into_iter().find(|(_, id)| id.is_some_and(|id| id as usize >= rows)) {
        Some((key, id)) => {
            let id = id.unwrap_or_default();
            let problem =
                format!("`{key}` of the model is {id}, but its table has {rows} rows: mend its configuration");
            Err(Error::Setting { key: "from", problem })
        }
        None => Ok(()),
    }
}

fn check_positions(model: &dyn Translator, recipe: &Recipe) -> Result<(), Error> {
    let longest = recipe.data.max_length;
    match model.max_positions() {
        Some(positions) if positions < longest => {
            let problem = format!(
                "sentences may have {longest} tokens, but the model has positions for {positions}: lower it, or raise \
                 model.max_positions"
            );
            Err(Error::Setting { key: "data.max_length", problem })
        }
        _ => Ok(()),
    }
}

/// Held-out sentences are measured whole: each must have a place in the model.
fn check_held_out(model: &dyn Translator, data: &RunData) -> Result<(), Error> {
    let Some(positions) = model.max_positions() else { return Ok(()) };
    for (key, held_out) in [("data.valid", &data.valid), ("data.test", &data.test)] {
        let Some(HeldOut { text, place, pairs, .. }) = held_out else { continue };
        let refuse = |pair: usize, side: &str, tokens: usize| {
            let problem = format!(
                "{place}, pair {}: the {side} has {tokens} tokens, but the model has positions for {positions}: leave \
                 the pair out, or raise model.max_positions",
                pair + 1
            );
            Err(Error::Setting { key, problem })
        };
        // Sources are translated even where there is no target.
        for (at, (source, _)) in text.iter().enumerate() {
            let tokens = data.tokenizer.encode_source(source)?.len();
            if tokens > positions {
                return refuse(at, "source", tokens);
            }
        }
        if let Some(pair) = pairs.iter().find(|pair| pair.target.len() > positions) {
            return refuse(pair.id as usize, "target", pair.target.len());
        }
    }
    Ok(())
}

fn path_text(path: &Path) -> String {
    path.display().to_string()
}
