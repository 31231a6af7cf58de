//! `atento eval MODEL`: how well a translator does on pairs of sentences, a language model on text, a model with a head on data
//! that have the answers.

mod completions;
mod heads;
mod language;
mod pairs;
mod translation;

use std::path::PathBuf;

use anyhow::anyhow;
use atento::families::Head;

use super::model::{AdapterArgs, WeightsArgs};
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::lines::{OnError, OnErrorArgs, OnTooLong};
use crate::ui::options::Options;

/// Measure a model on data: a translator, a language model, or one that labels, tags, answers, chooses or fills masks
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
///
/// A model with a head is measured on data that have the answers: labelled texts (TSV, CSV if it ends in .csv, JSON objects if
/// in .jsonl), tagged words (CoNLL, or .jsonl), questions (SQuAD's JSON), choices (TSV or .jsonl), or, for masked words, text,
/// with masks that follow from --seed alone. Without --data, a run of `train` is measured on its test data, or else on its
/// validation data. With --json {"loss", the measures of the head ("accuracy", "f1", "f1_macro", "mcc", "pearson", "spearman",
/// "exact_match", "word_accuracy", "next_accuracy"), how many were measured, "labels" with precision, recall, F1 and number of
/// each, "confusion", "mistakes"}. A row that cannot be used ends it with 2.
#[derive(Debug, clap::Args)]
pub struct EvalArgs {
    /// A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
    model: PathBuf,

    /// One file of pairs, `source TAB target`, or text for a language model: a file, a directory, or token files (.bin, or a directory with val.bin); JSON objects if it ends in .jsonl; for a model with a head, data with the answers; gzip is read as it is
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
    adapter: AdapterArgs,

    #[command(flatten)]
    weights: WeightsArgs,

    #[command(flatten)]
    translation: translation::TranslationArgs,

    #[command(flatten)]
    language: language::LanguageArgs,

    #[command(flatten)]
    completions: completions::CompletionArgs,

    #[command(flatten)]
    heads: heads::HeadArgs,
}

impl EvalArgs {
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
/// The model, the data or a setting is wrong; the work fails; a file cannot be written.
pub fn run(args: &EvalArgs, options: &Options) -> Result<(), Failure> {
    let dir = args.adapter.open(&args.model)?;
    let (of_translators, of_languages, of_heads) =
        (args.translation.given(), args.language.given().or(args.completions.given()), args.heads.given());
    let (is, misplaced) = match dir.head() {
        Head::Translation => {
            ("this model translates".to_owned(), of_languages.map(|option| (option, "a language model")))
        }
        Head::Language => {
            ("this is a language model".to_owned(), of_translators.map(|option| (option, "a model that translates")))
        }
        head => {
            let options =
                of_languages.filter(|option| *option != "--text-key").map(|option| (option, "a language model"));
            (
                format!("this model {}", head.does()),
                of_translators.map(|option| (option, "a model that translates")).or(options),
            )
        }
    };
    let has_head = !matches!(dir.head(), Head::Translation | Head::Language);
    let misplaced = misplaced
        .or(of_heads.filter(|_| !has_head).map(|option| (option, "a model that labels, tags, answers or chooses")));
    if let Some((option, wanted)) = misplaced {
        let path = args.model.display();
        return Err(anyhow!("{option} is for {wanted}, and {is}: {path}").into());
    }
    let on_too_long = args.on_too_long.unwrap_or(OnTooLong::Skip);
    match (dir.head(), &args.data) {
        (Head::Translation, data) => {
            let on_error = OnErrorArgs { on_error: args.on_error };
            let model = (&*args.model, &args.adapter, &args.weights);
            translation::run(model, data.as_deref(), &args.translation, (on_error, on_too_long), options)
        }
        (Head::Language, Some(data)) => language::run(&args.model, data, args, options),
        (Head::Language, None) => Err(anyhow!("name the text with --data").into()),
        (_, data) => {
            if args.on_error == Some(OnError::Skip) {
                return Err(anyhow!(
                    "--on-error skip is not for a model with a head: a row that cannot be used stops it"
                )
                .into());
            }
            heads::run(&dir, data.as_deref(), args, on_too_long, options)
        }
    }
}
