//! Tasks of whole texts: `classify` learns labels, `regress` values, of texts or pairs (Devlin et al. 2019, §4.1).

mod run;
mod scores;

use super::PlaceOf;
use super::heads::HeadTask;
use crate::families::Head;
use crate::train::recipe::check::conflict;
use crate::train::recipe::{self, ClassWeights, DataSettings, Metric, Recipe};

/// `classify`.
pub struct ClassifyTask;

/// `regress`.
pub struct RegressTask;

/// The settings of both.
const KEYS: [&str; 8] = [
    "data.train",
    "data.valid",
    "data.test",
    "data.max_length",
    "data.on_truncate",
    "data.on_bad_line",
    "data.drop_duplicates",
    "train.max_sentences",
];

/// The forms that texts with labels may have, and the columns that may be named.
const EXAMPLE: &str = "train = { tsv = \"train.tsv\", text_key = \"text\", label_key = \"label\" }\n\
                       valid = { tsv = \"valid.tsv\", text_key = \"text\", label_key = \"label\" }\n";
const FORMS: [&str; 3] = ["tsv", "csv", "jsonl"];
const COLUMNS: [&str; 3] = ["text_key", "pair_key", "label_key"];

impl HeadTask for ClassifyTask {
    type Work = run::WholeTexts;

    const NAME: &'static str = "classify";
    const ABOUT: &'static str = "A model that gives texts, or pairs of them, labels.";
    const EXAMPLE: &'static str = EXAMPLE;
    const HEAD: Head = Head::Labels;
    const METRIC: Metric = Metric::Accuracy;
    const FORMS: &'static [&'static str] = &FORMS;
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const KEYS: &'static [&'static str] = &[
        KEYS[0],
        KEYS[1],
        KEYS[2],
        KEYS[3],
        KEYS[4],
        KEYS[5],
        KEYS[6],
        KEYS[7],
        "data.multi_label",
        "train.class_weights",
    ];
    const READS_WHOLE_TEXTS: bool = true;

    fn measured(&self, data: &DataSettings) -> &'static [Metric] {
        match data.multi_label {
            true => &[Metric::Accuracy, Metric::F1, Metric::F1Macro],
            false => &[Metric::Accuracy, Metric::F1, Metric::F1Macro, Metric::Matthews],
        }
    }

    fn check_further(&self, recipe: &Recipe, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
        if recipe.data.multi_label && recipe.train.class_weights != ClassWeights::None {
            let message =
                "`train.class_weights` does not go with `data.multi_label`: texts may have any number of labels";
            return conflict(place("train.class_weights"), message);
        }
        Ok(())
    }
}

impl HeadTask for RegressTask {
    type Work = run::WholeTexts;

    const NAME: &'static str = "regress";
    const ABOUT: &'static str = "A model that gives texts, or pairs of them, a value.";
    const EXAMPLE: &'static str = EXAMPLE;
    const HEAD: Head = Head::Labels;
    const METRIC: Metric = Metric::Pearson;
    const FORMS: &'static [&'static str] = &FORMS;
    const COLUMNS: &'static [&'static str] = &COLUMNS;
    const KEYS: &'static [&'static str] = &KEYS;
    const READS_WHOLE_TEXTS: bool = true;

    fn measured(&self, _: &DataSettings) -> &'static [Metric] {
        &[Metric::Pearson, Metric::Spearman]
    }
}
