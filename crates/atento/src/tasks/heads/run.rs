//! A run that puts a head on a Transformer and learns from examples in memory.

use std::path::Path;
use std::sync::Arc;

use atento_tensor::{Graph, Pool};

use super::begin::{Beginning, with_head};
use super::features::Features;
use super::{Part, Reading, Report, Tuned, require_forms};
use crate::data::hash::combine;
use crate::data::labelled::{Batches as Dealt, Packs, TextBatch};
use crate::data::tokens::Cursor;
use crate::families::Config;
use crate::families::heads::{POOLED_OUTPUT, Reads, pooling_word};
use crate::hub::ModelDir;
use crate::models::Headed;
use crate::pipelines::{LoadError, Loaded, TextModel};
use crate::tasks::Evaluated;
use crate::train::TrainOptions;
use crate::train::adapt::{positions_left, takes_positions};
use crate::train::checkpoint::Checkpoint;
use crate::train::probe::{Gold, Layer};
use crate::train::recipe::{FileSettings, Recipe, TextPooling};
use crate::train::step::{TrainBatch, Trainable, loss_of};
use crate::train::workload::{Batches, Begun, Judgement, Making, Measured, Store, Workload};
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

    fn loss_unit(&self) -> &'static str {
        self.task.loss_unit()
    }

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
        require_forms(recipe)?;
        let mut task = T::look(recipe, resumed, &training)?;
        let (kind, objective) = (recipe.task.head(), task.objective());
        // A run that goes on has its pooling, whatever became of the model it started from.
        let pooling = if resumed.is_none() { pooling(recipe)? } else { None };
        let head = |trunk: &Arc<dyn Config>| {
            let found = with_head(trunk, kind, task.labels(), objective)?;
            Ok(match pooling {
                Some(reads) => found.pooled(reads),
                None => found,
            })
        };
        let lessons = || task.lessons(&training);
        let Beginning { recipe, model, from, mut notes } =
            Beginning::find(recipe, options, resumed, run, making, &head, &lessons)?;
        if let Some(positions) = model.longest().filter(|_| takes_positions(&recipe, &model.model.config)) {
            positions_left(&recipe, positions)?;
        }
        let read = |files: &FileSettings, is_training: bool| {
            task.read(files, &Reading { recipe: &recipe, model: &model, is_training })
        };
        let part = |files: &Option<FileSettings>| files.as_ref().map(|files| read(files, false)).transpose();
        let train = read(&files(&recipe)?, true)?;
        let (valid, test) = (part(&recipe.data.valid)?, part(&recipe.data.test)?);
        notes.extend(task.learn_from(&train));
        let work = Self { model, task, train, valid, test };
        Ok(Begun { recipe, work, from, notes, computed: Vec::new() })
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

    fn solve(&mut self, store: &Store, pool: &Pool, stop: &StopFlag) -> Result<Vec<String>, Error> {
        let mut notes = Vec::new();
        let mut features = |part: &T::Part| -> Result<Option<(Features, Gold)>, Error> {
            let Some(gold) = self.task.gold(part) else { return Ok(None) };
            let (model, examples) = (&self.model.model, part.examples());
            let pooling = model.config.pooling.map_or("head", pooling_word);
            let key = format!("{}-{:016x}-{pooling}", store.base, part.hash());
            let batches = examples.in_order(BATCH_TOKENS).map(|(_, batch)| batch);
            let found = Features::of(model, batches, examples.all().len(), (&store.dir, &key), pool, stop)?;
            notes.extend(found.were_kept.then(|| format!("features of {key} were found in {}", store.dir.display())));
            Ok(Some((found, gold)))
        };
        let (train, valid) = (features(&self.train)?, self.valid.as_ref().map(&mut features).transpose()?.flatten());
        let Some((train, gold)) = train else {
            return Err(Error::Setting { key: "train.method", problem: "\"features\" is not for this task".into() });
        };
        let valid = valid.as_ref().map(|(found, gold)| ((&found.values[..], found.width), gold));
        let is_watched = valid.is_some();
        let Layer { weight, bias, strengths } = Layer::fit(((&train.values, train.width), &gold), valid)?;
        let chosen = strengths.iter().map(|strength| format!("{strength:.2e}")).collect::<Vec<_>>().join(", ");
        let how = if is_watched { "chosen on data.valid" } else { "there is no data.valid to choose it on" };
        notes.push(format!(
            "the output is solved on {} features; its inverse regularisation is {chosen}: {how}",
            train.width
        ));
        let params = self.model.model.params_mut();
        for (name, values) in [("weight", weight), ("bias", bias)] {
            let name = format!("{POOLED_OUTPUT}.{name}");
            let weight = params.entry(&name).map(|entry| entry.weight).expect("an output that stands on a pooling");
            params.get_mut(weight).copy_from_slice(&values);
        }
        Ok(notes)
    }

    fn measure(&self, _: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Option<Measured>, Error> {
        let Some(valid) = &self.valid else { return Ok(None) };
        let heard = self.hear(valid, pool, stop)?;
        let scores = self.task.verdict(valid, &heard).scores;
        Ok(Some(Measured { loss: heard.loss, scores }))
    }

    fn judge(&mut self, _: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Judgement, Error> {
        let example = self.parts().last().and_then(|(_, part)| part.line());
        let mut judgement = Judgement { example, ..Judgement::default() };
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

/// Measures a model on `data.test`.
///
/// # Errors
/// Data that cannot be read; `stop` was raised.
pub(crate) fn evaluate<T: Tuned>(recipe: &Recipe, model: TextModel, stop: &StopFlag) -> Result<Evaluated, Error> {
    let files = recipe.data.test.as_ref().ok_or_else(no_data)?;
    let mut task = T::of_model(recipe, &model.model.config);
    let part = task.read(files, &Reading { recipe, model: &model, is_training: false })?;
    // Whether a question may have no answer shows in the data.
    task.learn_from(&part);
    let batches = part.examples().in_order(BATCH_TOKENS).map(|(_, batch)| batch);
    let heard = Heard::of(&model.model, batches, &Pool::new(), stop)?;
    if heard.logits.iter().any(|logit| !logit.is_finite()) {
        return Err(crate::pipelines::texts::Error::NonFinite.into());
    }
    let verdict = task.verdict(&part, &heard);
    Ok(Evaluated {
        loss: heard.loss,
        scores: verdict.scores,
        examples: (task.examples(&part), T::EXAMPLES),
        matrix: verdict.matrix,
        labels: verdict.labels,
        mistakes: verdict.mistakes,
        left_out: part.report().left_out(),
        losses: part.report().losses(),
    })
}

/// What the output of whole texts reads, if not what the family has for it: what the recipe says, else what the model to start
/// from has; of features, the mean.
fn pooling(recipe: &Recipe) -> Result<Option<Reads>, Error> {
    let of_recipe = recipe.train.pooling.map(|pooling| match pooling {
        TextPooling::Cls => Reads::First,
        TextPooling::Mean => Reads::Mean,
        TextPooling::Last => Reads::Last,
    });
    let is_solved = recipe.train.solves();
    let Some(path) = &recipe.from else {
        if is_solved {
            let key = if recipe.train.solve_output { "train.solve_output" } else { "train.method" };
            let problem = "features need a model that gives them: name one with --from".into();
            return Err(Error::Setting { key, problem });
        }
        return Ok(of_recipe);
    };
    let of_model = || -> Result<Option<Reads>, Error> {
        let dir = ModelDir::open(path).map_err(LoadError::from)?;
        let config = dir.model_config().map_err(LoadError::from)?;
        Ok(config.headed().filter(|headed| headed.head == recipe.task.head()).and_then(|headed| headed.pooling))
    };
    let found = if of_recipe.is_some() { of_recipe } else { of_model()? };
    Ok(found.or(is_solved.then_some(Reads::Mean)))
}

fn no_data() -> Error {
    Error::Setting { key: "data.train", problem: "it is missing".into() }
}
