//! How a text is continued: the method, what ends it, and how long it may be.

use super::continue_text::LanguageModel;
use super::translate::search_options;
use crate::generate::{ContrastiveOptions, SampleOptions, SearchOptions, WarperOptions};
use crate::hub;
use crate::hub::generation::GenerationConfig;

/// How a continuation is found. There is no default: what ends a text is for the model to say, so the methods come with
/// [`ContinueOptions::of`] and its siblings.
#[derive(Clone)]
pub enum Method<'m> {
    /// Drawn, or the likeliest token each time where the temperature is 0.
    Sample(SampleOptions),
    /// Beam search.
    Beam(SearchOptions),
    /// Likely tokens that do not resemble what was said.
    Contrastive(ContrastiveOptions),
    /// As [`Method::Sample`], with a small model that drafts for the large one.
    Speculative {
        /// How to draw.
        options: SampleOptions,
        /// The small model, of the same tokenizer.
        draft: &'m LanguageModel,
        /// Tokens drafted at a time.
        draft_tokens: usize,
    },
}

/// What a continuation may be. There is no default, because only the model knows its end tokens:
///
/// * [`ContinueOptions::of`] is what the model's own settings say,
/// * [`ContinueOptions::greedy`], [`ContinueOptions::sampled`] and [`ContinueOptions::beam`] take everything but the method
///   from them.
///
/// ```
/// use atento::{ContinueOptions, LanguageModel, WarperOptions};
///
/// let language = LanguageModel::load("tests/fixtures/conformance/gpt2-tiny")?;
/// let warpers = WarperOptions { top_k: 20, temperature: 0.8, ..WarperOptions::default() };
/// let options = ContinueOptions { max_new_tokens: Some(8), ..ContinueOptions::sampled(&language, warpers, 1) };
/// let found = language.generate_all(&["a cat", "a dog"], &options)?;
/// assert!(found.iter().flatten().all(|one| one.ids.len() <= 8));
/// # Ok::<(), atento::Error>(())
/// ```
#[derive(Clone)]
pub struct ContinueOptions<'m> {
    /// How it is found.
    pub method: Method<'m>,
    /// Texts that end it and are not part of it.
    pub stops: Vec<String>,
    /// The most tokens of it, its end token counted; without a number the usual, as far as the model's positions go.
    pub max_new_tokens: Option<usize>,
    /// How much is usual.
    pub usual: Usual,
    /// Whether it may grow beyond the model's positions: the later half of the tokens is then read again as a beginning.
    pub slide: bool,
}

/// How much is generated where nobody says.
#[derive(Clone, Copy, Debug)]
pub struct Usual {
    /// Tokens of a continuation.
    pub new_tokens: usize,
    /// Tokens of prompt and continuation together, where that is limited; a continuation has one token at least.
    pub whole: Option<usize>,
}

impl Usual {
    pub(super) fn behind(self, prompt: usize) -> usize {
        let rest = self.whole.map_or(usize::MAX, |whole| whole.saturating_sub(prompt));
        self.new_tokens.min(rest).max(1)
    }
}

impl Default for Usual {
    /// 128 new tokens.
    fn default() -> Self {
        Self { new_tokens: 128, whole: None }
    }
}

impl Usual {
    /// What a model's own settings say.
    #[must_use]
    pub fn of(generation: &GenerationConfig) -> Self {
        match (generation.max_new_tokens, generation.max_length) {
            (None, Some(whole)) => Self { new_tokens: usize::MAX, whole: Some(whole) },
            (new_tokens, _) => Self { new_tokens: new_tokens.unwrap_or(Self::default().new_tokens), whole: None },
        }
    }
}

impl ContinueOptions<'static> {
    /// The likeliest token each time.
    #[must_use]
    pub fn greedy(language: &LanguageModel) -> Self {
        Self::sampled(language, WarperOptions { temperature: 0.0, ..WarperOptions::default() }, 0)
    }

    /// Tokens drawn from the model's distribution as `warpers` bend it; another seed gives other texts.
    #[must_use]
    pub fn sampled(language: &LanguageModel, warpers: WarperOptions, seed: u64) -> Self {
        let processors = language.processors();
        let method = Method::Sample(SampleOptions { seed, processors, warpers, ..SampleOptions::default() });
        Self { stops: language.generation.stop_strings.clone(), ..Self::by(method, &language.generation) }
    }

    /// Beam search with so many live hypotheses. It has no stop strings.
    #[must_use]
    pub fn beam(language: &LanguageModel, beam: usize) -> Self {
        let search = SearchOptions { beam, ..search_options(&language.generation) };
        Self::by(Method::Beam(search.with(language.processors())), &language.generation)
    }

    fn by(method: Method<'static>, generation: &GenerationConfig) -> Self {
        Self { method, stops: Vec::new(), max_new_tokens: None, usual: Usual::of(generation), slide: false }
    }

    /// The model's own settings (generation_config.json). Where these do not say how tokens are chosen, they are drawn from
    /// the model's distribution; the same prompt has the same continuation each time.
    ///
    /// # Errors
    /// A setting that no search can have.
    pub fn of(language: &LanguageModel) -> Result<Self, hub::Error> {
        let (own, processors) = (&language.generation, language.processors());
        own.require()?;
        let draws = own.sampling.do_sample;
        let method = match own.sampling.contrast() {
            _ if draws != Some(true) && own.num_beams > 1 => Method::Beam(search_options(own).with(processors)),
            Some(penalty_alpha) if draws != Some(true) => {
                let top_k = own.sampling.candidates();
                Method::Contrastive(ContrastiveOptions { penalty_alpha, top_k, top_logprobs: 0, processors })
            }
            _ => {
                let mut warpers = own.sampling.warpers();
                if draws == Some(false) {
                    warpers.temperature = 0.0;
                }
                Method::Sample(SampleOptions { processors, warpers, ..SampleOptions::default() })
            }
        };
        let stops = if matches!(method, Method::Beam(_)) { Vec::new() } else { own.stop_strings.clone() };
        Ok(Self { stops, ..Self::by(method, own) })
    }
}

impl Method<'_> {
    /// Tokens that fit behind a prompt in a model of so many positions. The last new token is not fed again, except by
    /// contrastive search, which looks at the states of its candidates.
    #[must_use]
    pub fn room(&self, positions: usize, prompt: usize) -> usize {
        let unfed = if matches!(self, Method::Contrastive(_)) { 0 } else { 1 };
        (positions + unfed).saturating_sub(prompt)
    }
}
