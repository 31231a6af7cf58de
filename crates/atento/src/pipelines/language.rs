//! What a language model does, in short.

use std::sync::Arc;

use super::continue_text::{Continuation, ContinueOptions, LanguageModel, continue_prompts};
use super::model::Error;
use crate::data::tokens::{CausalBatch, Shard, Strided};
use crate::generate::Flow;
use crate::score::causal::{self, TextScore, encode_text, score_texts};
use crate::score::perplexity::text_loss;

/// Tokens computed together; only speed and memory depend on it.
const BATCH_TOKENS: usize = 4096;
/// The longest window of a text that is measured: what a window takes of memory grows with it.
const LONGEST_WINDOW: usize = 4096;

impl LanguageModel {
    /// What follows a prompt, by the model's own settings ([`ContinueOptions::of`]) and in the template that it was taught
    /// with, without special tokens.
    ///
    /// # Errors
    /// A setting that no search can have; a prompt that is empty or too long; logits that are not numbers.
    pub fn generate(&self, prompt: &str) -> Result<String, Error> {
        let prompt = match &self.templates {
            None => prompt.to_owned(),
            Some(templates) if templates.prompt.fields().len() == 1 => templates.prompt.fill(&[prompt]),
            Some(templates) => return Err(Error::Fields { fields: templates.prompt.fields().join(", ") }),
        };
        let found = self.generate_all(&[prompt], &ContinueOptions::of(self)?)?;
        Ok(found.into_iter().flatten().next().map_or_else(String::new, |one| one.text))
    }

    /// The continuations of each prompt, which is read as it stands, without a template.
    ///
    /// # Errors
    /// An option that makes no sense; a prompt that is empty or too long; logits that are not numbers.
    pub fn generate_all<S: AsRef<str>>(
        &self,
        prompts: &[S],
        options: &ContinueOptions<'_>,
    ) -> Result<Vec<Vec<Continuation>>, Error> {
        let encode = |prompt: &S| self.tokenizer.encode_prompt(prompt.as_ref());
        let ids: Vec<Vec<u32>> = prompts.iter().map(encode).collect::<Result<_, _>>()?;
        Ok(continue_prompts(self, &ids, 0, options, |_| Flow::Continue)?.0)
    }

    /// e to the mean negative log-likelihood of the text's tokens, of any length: it is read in windows as long as the
    /// model's positions, at most 4,096 tokens, each of which begins in the middle of the one before. The first token is not
    /// predicted.
    ///
    /// # Errors
    /// A text of fewer than two tokens; logits that are not numbers.
    pub fn perplexity(&self, text: &str) -> Result<f64, Error> {
        let (vocab_size, positions) = (self.model.vocab_size(), self.model.max_positions().min(LONGEST_WINDOW));
        let ids = self.tokenizer.encode_prompt(text)?;
        let shard = Arc::new(Shard::from_ids("the text", ids)?);
        shard.check_ids(vocab_size)?;
        let windows = Strided::new(shard, vocab_size, positions, (positions / 2).max(1))?;
        Ok(text_loss(&*self.model, windows, BATCH_TOKENS, |_| ())?.perplexity())
    }

    /// The log-probability of every token of each text but its first; see [`score::causal`](crate::score::causal).
    ///
    /// # Errors
    /// A text that is empty or longer than the model's positions; nothing is scored then.
    pub fn score<S: AsRef<str> + Sync>(&self, texts: &[S]) -> Result<Vec<TextScore>, Error> {
        Ok(score_texts(&*self.model, &self.tokenizer, texts)?)
    }

    /// Texts to learn from at once: each is a sequence of its own, and all its tokens but the first are targets.
    ///
    /// # Errors
    /// No text; a text of fewer than two tokens, or longer than the model's positions.
    pub fn batch<S: AsRef<str>>(&self, texts: &[S]) -> Result<CausalBatch, Error> {
        let encode = |(number, text): (usize, &S)| {
            let ids = encode_text(&*self.model, &self.tokenizer, text.as_ref());
            ids.map_err(|fault| causal::Error { number, fault })
        };
        let ids: Vec<Vec<u32>> = (1..).zip(texts).map(encode).collect::<Result<_, _>>()?;
        Ok(CausalBatch::of_sequences(ids)?)
    }
}
