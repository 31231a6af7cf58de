//! The demonstration: the original Transformer learns the built-in corpus, is scored on sentences it has not seen, and
//! translates a few.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::data::demo::FAMOUS;
use crate::pipelines::Pretrained;
use crate::pipelines::translate::translate;
use crate::train::recipe::Override;
use crate::train::{self, Recipe, Reporter, StopFlag, Summary, TrainOptions};

/// The recipe that the demonstration trains; also `recipes/demo.toml` of the repository.
pub const RECIPE: &str = include_str!("../../../recipes/demo.toml");

/// Sentences that are translated at the end, the famous one first.
pub const SENTENCES: [&str; 6] = [
    FAMOUS.0,
    "The old teacher gives the child a new book.",
    "Yesterday the women did not buy any bread.",
    "I know that the dog sleeps in the garden.",
    "Do you want to help my sister?",
    "The small houses are cheaper than this car.",
];

/// A sentence and its translation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Translated {
    /// English.
    pub source: String,
    /// What the model says in German.
    pub translation: String,
}

/// What the demonstration showed.
#[derive(Clone, Debug, Serialize)]
pub struct Demo {
    /// BLEU of the held-out test sentences.
    pub bleu: Option<f64>,
    /// Seconds from the first update to the scores.
    pub seconds: f64,
    /// Tokens of both sides trained on per second.
    pub tokens_per_second: f64,
    /// A few sentences.
    pub translations: Vec<Translated>,
    /// The run.
    pub run: Summary,
}

/// The recipe, resolved for a run directory.
///
/// # Errors
/// An override that is not valid.
pub fn recipe(out: &Path, overrides: &[Override]) -> Result<Recipe, train::Error> {
    let mut recipe = Recipe::parse(RECIPE, "recipes/demo.toml", overrides)?.recipe;
    recipe.out = Some(out.to_path_buf());
    Ok(recipe)
}

/// The first of `runs/demo`, `runs/demo-2`, … that does not exist yet.
#[must_use]
pub fn free_run_directory() -> PathBuf {
    let candidates = (1..).map(|n| if n == 1 { "runs/demo".into() } else { PathBuf::from(format!("runs/demo-{n}")) });
    candidates.into_iter().find(|path| !path.exists()).unwrap_or_default()
}

/// Trains, scores and translates.
///
/// # Errors
/// As [`train::train`].
pub fn run(recipe: &Recipe, stop: &StopFlag, reporter: &mut dyn Reporter) -> Result<Demo, train::Error> {
    let summary = train::train(recipe, &TrainOptions::default(), stop, reporter)?;
    let pretrained = Pretrained::load(summary.run.join("model"))?;
    let options = pretrained.translate_options();
    let translated = translate(&*pretrained.model, &pretrained.tokenizer, &SENTENCES, &options)?;
    let translations = SENTENCES
        .iter()
        .zip(translated)
        .map(|(source, list)| Translated {
            source: (*source).to_owned(),
            translation: list.into_iter().next().map_or_else(String::new, |best| best.text),
        })
        .collect();
    Ok(Demo {
        bleu: summary.metrics.get("test_bleu").copied(),
        seconds: summary.seconds,
        tokens_per_second: summary.tokens_per_second,
        translations,
        run: summary,
    })
}
