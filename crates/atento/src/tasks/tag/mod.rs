//! The task `tag`: a label for each word of a sentence, as of named entities (Tjong Kim Sang & De Meulder 2003; Devlin et
//! al. 2019, §5.3).

mod run;

use std::path::Path;

use super::heads::{self, FineTuning};
use super::{Evaluated, PlaceOf, Stated, Task};
use crate::families::Head;
use crate::pipelines::TextModel;
use crate::train::plan::outlook;
use crate::train::recipe::{self, DataSettings, Metric, Recipe};
use crate::train::trainer::run;
use crate::train::{Error, Plan, Reporter, StopFlag, Summary, TrainOptions};

/// `tag`.
pub struct TagTask;

impl Task for TagTask {
    fn name(&self) -> &'static str {
        "tag"
    }

    fn head(&self) -> Head {
        Head::Tags
    }

    fn keys(&self) -> &'static [&'static str] {
        &["data.train", "data.valid", "data.test", "data.max_length", "data.on_truncate", "train.max_sentences"]
    }

    fn forms(&self) -> &'static [&'static str] {
        &["conll", "jsonl"]
    }

    fn columns(&self) -> &'static [&'static str] {
        &["text_key", "label_key"]
    }

    fn is_watched(&self, data: &DataSettings) -> bool {
        heads::is_watched(data)
    }

    fn measures(&self, _: &DataSettings) -> &'static [Metric] {
        &[Metric::Accuracy, Metric::F1]
    }

    fn set_defaults(&self, recipe: &mut Recipe) {
        heads::set_defaults(recipe, Metric::F1);
    }

    fn follow(&self, recipe: &mut Recipe, is_stated: Stated<'_>) {
        heads::follow(recipe, is_stated);
    }

    fn check(&self, recipe: &Recipe, written: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
        heads::check(self, recipe, written, place)
    }

    fn train(
        &self,
        recipe: &Recipe,
        options: &TrainOptions,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<Summary, Error> {
        run::<FineTuning<run::Words>>(recipe, options, stop, reporter)
    }

    fn evaluate(&self, recipe: &Recipe, model: TextModel, stop: &StopFlag) -> Result<Evaluated, Error> {
        heads::evaluate::<run::Words>(recipe, model, stop)
    }

    fn plan(&self, recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
        outlook::<FineTuning<run::Words>>(recipe, options, scratch)
    }
}
