//! A run that learns labels or values of whole texts.

use std::path::Path;
use std::sync::Arc;

use atento_tensor::Pool;

use super::begin::{Beginning, Lessons, with_head};
use super::scores::{Heard, Scores};
use crate::data::hash::combine;
use crate::data::labelled::{Aim, Batches as Dealt, ColumnNames, LabelSet, LabelledSet, ReadOptions, Table};
use crate::data::tokens::Cursor;
use crate::families::Config;
use crate::families::Head;
use crate::families::heads::Objective;
use crate::hub::ModelDir;
use crate::models::Headed;
use crate::pipelines::{LoadError, Loaded, TextModel};
use crate::tasks::files::on_truncate;
use crate::train::TrainOptions;
use crate::train::checkpoint::Checkpoint;
use crate::train::recipe::{ClassWeights, FileSettings, Recipe};
use crate::train::report::Sample;
use crate::train::workload::{Batches, Begun, Judgement, Making, Measured, Workload};
use crate::train::{Error, StopFlag};

/// Tokens of one validation batch.
const BATCH_TOKENS: usize = 4096;
/// Mistakes shown in the report.
const MISTAKES: usize = 20;

/// A model with labels or values, and its texts.
pub(crate) struct WholeTexts {
    model: TextModel,
    labels: LabelSet,
    train: LabelledSet,
    valid: Option<LabelledSet>,
    test: Option<LabelledSet>,
    /// Factors on the loss, by label.
    weights: Arc<[f32]>,
    columns: Vec<String>,
}

impl WholeTexts {
    /// What the model says of all texts of a set.
    fn hear(&self, set: &LabelledSet, pool: &Pool, stop: &StopFlag) -> Result<Heard, Error> {
        Heard::of(&self.model.model, set.in_order(BATCH_TOKENS), pool, stop)
    }

    fn scores(&self, set: &LabelledSet, pool: &Pool, stop: &StopFlag) -> Result<(Heard, Scores), Error> {
        let heard = self.hear(set, pool, stop)?;
        let scores = Scores::of(&heard, set.examples(), self.labels.names.len());
        Ok((heard, scores))
    }

    /// The parts of the data that there are, each with its name.
    fn parts(&self) -> impl Iterator<Item = (&'static str, &LabelledSet)> {
        let held_out = [("valid", &self.valid), ("test", &self.test)];
        let held_out = held_out.into_iter().filter_map(|(name, set)| Some((name, set.as_ref()?)));
        std::iter::once(("train", &self.train)).chain(held_out)
    }

    fn dealt(&self, recipe: &Recipe, from: Cursor) -> Result<Dealt, Error> {
        let train = &recipe.train;
        let most = (train.max_sentences > 0).then_some(train.max_sentences);
        Ok(self.train.batches(train.batch_tokens, most, recipe.seed, Arc::clone(&self.weights), from)?)
    }
}

impl Workload for WholeTexts {
    type Model = Headed;
    type Cursor = Cursor;

    const TOKENS: &'static str = "Tokens";
    const EXAMPLES: &'static str = "texts";
    const SAMPLE: [&'static str; 2] = ["Text", "In the data"];

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
        let (table, columns) = source(recipe.data.train.as_ref().ok_or_else(no_data)?);
        let labels = labels(recipe, resumed, &table, &columns)?;
        let objective = objective(labels.aim);
        let head = |trunk: &Arc<dyn Config>| with_head(trunk, Head::Labels, &labels.names, objective);
        let lessons = || -> Result<Lessons, Error> {
            let rows = table.open(&columns)?;
            Ok(Box::new(rows.map(|row| {
                let row = row?;
                Ok(row.pair.map_or(row.text.clone(), |pair| format!("{}\n{pair}", row.text)))
            })))
        };
        let Beginning { recipe, model, from, mut notes } =
            Beginning::find(recipe, options, resumed, run, making, &head, &lessons)?;
        let longest = model.longest().unwrap_or(usize::MAX);
        let read_options = ReadOptions {
            max_length: recipe.data.max_length.min(longest),
            on_truncate: on_truncate(&recipe),
            drop_duplicates: recipe.data.drop_duplicates,
            token_types: model.model.trunk.token_types(),
        };
        // What is measured is measured of every text.
        let held_out = ReadOptions { drop_duplicates: false, ..read_options.clone() };
        let read = |files: &FileSettings, options: &ReadOptions| {
            let (table, columns) = source(files);
            LabelledSet::read(&table, &columns, &labels, &model.tokenizer, options)
        };
        let part = |files: &Option<FileSettings>| files.as_ref().map(|files| read(files, &held_out)).transpose();
        let train = read(recipe.data.train.as_ref().ok_or_else(no_data)?, &read_options)?;
        let (valid, test) = (part(&recipe.data.valid)?, part(&recipe.data.test)?);
        let found = recipe.data.train.iter().filter_map(|files| {
            let (table, columns) = source(files);
            table.open(&columns).ok()?.found
        });
        let columns: Vec<String> = found.collect();
        let weights = weights(&recipe, &train);
        notes.extend(unheard(&train));
        let work = Self { model, labels, train, valid, test, weights, columns };
        Ok(Begun { recipe, work, from, notes })
    }

    fn loaded(&self) -> &Loaded<Headed> {
        &self.model
    }

    fn loaded_mut(&mut self) -> &mut Loaded<Headed> {
        &mut self.model
    }

    fn examples(&self) -> usize {
        self.train.examples().len()
    }

    fn targets_per_epoch(&self) -> u64 {
        let outputs = if self.labels.aim == Aim::ManyLabels { self.labels.names.len() } else { 1 };
        (self.train.examples().len() * outputs) as u64
    }

    fn tokens_per_epoch(&self) -> u64 {
        self.train.report().tokens
    }

    fn weighed_tokens(&self) -> u64 {
        self.tokens_per_epoch()
    }

    fn data_json(&self) -> serde_json::Value {
        self.parts().map(|(name, set)| (name.to_owned(), serde_json::json!(set.report()))).collect()
    }

    fn data_report(&self) -> String {
        let columns: String = self.columns.iter().map(|columns| format!("columns: {columns}\n")).collect();
        columns + &self.parts().map(|(name, set)| format!("data.{name}:\n{}\n", set.report())).collect::<String>()
    }

    fn losses(&self) -> Vec<String> {
        let told = |(name, set): (&str, &LabelledSet)| Some(format!("data.{name}: {}", set.report().losses()?));
        self.parts().filter_map(told).collect()
    }

    fn data_hash(&self) -> Result<u64, Error> {
        Ok(combine(self.train.hash(), self.valid.as_ref().map_or(0, LabelledSet::hash)))
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
        let (heard, scores) = self.scores(valid, pool, stop)?;
        Ok(Some(Measured { loss: heard.loss(), scores: scores.measured }))
    }

    fn judge(&mut self, _: &Recipe, pool: &Pool, stop: &StopFlag) -> Result<Judgement, Error> {
        let mut judgement = Judgement::default();
        for (name, set) in self.parts().skip(1) {
            let (heard, scores) = self.scores(set, pool, stop)?;
            judgement.metrics.insert(format!("{name}_loss"), heard.loss());
            let named = scores.measured.iter().map(|(metric, value)| (format!("{name}_{metric}"), *value));
            judgement.metrics.extend(named.filter(|(_, value)| value.is_finite()));
            judgement.samples = self.mistakes(set, &heard);
            judgement.matrix = scores.matrix(&self.labels.names);
        }
        Ok(judgement)
    }

    fn describe(&self) -> Vec<(String, String)> {
        let trunk = &self.model.model.trunk;
        let (sizes, labels) = (trunk.sizes(), self.labels.names.len());
        vec![
            ("Vocabulary".into(), sizes.vocab_size.to_string()),
            ("Blocks, width, heads".into(), format!("{}, {}, {}", trunk.layers(), sizes.d_model, trunk.heads())),
            ("Labels".into(), labels.to_string()),
        ]
    }
}

impl WholeTexts {
    /// The texts of a set that the model is most wrong about, the worst first.
    fn mistakes(&self, set: &LabelledSet, heard: &Heard) -> Vec<Sample> {
        let sample = |&(at, _): &(usize, f64)| {
            let row = set.row(at);
            let source = row.pair.as_ref().map_or(row.text.clone(), |pair| format!("{} ⸱ {pair}", row.text));
            let hypothesis = heard.in_words(at, &self.labels);
            Sample { source, reference: row.labels.join(", "), hypothesis }
        };
        heard.worst(set.examples(), MISTAKES).iter().map(sample).collect()
    }
}

/// The labels of the run that goes on, of the model to start from where it has those of the data, or of the data.
fn labels(
    recipe: &Recipe,
    resumed: Option<&Checkpoint>,
    table: &Table,
    columns: &ColumnNames,
) -> Result<LabelSet, Error> {
    let aim = match recipe.task.name() {
        "regress" => Aim::Value,
        _ if recipe.data.multi_label => Aim::ManyLabels,
        _ => Aim::Label,
    };
    if let Some(checkpoint) = resumed
        && let Some(headed) = checkpoint.state.identity.model.headed()
    {
        return Ok(LabelSet::of_model(aim, headed.labels.clone()));
    }
    let of_data = LabelSet::find(aim, table, columns)?;
    let Some(path) = &recipe.from else { return Ok(of_data) };
    let dir = ModelDir::open(path).map_err(LoadError::from)?;
    let config = dir.model_config().map_err(LoadError::from)?;
    let of_model = config.headed().filter(|headed| headed.head == Head::Labels && headed.objective == objective(aim));
    // A model that knows these labels keeps its outputs; names that nobody has given are no labels.
    let is_named = |names: &[String]| names.iter().enumerate().any(|(at, name)| *name != format!("LABEL_{at}"));
    match of_model {
        Some(headed) if aim == Aim::Value && headed.labels.len() == 1 => {
            Ok(LabelSet::of_model(aim, headed.labels.clone()))
        }
        Some(headed) if of_data.names.iter().all(|name| headed.labels.contains(name)) => {
            Ok(LabelSet::of_model(aim, headed.labels.clone()))
        }
        Some(headed)
            if of_data.names.iter().all(|name| name.parse::<usize>().is_ok_and(|at| at < headed.labels.len())) =>
        {
            Ok(LabelSet::of_model(aim, headed.labels.clone()))
        }
        Some(headed) if is_named(&headed.labels) && headed.labels.iter().any(|label| of_data.names.contains(label)) => {
            let problem = format!(
                "the labels of the data ({}) and those of the model ({}) contradict each other: rename those of the data, or \
                 start from a model without labels",
                of_data.names.join(", "),
                headed.labels.join(", ")
            );
            Err(Error::Setting { key: "from", problem })
        }
        _ => Ok(of_data),
    }
}

fn objective(aim: Aim) -> Objective {
    match aim {
        Aim::Label => Objective::Classification,
        Aim::ManyLabels => Objective::MultiLabel,
        Aim::Value => Objective::Regression,
    }
}

/// Factors on the loss of each label: all 1, or such that all labels weigh the same (scikit-learn's `balanced`).
fn weights(recipe: &Recipe, train: &LabelledSet) -> Arc<[f32]> {
    let counts = &train.report().labels;
    let all = train.report().kept as f32;
    let present = counts.iter().filter(|(_, count)| *count > 0).count() as f32;
    let weight = |count: u64| match recipe.train.class_weights {
        ClassWeights::None => 1.0,
        ClassWeights::Balanced if count == 0 => 1.0,
        ClassWeights::Balanced => all / (present * count as f32),
    };
    counts.iter().map(|(_, count)| weight(*count)).collect()
}

/// That a label of the model never occurs in the training data, if one does not.
fn unheard(train: &LabelledSet) -> Option<String> {
    let never: Vec<String> =
        train.report().labels.iter().filter(|(_, count)| *count == 0).map(|(label, _)| format!("{label:?}")).collect();
    (!never.is_empty()).then(|| format!("labels that the training data never has: {}", never.join(", ")))
}

/// Where the rows of a part of the data are; a recipe of another form is refused when it is loaded.
fn source(files: &FileSettings) -> (Table, ColumnNames) {
    let columns =
        ColumnNames { text: files.text_key.clone(), pair: files.pair_key.clone(), label: files.label_key.clone() };
    let table = match (&files.tsv, &files.csv, &files.jsonl) {
        (_, Some(path), _) => Table::Csv(path.clone()),
        (_, _, Some(path)) => Table::Jsonl(path.clone()),
        (path, _, _) => Table::Tsv(path.clone().unwrap_or_default()),
    };
    (table, columns)
}

fn no_data() -> Error {
    Error::Setting { key: "data.train", problem: "it is missing".into() }
}
