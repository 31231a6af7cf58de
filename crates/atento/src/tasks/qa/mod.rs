//! The task `qa`: the answer to a question, as a stretch of a context (Rajpurkar et al. 2016, 2018; Devlin et al. 2019,
//! §4.2 and §4.3).

mod run;

use std::path::Path;

use super::heads::{self, FineTuning};
use super::{Evaluated, PlaceOf, Stated, Task};
use crate::families::Head;
use crate::pipelines::TextModel;
use crate::train::plan::outlook;
use crate::train::recipe::check::conflict;
use crate::train::recipe::{self, DataSettings, Metric, Recipe};
use crate::train::trainer::run;
use crate::train::{Error, Plan, Reporter, StopFlag, Summary, TrainOptions};

/// The longest window that is usual.
const MAX_LENGTH: usize = 384;
/// Windows overlap by at most this part of the longest one, where nobody says otherwise.
const LEAST_PARTS: usize = 3;

/// `qa`.
pub struct QaTask;

impl Task for QaTask {
    fn name(&self) -> &'static str {
        "qa"
    }

    fn head(&self) -> Head {
        Head::Span
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "data.train",
            "data.valid",
            "data.test",
            "data.max_length",
            "data.stride",
            "data.max_answer_length",
            "data.null_threshold",
            "train.max_sentences",
        ]
    }

    fn forms(&self) -> &'static [&'static str] {
        &["squad"]
    }

    fn is_watched(&self, data: &DataSettings) -> bool {
        heads::is_watched(data)
    }

    fn measures(&self, _: &DataSettings) -> &'static [Metric] {
        &[Metric::ExactMatch, Metric::F1]
    }

    fn set_defaults(&self, recipe: &mut Recipe) {
        heads::set_defaults(recipe, Metric::F1);
        recipe.data.max_length = MAX_LENGTH;
    }

    fn follow(&self, recipe: &mut Recipe, is_stated: Stated<'_>) {
        heads::follow(recipe, is_stated);
        let data = &mut recipe.data;
        if !is_stated("data.stride") {
            data.stride = data.stride.min(data.max_length / LEAST_PARTS);
        }
    }

    fn check(&self, recipe: &Recipe, written: Stated<'_>, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
        heads::check(self, recipe, written, place)?;
        let DataSettings { stride, max_length, .. } = recipe.data;
        if stride >= max_length {
            let message = format!(
                "`data.stride` is {stride}, but windows have at most `data.max_length` {max_length} tokens: they would not move"
            );
            return conflict(place("data.stride"), message);
        }
        Ok(())
    }

    fn train(
        &self,
        recipe: &Recipe,
        options: &TrainOptions,
        stop: &StopFlag,
        reporter: &mut dyn Reporter,
    ) -> Result<Summary, Error> {
        run::<FineTuning<run::Spans>>(recipe, options, stop, reporter)
    }

    fn evaluate(&self, recipe: &Recipe, model: TextModel, stop: &StopFlag) -> Result<Evaluated, Error> {
        heads::evaluate::<run::Spans>(recipe, model, stop)
    }

    fn plan(&self, recipe: &Recipe, options: &TrainOptions, scratch: &Path) -> Result<Plan, Error> {
        outlook::<FineTuning<run::Spans>>(recipe, options, scratch)
    }
}
