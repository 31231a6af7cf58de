//! The words that a masked token may stand for.

use super::{Error, finite, softmax};
use crate::families::Head;
use crate::pipelines::TextModel;
use crate::text::EncodedPair;

/// A word that a masked token may stand for.
#[derive(Clone, Debug, PartialEq)]
pub struct Word {
    /// Its token.
    pub id: u32,
    /// How likely it is.
    pub probability: f32,
}

impl TextModel {
    /// The text of the token that stands for a masked word.
    ///
    /// # Errors
    /// There is none.
    pub fn mask(&self) -> Result<String, Error> {
        let mask = self.tokenizer.special().mask.and_then(|id| self.tokenizer.id_to_token(id));
        mask.ok_or(Error::NoMaskToken)
    }

    /// Refuses a text without a masked token.
    ///
    /// # Errors
    /// [`Error::NoMask`], [`Error::NoMaskToken`].
    pub fn require_mask(&self, text: &EncodedPair) -> Result<(), Error> {
        let mask = self.mask()?;
        if self.masked(text).is_empty() { Err(Error::NoMask { mask }) } else { Ok(()) }
    }

    /// The `top_k` likeliest words of each masked token of each text, the likeliest first.
    ///
    /// # Errors
    /// The model finds no words, its tokenizer has no mask, or logits are not numbers.
    pub fn fill_mask(&self, texts: &[&EncodedPair], top_k: usize) -> Result<Vec<Vec<Vec<Word>>>, Error> {
        self.require("fill-mask", &[Head::Words, Head::Pretraining])?;
        self.mask()?;
        self.in_batches(texts, |g, packed, batch| {
            let masked: Vec<Vec<u32>> = batch.iter().map(|text| self.masked(text)).collect();
            let at = |(start, rows): (&u32, &Vec<u32>)| rows.iter().map(|row| start + row).collect::<Vec<_>>();
            let rows: Vec<u32> = packed.cu_seqlens.iter().zip(&masked).flat_map(at).collect();
            let (read, _) = self.model.read(g, packed, &rows);
            let logits = self.model.of_tokens(g, &read);
            let mut words = finite(&logits)?.chunks(logits.dims::<2>()[1]).map(|logits| likeliest(logits, top_k));
            Ok(masked.iter().map(|rows| words.by_ref().take(rows.len()).collect()).collect())
        })
    }

    /// Where a text's masked tokens are.
    fn masked(&self, text: &EncodedPair) -> Vec<u32> {
        let mask = self.tokenizer.special().mask;
        (0..text.ids.len() as u32).filter(|&row| Some(text.ids[row as usize]) == mask).collect()
    }
}

/// The likeliest words, of equals the first.
fn likeliest(logits: &[f32], top_k: usize) -> Vec<Word> {
    let probabilities = softmax(logits);
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let (top_k, by_logit) =
        (top_k.min(ids.len()), |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b)));
    if top_k < ids.len() {
        ids.select_nth_unstable_by(top_k, by_logit);
        ids.truncate(top_k);
    }
    ids.sort_by(by_logit);
    ids.into_iter().map(|id| Word { id, probability: probabilities[id as usize] }).collect()
}
