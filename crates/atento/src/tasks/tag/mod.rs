//! The task `tag`: a label for each word of a sentence, as of named entities (Tjong Kim Sang & De Meulder 2003; Devlin et
//! al. 2019, §5.3).

mod run;

use super::heads::HeadTask;
use crate::families::Head;
use crate::train::recipe::{DataSettings, Metric};

/// `tag`.
pub struct TagTask;

impl HeadTask for TagTask {
    type Work = run::Words;

    const NAME: &'static str = "tag";
    const ABOUT: &'static str = "A model that labels words, such as names of people and places.";
    const EXAMPLE: &'static str = "train = { conll = \"train.conll\" }\nvalid = { conll = \"valid.conll\" }\n";
    const HEAD: Head = Head::Tags;
    const SPLITS: bool = true;
    const METRIC: Metric = Metric::F1;
    const FORMS: &'static [&'static str] = &["conll", "jsonl"];
    const COLUMNS: &'static [&'static str] = &["text_key", "label_key"];
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
        &[Metric::Accuracy, Metric::F1]
    }
}
