//! Examples as a lecture shows them.

use atento::data::pretrain::{BatchSize, Cursor, Markers, Objective, PretrainBatch, PretrainData};
use atento::text::Tokenizer;
use serde_json::{Value, json};

use crate::ui::failure::Failure;

/// An example in words.
pub struct Shown {
    text: String,
    chosen: Vec<Chosen>,
    /// The question about the two segments, and its answer.
    pair: Option<(&'static str, bool)>,
}

/// A token that is to be predicted.
struct Chosen {
    token: String,
    shown: String,
    became: &'static str,
}

/// The first examples of an epoch.
///
/// # Errors
/// The data cannot be read; the tokenizer cannot decode.
pub fn some(
    data: &PretrainData,
    tokenizer: &Tokenizer,
    markers: &Markers,
    seed: u64,
    count: usize,
) -> Result<Vec<Shown>, Failure> {
    let question = if data.options().objective == Objective::MlmSop { "InOrder" } else { "IsNext" };
    let batches = data.batches(seed, Cursor::default(), BatchSize::Examples(1))?;
    let mut shown = Vec::new();
    for batch in batches.take(count) {
        let (batch, after) = batch?;
        shown.push(Shown::new(&batch, tokenizer, markers, question)?);
        if after.epoch > 0 {
            break;
        }
    }
    Ok(shown)
}

impl Shown {
    fn new(
        batch: &PretrainBatch,
        tokenizer: &Tokenizer,
        markers: &Markers,
        question: &'static str,
    ) -> Result<Self, Failure> {
        let spelling = |id: u32| -> Result<String, Failure> {
            let text = tokenizer.decode(&[id], false)?;
            // A part of a character has no text of its own.
            let known = !text.trim().is_empty() && !text.contains(char::REPLACEMENT_CHARACTER);
            Ok(if known { text.trim().to_owned() } else { tokenizer.id_to_token(id).unwrap_or_default() })
        };
        let chosen = batch.masked.iter().map(|&(row, token)| {
            let id = batch.ids[row as usize];
            let became = match id {
                _ if id == markers.mask => "masked",
                _ if id == token => "kept",
                _ => "random word",
            };
            Ok(Chosen { token: spelling(token)?, shown: spelling(id)?, became })
        });
        Ok(Shown {
            text: text(&batch.ids, tokenizer, markers)?,
            chosen: chosen.collect::<Result<_, Failure>>()?,
            pair: batch.is_next.as_ref().and_then(|labels| labels.first()).map(|&label| (question, label)),
        })
    }

    /// The example, then a line for each token that is to be predicted, then an empty line.
    pub fn lines(&self) -> Vec<String> {
        let pair = self.pair.map_or(String::new(), |(question, answer)| {
            format!("  {question} = {}", if answer { "True" } else { "False" })
        });
        let chosen =
            self.chosen.iter().map(|Chosen { token, shown, became }| format!("  {token} → {shown} ({became})"));
        std::iter::once(format!("{}{pair}", self.text)).chain(chosen).chain([String::new()]).collect()
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        let chosen = self
            .chosen
            .iter()
            .map(|Chosen { token, shown, became }| json!({ "token": token, "shown": shown, "became": became }));
        json!({
            "text": self.text,
            "chosen": chosen.collect::<Vec<_>>(),
            "label": self.pair.map(|(_, answer)| answer),
        })
    }
}

/// Ids as text, with the tokens that are not words apart.
fn text(ids: &[u32], tokenizer: &Tokenizer, markers: &Markers) -> Result<String, Failure> {
    let is_marker = |id: u32| [markers.cls, markers.sep, markers.mask].contains(&id);
    let runs = ids.chunk_by(|&a, &b| !is_marker(a) && !is_marker(b));
    let texts = runs.map(|run| tokenizer.decode(run, false)).collect::<Result<Vec<_>, _>>()?;
    let texts: Vec<&str> = texts.iter().map(|text| text.trim()).filter(|text| !text.is_empty()).collect();
    Ok(texts.join(" "))
}
