//! Sentences made ready for the model, and translated together.

use anyhow::anyhow;
use atento::generate::{self, Hypothesis};
use atento::pipelines::Pretrained;
use atento::pipelines::translate::{self, TranslateOptions, Translation, encode_source, translate_ids};
use atento::score::Fault;
use atento::text::fit;

use crate::ui::failure::Failure;
use crate::ui::lines::OnTooLong;

/// A sentence that the model can translate.
pub struct Sentence {
    /// What is translated: nothing of an empty sentence, else one part, or several of a sentence that was split.
    pub parts: Vec<Part>,
    /// What its reader must be told.
    pub note: Option<String>,
}

/// A sentence, or a part of one.
pub struct Part {
    ids: Vec<u32>,
    /// Whether white space stood before it.
    spaced: bool,
}

impl Sentence {
    /// The tokens of a sentence.
    ///
    /// # Errors
    /// Why the model cannot translate it.
    pub fn prepare(pretrained: &Pretrained, text: &str, on_too_long: OnTooLong) -> anyhow::Result<Self> {
        let encode = |text: &str| encode_source(&*pretrained.model, &pretrained.tokenizer, text);
        if text.trim().is_empty() {
            return Ok(Sentence { parts: Vec::new(), note: None });
        }
        let (tokens, limit) = match encode(text) {
            // White space of the tokenizer's own kind.
            Ok(ids) if ids.is_empty() => return Ok(Sentence { parts: Vec::new(), note: None }),
            Ok(ids) => return Ok(Sentence { parts: vec![Part { ids, spaced: false }], note: None }),
            Err(Fault::TooLong { tokens, limit }) => (tokens, limit),
            Err(fault) => return Err(anyhow!("the sentence {fault}")),
        };
        let has = format!("the sentence has {tokens} tokens; the model has positions for {limit}");
        let fits = |text: &str| encode(text).is_ok();
        let pieces = match on_too_long {
            OnTooLong::Skip => return Err(anyhow!("{has}: split it, or see --on-too-long")),
            OnTooLong::Cut => fit::longest_start(text, fits).map(|text| vec![fit::Part { text, spaced: false }]),
            OnTooLong::Split => fit::parts(text, fits),
        };
        let pieces = pieces.ok_or_else(|| anyhow!("{has}, and not even a part of it fits"))?;
        let part = |piece: &fit::Part<'_>| anyhow::Ok(Part { ids: encode(piece.text)?, spaced: piece.spaced });
        let parts = pieces.iter().map(part).collect::<anyhow::Result<Vec<_>>>()?;
        let note = match on_too_long {
            OnTooLong::Split => format!("{has}: translated in {} parts", parts.len()),
            _ => format!("{has}: cut to {}", parts[0].ids.len()),
        };
        Ok(Sentence { parts, note: Some(note) })
    }
}

/// Translates sentences; an empty one has one empty translation, of score 0.
///
/// # Errors
/// The search fails.
pub fn translate_sentences(
    pretrained: &Pretrained,
    sentences: &[&Sentence],
    options: &TranslateOptions,
) -> Result<Vec<Vec<Translation>>, Failure> {
    let sources: Vec<Vec<u32>> =
        sentences.iter().flat_map(|sentence| sentence.parts.iter().map(|part| part.ids.clone())).collect();
    let mut found = translate_ids(&*pretrained.model, &sources, options).map_err(failure)?.into_iter();
    let translated = |sentence: &&Sentence| {
        let lists = found.by_ref().take(sentence.parts.len());
        let lists =
            lists.map(|list| list.into_iter().map(|one| Translation::new(&pretrained.tokenizer, one)).collect());
        let lists: Vec<Vec<Translation>> = lists.collect::<Result<_, _>>()?;
        Ok(joined(&sentence.parts, lists))
    };
    sentences.iter().map(translated).collect::<Result<_, translate::Error>>().map_err(failure)
}

/// The translations of a sentence from those of its parts: the best of each behind one another, then the second best.
fn joined(parts: &[Part], mut lists: Vec<Vec<Translation>>) -> Vec<Translation> {
    match lists.len() {
        0 => vec![nothing()],
        1 => lists.remove(0),
        _ => {
            let ranks = lists.iter().map(Vec::len).min().unwrap_or(0);
            (0..ranks).map(|rank| in_a_row(parts.iter().zip(lists.iter().map(|list| &list[rank])))).collect()
        }
    }
}

fn in_a_row<'t>(translations: impl Iterator<Item = (&'t Part, &'t Translation)>) -> Translation {
    let (mut all, mut count) = (nothing(), 0.0);
    for (part, Translation { text, hypothesis }) in translations {
        if part.spaced && !all.text.is_empty() {
            all.text.push(' ');
        }
        all.text.push_str(text);
        all.hypothesis.ids.extend(&hypothesis.ids);
        all.hypothesis.token_logprobs.extend(&hypothesis.token_logprobs);
        all.hypothesis.sum_logprob += hypothesis.sum_logprob;
        all.hypothesis.finished &= hypothesis.finished;
        // The mean of the scores so far.
        count += 1.0;
        all.hypothesis.score += (hypothesis.score - all.hypothesis.score) / count;
    }
    all
}

fn nothing() -> Translation {
    let hypothesis =
        Hypothesis { ids: Vec::new(), score: 0.0, sum_logprob: 0.0, token_logprobs: Vec::new(), finished: true };
    Translation { text: String::new(), hypothesis }
}

/// Tells whose fault it is.
fn failure(error: translate::Error) -> Failure {
    match error {
        translate::Error::Search(error @ generate::Error::NonFiniteLogits { .. }) => Failure::run(error),
        error => error.into(),
    }
}
