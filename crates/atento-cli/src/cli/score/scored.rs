//! Texts and pairs made ready to be scored.

use anyhow::anyhow;
use atento::data::Pair;
use atento::pipelines::LanguageModel;
use atento::pipelines::Pretrained;
use atento::score::causal::encode_text;
use atento::score::{Fault, Side, encode_side};
use atento::text::fit;

use crate::ui::lines::OnTooLong;

/// What can be scored.
pub struct Scored<T> {
    pub tokens: T,
    /// What its reader must be told.
    pub notes: Vec<String>,
}

impl Scored<Vec<u32>> {
    /// The tokens of a text.
    ///
    /// # Errors
    /// Why the model cannot score it.
    pub fn text(language: &LanguageModel, text: &str, on_too_long: OnTooLong) -> anyhow::Result<Self> {
        let encode = |text: &str| encode_text(&*language.model, &language.tokenizer, text);
        let mut notes = Vec::new();
        Ok(Scored { tokens: fitting("text", text, on_too_long, &mut notes, encode)?, notes })
    }
}

impl Scored<Pair> {
    /// The tokens of a source and its target.
    ///
    /// # Errors
    /// Why the model cannot score them.
    pub fn pair(
        pretrained: &Pretrained,
        (source, target): (&str, &str),
        on_too_long: OnTooLong,
    ) -> anyhow::Result<Self> {
        let mut notes = Vec::new();
        let mut side = |side: Side, text| {
            let encode = |text: &str| encode_side(&*pretrained.model, &pretrained.tokenizer, side, text);
            fitting(&side.to_string(), text, on_too_long, &mut notes, encode)
        };
        let tokens = Pair { id: 0, source: side(Side::Source, source)?, target: side(Side::Target, target)? };
        Ok(Scored { tokens, notes })
    }
}

/// The tokens of a text, or of its beginning if it is too long and may be cut. `name` is what a message calls it.
fn fitting(
    name: &str,
    text: &str,
    on_too_long: OnTooLong,
    notes: &mut Vec<String>,
    encode: impl Fn(&str) -> Result<Vec<u32>, Fault>,
) -> anyhow::Result<Vec<u32>> {
    let (tokens, limit) = match encode(text) {
        Err(Fault::TooLong { tokens, limit }) => (tokens, limit),
        found => return found.map_err(|fault| anyhow!("the {name} {fault}")),
    };
    let has = format!("the {name} has {tokens} tokens; the model has positions for {limit}");
    if on_too_long != OnTooLong::Cut {
        return Err(anyhow!("{has}: split it, or see --on-too-long"));
    }
    let start = fit::longest_start(text, |text| encode(text).is_ok());
    let start = start.ok_or_else(|| anyhow!("{has}, and not even a part of it fits"))?;
    let ids = encode(start)?;
    notes.push(format!("{has}: cut to {}", ids.len()));
    Ok(ids)
}
