//! `atento generate MODEL`: a language model goes on with texts.

mod conversation;
mod method;
mod several;
pub mod template;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, anyhow, bail};
use atento::generate::{self, Flow, SpeculativeReport, TextEvent};
use atento::hub::ChatTemplate;
use atento::pipelines::LanguageModel;
use atento::pipelines::continue_text::{
    self, Continuation, ContinueOptions, PromptFault, Usual, check_prompt, continue_prompts,
};
use atento::text::fit;
use atento::train::StopFlag;
use serde_json::{Value, json};

use self::method::{Kind, MethodArgs};
use self::several::Verbs;
use super::model::{self, AdapterArgs, AdaptersArgs, WeightsArgs};
use super::translate::one_line;
use crate::cli::hub::Locator;
use crate::ui::failure::Failure;
use crate::ui::input::{TextArgs, Texts};
use crate::ui::lines::{Line, OnErrorArgs, OnTooLong};
use crate::ui::number::positive;
use crate::ui::options::Options;
use crate::ui::output::Output;
use crate::ui::signals::stop_work_on_interrupt;
use crate::ui::unknown::Unknowns;

/// Prompts continued together.
const BATCH: usize = 8;
/// What stands between continuations with line ends.
const BETWEEN: &str = "---\n";

/// Continue texts with a language model
///
/// The continuation of a single argument is printed as it is generated, with its line ends. Otherwise every continuation is
/// one line, in which spaces stand for line ends. Several continuations (--n) of a single argument keep their line ends too:
/// where one has some, a line `---` stands between them. Options that are not given take their values from the model's
/// generation_config.json. Where that file does not say how tokens are chosen, they are sampled; --seed makes the sample
/// repeatable.
///
/// Ctrl-C prints the text so far and ends with exit code 130.
///
/// A model that was trained with a prompt template gets every prompt in that template (prompt_template.json); --raw turns
/// this off. A template with several fields takes JSON objects, one a line, with a text for each field.
///
/// With --chat a prompt is what a user says, or a conversation, a JSON object {"messages": [{"role", "content"}, …]} in one
/// line. The model's own chat template (chat_template.jinja, tokenizer_config.json) writes it.
///
/// With --json every prompt gives {"prompt", "text", "ids", "logprobs", "finish_reason"}. "text" is the continuation. "ids"
/// are its tokens, with the end token where there is one. "logprobs" are the natural log-probabilities of these tokens in the
/// model's own distribution. "finish_reason" is "stop", "length" or "interrupted". With --n above 1, "samples" holds all
/// continuations, and the other fields are those of the first.
#[derive(Debug, clap::Args)]
pub struct GenerateArgs {
    /// A model directory, a run directory or a checkpoint in one, or org/name on the Hugging Face Hub
    model: PathBuf,

    #[command(flatten)]
    adapters: AdaptersArgs,

    /// A text to go on with; repeatable
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true, conflicts_with_all = ["texts", "input"])]
    prompt: Vec<String>,

    #[command(flatten)]
    texts: TextArgs,

    /// Give the model each prompt as it is, without the template that it was taught with
    #[arg(long)]
    raw: bool,

    /// Give the model each prompt as a conversation, in its chat template
    #[arg(long, conflicts_with = "raw")]
    chat: bool,

    /// With --chat: what stands before the conversation as the system's message
    #[arg(long, value_name = "TEXT", requires = "chat", allow_hyphen_values = true)]
    system: Option<String>,

    #[command(flatten)]
    method: MethodArgs,

    #[command(flatten)]
    limits: LimitArgs,

    /// A prompt that the model has no room for: skip the line or cut the beginning off [default: skip]
    #[arg(long, value_name = "WHAT", default_value = "skip", hide_possible_values = true, hide_default_value = true, value_parser = OnTooLong::without_split())]
    on_too_long: OnTooLong,

    #[command(flatten)]
    on_error: OnErrorArgs,

    #[command(flatten)]
    weights: WeightsArgs,
}

/// Where a continuation ends.
#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    /// The most tokens of a continuation [default: the model's, or 128, as far as its positions go]
    #[arg(long, value_name = "N", value_parser = positive)]
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

impl GenerateArgs {
    /// Finds the models that the arguments name.
    ///
    /// # Errors
    /// As [`Locator::model`].
    pub fn locate(&mut self, locator: &Locator<'_>) -> Result<(), Failure> {
        locator.model(&mut self.model)?;
        self.method.draft.iter_mut().try_for_each(|draft| locator.model(draft))?;
        self.adapters.locate(locator)
    }
}

/// Runs the verb.
///
/// # Errors
/// The model, a prompt or a setting is wrong; standard output cannot be written.
pub fn run(args: &GenerateArgs, options: &Options) -> Result<(), Failure> {
    let several = args.adapters.named()?;
    let (weights, shares) = (&args.weights, several.len() > 1);
    let load = |path, adapter: &AdapterArgs, shares| model::load_language(path, adapter, weights, shares, options);
    let languages: Vec<(Option<String>, LanguageModel)> = several
        .into_iter()
        .map(|(name, adapter)| Ok((name, load(&args.model, &adapter, shares)?)))
        .collect::<Result<_, Failure>>()?;
    let draft = args.method.draft.as_ref();
    let draft = draft.map(|path| load(path, &AdapterArgs::default(), false)).transpose()?;
    if let Some(draft) = &draft {
        languages.iter().try_for_each(|(_, language)| continue_text::check_draft(language, draft)).map_err(failure)?;
    }
    let has_all = !args.prompt.is_empty() || args.texts.are_arguments();
    let (stop, works) = (StopFlag::new(), Arc::new(AtomicBool::new(has_all)));
    let stopped_by = stop_work_on_interrupt(&stop, &works, "stopping: the text so far is printed")
        .context("cannot listen for Ctrl-C")
        .map_err(Failure::Run)?;
    let verb = |(_, language)| Verb::new(args, options, language, draft.as_ref(), &stop);
    let verbs: Vec<Verb<'_>> =
        languages.iter().map(|(name, language)| (name, language)).map(verb).collect::<Result<_, Failure>>()?;
    if let [verb, ..] = &verbs[..] {
        verb.tell_what_is_not_followed();
    }
    let hows: Vec<ContinueOptions<'_>> = verbs.iter().map(Verb::continue_options).collect::<Result<_, Failure>>()?;
    verbs.iter().zip(&hows).try_for_each(|(verb, how)| verb.check_room(how))?;
    let verbs = Verbs { names: languages.iter().map(|(name, _)| name.as_deref()).collect(), verbs, hows };
    let mut texts = match &args.prompt[..] {
        [] => args.texts.open(options)?,
        prompts => Texts::of_arguments("prompt", prompts),
    };
    let is_only = args.prompt.len() == 1 || args.texts.is_one_argument();
    let mut out = Output::open();
    let prepare = |text: &str| verbs.prepare(text);
    let (mut drafted, mut unknown) = (SpeculativeReport::default(), Unknowns::default());
    let done = args.on_error.each_block(&mut texts, prepare, |lines| {
        works.store(true, Ordering::Relaxed);
        verbs.look(lines, &mut unknown)?;
        verbs.go_on(&mut out, lines, is_only, &mut drafted)?;
        works.store(false, Ordering::Relaxed);
        stopped_by.exit_code().map_or(Ok(()), |code| Err(Failure::Stopped(code)))
    });
    unknown.tell(options);
    if drafted.proposed > 0 {
        let rate = 100.0 * drafted.acceptance_rate();
        options.note(format_args!("{rate:.0} % of {} drafted tokens were accepted", drafted.proposed));
    }
    done
}

struct Verb<'a> {
    args: &'a GenerateArgs,
    options: &'a Options,
    language: &'a LanguageModel,
    draft: Option<&'a LanguageModel>,
    stop: &'a StopFlag,
    /// What prompts are written with as conversations.
    chat: Option<ChatTemplate>,
}

/// A prompt that the model can go on with.
struct Prepared {
    /// Which of several models.
    of: usize,
    ids: Vec<u32>,
    /// What its reader must be told.
    note: Option<String>,
}

impl<'a> Verb<'a> {
    fn new(
        args: &'a GenerateArgs,
        options: &'a Options,
        language: &'a LanguageModel,
        draft: Option<&'a LanguageModel>,
        stop: &'a StopFlag,
    ) -> Result<Self, Failure> {
        // One that cannot be read keeps nobody from going on with plain texts.
        let chat = match language.chat_template() {
            Err(_) if !args.chat => None,
            found => found?,
        };
        if args.chat && chat.is_none() {
            let model = args.model.display();
            return Err(anyhow!("{model}: the model has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json): leave --chat out").into());
        }
        if chat.is_some() && !args.chat && !args.raw && language.templates.is_none() {
            options.note("the model has a chat template, with which --chat writes the prompts");
        }
        let chat = chat.filter(|_| args.chat);
        Ok(Self { args, options, language, draft, stop, chat })
    }

    fn kind(&self) -> Kind {
        self.args.method.kind(&self.args.limits, &self.language.generation)
    }

    fn tell_what_is_not_followed(&self) {
        for key in self.args.method.not_followed(self.kind(), &self.language.generation) {
            self.options.note(model::without_effect(&self.args.model, key));
        }
    }

    /// Notes what of a prompt the vocabulary lacks.
    fn look(&self, prompt: &str, place: &str, unknown: &mut Unknowns) -> Result<(), Failure> {
        let tokenizer = &self.language.tokenizer;
        if self.chat.is_none() {
            let templates = self.language.templates.as_ref().filter(|_| !self.args.raw);
            // An object of several fields is read as what the template makes of it.
            return match templates.filter(|found| found.prompt.fields().len() > 1) {
                Some(found) => {
                    let text = template::fill(Some(&found.prompt), prompt)?;
                    Ok(unknown.look(tokenizer, &text, || place.to_owned())?)
                }
                None => Ok(unknown.look_at_parts(tokenizer, prompt, place)?),
            };
        }
        for message in conversation::of(prompt, None)? {
            unknown.look(tokenizer, &message.content, || place.to_owned())?;
        }
        Ok(())
    }

    /// Whether there is a prompt that the model has room for: else the settings are wrong, not a line.
    fn check_room(&self, how: &ContinueOptions<'_>) -> Result<(), Failure> {
        match check_prompt(self.language, &[0], how.max_new_tokens.unwrap_or(1), how) {
            Err(PromptFault::NoRoom { new, room, limit, .. }) => {
                Err(anyhow!("{new} more are asked for, but the model has positions for {limit}: ask for at most {room}, or let the text slide with --slide").into())
            }
            _ => Ok(()),
        }
    }

    /// The tokens of a prompt, or of its end if it is too long and may be cut.
    fn prepare(&self, prompt: &str, how: &ContinueOptions<'_>) -> anyhow::Result<Prepared> {
        let new = how.max_new_tokens.unwrap_or(1);
        if let Some(chat) = &self.chat {
            let text = chat.render(&conversation::of(prompt, self.args.system.as_deref())?, true)?;
            // Special tokens are written out.
            let ids = self.language.tokenizer.encode_ids(&text, false)?;
            return match check_prompt(self.language, &ids, new, how) {
                Ok(()) => Ok(Prepared { of: 0, ids, note: None }),
                Err(fault) => bail!("the conversation {}", told(fault)),
            };
        }
        let templates = self.language.templates.as_ref().filter(|_| !self.args.raw);
        let template = templates.map(|found| &found.prompt);
        let encode =
            |prompt: &str| anyhow::Ok(self.language.tokenizer.encode_prompt(&template::fill(template, prompt)?)?);
        let ids = encode(prompt)?;
        let Err(fault) = check_prompt(self.language, &ids, new, how) else {
            return Ok(Prepared { of: 0, ids, note: None });
        };
        let limit = match fault {
            PromptFault::TooLong { limit, .. } | PromptFault::NoRoom { limit, .. } => limit,
            _ => bail!("the prompt {fault}"),
        };
        let fault = told(fault);
        if self.args.on_too_long != OnTooLong::Cut {
            bail!("the prompt {fault}; see also --on-too-long");
        }
        // Without a number of new tokens, half of the positions are left to them.
        if template.is_some_and(|template| template.fields().len() > 1) {
            bail!("the prompt {fault}; a prompt of several fields is not cut");
        }
        let new = how.max_new_tokens.unwrap_or(how.usual.new_tokens.min(limit / 2)).max(1);
        let fits = |end: &str| encode(end).is_ok_and(|ids| check_prompt(self.language, &ids, new, how).is_ok());
        let end = fit::longest_end(prompt, fits);
        let end = end.ok_or_else(|| anyhow!("the prompt {fault}, and not even a part of it fits"))?;
        let before = ids.len();
        let ids = encode(end)?;
        let note = format!("the prompt has {before} tokens; its last {} are read", ids.len());
        Ok(Prepared { of: 0, ids, note: Some(note) })
    }

    /// Continues good lines together and prints what comes of them.
    fn batch(
        &self,
        out: &mut Output,
        (lines, prompts): (&[Line<Prepared>], &[&str]),
        is_only: bool,
        how: &ContinueOptions<'_>,
    ) -> Result<SpeculativeReport, Failure> {
        let prepared: Vec<&Prepared> = lines.iter().filter_map(|line| line.ready.as_ref().ok()).collect();
        for (line, prepared) in lines.iter().zip(&prepared) {
            if let Some(note) = &prepared.note {
                self.options.note(format_args!("{}: {note}", line.place));
            }
        }
        let ids: Vec<Vec<u32>> = prepared.iter().map(|prepared| prepared.ids.clone()).collect();
        let streams = lines.len() == 1 && self.args.method.n == 1 && !self.options.json;
        let mut broken = None;
        let tell = |event: &TextEvent<'_>| {
            let piece = if is_only { event.text.to_owned() } else { one_line(event.text) };
            if streams && let Err(failure) = out.piece(&piece) {
                broken = Some(failure);
                return Flow::Interrupt;
            }
            if self.stop.is_stopped() { Flow::Interrupt } else { Flow::Continue }
        };
        let found = continue_prompts(self.language, &ids, lines[0].number as u64, how, tell);
        if let Some(failure) = broken {
            return Err(failure);
        }
        let (found, report) = found.map_err(failure)?;
        for (prompt, found) in prompts.iter().zip(&found) {
            self.print(out, prompt, found, (streams, is_only))?;
        }
        Ok(report)
    }

    fn continue_options(&self) -> Result<ContinueOptions<'a>, Failure> {
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
            usual: Usual::of(generation),
            slide: limits.slide,
        })
    }

    /// Prints what a prompt has led to; without --json always as many lines as were asked for, so that they can be counted,
    /// unless the prompt `is_only`.
    fn print(
        &self,
        out: &mut Output,
        prompt: &str,
        found: &[Continuation],
        (streamed, is_only): (bool, bool),
    ) -> Result<(), Failure> {
        if self.options.json {
            return out.json(&object(prompt, found)?);
        }
        if streamed && !matches!(self.kind(), Kind::Beam(_)) {
            return out.line("");
        }
        let has_line_ends = found.iter().any(|one| one.text.contains(['\n', '\r']));
        if is_only && has_line_ends {
            return found.iter().enumerate().try_for_each(|(at, one)| {
                let between = if at == 0 { "" } else { BETWEEN };
                out.line(format_args!("{between}{}", one.text))
            });
        }
        (0..self.args.method.n).try_for_each(|sample| match found.get(sample) {
            Some(one) => out.line(one_line(&one.text)),
            None => out.line(""),
        })
    }

    fn print_fault(&self, out: &mut Output, prompt: Option<&str>, fault: &str) -> Result<(), Failure> {
        if self.options.json {
            return out.json(&json!({ "prompt": prompt, "error": fault }));
        }
        (0..self.args.method.n).try_for_each(|_| out.line(""))
    }
}

/// A fault in words, with the option that helps.
fn told(fault: PromptFault) -> String {
    match fault {
        PromptFault::NoRoom { .. } => format!("{fault} with --slide"),
        _ => fault.to_string(),
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

/// Tells whose fault it was.
fn failure(error: continue_text::Error) -> Failure {
    match error {
        continue_text::Error::Generate(error @ generate::Error::NonFiniteLogits { .. }) => Failure::run(error),
        error => error.into(),
    }
}
