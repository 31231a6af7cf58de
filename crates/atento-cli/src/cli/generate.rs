//! `atento generate MODEL`: a language model goes on with texts.

mod method;
mod template;

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use atento::continue_text::{self, Continuation, ContinueOptions, Usual, check_prompt, continue_prompts};
use atento::data::tokens::instruct::PromptTemplate;
use atento::generate::{self, Flow, SpeculativeReport, TextEvent};
use atento::language_model::LanguageModel;
use atento::train::StopFlag;
use clap::builder::RangedU64ValueParser;
use serde_json::{Value, json};

use self::method::{Kind, MethodArgs};
use super::model;
use super::translate::one_line;
use crate::ui::failure::Failure;
use crate::ui::input::TextArgs;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::signals::stop_on_interrupt;
use crate::ui::unknown::Unknowns;

/// Prompts continued together.
const BATCH: usize = 8;

/// New tokens where neither the command nor the model says how many.
const NEW_TOKENS: usize = 128;

/// Continue texts with a language model
///
/// A single prompt's continuation is printed as it is made; several are printed one a line. What the command does not say
/// is as the model's generation_config.json has it; where that does not say how tokens are chosen either, they are drawn at
/// random, reproducibly by --seed. A model that was taught to answer gets every prompt in the template that it was taught
/// with (prompt_template.json); a template with several fields takes JSON objects with a text for each, one a line. With
/// --json every prompt gives {"prompt", "text", "ids", "logprobs", "finish_reason"}:
/// "text" is what follows the prompt, "ids" its tokens with the end token where there is one, "logprobs" the natural
/// log-probability of each in the model's own distribution, "finish_reason" "stop", "length" or "interrupted". With --n
/// above 1, "samples" holds all of them, and the other fields are the first's.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// A model directory or a run directory
    model: PathBuf,

    /// A text to go on with; repeatable
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = ["texts", "input"])]
    prompt: Vec<String>,

    #[command(flatten)]
    texts: TextArgs,

    /// Give the model each prompt as it is, without the template that it was taught with
    #[arg(long)]
    raw: bool,

    #[command(flatten)]
    method: MethodArgs,

    #[command(flatten)]
    limits: LimitArgs,

    /// How the model's matrices are held: f32, bf16 or int8 [default: int8 where they are stored so, else f32]
    #[arg(long, value_name = "KIND", hide_possible_values = true, value_parser = ["f32", "bf16", "int8"])]
    weights: Option<String>,
}

/// Where a continuation ends.
#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    /// The most tokens of a continuation [default: the model's, or 128, as far as its positions go]
    #[arg(long, value_name = "N", value_parser = positive())]
    max_new_tokens: Option<usize>,

    /// The fewest tokens before an end token [default: the model's]
    #[arg(long, value_name = "N")]
    min_new_tokens: Option<usize>,

    /// Do not end at the model's end token
    #[arg(long)]
    ignore_end: bool,

    /// End before this text; repeatable [default: the model's stop_strings]
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
    let language = model::load_language(&args.model, args.weights.as_deref())?;
    let draft = args.method.draft.as_ref();
    let draft = draft.map(|path| model::load_language(path, args.weights.as_deref())).transpose()?;
    let stop = StopFlag::new();
    stop_on_interrupt(&stop, "stopping: what there is is printed")
        .context("cannot listen for Ctrl-C")
        .map_err(Failure::Run)?;
    let unknown = RefCell::default();
    let verb = Verb { args, options, language: &language, draft: draft.as_ref(), stop: &stop, unknown };
    verb.tell_what_is_not_followed();
    let mut out = Output::open();
    if !args.prompt.is_empty() {
        let place = |i| format!("prompt {}", i + 1);
        verb.check(&args.prompt, place)?;
        verb.batches(&mut out, &args.prompt, 0, place)?;
        verb.unknown.borrow().tell(options);
        return Ok(());
    }
    let mut texts = args.texts.open(options)?;
    let mut first = 0;
    while let Some(chunk) = texts.next_chunk()? {
        if chunk.is_everything() {
            verb.check(&chunk.texts, |i| chunk.place(i))?;
        }
        verb.batches(&mut out, &chunk.texts, first, |i| chunk.place(i))?;
        first += chunk.texts.len() as u64;
        if stop.is_stopped() {
            break;
        }
    }
    verb.unknown.borrow().tell(options);
    Ok(())
}

struct Verb<'a> {
    args: &'a GenerateArgs,
    options: &'a Options,
    language: &'a LanguageModel,
    draft: Option<&'a LanguageModel>,
    stop: &'a StopFlag,
    unknown: RefCell<Unknowns>,
}

/// Prompts in tokens, up to the first that the model cannot go on with, and what is wrong with that one.
type Prompts = (Vec<Vec<u32>>, Option<anyhow::Error>);

impl Verb<'_> {
    fn kind(&self) -> Kind {
        self.args.method.kind(&self.args.limits, &self.language.generation)
    }

    /// How prompts are written for the model.
    fn template(&self) -> Option<&PromptTemplate> {
        self.language.template.as_ref().filter(|_| !self.args.raw)
    }

    fn tell_what_is_not_followed(&self) {
        for key in self.args.method.not_followed(self.kind(), &self.language.generation) {
            self.options.note(model::without_effect(&self.args.model, key));
        }
    }

    fn encode(&self, prompts: &[String], place: impl Fn(usize) -> String) -> Result<Prompts, Failure> {
        let how = self.continue_options()?;
        let mut ids = Vec::with_capacity(prompts.len());
        for (i, prompt) in prompts.iter().enumerate() {
            let text = match template::fill(self.template(), prompt) {
                Ok(text) => text,
                Err(fault) => return Ok((ids, Some(anyhow!("{}: {fault:#}", place(i))))),
            };
            let prompt = self.language.tokenizer.encode_prompt(&text)?;
            if let Err(fault) = check_prompt(self.language, &prompt, how.max_new_tokens.unwrap_or(1), &how) {
                return Ok((ids, Some(anyhow!("{}: the prompt {fault}", place(i)))));
            }
            ids.push(prompt);
        }
        Ok((ids, None))
    }

    /// Looks at all prompts first, where they are all there: a wrong one costs no work then.
    fn check(&self, prompts: &[String], place: impl Fn(usize) -> String) -> Result<(), Failure> {
        match self.encode(prompts, place)? {
            (_, Some(unfit)) => Err(unfit.into()),
            (_, None) => Ok(()),
        }
    }

    /// Continues prompts, a batch at a time, and prints each batch when it is done. What comes before a prompt that the
    /// model cannot go on with is not lost.
    fn batches(
        &self,
        out: &mut Output,
        prompts: &[String],
        first: u64,
        place: impl Fn(usize) -> String,
    ) -> Result<(), Failure> {
        let how = self.continue_options()?;
        let (ids, unfit) = self.encode(prompts, &place)?;
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
            for (i, (prompt, found)) in texts.iter().zip(&found).enumerate() {
                self.unknown.borrow_mut().look(&self.language.tokenizer, prompt, || place(at + i))?;
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
        match unfit {
            Some(unfit) if !self.stop.is_stopped() => Err(unfit.into()),
            _ => Ok(()),
        }
    }

    fn continue_options(&self) -> Result<ContinueOptions<'_>, Failure> {
        let (limits, generation) = (&self.args.limits, &self.language.generation);
        let seed = self.options.seed.unwrap_or(0);
        let least = limits.min_new_tokens.or(generation.min_new_tokens);
        let most = limits.max_new_tokens.or(generation.max_new_tokens);
        if let (Some(least), Some(most)) = (least, most)
            && least > most
        {
            return Err(anyhow!(
                "at least {least} new tokens and at most {most}: see --min-new-tokens and --max-new-tokens"
            )
            .into());
        }
        Ok(ContinueOptions {
            method: self.args.method.method(limits, self.language, self.draft, seed)?,
            stops: match self.kind() {
                // `not_followed` tells that.
                Kind::Beam(_) => Vec::new(),
                _ if limits.stop.is_empty() => generation.stop_strings.clone(),
                _ => limits.stop.clone(),
            },
            max_new_tokens: limits.max_new_tokens,
            usual: match (generation.max_new_tokens, generation.max_length) {
                (None, Some(whole)) => Usual { new_tokens: usize::MAX, whole: Some(whole) },
                (new_tokens, _) => Usual { new_tokens: new_tokens.unwrap_or(NEW_TOKENS), whole: None },
            },
            slide: limits.slide,
        })
    }

    fn print(&self, out: &mut Output, prompt: &str, found: &[Continuation], streamed: bool) -> Result<(), Failure> {
        if self.options.json {
            return out.json(&object(prompt, found)?);
        }
        if streamed && !matches!(self.kind(), Kind::Beam(_)) {
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
