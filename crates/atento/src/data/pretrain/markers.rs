//! The tokens around the segments of an example, and which tokens are words.

use std::fmt;

use serde::Deserialize;
use tokenizers::{Encoding, PostProcessor};

use super::Error;
use crate::data::tokens;
use crate::text::{self, Tokenizer};

/// A special token that an example needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Begins an example.
    Cls,
    /// Ends a segment.
    Sep,
    /// Stands for a hidden token.
    Mask,
}

impl Role {
    pub(super) fn purpose(self) -> &'static str {
        match self {
            Role::Cls => "it begins every example",
            Role::Sep => "it ends every segment",
            Role::Mask => "it stands for hidden tokens",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Role::Cls => "cls",
            Role::Sep => "sep",
            Role::Mask => "mask",
        })
    }
}

/// The tokens around segments: `cls A sep`, or `cls A pair_separator B sep`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    /// Begins an example: BERT's `[CLS]`, RoBERTa's `<s>`.
    pub cls: u32,
    /// Ends it: `[SEP]`, `</s>`.
    pub sep: u32,
    /// Stands for a hidden token: `[MASK]`, `<mask>`.
    pub mask: u32,
    /// Stand between two segments: `[SEP]`, `</s></s>`.
    pub pair_separator: Vec<u32>,
    /// The type of all tokens up to the second segment, and from there on: 0 and 1 for BERT, 0 and 0 for RoBERTa.
    pub type_ids: [u32; 2],
}

/// Ids that no vocabulary has: they stand for the two segments.
const SEGMENTS: [u32; 2] = [u32::MAX, u32::MAX - 1];

impl Markers {
    /// Those that the post-processor of a tokenizer puts around a text and a pair. Where it puts none, the tokens with the
    /// roles cls (else bos) and sep (else eos), laid out as BERT's.
    ///
    /// # Errors
    /// [`Error::Marker`] names the token that is missing; [`tokens::Error::Tokenizer`].
    pub fn of(tokenizer: &Tokenizer) -> Result<Self, Error> {
        let special = tokenizer.special();
        let mask = special.mask.ok_or(Error::Marker { role: Role::Mask })?;
        if let Some(found) = of_post_processor(&engine(tokenizer)?, mask)? {
            return Ok(found);
        }
        let cls = special.cls.or(special.bos).ok_or(Error::Marker { role: Role::Cls })?;
        let sep = special.sep.or(special.eos).ok_or(Error::Marker { role: Role::Sep })?;
        Ok(Markers { cls, sep, mask, pair_separator: vec![sep], type_ids: [0, 1] })
    }

    /// Number of tokens around one segment, or two.
    pub fn around(&self, pair: bool) -> usize {
        2 + if pair { self.pair_separator.len() } else { 0 }
    }

    fn all(&self) -> impl Iterator<Item = u32> {
        [self.cls, self.sep, self.mask].into_iter().chain(self.pair_separator.iter().copied())
    }
}

/// The library's tokenizer, for what [`Tokenizer`] does not tell.
pub(super) fn engine(tokenizer: &Tokenizer) -> Result<tokenizers::Tokenizer, Error> {
    let refuse = |action| move |error: tokenizers::Error| text::Error::Engine { action, detail: error.to_string() };
    let bytes = tokenizer.to_json_bytes().map_err(tokens::Error::from)?;
    let mut engine =
        tokenizers::Tokenizer::from_bytes(&bytes).map_err(refuse("read itself")).map_err(tokens::Error::from)?;
    engine.with_padding(None);
    engine.with_truncation(None).map_err(refuse("drop its limit")).map_err(tokens::Error::from)?;
    Ok(engine)
}

fn of_post_processor(engine: &tokenizers::Tokenizer, mask: u32) -> Result<Option<Markers>, Error> {
    let Some(processor) = engine.get_post_processor() else { return Ok(None) };
    let segment = |at: usize| {
        let (id, token) = (vec![SEGMENTS[at]], vec!["x".to_owned()]);
        Encoding::new(id, vec![0], token, vec![Some(0)], vec![(0, 1)], vec![0], vec![1], vec![], Default::default())
    };
    let refuse = |error: tokenizers::Error| {
        let detail = error.to_string();
        tokens::Error::from(text::Error::Engine { action: "add its special tokens", detail })
    };
    let single = processor.process(segment(0), None, true).map_err(refuse)?;
    let pair = processor.process(segment(0), Some(segment(1)), true).map_err(refuse)?;
    let (ids, types) = (pair.get_ids(), pair.get_type_ids());
    let place = |segment: u32| ids.iter().position(|&id| id == segment);
    let (Some(a), Some(b)) = (place(SEGMENTS[0]), place(SEGMENTS[1])) else { return Ok(None) };
    let is_usual = a == 1 && b > 2 && ids.len() == b + 2 && single.get_ids() == [ids[0], SEGMENTS[0], ids[b + 1]];
    Ok(is_usual.then(|| Markers {
        cls: ids[0],
        sep: ids[b + 1],
        mask,
        pair_separator: ids[2..b].to_vec(),
        type_ids: [types[a], types[b]],
    }))
}

/// The parts of a `tokenizer.json` that say which tokens were added.
#[derive(Deserialize)]
struct AddedTokens {
    #[serde(default)]
    added_tokens: Vec<Added>,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    #[serde(default)]
    special: bool,
}

/// Which ids of a tokenizer may be masked, and which may stand in for others.
#[derive(Clone, Debug)]
pub(super) struct Vocabulary {
    /// By id, whether it is special: never masked.
    special: Vec<bool>,
    /// Ids that are neither special nor added, in order: the random words.
    pub(super) words: Vec<u32>,
}

impl Vocabulary {
    /// # Errors
    /// [`Error::NoWords`].
    pub(super) fn new(tokenizer: &Tokenizer, markers: &Markers) -> Result<Self, Error> {
        let json = tokenizer.to_json_bytes().map_err(tokens::Error::from)?;
        let added = serde_json::from_slice(&json).map(|found: AddedTokens| found.added_tokens).unwrap_or_default();
        let mut special = vec![false; tokenizer.vocab_size()];
        let mut is_added = special.clone();
        let roles = tokenizer.special().named().into_iter().filter_map(|(_, id)| id);
        for id in markers.all().chain(roles).chain(added.iter().filter(|added| added.special).map(|added| added.id)) {
            // A marker that the caller names may be beyond the vocabulary.
            special.iter_mut().skip(id as usize).take(1).for_each(|special| *special = true);
        }
        for Added { id, .. } in added {
            is_added.iter_mut().skip(id as usize).take(1).for_each(|is_added| *is_added = true);
        }
        let is_word = |id: &u32| {
            let at = *id as usize;
            !special[at] && !is_added[at] && tokenizer.id_to_token(*id).is_some()
        };
        let words: Vec<u32> = (0..special.len() as u32).filter(is_word).collect();
        match words.len() {
            0 | 1 => Err(Error::NoWords { words: words.len() }),
            _ => Ok(Vocabulary { special, words }),
        }
    }

    pub(super) fn is_special(&self, id: u32) -> bool {
        self.special.get(id as usize).copied().unwrap_or(true)
    }

    /// Number of ids.
    pub(super) fn size(&self) -> usize {
        self.special.len()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::text::{Kind, Purpose, TrainOptions};

    fn trained(purpose: Purpose) -> Tokenizer {
        let lines = ["some text to learn from"].map(|line| Ok(line.to_owned()));
        let options = TrainOptions {
            kind: Kind::ByteLevelBpe,
            purpose,
            vocab_size: 300,
            min_frequency: 1,
            ..TrainOptions::default()
        };
        Tokenizer::train::<text::Error>(lines, &options).unwrap()
    }

    fn changed(tokenizer: &Tokenizer, change: impl Fn(&mut Value)) -> Tokenizer {
        let mut parts: Value = serde_json::from_slice(&tokenizer.to_json_bytes().unwrap()).unwrap();
        change(&mut parts);
        Tokenizer::from_json_bytes(parts.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn markers_are_what_the_post_processor_adds() {
        let bert = trained(Purpose::Encoder);
        let expected = Markers { cls: 2, sep: 3, mask: 4, pair_separator: vec![3], type_ids: [0, 1] };
        assert_eq!(Markers::of(&bert).unwrap(), expected);
        assert_eq!(Markers::of(&changed(&bert, |parts| parts["post_processor"] = Value::Null)).unwrap(), expected);
        let roberta = changed(&bert, |parts| {
            parts["post_processor"] = json!({"type": "RobertaProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2],
                "trim_offsets": true, "add_prefix_space": false});
        });
        let expected = Markers { pair_separator: vec![3, 3], type_ids: [0, 0], ..expected };
        assert_eq!(Markers::of(&roberta).unwrap(), expected);
        assert_eq!((expected.around(false), expected.around(true)), (2, 4));
    }

    #[test]
    fn a_token_that_is_missing_is_named() {
        let message = |tokenizer: &Tokenizer| Markers::of(tokenizer).unwrap_err().to_string();
        assert!(
            message(&trained(Purpose::Causal)).starts_with("the tokenizer has no mask token (it stands for hidden")
        );
        let without = |name: &'static str| {
            changed(&trained(Purpose::Encoder), move |parts| {
                let text = parts.to_string().replace(name, "[OTHER]");
                *parts = serde_json::from_str(&text).unwrap();
                parts["post_processor"] = Value::Null;
            })
        };
        assert!(message(&without("[CLS]")).starts_with("the tokenizer has no cls token"));
        assert!(message(&without("[SEP]")).starts_with("the tokenizer has no sep token"));
    }
}
