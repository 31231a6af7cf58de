//! How well a language model predicts a text.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{anyhow, bail};
use atento::data::tokens::instruct::InstructSource;
use atento::data::tokens::{self, Strided, Whole};
use atento::messages;
use atento::pipelines::LanguageModel;
use atento::score::perplexity::{self, TextLoss, text_loss};
use serde_json::json;

use super::{EvalArgs, completions};
use crate::cli::model;
use crate::ui::bar::Bar;
use crate::ui::failure::Failure;
use crate::ui::lines::{OnTooLong, Tally, with_option};
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::table::thousands;
use crate::ui::unknown::Unknowns;

/// Tokens computed together; only speed and memory depend on it.
const BATCH_TOKENS: usize = 4096;
/// The longest window where none is asked for: what a window takes of memory grows with it.
const USUAL_WINDOW: usize = 4096;

/// What only a language model can be asked.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Options for language models")]
pub struct LanguageArgs {
    /// Tokens from the beginning of a window to the next one's; fewer predict better and take longer [default: half a window]
    #[arg(long, value_name = "N")]
    stride: Option<usize>,

    /// Tokens of a window [default: the model's positions, at most 4096]
    #[arg(long, value_name = "N")]
    block_size: Option<usize>,

    /// Begin with the model's start token, so that the first token of the text is scored too
    #[arg(long)]
    start_token: bool,

    /// The key of the text in JSON objects; a dot descends [default: text]
    #[arg(long, value_name = "KEY")]
    text_key: Option<String>,
}

impl LanguageArgs {
    /// The key of the text.
    pub fn text_key(&self) -> Option<&str> {
        self.text_key.as_deref()
    }

    /// One of these options that was given.
    pub fn given(&self) -> Option<&'static str> {
        let Self { stride, block_size, start_token, text_key } = self;
        let options = [
            ("--stride", stride.is_some()),
            ("--block-size", block_size.is_some()),
            ("--start-token", *start_token),
            ("--text-key", text_key.is_some()),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// Window and stride.
    fn lengths(&self, positions: usize) -> anyhow::Result<(usize, usize)> {
        let block_size = self.block_size.unwrap_or(positions.min(USUAL_WINDOW));
        if block_size > positions {
            bail!("--block-size is {block_size}, but the model has positions for {positions} tokens");
        }
        if block_size < 2 {
            bail!("--block-size is {block_size}: a window that scores needs 2 tokens or more");
        }
        let stride = self.stride.unwrap_or(block_size / 2);
        if !(1..=block_size).contains(&stride) {
            bail!(
                "--stride is {stride}, expected 1 to {block_size}: a longer stride than the window would leave tokens unscored"
            );
        }
        Ok((block_size, stride))
    }
}

/// Measures a language model.
///
/// # Errors
/// The model, the text or a setting is wrong; standard output cannot be written.
pub fn run(path: &Path, data: &Path, eval: &EvalArgs, options: &Options) -> Result<(), Failure> {
    let args = &eval.language;
    let language = model::load_language(path, &eval.adapter, &eval.weights, false, options)?;
    if let Some(source) = eval.completions.source(data, args.text_key.as_deref()) {
        if let Some(option) = args.given() {
            return Err(anyhow!("{option} is for plain text, and {source} holds prompts with completions").into());
        }
        let on_too_long = eval.on_too_long.unwrap_or(OnTooLong::Skip);
        return completions::run(&language, &source, &eval.completions, (eval.on_error, on_too_long), options);
    }
    if let Some(option) = eval.completions.given().or(eval.on_too_long.map(|_| "--on-too-long")) {
        return Err(anyhow!("{option} is for prompts with completions, and {} holds plain text", data.display()).into());
    }
    let (block_size, stride) = args.lengths(language.model.max_positions())?;
    let mut tally = Tally::default();
    let text = text(&language, data, eval, &mut tally, options)?;
    // All of them first, so that a wrong one costs no work.
    let vocab_size = language.model.vocab_size();
    text.tokens.check_ids(vocab_size)?;
    let windows = Strided::new(Arc::clone(&text.tokens), vocab_size, block_size, stride)?;
    let bar = Bar::start(options, windows.scored(), "tokens");
    let found = text_loss(&*language.model, windows, BATCH_TOKENS, |so_far| {
        bar.set(so_far.tokens, format_args!("perplexity {:.4}", so_far.perplexity()));
    });
    let found = found.map_err(|error| match error {
        perplexity::Error::Data(error) => error.into(),
        error => Failure::Run(anyhow!("{}: {error}", data.display())),
    })?;
    drop(bar);
    let mut out = Output::open();
    write(&mut out, &found, text.bytes, (block_size, stride), options.json)?;
    out.finish()?;
    match tally.bad {
        0 => Ok(()),
        bad => Err(Failure::Run(anyhow!("{bad} lines could not be used; {}", tally.told()))),
    }
}

/// The text in tokens. Tells what of it the model does not see as it is.
fn text(
    language: &LanguageModel,
    data: &Path,
    eval: &EvalArgs,
    tally: &mut Tally,
    options: &Options,
) -> Result<Whole, Failure> {
    let args = &eval.language;
    let no_val = data.join("train.bin").is_file() && !data.join("val.bin").is_file();
    if no_val {
        let train: PathBuf = data.join("train.bin");
        return Err(anyhow!("{}: no val.bin in it; name the file, such as {}", data.display(), train.display()).into());
    }
    let is_jsonl = matches!(InstructSource::from_path(data), InstructSource::Jsonl { .. });
    if args.text_key.is_some() && data.is_file() && !is_jsonl {
        return Err(anyhow!("--text-key is for JSON objects, and {} is plain text", data.display()).into());
    }
    let text_key = args.text_key.as_deref().unwrap_or("text");
    let option = |key: &str| (key == text_key).then_some("--text-key");
    let opened = Whole::open(data, text_key, &language.tokenizer, &mut tally.skipping(eval.on_error, option));
    let text = opened.map_err(|fault| match fault {
        tokens::Error::Empty { .. } if tally.bad > 0 => tally.nothing_left(data.display(), "lines"),
        fault => anyhow!(with_option(&fault, option)).into(),
    })?;
    let lacks = text.unknown.count > 0;
    Unknowns::from(text.unknown.clone()).tell(options);
    if text.unknown_tokens > 0 && !lacks {
        let spelled = language.tokenizer.unknown_in_words(text.unknown_tokens);
        options.note(format_args!("{}: {spelled}", data.display()));
    }
    if text.hidden > 0 {
        let files = messages::count(text.hidden, "hidden file");
        options.note(format_args!("{}: passed over {files}", data.display()));
    }
    if !args.start_token {
        return Ok(text);
    }
    if !language.tokenizer.prefix().is_empty() {
        // The tokenizer begins every text with a start token.
        return Ok(text);
    }
    let special = language.tokenizer.special();
    let start = special.bos.or(special.eos);
    let start = start.ok_or_else(|| anyhow!("--start-token: the model's files declare no bos_token"))?;
    Ok(text.begun_by(start)?)
}

fn write(
    out: &mut Output,
    found: &TextLoss,
    bytes: Option<u64>,
    (block_size, stride): (usize, usize),
    json: bool,
) -> Result<(), Failure> {
    let (tokens, loss, perplexity) = (found.tokens, found.loss(), found.perplexity());
    let bits_per_byte = bytes.map(|bytes| found.bits_per_byte(bytes));
    if json {
        return out.json(&json!({
            "loss": loss,
            "perplexity": perplexity,
            "bits_per_byte": bits_per_byte,
            "tokens": tokens,
            "bytes": bytes,
        }));
    }
    let [tokens, block_size, stride] = [tokens, block_size, stride].map(thousands);
    out.line(format_args!("tokens         {tokens} (windows of {block_size}, stride {stride})"))?;
    out.line(format_args!("loss           {loss:.4}"))?;
    out.line(format_args!("perplexity     {perplexity:.4}"))?;
    match bits_per_byte {
        Some(bits) => out.line(format_args!("bits per byte  {bits:.4}")),
        None => out.line("bits per byte  - (the bytes of the text are not known)"),
    }
}
