//! `atento eval MODEL`: how well a translator does on pairs of sentences, or a language model on text.

mod completions;
mod language;
mod pairs;
mod translation;

use std::path::PathBuf;

use anyhow::anyhow;
use atento::families::Head;
use atento::hub::ModelDir;

use crate::ui::failure::Failure;
use crate::ui::lines::{OnError, OnErrorArgs, OnTooLong};
use crate::ui::options::Options;

/// Measure a translator on pairs of sentences, or a language model on text
///
/// For a translator: loss, perplexity, BLEU and chrF. With --json {"loss", "perplexity", "bleu", "chrf", "signature",
/// "chrf_signature", "sentences", "left_out", "tokens"}; "left_out" counts bad pairs.
///
/// For a language model: the perplexity of the text as one stream of tokens. The text is read in windows as long as the
/// model's positions; a new window begins every --stride tokens. Every token is scored once, in the first window that holds
/// it. The first token is not scored, because no token comes before it; --start-token puts the model's start token there. A
/// plain file is read byte for byte. The texts of several files, or of JSON objects, are joined by the model's end token.
/// With --json {"loss", "perplexity", "bits_per_byte", "tokens", "bytes"}. "loss" is the mean in nats over the scored
/// "tokens". "bits_per_byte" is the sum in bits divided by all "bytes" of the text. "bits_per_byte" and "bytes" are null
/// where the data are token files.
///
/// Prompts with completions (CSV, TSV, or JSON objects with a text at `completion` and none at `text`) give the loss of the
/// completions alone, as the validation of `instruct` training measures it. With --json {"loss", "perplexity", "tokens",
/// "examples", "left_out"}.
#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// A model directory or a run directory
    model: PathBuf,

    /// One file of pairs, `source TAB target`, or text for a language model: a file, a directory, or token files (.bin, or a directory with val.bin); JSON objects if it ends in .jsonl; gzip is read as it is
    #[arg(long, value_name = "PATH", conflicts_with_all = ["source", "target"])]
    data: Option<PathBuf>,

    /// What is beyond the model's positions: skip it, cut its end off, or split the source of a pair [default: skip]
    ///
    /// skip leaves it out and exits with 1 in the end. split translates the source in parts and leaves the pair out of the
    /// loss. The text of a language model has any length; only prompts with completions can be too long.
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    on_too_long: Option<OnTooLong>,

    /// A line that cannot be used: skip it or stop there [default: skip]
    ///
    /// skip leaves it out of the scores, tells its number, goes on, and exits with 1 in the end. stop exits with 2. Plain text
    /// for a language model is one document, in which no line can be left out.
    #[arg(long, value_name = "WHAT", hide_possible_values = true)]
    on_error: Option<OnError>,

    #[command(flatten)]
    translation: translation::TranslationArgs,

    #[command(flatten)]
    language: language::LanguageArgs,

    #[command(flatten)]
    completions: completions::CompletionArgs,
}

/// Runs the verb.
///
/// # Errors
/// The model, the data or a setting is wrong; the work fails; a file cannot be written.
pub fn run(args: &EvalArgs, options: &Options) -> Result<(), Failure> {
    let translates = ModelDir::open(&args.model)?.head() == Head::Translation;
    let misplaced = match translates {
        true => args.language.given().or(args.completions.given()),
        false => args.translation.given(),
    };
    if let Some(option) = misplaced {
        let (wanted, found) = match translates {
            true => ("a language model", "this model translates"),
            false => ("a model that translates", "this is a language model"),
        };
        return Err(anyhow!("{option} is for {wanted}, and {found}: {}", args.model.display()).into());
    }
    let on_too_long = args.on_too_long.unwrap_or(OnTooLong::Skip);
    match (translates, &args.data) {
        (true, data) => {
            let on_error = OnErrorArgs { on_error: args.on_error };
            translation::run(&args.model, data.as_deref(), &args.translation, (on_error, on_too_long), options)
        }
        (false, Some(data)) => language::run(&args.model, data, args, options),
        (false, None) => Err(anyhow!("name the text with --data").into()),
    }
}
