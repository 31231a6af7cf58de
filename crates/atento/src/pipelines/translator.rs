//! What a translator does, in short.

use super::model::Error;
use super::translate::{Pretrained, TranslateOptions, Translation, translate};
use crate::data::batches::PackedBatch;
use crate::score::{self, Score, encode_pairs, score_pairs};

impl Pretrained {
    /// The best translation of a sentence, by the model's own settings ([`Pretrained::translate_options`]).
    ///
    /// # Errors
    /// A setting that no search can have; a sentence that is too long; logits that are not numbers.
    pub fn translate(&self, sentence: &str) -> Result<String, Error> {
        self.generation.require()?;
        let found = self.translate_all(&[sentence], &self.translate_options())?;
        Ok(found.into_iter().flatten().next().map_or_else(String::new, |one| one.text))
    }

    /// The translations of each sentence, `options.search.n_best` of them, best first.
    ///
    /// # Errors
    /// An option that makes no sense; a sentence that is too long; logits that are not numbers.
    pub fn translate_all<S: AsRef<str> + Sync>(
        &self,
        sentences: &[S],
        options: &TranslateOptions,
    ) -> Result<Vec<Vec<Translation>>, Error> {
        Ok(translate(&*self.model, &self.tokenizer, sentences, options)?)
    }

    /// The log-probability of every token of the target of each `(source, target)`; see [`score`](mod@crate::score).
    ///
    /// # Errors
    /// A side that is empty or too long; nothing is scored then.
    pub fn score<S: AsRef<str> + Sync>(&self, pairs: &[(S, S)]) -> Result<Vec<Score>, Error> {
        Ok(score_pairs(&*self.model, &self.tokenizer, pairs, self.start_id())?)
    }

    /// Pairs `(source, target)` to learn from at once.
    ///
    /// # Errors
    /// No pair; a side that is empty or too long.
    pub fn batch<S: AsRef<str> + Sync>(&self, pairs: &[(S, S)]) -> Result<PackedBatch, Error> {
        let pairs = encode_pairs(&*self.model, &self.tokenizer, pairs)?;
        if pairs.is_empty() {
            return Err(score::Error::NoPairs.into());
        }
        Ok(PackedBatch::new(&pairs, self.start_id()))
    }
}
