//! A run that puts a head on a Transformer and learns from examples in memory.

use std::path::Path;
use std::sync::Arc;

use atento_tensor::{Graph, Pool};

use super::begin::{Beginning, with_head};
use super::{Part, Reading, Report, Tuned};
use crate::data::hash::combine;
use crate::data::labelled::{Batches as Dealt, Packs, TextBatch};
use crate::data::tokens::Cursor;
use crate::families::Config;
use crate::models::Headed;
use crate::pipelines::{Loaded, TextModel};
use crate::train::TrainOptions;
use crate::train::checkpoint::Checkpoint;
use crate::train::recipe::{FileSettings, Recipe};
use crate::train::step::{TrainBatch, loss_of};
use crate::train::workload::{Batches, Begun, Judgement, Making, Measured, Workload};
use crate::train::{Error, StopFlag};

/// Tokens of one validation batch.
const BATCH_TOKENS: usize = 4096;

/// A model with a head, and its data.
pub(crate) struct FineTuning<T: Tuned> {
    model: TextModel,
    task: T,
    train: T::Part,
    valid: Option<T::Part>,
    test: Option<T::Part>,
}

/// What a model gives the examples of a part of the data, in their order.
pub(crate) struct Heard {
    /// The rows of logits: one for each text, or for each token that counts, or (spans) for each token.
    pub logits: Vec<f32>,
    /// Logits of a row.
    pub width: usize,
    /// The mean loss of a target.
    pub loss: f64,
}

impl Heard {
    /// Runs the model over batches.
    fn of(
        model: &Headed,
        batches: impl Iterator<Item = TextBatch>,
        pool: &Pool,
        stop: &StopFlag,
    ) -> Result<Self, Error> {
        let (mut logits, mut width, mut loss_sum, mut targets) = (Vec::new(), 1, 0.0, 0);
        for batch in batches {
            if stop.is_stopped() {
                return Err(Error::Stopped);
            }
            let g = &mut Graph::infer(model.params(), pool);
            let found = model.logits(g, &batch);
            loss_sum += loss_of(g, &found, &batch, 0.0, 1.0).nll_sum;
            targets += batch.targets();
            width = found.dims::<2>()[1];
            logits.extend_from_slice(found.values());
        }
        Ok(Self { logits, width, loss: loss_sum / targets.max(1) as f64 })
    }

    /// The rows.
    pub fn rows(&self) -> impl Iterator<Item = &[f32]> {
        self.logits.chunks(self.width)
    }
}

impl<T: Tuned> FineTuning<T> {
    /// What the model gives all examples of a part.
    fn hear(&self, part: &T::Part, pool: &Pool, stop: &StopFlag) -> Result<Heard, Error> {
        let batches = part.examples().in_order(BATCH_TOKENS).map(|(_, batch)| batch);
        Heard::of(&self.model.model, batches, pool, stop)
    }

    /// The parts of the data that there are, each with its name.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &T::Part)> {
        let held_out = [("valid", &self.valid), ("test", &self.test)];
        let held_out = held_out.into_iter().filter_map(|(name, part)| Some((name, part.as_ref()?)));
        std::iter::once(("train", &self.train)).chain(held_out)
    }

    fn dealt(&self, recipe: &Recipe, from: Cursor) -> Result<Dealt<<T::Part as Part>::Example>, Error> {
        let train = &recipe.train;
        let most = (train.max_sentences > 0).then_some(train.max_sentences);
        Ok(self.train.examples().batches(train.batch_tokens, most, recipe.seed, from)?)
    }
}

impl<T: Tuned> Workload for FineTuning<T> {
    type Model = Headed;
    type Cursor = Cursor;

    const TOKENS: &'static str = "Tokens";
    const EXAMPLES: &'static str = T::EXAMPLES;
    const SAMPLE: [&'static str; 2] = T::SAMPLE;

    fn begin(
        recipe: &Recipe,
        options: &TrainOptions,
        resumed: Option<&Checkpoint>,
        run: &Path,
        making: Making,
    ) -> Result<Begun<Self>, Error> {
        if resumed.is_none() && recipe.from.is_none() {
            // What is wrong with the recipe is told before its data are read.
            recipe.clone().settle(&options.written)?;
        }
        let files = |recipe: &Recipe| recipe.data.train.clone().ok_or_else(no_data);
        let training = files(recipe)?;
        let mut task = T::look(recipe, resumed, &training)?;
        let (kind, objective) = (recipe.task.head(), task.objective());
        let head = |trunk: &Arc<dyn Config>| with_head(trunk, kind, task.labels(), objective);
        let lessons = || task.lessons(&training);
        let Beginning { recipe, model, from, mut notes } =
            Beginning::find(recipe, options, resumed, run, making, &head, &lessons)?;
        let read = |files: &FileSettings, is_training: bool| {
            task.read(files, &Reading { recipe: &recipe, model: &model, is_training })
        };
        let part = |files: &Option<FileSettings>| files.as_ref().map(|files| read(files, false)).transpose();
        let train = read(&files(&recipe)?, true)?;
        let (valid, test) = (part(&recipe.data.valid)?, part(&recipe.data.test)?);
        notes.extend(task.learn_from(&train));
        let work = Self { model, task, train, valid, test };
        Ok(Begun { recipe, work, from, notes })
    }

    fn loaded(&self) -> &Loaded<Headed> {
        &self.model
    }

    fn loaded_mut(&mut self) -> &mut Loaded<Headed> {
        &mut self.model
    }

    fn examples(&self) -> usize {
        self.train.examples().all().len()
    }

    fn targets_per_epoch(&self) -> u64 {
        self.task.targets(&self.train)
    }

    fn tokens_per_epoch(&self) -> u64 {
        self.train.examples().all().iter().map(|example| example.tokens() as u64).sum()
    }

    fn weighed_tokens(&self) -> u64 {
        self.tokens_per_epoch()
    }

    fn data_json(&self) -> serde_json::Value {
        self.parts().map(|(name, part)| (name.to_owned(), serde_json::json!(part.report()))).collect()
    }

    fn data_report(&self) -> String {
        let parts = self.parts().map(|(name, part)| format!("data.{name}:\n{}\n", part.report()));
        self.task.preface() + &parts.collect::<String>()
    }

    fn losses(&self) -> Vec<String> {
        let told = |(name, part): (&str, &T::Part)| Some(format!("data.{name}: {}", part.report().losses()?));
        self.parts().filter_map(told).collect()
    }

    fn data_hash(&self) -> Result<u64, Error> {
        Ok(combine(self.train.hash(), self.valid.as_ref().map_or(0, Part::hash)))
    }

    fn epoch(cursor: Cursor) -> u64 {
        cursor.epoch
    }

    fn batches(&self, recipe: &Recipe, from: Cursor) -> Result<Batches<Self>, Error> {
        let most = recipe.train.max_epochs.map_or(u64::MAX, |epochs| epochs as u64);
        let mut place = from;
        let dealt = self.dealt(recipe, from)?;
        Ok(Box::new(dealt.map_while(move |(batch, cursor)| {
            let is_over = place.epoch >= most;
            place = cursor;
            (!is_over).then_some(Ok((batch, cursor)))
        })))
    }

    fn batches_per_epoch(&self, recipe: &Recipe) -> Result<u64, Error> {
        Ok(self.dealt(recipe, Cursor::default())?.per_epoch())
    }

    fn measure(&self, _: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Option<Measured>, Error> {
        let Some(valid) = &self.valid else { return Ok(None) };
        let heard = self.hear(valid, pool, stop)?;
        let scores = self.task.verdict(valid, &heard).scores;
        Ok(Some(Measured { loss: heard.loss, scores }))
    }

    fn judge(&mut self, _: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Judgement, Error> {
        let mut judgement = Judgement::default();
        for (name, part) in self.parts().skip(1) {
            let heard = self.hear(part, pool, stop)?;
            let verdict = self.task.verdict(part, &heard);
            judgement.metrics.insert(format!("{name}_loss"), heard.loss);
            let named = verdict.scores.iter().map(|(metric, value)| (format!("{name}_{metric}"), *value));
            judgement.metrics.extend(named.filter(|(_, value)| value.is_finite()));
            judgement.samples = verdict.mistakes;
            judgement.matrix = verdict.matrix;
        }
        Ok(judgement)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let trunk = &self.model.model.trunk;
        let sizes = trunk.sizes();
        let mut rows = vec![
            ("Vocabulary".into(), sizes.vocab_size.to_string()),
            ("Blocks, width, heads".into(), format!("{}, {}, {}", trunk.layers(), sizes.d_model, trunk.heads())),
        ];
        rows.extend(self.model.model.config.head.has_labels().then(|| {
            let labels = self.task.labels().len();
            ("Labels".into(), labels.to_string())
        }));
        rows
    }
}

fn no_data() -> Error {
    Error::Setting { key: "data.train", problem: "it is missing".into() }
}
