//! What a model looks at: its attention weights on one text, computed beside the forward pass.

use std::fmt::Display;

use atento_tensor::{Graph, Pool, Tensor};

use super::translate::{Pretrained, translate_ids};
use super::{LanguageModel, TextModel};
use crate::data::batches::{PackedBatch, Pair};
use crate::explain::{AttentionMaps, Between, Error, Stack, Tokens};
use crate::memory::{self, TooLarge};
use crate::models::{Texts, Trunk};
use crate::score::causal::encode_text;
use crate::score::{Fault, Side, encode_side};
use crate::text::{EncodedPair, Tokenizer};

impl TextModel {
    /// The attention weights of a text or a pair.
    ///
    /// # Errors
    /// Weights that are not numbers; more of them than there is memory.
    pub fn attention(&self, text: &EncodedPair) -> Result<AttentionMaps, Error> {
        let cu_seqlens = [0, text.ids.len() as u32];
        let texts = Texts { ids: &text.ids, type_ids: Some(&text.type_ids), cu_seqlens: &cu_seqlens };
        of_text(&*self.model.trunk, &self.tokenizer, texts)
    }
}

impl LanguageModel {
    /// The attention weights of a text, which is read as it stands, without a template.
    ///
    /// # Errors
    /// A text that is empty or longer than the model's positions; weights that are not numbers, or more of them than
    /// there is memory.
    pub fn attention(&self, text: &str) -> Result<AttentionMaps, Error> {
        let ids = encode_text(&*self.model, &self.tokenizer, text).map_err(|fault| unreadable("text", fault))?;
        self.attention_of(&ids)
    }

    /// The attention weights of tokens.
    ///
    /// # Errors
    /// As [`LanguageModel::attention`].
    pub fn attention_of(&self, ids: &[u32]) -> Result<AttentionMaps, Error> {
        Fault::check(ids, self.model.vocab_size(), Some(self.model.max_positions()))
            .map_err(|fault| unreadable("text", fault))?;
        of_text(&*self.model, &self.tokenizer, Texts::of(ids, &[0, ids.len() as u32]))
    }
}

impl Pretrained {
    /// The attention weights of a sentence and its translation: the one that is given, or else the model's own, by its
    /// own settings.
    ///
    /// # Errors
    /// A sentence that is empty or longer than the model's positions; what goes wrong with a translation; weights that
    /// are not numbers, or more of them than there is memory.
    pub fn attention(&self, source: &str, target: Option<&str>) -> Result<AttentionMaps, Error> {
        let encode = |side: Side, text: &str| {
            let ids = encode_side(&*self.model, &self.tokenizer, side, text);
            ids.map_err(|fault| unreadable(side, fault))
        };
        let source = encode(Side::Source, source)?;
        let target = match target {
            Some(target) => encode(Side::Target, target)?,
            None => self.own_translation(&source)?,
        };
        let pair = PackedBatch::new(&[Pair { id: 0, source, target }], self.start_id());
        require_memory(self.model.heads(), pair.source.len().max(pair.target_input.len()))?;
        let pool = Pool::new();
        let found = self.model.attention(&mut Graph::infer(self.model.params(), &pool), &pair);
        let (from, to) = (pair.source.len(), pair.target_input.len());
        finished(AttentionMaps {
            text: Tokens::of(&self.tokenizer, &pair.source)?,
            target: Some(Tokens::of(&self.tokenizer, &pair.target_input)?),
            virtual_tokens: 0,
            stacks: vec![
                Stack::new(Between::Text, &found.source, from),
                Stack::new(Between::Target, &found.target, to),
                Stack::new(Between::Cross, &found.cross, to),
            ],
        })
    }

    /// The tokens of the model's best translation.
    fn own_translation(&self, source: &[u32]) -> Result<Vec<u32>, Error> {
        self.generation.require()?;
        let found = translate_ids(&*self.model, &[source.to_vec()], &self.translate_options())?;
        Ok(found.into_iter().flatten().next().map(|best| best.ids).unwrap_or_default())
    }
}

/// The weights of a model that reads one text.
fn of_text(trunk: &dyn Trunk, tokenizer: &Tokenizer, text: Texts<'_>) -> Result<AttentionMaps, Error> {
    let (tokens, virtual_tokens) = (text.ids.len(), trunk.params().virtual_count());
    require_memory(trunk.layers() * trunk.heads(), tokens + virtual_tokens)?;
    let pool = Pool::new();
    let found: Vec<Tensor> = trunk.attention(&mut Graph::infer(trunk.params(), &pool), text);
    finished(AttentionMaps {
        text: Tokens::of(tokenizer, text.ids)?,
        target: None,
        virtual_tokens,
        stacks: vec![Stack::new(Between::Text, &found, tokens)],
    })
}

/// Refuses more weights than there is memory for: the pass has them, and the result a copy.
fn require_memory(heads: usize, tokens: usize) -> Result<(), TooLarge> {
    let weights = heads as u128 * tokens as u128 * tokens as u128;
    let bytes = 2 * weights * size_of::<f32>() as u128;
    memory::require(bytes, &format!("looking at {heads} heads of {tokens} tokens"))
}

/// The maps, which must be numbers.
fn finished(maps: AttentionMaps) -> Result<AttentionMaps, Error> {
    if maps.is_finite() { Ok(maps) } else { Err(Error::NonFinite) }
}

fn unreadable(what: impl Display, fault: Fault) -> Error {
    Error::Unreadable { what: what.to_string(), fault }
}
