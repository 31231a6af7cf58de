//! How well a language model predicts completions of prompts.

use std::path::Path;
use std::sync::Arc;

use anyhow::anyhow;
use atento::data::tokens;
use atento::data::tokens::instruct::{InstructOptions, InstructReport, InstructSet, InstructSource};
use atento::data::{Columns, LineReader, OnTruncate, header};
use atento::pipelines::LanguageModel;
use atento::score::perplexity::TextLoss;
use atento::score::{self, completions::completion_loss};
use atento::train::events::group_thousands;
use serde_json::{Value, json};

use crate::ui::bar::Bar;
use crate::ui::failure::Failure;
use crate::ui::lines::{OnError, OnTooLong, Tally, with_option};
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::thousands;
use crate::ui::unknown::Unknowns;

/// Tokens computed together, as in the validation of `instruct` training.
const BATCH_TOKENS: usize = 4096;

/// How prompts and completions are found and written for the model.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for prompts with completions")]
pub struct CompletionArgs {
    /// The key of the prompt, or its column in CSV or TSV (there the number from 1, or the name in a header) [default: prompt]
    #[arg(long, value_name = "KEY")]
    prompt_key: Option<String>,

    /// The same of the completion [default: completion]
    #[arg(long, value_name = "KEY")]
    completion_key: Option<String>,

    /// How a prompt is written for the model, `{prompt}` in its place [default: the model's, or "{prompt}\n"]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt_template: Option<String>,

    /// How a completion is written, with <end> for the end token [default: the model's, or "{completion}<end>"]
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    completion_template: Option<String>,
}

impl CompletionArgs {
    /// One of these options that was given.
    pub fn given(&self) -> Option<&'static str> {
        let Self { prompt_key, completion_key, prompt_template, completion_template } = self;
        let options = [
            ("--prompt-key", prompt_key.is_some()),
            ("--completion-key", completion_key.is_some()),
            ("--prompt-template", prompt_template.is_some()),
            ("--completion-template", completion_template.is_some()),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// Where prompts and completions are, if the data are such: by these options, by the name of the file (CSV and TSV), or
    /// by the first JSON object.
    pub fn source(&self, data: &Path, text_key: Option<&str>) -> Option<InstructSource> {
        if text_key.is_some() || (self.given().is_none() && !data.is_file()) {
            return None;
        }
        let prompt = self.prompt_key.clone().unwrap_or_else(|| "prompt".to_owned());
        let completion = self.completion_key.clone().unwrap_or_else(|| "completion".to_owned());
        match InstructSource::from_path(data) {
            InstructSource::Csv { path, .. } => {
                Some(InstructSource::Csv { path, prompt_column: prompt, completion_column: completion })
            }
            InstructSource::Jsonl { path, .. } if self.given().is_none() && InstructSource::is_conversations(&path) => {
                Some(InstructSource::Conversations { path })
            }
            InstructSource::Jsonl { path, .. } if self.given().is_some() || has_completion(data, &completion) => {
                Some(InstructSource::Jsonl { path, prompt_key: prompt, completion_key: completion })
            }
            InstructSource::Jsonl { .. } => None,
            InstructSource::Tsv { path, .. } if self.prompt_key.is_some() || self.completion_key.is_some() => {
                let keys = [&self.prompt_key, &self.completion_key].map(Option::as_deref);
                Some(InstructSource::Tsv { path, columns: Columns::chosen(keys[0], keys[1], ["prompt", "completion"]) })
            }
            tsv => (self.given().is_some() || is_tsv(data)).then_some(tsv),
        }
    }
}

/// Whether the first JSON object has a text at the key and none at `text`.
fn has_completion(data: &Path, key: &str) -> bool {
    let Ok(lines) = LineReader::open(data) else { return false };
    let mut objects = lines.past_faults().filter_map(|line| serde_json::from_str::<Value>(&line.ok()?).ok());
    objects.find(Value::is_object).is_some_and(|object| object["text"].is_null() && object[key].is_string())
}

fn is_tsv(data: &Path) -> bool {
    let name = data.to_string_lossy().to_lowercase();
    name.strip_suffix(".gz").unwrap_or(&name).ends_with(".tsv")
}

/// Measures the completions of a source.
///
/// # Errors
/// The data or a setting is wrong; standard output cannot be written.
pub fn run(
    language: &LanguageModel,
    source: &InstructSource,
    args: &CompletionArgs,
    (on_error, on_too_long): (Option<OnError>, OnTooLong),
    options: &Options,
) -> Result<(), Failure> {
    if on_too_long == OnTooLong::Split {
        return Err(anyhow!("--on-too-long split is for pairs: a prompt with its completion stays one").into());
    }
    let usual = InstructOptions::default();
    let (prompt_template, completion_template) = templates(language, args, &usual);
    let how = InstructOptions {
        prompt_template,
        completion_template,
        block_size: language.model.max_positions(),
        on_truncate: match on_too_long {
            OnTooLong::Cut => OnTruncate::Warn,
            _ => OnTruncate::Drop,
        },
        chat: language.chat_template()?,
        ..usual.clone()
    };
    if let InstructSource::Tsv { path, columns } = source {
        header::note(path, columns.as_ref()).into_iter().for_each(|note| options.note(note));
    }
    let mut tally = Tally::default();
    let tokenizer = Arc::new(language.tokenizer.clone());
    let option = |key: &str| match source {
        InstructSource::Jsonl { prompt_key, .. } if key == prompt_key => Some("--prompt-key"),
        InstructSource::Jsonl { completion_key, .. } if key == completion_key => Some("--completion-key"),
        _ => None,
    };
    let opened = InstructSet::open_past(source, tokenizer, how, &mut tally.skipping(on_error, option));
    let set = opened.map_err(|fault| match fault {
        tokens::Error::NothingLeft { .. } if tally.bad > 0 => tally.nothing_left(source, "examples"),
        fault => anyhow!(with_option(&fault, option)).into(),
    })?;
    let report = set.report().clone();
    let vocab_size = language.model.vocab_size();
    if let Some(id) = set.examples().iter().flat_map(|one| &one.ids).find(|id| **id as usize >= vocab_size) {
        return Err(anyhow!("{source}: token id {id}, but the model's table has {vocab_size} rows").into());
    }
    if let Some(losses) = report.losses(&language.tokenizer) {
        options.note(format_args!("{source}: {losses}"));
    }
    Unknowns::from(set.unknown().clone()).tell(options);
    let bar = Bar::start(options, report.learned_tokens as usize, "tokens");
    let found = completion_loss(&*language.model, &set, BATCH_TOKENS, |so_far| {
        bar.set(so_far.tokens, format_args!("perplexity {:.4}", so_far.perplexity()));
    });
    let found = found.map_err(|error| match error {
        score::completions::Error::Data(error) => error.into(),
        error => Failure::Run(anyhow!("{source}: {error}")),
    })?;
    drop(bar);
    let mut out = Output::open();
    write(&mut out, &found, &report, options.json)?;
    out.finish()?;
    let too_long = report.too_long_dropped + report.nothing_learned_dropped;
    if too_long > 0 {
        let all = report.examples;
        let hint = if tally.bad > 0 { format!(", and {} lines could not be used", tally.bad) } else { String::new() };
        let what = match on_too_long {
            OnTooLong::Cut => "have no room for a completion and are left out",
            _ => "are too long and left out; see --on-too-long",
        };
        let fault = anyhow!("{too_long} of {all} examples {what}{hint}");
        return Err(Failure::Run(fault));
    }
    Tally { all: report.examples as usize, ..tally }.finish("examples")
}

/// How prompts and completions are written: as the command says, else as the model was taught, else as `instruct` training
/// does where its recipe does not say.
fn templates(language: &LanguageModel, args: &CompletionArgs, usual: &InstructOptions) -> (String, String) {
    let taught = language.templates.as_ref();
    let prompt = args.prompt_template.as_deref().or(taught.map(|taught| taught.prompt.text()));
    let completion = args.completion_template.as_deref().or(taught.map(|taught| taught.completion.text()));
    (prompt.unwrap_or(&usual.prompt_template).to_owned(), completion.unwrap_or(&usual.completion_template).to_owned())
}

fn write(out: &mut Output, found: &TextLoss, report: &InstructReport, json: bool) -> Result<(), Failure> {
    let (tokens, loss, perplexity) = (found.tokens, found.loss(), found.perplexity());
    let left_out = report.examples - report.kept;
    if json {
        return out.json(&json!({
            "loss": loss,
            "perplexity": perplexity,
            "tokens": tokens,
            "examples": report.kept,
            "left_out": left_out,
        }));
    }
    let [kept, left_out] = [report.kept, left_out].map(group_thousands);
    out.line(format_args!("examples    {kept} ({left_out} left out)"))?;
    out.line(format_args!("tokens      {} of completions", thousands(tokens)))?;
    out.line(format_args!("loss        {loss:.4}"))?;
    out.line(format_args!("perplexity  {perplexity:.4}"))
}
