//! The task `qa`: the answer to a question, as a stretch of a context (Rajpurkar et al. 2016, 2018; Devlin et al. 2019,
//! §4.2 and §4.3).

mod run;

use super::heads::HeadTask;
use super::{PlaceOf, Stated};
use crate::families::Head;
use crate::train::recipe::check::conflict;
use crate::train::recipe::{self, DataSettings, Metric, Recipe};

/// The longest window that is usual.
const MAX_LENGTH: usize = 384;
/// Windows overlap by at most this part of the longest one, where nobody says otherwise.
const LEAST_PARTS: usize = 3;

/// `qa`.
pub struct QaTask;

impl HeadTask for QaTask {
    type Work = run::Spans;

    const NAME: &'static str = "qa";
    const ABOUT: &'static str = "A model that finds answers to questions in texts.";
    const EXAMPLE: &'static str = "train = { squad = \"train.json\" }\nvalid = { squad = \"valid.json\" }\n";
    const HEAD: Head = Head::Span;
    const SPLITS: bool = true;
    const METRIC: Metric = Metric::F1;
    const FORMS: &'static [&'static str] = &["squad"];
    const KEYS: &'static [&'static str] = &[
        "data.train",
        "data.valid",
        "data.test",
        "data.max_length",
        "data.on_bad_line",
        "data.stride",
        "data.max_answer_length",
        "data.null_threshold",
        "train.max_sentences",
    ];

    fn measured(&self, _: &DataSettings) -> &'static [Metric] {
        &[Metric::ExactMatch, Metric::F1]
    }

    fn set_own_defaults(&self, recipe: &mut Recipe) {
        recipe.data.max_length = MAX_LENGTH;
    }

    fn follow_further(&self, recipe: &mut Recipe, is_stated: Stated<'_>) {
        let data = &mut recipe.data;
        if !is_stated("data.stride") {
            data.stride = data.stride.min(data.max_length / LEAST_PARTS);
        }
    }

    fn check_further(&self, recipe: &Recipe, place: PlaceOf<'_>) -> Result<(), recipe::Error> {
        let DataSettings { stride, max_length, .. } = recipe.data;
        if stride >= max_length {
            let message = format!(
                "`data.stride` is {stride}, but windows have at most `data.max_length` {max_length} tokens: they would not move"
            );
            return conflict(place("data.stride"), message);
        }
        Ok(())
    }
}
