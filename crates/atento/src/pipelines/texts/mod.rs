//! What models with heads make of texts: labels of whole texts and of tokens, masked words, answers, choices, states.
//!
//! Texts are packed into batches and never padded: what a model makes of a text does not depend on the texts beside it.

pub mod answer;
pub mod choose;
pub mod classify;
pub mod embed;
pub mod fill_mask;
pub mod tag;
#[cfg(test)]
mod tests;

use atento_tensor::{Graph, Pool, Tensor};

use super::TextModel;
use crate::families::Head;
use crate::models::Texts;
use crate::text::{self, EncodedPair, Truncation};

/// Tokens computed together; only speed and memory depend on it.
const BATCH_TOKENS: usize = 4096;

/// Why a text cannot be used, or a model not asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The tokenizer.
    #[error(transparent)]
    Text(#[from] text::Error),
    /// The text is longer than the model's positions.
    #[error("has {tokens} tokens; the model has positions for {limit}")]
    TooLong {
        /// Tokens of the text, with those that are added around it.
        tokens: usize,
        /// The most that there may be.
        limit: usize,
    },
    /// A text without a token.
    #[error("has no token")]
    Empty,
    /// A text that is to have a masked word has none.
    #[error("has no {mask}")]
    NoMask {
        /// The token that stands for the word.
        mask: String,
    },
    /// The tokenizer has no token that stands for a masked word.
    #[error("the tokenizer has no mask token, as [MASK] or <mask>: this model cannot be asked for words")]
    NoMaskToken,
    /// A type of tokens that the model does not have.
    #[error("the tokenizer gives the second text the type {found}, but the model has {types} types of tokens")]
    NoType {
        /// The type.
        found: u32,
        /// How many the model has.
        types: usize,
    },
    /// Logits that are no numbers.
    #[error("the model gives no numbers (NaN or infinities): its weights are damaged, or too large for its precision")]
    NonFinite,
    /// The model does something else.
    #[error("this model {does}: {asked} is for a model that {expected}")]
    OtherHead {
        /// What it does.
        does: &'static str,
        /// What was asked of it.
        asked: &'static str,
        /// What a model for that does.
        expected: &'static str,
    },
    /// A setting that cannot be.
    #[error("{0}")]
    Setting(String),
}

/// What happens to a text beyond the model's positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TooLong {
    /// It is refused.
    #[default]
    Refuse,
    /// It is cut.
    Cut(Truncation),
}

impl TextModel {
    /// The longest text in tokens, those that are added around it counted.
    #[must_use]
    pub fn longest(&self) -> Option<usize> {
        self.model.trunk.longest()
    }

    /// The tokens of a text, or of two.
    ///
    /// # Errors
    /// It has none, or more than the model's positions; a type of tokens that the model does not have.
    pub fn encode(&self, a: &str, b: Option<&str>, too_long: TooLong) -> Result<EncodedPair, Error> {
        let found = match (too_long, self.longest()) {
            (TooLong::Cut(truncation), Some(limit)) => self.tokenizer.encode_pair(a, b, Some(limit), truncation)?,
            _ => self.tokenizer.encode_pair(a, b, None, Truncation::LongestFirst)?,
        };
        self.check(found)
    }

    fn check(&self, found: EncodedPair) -> Result<EncodedPair, Error> {
        if found.ids.is_empty() {
            return Err(Error::Empty);
        }
        if let Some(limit) = self.longest().filter(|&limit| found.ids.len() > limit) {
            return Err(Error::TooLong { tokens: found.ids.len(), limit });
        }
        if let Some(types) = self.model.trunk.token_types()
            && let Some(&type_id) = found.type_ids.iter().find(|&&id| id as usize >= types)
        {
            return Err(Error::NoType { found: type_id, types });
        }
        Ok(found)
    }

    /// Refuses to do what only a model with one of these heads does.
    fn require(&self, asked: &'static str, heads: &[Head]) -> Result<(), Error> {
        if heads.contains(&self.model.config.head) {
            return Ok(());
        }
        let (does, expected) = (self.model.config.head.does(), heads[0].does());
        Err(Error::OtherHead { does, asked, expected })
    }

    /// Runs the Transformer over texts, a batch at a time, and collects what `each` makes of a batch: one result a text.
    fn in_batches<T>(
        &self,
        texts: &[&EncodedPair],
        mut each: impl FnMut(&mut Graph<'_>, Texts<'_>, &[&EncodedPair]) -> Result<Vec<T>, Error>,
    ) -> Result<Vec<T>, Error> {
        let (pool, mut results) = (Pool::new(), Vec::with_capacity(texts.len()));
        let mut rest = texts;
        while !rest.is_empty() {
            let (batch, more) = rest.split_at(batch_len(rest));
            rest = more;
            let packed = Packed::of(batch);
            let found = each(&mut Graph::infer(self.model.params(), &pool), packed.texts(), batch)?;
            debug_assert_eq!(found.len(), batch.len());
            results.extend(found);
        }
        Ok(results)
    }

    /// What the head gives each text, or each of its tokens, as rows that belong to it.
    fn head_rows(&self, texts: &[&EncodedPair], is_of_tokens: bool) -> Result<Vec<Vec<f32>>, Error> {
        self.in_batches(texts, |g, packed, batch| {
            let found = if is_of_tokens {
                let states = self.model.states(g, packed);
                self.model.of_tokens(g, &states)
            } else {
                let (_, whole) = self.model.read(g, packed, &[]);
                self.model.of_read_texts(g, &whole.expect("a head on whole texts"))
            };
            let [_, width] = found.dims();
            let values = finite(&found)?;
            let mut rest = values;
            let rows_of = |text: &&EncodedPair| {
                let rows = if is_of_tokens { text.ids.len() } else { 1 };
                let (own, more) = rest.split_at(rows * width);
                rest = more;
                own.to_vec()
            };
            Ok(batch.iter().map(rows_of).collect())
        })
    }
}

/// How many of the first texts make a batch: at least one.
fn batch_len(texts: &[&EncodedPair]) -> usize {
    let mut tokens = 0;
    let fits = |text: &&&EncodedPair| {
        tokens += text.ids.len();
        tokens <= BATCH_TOKENS
    };
    texts.iter().take_while(fits).count().max(1)
}

/// Texts behind one another.
struct Packed {
    ids: Vec<u32>,
    type_ids: Vec<u32>,
    cu_seqlens: Vec<u32>,
}

impl Packed {
    fn of(texts: &[&EncodedPair]) -> Self {
        let mut packed = Self { ids: Vec::new(), type_ids: Vec::new(), cu_seqlens: vec![0] };
        for text in texts {
            packed.ids.extend(&text.ids);
            packed.type_ids.extend(&text.type_ids);
            packed.cu_seqlens.push(packed.ids.len() as u32);
        }
        packed
    }

    fn texts(&self) -> Texts<'_> {
        Texts { ids: &self.ids, type_ids: Some(&self.type_ids), cu_seqlens: &self.cu_seqlens }
    }
}

/// The values of a tensor, which are numbers.
fn finite(tensor: &Tensor) -> Result<&[f32], Error> {
    let values = tensor.values();
    if values.iter().all(|value| value.is_finite()) { Ok(values) } else { Err(Error::NonFinite) }
}

/// `softmax(x)` in f64, rounded.
pub(crate) fn softmax(logits: &[f32]) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f64> = logits.iter().map(|&x| f64::from(x - highest).exp()).collect();
    let sum: f64 = exp.iter().sum();
    exp.into_iter().map(|x| (x / sum) as f32).collect()
}

/// `1 / (1 + e⁻ˣ)` in f64, rounded.
fn sigmoid(logit: f32) -> f32 {
    (1.0 / (1.0 + f64::from(-logit).exp())) as f32
}

/// The position of the largest value, the first of equals.
pub(crate) fn largest(values: &[f32]) -> usize {
    let better = |best: usize, at: usize| if values[at] > values[best] { at } else { best };
    (1..values.len()).fold(0, better)
}
