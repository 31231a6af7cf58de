//! `atento score MODEL`: the log-probability of every token of given translations.

use std::path::PathBuf;

use anyhow::bail;
use atento::score::{self, Score, score_pairs};
use serde_json::json;

use super::model;
use crate::ui::failure::Failure;
use crate::ui::input::{Chunk, TextArgs};
use crate::ui::options::Options;
use crate::ui::output::Output;

/// Score given translations: the log-probability of every token
///
/// Texts are `source TAB target`. Prints log-probability, perplexity and number of tokens, separated by tabs. With
/// --json every line gives {"ids", "logprobs", "sum_logprob", "perplexity"}: "ids" are the target's tokens with its
/// end token, "logprobs" one natural log-probability for each.
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
    let pretrained = model::load(&args.model, options)?;
    let start_id = model::start_id(&pretrained);
    let mut texts = args.texts.open(options)?;
    let mut out = Output::open();
    while let Some(chunk) = texts.next_chunk()? {
        let pairs = pairs(&chunk)?;
        let scores = score_pairs(&pretrained.model, &pretrained.tokenizer, &pairs, start_id)
            .map_err(|error| failure(error, |index| chunk.place(index)))?;
        scores.iter().try_for_each(|score| write(&mut out, score, options.json))?;
        out.flush()?;
    }
    Ok(())
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

fn write(out: &mut Output, score: &Score, json: bool) -> Result<(), Failure> {
    let (sum, perplexity) = (score.sum_logprob(), score.perplexity());
    if json {
        return out.json(&json!({
            "ids": score.ids,
            "logprobs": score.logprobs,
            "sum_logprob": sum,
            "perplexity": perplexity,
        }));
    }
    out.line(format_args!("{sum:.4}\t{perplexity:.4}\t{}", score.ids.len()))
}

/// Names the line as its reader knows it.
pub fn failure(error: score::Error, place: impl Fn(usize) -> String) -> Failure {
    match error {
        score::Error::Pair { line, side, fault } => anyhow::anyhow!("{}: the {side} {fault}", place(line - 1)).into(),
        error => error.into(),
    }
}
