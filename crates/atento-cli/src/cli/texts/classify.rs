//! `atento classify MODEL`: labels or values of texts or pairs.

use std::collections::BTreeMap;

use atento::families::Head;
use atento::families::heads::Objective;
use atento::pipelines::TextModel;
use atento::pipelines::texts::classify::Judged;
use serde_json::{Map, Value, json};

use super::{ModelAndTexts, TooLongArgs, load, text_or_pair};
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::options::Options;

/// Give texts labels or values
///
/// A text is a line, or a pair of texts with a tab between them. Prints `label TAB probability`; of a model with any number
/// of labels all that are likelier than not, `label TAB probability TAB label TAB probability`; of one that gives values,
/// those.
///
/// With --json every line gives {"text", "label", "scores", "logits"}: "scores" has the probability of each label. A model
/// with any number of labels gives "labels" in place of "label"; one that gives values "value", or "values" by name where
/// there are several, and no scores. A line that cannot be used gives {"text", "error"}.
#[derive(Debug, clap::Args)]
pub struct ClassifyArgs {
    #[command(flatten)]
    input: ModelAndTexts,

    #[command(flatten)]
    too_long: TooLongArgs,
}

impl ClassifyArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        self.input.locate(locator)
    }
}

/// Runs the verb.
///
/// # Errors
/// The model or a line is wrong; standard output cannot be written.
pub fn run(args: &ClassifyArgs, options: &Options) -> Result<(), Failure> {
    let models = load(&args.input, &[Head::Labels], "classify", options)?;
    let prepare = |model: &TextModel, line: &str| text_or_pair(model, line, args.too_long.what());
    let work = |model: &TextModel, texts: &[&_]| model.classify(texts);
    args.input.each(&models, options, prepare, work, |model, out, text, _, judged| {
        if options.json { out.json(&object(model, text, &judged)) } else { out.line(plain(model, &judged)) }
    })
}

fn object(model: &TextModel, text: &str, judged: &Judged) -> Value {
    let config = &model.model.config;
    let mut object = Map::new();
    let named = |values: &[f32]| -> BTreeMap<&str, f32> {
        config.labels.iter().map(String::as_str).zip(values.iter().copied()).collect()
    };
    object.insert("text".into(), json!(text));
    let labels: Vec<&String> = judged.labels.iter().map(|&label| &config.labels[label]).collect();
    match config.objective {
        Objective::Classification => drop(object.insert("label".into(), json!(labels[0]))),
        Objective::MultiLabel => drop(object.insert("labels".into(), json!(labels))),
        Objective::Regression if judged.logits.len() == 1 => {
            drop(object.insert("value".into(), json!(judged.logits[0])))
        }
        Objective::Regression => drop(object.insert("values".into(), json!(named(&judged.logits)))),
    }
    if let Some(probabilities) = &judged.probabilities {
        object.insert("scores".into(), json!(named(probabilities)));
    }
    object.insert("logits".into(), json!(judged.logits));
    Value::Object(object)
}

fn plain(model: &TextModel, judged: &Judged) -> String {
    let Some(probabilities) = &judged.probabilities else {
        return judged.logits.iter().map(|value| format!("{value:.4}")).collect::<Vec<_>>().join("\t");
    };
    let labels = &model.model.config.labels;
    let one = |&label: &usize| format!("{}\t{:.4}", labels[label], probabilities[label]);
    judged.labels.iter().map(one).collect::<Vec<_>>().join("\t")
}
