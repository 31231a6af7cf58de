//! What `classify` and `regress` learn: labels or values of whole texts.

use super::scores::{Scores, Verdicts};
use crate::data::OnBadLine;
use crate::data::labelled::{
    Aim, ColumnNames, Example, Examples, LabelSet, LabelledReport, LabelledSet, ReadOptions, Table,
};
use crate::families::heads::{Headed, Objective};
use crate::tasks::files::{on_bad_line, on_truncate};
use crate::tasks::heads::{
    Heard, Lessons, MISTAKES, Part, Reading, Report, Tuned, Verdict, objective, settle_labels, unheard,
};
use crate::train::Error;
use crate::train::checkpoint::Checkpoint;
use crate::train::probe::{self, Gold};
use crate::train::recipe::{ClassWeights, FileSettings, Recipe};
use crate::train::report::Sample;

/// The labels or values of whole texts.
pub(crate) struct WholeTexts {
    labels: LabelSet,
    /// The columns that were found in the training data.
    columns: Option<String>,
    on_bad_line: OnBadLine,
}

impl Tuned for WholeTexts {
    type Part = LabelledSet;

    const EXAMPLES: &'static str = "texts";
    const SAMPLE: [&'static str; 2] = ["Text", "In the data"];

    fn loss_unit(&self) -> &'static str {
        match self.objective() {
            Objective::Classification => "nats per text",
            Objective::MultiLabel => "nats per label",
            Objective::Regression => "squared error",
        }
    }

    fn look(recipe: &Recipe, resumed: Option<&Checkpoint>, training: &FileSettings) -> Result<Self, Error> {
        let on_bad_line = on_bad_line(recipe);
        let (table, columns) = source(training, on_bad_line);
        let aim = match recipe.task.name() {
            "regress" => Aim::Value,
            _ if recipe.data.multi_label => Aim::ManyLabels,
            _ => Aim::Label,
        };
        let labels = settle_labels(recipe, resumed, aim, || Ok(LabelSet::find(aim, &table, &columns)?))?;
        Ok(Self { labels, columns: table.open(&columns)?.found, on_bad_line })
    }

    fn of_model(recipe: &Recipe, head: &Headed) -> Self {
        let aim = match head.objective {
            Objective::Classification => Aim::Label,
            Objective::MultiLabel => Aim::ManyLabels,
            Objective::Regression => Aim::Value,
        };
        Self { labels: LabelSet::of_model(aim, head.labels.clone()), columns: None, on_bad_line: on_bad_line(recipe) }
    }

    fn labels(&self) -> &[String] {
        &self.labels.names
    }

    fn objective(&self) -> Objective {
        objective(self.labels.aim)
    }

    fn lessons(&self, training: &FileSettings) -> Result<Lessons, Error> {
        let (table, columns) = source(training, self.on_bad_line);
        Ok(Box::new(table.open(&columns)?.map(|row| {
            let row = row?;
            Ok(row.pair.map_or(row.text.clone(), |pair| format!("{}\n{pair}", row.text)))
        })))
    }

    fn read(&self, files: &FileSettings, reading: &Reading<'_>) -> Result<LabelledSet, Error> {
        let (table, columns) = source(files, self.on_bad_line);
        let recipe = reading.recipe;
        let options = ReadOptions {
            max_length: reading.max_length(),
            on_truncate: on_truncate(recipe),
            // What is measured is measured of every text.
            drop_duplicates: recipe.data.drop_duplicates && reading.is_training,
            token_types: reading.token_types(),
        };
        let set = LabelledSet::read(&table, &columns, &self.labels, &reading.model.tokenizer, &options)?;
        Ok(if reading.is_training { weighted(recipe, set) } else { set })
    }

    fn learn_from(&mut self, train: &LabelledSet) -> Vec<String> {
        unheard(&train.report().labels)
    }

    fn targets(&self, train: &LabelledSet) -> u64 {
        let outputs = if self.labels.aim == Aim::ManyLabels { self.labels.names.len() } else { 1 };
        (train.examples().all().len() * outputs) as u64
    }

    fn gold(&self, part: &LabelledSet) -> Option<Gold> {
        Some(probe::gold(part, self.labels.names.len()))
    }

    fn verdict(&self, part: &LabelledSet, heard: &Heard) -> Verdict {
        let examples = part.examples().all();
        let verdicts = Verdicts::of(self.objective(), heard);
        let scores = Scores::of(&verdicts, examples, self.labels.names.len());
        let sample = |&(at, _): &(usize, f64)| {
            let row = part.row(at);
            let source = row.pair.as_ref().map_or(row.text.clone(), |pair| format!("{} ⸱ {pair}", row.text));
            let hypothesis = verdicts.in_words(at, &self.labels);
            Sample { source, reference: row.labels.join(", "), hypothesis }
        };
        let mistakes = verdicts.worst(examples, MISTAKES).iter().map(sample).collect();
        let matrix = scores.matrix(&self.labels.names);
        let labels = self.labels.names.iter().cloned().zip(scores.labels).collect();
        Verdict { scores: scores.measured, mistakes, matrix, labels }
    }

    fn preface(&self) -> String {
        self.columns.iter().map(|columns| format!("columns: {columns}\n")).collect()
    }
}

impl Part for LabelledSet {
    type Example = Example;
    type Report = LabelledReport;

    fn examples(&self) -> &Examples<Example> {
        self.examples()
    }

    fn report(&self) -> &LabelledReport {
        self.report()
    }

    fn hash(&self) -> u64 {
        self.hash()
    }

    fn line(&self) -> Option<String> {
        let row = (!self.examples().all().is_empty()).then(|| self.row(0))?;
        Some(row.pair.as_ref().map_or_else(|| row.text.clone(), |pair| format!("{}\t{pair}", row.text)))
    }
}

impl Report for LabelledReport {
    fn losses(&self) -> Option<String> {
        self.losses()
    }

    fn left_out(&self) -> u64 {
        self.empty + self.too_long
    }
}

/// With factors on the loss of each label: all 1, or such that all labels weigh the same (scikit-learn's `balanced`).
fn weighted(recipe: &Recipe, train: LabelledSet) -> LabelledSet {
    let counts = &train.report().labels;
    let all = train.report().kept as f32;
    let present = counts.iter().filter(|(_, count)| *count > 0).count() as f32;
    let weight = |(_, count): &(String, u64)| all / (present * (*count).max(1) as f32);
    match recipe.train.class_weights {
        ClassWeights::None => train,
        ClassWeights::Balanced => {
            let weights: Vec<f32> = counts.iter().map(weight).collect();
            train.weighted(&weights)
        }
    }
}

/// Where the rows of a part of the data are; a recipe of another form is refused when it is loaded.
fn source(files: &FileSettings, on_bad_line: OnBadLine) -> (Table, ColumnNames) {
    let FileSettings { text_key, pair_key, label_key, .. } = files.clone();
    let columns = ColumnNames { text: text_key, pair: pair_key, label: label_key, on_bad_line };
    let table = match (&files.tsv, &files.csv, &files.jsonl) {
        (_, Some(path), _) => Table::Csv(path.clone()),
        (_, _, Some(path)) => Table::Jsonl(path.clone()),
        (path, _, _) => Table::Tsv(path.clone().unwrap_or_default()),
    };
    (table, columns)
}
