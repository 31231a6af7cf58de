//! `atento score MODEL`: the log-probability of every token of given translations or texts.

pub mod scored;

use std::path::PathBuf;

use anyhow::{anyhow, bail};
use atento::score::causal::{self, TextScore};
use atento::score::{self, NonFinite, Score};
use atento::text::Tokenizer;
use serde_json::{Value, json};

use self::scored::Scored;
use super::model::{self, AdapterArgs, Model};
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::input::TextArgs;
use crate::ui::lines::{OnErrorArgs, OnTooLong, Tally};
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::unknown::Unknowns;

/// Score given translations or texts: the log-probability of every token
///
/// For a translator, texts are `source TAB target`. Prints log-probability, perplexity and number of tokens, separated by
/// tabs.
///
/// With --json every line gives {"ids", "logprobs", "sum_logprob", "perplexity"}. "ids" are the tokens of the text, or of the
/// target with its end token. "logprobs" has one natural log-probability for each token. A language model does not predict
/// the first token: its log-probability is null, and a text of a single token has no perplexity. A line that cannot be used
/// gives {"text", "error"}.
#[derive(Debug, clap::Args)]
pub struct ScoreArgs {
    /// A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
    model: PathBuf,

    #[command(flatten)]
    adapter: AdapterArgs,

    #[command(flatten)]
    texts: TextArgs,

    /// A text, or a side of a pair, beyond the model's positions: skip the line or cut the end off [default: skip]
    #[arg(long, value_name = "WHAT", default_value = "skip", hide_possible_values = true, hide_default_value = true, value_parser = OnTooLong::without_split())]
    on_too_long: OnTooLong,

    #[command(flatten)]
    on_error: OnErrorArgs,
}

impl ScoreArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        locator.model(&mut self.model)?;
        self.adapter.locate(locator)
    }
}

/// Runs the verb.
///
/// # Errors
/// The model or a line is wrong; standard output cannot be written.
pub fn run(args: &ScoreArgs, options: &Options) -> Result<(), Failure> {
    match model::load_any(&args.model, &args.adapter, options)? {
        Model::Translator(pretrained) => {
            let prepare = |text: &str| {
                let (source, target) = sides(text)?;
                Scored::pair(&pretrained, (source, target), args.on_too_long)
            };
            let start_id = model::start_id(&pretrained);
            score_lines(args, options, &pretrained.tokenizer, prepare, |pairs| {
                score::score_ids(&*pretrained.model, pairs, start_id)
            })
        }
        Model::Language(language) => {
            let prepare = |text: &str| Scored::text(&language, text, args.on_too_long);
            score_lines(args, options, &language.tokenizer, prepare, |texts| causal::score_ids(&*language.model, texts))
        }
    }
}

/// Scores lines, block by block.
fn score_lines<T: Clone + Send, S: Into<Numbers>>(
    args: &ScoreArgs,
    options: &Options,
    tokenizer: &Tokenizer,
    prepare: impl Fn(&str) -> anyhow::Result<Scored<T>> + Sync,
    score: impl Fn(&[T]) -> Vec<S>,
) -> Result<(), Failure> {
    let mut texts = args.texts.open(options)?;
    let (mut out, mut unknown) = (Output::open(), Unknowns::default());
    let mut without = Tally::default();
    let done = args.on_error.each_block(&mut texts, prepare, |lines| {
        unknown.look_at_lines(tokenizer, lines)?;
        let good = lines.iter().filter_map(|line| line.ready.as_ref().ok());
        let mut found = score(&good.map(|one| one.tokens.clone()).collect::<Vec<_>>()).into_iter();
        for line in lines {
            match &line.ready {
                Ok(scored) => {
                    scored.notes.iter().for_each(|note| options.note(format_args!("{}: {note}", line.place)));
                    let numbers: Numbers = found.next().expect("a score for every good line").into();
                    without.all += 1;
                    if numbers.sum_logprob.is_finite() {
                        write(&mut out, &numbers, options.json)?;
                        continue;
                    }
                    let fault = format!("{}: {NonFinite}", line.place);
                    if args.on_error.stops(args.texts.are_arguments()) {
                        out.flush()?;
                        return Err(Failure::Run(anyhow!(fault)));
                    }
                    without.fault(&fault);
                    write_fault(&mut out, line.text.as_deref(), &fault, options.json)?;
                }
                Err(fault) => write_fault(&mut out, line.text.as_deref(), fault, options.json)?,
            }
        }
        out.flush()?;
        Ok(())
    });
    unknown.tell(options);
    done?;
    without.finish("lines")
}

/// One line's numbers.
struct Numbers {
    ids: Vec<u32>,
    logprobs: Vec<Option<f32>>,
    sum_logprob: f64,
    perplexity: Option<f64>,
}

impl From<Score> for Numbers {
    fn from(score: Score) -> Self {
        let (sum_logprob, perplexity) = (score.sum_logprob(), Some(score.perplexity()));
        Numbers { ids: score.ids, logprobs: score.logprobs.into_iter().map(Some).collect(), sum_logprob, perplexity }
    }
}

impl From<TextScore> for Numbers {
    fn from(score: TextScore) -> Self {
        let (sum_logprob, perplexity) = (score.sum_logprob(), score.perplexity());
        let logprobs = std::iter::once(None).chain(score.logprobs.into_iter().map(Some)).collect();
        Numbers { ids: score.ids, logprobs, sum_logprob, perplexity }
    }
}

/// Source and target of a line.
fn sides(text: &str) -> anyhow::Result<(&str, &str)> {
    match text.split('\t').collect::<Vec<_>>()[..] {
        [source, target] => Ok((source, target)),
        [_] => bail!("there is no tab; expected source TAB target"),
        ref parts => bail!("there are {} tabs; expected one, source TAB target", parts.len() - 1),
    }
}

fn write_fault(out: &mut Output, text: Option<&str>, fault: &str, json: bool) -> Result<(), Failure> {
    if json { out.json(&json!({ "text": text, "error": fault })) } else { out.line("") }
}

fn write(out: &mut Output, line: &Numbers, json: bool) -> Result<(), Failure> {
    let Numbers { ids, logprobs, sum_logprob, perplexity } = line;
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
