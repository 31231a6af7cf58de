//! Texts that a language model goes on with: prompts in, continuations out.

use atento_tensor::Pool;

use super::Loaded;
use crate::generate::{
    self, FinishReason, Flow, Hypothesis, ProcessorOptions, Prompt, Sample, SamplePrompt, SpeculativeReport,
    StopStrings, TextEvent, TextSink, contrastive_search, sample, sample_speculative, search_until,
};
use crate::models::{CachedCausal, CausalLm};
use crate::text;

pub use super::continue_options::{ContinueOptions, Method, Usual};

/// A causal language model, ready to use.
pub type LanguageModel = Loaded<Box<dyn CausalLm>>;

impl LanguageModel {
    /// What its own settings do to the probabilities of tokens. Rows without a token are never generated.
    #[must_use]
    pub fn processors(&self) -> ProcessorOptions {
        let own = &self.generation;
        let suppressed = own.suppressed_ids.iter().copied();
        ProcessorOptions {
            repetition_penalty: own.repetition_penalty,
            no_repeat_ngram: own.no_repeat_ngram_size,
            bad_words: own.bad_words_ids.clone(),
            // A count of new tokens is stronger than one of the whole.
            min_new_tokens: own.min_new_tokens.unwrap_or(0),
            min_length: if own.min_new_tokens.is_some() { 0 } else { own.min_length },
            suppress_tokens: suppressed.chain(self.unused_ids()).collect(),
            eos_ids: own.eos_ids.clone(),
            ..ProcessorOptions::default()
        }
    }

    /// Rows of the table that no token of the tokenizer has, where the table was rounded up: they must not be generated.
    #[must_use]
    pub fn unused_ids(&self) -> Vec<u32> {
        (self.tokenizer.vocab_size() as u32..self.model.vocab_size() as u32).collect()
    }
}

/// One continuation of a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Continuation {
    /// What follows the prompt, without special tokens and without the stop string.
    pub text: String,
    /// Its tokens, with the end token where there is one.
    pub ids: Vec<u32>,
    /// Natural log-probability of each token.
    pub logprobs: Vec<f32>,
    /// `"stop"`, `"length"` or `"interrupted"`.
    pub finish_reason: &'static str,
}

/// What can keep a prompt from being continued.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The search or the sampling.
    #[error(transparent)]
    Generate(#[from] generate::Error),
    /// The tokenizer.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// A prompt that the model cannot begin with.
    #[error("prompt {number} {fault}")]
    Prompt {
        /// Which prompt, counted from 1.
        number: usize,
        /// What is wrong with it.
        fault: PromptFault,
    },
    /// Stop strings need text as it grows.
    #[error("stop strings go with sampling, greedy and contrastive search; beam search judges whole continuations")]
    StopsWithBeam,
    /// Speculative decoding continues one prompt at a time.
    #[error("a draft model helps with 1 prompt at a time, and there are {found}: continue them one by one")]
    DraftPrompts {
        /// Prompts given.
        found: usize,
    },
    /// The draft model cannot follow as far.
    #[error(
        "the draft model has positions for {found} tokens, and {needed} are asked for: take another, or ask for fewer"
    )]
    ShortDraft {
        /// The draft model's positions.
        found: usize,
        /// Tokens of prompt and continuation.
        needed: usize,
    },
    /// The draft model's tokens mean something else.
    #[error("the draft model has another tokenizer: speculative decoding needs models with the same tokenizer")]
    OtherTokenizer,
    /// A draft is judged in place.
    #[error("a text does not slide while a draft model helps: leave one of the two out")]
    SlideWithDraft,
}

/// What is wrong with a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptFault {
    /// Nothing to go on from.
    #[error("is empty: give the model a token to go on from, such as its end-of-text token")]
    Empty,
    /// More tokens than positions.
    #[error("has {tokens} tokens; the model has positions for {limit}: shorten it")]
    TooLong {
        /// The prompt's tokens.
        tokens: usize,
        /// The model's positions.
        limit: usize,
    },
    /// The continuation would not fit.
    #[error(
        "has {tokens} tokens and {new} more are asked for, but the model has positions for {limit}: ask for at most {room}, \
         or let the text slide"
    )]
    NoRoom {
        /// The prompt's tokens.
        tokens: usize,
        /// Tokens asked for.
        new: usize,
        /// Tokens that fit.
        room: usize,
        /// The model's positions.
        limit: usize,
    },
    /// A token without a row in the model's table.
    #[error("has token id {id}, but the model's table has {vocab_size} rows: the tokenizer belongs to another model")]
    UnknownId {
        /// The token.
        id: u32,
        /// Rows of the table.
        vocab_size: usize,
    },
}

/// Whether the model can begin with these tokens and go on as the options say, for `new` tokens.
///
/// # Errors
/// What keeps it from that.
pub fn check_prompt(
    model: &LanguageModel,
    ids: &[u32],
    new: usize,
    options: &ContinueOptions<'_>,
) -> Result<(), PromptFault> {
    let (limit, vocab_size) = (model.model.max_positions(), model.model.vocab_size());
    if ids.is_empty() {
        return Err(PromptFault::Empty);
    }
    if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocab_size) {
        return Err(PromptFault::UnknownId { id, vocab_size });
    }
    if ids.len() > limit {
        return Err(PromptFault::TooLong { tokens: ids.len(), limit });
    }
    let room = options.method.room(limit, ids.len());
    if !options.slide && new > room {
        return Err(PromptFault::NoRoom { tokens: ids.len(), new, room, limit });
    }
    Ok(())
}

/// Whether a model may draft for another one: their tokens mean the same.
///
/// # Errors
/// They do not, or one has rows that the other lacks.
pub fn check_draft(model: &LanguageModel, draft: &LanguageModel) -> Result<(), Error> {
    if model.tokenizer.identity()? != draft.tokenizer.identity()? {
        return Err(Error::OtherTokenizer);
    }
    check_rows(model, draft)
}

fn check_rows(model: &LanguageModel, draft: &LanguageModel) -> Result<(), Error> {
    let (draft, target) = (draft.model.vocab_size(), model.model.vocab_size());
    match draft == target {
        true => Ok(()),
        false => Err(generate::Error::DraftVocabulary { draft, target }.into()),
    }
}

/// Continues tokenised prompts together; per prompt, its continuations. `on_text` is told of text as it becomes certain
/// and may end or interrupt; of beam search, whose texts are certain only in the end, it is told each step, without text,
/// and may interrupt. Also returns how well a draft model served.
///
/// `first` is the number of the first prompt in the whole of the work: a prompt's random numbers follow from its number,
/// so that it is continued alike in any batch.
///
/// # Errors
/// A prompt or an option that makes no sense, such as a draft model for several prompts; logits that are not numbers.
pub fn continue_prompts(
    model: &LanguageModel,
    prompts: &[Vec<u32>],
    first: u64,
    options: &ContinueOptions<'_>,
    mut on_text: impl FnMut(&TextEvent<'_>) -> Flow,
) -> Result<(Vec<Vec<Continuation>>, SpeculativeReport), Error> {
    if prompts.is_empty() {
        return Ok((Vec::new(), SpeculativeReport::default()));
    }
    let positions = model.model.max_positions();
    let mut new_tokens = Vec::with_capacity(prompts.len());
    for (i, ids) in prompts.iter().enumerate() {
        let refuse = |fault| Error::Prompt { number: i + 1, fault };
        check_prompt(model, ids, options.max_new_tokens.unwrap_or(1), options).map_err(refuse)?;
        let room = if options.slide { usize::MAX } else { options.method.room(positions, ids.len()) };
        new_tokens.push(options.max_new_tokens.unwrap_or(options.usual.behind(ids.len()).min(room)));
    }
    let pool = Pool::new();
    let slices: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let whole = slices.iter().zip(&new_tokens).map(|(ids, new)| ids.len().saturating_add(*new)).max().unwrap_or(0);
    let mut decoder = CachedCausal::new(&*model.model, &pool, &slices, whole);
    if options.slide {
        decoder = decoder.sliding(&slices);
    }
    if let Method::Beam(search_options) = &options.method {
        if !options.stops.is_empty() {
            return Err(Error::StopsWithBeam);
        }
        let prompts: Vec<Prompt> = (prompts.iter().zip(&new_tokens))
            .map(|(prefix, &max_new_tokens)| Prompt { prefix: prefix.clone(), max_new_tokens })
            .collect();
        let step = TextEvent { prompt: 0, sample: 0, text: "", token: None, finish: None };
        let mut interrupted = false;
        let found = search_until(&mut decoder, &prompts, search_options, &mut || {
            interrupted |= on_text(&step) == Flow::Interrupt;
            interrupted
        })?;
        let of_prompt = |(list, prompt): (Vec<Hypothesis>, &Prompt)| {
            let reason = |one: &Hypothesis| match interrupted && one.ids.len() < prompt.max_new_tokens {
                _ if one.finished => FinishReason::Stop,
                true => FinishReason::Interrupted,
                false => FinishReason::Length,
            };
            list.into_iter().map(|one| of_hypothesis(model, reason(&one), one)).collect()
        };
        let found = found.into_iter().zip(&prompts).map(of_prompt).collect::<Result<_, Error>>()?;
        return Ok((found, SpeculativeReport::default()));
    }
    let sample_prompts: Vec<SamplePrompt> = (first..)
        .zip(prompts.iter().zip(&new_tokens))
        .map(|(sequence, (prefix, &max_new_tokens))| SamplePrompt { prefix: prefix.clone(), max_new_tokens, sequence })
        .collect();
    let n = match &options.method {
        Method::Sample(options) => options.n,
        _ => 1,
    };
    let stops = StopStrings::new(options.stops.iter().map(String::as_str))?;
    let mut sink = TextSink::new(&model.tokenizer, prompts.len(), n, stops, on_text);
    let mut report = SpeculativeReport::default();
    let samples: Vec<Vec<Sample>> = match &options.method {
        Method::Sample(options) => sample(&mut decoder, &sample_prompts, options, &mut sink)?,
        Method::Contrastive(options) => {
            let samples = contrastive_search(&mut decoder, &sample_prompts, options, &mut sink)?;
            samples.into_iter().map(|sample| vec![sample]).collect()
        }
        Method::Speculative { options: how, draft, draft_tokens } => {
            let [prompt] = &sample_prompts[..] else { return Err(Error::DraftPrompts { found: prompts.len() }) };
            if options.slide {
                return Err(Error::SlideWithDraft);
            }
            check_rows(model, draft)?;
            let (found, needed) = (draft.model.max_positions(), whole - 1);
            if found < needed {
                return Err(Error::ShortDraft { found, needed });
            }
            let mut draft = CachedCausal::new(&*draft.model, &pool, &slices[..1], whole);
            let (sample, found) = sample_speculative(&mut decoder, &mut draft, prompt, how, *draft_tokens, &mut sink)?;
            report = found;
            vec![vec![sample]]
        }
        Method::Beam(_) => unreachable!("returned above"),
    };
    let texts = sink.finish()?;
    let join = |(samples, texts): (Vec<Sample>, Vec<String>)| {
        samples.into_iter().zip(texts).map(|(sample, text)| of_sample(sample, text)).collect()
    };
    Ok((samples.into_iter().zip(texts).map(join).collect(), report))
}

fn of_sample(sample: Sample, text: String) -> Continuation {
    let finish_reason = sample.finish_reason.name();
    Continuation { text, ids: sample.ids, logprobs: sample.token_logprobs, finish_reason }
}

fn of_hypothesis(model: &LanguageModel, reason: FinishReason, found: Hypothesis) -> Result<Continuation, Error> {
    let text = model.tokenizer.decode(&found.ids, true)?;
    Ok(Continuation { text, ids: found.ids, logprobs: found.token_logprobs, finish_reason: reason.name() })
}
