//! `atento translate MODEL`: sentences in, translations out, line for line.

pub mod sentences;

use std::path::PathBuf;

use anyhow::bail;
use atento::generate::LengthPenalty;
use atento::pipelines::Pretrained;
use atento::pipelines::translate::{TranslateOptions, Translation};
use serde_json::{Value, json};

use self::sentences::{Sentence, translate_sentences};
use super::model::{self, AdapterArgs, WeightsArgs};
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::input::TextArgs;
use crate::ui::lines::{OnErrorArgs, OnTooLong};
use crate::ui::number::positive;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::unknown::Unknowns;

/// Translate sentences
///
/// An empty line gives an empty line, so that line n of the output always translates line n of the input.
///
/// With --json every line gives {"source", "translations": [{"text", "ids", "score"}]}, best first. "ids" are the tokens
/// without the decoder's start token, with the end token where the translation was not cut off. "score" is the
/// log-probability divided by the length penalty. A sentence that is split has the translations of its parts one behind the
/// other, and the mean of their scores.
#[derive(Debug, clap::Args)]
pub struct TranslateArgs {
    /// A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
    model: PathBuf,

    #[command(flatten)]
    adapter: AdapterArgs,

    #[command(flatten)]
    texts: TextArgs,

    #[command(flatten)]
    search: SearchArgs,

    /// Hypotheses to print for each sentence; without --json always N lines, `score TAB text`, empty ones where there are fewer
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = positive)]
    n_best: usize,

    /// A sentence beyond the model's positions: skip it, cut its end off, or split it [default: skip]
    ///
    /// skip treats it as a line that cannot be used. split translates it in parts, cut after sentences, else after words.
    #[arg(long, value_name = "WHAT", default_value = "skip", hide_possible_values = true, hide_default_value = true)]
    on_too_long: OnTooLong,

    #[command(flatten)]
    on_error: OnErrorArgs,

    #[command(flatten)]
    weights: WeightsArgs,
}

/// How to search; what is left out is as the model's generation_config.json says.
#[derive(Debug, clap::Args)]
pub struct SearchArgs {
    /// Hypotheses kept at each step; 1 is greedy search [default: the model's]
    #[arg(long, value_name = "N", value_parser = positive)]
    beam: Option<usize>,

    /// Divide log-probabilities by length^A; 0 compares sums, 1 means [default: the model's]
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    length_penalty: Option<f64>,

    /// Divide log-probabilities by ((5 + length) / 6)^A instead
    #[arg(long, value_name = "A", allow_negative_numbers = true, conflicts_with = "length_penalty")]
    gnmt_penalty: Option<f64>,

    /// The most tokens of a translation, its end token counted, its start token not [default: the model's]
    #[arg(long, value_name = "N", value_parser = positive)]
    max_len: Option<usize>,

    /// The fewest tokens of a translation before its end token
    #[arg(long, value_name = "N")]
    min_len: Option<usize>,

    /// No sequence of this many tokens occurs twice; 0 allows all
    #[arg(long, value_name = "N")]
    no_repeat_ngram: Option<usize>,

    /// Source tokens searched together; speed and memory depend on it
    #[arg(long, value_name = "N", value_parser = positive)]
    batch_tokens: Option<usize>,
}

impl SearchArgs {
    /// One of these options that was given.
    pub fn given(&self) -> Option<&'static str> {
        let Self { beam, length_penalty, gnmt_penalty, max_len, min_len, no_repeat_ngram, batch_tokens } = self;
        let options = [
            ("--beam", beam.is_some()),
            ("--length-penalty", length_penalty.is_some()),
            ("--gnmt-penalty", gnmt_penalty.is_some()),
            ("--max-len", max_len.is_some()),
            ("--min-len", min_len.is_some()),
            ("--no-repeat-ngram", no_repeat_ngram.is_some()),
            ("--batch-tokens", batch_tokens.is_some()),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// The model's own settings with these in their place.
    ///
    /// # Errors
    /// Lengths that the model does not have, or that exclude each other.
    pub fn options(&self, pretrained: &Pretrained) -> anyhow::Result<TranslateOptions> {
        pretrained.generation.require()?;
        let mut options = pretrained.translate_options();
        let search = &mut options.search;
        set(&mut search.beam, self.beam);
        set(&mut search.min_new_tokens, self.min_len);
        set(&mut search.no_repeat_ngram, self.no_repeat_ngram);
        set(&mut search.length_penalty, self.length_penalty.map(LengthPenalty::HuggingFace));
        set(&mut search.length_penalty, self.gnmt_penalty.map(LengthPenalty::Gnmt));
        set(&mut options.max_new_tokens, self.max_len);
        set(&mut options.batch_tokens, self.batch_tokens);
        self.check_lengths(options.max_new_tokens, pretrained.model.max_positions())?;
        Ok(options)
    }

    fn check_lengths(&self, longest: usize, positions: Option<usize>) -> anyhow::Result<()> {
        if let (Some(max_len), Some(positions)) = (self.max_len, positions)
            && max_len > positions
        {
            bail!("--max-len is {max_len}, but the model has positions for {positions} tokens");
        }
        match self.min_len {
            Some(min_len) if min_len > longest => {
                let whose = if self.max_len.is_some() { "--max-len" } else { "the model's longest" };
                bail!("--min-len is {min_len}, but {whose} is {longest} tokens")
            }
            _ => Ok(()),
        }
    }
}

/// Whether a beam holds as many hypotheses as `option` asks for.
///
/// # Errors
/// It does not.
pub fn check_count(option: &str, count: usize, beam: usize) -> anyhow::Result<()> {
    if count > beam {
        bail!("{option} is {count}, but the beam holds {beam}: raise --beam");
    }
    Ok(())
}

fn set<T>(value: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *value = given;
    }
}

impl TranslateArgs {
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
/// The model, a text or a setting is wrong; the search fails; standard output cannot be written.
pub fn run(args: &TranslateArgs, options: &Options) -> Result<(), Failure> {
    let pretrained = model::load(&args.model, &args.adapter, &args.weights, options)?;
    let mut how = args.search.options(&pretrained)?;
    check_count("--n-best", args.n_best, how.search.beam)?;
    how.search.n_best = args.n_best;
    let mut texts = args.texts.open(options)?;
    let (mut out, mut unknown) = (Output::open(), Unknowns::default());
    let mut empty = 0;
    let prepare = |text: &str| Sentence::prepare(&pretrained, text, args.on_too_long);
    let done = args.on_error.each_block(&mut texts, prepare, |lines| {
        unknown.look_at_lines(&pretrained.tokenizer, lines)?;
        let sentences: Vec<&Sentence> = lines.iter().filter_map(|line| line.ready.as_ref().ok()).collect();
        let mut found = translate_sentences(&pretrained, &sentences, &how)?.into_iter();
        empty += sentences.iter().filter(|sentence| sentence.parts.is_empty()).count();
        for line in lines {
            if let Ok(Sentence { note: Some(note), .. }) = &line.ready {
                options.note(format_args!("{}: {note}", line.place));
            }
            let list = line.ready.as_ref().map(|_| found.next().unwrap_or_default());
            write(&mut out, line.text.as_deref(), list, args.n_best, options.json)?;
        }
        out.flush()?;
        Ok(())
    });
    unknown.tell(options);
    done?;
    if empty > 0 {
        options.note(format_args!("{empty} empty lines have empty translations"));
    }
    Ok(())
}

/// Writes a line's translations, or its fault. Without `json` there are always `n_best` lines, so that they can be counted.
fn write(
    out: &mut Output,
    source: Option<&str>,
    list: Result<Vec<Translation>, &String>,
    n_best: usize,
    json: bool,
) -> Result<(), Failure> {
    if json {
        return out.json(&match list {
            Ok(list) => json!({ "source": source, "translations": list.iter().map(object).collect::<Vec<_>>() }),
            Err(fault) => json!({ "source": source, "error": fault }),
        });
    }
    let list = list.unwrap_or_default();
    for rank in 0..n_best {
        match list.get(rank) {
            Some(one) if n_best > 1 => {
                out.line(format_args!("{:.4}\t{}", one.hypothesis.score, one_line(&one.text)))?;
            }
            Some(one) => out.line(one_line(&one.text))?,
            None => out.line("")?,
        }
    }
    Ok(())
}

fn object(translation: &Translation) -> Value {
    let Translation { text, hypothesis } = translation;
    json!({ "text": text, "ids": hypothesis.ids, "score": hypothesis.score })
}

/// A translation on one line: a byte-level vocabulary can produce line ends.
pub fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
