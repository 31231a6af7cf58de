//! `atento score MODEL`: the log-probability of every token of given translations or texts.

use std::path::PathBuf;

use anyhow::anyhow;
use atento::score::causal::{self, TextScore, score_texts};
use atento::score::{self, Score, score_pairs};
use serde_json::{Value, json};

use super::model::{self, Model};
use crate::ui::failure::Failure;
use crate::ui::input::{Chunk, TextArgs};
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::unknown::Unknowns;

/// Score given translations or texts: the log-probability of every token
///
/// For a translator, texts are `source TAB target`. Prints log-probability, perplexity and number of tokens, separated
/// by tabs. With --json every line gives {"ids", "logprobs", "sum_logprob", "perplexity"}: "ids" are the tokens of the
/// text, or of the target with its end token, "logprobs" one natural log-probability for each; a language model cannot
/// tell the first token's, which is null, and a single token has no perplexity.
#[derive(Debug, clap::Args)]
pub struct ScoreArgs {
    /// A model directory or a run directory
    model: PathBuf,

    #[command(flatten)]
    texts: TextArgs,
}

/// Runs the verb.
///
/// # Errors
/// The model or a line is wrong; standard output cannot be written.
pub fn run(args: &ScoreArgs, options: &Options) -> Result<(), Failure> {
    let model = model::load_any(&args.model, options)?;
    let mut texts = args.texts.open(options)?;
    let (mut out, mut unknown) = (Output::open(), Unknowns::default());
    while let Some(chunk) = texts.next_chunk()? {
        let mut unfit = None;
        let lines = scores(&model, &chunk, &chunk.texts).or_else(|found| {
            // A wrong argument costs no work; what comes before a wrong line is not lost.
            let before = if chunk.is_everything() { 0 } else { found.before };
            unfit = Some(found.failure);
            scores(&model, &chunk, &chunk.texts[..before]).map_err(|unfit| unfit.failure)
        })?;
        for (i, text) in chunk.texts.iter().enumerate().take(lines.len()) {
            let mut look = |text| unknown.look(model.tokenizer(), text, || chunk.place(i));
            match &model {
                Model::Translator(_) => text.split('\t').try_for_each(look)?,
                Model::Language(_) => look(text)?,
            }
        }
        for line in lines {
            write(&mut out, &line, options.json)?;
        }
        out.flush()?;
        if let Some(failure) = unfit {
            return Err(failure);
        }
    }
    unknown.tell(options);
    Ok(())
}

/// A text that cannot be scored.
struct Unfit {
    /// Texts before it that can be.
    before: usize,
    failure: Failure,
}

impl Unfit {
    fn new(before: usize, failure: impl Into<Failure>) -> Self {
        Unfit { before, failure: failure.into() }
    }
}

/// One line's numbers.
struct Line {
    ids: Vec<u32>,
    logprobs: Vec<Option<f32>>,
    sum_logprob: f64,
    perplexity: Option<f64>,
}

impl From<Score> for Line {
    fn from(score: Score) -> Self {
        let (sum_logprob, perplexity) = (score.sum_logprob(), Some(score.perplexity()));
        Line { ids: score.ids, logprobs: score.logprobs.into_iter().map(Some).collect(), sum_logprob, perplexity }
    }
}

impl From<TextScore> for Line {
    fn from(score: TextScore) -> Self {
        let (sum_logprob, perplexity) = (score.sum_logprob(), score.perplexity());
        let logprobs = std::iter::once(None).chain(score.logprobs.into_iter().map(Some)).collect();
        Line { ids: score.ids, logprobs, sum_logprob, perplexity }
    }
}

/// Scores texts of a chunk, its first ones.
fn scores(model: &Model, chunk: &Chunk, texts: &[String]) -> Result<Vec<Line>, Unfit> {
    match model {
        Model::Translator(pretrained) => {
            let start_id = model::start_id(pretrained);
            let pairs = pairs(chunk, texts)?;
            match score_pairs(&pretrained.model, &pretrained.tokenizer, &pairs, start_id) {
                Ok(scores) => Ok(scores.into_iter().map(Line::from).collect()),
                Err(error) => {
                    let before = if let score::Error::Pair { line, .. } = error { line - 1 } else { 0 };
                    Err(Unfit::new(before, failure(error, |index| chunk.place(index))))
                }
            }
        }
        Model::Language(language) => match score_texts(&language.model, &language.tokenizer, texts) {
            Ok(scores) => Ok(scores.into_iter().map(Line::from).collect()),
            Err(causal::Error::Unfit { number, fault }) => {
                Err(Unfit::new(number - 1, anyhow!("{}: the text {fault}", chunk.place(number - 1))))
            }
            Err(error) => Err(Unfit::new(0, error)),
        },
    }
}

fn pairs<'t>(chunk: &Chunk, texts: &'t [String]) -> Result<Vec<(&'t str, &'t str)>, Unfit> {
    let split = |(index, text): (usize, &'t String)| match text.split('\t').collect::<Vec<_>>()[..] {
        [source, target] => Ok((source, target)),
        [_] => Err(Unfit::new(index, anyhow!("{}: there is no tab; expected source TAB target", chunk.place(index)))),
        ref parts => {
            let (place, tabs) = (chunk.place(index), parts.len() - 1);
            Err(Unfit::new(index, anyhow!("{place}: there are {tabs} tabs; expected one, source TAB target")))
        }
    };
    texts.iter().enumerate().map(split).collect()
}

fn write(out: &mut Output, line: &Line, json: bool) -> Result<(), Failure> {
    let Line { ids, logprobs, sum_logprob, perplexity } = line;
    if json {
        return out.json(&json!({
            "ids": ids,
            "logprobs": logprobs,
            "sum_logprob": sum_logprob,
            "perplexity": perplexity.map_or(Value::Null, Value::from),
        }));
    }
    let perplexity = perplexity.map_or("-".to_owned(), |perplexity| format!("{perplexity:.4}"));
    out.line(format_args!("{sum_logprob:.4}\t{perplexity}\t{}", ids.len()))
}

/// Names the line as its reader knows it.
pub fn failure(error: score::Error, place: impl Fn(usize) -> String) -> Failure {
    match error {
        score::Error::Pair { line, side, fault } => anyhow!("{}: the {side} {fault}", place(line - 1)).into(),
        error => error.into(),
    }
}
