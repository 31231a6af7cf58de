//! `atento generate MODEL`: a language model goes on with texts.

use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use atento::continue_text::{self, Continuation, ContinueOptions, Method, Usual, check_prompt, continue_prompts};
use atento::generate::{
    self, ContrastiveOptions, Flow, LengthPenalty, ProcessorOptions, SampleOptions, SearchOptions, SpeculativeReport,
    TextEvent, WarperOptions,
};
use atento::language_model::LanguageModel;
use atento::pretrained::search_options;
use atento::train::StopFlag;
use clap::builder::RangedU64ValueParser;
use serde_json::{Value, json};

use super::model;
use super::translate::one_line;
use crate::ui::failure::Failure;
use crate::ui::input::TextArgs;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::signals::stop_on_interrupt;

/// Prompts continued together.
const BATCH: usize = 8;

/// New tokens where neither the command nor the model says how many.
const NEW_TOKENS: usize = 128;

/// Continue texts with a language model
///
/// A single prompt's continuation is printed as it is made; several are printed one a line. Without --greedy, --beam or
/// --penalty-alpha tokens are drawn at random, reproducibly by --seed. With --json every prompt gives {"prompt", "text",
/// "ids", "logprobs", "finish_reason"}: "text" is what follows the prompt, "ids" its tokens with the end token where there
/// is one, "logprobs" the natural log-probability of each in the model's own distribution, "finish_reason" "stop",
/// "length" or "interrupted". With --n above 1, "samples" holds all of them, and the other fields are the first's.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// A model directory or a run directory
    model: PathBuf,

    /// A text to go on with; repeatable
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = ["texts", "input"])]
    prompt: Vec<String>,

    #[command(flatten)]
    texts: TextArgs,

    #[command(flatten)]
    method: MethodArgs,

    #[command(flatten)]
    limits: LimitArgs,

    /// How the model's matrices are held: f32, bf16 or int8 [default: int8 where they are stored so, else f32]
    #[arg(long, value_name = "KIND", hide_possible_values = true, value_parser = ["f32", "bf16", "int8"])]
    weights: Option<String>,
}

/// How tokens are chosen.
#[derive(Debug, clap::Args)]
struct MethodArgs {
    /// Take the likeliest token each time
    #[arg(long, conflicts_with_all = ["beam", "penalty_alpha", "temperature"])]
    greedy: bool,

    /// Beam search with this many hypotheses
    #[arg(long, value_name = "N", value_parser = positive(), conflicts_with_all = ["penalty_alpha", "draft", "stop", "temperature", "top_k", "top_p", "min_p", "typical_p", "frequency_penalty", "presence_penalty"])]
    beam: Option<usize>,

    /// Beam search: divide log-probabilities by length^A
    #[arg(long, value_name = "A", requires = "beam", allow_negative_numbers = true)]
    length_penalty: Option<f64>,

    /// Divide logits by this before drawing; 0 is greedy
    #[arg(long, value_name = "T", allow_negative_numbers = true)]
    temperature: Option<f64>,

    /// Draw from the K likeliest tokens only; 0 draws from all [contrastive search: candidates, default 4]
    #[arg(long, value_name = "K")]
    top_k: Option<usize>,

    /// Draw from the fewest tokens that together have this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    top_p: Option<f64>,

    /// Draw from tokens at least this times as likely as the likeliest
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    min_p: Option<f64>,

    /// Draw from tokens whose surprise is nearest to the expected, until they together have this probability
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    typical_p: Option<f64>,

    /// Make tokens of prompt and text less likely; 1 changes nothing
    #[arg(long, value_name = "R", allow_negative_numbers = true)]
    repetition_penalty: Option<f64>,

    /// Subtract this from a token's logit for each time it was generated
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    frequency_penalty: Option<f64>,

    /// Subtract this from a token's logit if it was generated
    #[arg(long, value_name = "A", allow_negative_numbers = true)]
    presence_penalty: Option<f64>,

    /// No sequence of this many tokens occurs twice; 0 allows all
    #[arg(long, value_name = "N")]
    no_repeat_ngram: Option<usize>,

    /// A text that must not be generated, as its tokens with and without a space before it; repeatable
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    bad_word: Vec<String>,

    /// Contrastive search: the weight of the resemblance to what was said, 0 to 1
    #[arg(long, value_name = "A", allow_negative_numbers = true, conflicts_with_all = ["temperature", "top_p", "min_p", "typical_p", "draft"])]
    penalty_alpha: Option<f64>,

    /// A smaller model of the same tokenizer that drafts tokens for the model to judge
    #[arg(long, value_name = "MODEL")]
    draft: Option<PathBuf>,

    /// Tokens drafted at a time
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = positive(), requires = "draft")]
    draft_tokens: usize,

    /// Continuations of each prompt
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    n: usize,
}

/// Where a continuation ends.
#[derive(Debug, clap::Args)]
struct LimitArgs {
    /// The most tokens of a continuation [default: the model's, or 128, as far as its positions go]
    #[arg(long, value_name = "N", value_parser = positive())]
    max_new_tokens: Option<usize>,

    /// The fewest tokens before an end token
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_new_tokens: usize,

    /// Do not end at the model's end token
    #[arg(long)]
    ignore_end: bool,

    /// End before this text; repeatable
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Vec<String>,

    /// Beyond the model's positions go on with the later half of the text
    #[arg(long)]
    slide: bool,
}

fn positive() -> RangedU64ValueParser<usize> {
    RangedU64ValueParser::new().range(1..)
}

/// Runs the verb.
///
/// # Errors
/// The model, a prompt or a setting is wrong; standard output cannot be written.
pub fn run(args: &GenerateArgs, options: &Options) -> Result<(), Failure> {
    let language = model::load_language(&args.model, args.weights.as_deref(), options)?;
    let draft = args.method.draft.as_ref();
    let draft = draft.map(|path| model::load_language(path, args.weights.as_deref(), options)).transpose()?;
    let stop = StopFlag::new();
    stop_on_interrupt(&stop, "stopping: what there is is printed")
        .context("cannot listen for Ctrl-C")
        .map_err(Failure::Run)?;
    let verb = Verb { args, options, language: &language, draft: draft.as_ref(), stop: &stop };
    let mut out = Output::open();
    if !args.prompt.is_empty() {
        return verb.batches(&mut out, &args.prompt, 0, |i| format!("prompt {}", i + 1));
    }
    let mut texts = args.texts.open(options)?;
    let mut first = 0;
    while let Some(chunk) = texts.next_chunk()? {
        verb.batches(&mut out, &chunk.texts, first, |i| chunk.place(i))?;
        first += chunk.texts.len() as u64;
        if stop.is_stopped() {
            break;
        }
    }
    Ok(())
}

struct Verb<'a> {
    args: &'a GenerateArgs,
    options: &'a Options,
    language: &'a LanguageModel,
    draft: Option<&'a LanguageModel>,
    stop: &'a StopFlag,
}

impl Verb<'_> {
    /// Continues prompts, a batch at a time, and prints each batch when it is done.
    fn batches(
        &self,
        out: &mut Output,
        prompts: &[String],
        first: u64,
        place: impl Fn(usize) -> String,
    ) -> Result<(), Failure> {
        let how = self.continue_options()?;
        let mut ids = Vec::with_capacity(prompts.len());
        for (i, prompt) in prompts.iter().enumerate() {
            let prompt = self.language.tokenizer.encode_ids(prompt, true)?;
            // All of them first, so that a wrong one costs no work.
            check_prompt(self.language, &prompt, how.max_new_tokens.unwrap_or(1), &how)
                .map_err(|fault| anyhow!("{}: the prompt {fault}", place(i)))?;
            ids.push(prompt);
        }
        let batch = if self.draft.is_some() { 1 } else { BATCH };
        let streams = first == 0 && prompts.len() == 1 && self.args.method.n == 1 && !self.options.json;
        let (mut at, mut drafted) = (0, SpeculativeReport::default());
        for (ids, texts) in ids.chunks(batch).zip(prompts.chunks(batch)) {
            let mut broken = None;
            let tell = |event: &TextEvent<'_>| {
                if streams && let Err(failure) = out.piece(event.text) {
                    broken = Some(failure);
                    return Flow::Interrupt;
                }
                if self.stop.is_stopped() { Flow::Interrupt } else { Flow::Continue }
            };
            let found = continue_prompts(self.language, ids, first + at as u64, &how, tell);
            if let Some(failure) = broken {
                return Err(failure);
            }
            let (found, report) = found.map_err(|error| failure(error, |i| place(at + i)))?;
            drafted.proposed += report.proposed;
            drafted.accepted += report.accepted;
            for (prompt, found) in texts.iter().zip(&found) {
                self.print(out, prompt, found, streams)?;
            }
            out.flush()?;
            at += ids.len();
            if self.stop.is_stopped() {
                break;
            }
        }
        if self.draft.is_some() {
            let rate = 100.0 * drafted.acceptance_rate();
            self.options.note(format_args!("{rate:.0} % of {} drafted tokens were accepted", drafted.proposed));
        }
        Ok(())
    }

    fn continue_options(&self) -> Result<ContinueOptions<'_>, Failure> {
        let (limits, generation) = (&self.args.limits, &self.language.generation);
        Ok(ContinueOptions {
            method: self.method()?,
            stops: limits.stop.clone(),
            max_new_tokens: limits.max_new_tokens,
            usual: match (generation.max_new_tokens, generation.max_length) {
                (None, Some(whole)) => Usual { new_tokens: usize::MAX, whole: Some(whole) },
                (new_tokens, _) => Usual { new_tokens: new_tokens.unwrap_or(NEW_TOKENS), whole: None },
            },
            slide: limits.slide,
        })
    }

    fn method(&self) -> Result<Method<'_>, Failure> {
        let args = &self.args.method;
        let processors = self.processors()?;
        if let Some(beam) = args.beam {
            return Ok(Method::Beam(SearchOptions {
                beam,
                n_best: args.n,
                length_penalty: LengthPenalty::HuggingFace(
                    args.length_penalty.unwrap_or(f64::from(self.language.generation.length_penalty)),
                ),
                min_new_tokens: processors.min_new_tokens,
                repetition_penalty: processors.repetition_penalty,
                no_repeat_ngram: processors.no_repeat_ngram,
                eos_ids: processors.eos_ids,
                bad_words: processors.bad_words,
                suppress_tokens: processors.suppress_tokens,
                ..search_options(&self.language.generation)
            }));
        }
        if let Some(penalty_alpha) = args.penalty_alpha {
            if args.n > 1 {
                return Err(anyhow!("--n {} does not go with --penalty-alpha, which finds one text", args.n).into());
            }
            let top_k = args.top_k.unwrap_or(ContrastiveOptions::default().top_k);
            return Ok(Method::Contrastive(ContrastiveOptions { penalty_alpha, top_k, top_logprobs: 0, processors }));
        }
        let plain = WarperOptions::default();
        let warpers = WarperOptions {
            temperature: if args.greedy { 0.0 } else { args.temperature.unwrap_or(plain.temperature) },
            top_k: args.top_k.unwrap_or(plain.top_k),
            top_p: args.top_p.unwrap_or(plain.top_p),
            min_p: args.min_p.unwrap_or(plain.min_p),
            typical_p: args.typical_p.unwrap_or(plain.typical_p),
        };
        let options =
            SampleOptions { n: args.n, seed: self.options.seed.unwrap_or(0), top_logprobs: 0, processors, warpers };
        Ok(match self.draft {
            Some(draft) => Method::Speculative { options, draft, draft_tokens: args.draft_tokens },
            None => Method::Sample(options),
        })
    }

    /// What the command asks for, and otherwise what the model's generation_config.json does.
    fn processors(&self) -> Result<ProcessorOptions, Failure> {
        let (args, limits, generation) = (&self.args.method, &self.args.limits, &self.language.generation);
        let mut bad_words = generation.bad_words_ids.clone();
        for word in &args.bad_word {
            for text in [word.clone(), format!(" {word}")] {
                let ids = self.language.tokenizer.encode_ids(&text, false)?;
                if ids.is_empty() {
                    return Err(anyhow!("--bad-word {word:?} has no tokens").into());
                }
                bad_words.push(ids);
            }
        }
        let mut suppress_tokens = generation.suppressed_ids.clone();
        suppress_tokens.extend(self.language.unused_ids());
        let eos_ids = if limits.ignore_end { Vec::new() } else { generation.eos_ids.clone() };
        Ok(ProcessorOptions {
            repetition_penalty: args.repetition_penalty.unwrap_or(1.0),
            frequency_penalty: args.frequency_penalty.unwrap_or(0.0),
            presence_penalty: args.presence_penalty.unwrap_or(0.0),
            no_repeat_ngram: args.no_repeat_ngram.unwrap_or(generation.no_repeat_ngram_size),
            bad_words,
            min_new_tokens: limits.min_new_tokens,
            suppress_tokens,
            eos_ids,
        })
    }

    fn print(&self, out: &mut Output, prompt: &str, found: &[Continuation], streamed: bool) -> Result<(), Failure> {
        if self.options.json {
            return out.json(&object(prompt, found)?);
        }
        if streamed && self.args.method.beam.is_none() {
            return out.line("");
        }
        let whole = streamed || (found.len() == 1 && self.args.prompt.len() == 1);
        found.iter().try_for_each(|one| match whole {
            true => out.line(&one.text),
            false => out.line(one_line(&one.text)),
        })
    }
}

fn object(prompt: &str, found: &[Continuation]) -> anyhow::Result<Value> {
    let one = |found: &Continuation| {
        json!({
            "prompt": prompt,
            "text": found.text,
            "ids": found.ids,
            "logprobs": found.logprobs,
            "finish_reason": found.finish_reason,
        })
    };
    let Some(first) = found.first() else { bail!("no continuation: every token is ruled out") };
    let mut object = one(first);
    if found.len() > 1 {
        object["samples"] = found.iter().map(one).collect();
    }
    Ok(object)
}

/// Names the prompt as its reader knows it, and tells whose fault it was.
fn failure(error: continue_text::Error, place: impl Fn(usize) -> String) -> Failure {
    match error {
        continue_text::Error::Prompt { number, fault } => anyhow!("{}: the prompt {fault}", place(number - 1)).into(),
        continue_text::Error::Generate(error @ generate::Error::NonFiniteLogits { .. }) => Failure::run(error),
        error => error.into(),
    }
}
