//! `atento score MODEL`: the log-probability of every token of given translations or texts.

use std::path::PathBuf;

use anyhow::bail;
use atento::score::causal::{self, TextScore, score_texts};
use atento::score::{self, Score, score_pairs};
use serde_json::{Value, json};

use super::model::{self, Model};
use crate::ui::failure::Failure;
use crate::ui::input::{Chunk, TextArgs};
use crate::ui::options::Options;
use crate::ui::output::Output;

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
    let mut out = Output::open();
    while let Some(chunk) = texts.next_chunk()? {
        for score in scores(&model, &chunk)? {
            write(&mut out, &score, options.json)?;
        }
        out.flush()?;
    }
    Ok(())
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

fn scores(model: &Model, chunk: &Chunk) -> Result<Vec<Line>, Failure> {
    match model {
        Model::Translator(pretrained) => {
            let start_id = model::start_id(pretrained);
            let scores = score_pairs(&pretrained.model, &pretrained.tokenizer, &pairs(chunk)?, start_id)
                .map_err(|error| failure(error, |index| chunk.place(index)))?;
            Ok(scores.into_iter().map(Line::from).collect())
        }
        Model::Language(language) => match score_texts(&language.model, &language.tokenizer, &chunk.texts) {
            Ok(scores) => Ok(scores.into_iter().map(Line::from).collect()),
            Err(causal::Error::Unfit { number, fault }) => {
                Err(anyhow::anyhow!("{}: the text {fault}", chunk.place(number - 1)).into())
            }
            Err(error) => Err(error.into()),
        },
    }
}

fn pairs(chunk: &Chunk) -> anyhow::Result<Vec<(&str, &str)>> {
    let split = |(index, text): (usize, &String)| -> anyhow::Result<(usize, usize)> {
        match text.match_indices('\t').map(|(at, _)| at).collect::<Vec<_>>()[..] {
            [tab] => Ok((index, tab)),
            [] => bail!("{}: there is no tab; expected source TAB target", chunk.place(index)),
            ref tabs => bail!("{}: there are {} tabs; expected one, source TAB target", chunk.place(index), tabs.len()),
        }
    };
    let sides = |(index, tab): (usize, usize)| (&chunk.texts[index][..tab], &chunk.texts[index][tab + 1..]);
    chunk.texts.iter().enumerate().map(|line| split(line).map(sides)).collect()
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
        score::Error::Pair { line, side, fault } => anyhow::anyhow!("{}: the {side} {fault}", place(line - 1)).into(),
        error => error.into(),
    }
}
