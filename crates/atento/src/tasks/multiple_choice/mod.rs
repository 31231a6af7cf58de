//! The task `multiple-choice`: which of several texts goes with a prompt (Zellers et al. 2018; Devlin et al. 2019, §4.4).

mod run;

use super::heads::HeadTask;
use crate::families::Head;
use crate::train::recipe::{DataSettings, Metric, Recipe};

/// Questions in a batch; each is several texts.
const BATCH: usize = 16;

/// `multiple-choice`.
pub struct MultipleChoiceTask;

impl HeadTask for MultipleChoiceTask {
    type Work = run::Choices;

    const NAME: &'static str = "multiple-choice";
    const ABOUT: &'static str = "A model that chooses one of several texts.";
    const EXAMPLE: &'static str = "train = { jsonl = \"train.jsonl\" }\nvalid = { jsonl = \"valid.jsonl\" }\n";
    const HEAD: Head = Head::Choice;
    const METRIC: Metric = Metric::Accuracy;
    const FORMS: &'static [&'static str] = &["tsv", "jsonl"];
    const COLUMNS: &'static [&'static str] = &["prompt_key", "label_key"];
    const KEYS: &'static [&'static str] = &[
        "data.train",
        "data.valid",
        "data.test",
        "data.max_length",
        "data.on_truncate",
        "data.on_bad_line",
        "train.max_sentences",
    ];

    fn measured(&self, _: &DataSettings) -> &'static [Metric] {
        &[Metric::Accuracy]
    }

    fn set_own_defaults(&self, recipe: &mut Recipe) {
        recipe.train.max_sentences = BATCH;
    }
}
